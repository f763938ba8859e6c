"""Message types without ROS: those of ROS 2 Kilted and the FineVLA messages that bags hold.

The `.msg` texts in `interfaces/` are copies of those in `finevla_msgs`; a test keeps them equal,
and the type hashes of a bag prove it again for every file.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import resources
from typing import Any

from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

PACKAGE = "finevla_msgs/msg"


@lru_cache(maxsize=1)
def typestore() -> Typestore:
    """The type store of this process, built once."""
    store = get_typestore(Stores.ROS2_KILTED)
    types: dict[str, Any] = {}
    for entry in sorted(
        resources.files("finevla.bag").joinpath("interfaces").iterdir(), key=lambda e: e.name
    ):
        if entry.name.endswith(".msg"):
            types.update(get_types_from_msg(entry.read_text(), f"{PACKAGE}/{entry.name[:-4]}"))
    store.register(types)
    return store


def message_class(name: str) -> Any:
    """The dataclass of a message type, such as `sensor_msgs/msg/JointState`."""
    return typestore().types[name]
