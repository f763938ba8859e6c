"""The video of one camera of an episode, encoded in parts that do not depend on each other.

Parts have a fixed length, so that the bytes of a dataset do not depend on how many threads made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finevla.bag.pictures import Pictures
from finevla.contract.robot import CameraSpec
from finevla.dataset.encode import Known, VideoSettings, encode_counted
from finevla.dataset.join import concatenate
from finevla.dataset.stats import SAMPLE_EVERY
from finevla.dataset.video import probe
from finevla.errors import BagError
from finevla.stages.convert.episode import EpisodeRejectedError

PART = 30 * SAMPLE_EVERY
"""Frames of a part; a multiple of the distance of counted images, so that parts count the same ones."""


@dataclass(frozen=True, slots=True)
class Film:
    """One camera of an episode on its way to a file.

    Attributes:
        bag: Directory of the bag.
        camera: The camera.
        pictures: Its images, in the bag.
        path: The file.
        fps: Frames per second.
        settings: How it is encoded.
        copied: Whether the format of the dataset puts copies of the file together.
    """

    bag: Path
    camera: CameraSpec
    pictures: Pictures
    path: Path
    fps: int
    settings: VideoSettings
    copied: bool = True

    @property
    def parts(self) -> range:
        """Numbers of the parts; what is only copied has one."""
        return range(1 if self.settings.codec == "mjpeg" else -(-len(self.pictures) // PART))

    def encode(self, part: int) -> NDArray[np.int64]:
        """Encodes one part; returns the counts of its levels, (3, 256).

        Raises:
            EpisodeRejectedError: An image cannot be used.
        """
        some = self.pictures.some(part * PART, (part + 1) * PART) if len(self.parts) > 1 else self.pictures
        size = (self.camera.width, self.camera.height)
        try:
            lengths = some.lengths() if self.settings.codec == "mjpeg" else None
            known = None if lengths is None else Known(lengths, self.copied)
            return encode_counted(some, self._file(part), size, self.fps, self.settings, known)
        except (ValueError, BagError) as err:
            raise EpisodeRejectedError(
                "bad_image",
                "an image of the bag cannot be used",
                where=f"{self.bag}: {self.camera.topic}",
                expected=f"complete images of {size[0]}x{size[1]}",
                found=err.found if isinstance(err, BagError) else err,
                remedy="set the camera to the contract's size, or record again",
            ) from err

    def joined(self) -> Path:
        """Puts the parts together, when all are encoded; returns the file."""
        if len(self.parts) > 1:
            files = [self._file(part) for part in self.parts]
            concatenate([probe(file) for file in files], self.path, self.fps)
            for file in files:
                file.unlink()
        return self.path

    def _file(self, part: int) -> Path:
        return self.path if len(self.parts) == 1 else self.path.with_suffix(f".{part:04d}.mp4")
