"""The robot as URDF, generated from the DH table, built from boxes only.

`arm_urdf` describes one arm with its gripper; the simulator loads it once per side. `robot_urdf`
describes both arms in one document, for ROS. Joints and limits come from the contract, so that
neither can drift from the one definition.

A gripper has one value in the contract, its opening in m, and two fingers that move apart, each by
half of it: an opening of 0.06 is 0.03 at both finger joints. `joint_state_names` and
`joint_state_positions` write a state with both: the contract's fourteen values under the contract's
names, and the finger joints of the URDF, so that a program that knows the URDF alone can show it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import asin, atan2, cos, sin
from xml.etree import ElementTree as ET

from finevla.contract.kinematics import TOOL_M, DhRow, FloatArray, dh_table
from finevla.contract.robot import ARM_SIDES, ArmSpec, RobotContract

FINGERS = ("finger_a", "finger_b")
"""The two prismatic joints of a gripper; each travels half of the opening."""
WORLD_FRAME = "world"
"""Root of the robot: x forward, y left, z up, origin on the table top between the arms (REP-103)."""

FINGER_LENGTH_M = 0.060
_FINGER_END_M = TOOL_M + 0.010
_DARK, _GRAY, _BLACK = "0.22 0.24 0.28 1", "0.42 0.44 0.48 1", "0.08 0.08 0.09 1"

Vec = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A box of one link: edge lengths and center in the link frame (m), colour, mass (kg)."""

    size: Vec
    center: Vec
    color: str
    mass: float
    collides: bool = True


# Boxes leave clearance to their neighbours: SAPIEN ignores contacts of adjacent links only.
_LINKS: tuple[Box, ...] = (
    Box((0.07, 0.07, 0.05), (0.0, 0.0, -0.012), _GRAY, 0.4, collides=False),
    Box((0.24, 0.055, 0.05), (0.1425, 0.0, 0.0), _DARK, 0.8),
    Box((0.05, 0.19, 0.05), (-0.022, -0.115, 0.0), _GRAY, 0.5),
    Box((0.045, 0.045, 0.05), (0.0, 0.0, -0.01), _DARK, 0.15, collides=False),
    Box((0.04, 0.04, 0.05), (0.0, 0.0, 0.0), _GRAY, 0.15, collides=False),
    Box((0.045, 0.10, 0.05), (0.0, 0.0, 0.055), _BLACK, 0.2),
)
_BASE = Box((0.11, 0.10, 0.09), (0.0, 0.0, 0.045), _DARK, 2.0)


def arm_urdf(contract: RobotContract, side: str, *, visuals: bool = True) -> str:
    """The URDF of one arm with its base at the origin of the document.

    Args:
        contract: The robot.
        side: Which arm; joints carry its contract names.
        visuals: Whether to write `<visual>`; SAPIEN needs a renderer to load those.
    """
    robot = ET.Element("robot", name=f"piper_{side}")
    _arm(robot, contract, side, base="base", fingers=FINGERS, visuals=visuals)
    return ET.tostring(robot, encoding="unicode")


def robot_urdf(contract: RobotContract) -> str:
    """The URDF of the whole robot, for `robot_description`.

    The root link is `world`; each arm stands on `<side>_base`. Every joint X moves `link_X`, and
    `<side>_tool` is the point between the finger pads. The second finger of a gripper mimics the
    first. The cameras are not in it: the contract does not know where they are mounted.

    Args:
        contract: The robot.
    """
    robot = ET.Element("robot", name=contract.name)
    ET.SubElement(robot, "link", name=WORLD_FRAME)
    for side in ARM_SIDES:
        arm, base, tool = contract.arms[side], base_frame(side), f"{side}_tool"
        node = _joint(robot, f"{base}_joint", "fixed", WORLD_FRAME, base)
        ET.SubElement(node, "origin", xyz=_text(arm.base_xyz_m))
        fingers = finger_names(side)
        _arm(robot, contract, side, base=base, fingers=fingers, visuals=True)
        second = next(node for node in robot.iter("joint") if node.get("name") == fingers[1])
        ET.SubElement(second, "mimic", joint=fingers[0], multiplier="1", offset="0")
        ET.SubElement(robot, "link", name=tool)
        node = _joint(robot, f"{tool}_joint", "fixed", f"link_{arm.names[-2]}", tool)
        ET.SubElement(node, "origin", xyz=_text((0.0, 0.0, TOOL_M)))
    return ET.tostring(robot, encoding="unicode")


def base_frame(side: str) -> str:
    """Name of the frame in which an arm stands."""
    return f"{side}_base"


def finger_names(side: str) -> tuple[str, ...]:
    """Names of the two finger joints of one arm in `robot_urdf`."""
    return tuple(f"{side}_{name}" for name in FINGERS)


def joint_state_names(contract: RobotContract, sides: Sequence[str] = ARM_SIDES) -> tuple[str, ...]:
    """Names of a joint state: for each arm the contract's seven, then its two finger joints.

    Args:
        contract: The robot.
        sides: Which arms.
    """
    return tuple(name for side in sides for name in (*contract.arms[side].names, *finger_names(side)))


def joint_state_positions(
    contract: RobotContract, values: FloatArray, sides: Sequence[str] = ARM_SIDES
) -> list[float]:
    """Positions of a joint state, in the order of `joint_state_names`; rad, and m for grippers and fingers.

    Args:
        contract: The robot.
        values: The contract's seven values of each of these arms, one arm after the other: shape (14,)
            for both.
        sides: Which arms.

    Raises:
        ValueError: Not seven values for each arm.
    """
    width = contract.dof // len(ARM_SIDES)
    if values.shape != (width * len(sides),):
        raise ValueError(f"expected {width} values for each of {sides}, got shape {values.shape}")
    found: list[float] = []
    for arm in values.reshape(len(sides), width).tolist():
        found += [*arm, *(arm[-1] / len(FINGERS) for _ in FINGERS)]
    return found


def _arm(
    robot: ET.Element,
    contract: RobotContract,
    side: str,
    *,
    base: str,
    fingers: Sequence[str],
    visuals: bool,
) -> None:
    """Adds the links and joints of one arm, from its base to its fingers."""
    arm = contract.arms[side]
    _link(robot, base, _BASE, visuals)
    parent = base
    for row, box, joint in zip(dh_table(contract.dh_is_offset), _LINKS, arm.joints, strict=False):
        child = f"link_{joint.name}"
        _link(robot, child, box, visuals)
        node = _joint(robot, joint.name, "revolute", parent, child)
        _origin(node, row)
        ET.SubElement(node, "axis", xyz="0 0 1")
        _limit(node, joint.lower, joint.upper, joint.velocity)
        parent = child
    _fingers(robot, arm, parent, fingers, visuals)


def _fingers(robot: ET.Element, arm: ArmSpec, palm: str, names: Sequence[str], visuals: bool) -> None:
    gripper = arm.joints[-1]
    for name, sign in zip(names, (1.0, -1.0), strict=True):
        pad = Box(
            (0.020, 0.010, FINGER_LENGTH_M),
            (0.0, 0.005 * sign, _FINGER_END_M - FINGER_LENGTH_M / 2),
            _GRAY,
            0.03,
        )
        _link(robot, f"link_{name}", pad, visuals)
        node = _joint(robot, name, "prismatic", palm, f"link_{name}")
        ET.SubElement(node, "axis", xyz=f"0 {sign:g} 0")
        _limit(node, gripper.lower / 2, gripper.upper / 2, gripper.velocity)


def _origin(node: ET.Element, row: DhRow) -> None:
    # Rx(alpha) Tx(a) Rz(theta) Tz(d), written as the xyz and fixed-axis rpy that URDF wants.
    x, y, z = row.a, -sin(row.alpha) * row.d, cos(row.alpha) * row.d
    roll, pitch, yaw = _rpy(row)
    ET.SubElement(
        node, "origin", xyz=f"{x:.12g} {y:.12g} {z:.12g}", rpy=f"{roll:.12g} {pitch:.12g} {yaw:.12g}"
    )


def _rpy(row: DhRow) -> Vec:
    """Fixed-axis roll, pitch and yaw of Rx(alpha) Rz(theta)."""
    ca, sa, ct, st = cos(row.alpha), sin(row.alpha), cos(row.theta), sin(row.theta)
    return atan2(ct * sa, ca), asin(-st * sa), atan2(st * ca, ct)


def _joint(robot: ET.Element, name: str, kind: str, parent: str, child: str) -> ET.Element:
    node = ET.SubElement(robot, "joint", name=name, type=kind)
    ET.SubElement(node, "parent", link=parent)
    ET.SubElement(node, "child", link=child)
    return node


def _limit(node: ET.Element, lower: float, upper: float, velocity: float) -> None:
    ET.SubElement(
        node, "limit", lower=f"{lower:g}", upper=f"{upper:g}", effort="100", velocity=f"{velocity:g}"
    )


def _link(robot: ET.Element, name: str, box: Box, visuals: bool) -> None:
    link = ET.SubElement(robot, "link", name=name)
    inertial = ET.SubElement(link, "inertial")
    ET.SubElement(inertial, "origin", xyz=_text(box.center))
    ET.SubElement(inertial, "mass", value=f"{box.mass:g}")
    sx, sy, sz = (edge**2 for edge in box.size)
    diagonal = (box.mass / 12 * value for value in (sy + sz, sx + sz, sx + sy))
    terms = dict(zip(("ixx", "iyy", "izz"), (f"{value:.6g}" for value in diagonal), strict=True))
    ET.SubElement(inertial, "inertia", {**terms, "ixy": "0", "ixz": "0", "iyz": "0"})
    for kind, wanted in (("visual", visuals), ("collision", box.collides)):
        if not wanted:
            continue
        node = ET.SubElement(link, kind)
        ET.SubElement(node, "origin", xyz=_text(box.center))
        ET.SubElement(ET.SubElement(node, "geometry"), "box", size=_text(box.size))
        if kind == "visual":
            material = ET.SubElement(node, "material", name=f"{name}_color")
            ET.SubElement(material, "color", rgba=box.color)


def _text(values: Vec) -> str:
    return " ".join(f"{value:g}" for value in values)
