"""FG:Raw mixing: exact probabilities, nested choices, equal frames for every mix, and upstream's way."""

from __future__ import annotations

import math
from collections import Counter
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from train_cases import NO_AUGMENT, TASKS, NumberCodec, toy_cache, toy_source, without

from finevla.errors import DatasetError
from finevla.stages.train.batches import training_texts
from finevla.stages.train.mix import MIXES, Mix
from finevla.stages.train.sampler import Pools, Sampler

FRAMES = np.arange(28)
SHARES = [
    Fraction(0),
    Fraction(1, 5),
    Fraction(1, 3),
    Fraction(1, 2),
    Fraction(2, 3),
    Fraction(4, 5),
    Fraction(1),
]


def test_the_seven_settings_have_the_shares_of_the_paper_in_its_order() -> None:
    assert [mix.share for mix in MIXES] == SHARES
    assert [mix.name for mix in MIXES] == ["raw", "1:4", "1:2", "1:1", "2:1", "4:1", "fg"]
    assert [Mix.parse(mix.name) for mix in MIXES] == list(MIXES)


@pytest.mark.parametrize(
    ("text", "share", "name"),
    [("3:7", Fraction(3, 10), "3:7"), ("0.5:1.5", Fraction(1, 4), "1:3"), ("0:2", Fraction(0), "raw"),
     ("2:0", Fraction(1), "fg"), (" FG ", Fraction(1), "fg"), ("10:10", Fraction(1, 2), "1:1")],
)  # fmt: skip
def test_other_ratios_are_read(text: str, share: Fraction, name: str) -> None:
    assert (Mix.parse(text).share, Mix.parse(text).name) == (share, name)


@pytest.mark.parametrize("text", ["", "0:0", "-1:2", "1:-2", "1", "1:2:3", "fine", "1/2", "nan:1", "1e3:1"])
def test_what_is_no_ratio_is_refused_by_name(text: str) -> None:
    with pytest.raises(DatasetError, match="the mix cannot be read") as caught:
        Mix.parse(text)
    assert repr(text) in str(caught.value)
    assert "1:4" in caught.value.remedy


@settings(deadline=None)
@given(st.integers(0, 40), st.integers(1, 40), st.integers(-3, 3))
def test_the_threshold_is_exact_to_the_last_float(fine: int, raw: int, offset: int) -> None:
    mix = Mix(Fraction(fine), Fraction(raw))
    near = math.floor(mix.share * 2**53) + offset
    if 0 <= near < 2**53:
        u = near / 2**53  # every number that numpy's uniform can give is one of these
        assert mix.chooses(np.array([u])).tolist() == [Fraction(u) < mix.share]


@pytest.mark.parametrize("mix", MIXES, ids=lambda m: m.name)
def test_drawn_words_follow_the_ratio_within_binomial_bounds(mix: Mix) -> None:
    sampler = Sampler(toy_cache(), FRAMES, mix, "strict", "frames")
    fine = np.concatenate([sampler.draw(64, 5, step).fine for step in range(400)])
    p, n = float(mix.share), fine.size
    assert abs(fine.sum() - n * p) <= 4.0 * math.sqrt(n * p * (1 - p))


def test_richer_mixes_keep_every_fine_choice_of_poorer_ones() -> None:
    samplers = [Sampler(toy_cache(), FRAMES, mix, "strict", "frames") for mix in MIXES]
    for step in range(50):
        choices = np.stack([sampler.draw(64, 0, step).fine for sampler in samplers])
        assert (choices[1:] >= choices[:-1]).all()
        assert not choices[0].any()
        assert choices[-1].all()
    assert (choices[3] != choices[2]).any()


@pytest.mark.parametrize("balance", ["frames", "group"])
def test_everything_but_the_words_is_equal_over_the_mixes(balance) -> None:
    cache, codec = toy_cache(), NumberCodec()
    sources = [toy_source(cache, mix, codec, balance=balance) for mix in MIXES]
    words: list[list[str]] = [[] for _ in MIXES]
    for step in range(4):
        batches = [source.draw(FRAMES, 32, 3, step) for source in sources]
        for batch in batches[1:]:
            assert torch.equal(batch.inputs.pictures, batches[0].inputs.pictures)
            assert torch.equal(batch.inputs.state, batches[0].inputs.state)
            assert torch.equal(batch.target, batches[0].target)
            assert torch.equal(batch.valid, batches[0].valid)
        for said, batch in zip(words, batches, strict=True):
            said += codec.spoken(batch.inputs.words)
    assert len(set(map(tuple, words))) == len(MIXES)


def test_words_have_a_stream_of_their_own() -> None:
    """The streams are part of what a recorded seed means: `[seed, 2, step]` and `[seed, 3, step]`."""
    mix = Mix.parse("1:2")
    drawn = Sampler(toy_cache(), FRAMES, mix, "strict", "frames").draw(64, 9, 4)
    assert drawn.frames.tolist() == np.random.default_rng([9, 2, 4]).choice(FRAMES, 64).tolist()
    assert drawn.fine.tolist() == (np.random.default_rng([9, 3, 4]).random(64) < mix.threshold).tolist()


def test_each_sample_is_told_in_words_of_its_own_episode() -> None:
    cache, codec = toy_cache(), NumberCodec()
    source = toy_source(cache, Mix.parse("1:1"), codec)
    drawn = source.drawn(FRAMES, 64, 0, 0)
    said = codec.spoken(source.draw(FRAMES, 64, 0, 0).inputs.words)
    owners = cache.episode_of(drawn.frames)
    assert said == [(cache.fine if f else cache.raw)[e] for e, f in zip(owners, drawn.fine, strict=True)]
    assert len(set(drawn.fine)) == 2
    exact = codec.spoken(source.exact(np.array([0, 27]), fine=False).inputs.words)
    assert exact == [cache.raw[0], cache.raw[5]]


def test_strict_mode_needs_both_texts_of_every_episode_whatever_the_mix() -> None:
    for mix in MIXES:
        for kind, word in (("fine", "fine-grained"), ("raw", "raw")):
            with pytest.raises(DatasetError, match=f"no {word} text") as caught:
                toy_source(without(toy_cache(), kind, {1, 4}), mix)
            assert "episode 1, 4" in str(caught.value)
            assert "strict" in caught.value.expected
            assert ("--mix-mode upstream" in caught.value.remedy) == (kind == "fine")


def test_a_dataset_with_one_kind_of_text_trains_with_the_pure_mix_of_it() -> None:
    only_fine = without(toy_cache(), "raw", range(6))
    toy_source(only_fine, Mix.parse("fg")).draw(FRAMES, 8, 0, 0)
    toy_source(without(toy_cache(), "fine", range(6)), Mix.parse("raw")).draw(FRAMES, 8, 0, 0)
    for mix in MIXES[:-1]:
        with pytest.raises(DatasetError, match="no raw text"):
            toy_source(only_fine, mix)


def test_a_vocabulary_is_made_of_all_texts_whatever_the_mix() -> None:
    cache = toy_cache()
    assert training_texts(cache, np.array([0, 3])) == tuple(sorted({TASKS[0], cache.fine[0], cache.fine[3]}))


# ---- upstream mode


@pytest.mark.parametrize(
    ("folders", "fine", "expected"),
    [(296, 291, (0.197, 0.330, 0.496, 0.663, 0.797)), (595, 588, (0.198, 0.331, 0.497, 0.664, 0.798))],
)
def test_effective_share_is_that_of_the_reference_table(folders: int, fine: int, expected) -> None:
    """RDT and AlohaMix; see the table of FineVLA's own sampling in the reference."""
    got = [float(mix.effective_fine(fine, folders)) for mix in MIXES[1:-1]]
    assert got == pytest.approx(expected, abs=5e-4)
    assert MIXES[0].effective_fine(fine, folders) == 0
    assert MIXES[-1].effective_fine(fine, folders) == 1


def plain_upstream(cache, mix: Mix) -> dict[tuple[int, bool], Fraction]:
    """P(frame, fine) written down from the description: an entry per branch and folder, then a step."""
    entries = []
    for group in set(cache.groups):
        members = [e for e in range(cache.episodes) if cache.groups[e] == group]
        branches = ((mix.fine, [e for e in members if cache.fine[e]], True), (mix.raw, members, False))
        for weight, episodes, fine in branches:
            steps = [f for e in episodes for f in range(cache.starts[e], cache.starts[e + 1])]
            if weight and steps:
                entries.append((weight, steps, fine))
    total = sum(weight for weight, _, _ in entries)
    chance: dict[tuple[int, bool], Fraction] = Counter()
    for weight, steps, fine in entries:
        for step in steps:
            chance[step, fine] += weight / total / len(steps)
    return chance


@pytest.mark.parametrize("name", ["raw", "1:2", "4:1", "fg"])
def test_upstream_draws_as_its_plain_description_says(name: str) -> None:
    cache, mix = without(toy_cache(), "fine", {0, 3, 4}), Mix.parse(name)  # group 0 has no fine text at all
    sampler = Sampler(cache, FRAMES, mix, "upstream", "frames")
    counts: Counter[tuple[int, bool]] = Counter()
    for step in range(300):
        drawn = sampler.draw(64, 1, step)
        counts.update(zip(drawn.frames.tolist(), drawn.fine.tolist(), strict=True))
    chance, n = plain_upstream(cache, mix), 300 * 64
    assert set(counts) <= set(chance)
    assert sum(chance.values()) == 1
    for key, p in chance.items():
        assert abs(counts[key] - n * p) <= 5.0 * math.sqrt(n * p * (1 - p)) + 1, key
    fine = sum(p for (_, is_fine), p in chance.items() if is_fine)
    assert fine == mix.effective_fine(2, 3)


def test_upstream_leaves_episodes_without_fine_text_to_the_raw_branch() -> None:
    cache = without(toy_cache(), "fine", {0, 3})
    source = toy_source(cache, Mix.parse("1:1"), mix_mode="upstream", augment=NO_AUGMENT)
    source.draw(FRAMES, 64, 0, 0)
    with pytest.raises(DatasetError, match="no fine-grained text"):
        source.exact(np.array([0]))
    with pytest.raises(DatasetError, match="no raw text"):
        toy_source(without(toy_cache(), "raw", {2}), Mix.parse("1:1"), mix_mode="upstream")
    nothing = toy_source(without(toy_cache(), "fine", range(6)), Mix.parse("fg"), mix_mode="upstream")
    with pytest.raises(DatasetError, match="no episode has the text"):
        nothing.draw(FRAMES, 4, 0, 0)


def test_pools_take_exact_weights_and_stay_inside_their_sets() -> None:
    pools = Pools([np.array([1]), np.array([2, 3]), np.array([4])], [Fraction(1), Fraction(2), Fraction(1)])
    frames, pool = pools.draw(np.random.default_rng(0), 40_000)
    assert Counter(zip(frames.tolist(), pool.tolist(), strict=True)).keys() == {
        (1, 0),
        (2, 1),
        (3, 1),
        (4, 2),
    }
    assert np.bincount(pool) / 40_000 == pytest.approx([0.25, 0.5, 0.25], abs=0.012)


def test_balance_by_group_sees_each_task_as_often() -> None:
    cache = toy_cache(lengths=(40, 2, 4, 40, 3, 5))
    frames = np.arange(94)
    drawn = Sampler(cache, frames, MIXES[-1], "strict", "group").draw(30_000, 0, 0)
    groups = Counter(cache.groups[e] for e in cache.episode_of(drawn.frames))
    assert [groups[name] / 30_000 for name in TASKS] == pytest.approx([1 / 3] * 3, abs=0.015)
    with pytest.raises(DatasetError, match="no frames to train on"):
        Sampler(cache, frames[:0], MIXES[-1], "strict", "group")
