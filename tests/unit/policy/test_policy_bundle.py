"""The bundle: read back as written, whole or absent, with a card, in one or many files of weights."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from bundles import edit
from safetensors.numpy import load_file
from safetensors.torch import save_file

from finevla.contract import RobotContract, bundle_weights
from finevla.contract.bundle import CARD_FILE, WEIGHTS_FILE, BundleContent, read_bundle, write_bundle
from finevla.contract.bundle_card import model_card
from finevla.contract.bundle_content import TEXT_TYPES
from finevla.contract.bundle_weights import Tensors, read_tensors
from finevla.contract.images import WorkspaceCrop
from finevla.errors import BundleError, PolicyError
from finevla.policy.inference import load_policy
from finevla.policy.text import codec_from_json


@pytest.fixture
def bundle(tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict) -> Path:
    return write_bundle(tmp_path / "bundle", contract, content, weights)


def same(first: dict, second: dict) -> bool:
    return set(first) == set(second) and all(np.array_equal(first[n], second[n]) for n in first)


def test_round_trip(tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict) -> None:
    content = replace(content, files={"tokenizer.json": b"{}\n"})
    read = read_bundle(write_bundle(tmp_path / "bundle", contract, content, weights), contract)
    assert read.content == content
    assert read.files == {"tokenizer.json": b"{}\n"}
    assert same(dict(read.weights), weights)
    assert same(load_file(read.path / WEIGHTS_FILE), weights)
    assert {p.name for p in read.path.iterdir()} == {
        "bundle.json", "README.md", "tokenizer.json", "weights.safetensors",
    }  # fmt: skip


def test_same_content_gives_the_same_signature(
    tmp_path: Path, bundle: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    again = write_bundle(tmp_path / "again", contract, content, weights)
    assert read_bundle(again, contract).signature == read_bundle(bundle, contract).signature
    other = write_bundle(tmp_path / "c", contract, replace(content, files={"a.json": b"{}"}), weights)
    assert read_bundle(other, contract).signature != read_bundle(bundle, contract).signature


def test_others_may_read_what_they_could_read_of_other_files(bundle: Path) -> None:
    assert len({file.stat().st_mode for file in bundle.iterdir()}) == 1


def test_large_weights_are_split_and_read_as_one(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict, monkeypatch
) -> None:
    monkeypatch.setattr(bundle_weights, "_MAPPED_FROM", 1)  # every file is mapped
    out = write_bundle(tmp_path / "bundle", contract, content, weights, shard_bytes=1_000_000)
    shards = sorted(file.name for file in out.glob("weights*"))
    assert shards == [f"weights-0000{i}-of-00004.safetensors" for i in (1, 2, 3, 4)]
    assert max((out / name).stat().st_size for name in shards) < 1_100_000
    read = read_bundle(out, contract)
    assert same(dict(read.weights), weights)
    assert not any(array.flags.writeable for array in read.weights.values())
    assert load_policy(out, contract).known_words
    (out / shards[1]).unlink()
    with pytest.raises(BundleError, match=f"{shards[1]} is missing"):
        read_bundle(out, contract)
    edit(out, lambda d: d["files"].pop(shards[1]))
    with pytest.raises(BundleError, match="lists other files"):
        read_bundle(out, contract)


def test_types_of_weights_survive(tmp_path: Path, contract: RobotContract, content: BundleContent) -> None:
    numbers = torch.tensor([[1.5, -2.25, 3e38], [0.0, -0.0, 1e-40]])
    tensors = {
        "half": numbers.clamp(-9, 9).to(torch.float16),
        "brain": numbers.to(torch.bfloat16),
        "single": numbers,
        "whole": torch.tensor([1, -(2**62)]),
        "nothing": torch.zeros(0, 3),
    }
    save_file(tensors, tmp_path / "in.safetensors")
    found = read_tensors([tmp_path / "in.safetensors"])
    assert found.bfloat16 == {"brain"}
    bits = np.array(found.arrays["brain"])
    assert torch.equal(torch.from_numpy(bits).view(torch.bfloat16), tensors["brain"])
    read = read_bundle(write_bundle(tmp_path / "b", contract, content, found.arrays), contract)
    assert same(dict(read.weights), dict(found.arrays))
    assert {n: read.tensors.dtype(n) for n in ("half", "brain", "single", "whole")} == {
        "half": "float16",
        "brain": "bfloat16",
        "single": "float32",
        "whole": "int64",
    }


@pytest.mark.parametrize("kind", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_weights_that_are_not_finite_are_refused_in_every_type(
    tmp_path: Path, kind: torch.dtype, value: float
) -> None:
    numbers = torch.zeros(40)
    numbers[-1] = value
    save_file({"good": torch.ones(3, dtype=kind), "bad": numbers.to(kind)}, tmp_path / "w.safetensors")
    with pytest.raises(BundleError, match="not finite") as caught:
        read_tensors([tmp_path / "w.safetensors"])
    assert "bad" in caught.value.found
    assert "good" not in caught.value.found


def test_doubles_are_not_written(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    with pytest.raises(BundleError, match="cannot be exported"):
        write_bundle(tmp_path / "b", contract, content, {**weights, "x": np.zeros(2)})


def test_the_card_says_what_one_must_know(
    bundle: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    card = (bundle / CARD_FILE).read_text()
    assert card == model_card(contract, content, Tensors(weights))
    for part in (
        contract.name,
        contract.hash[:12],
        "1:1",
        "toy",
        "blue, cube",
        "Apache-2.0",
        "finevla inspect",
    ):
        assert part in card
    row = [line for line in card.splitlines() if contract.joint_names[6] in line][-1]
    assert " m | " in row
    assert f"{content.action.invert(np.zeros(14))[6]:.4f}" in row


def test_failed_write_leaves_nothing(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    wrong = replace(content, images={"cam_nowhere": WorkspaceCrop((320, 240), (0, 0, 100, 100))})
    with pytest.raises(BundleError, match="cameras"):
        write_bundle(tmp_path / "b", contract, wrong, weights)
    infinite = {**weights, "head.out.bias": np.full(14, np.inf, np.float32)}
    with pytest.raises(BundleError, match="not finite"):
        write_bundle(tmp_path / "b", contract, content, infinite)
    for name in (CARD_FILE, WEIGHTS_FILE, "bundle.json"):
        with pytest.raises(BundleError, match="uses itself"):
            write_bundle(tmp_path / "b", contract, replace(content, files={name: b""}), weights)
    for name in ("../x", "a/b", ".hidden", "..", "a\\b", "/etc/x"):
        with pytest.raises(BundleError, match="outside of its folder"):
            write_bundle(tmp_path / "b", contract, replace(content, files={name: b""}), weights)
    with pytest.raises(BundleError, match="can run code"):
        write_bundle(tmp_path / "b", contract, replace(content, files={"x.PKL": b""}), weights)
    assert list(tmp_path.iterdir()) == []


def test_an_action_that_is_passed_through_is_not_written(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    class Untouched:
        names = contract.joint_names

        def apply(self, values: np.ndarray) -> np.ndarray:
            return values

        invert = apply

    with pytest.raises(BundleError, match="the action has no statistics"):
        write_bundle(tmp_path / "b", contract, replace(content, action=Untouched()), weights)


def test_existing_output_is_refused(
    bundle: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(bundle, contract, content, weights)


def test_every_kind_of_text_has_a_codec() -> None:
    """The format and `finevla.policy` know the same kinds."""
    for kind in TEXT_TYPES:
        with pytest.raises(PolicyError, match="lacks a part"):
            codec_from_json({"type": kind}, {})
    with pytest.raises(PolicyError, match="unknown type"):
        codec_from_json({"type": "other"}, {})


def test_reading_needs_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, finevla.contract.bundle, finevla.contract.images, finevla.contract.transforms\n"
        "from finevla.contract import load_contract\n"
        "finevla.contract.bundle.read_bundle(finevla.contract.bundle.shipped_bundle(), load_contract())\n"
        "assert not {'torch', 'cv2', 'lerobot', 'rclpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
