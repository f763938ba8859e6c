"""Which episodes a recording holds, and how a demonstration becomes messages."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from finevla.bag import EpisodeReader
from finevla.bag.language import LANGUAGE_FILE, read_language
from finevla.contract import load_contract
from finevla.contract.episode import recorded_topics
from finevla.errors import FineVLAError
from finevla.sim.factors import is_ood, variations
from finevla.sim.goal import Goal
from finevla.sim.language import raw
from finevla.sim.rollout import Demonstration, Samples
from finevla.sim.score import Score
from finevla.sim.tasks import sample_scene, task_named, task_names
from finevla.stages.convert.episode import read_episode
from finevla.stages.convert.verb import Config as ConvertConfig
from finevla.stages.convert.verb import convert
from finevla.stages.record.bag import TRUTH_FILE, write_demonstration
from finevla.stages.record.plan import plan, scenes, wishes
from finevla.stages.record.verb import Config, record

CONTRACT = load_contract()


def test_goals_are_balanced_over_task_arm_and_color() -> None:
    planned = plan(("pick_lift", "place_in_bowl"), 160, plain=True)
    assert set(Counter(p.wish for p in planned).values()) == {10}
    assert len({p.name for p in planned}) == 160
    assert plan(("pick_lift", "place_in_bowl"), 40, plain=True) == planned[:40]


def test_scenes_hold_the_cube_and_no_two_episodes_share_one() -> None:
    seeds: list[int] = []
    for planned in plan(("pick_lift",), 40):
        found = list(scenes(planned, 0))
        assert len(found) > 8
        assert all(planned.wish.fits(goal) for _, goal in found)
        assert all(goal.color in spec.colors for spec, goal in found)
        seeds += [spec.seed for spec, _ in found]
    assert len(set(seeds)) == len(seeds)
    assert min(seeds) >= 1_000_000  # evaluations use small seeds
    assert not set(seeds) & {spec.seed for spec, _ in scenes(plan(("pick_lift",), 1)[0], 1)}


@pytest.mark.parametrize("task", task_names())
def test_recordings_show_every_value_of_every_factor_and_never_the_held_out_combination(task: str) -> None:
    kinds = wishes(task, plain=False)
    asked = {(name, value) for wish in kinds for name, value in wish.values}
    chosen = task_named(task)
    for name in (*chosen.factors, *chosen.optional):
        assert len({value for field, value in asked if field == name}) >= 2, name
    for planned in plan((task,), 2 * len(kinds)):
        spec, goal = next(scenes(planned, 7))
        assert not is_ood(goal)
        assert goal in variations(spec)
    assert {p.wish for p in plan((task,), len(kinds))} == set(kinds)


def demonstration(frames: int = 5) -> Demonstration:
    """A demonstration without a simulator: constant speed at 250 Hz, starting at an odd time."""
    spec = sample_scene("pick_lift", 3)
    start, step = 1_234_567_000_000, 4_000_000
    stamps = start + np.arange(frames, dtype=np.int64) * 100_000_000
    fine = start + np.arange((frames - 1) * 25, dtype=np.int64) * step
    line = lambda t: np.linspace(0.0, 1.0, 14) + ((t - start) / 1e9)[:, None] * 0.2
    rng = np.random.default_rng(0)
    image = lambda: rng.integers(0, 255, (240, 320, 3), dtype=np.uint8)
    return Demonstration(
        spec=spec,
        goal=Goal("pick_lift", "left", spec.colors[0]),
        text=f"use the left arm to pick up the {spec.colors[0]} cube",
        stamps_ns=stamps,
        states=line(stamps),
        actions=line(stamps) + 0.01,
        images={name: [image() for _ in range(frames)] for name in CONTRACT.cameras},
        truths=(),
        samples=Samples(fine, line(fine), line(fine) + 0.01),
        score=Score({"arm": "left", "color": spec.colors[0]}, {"arm": True, "color": True}, True, 100.0),
    )


def test_a_demonstration_becomes_the_same_frames(tmp_path: Path) -> None:
    demo = demonstration()
    bag = write_demonstration(tmp_path, "demo", demo, CONTRACT, start_ns=5_000_000_000)
    episode = read_episode(bag, CONTRACT, 0.25)
    assert episode.length == 5
    assert episode.stamps_ns[0] == 5_000_000_000
    np.testing.assert_allclose(episode.state, demo.states, atol=1e-6)
    np.testing.assert_allclose(episode.action, demo.actions, atol=1e-6)
    assert (episode.task, episode.info.outcome, episode.info.source) == (demo.text, "success", "sim")
    with EpisodeReader(bag) as reader:
        counts = reader.counts()
    assert set(counts) == {topic.topic for topic in recorded_topics(CONTRACT)}
    assert all(counts.values())
    assert counts[CONTRACT.arms["left"].feedback_topic] == 81  # 200 Hz
    assert (bag / TRUTH_FILE).is_file()
    assert b"truth" not in (bag / "demo.mcap").read_bytes()


def test_nothing_to_record_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FineVLAError, match="nothing to record"):
        record(Config(out=tmp_path, episodes=0))
    with pytest.raises(FineVLAError, match="juggle"):
        record(Config(out=tmp_path, task="juggle"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flag", ["hard", "astray"])
@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_that_is_none_is_an_error(tmp_path: Path, flag: str, share: float) -> None:
    with pytest.raises(FineVLAError, match=f"--{flag}"):
        record(Config(out=tmp_path, **{flag: share}))  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_another_recording_in_the_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "recording.json").write_text("{}")
    with pytest.raises(FineVLAError, match="another recording"):
        record(Config(out=tmp_path, episodes=1))


@pytest.mark.sim
def test_recording_goes_on_where_it_stopped_and_is_reproducible(
    tmp_path: Path, world: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finevla.stages.record.verb._world", lambda: world)
    config = Config(out=tmp_path / "a", task="pick_lift", plain=True, episodes=2)
    assert record(config)["recorded_now"] == 2
    second = config.out / "pick_lift_000001"
    before = (second / "pick_lift_000001.mcap").read_bytes()
    shutil.rmtree(second)
    assert record(config)["recorded_now"] == 1
    assert (second / "pick_lift_000001.mcap").read_bytes() == before
    episode = read_episode(second, CONTRACT, 0.25)
    assert "right" in episode.task
    assert episode.length > 15
    language = read_language(second)
    assert language is not None
    assert (language.instruction, language.raw) == (episode.task, raw("pick_lift"))
    assert "right" in language.paragraph
    assert any(value.slot == "actor" and "right" in value.value for value in language.values)
    out = tmp_path / "dataset"
    convert(ConvertConfig(bags=(config.out,), out=out))
    lines = [json.loads(line) for line in (out / "meta" / "FineGrainedInstruction.jsonl").open()]
    assert lines[1] == {"episode_id": 1, "FineGrainedInstruction": list(language.steps)}
    (second / LANGUAGE_FILE).write_text((config.out / "pick_lift_000000" / LANGUAGE_FILE).read_text())
    counts = convert(ConvertConfig(bags=(config.out,), out=tmp_path / "other"))
    assert counts["rejected"] == {"other_language": 1}
