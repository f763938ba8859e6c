"""What the recorder notices while it records: rates, losses, stamps, the room on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_episode import picture

pytest.importorskip("finevla_system.recorder_watch")

from finevla_perception.picture_watch import PictureWatch
from finevla_perception.stream_watch import WINDOW_NS
from finevla_system.recorder_eyes import eyes
from finevla_system.recorder_watch import Disk, Watch

from finevla.bag import messages
from finevla.bag.images import encode_jpeg
from finevla.bag.types import typestore
from finevla.contract import load_contract
from finevla.contract.episode import recorded_topics
from finevla.errors import BagError

CONTRACT = load_contract()
ARM = CONTRACT.arms["left"]
TOPIC = ARM.feedback_topic
NOW = 1_700_000_000_000_000_000
MS = 1_000_000


def state(stamp_ns: int) -> bytes:
    message = messages.joint_state(ARM, stamp_ns, [0.0] * 7)
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def watch() -> Watch:
    return Watch(recorded_topics(CONTRACT), CONTRACT)


def health(seen: Watch, now_ns: int):
    return next(h for h in seen.health(now_ns) if h.topic == TOPIC)


def test_a_topic_at_its_rate_is_as_expected() -> None:
    seen = watch()
    for k in range(800):
        seen.took(TOPIC, NOW + 5 * k * MS, state(NOW + 5 * k * MS))
    found = health(seen, NOW + 800 * 5 * MS)
    assert found.problem == ""
    assert found.hz == pytest.approx(200, abs=1)
    assert found.bytes_per_s == pytest.approx(200 * len(state(NOW)), rel=0.01)
    assert found.age_s == pytest.approx(0.005)
    assert len(seen._heard[TOPIC].arrivals) <= 401, "memory does not grow"


def test_a_slow_topic_and_one_that_stopped() -> None:
    seen = watch()
    for k in range(100):
        seen.took(TOPIC, NOW + 20 * k * MS, state(NOW + 20 * k * MS))
    assert health(seen, NOW + 2000 * MS).problem == "49.5 Hz of 200"
    assert health(seen, NOW + 2000 * MS + WINDOW_NS).problem == "0.0 Hz of 200"


@pytest.mark.parametrize(
    ("stamps", "what"),
    [
        ([0], "1 without a stamp"),
        ([NOW + 10**9], "1 stamped ahead of time"),
        ([NOW - 10 * 10**9], "1 stamped long ago"),
        ([NOW, NOW, NOW - MS], "2 stamped not later than the one before"),
    ],
)
def test_odd_stamps_are_counted(stamps: list[int], what: str) -> None:
    seen = watch()
    for stamp in stamps:
        seen.took(TOPIC, NOW, state(stamp))
    assert health(seen, NOW).problem.split(", ", 1)[1] == what


@pytest.mark.parametrize("poison", [0, NOW + 3600 * 10**9], ids=["no stamp", "an hour ahead"])
def test_one_wrong_stamp_says_nothing_of_the_messages_after_it(poison: int) -> None:
    seen = watch()
    for k in range(60):
        stamp = poison if k == 40 else NOW + 5 * k * MS
        seen.took(TOPIC, NOW + 5 * k * MS, state(stamp))
    found = health(seen, NOW + 60 * 5 * MS)
    assert found.lost == 1, "the one that is gone, by the stamps around it"
    assert sum(found.odd.values()) == 1


def test_losses_are_told() -> None:
    seen = watch()
    told = {
        k: seen.took(TOPIC, NOW + 5 * k * MS, state(NOW + 5 * k * MS))
        for k in range(60)
        if k not in {50, 51, 52}
    }
    assert {k: missing for k, missing in told.items() if missing} == {53: 3}
    assert "3 lost" in health(seen, NOW).problem


def test_a_topic_before_its_first_message() -> None:
    found = health(watch(), NOW)
    assert (found.hz, found.age_s) == (0.0, None)
    assert any(line.startswith(TOPIC) for line in watch().silent(NOW, 10**9))


def test_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 1_500_000_000

    monkeypatch.setattr("finevla_system.recorder_watch.shutil.disk_usage", lambda _: Usage)
    disk = Disk(tmp_path / "not" / "yet", 500e6)
    assert disk.seconds_left(10e6) == pytest.approx(100.0)
    disk.check(10e6, 99.0)
    with pytest.raises(BagError, match=r"room for 101 s at 10.0 MB/s\n  found: for 100 s"):
        disk.check(10e6, 101.0)
    assert Disk(tmp_path, 2e9).seconds_left(10e6) < 0


def camera_message(name: str, number: int, frame_of: str = "") -> bytes:
    camera = CONTRACT.cameras[name]
    message = messages.compressed_image(camera, NOW + number, encode_jpeg(picture(number, 0)))
    message.header.frame_id = CONTRACT.cameras[frame_of or name].frame_id
    return bytes(typestore().serialize_cdr(message, message.__msgtype__))


def look(seen: PictureWatch[bytes]) -> dict[str, str]:
    return seen.look(seen.take())


def test_eyes_see_the_camera_of_another_topic_and_one_that_is_frozen() -> None:
    seen = eyes(recorded_topics(CONTRACT), CONTRACT)
    high, left, right = (camera.compressed_topic for camera in CONTRACT.cameras.values())
    seen.saw(high, camera_message("cam_high", 1))
    seen.saw(left, camera_message("cam_left_wrist", 1))
    seen.saw(right, camera_message("cam_right_wrist", 1))
    seen.saw(TOPIC, state(NOW))
    assert look(seen) == {}
    seen.saw(high, camera_message("cam_high", 1))
    seen.saw(left, camera_message("cam_left_wrist", 2, frame_of="cam_right_wrist"))
    seen.saw(right, camera_message("cam_right_wrist", 2)[:400])
    looks = look(seen)
    assert looks[high] == "frozen"
    assert looks[left] == "the pictures are those of cam_right_wrist"
    assert right in looks, "half a picture"
    assert look(seen) == {}, "nothing came since"
