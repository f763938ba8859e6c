"""Batches: exact resuming, ranks, augmentation, mirror images, the manifest, and drawing ahead."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from train_cases import CONTRACT, CROP, NO_AUGMENT, NumberCodec, normalization, toy_cache, toy_source

from finevla.contract.images import WorkspaceCrop
from finevla.contract.mirror import Mirror
from finevla.errors import ContractError, PolicyError
from finevla.stages.train.augment import Augment
from finevla.stages.train.batches import mirror_images, training_texts
from finevla.stages.train.manifest import build_manifest
from finevla.stages.train.mix import MIXES, Mix
from finevla.stages.train.prefetch import Prefetch

FRAMES = np.arange(28)
FG, HALF = Mix.parse("fg"), Mix.parse("1:1")
MIRROR = Mirror(CONTRACT)
ALWAYS = replace(NO_AUGMENT, mirror=1.0)


def flat(batch) -> list[torch.Tensor]:
    return [*batch.inputs, batch.target, batch.valid]


def test_parts_of_the_ranks_are_the_batch_of_one() -> None:
    source = toy_source(toy_cache(), HALF, augment=Augment(mirror=0.5), mirror=MIRROR)
    whole = source.draw(FRAMES, 12, 3, 7)
    for world in (2, 3):
        parts = [source.draw(FRAMES, 12, 3, 7, rank, world) for rank in range(world)]
        for one, many in zip(flat(whole), zip(*map(flat, parts), strict=True), strict=True):
            assert torch.equal(one, torch.cat(many))
    for rank, world in ((0, 5), (2, 2), (-1, 2), (0, 0)):
        with pytest.raises(ValueError, match="no part"):
            source.draw(FRAMES, 12, 3, 7, rank, world)


def test_without_augmentation_a_draw_is_exact() -> None:
    source = toy_source(toy_cache(), FG, augment=NO_AUGMENT)
    chosen = source.drawn(FRAMES, 16, 0, 2).frames
    for drawn, exact in zip(flat(source.draw(FRAMES, 16, 0, 2)), flat(source.exact(chosen)), strict=True):
        assert torch.equal(drawn, exact)


def test_each_strength_changes_its_own_part_only() -> None:
    plain = toy_source(toy_cache(), FG, augment=NO_AUGMENT).draw(FRAMES, 16, 0, 0)
    for name, value in (("brightness", 0.5), ("tint", 40.0), ("roll_px", 2), ("state_noise", 0.3)):
        changed = toy_source(toy_cache(), FG, augment=replace(NO_AUGMENT, **{name: value})).draw(
            FRAMES, 16, 0, 0
        )
        state = name == "state_noise"
        assert torch.equal(changed.inputs.state, plain.inputs.state) is not state
        assert torch.equal(changed.inputs.pictures, plain.inputs.pictures) is state
        assert torch.equal(changed.target, plain.target)
        assert changed.inputs.pictures.abs().max() <= 1.0
    noise = (changed.inputs.state - plain.inputs.state).numpy()
    assert noise.std() == pytest.approx(0.3, rel=0.2)


def test_a_roll_moves_all_cameras_of_a_sample_alike() -> None:
    cache = toy_cache()
    source = toy_source(cache, FG, augment=replace(NO_AUGMENT, roll_px=2))
    chosen = source.drawn(FRAMES, 32, 0, 0).frames
    shown = ((source.draw(FRAMES, 32, 0, 0).inputs.pictures + 1) * 127.5).round().to(torch.uint8)
    shifts = set()
    for picture, original in zip(shown.movedim(2, -1).numpy(), cache.pictures[chosen], strict=True):
        found = [(y, x) for y in range(-2, 3) for x in range(-2, 3)
                 if np.array_equal(picture, np.roll(original, (y, x), axis=(1, 2)))]  # fmt: skip
        assert len(found) == 1
        shifts.add(found[0])
    assert len(shifts) > 8


@pytest.mark.parametrize(
    "wrong", [{"tint": -1.0}, {"mirror": 1.5}, {"brightness": float("nan")}, {"roll_px": -1}]
)
def test_impossible_strengths_are_refused(wrong: dict) -> None:
    with pytest.raises(PolicyError, match="strength of the augmentation") as caught:
        Augment(**wrong)
    assert next(iter(wrong)) in str(caught.value)


# ---- mirror images


def test_a_mirrored_sample_is_mirrored_in_robot_units_and_then_normalized() -> None:
    cache, codec = toy_cache(), NumberCodec()
    source = toy_source(cache, HALF, codec, augment=ALWAYS, mirror=MIRROR)
    drawn = source.drawn(FRAMES, 24, 0, 0)
    batch = source.draw(FRAMES, 24, 0, 0)
    state, action = normalization(seed=1), normalization(seed=2)
    expected = state.apply(MIRROR.joints(cache.state[drawn.frames])).astype(np.float32)
    assert np.array_equal(batch.inputs.state.numpy(), expected)
    targets, _ = cache.chunks(drawn.frames, 4, 2)
    expected = action.apply(MIRROR.joints(targets)).astype(np.float32)
    assert np.array_equal(batch.target.numpy(), expected)
    high, left, right = range(3)
    shown = ((batch.inputs.pictures + 1) * 127.5).round().to(torch.uint8).movedim(2, -1).numpy()
    for camera, seen_by in ((high, high), (left, right), (right, left)):
        assert np.array_equal(shown[:, camera], cache.pictures[drawn.frames][:, seen_by, :, ::-1])
    plain = [(cache.fine if f else cache.raw)[e] for e, f in zip(cache.episode_of(drawn.frames), drawn.fine)]
    assert codec.spoken(batch.inputs.words) == [MIRROR.text(text) for text in plain]


def test_mirroring_is_decided_alike_for_every_mix() -> None:
    cache = toy_cache()
    options = {"augment": replace(NO_AUGMENT, mirror=0.5), "mirror": MIRROR}
    batches = [toy_source(cache, mix, **options).draw(FRAMES, 64, 0, 0) for mix in MIXES]
    assert all(torch.equal(b.target, batches[0].target) for b in batches)
    plain = toy_source(cache, FG, augment=NO_AUGMENT).draw(FRAMES, 64, 0, 0)
    changed = (batches[0].target != plain.target).flatten(1).any(1)
    assert 16 < int(changed.sum()) < 48


def test_an_order_in_the_fine_text_keeps_the_whole_episode_unmirrored() -> None:
    cache = toy_cache()
    fine = ("sort the blocks in a row from left to right", *cache.fine[1:])
    raw = ("sort the blocks by color in a row", *cache.raw[1:])
    cache = replace(cache, fine=fine, raw=raw)
    able, images = mirror_images(cache, MIRROR)
    assert able.tolist() == [False, True, True, True, True, True]
    assert raw[0] not in images
    first = np.arange(cache.starts[1])
    mirrored = toy_source(cache, Mix.parse("raw"), augment=ALWAYS, mirror=MIRROR).draw(first, 8, 0, 0)
    plain = toy_source(cache, Mix.parse("raw"), augment=NO_AUGMENT).draw(first, 8, 0, 0)
    assert torch.equal(mirrored.target, plain.target)
    assert torch.equal(mirrored.inputs.pictures, plain.inputs.pictures)


def test_a_vocabulary_holds_the_words_of_mirror_images() -> None:
    cache = toy_cache()
    only_left = training_texts(cache, np.array([0, 2, 4]))
    assert not any("right arm" in text for text in only_left)
    assert any("right arm" in text for text in training_texts(cache, np.array([0, 2, 4]), MIRROR))


def test_pictures_without_a_mirror_image_are_refused() -> None:
    aside = WorkspaceCrop((320, 240), (100, 50, 218, 166), (8, 8))
    cases = {
        "to \\(102": dict.fromkeys(CONTRACT.cameras, aside),
        "cam_right_wrist too": {"cam_high": CROP, "cam_left_wrist": CROP},
    }
    for message, images in cases.items():
        cache = replace(toy_cache(cameras=images), images=images)
        with pytest.raises(ContractError, match=message):
            toy_source(cache, FG, augment=ALWAYS, mirror=MIRROR)
        toy_source(cache, FG, mirror=MIRROR)  # probability zero: nothing is mirrored
    with pytest.raises(ValueError, match="needs a mirror"):
        toy_source(toy_cache(), FG, augment=ALWAYS)


# ---- the manifest


def manifest(cache, mix: Mix, *, seed: int = 0, frames=FRAMES, statistics=None, **options):
    source = toy_source(cache, mix, **options)
    parts = {
        "training": np.arange(5),
        "validation": np.array([5]),
        "statistics": statistics or {"mean": [0.5]},
    }
    return build_manifest(source, frames, **parts, steps=20, batch_size=16, seed=seed)


def test_the_manifest_is_equal_over_all_mixes() -> None:
    hashes = {manifest(toy_cache(), mix).hash for mix in MIXES}
    assert len(hashes) == 1
    assert len(hashes.pop()) == 64
    upstream = {manifest(toy_cache(), mix, mix_mode="upstream").hash for mix in MIXES}
    assert len(upstream) > 1  # there the frames depend on the mix, and the hash says so


def test_the_manifest_changes_with_anything_but_the_words() -> None:
    cache = toy_cache()
    action = cache.action.copy()
    action[3, 2] += 1e-9
    others = [
        manifest(replace(cache, action=action), FG),
        manifest(replace(cache, dataset_hash="other"), FG),
        manifest(replace(cache, starts=np.array([0, 4, 10, 13, 18, 25, 28])), FG),
        manifest(cache, FG, frames=FRAMES[:-1]),
        manifest(cache, FG, seed=1),
        manifest(cache, FG, statistics={"mean": [0.25]}),
        manifest(cache, FG, balance="group"),
        manifest(cache, FG, augment=NO_AUGMENT),
    ]
    hashes = {other.hash for other in others}
    assert len(hashes) == len(others)
    assert manifest(cache, FG).hash not in hashes
    renamed = replace(cache, fine=tuple(f"please {text}" for text in cache.fine))
    assert manifest(renamed, FG).hash == manifest(cache, FG).hash


def test_the_manifest_hashes_the_frames_that_are_trained_on() -> None:
    cache = toy_cache()
    source = toy_source(cache, FG, augment=NO_AUGMENT)
    chosen = source.drawn(FRAMES, 16, 0, 4).frames
    targets, _ = cache.chunks(chosen, 4, 2)
    shown = normalization(seed=2).invert(source.draw(FRAMES, 16, 0, 4).target.numpy().astype(np.float64))
    np.testing.assert_allclose(shown, targets, atol=1e-5)


# ---- drawing ahead


def test_prefetched_batches_are_those_drawn_one_by_one() -> None:
    source = toy_source(toy_cache(), HALF, augment=Augment(mirror=0.5), mirror=MIRROR)
    draw = lambda step: source.draw(FRAMES, 8, 0, step)
    with Prefetch(draw, 3, 20, depth=3) as batches:
        for step, batch in zip(range(3, 20), batches, strict=True):
            assert all(map(torch.equal, flat(batch), flat(draw(step))))


def test_prefetching_makes_no_more_than_its_depth_ahead() -> None:
    made: list[int] = []
    with Prefetch(lambda step: made.append(step) or step, 0, 100, depth=2) as items:
        taken = iter(items)
        assert next(taken) == 0
        time.sleep(0.3)
        assert len(made) <= 4  # one taken, two waiting, one being handed over


def test_an_error_of_the_drawing_thread_comes_after_the_items_before_it() -> None:
    def draw(step: int) -> int:
        if step == 2:
            raise PolicyError("no batch")
        return step

    with Prefetch(draw, 0, 5) as items:
        taken = iter(items)
        assert [next(taken), next(taken)] == [0, 1]
        with pytest.raises(PolicyError, match="no batch"):
            next(taken)


def test_leaving_early_ends_the_thread() -> None:
    for stop_after in (0, 1):
        with Prefetch(lambda step: step, 0, 10**9) as items:
            for item in items:
                if item == stop_after:
                    break
        assert not [thread for thread in threading.enumerate() if thread.name == "prefetch"]
    with pytest.raises(RuntimeError, match="with"):
        next(iter(Prefetch(lambda step: step, 0, 1)))
    with pytest.raises(ValueError, match="at least one"):
        Prefetch(lambda step: step, 0, 1, depth=0)
