"""Flags: a preset fills the gaps, what is given wins, and what contradicts itself is refused by name."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest
import tyro

from finevla.errors import ContractError, FineVLAError
from finevla.stages.train.flags import Config, command_line, resolved, training_spec

PLACES = {"dataset": Path("data"), "out": Path("run")}


def spec(**flags: object):
    return training_spec(Config(**PLACES, **flags))


def test_the_preset_fills_what_is_not_given() -> None:
    plain = spec().schedule
    assert (plain.steps, plain.batch_size, plain.learning_rate, plain.warmup) == (3000, 64, 1e-3, 100)
    assert (plain.decay, plain.weight_decay) == ("cosine", 1e-4)
    large = {"model": "qwen3-vl-4b", "vlm": Path("folder")}
    paper = spec(**large, preset="rdt-gr00t", steps=7, head_lr=3e-4, warmup=0).schedule
    assert (paper.steps, paper.warmup) == (7, 0)
    assert [paper.highest(part) for part in ("base", "vlm", "head")] == [2e-5, 1e-5, 3e-4]
    assert (paper.decay, paper.min_rate, paper.batch_size) == ("cosine_with_min_lr", 5e-7, 64)


def test_one_rate_is_the_rate_of_everything_in_the_compact_preset() -> None:
    assert spec(lr=5e-4).schedule.highest("head") == 5e-4


def test_cameras_and_pictures_come_from_the_model() -> None:
    one, three = spec(), spec(model="compact-3cam")
    assert list(one.images) == ["cam_high"]
    assert one.images["cam_high"].box == (102, 50, 218, 166)
    assert list(three.images) == ["cam_high", "cam_left_wrist", "cam_right_wrist"]
    wrist = three.images["cam_left_wrist"]
    assert wrist.box == (0, 0, *wrist.source)
    vlm = spec(model="qwen3-vl-4b", vlm=Path("folder"))
    assert vlm.images["cam_high"].box == (0, 0, 320, 240)
    assert vlm.images["cam_high"].size == (224, 224)
    chosen = spec(cameras=("cam_right_wrist", "cam_high"), image_size=96, crop=(0, 0, 240, 240))
    assert list(chosen.images) == ["cam_right_wrist", "cam_high"]
    assert chosen.images["cam_high"].box == (0, 0, 240, 240)
    assert chosen.images["cam_high"].size == (96, 96)


def test_the_state_can_be_left_out_or_put_in() -> None:
    assert spec().model.use_state is None
    assert spec(no_state=True).model.use_state is False
    assert spec(with_state=True).model.use_state is True


def test_precision_goes_to_the_network_or_to_the_whole_computation() -> None:
    assert spec(precision="bfloat16").precision == "bf16"
    vlm = spec(precision="float32", model="qwen3-vl-4b", vlm=Path("folder"), gradient_checkpointing="off")
    assert (vlm.precision, vlm.model.compute, vlm.model.gradient_checkpointing) == ("no", "float32", False)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ({"preset": "fast"}, "--preset"),
        ({"model": "large"}, "large"),
        ({"head": "fast"}, "fast"),
        ({"mix": "half"}, "--mix"),
        ({"vlm": Path("folder")}, "--vlm"),
        ({"model": "qwen3-vl-4b"}, "--vlm"),
        ({"vlm_lr": 1e-5}, "--vlm-lr"),
        ({"gradient_checkpointing": "on"}, "--gradient-checkpointing"),
        ({"no_state": True, "with_state": True}, "--no-state"),
        ({"ema": 1.0}, "--ema"),
        ({"sim_every": -1}, "--sim-every"),
        ({"sim_pairs": 0}, "--sim-pairs"),
        ({"mirror": 2.0}, "mirror"),
        ({"prefetch": -1}, "--prefetch"),
        ({"lr": 0.0}, "--lr"),
        ({"cameras": ("cam_back",)}, "--cameras"),
    ],
)
def test_an_impossible_flag_is_named(flags: dict[str, object], named: str) -> None:
    with pytest.raises(FineVLAError, match=named):
        spec(**flags)


def test_a_box_outside_of_the_picture_is_refused() -> None:
    with pytest.raises(ContractError):
        spec(crop=(0, 0, 4000, 100))


def test_the_command_repeats_the_run(tmp_path: Path) -> None:
    given = Config(
        dataset=tmp_path / "data",
        out=tmp_path / "run",
        preset="robotwin-sft",
        steps=10,
        head="flow",
        mix="1:4",
        no_state=True,
        cameras=("cam_high", "cam_left_wrist"),
        crop=(0, 0, 240, 240),
        ema=0.99,
        mirror_without=("left bowl", "right bowl"),
        logger="none",
    )
    line = command_line(given)
    assert str(tmp_path) not in line
    assert "--logger" not in line
    words = shlex.split(line)
    assert words[:5] == ["finevla", "train", "data", "--out", "run"]
    again = tyro.cli(Config, args=words[2:], config=(tyro.conf.FlagCreatePairsOff,))
    same = training_spec(again)
    assert same.schedule == training_spec(given).schedule
    assert (same.images, same.model, same.mix) == (
        training_spec(given).images,
        training_spec(given).model,
        training_spec(given).mix,
    )
    assert same.mirror_without == ("left bowl", "right bowl")
    assert resolved(again).batch_size == 128
