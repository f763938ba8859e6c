"""End-effector poses from joints, for the robot whose kinematics the contract knows."""

from __future__ import annotations

import json

import numpy as np
from scipy.spatial.transform import Rotation

from finevla.contract.kinematics import TOOL_M, dh_table, frames
from finevla.contract.robot import RobotContract, contract_from_document, load_contract
from finevla.dataset.read import Opened
from finevla.errors import DatasetError
from finevla.stages.normalize.actions import XYZ, Array, signed

RECORD = "finevla.json"
"""In `meta`: what our converter wrote of the dataset, the contract among it."""


def tool_poses(contract: RobotContract, side: str, joints: Array) -> Array:
    """Poses of the point between the finger pads in the world frame.

    Args:
        contract: The robot.
        side: Which arm.
        joints: Shape (T, 6), rad.

    Returns:
        Shape (T, 7): x, y, z in m, unit quaternion x, y, z, w of continuous sign.
    """
    flange = frames(contract, side, joints)[:, -1]
    xyz = flange[:, :XYZ, 3] + TOOL_M * flange[:, :XYZ, 2]
    turn = Rotation.from_matrix(flange[:, :XYZ, :XYZ]).as_quat()
    return signed(np.concatenate([xyz, turn], axis=1))


def arm_joints(contract: RobotContract) -> int:
    """Number of joints of an arm that the kinematics takes."""
    return len(dh_table(contract.dh_is_offset))


def known_robot(opened: Opened, name: str | None) -> RobotContract | None:
    """The robot of a dataset where its kinematics is known.

    That it has six joints of the same names is no proof: many arms have. Its converter's record or its
    `robot_type` must say so, or the user.

    Args:
        opened: The dataset.
        name: The robot as the user or the dataset names it; None where nobody does.

    Raises:
        DatasetError: The record of the converter cannot be read.
        ContractError: The contract in it is none.
    """
    contract = load_contract()
    path = opened.root / "meta" / RECORD
    if path.is_file():
        try:
            document = json.loads(path.read_text())["contract"]
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise DatasetError(
                "the record of the converter cannot be read",
                where=path,
                expected="a JSON document with the contract",
                found=repr(err),
                remedy="convert the bags again",
            ) from err
        contract = contract_from_document(document, str(path))
    return contract if name == contract.name else None
