"""The robot contract: complete, hashed, and refused where it contradicts itself."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import yaml

from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.robot import RobotContract, contract_from_document, difference, document_hash
from finevla.errors import ContractError


@pytest.fixture
def contract() -> RobotContract:
    return load_contract()


def test_vector_is_left_arm_then_right_arm_with_grippers_last(contract: RobotContract) -> None:
    assert contract.dof == 14
    for side in ARM_SIDES:
        names = contract.joint_names[contract.arm_slice(side)]
        assert all(name.startswith(side) for name in names)
        assert contract.joint_names[contract.grippers[side]].endswith("gripper")
        assert names == contract.arms[side].names


def test_home_lies_inside_the_limits(contract: RobotContract) -> None:
    assert np.all(contract.lower <= contract.home)
    assert np.all(contract.home <= contract.upper)


def test_hash_ignores_comments_and_key_order_but_not_values(contract: RobotContract) -> None:
    reversed_document = dict(reversed(list(contract.document.items())))
    assert document_hash(reversed_document) == contract.hash
    other = copy.deepcopy(dict(contract.document))
    other["gripper"]["upper"] = 0.1
    assert document_hash(other) != contract.hash


def test_round_trip_through_yaml_keeps_the_hash(contract: RobotContract, tmp_path: Path) -> None:
    path = tmp_path / "robot.yaml"
    path.write_text(contract.to_yaml())
    assert load_contract(path).hash == contract.hash


def test_difference_names_the_path(contract: RobotContract) -> None:
    other = copy.deepcopy(dict(contract.document))
    other["cameras"]["cam_high"]["width"] = 640
    assert difference(contract.document, other) == ["cameras.cam_high.width: 320 != 640"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("sync", "pivot"), "cam_nowhere"),
        (("gripper", "home"), 0.2),
        (("gripper", "velocity"), 0.0),
        (("gripper", "name"), "joint1"),
        (("cameras", "cam_high"), {"topic": "/x"}),
    ],
)
def test_a_contradiction_is_refused(contract: RobotContract, path: tuple[str, str], value: object) -> None:
    document = copy.deepcopy(dict(contract.document))
    document[path[0]][path[1]] = value
    with pytest.raises(ContractError) as caught:
        contract_from_document(document)
    assert caught.value.remedy


@pytest.mark.parametrize("part", ["arms", "joints", "gripper", "cameras", "topics", "chunk", "sync"])
def test_a_missing_part_is_refused(contract: RobotContract, part: str) -> None:
    document = {k: v for k, v in contract.document.items() if k != part}
    with pytest.raises(ContractError, match="lacks a part"):
        contract_from_document(document)


@pytest.mark.parametrize("text", ["", "[1, 2]", "a: [", None])
def test_a_file_that_is_no_contract_is_refused(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "robot.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ContractError) as caught:
        load_contract(path)
    assert str(path) in str(caught.value)


def test_the_shipped_file_is_what_loads(contract: RobotContract) -> None:
    assert yaml.safe_load(contract.to_yaml()) == contract.document
