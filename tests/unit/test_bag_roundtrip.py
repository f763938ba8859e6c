"""Bags: what is written is read, types match the ROS ones, and nothing half-written appears."""

import json
from pathlib import Path

import numpy as np
import pytest
from fake_episode import START_NS, TEXT, Fake, fake_bag, fake_messages, joints, picture
from rosbags.typesys import Stores, get_typestore

from finevla.bag import EpisodeReader, EpisodeWriter, ImageEvent, JointEvent, TextEvent, relabel
from finevla.bag.events import EncodedImage
from finevla.bag.images import decode, encode_jpeg
from finevla.bag.pictures import Pictures
from finevla.bag.types import typestore
from finevla.bag.writer import RECORDING_DIR
from finevla.contract import load_contract
from finevla.contract.episode import EpisodeInfo, Role, recorded_topics
from finevla.errors import BagError, ContractError

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = load_contract()


def test_what_is_written_is_read(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path)
    with EpisodeReader(bag) as reader:
        events = list(reader.events())
        counts, missing, info, text = reader.counts(), reader.missing(), reader.info, reader.contract_yaml
    images = [e for e in events if isinstance(e, ImageEvent)]
    feedback = [
        e for e in events if isinstance(e, JointEvent) and e.role is Role.FEEDBACK and e.side == "right"
    ]
    said = [e for e in events if isinstance(e, TextEvent)]
    assert len(images) == 3 * 11
    assert missing == ()
    assert counts[CONTRACT.arms["left"].leader_topic] == 201
    assert feedback[7].stamp_ns == START_NS + 35_000_000
    np.testing.assert_array_equal(feedback[7].values, joints(0.035, "right", leader=False))
    assert [e.text for e in said] == [TEXT, TEXT]
    assert {v.value for v in said[1].values} >= {"left_arm", "red", "cube"}
    first = next(e for e in images if e.camera == "cam_left_wrist")
    assert np.abs(decode(first.image).astype(int) - picture(0, 1)).mean() < 3
    assert (info.instruction, info.outcome, info.contract_hash) == (TEXT, "success", CONTRACT.hash)
    assert text == CONTRACT.to_yaml()


def test_raw_bytes_pass_through_unchanged(tmp_path: Path) -> None:
    store, topic = typestore(), CONTRACT.arms["left"].feedback_topic
    message = next(m for _, t, m in fake_messages(Fake(seconds=0.1)) if t == topic)
    raw = bytes(store.serialize_cdr(message, message.__msgtype__))
    with EpisodeWriter(tmp_path, EpisodeInfo("raw")) as writer:
        writer.write_raw(topic, 5, raw)
        path = writer.close()
    assert raw in (path / "raw.mcap").read_bytes()


def test_neighbours_may_tidy_the_shared_folder_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process removes `.recording` between its creation and the first file in it."""
    real, removed = Path.mkdir, []

    def mkdir(path: Path, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        if path.parent.name == RECORDING_DIR and len(removed) < 3:
            removed.append(path)
            path.parent.rmdir() if path.parent.exists() else None
            raise FileNotFoundError(path)
        real(path, mode, parents, exist_ok)

    monkeypatch.setattr(Path, "mkdir", mkdir)
    with EpisodeWriter(tmp_path, EpisodeInfo("one")) as writer:
        assert writer.close().is_dir()
    assert len(removed) == 3


def test_tidying_leaves_a_folder_that_a_neighbour_has_just_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.rmdir

    def rmdir(path: Path) -> None:
        (path / "neighbour").mkdir()
        real(path)

    with EpisodeWriter(tmp_path, EpisodeInfo("one")) as writer:
        monkeypatch.setattr(Path, "rmdir", rmdir)
        assert writer.close().is_dir()
    assert (tmp_path / RECORDING_DIR / "neighbour").is_dir()


def test_a_bag_appears_only_when_it_is_complete(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, EpisodeInfo("one")) as writer:
        assert not (tmp_path / "one").exists()
        writer.close()
    assert [p.name for p in tmp_path.iterdir()] == ["one"]
    with pytest.raises(RuntimeError), EpisodeWriter(tmp_path, EpisodeInfo("two")):
        raise RuntimeError
    assert [p.name for p in tmp_path.iterdir()] == ["one"]


def test_a_bag_is_never_overwritten(tmp_path: Path) -> None:
    fake_bag(tmp_path, seconds=0.2)
    with pytest.raises(BagError, match="exists"):
        EpisodeWriter(tmp_path, EpisodeInfo("episode"))


@pytest.mark.parametrize("name", ["", "../x", "a/b", "."])
def test_an_episode_id_cannot_leave_the_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(BagError, match="name of an episode"):
        EpisodeWriter(tmp_path, EpisodeInfo(name))


def test_a_topic_outside_the_contract_is_refused(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, EpisodeInfo("x")) as writer:
        with pytest.raises(BagError, match="/other"):
            writer.write_raw("/other", 0, b"")
        writer.discard()
    assert not list(tmp_path.iterdir())


def test_labels_change_only_the_metadata(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, outcome="", seconds=0.2)
    before = (bag / "episode.mcap").read_bytes()
    relabel(bag, "failure", "slipped")
    with EpisodeReader(bag) as reader:
        assert (reader.info.outcome, reader.info.note, reader.info.instruction) == (
            "failure",
            "slipped",
            TEXT,
        )
        assert len(list(reader.events())) > 100
    assert (bag / "episode.mcap").read_bytes() == before
    with pytest.raises(BagError, match="great"):
        relabel(bag, "great")


def test_facts_survive_in_the_mcap_itself(tmp_path: Path) -> None:
    """`ros2 bag reindex` restores metadata.yaml from the MCAP; so the facts must be in there too."""
    data = (fake_bag(tmp_path, seconds=0.2) / "episode.mcap").read_bytes()
    assert b"finevla.episode" in data
    assert TEXT.encode() in data


@pytest.mark.parametrize("share", [0.0, 0.5, 0.999])
def test_a_truncated_bag_is_an_error_that_names_it(tmp_path: Path, share: float) -> None:
    bag = fake_bag(tmp_path)
    file = bag / "episode.mcap"
    file.write_bytes(file.read_bytes()[: int(file.stat().st_size * share)])
    with pytest.raises(BagError, match="damaged or truncated") as caught, EpisodeReader(bag) as reader:
        list(reader.events())
    assert str(bag) in str(caught.value)


def test_no_bag_is_an_error(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(BagError, match="not a finished bag"):
            EpisodeReader(path)


def test_other_joint_names_are_an_error_that_names_the_topic(tmp_path: Path) -> None:
    with (
        pytest.raises(ContractError, match="/puppet/joint_left"),
        EpisodeReader(fake_bag(tmp_path, rename="elbow")) as reader,
    ):
        list(reader.events())


def test_missing_topics_are_named(tmp_path: Path) -> None:
    topic = CONTRACT.cameras["cam_right_wrist"].compressed_topic
    with EpisodeReader(fake_bag(tmp_path, without=(topic,), seconds=0.3)) as reader:
        assert reader.missing() == (topic,)


def test_raw_images_decode_with_padding_and_bgr() -> None:
    rgb = picture(3, 1, (6, 4))
    padded = np.zeros((4, 24), np.uint8)
    padded[:, :18] = rgb[..., ::-1].reshape(4, 18)
    image = EncodedImage("bgr8", padded.tobytes(), 4, 6, 24)
    np.testing.assert_array_equal(decode(image), rgb)
    with pytest.raises(BagError, match="decoded"):
        decode(EncodedImage("rgb8", b"123", 4, 6, 18))


def test_jpeg_keeps_the_picture() -> None:
    rgb = picture(3, 1)
    assert np.abs(decode(EncodedImage("jpeg", encode_jpeg(rgb))).astype(int) - rgb).mean() < 2


def test_interface_copies_equal_the_ros_package() -> None:
    ours = ROOT / "offline" / "src" / "finevla" / "bag" / "interfaces"
    theirs = ROOT / "ros2_ws" / "src" / "finevla_msgs" / "msg"
    copies = sorted(ours.glob("*.msg"))
    used = {t.type.split("/")[-1] for t in recorded_topics(CONTRACT) if t.type.startswith("finevla_msgs/")}
    assert {c.stem for c in copies} == used | {"DimensionValue"}
    for copy in copies:
        assert copy.read_text() == (theirs / copy.name).read_text()


def test_type_hashes_in_the_bag_are_those_of_ros(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, seconds=0.2)
    stock = get_typestore(Stores.ROS2_KILTED)
    text = (bag / "metadata.yaml").read_text()
    for name in ("sensor_msgs/msg/JointState", "sensor_msgs/msg/CompressedImage"):
        assert stock.hash_rihs01(name) in text


@pytest.mark.ros
def test_type_hashes_are_those_of_the_built_messages() -> None:
    from ament_index_python.packages import get_package_share_directory

    share = Path(get_package_share_directory("finevla_msgs")) / "msg"
    for name in ("Instruction", "ParsedInstruction", "InstructionStatus", "EpisodeMark"):
        hashes = json.loads((share / f"{name}.json").read_text())["type_hashes"]
        built = next(h["hash_string"] for h in hashes if h["type_name"] == f"finevla_msgs/msg/{name}")
        assert typestore().hash_rihs01(f"finevla_msgs/msg/{name}") == built


def test_pictures_come_out_of_the_bag_one_by_one(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, seconds=0.9)
    with EpisodeReader(bag, CONTRACT) as reader:
        every = list(reader.images("cam_left_wrist"))
    places = (0, 0, 3, 2, 2, 5)
    some = Pictures(bag, CONTRACT, "cam_left_wrist", places)
    assert len(some) == 6
    for _ in range(2):
        assert list(some) == [every[place] for place in places]
    with pytest.raises(BagError, match="changed while it was read"):
        list(Pictures(bag, CONTRACT, "cam_left_wrist", (1, len(every))))
