"""The bundle: read back as written, refused when anything about it is wrong."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from finevla.contract import RobotContract
from finevla.contract.bundle import (
    DOCUMENT_FILE,
    WEIGHTS_FILE,
    BundleContent,
    _sign,
    read_bundle,
    write_bundle,
)
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import contract_from_document
from finevla.errors import BundleError


@pytest.fixture
def bundle(tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict) -> Path:
    return write_bundle(tmp_path / "bundle", contract, content, weights)


def edit(bundle: Path, change: Callable[[dict[str, Any]], object], sign: bool = True) -> None:
    """Changes bundle.json, with a fresh signature as a forger would make it."""
    document = json.loads((bundle / DOCUMENT_FILE).read_text())
    change(document)
    if sign:
        document["signature"] = _sign(document)
    (bundle / DOCUMENT_FILE).write_text(json.dumps(document))


def test_round_trip(bundle: Path, contract: RobotContract, content: BundleContent, weights: dict) -> None:
    read = read_bundle(bundle, contract)
    assert read.content == content
    assert set(read.weights) == set(weights)
    assert all(np.array_equal(read.weights[name], array) for name, array in weights.items())


def test_same_content_gives_the_same_signature(
    tmp_path: Path, bundle: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    again = write_bundle(tmp_path / "again", contract, content, weights)
    assert read_bundle(again, contract).signature == read_bundle(bundle, contract).signature


def test_altered_weights_and_document_are_refused(bundle: Path, contract: RobotContract) -> None:
    edit(bundle, lambda d: d.update(horizon=8), sign=False)
    with pytest.raises(BundleError, match="altered after it was signed"):
        read_bundle(bundle, contract)


def test_altered_weights_are_refused(bundle: Path, contract: RobotContract) -> None:
    blob = bytearray((bundle / WEIGHTS_FILE).read_bytes())
    blob[-1] ^= 1
    (bundle / WEIGHTS_FILE).write_bytes(blob)
    with pytest.raises(BundleError, match=f"{WEIGHTS_FILE} was altered"):
        read_bundle(bundle, contract)


def test_another_contract_is_refused_with_the_difference(bundle: Path, contract: RobotContract) -> None:
    document = copy.deepcopy(dict(contract.document))
    document["rates_hz"]["camera"] = 15
    with pytest.raises(BundleError) as caught:
        read_bundle(bundle, contract_from_document(document))
    assert "rates_hz.camera: 15 != 30" in caught.value.found


def test_another_joint_order_is_refused_as_such(bundle: Path, contract: RobotContract) -> None:
    edit(bundle, lambda d: d["joint_names"].reverse())
    with pytest.raises(BundleError, match="another joint order"):
        read_bundle(bundle, contract)


def _statistics(document: dict[str, Any]) -> dict[str, Any]:
    return document["action"]["steps"][0]["statistics"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format_version=2), "another format version"),
        (lambda d: d.pop("vocabulary"), "lacks parts"),
        (lambda d: d.update(vocabulary=["red", "red"]), "repeated words"),
        (lambda d: d.update(dt_s=0.5), "impossible timing"),
        (lambda d: d.update(images={}), "cameras"),
        (lambda d: d["provenance"].pop("dataset_hash"), "where it comes from"),
        (lambda d: d.update(action=None), "lacks parts"),
        (lambda d: d.update(images={"cam_high": 3}), "unusable part"),
        (lambda d: d["action"].update(steps=[]), "empty"),
        (lambda d: d["action"]["steps"][0].pop("statistics"), "statistics"),
        (lambda d: _statistics(d).pop("std"), "missing or incomplete"),
        (lambda d: _statistics(d)["std"].pop(), "13 values"),
        (lambda d: _statistics(d)["mean"].__setitem__(0, float("nan")), "not finite"),
        (lambda d: _statistics(d)["std"].__setitem__(0, -1.0), "contradict"),
        (lambda d: _statistics(d).update(maximum=_statistics(d)["minimum"]), "contradict|zero range"),
        (lambda d: _statistics(d)["names"].reverse(), "other joints"),
        (
            lambda d: _statistics(d).update(
                mean=[57.3 * v for v in _statistics(d)["mean"]],
                minimum=[-200.0] * 14,
                maximum=[200.0] * 14,
            ),
            "outside the joint limits",
        ),
    ],
)
def test_wrong_parts_are_refused_even_when_signed(
    bundle: Path, contract: RobotContract, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit(bundle, change)
    with pytest.raises(BundleError, match=message) as caught:
        read_bundle(bundle, contract)
    assert caught.value.remedy


def test_a_directory_without_bundle_is_refused(tmp_path: Path, contract: RobotContract) -> None:
    with pytest.raises(BundleError, match="not a bundle"):
        read_bundle(tmp_path, contract)


def test_failed_write_leaves_nothing(
    tmp_path: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    wrong = replace(content, images={"cam_nowhere": WorkspaceCrop((320, 240), (0, 0, 100, 100))})
    with pytest.raises(BundleError, match="cameras"):
        write_bundle(tmp_path / "b", contract, wrong, weights)
    infinite = {**weights, "head.out.bias": np.full(14, np.inf, np.float32)}
    with pytest.raises(BundleError, match="not finite"):
        write_bundle(tmp_path / "b", contract, content, infinite)
    assert list(tmp_path.iterdir()) == []


def test_existing_output_is_refused(
    bundle: Path, contract: RobotContract, content: BundleContent, weights: dict
) -> None:
    with pytest.raises(BundleError, match="exists already"):
        write_bundle(bundle, contract, content, weights)


def test_reading_needs_neither_torch_nor_opencv() -> None:
    code = (
        "import sys, finevla.contract.bundle, finevla.contract.images, finevla.contract.transforms\n"
        "assert not {'torch', 'cv2', 'lerobot', 'rclpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
