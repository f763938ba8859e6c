"""The Piper as URDF, generated from the DH table, built from boxes and cylinders only.

One document describes one arm with its gripper; the world loads it once per side. Joints and
limits come from the contract, so the simulated arm cannot drift from the one definition.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import asin, atan2, cos, sin
from xml.etree import ElementTree as ET

from finevla.contract.robot import ArmSpec, RobotContract
from finevla.sim.kinematics import TOOL_M, DhRow, dh_table

FINGERS = ("finger_a", "finger_b")
"""The two prismatic joints of a gripper; each travels half of the opening."""

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
    arm = contract.arms[side]
    robot = ET.Element("robot", name=f"piper_{side}")
    _link(robot, "base", _BASE, visuals)
    parent = "base"
    for row, box, joint in zip(dh_table(contract.dh_is_offset), _LINKS, arm.joints, strict=False):
        child = f"link_{joint.name}"
        _link(robot, child, box, visuals)
        node = _joint(robot, joint.name, "revolute", parent, child)
        _origin(node, row)
        ET.SubElement(node, "axis", xyz="0 0 1")
        _limit(node, joint.lower, joint.upper, joint.velocity)
        parent = child
    _fingers(robot, arm, parent, visuals)
    return ET.tostring(robot, encoding="unicode")


def _fingers(robot: ET.Element, arm: ArmSpec, palm: str, visuals: bool) -> None:
    gripper = arm.joints[-1]
    for name, sign in zip(FINGERS, (1.0, -1.0), strict=True):
        pad = Box(
            (0.020, 0.010, FINGER_LENGTH_M),
            (0.0, 0.005 * sign, _FINGER_END_M - FINGER_LENGTH_M / 2),
            _GRAY,
            0.03,
        )
        _link(robot, f"link_{name}", pad, visuals)
        node = _joint(robot, name, "prismatic", palm, f"link_{name}")
        ET.SubElement(node, "axis", xyz=f"0 {sign:g} 0")
        _limit(node, 0.0, gripper.upper / 2, gripper.velocity)


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
