"""The verb as a whole: what comes out, opened by LeRobot; and by the checks of `finevla inspect`."""

from __future__ import annotations

import json
from pathlib import Path

import av
import numpy as np
import pytest
from foreign_lerobot import CAMERA

from finevla.contract import ARM_SIDES, unified
from finevla.contract.kinematics import tool_pose
from finevla.dataset.check import problems_of
from finevla.dataset.modality import Modality, Slice
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.stats import values
from finevla.errors import DatasetError, FineVLAError
from finevla.stages.normalize.verb import Config, main, normalize

LENGTHS = (20, 4, 25)
"""The second one is too short for the robot's preset."""


@pytest.fixture(params=["v3.0", "v2.1"])
def source(kit, request, tmp_path: Path) -> Path:
    episodes = [kit.moving(n, i) for i, n in enumerate(LENGTHS)]
    episodes[1].task = "something else"
    root = kit.write(tmp_path / "lab", episodes, request.param)
    lines = [{"episode_id": i, "FineGrainedInstruction": [f"step of {i}"]} for i in range(3)]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (root / "meta/FineGrainedInstruction.jsonl").write_text(text)
    return root


def made(source: Path, out: Path, **flags) -> Opened:
    normalize(Config(datasets=(source,), out=out, **flags))
    return open_dataset(out)


def numbers(dataset: Opened, key: str, number: int = 0) -> np.ndarray:
    return values(dataset.table(number), key)


def pictures(dataset: Opened, number: int) -> np.ndarray:
    piece = dataset.piece(number, CAMERA)
    with av.open(str(piece.path)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    first = round(piece.start_s * dataset.fps)
    return np.stack(frames[first : first + piece.frames])


def test_kept_episodes_are_as_they_were_with_four_columns_more(source: Path, tmp_path: Path) -> None:
    before, dataset = open_dataset(source), made(source, tmp_path / "out")
    assert dataset.version == before.version
    assert list(problems_of(dataset)) == []
    assert [dataset.length(n) for n in range(2)] == [LENGTHS[0], LENGTHS[2]]
    for new, old in enumerate((0, 2)):
        for key in ("observation.state", "action", "timestamp", "frame_index", "task_index"):
            np.testing.assert_array_equal(numbers(dataset, key, new), numbers(before, key, old))
        np.testing.assert_array_equal(pictures(dataset, new), pictures(before, old))
        assert dataset.tasks_of(new) == before.tasks_of(old)
        for key, what in ((unified.STATE, "observation.state"), (unified.ACTION, "action")):
            vector = numbers(dataset, key, new)
            np.testing.assert_array_equal(vector[:, :6], numbers(before, what, old)[:, :6])
            np.testing.assert_array_equal(vector[:, 29:35], numbers(before, what, old)[:, 7:13])
            np.testing.assert_array_equal(vector[:, 45], numbers(before, what, old)[:, 13])
    lines = (dataset.root / "meta/FineGrainedInstruction.jsonl").read_text().splitlines()
    assert [(json.loads(x)["episode_id"], json.loads(x)["FineGrainedInstruction"]) for x in lines] == [
        (0, ["step of 0"]),
        (1, ["step of 2"]),
    ]


def test_forward_kinematics_fills_the_poses(kit, source: Path, tmp_path: Path) -> None:
    dataset = made(source, tmp_path / "out")
    for key, mask_key, what in (
        (unified.STATE, unified.STATE_MASK, "observation.state"),
        (unified.ACTION, unified.ACTION_MASK, "action"),
    ):
        vector, mask = numbers(dataset, key), numbers(dataset, mask_key)
        assert (mask == mask[0]).all()
        wanted = [*range(6), *range(7, 14), 16, *range(29, 35), *range(36, 43), 45]
        assert np.flatnonzero(mask[0]).tolist() == wanted
        assert not vector[:, ~mask[0]].any()
        for side in ARM_SIDES:
            poses = unified.take(vector, mask[0], f"{side}_eef")
            joints = numbers(dataset, what)[:, kit.contract.arm_slice(side)]
            for pose, q in zip(poses, joints, strict=True):
                wanted_pose = tool_pose(kit.contract, side, q.astype(float))
                np.testing.assert_allclose(pose[:3], wanted_pose[:3, 3], atol=1e-6)
                x, y, z, w = pose[3:].astype(float)
                # The third column of a rotation, written out: where the gripper points.
                points = [2 * (x * z + y * w), 2 * (y * z - x * w), 1 - 2 * (x * x + y * y)]
                np.testing.assert_allclose(points, wanted_pose[:3, 2], atol=1e-6)
            assert (np.einsum("ij,ij->i", poses[1:, 3:], poses[:-1, 3:]) > 0).all()
    told = json.loads((dataset.root / "meta/unified.json").read_text())
    assert told["computed"] == {group: ["left_eef", "right_eef"] for group in ("state", "action")}
    assert told["robot"]["contract_hash"] == kit.contract.hash


def test_lerobot_opens_it(kit, tmp_path: Path) -> None:
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    source = kit.write(tmp_path / "lab", [kit.moving(n, i) for i, n in enumerate(LENGTHS)])
    out = made(source, tmp_path / "out").root
    dataset = LeRobotDataset("local/normalized", root=out, return_uint8=True)
    assert (dataset.num_episodes, dataset.num_frames) == (2, LENGTHS[0] + LENGTHS[2])
    item = dataset[LENGTHS[0] + 3]
    assert item["episode_index"] == 1
    row = numbers(open_dataset(out), unified.STATE, 1)[3]
    np.testing.assert_array_equal(item[unified.STATE].numpy(), row)
    mask = item[unified.STATE_MASK].numpy()
    assert (mask.dtype, mask.shape, mask.sum()) == (np.bool_, (80,), 28)
    assert tuple(item[CAMERA].shape) == (3, 48, 64)
    stats = dataset.meta.stats[unified.STATE]
    every = np.concatenate([numbers(open_dataset(out), unified.STATE, n) for n in range(2)]).astype(float)
    np.testing.assert_allclose(stats["mean"], every.mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(stats["q99"], np.quantile(every, 0.99, axis=0), atol=1e-6)


def test_reports_name_every_episode_and_its_reason(source: Path, tmp_path: Path) -> None:
    out = made(source, tmp_path / "out").root
    report = json.loads((out / "filter_report.json").read_text())
    assert list(report["episodes"]) == ["0", "1", "2"]
    assert report["episodes"]["1"]["reasons"] == ["too_short"]
    assert report["summary"] | {"threshold": 0.5, "min_frames": 10, "kept": 2} == report["summary"]
    rows = [json.loads(line) for line in (out / "rejected.jsonl").read_text().splitlines()]
    assert [(row["item"], row["reason"]) for row in rows] == [("episode 1", "too_short")]
    counts = json.loads((out / "report.json").read_text())["counts"]
    assert (counts["rejected"], counts["reasons"], counts["preset"]) == (1, {"too_short": 1}, "cobotmagic")
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    told = json.loads((out / "meta/unified.json").read_text())
    assert told["time"] == {"fps": 15, "t0_s": 0.0, "seconds_per_frame": 1 / 15}
    assert [(e["episode_index"], e["source_episode_index"]) for e in told["episodes"]] == [(0, 0), (1, 2)]
    assert not (out / "scratch").exists()


def test_the_identity_of_the_source_is_that_of_its_content(kit, tmp_path: Path) -> None:
    episodes = [kit.moving(20, i) for i in range(2)]
    told = []
    for name, to in (("a", "v3.0"), ("b", "v2.1")):
        out = made(kit.write(tmp_path / name, episodes, to), tmp_path / f"{name}_out").root
        told.append(json.loads((out / "meta/unified.json").read_text()))
    assert told[0]["source"]["dataset_hash"] == told[1]["source"]["dataset_hash"], "wherever it lies"
    episodes[1].action[3, 2] += 1e-3
    out = made(kit.write(tmp_path / "c", episodes), tmp_path / "c_out").root
    other = json.loads((out / "meta/unified.json").read_text())
    assert other["source"]["dataset_hash"] != told[0]["source"]["dataset_hash"]
    assert other["dataset_hash"] != told[0]["dataset_hash"]


@pytest.mark.parametrize("to", ["delta_euler", "rel_rotvec", "abs_wxyz"])
def test_other_action_types_can_be_undone(kit, to: str, tmp_path: Path) -> None:
    from finevla.stages.normalize.actions import ActionType, parse_type, to_absolute

    source = kit.write(tmp_path / "lab", [kit.moving(20)])
    wanted, dataset = made(source, tmp_path / "abs"), made(source, tmp_path / "out", to=to)
    kind = parse_type(to, "--to")
    state, mask = numbers(dataset, unified.STATE), numbers(dataset, unified.STATE_MASK)[0]
    action, action_mask = numbers(dataset, unified.ACTION), numbers(dataset, unified.ACTION_MASK)[0]
    np.testing.assert_array_equal(state, numbers(wanted, unified.STATE))
    for name in ("left_joint", "left_eef", "right_gripper"):
        part = unified.take(action, action_mask, name).astype(float)
        seen = unified.take(state, mask, name).astype(float)
        form = kind.form if name == "left_eef" else "joint"
        back = to_absolute(ActionType(kind.time, form), part, seen)
        again = unified.take(numbers(wanted, unified.ACTION), numbers(wanted, unified.ACTION_MASK)[0], name)
        np.testing.assert_allclose(back, again, atol=2e-6)
    told = json.loads((dataset.root / "meta/unified.json").read_text())
    assert told["action"]["left_eef"]["type"] == to
    assert told["action"]["left_joint"]["type"] == f"{kind.time}_joint"


NAMES = ["x", "y", "z", "roll", "pitch", "yaw", "grip"]


def one_arm(**changes) -> Modality:
    pose = Slice("observation.state", 0, 6, rotation="euler_angles_rpy")
    move = Slice("action", 0, 6, **{"absolute": False, "rotation": "euler_angles_rpy", **changes})
    return Modality(
        state={"right_eef": pose, "right_gripper": Slice("observation.state", 6, 7)},
        action={"right_eef": move, "right_gripper": Slice("action", 6, 7)},
        video={"wrist": CAMERA},
    )


def poses_of_one_arm(kit, frames: int = 30):
    """A pose with euler angles, and its changes, as Bridge tells them."""
    t = np.arange(frames)[:, None] * 0.2
    phase = np.arange(3)
    state = np.hstack([0.3 * np.sin(t + phase), 0.5 * np.sin(t + phase + 0.5), 0.5 + 0.4 * np.sin(t)])
    change = np.hstack([0.01 * np.cos(t + phase), 0.03 * np.cos(t + phase + 3), 0.5 + 0.4 * np.sin(t)])
    episode = kit.moving(frames)
    episode.state, episode.action = state.astype(np.float32), change.astype(np.float32)
    return episode


def turned(angles: np.ndarray) -> np.ndarray:
    (a, b, c), cos, sin = angles, np.cos, np.sin
    rx = np.array([[1, 0, 0], [0, cos(a), -sin(a)], [0, sin(a), cos(a)]])
    ry = np.array([[cos(b), 0, sin(b)], [0, 1, 0], [-sin(b), 0, cos(b)]])
    rz = np.array([[cos(c), -sin(c), 0], [sin(c), cos(c), 0], [0, 0, 1]])
    return rz @ ry @ rx


def test_changes_of_a_pose_become_absolute_as_the_modality_tells(kit, tmp_path: Path) -> None:
    episode = poses_of_one_arm(kit)
    source = kit.write(tmp_path / "lab", [episode], names=NAMES, robot="widowx", modality=one_arm())
    dataset = made(source, tmp_path / "out", preset="bridge")
    vector, mask = numbers(dataset, unified.ACTION), numbers(dataset, unified.ACTION_MASK)[0]
    assert np.flatnonzero(mask).tolist() == [*range(36, 43), 45], "one arm is the right one"
    for t, row in enumerate(unified.take(vector, mask, "right_eef").astype(float)):
        s, a = episode.state[t].astype(float), episode.action[t].astype(float)
        np.testing.assert_allclose(row[:3], s[:3] + a[:3], atol=1e-6)
        x, y, z, w = row[3:]
        matrix = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        )
        np.testing.assert_allclose(matrix, turned(a[3:6]) @ turned(s[3:6]), atol=1e-6)
    np.testing.assert_array_equal(vector[:, 45], episode.action[:, 6])
    told = json.loads((dataset.root / "meta/unified.json").read_text())
    assert told["action"]["right_eef"] == {
        "type": "abs_quat",
        "source": {"type": "delta_euler", "column": "action", "dimensions": list(range(6))},
    }
    assert told["robot"] == {"name": "widowx", "kinematics": None, "contract_hash": None}
    assert list(problems_of(dataset)) == []


def test_what_the_dataset_does_not_tell_the_user_does(kit, tmp_path: Path) -> None:
    untold = Modality(
        state={"right_eef": Slice("observation.state", 0, 6)},
        action={"right_eef": Slice("action", 0, 6)},
        video={"wrist": CAMERA},
    )
    source = kit.write(tmp_path / "lab", [poses_of_one_arm(kit)], names=NAMES, robot=None, modality=untold)
    with pytest.raises(DatasetError, match="rotation of an end effector"):
        made(source, tmp_path / "out")
    flags = {"state_type": "abs_euler", "action_type": "delta_euler", "preset": "bridge"}
    dataset = made(source, tmp_path / "out", **flags)
    known = kit.write(
        tmp_path / "known", [poses_of_one_arm(kit)], names=NAMES, robot=None, modality=one_arm()
    )
    other = made(known, tmp_path / "other", preset="bridge")
    for key in (unified.STATE, unified.ACTION):
        np.testing.assert_array_equal(numbers(dataset, key)[:, 36:43], numbers(other, key)[:, 36:43])


REFUSED = {
    "names of nothing known": {"names": [f"q{i}" for i in range(14)]},
    "a joint of another name": {"change": lambda names: [*names[:3], "elbow", *names[4:]]},
    "one joint twice": {"change": lambda names: [names[0], *names[:1], *names[2:]]},
}


@pytest.mark.parametrize("case", REFUSED)
def test_arms_that_cannot_be_known_are_refused(kit, case: str, tmp_path: Path) -> None:
    how = REFUSED[case]
    names = how.get("names") or how["change"](list(kit.names))
    source = kit.write(tmp_path / "lab", [kit.moving()], names=names)
    with pytest.raises(DatasetError, match="which dimensions are which part") as caught:
        made(source, tmp_path / "out")
    assert names[0] in caught.value.found
    assert not (tmp_path / "out").exists()


def test_joints_of_an_unknown_robot_get_no_poses(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving()], robot="r1_lite")
    assert numbers(made(source, tmp_path / "out"), unified.STATE_MASK).sum(axis=1).max() == 14
    dataset = made(source, tmp_path / "told", robot=kit.contract.name)
    assert numbers(dataset, unified.STATE_MASK).sum(axis=1).max() == 28
    assert dataset.info["robot_type"] == kit.contract.name


def test_several_datasets_are_written_side_by_side_or_none_is_begun(kit, tmp_path: Path) -> None:
    roots = tuple(kit.write(tmp_path / name, [kit.moving(20, i)]) for i, name in enumerate("ab"))
    normalize(Config(datasets=roots, out=tmp_path / "out"))
    assert [list(problems_of(open_dataset(tmp_path / "out" / name))) for name in "ab"] == [[], []]
    bad = kit.write(tmp_path / "c", [kit.moving()], names=[f"q{i}" for i in range(14)])
    with pytest.raises(DatasetError):
        normalize(Config(datasets=(*roots, bad), out=tmp_path / "again"))
    assert not (tmp_path / "again").exists()
    with pytest.raises(FineVLAError, match="told apart"):
        normalize(Config(datasets=(roots[0], roots[0]), out=tmp_path / "again"))


def test_a_dry_run_writes_nothing_and_prints_all(kit, tmp_path: Path, capsys) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20), kit.moving(5)])
    flags = {"datasets": (source,), "out": tmp_path / "out", "dry_run": True}
    assert main(Config(**flags)) == 0
    assert "episode 1: too_short" in capsys.readouterr().out
    assert main(Config(**flags, json=True, min_frames=100)) == 1
    told = json.loads(capsys.readouterr().out)["datasets"][0]
    assert [row["reason"] for row in told["rejected_episodes"]] == ["too_short", "too_short"]
    assert not (tmp_path / "out").exists()
    with pytest.raises(DatasetError, match="none of the 2 episodes"):
        normalize(Config(datasets=(source,), out=tmp_path / "out", min_frames=100))
    assert not (tmp_path / "out").exists()


def test_what_is_normalized_is_not_normalized_again(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving()])
    made(source, tmp_path / "out")
    with pytest.raises(DatasetError, match="normalized already"):
        made(tmp_path / "out", tmp_path / "again")


def test_several_processes_give_the_same(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20, i) for i in range(3)])
    one, two = made(source, tmp_path / "one"), made(source, tmp_path / "two", workers=2)
    for name in ("meta/info.json", "meta/stats.json", "filter_report.json", "meta/unified.json"):
        assert (one.root / name).read_bytes() == (two.root / name).read_bytes(), name
    for number in range(3):
        assert one.table(number).equals(two.table(number))


def test_the_oldest_format_becomes_the_next_one(kit, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20), kit.moving(4)], "v2.1")
    info = json.loads((source / "meta/info.json").read_text())
    (source / "meta/info.json").write_text(json.dumps(info | {"codebase_version": "v2.0"}))
    (source / "meta/episodes_stats.jsonl").unlink()
    dataset = made(source, tmp_path / "out")
    assert (dataset.version, len(dataset.rows)) == ("v2.1", 1)
    assert list(problems_of(dataset)) == []
    seen = (pictures(dataset, 0)[::10] / 255.0).mean(axis=(0, 1, 2))
    np.testing.assert_allclose(dataset.stats(0)[CAMERA]["mean"].ravel(), seen, atol=1e-6)


def test_kinematics_are_those_of_the_contract_that_was_recorded(kit, tmp_path: Path) -> None:
    from finevla.contract.robot import contract_from_document

    source = kit.write(tmp_path / "lab", [kit.moving(20)])
    older = {**kit.contract.document, "dh_is_offset": 0}
    record = {"contract": older, "contract_hash": "h", "dataset_hash": "d", "episodes": []}
    (source / "meta/finevla.json").write_text(json.dumps(record))
    dataset = made(source, tmp_path / "out")
    pose = unified.take(numbers(dataset, unified.STATE), numbers(dataset, unified.STATE_MASK)[0], "right_eef")
    q = numbers(dataset, "observation.state")[0, 7:].astype(float)
    there, here = (tool_pose(c, "right", q)[:3, 3] for c in (contract_from_document(older), kit.contract))
    np.testing.assert_allclose(pose[0, :3], there, atol=1e-6)
    assert np.abs(there - here).max() > 1e-3


def test_an_output_that_exists_is_refused_before_anything_is_read(kit, tmp_path: Path, monkeypatch) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20)])
    (tmp_path / "out").mkdir()
    (tmp_path / "out/mine.txt").write_text("keep")
    monkeypatch.setattr("finevla.stages.normalize.examine.examine", lambda job: pytest.fail("was read"))
    with pytest.raises(FineVLAError, match="exists already"):
        made(source, tmp_path / "out")
    assert (tmp_path / "out/mine.txt").read_text() == "keep"


WRONG = {
    "to": "abs_matrix",
    "action_type": "rel_joint",
    "state_type": "delta_joint",
    "threshold": "high",
    "percentile": 200.0,
    "compare": "left_hand",
}


@pytest.mark.parametrize("flag", WRONG)
def test_a_flag_that_is_wrong_is_refused(kit, flag: str, tmp_path: Path) -> None:
    source = kit.write(tmp_path / "lab", [kit.moving(20)])
    with pytest.raises(FineVLAError) as caught:
        made(source, tmp_path / "out", **{flag: WRONG[flag]})
    assert caught.value.remedy
    assert not (tmp_path / "out").exists()
