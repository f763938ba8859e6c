"""Our storage writes the bytes that rosbags writes."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_episode import Fake, fake_messages
from rosbags.rosbag2 import StoragePlugin, Writer

from finevla.bag.storage import LeanWriter
from finevla.bag.types import typestore
from finevla.contract import load_contract
from finevla.contract.episode import recorded_topics


@pytest.mark.parametrize("flush_every", [0, 1, 97])
@pytest.mark.parametrize("size", [(320, 240), (1280, 960)], ids=["small", "larger than a chunk"])
def test_the_files_are_equal(tmp_path: Path, size: tuple[int, int], flush_every: int) -> None:
    log = fake_messages(Fake(seconds=0.3, camera_hz=30.0, size=size, jpeg=lambda data: data * 8))
    files = []
    for kind in (Writer, LeanWriter):
        folder = tmp_path / kind.__name__ / "bag"
        folder.parent.mkdir()
        writer = kind(folder, version=9, storage_plugin=StoragePlugin.MCAP)
        writer.open()
        known = {
            topic.topic: writer.add_connection(topic.topic, topic.type, typestore=typestore())
            for topic in recorded_topics(load_contract())
        }
        for number, (stamp, topic, message) in enumerate(log):
            cdr = typestore().serialize_cdr(message, message.__msgtype__)
            writer.write(known[topic], stamp, cdr if number % 2 else bytes(cdr))
            if flush_every and number % flush_every == 0:
                writer.storage.close_chunk()  # what the recorder does twice a second
        writer.close()
        files.append({path.name: path.read_bytes() for path in sorted(folder.iterdir())})
    assert files[0].keys() == files[1].keys()
    for name in files[0]:
        assert files[0][name] == files[1][name], name
