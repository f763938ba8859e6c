"""Open loop: numbers against a plain numpy reference with a stub policy, and the texts of the ablations."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import pytest

from finevla.contract import load_contract
from finevla.errors import FineVLAError, InstructionError
from finevla.stages.evaluate.openloop import summarize, table, try_all
from finevla.stages.evaluate.openloop_map import heat_map
from finevla.stages.evaluate.openloop_texts import ABLATIONS, Episode, ablated, flipped, phrases_of

CONTRACT = load_contract()
HORIZON, EVERY = 4, 3
GRIPPERS = list(CONTRACT.grippers.values())
ARMS = [i for i in range(CONTRACT.dof) if i not in GRIPPERS]
TEXTS = [
    Episode("pick up the red cube with the left arm", "pick up a cube", "pick up a cube"),
    Episode("pick up the blue cube with the right arm", "pick up a cube", "pick up a cube"),
    Episode("turn the block clockwise", "turn the block", "turn the block"),
    Episode("wug the dax", "", "other"),
]


class Frames:
    """Three episodes of 7, 5 and 6 frames, and one of 3 whose words nobody knows."""

    def __init__(self) -> None:
        self.starts = np.array([0, 7, 12, 18, 21])
        rng = np.random.default_rng(0)
        self.action = rng.normal(0.0, 1.0, (21, CONTRACT.dof))

    def chunks(self, frames, horizon, rest_steps):
        owner = np.searchsorted(self.starts, frames, side="right") - 1
        last = self.starts[owner + 1][:, None] - 1
        wanted = frames[:, None] + np.arange(horizon)
        return self.action[np.minimum(wanted, last)], wanted <= last + rest_steps


class Stub:
    """Predicts zeros plus a number that its words decide; refuses what it does not know."""

    def __init__(self) -> None:
        self.asked: list[tuple[tuple[int, ...], str]] = []

    def predict(self, frames, text):
        self.asked.append((tuple(frames), text))
        if not text or "wug" in text:
            raise InstructionError("unknown words", found=text)
        return np.full((len(frames), HORIZON, CONTRACT.dof), self.value(text))

    @staticmethod
    def value(text: str) -> float:
        return 0.1 * ("red" in text) - 0.2 * ("left" in text) + 0.05 * ("counterclockwise" in text)


def measured(chosen=(0, 1, 2)):
    frames, stub = Frames(), Stub()
    tried, skipped = try_all(stub, frames, TEXTS, chosen, horizon=HORIZON, every=EVERY)
    return frames, stub, summarize(tried, skipped, CONTRACT)


def plain_errors(frames: Frames, chosen, value_of) -> np.ndarray:
    """Absolute errors as one would write them down, (n, horizon, dof), NaN past the end."""
    rows = []
    for episode in chosen:
        end = frames.starts[episode + 1]
        for begin in range(frames.starts[episode], end, EVERY):
            row = np.full((HORIZON, CONTRACT.dof), np.nan)
            for step in range(HORIZON):
                if begin + step < end:
                    row[step] = np.abs(value_of(episode) - frames.action[begin + step])
            rows.append(row)
    return np.array(rows)


def test_errors_are_those_of_a_plain_loop() -> None:
    frames, _, found = measured()
    expected = plain_errors(frames, (0, 1, 2), lambda episode: Stub.value(TEXTS[episode].text))
    assert (found["episodes"], found["frames"], found["refused"]) == (3, 7, 0)
    assert len(expected) == 7
    error = found["error"]
    assert error["mean_rad"] == pytest.approx(np.nanmean(expected[..., ARMS]))
    assert error["mean_m"] == pytest.approx(np.nanmean(expected[..., GRIPPERS]))
    assert error["p95_rad"] == pytest.approx(np.nanpercentile(expected[..., ARMS], 95))
    assert np.array(error["joint_step_mean"]) == pytest.approx(np.nanmean(expected, axis=0).T)
    assert np.array(error["joint_step_p95"]) == pytest.approx(np.nanpercentile(expected, 95, axis=0).T)
    name = CONTRACT.joint_names[2]
    assert error["joints"][name]["mean"] == pytest.approx(np.nanmean(expected[..., 2]))
    assert {error["joints"][CONTRACT.joint_names[i]]["unit"] for i in GRIPPERS} == {"m"}
    assert error["steps_mean_rad"] == pytest.approx(np.nanmean(expected[..., ARMS], axis=(0, 2)))


def test_a_flipped_arm_changes_what_the_words_decide() -> None:
    frames, _, found = measured()
    row = found["ablations"]["flip_arm"]
    assert (row["episodes"], row["n"], row["no_such_text"]) == (2, 5, 1)
    assert row["change_rad"] == pytest.approx(0.2)
    other = {0: Stub.value(TEXTS[0].text) + 0.2, 1: Stub.value(TEXTS[1].text) - 0.2}
    wrong = plain_errors(frames, (0, 1), other.__getitem__)[..., ARMS]
    right = plain_errors(frames, (0, 1), lambda e: Stub.value(TEXTS[e].text))[..., ARMS]
    assert row["error_rad"] == pytest.approx(np.nanmean(wrong))
    assert row["error_increase_rad"] == pytest.approx(np.nanmean(wrong) - np.nanmean(right))


def test_a_change_is_measured_where_a_target_counts() -> None:
    _, _, found = measured()
    assert found["ablations"]["flip_rotation"]["change_rad"] == pytest.approx(0.05)
    assert found["ablations"]["flip_color"]["change_rad"] == pytest.approx(0.1)
    assert found["ablations"]["neutral"]["change_rad"] == pytest.approx(
        # 9 targets of the first episode move by 0.1, 6 of the second and 9 of the third by nothing
        (9 * abs(Stub.value(TEXTS[0].text)) + 6 * 0.0 + 7 * 0.0) / (9 + 6 + 7)
    )


def test_empty_words_are_refused_and_counted() -> None:
    _, stub, found = measured()
    assert found["ablations"]["empty"] == {"n": 0, "episodes": 0, "refused": 3, "no_such_text": 0}
    assert sum(text == "" for _, text in stub.asked) == 3


def test_an_episode_whose_words_are_refused_is_left_out_and_counted() -> None:
    _, _, found = measured((2, 3))
    assert (found["episodes"], found["refused"]) == (1, 1)
    with pytest.raises(FineVLAError, match="takes the text of no episode"):
        measured((3,))


def test_the_same_frames_get_all_words() -> None:
    _, stub, _ = measured((0,))
    assert {frames for frames, _ in stub.asked} == {(0, 3, 6)}
    assert len({text for _, text in stub.asked}) == len(stub.asked)


def test_a_deaf_policy_changes_nothing() -> None:
    class Deaf(Stub):
        @staticmethod
        def value(text: str) -> float:
            return 0.3

    tried, skipped = try_all(Deaf(), Frames(), TEXTS, (0, 1, 2), horizon=HORIZON, every=EVERY)
    found = summarize(tried, skipped, CONTRACT)["ablations"]
    moved = [row["change_rad"] for row in found.values() if row["n"]]
    assert len(moved) >= 4
    assert moved == [0.0] * len(moved)
    assert [row["error_increase_rad"] for row in found.values() if row["n"]] == [0.0] * len(moved)


PHRASES = phrases_of(
    ["the red cube", "the red block", "a blue cube", "a yellow one", "by the handle", "by the rim", "upright"]
)


@pytest.mark.parametrize(
    ("factor", "text", "expected"),
    [
        (
            "arm",
            "With your Left arm, take the cup on the left.",
            "With your right arm, take the cup on the left.",
        ),
        (
            "side",
            "With your left arm, take the cup on the left.",
            "With your left arm, take the cup on the right.",
        ),
        ("side", "put it to the left of the plate", "put it to the right of the plate"),
        ("side", "take the near cup", "take the far cup"),
        ("rotation", "turn it counterclockwise", "turn it clockwise"),
        ("color", "put the red cube on the blue one", "put the yellow cube on the red one"),
        ("region", "take the cup by the handle", "take the cup by the rim"),
        ("arm", "take the cup on the left", None),
        ("rotation", "take the cup", None),
        ("pose", "hold it upright", None),  # no text of the dataset names another pose
        ("color", "take the magenta cube", None),  # nor this color
    ],
)
def test_one_factor_is_flipped(factor: str, text: str, expected: str | None) -> None:
    assert flipped(text, factor, PHRASES) == expected


def test_shuffled_words_are_of_the_same_task() -> None:
    phrases = phrases_of(episode.text for episode in TEXTS)
    assert ablated("shuffled", TEXTS, 0, phrases) == TEXTS[1].text
    assert ablated("shuffled", TEXTS, 1, phrases) == TEXTS[0].text
    assert ablated("shuffled", TEXTS, 2, phrases) is None
    assert ablated("neutral", TEXTS, 0, phrases) == "pick up a cube"
    assert ablated("neutral", TEXTS, 3, phrases) is None
    same = [Episode("pick up a cube", "pick up a cube", "g")]
    assert ablated("neutral", same, 0, phrases) is None


def test_the_table_names_every_joint_and_ablation() -> None:
    _, _, found = measured()
    text = table(found)
    assert all(name in text for name in (*CONTRACT.joint_names, *ABLATIONS))
    assert text.startswith("3 episodes, 7 frames, 0 refused")


def test_the_map_has_a_cell_per_joint_and_step() -> None:
    _, _, found = measured()
    root = ET.fromstring(heat_map(found["error"], "a <title>"))
    cells = [rect for rect in root.iter("{http://www.w3.org/2000/svg}rect") if len(rect)]
    assert len(cells) == CONTRACT.dof * HORIZON
    darkest = [rect for rect in cells if rect.get("fill") == "#08306b"]
    assert len(darkest) == 2  # one in rad, one in m
