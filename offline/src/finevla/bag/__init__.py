"""Episodes as rosbag2 bags (MCAP), written and read without ROS.

A storey of its own between `contract` and everything that records or converts: it knows rosbags
and the message types, but no world, no policy and no stage.
"""

from finevla.bag.events import EncodedImage, ImageEvent, JointEvent, PictureEvent, TextEvent
from finevla.bag.metadata import relabel
from finevla.bag.reader import EpisodeReader
from finevla.bag.writer import EpisodeWriter

__all__ = [
    "EncodedImage",
    "EpisodeReader",
    "EpisodeWriter",
    "ImageEvent",
    "JointEvent",
    "PictureEvent",
    "TextEvent",
    "relabel",
]
