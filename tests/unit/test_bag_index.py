"""The quick ways into a bag give what the slow ones give: images by the index, joints out of their bytes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_episode import fake_bag
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from finevla.bag import EpisodeReader
from finevla.bag.cdr import JointBytes, stamp_of
from finevla.bag.pictures import pictures_of
from finevla.bag.places import IndexedFile
from finevla.bag.types import message_class, typestore
from finevla.contract import load_contract
from finevla.stages.convert.episode import read_episode

CONTRACT = load_contract()
KINDS = {
    "mcap": (StoragePlugin.MCAP, None),
    "mcap, chunks zstd": (StoragePlugin.MCAP, (CompressionMode.STORAGE, CompressionFormat.ZSTD)),
    "mcap, messages zstd": (StoragePlugin.MCAP, (CompressionMode.MESSAGE, CompressionFormat.ZSTD)),
    "mcap, file zstd": (StoragePlugin.MCAP, (CompressionMode.FILE, CompressionFormat.ZSTD)),
    "sqlite": (StoragePlugin.SQLITE3, None),
}


def copied(bag: Path, out: Path, kind: str) -> Path:
    """The same messages in a bag of another storage, written by rosbags."""
    storage, compression = KINDS[kind]
    with AnyReader([bag], default_typestore=typestore()) as reader:
        writer = Writer(out, version=9, storage_plugin=storage)
        if compression is not None:
            writer.set_compression(*compression)
        with writer:
            connections = {
                c.id: writer.add_connection(c.topic, c.msgtype, typestore=typestore())
                for c in reader.connections
            }
            for connection, stamp, raw in reader.messages():
                writer.write(connections[connection.id], stamp, raw)
    return out


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fake_bag(tmp_path_factory.mktemp("bag"), seconds=1.5)


@pytest.mark.parametrize("kind", KINDS)
def test_images_by_the_index_are_those_that_were_read(bag: Path, kind: str, tmp_path: Path) -> None:
    same = copied(bag, tmp_path / "copy", kind)
    places = (0, 0, 3, 2, 9, 1)
    with EpisodeReader(same, CONTRACT) as reader:
        for camera in CONTRACT.cameras:
            every = list(reader.images(camera))
            pictures = pictures_of(reader, [camera])[camera]
            assert (pictures.index is not None) == (kind in {"mcap", "mcap, chunks zstd"})
            chosen = pictures.some(0, 0)
            assert list(chosen) == []
            some = type(pictures)(same, CONTRACT, camera, places, pictures.index)
            assert list(some) == [every[place] for place in places]


@pytest.mark.parametrize("kind", KINDS)
def test_the_storage_of_a_bag_does_not_change_its_episode(bag: Path, kind: str, tmp_path: Path) -> None:
    wanted = read_episode(bag, CONTRACT)
    with EpisodeReader(bag) as reader:
        facts = reader.info
    same = copied(bag, tmp_path / bag.name, kind)
    found = read_episode(same, CONTRACT)
    assert facts.instruction == wanted.task
    assert found.digest() == wanted.digest()


def has_index(path: Path) -> bool:
    try:
        IndexedFile(path).__exit__(None, None, None)
    except ValueError:
        return False
    return True


def test_a_file_without_index_is_known_as_such(bag: Path, tmp_path: Path) -> None:
    (file,) = bag.glob("*.mcap")
    whole = file.read_bytes()
    assert has_index(file)
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 1):
        cut = tmp_path / f"{size}.mcap"
        cut.write_bytes(whole[:size])
        assert not has_index(cut)
    with IndexedFile(file) as opened:
        assert len(opened.messages("/no/such/topic")) == 0


NAMES = st.lists(st.text("abcdefgh_1234", min_size=1, max_size=9), min_size=1, max_size=8, unique=True)
NUMBERS = st.floats(-4, 4)


def serialized(frame: str, names: list[str], values: list[float], stamp_ns: int) -> bytes:
    header = message_class("std_msgs/msg/Header")(
        message_class("builtin_interfaces/msg/Time")(stamp_ns // 10**9, stamp_ns % 10**9), frame
    )
    empty = np.zeros(0)
    message = message_class("sensor_msgs/msg/JointState")(header, names, np.array(values), empty, empty)
    return bytes(typestore().serialize_cdr(message, "sensor_msgs/msg/JointState"))


@settings(deadline=None)
@given(st.data(), NAMES, st.text("abc/_", max_size=9), st.integers(0, 2**62))
def test_joints_out_of_bytes(data: st.DataObject, names: list[str], frame: str, stamp_ns: int) -> None:
    ordered = data.draw(st.permutations(names))
    rows = [data.draw(st.lists(NUMBERS, min_size=len(names), max_size=len(names))) for _ in range(2)]
    first, second = (serialized(frame, names, row, stamp_ns % (2**31 * 10**9)) for row in rows)
    wanted = [np.array([row[names.index(name)] for name in ordered]) for row in rows]
    joints = JointBytes()
    assert joints.read(first) is None, "nothing was learned yet"
    joints.learn(first, names, wanted[0], ordered)
    found = joints.read(second)
    assert found is not None
    np.testing.assert_array_equal(found[1], wanted[1])
    assert found[0] == stamp_of(second) == stamp_ns % (2**31 * 10**9)


def test_what_differs_is_left_to_the_full_decoder() -> None:
    names, values = ["a", "bb", "c"], [0.1, 0.2, 0.3]
    raw = serialized("base", names, values, 5)
    joints = JointBytes()
    joints.learn(raw, names, np.array(values), names)
    assert joints.read(raw) is not None
    assert joints.read(serialized("base", ["a", "cc", "b"], values, 5)) is None, "other names"
    assert joints.read(serialized("base", [*names, "d"], [*values, 1.0], 5)) is None, "one joint more"
    assert joints.read(serialized("base", names, [0.1, np.nan, 0.3], 5)) is None, "not finite"
    assert joints.read(serialized("base_link", names, values, 5)) is None, "another frame"
    assert joints.read(raw[:-1]) is None, "cut"
    assert joints.read(b"\x00\x00" + raw[2:]) is None, "big-endian"


def test_bytes_that_are_read_otherwise_are_not_learned() -> None:
    raw = serialized("base", ["a", "b"], [0.1, 0.2], 5)
    joints = JointBytes()
    joints.learn(raw, ["a", "b"], np.array([0.1, 0.3]), ["a", "b"])
    assert joints.read(raw) is None
