"""What is replayed, when, with which stamp; and that every form of bag is read as it lies. No ROS."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml
from fake_episode import MS, START_NS, Fake, fake_bag, fake_messages

from finevla.bag.cdr import restamped, stamp_of
from finevla.bag.raw_log import Logged, RawLog
from finevla.bag.types import typestore
from finevla.contract import load_contract
from finevla.contract.episode import Role
from finevla.errors import BagError, LaunchError

pytest.importorskip("finevla_system")
from finevla_system.replay_plan import Pace, Stamps, Tally, choose, window
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

CONTRACT = load_contract()
CAMERAS = [camera.compressed_topic for camera in CONTRACT.cameras.values()]
FEEDBACK = [arm.feedback_topic for arm in CONTRACT.arms.values()]
LEADERS = [arm.leader_topic for arm in CONTRACT.arms.values()]
IMAGE, JPEG, JOINTS = (f"sensor_msgs/msg/{name}" for name in ("Image", "CompressedImage", "JointState"))
KINDS = {**dict.fromkeys(CAMERAS, JPEG), **dict.fromkeys([*FEEDBACK, *LEADERS], JOINTS)}
DEFAULT = "camera,feedback"


def serialized(fake: Fake) -> list[Logged]:
    store = typestore()
    return [
        Logged(topic, stamp, bytes(store.serialize_cdr(message, message.__msgtype__)))
        for stamp, topic, message in fake_messages(fake)
    ]


def written(path: Path, log: list[Logged], plugin: StoragePlugin, mode: CompressionMode | None) -> Path:
    """A bag of another storage or compression than our writer's."""
    writer = Writer(path, version=9, storage_plugin=plugin)
    if mode is not None:
        writer.set_compression(mode, CompressionFormat.ZSTD)
    kinds = {topic: message.__msgtype__ for _, topic, message in fake_messages(Fake(seconds=0.1))}
    with writer:
        connections = {t: writer.add_connection(t, kind, typestore=typestore()) for t, kind in kinds.items()}
        for message in log:
            writer.write(connections[message.topic], message.log_ns, message.cdr)
    return path


def split(path: Path, log: list[Logged]) -> Path:
    """A bag of two files, as `ros2 bag record --max-bag-duration` writes it."""
    half = len(log) // 2
    for number, part in enumerate((log[:half], log[half:])):
        written(path.with_name(f"part{number}"), part, StoragePlugin.MCAP, None)
    path.mkdir()
    documents = []
    for number in (0, 1):
        folder = path.with_name(f"part{number}")
        shutil.copy(folder / f"part{number}.mcap", path / f"split_{number}.mcap")
        documents.append(yaml.safe_load((folder / "metadata.yaml").read_text()))
    both = documents[0]["rosbag2_bagfile_information"]
    second = documents[1]["rosbag2_bagfile_information"]
    both["relative_file_paths"] = ["split_0.mcap", "split_1.mcap"]
    both["message_count"] += second["message_count"]
    begin = both["starting_time"]["nanoseconds_since_epoch"]
    both["duration"]["nanoseconds"] = log[-1].log_ns - begin
    for ours, theirs in zip(
        both["topics_with_message_count"], second["topics_with_message_count"], strict=True
    ):
        ours["message_count"] += theirs["message_count"]
    both["files"] = []
    (path / "metadata.yaml").write_text(yaml.safe_dump(documents[0]))
    return path


FORMS = {
    "mcap": lambda path, log: written(path, log, StoragePlugin.MCAP, None),
    "sqlite3": lambda path, log: written(path, log, StoragePlugin.SQLITE3, None),
    "sqlite3, file compressed": lambda path, log: written(
        path, log, StoragePlugin.SQLITE3, CompressionMode.FILE
    ),
    "sqlite3, messages compressed": lambda path, log: written(
        path, log, StoragePlugin.SQLITE3, CompressionMode.MESSAGE
    ),
    "mcap, chunks compressed": lambda path, log: written(
        path, log, StoragePlugin.MCAP, CompressionMode.STORAGE
    ),
    "split": split,
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_bag_is_read_byte_for_byte_in_order(form: str, tmp_path: Path) -> None:
    log = serialized(Fake(seconds=0.5))
    with RawLog(FORMS[form](tmp_path / "bag", log)) as bag:
        assert bag.span_ns == (log[0].log_ns, log[-1].log_ns + 1)
        topics = {message.topic for message in log}
        assert set(bag.kinds()) == topics
        found = list(bag.messages(topics, *bag.span_ns))
        # Messages of one instant have no order among themselves in every storage.
        assert [m.log_ns for m in found] == [m.log_ns for m in log]
        for topic in topics:
            assert [m for m in found if m.topic == topic] == [m for m in log if m.topic == topic]
        assert not any(bag.differs(kind) for kind in bag.kinds().values())


def test_only_the_chosen_topics_and_times_are_read(tmp_path: Path) -> None:
    begin, end = START_NS + 100 * MS, START_NS + 200 * MS
    with RawLog(fake_bag(tmp_path)) as bag:
        found = list(bag.messages(FEEDBACK[:1], begin, end))
        assert [m.log_ns for m in found] == list(range(begin, end, 5 * MS))
        assert {m.topic for m in found} == {FEEDBACK[0]}
        assert list(bag.messages([], *bag.span_ns)) == []


def test_a_bag_that_ends_in_the_middle_says_so(tmp_path: Path) -> None:
    log = serialized(Fake(seconds=0.5))
    path = written(tmp_path / "bag", log, StoragePlugin.SQLITE3, None)
    file = next(path.glob("*.db3"))
    with RawLog(path) as bag:
        with file.open("r+b") as stream:
            stream.truncate(file.stat().st_size // 2)
        with pytest.raises(BagError, match="ends in the middle"):
            list(bag.messages(CAMERAS, *bag.span_ns))
        with pytest.raises(BagError, match="ends in the middle"):  # and so does what `finevla convert` reads
            list(bag.events())


def test_a_message_of_another_version_is_noticed(tmp_path: Path) -> None:
    from rosbags.typesys import Stores, get_types_from_msg, get_typestore

    store = get_typestore(Stores.ROS2_KILTED)
    kind = "finevla_msgs/msg/Instruction"
    store.register(get_types_from_msg("std_msgs/Header header\nstring text\n", kind))
    with Writer(tmp_path / "old", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(CONTRACT.topics.instruction, kind, typestore=store)
        writer.write(connection, START_NS, b"\0\1\0\0" + bytes(20))
    with RawLog(tmp_path / "old") as bag:
        assert bag.differs(kind)


def test_by_default_nothing_that_commands_is_chosen() -> None:
    choice = choose(CONTRACT, KINDS, DEFAULT, "", "bag")
    assert {t.role for t in choice.topics} == {Role.CAMERA, Role.FEEDBACK}
    assert [t.topic for t in choice.topics] == [*CAMERAS, *FEEDBACK]
    assert choice.absent == ()


def test_roles_and_topics_are_chosen_by_name() -> None:
    asked = choose(CONTRACT, KINDS, "leader", "", "bag")
    assert [t.topic for t in asked.topics] == LEADERS
    one = choose(CONTRACT, KINDS, DEFAULT, f"{LEADERS[1]}, {CAMERAS[0]}", "bag")
    assert [t.topic for t in one.topics] == [LEADERS[1], CAMERAS[0]]
    with pytest.raises(LaunchError, match="feedbacks"):
        choose(CONTRACT, KINDS, "feedbacks", "", "bag")
    with pytest.raises(LaunchError, match="/rosout"):
        choose(CONTRACT, KINDS, DEFAULT, "/rosout", "bag")


def test_what_the_bag_lacks_is_told_and_refused_where_it_was_named() -> None:
    kinds = {topic: kind for topic, kind in KINDS.items() if topic != CAMERAS[1]}
    assert choose(CONTRACT, kinds, DEFAULT, "", "bag").absent == (CAMERAS[1],)
    with pytest.raises(BagError) as refused:
        choose(CONTRACT, kinds, DEFAULT, f"{CAMERAS[0]},{CAMERAS[1]}", "bag")
    assert refused.value.expected == CAMERAS[1]
    with pytest.raises(BagError, match="no message of what"):
        choose(CONTRACT, kinds, "mark", "", "bag")
    with pytest.raises(BagError, match="another message type"):
        choose(CONTRACT, {CAMERAS[0]: JOINTS}, "camera", "", "bag")


def test_a_camera_that_was_recorded_raw_is_played_raw() -> None:
    raw = {camera.raw_topic: IMAGE for camera in CONTRACT.cameras.values()}
    choice = choose(CONTRACT, raw, "camera", "", "bag")
    assert [t.topic for t in choice.topics] == list(raw)
    assert choice.absent == ()


def test_the_window_lies_within_the_bag() -> None:
    span = (1000, 3_000_001_000)
    assert window(span, 0.0, 0.0, "bag") == span
    assert window(span, 1.0, 2.0, "bag") == (1_000_001_000, 2_000_001_000)
    assert window(span, 1.0, 9.0, "bag") == (1_000_001_000, span[1])
    for start_s, end_s in ((2.0, 1.0), (3.1, 0.0), (1.0, 1.0)):
        with pytest.raises(BagError, match=r"within 3\.000 s"):
            window(span, start_s, end_s, "bag")


def test_messages_are_due_in_the_distances_of_the_log_and_lateness_is_kept() -> None:
    now_s = [100.0]
    pace = Pace(START_NS, 2_000 * MS, 2.0, lambda: now_s[0])
    pace.lap()
    assert pace.wait_s(START_NS) == 0.0
    assert pace.wait_s(START_NS + 500 * MS) == 0.25
    now_s[0] = 100.30
    pace.sent(START_NS + 500 * MS)
    now_s[0] = 100.51
    pace.sent(START_NS + 1_000 * MS)
    assert pace.worst_s == pytest.approx(0.05)
    pace.lap()  # begins where the first should end, not where its last message was
    assert pace.wait_s(START_NS) == pytest.approx(101.0 - 100.51)
    now_s[0] = 102.5
    pace.lap()  # should have begun half a second ago: it is not rushed through
    assert pace.wait_s(START_NS) == 0.0


def test_all_stamps_move_by_the_same_time_and_never_back() -> None:
    now_ns = [1_900_000_000_000_000_000]
    stamps = Stamps(START_NS, 1_000 * MS, lambda: now_ns[0])
    log = serialized(Fake(seconds=0.1))
    stamps.lap()
    first = {stamp_of(stamps.apply(m)) - stamp_of(m.cdr) for m in log}
    assert first == {now_ns[0] - START_NS}
    now_ns[0] += 400 * MS  # faster than the log: the next lap goes on behind the first
    stamps.lap()
    assert {stamp_of(stamps.apply(m)) - stamp_of(m.cdr) for m in log} == {first.pop() + 1_000 * MS}
    kept = Stamps(START_NS, 1_000 * MS, None)
    kept.lap()
    assert [kept.apply(m) for m in log] == [m.cdr for m in log]


def test_only_the_stamp_of_a_message_changes() -> None:
    for message in serialized(Fake(seconds=0.1)):
        moved = restamped(message.cdr, 1_234_567_891)
        assert stamp_of(moved) == stamp_of(message.cdr) + 1_234_567_891
        assert (moved[:4], moved[12:]) == (message.cdr[:4], message.cdr[12:])
        assert restamped(moved, -1_234_567_891) == message.cdr


def test_a_stamp_that_is_none_stays_none_and_one_that_does_not_fit_is_refused() -> None:
    empty = b"\0\1\0\0" + bytes(12)
    assert restamped(empty, 5) == empty
    assert restamped(b"\0\0\0\0" + bytes(12), 5) is None  # big-endian
    stamps = Stamps(0, 1, lambda: 3_000_000_000_000_000_000)
    stamps.lap()
    with pytest.raises(BagError, match="another stamp"):
        stamps.apply(Logged("/x", 0, b"\0\1\0\0" + b"\1" + bytes(11)))  # 1 s and 3e9 s are more than 2^31 s


def test_the_report_names_counts_laps_and_lateness() -> None:
    tally = Tally(laps=2)
    tally.counts.update({"/b": 2, "/a": 1})
    assert tally.text(0.0123) == "3 messages in 2 laps, at worst 12.3 ms late\n  /a: 1\n  /b: 2"
