"""A whole bag out of one that a crash left behind; the broken one is kept."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosbags.typesys.store import Typestore

from finevla.bag.metadata import read_custom_data
from finevla.bag.salvage import Channel, Salvage
from finevla.bag.types import typestore
from finevla.bag.writer import FACTS_FILE, RECORDING_DIR, tidy
from finevla.contract.episode import EPISODE_KEY, EpisodeInfo
from finevla.errors import BagError

REPAIR_FILE = "repair.json"
"""What was saved and what was lost, beside the messages of a repaired bag."""


@dataclass(frozen=True, slots=True)
class Repaired:
    """A bag that was repaired.

    Attributes:
        origin: Name of the broken bag.
        messages: How many were saved.
        lost_bytes: What the file holds behind its last complete record.
        seconds: From the first message to the last.
    """

    origin: str
    messages: int
    lost_bytes: int
    seconds: float


def repair(broken: Path, out: Path) -> Repaired:
    """Writes what can be saved of a bag as a new one.

    Args:
        broken: Its directory, with MCAP files; only read.
        out: Directory of the new bag; must not exist.

    Raises:
        BagError: There is no MCAP file, none of its messages can be saved, or `out` exists.
    """
    files = sorted(broken.glob("*.mcap"))
    if not files or out.exists():
        raise BagError(
            "the bag cannot be repaired",
            where=broken,
            expected=f"an .mcap file, and no {out.name} yet",
            found=f"{len(files)} .mcap files; {out.name} {'exists' if out.exists() else 'is free'}",
            remedy="for .db3 files run `ros2 bag reindex`; move a bag of that name away",
        )
    partial = out.parent / RECORDING_DIR / f"{out.name}.repair"
    partial.parent.mkdir(parents=True, exist_ok=True)
    writer = Writer(partial, version=9, storage_plugin=StoragePlugin.MCAP)
    writer.open()
    try:
        found = _copy(broken, files, writer)
        for key, value in _facts(broken, out.name).items():
            writer.set_custom_data(key, value)
    except BaseException:
        writer.abort()
        shutil.rmtree(partial)
        tidy(partial.parent)
        raise
    writer.close()
    (partial / REPAIR_FILE).write_text(json.dumps(asdict(found), indent=2) + "\n")
    partial.replace(out)
    tidy(partial.parent)
    return found


def _copy(broken: Path, files: list[Path], writer: Writer) -> Repaired:
    connections: dict[str, Connection] = {}
    count, lost = 0, 0
    first, last = 2**63, 0
    for file in files:
        salvage = Salvage(file)
        for message in salvage:
            channel = message.channel
            if channel.topic not in connections:
                connections[channel.topic] = _declare(writer, channel)
            writer.write(connections[channel.topic], message.stamp_ns, message.data)
            first, last, count = min(first, message.stamp_ns), max(last, message.stamp_ns), count + 1
        lost += 0 if salvage.complete else file.stat().st_size - salvage.used
    if not count:
        raise BagError(
            "nothing can be saved of this bag",
            where=broken,
            expected="at least one complete message",
            found=f"{lost} bytes without one",
            remedy="remove it; record again",
        )
    return Repaired(broken.name, count, lost, (last - first) / 1e9)


def _declare(writer: Writer, channel: Channel) -> Connection:
    store = typestore()
    if channel.msgtype not in store.types:
        store = _store_of(channel)
    return writer.add_connection(
        channel.topic, channel.msgtype, typestore=store, serialization_format=channel.encoding
    )


def _store_of(channel: Channel) -> Typestore:
    """The types of a message that is not ours, from the definition in the file."""
    store = get_typestore(Stores.EMPTY)
    store.register(get_types_from_msg(channel.definition, channel.msgtype))
    return store


def _facts(broken: Path, name: str) -> Mapping[str, str]:
    """The custom data of the metadata, else what the recorder put beside the messages when it began."""
    if (broken / "metadata.yaml").is_file():
        return read_custom_data(broken)
    facts = broken / FACTS_FILE
    if facts.is_file():
        return dict(json.loads(facts.read_text("utf-8")))
    return {EPISODE_KEY: EpisodeInfo(name).to_json()}
