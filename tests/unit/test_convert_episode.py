"""A bag into an episode: values, texts, and a named reason for every bag that cannot be used."""

from pathlib import Path

import numpy as np
import pytest
from fake_episode import TEXT, fake_bag, joints

from finevla.bag import EpisodeWriter
from finevla.contract import load_contract
from finevla.contract.episode import EpisodeInfo
from finevla.stages.convert.episode import EpisodeRejectedError, read_episode
from finevla.stages.convert.video import VideoSettings
from finevla.stages.convert.work import Converted, Job, convert_bag
from finevla.stages.report import Rejected

CONTRACT = load_contract()
CAM = CONTRACT.cameras["cam_left_wrist"].compressed_topic
LEADER = CONTRACT.arms["right"].leader_topic


def both(seconds: float, leader: bool) -> np.ndarray:
    return np.concatenate([joints(seconds, "left", leader), joints(seconds, "right", leader)])


def test_states_and_actions_are_the_streams_at_the_frames(tmp_path: Path) -> None:
    episode = read_episode(fake_bag(tmp_path), CONTRACT, 0.25)
    assert episode.length == 11
    for k in (0, 5, 10):
        np.testing.assert_allclose(episode.state[k], both(k * 0.1, leader=False), atol=1e-6)
        np.testing.assert_allclose(episode.action[k], both(k * 0.1, leader=True), atol=1e-6)
    assert (episode.task, episode.level.value) == (TEXT, "fine")
    assert "left_arm" in {v.value for v in episode.dimensions}


def test_thirty_hertz_cameras_are_decimated(tmp_path: Path) -> None:
    episode = read_episode(fake_bag(tmp_path, camera_hz=30.0), CONTRACT, 0.25)
    assert episode.length == 11
    assert episode.surplus == 20


def test_dimensions_come_from_the_parser_where_the_bag_has_none(tmp_path: Path) -> None:
    episode = read_episode(fake_bag(tmp_path, said=()), CONTRACT, 0.25)
    assert {"left_arm", "red"} <= {v.value for v in episode.dimensions}


@pytest.mark.parametrize(
    ("reason", "changes", "named"),
    [
        ("missing_camera", {"without": (CAM,)}, CAM),
        ("missing_joints", {"without": (LEADER,)}, LEADER),
        ("wrong_joints", {"rename": "elbow"}, "elbow"),
        ("wrong_joints", {"nan": True}, "joint2"),
        ("no_instruction", {"instruction": "", "said": ()}, "none"),
        ("several_instructions", {"instruction": "", "said": (TEXT, "pick up a cube")}, "pick up a cube"),
        ("bad_instruction", {"instruction": "do not move", "said": ()}, "do not"),
        ("no_frames", {"keep": lambda topic, ms: topic != LEADER or ms < 50}, "leader_gap:right"),
        (
            "frame_gap",
            {"keep": lambda topic, ms: topic != CAM or not 250 < ms < 650},
            "no_image:cam_left_wrist",
        ),
        ("frame_gap", {"keep": lambda topic, ms: topic != LEADER or not 250 < ms < 650}, "leader_gap:right"),
        ("bad_image", {"size": (160, 120)}, "160x120"),
        ("bad_image", {"jpeg": lambda data: data[:-900]}, "cut short"),
        ("bad_image", {"jpeg": lambda data: data[:900] + data[-2:]}, "decoded"),
        ("labeled_failure", {"outcome": "failure"}, "--include-failures"),
    ],
)
def test_bad_bags_are_rejected_with_a_reason(
    tmp_path: Path, reason: str, changes: dict[str, object], named: str
) -> None:
    result = convert_bag(job(fake_bag(tmp_path / "in", **changes), tmp_path))
    assert isinstance(result, Rejected)
    assert result.reason == reason
    assert named in result.message


def job(bag: Path, tmp_path: Path, **changes: object) -> Job:
    fields = {
        "bag": bag,
        "number": 0,
        "scratch": tmp_path / "scratch",
        "document": CONTRACT.document,
        "max_gap_s": 0.25,
        "include_failures": False,
        "settings": VideoSettings(),
    }
    return Job(**(fields | changes))  # type: ignore[arg-type]


def test_failures_can_be_kept(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path / "in", outcome="failure", seconds=0.5)
    assert isinstance(convert_bag(job(bag, tmp_path, include_failures=True)), Converted)


def test_one_lost_frame_is_dropped_counted_and_not_filled(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path, keep=lambda topic, ms: topic != CAM or ms != 300)
    episode = read_episode(bag, CONTRACT, 0.25)
    assert episode.length == 10
    assert episode.dropped == {"no_image:cam_left_wrist": 1}


def test_empty_bag_and_other_contract(tmp_path: Path) -> None:
    with EpisodeWriter(tmp_path, EpisodeInfo("empty", instruction=TEXT)) as writer:
        empty = writer.close()
    with pytest.raises(EpisodeRejectedError) as caught:
        read_episode(empty, CONTRACT, 0.25)
    assert caught.value.reason == "empty"
    bag = fake_bag(tmp_path)
    metadata = bag / "metadata.yaml"
    metadata.write_text(metadata.read_text().replace(CONTRACT.hash, "0" * 64))
    with pytest.raises(EpisodeRejectedError) as caught:
        read_episode(bag, CONTRACT, 0.25)
    assert caught.value.reason == "other_contract"


def test_truncated_bag(tmp_path: Path) -> None:
    bag = fake_bag(tmp_path)
    file = bag / "episode.mcap"
    file.write_bytes(file.read_bytes()[:200_000])
    with pytest.raises(EpisodeRejectedError) as caught:
        read_episode(bag, CONTRACT, 0.25)
    assert caught.value.reason == "unreadable"
