"""A reader of URDF of the tests' own: joints, limits and where a link is, from the document alone."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import numpy as np


def vector(node, name, default="0 0 0"):
    """Numbers of an attribute; of the default where node or attribute are missing."""
    text = default if node is None else node.get(name, default)
    return np.array([float(word) for word in text.split()])


def rotation(axis, angle):
    """Rodrigues' formula, shape (3, 3)."""
    x, y, z = axis
    cross = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.eye(3) + np.sin(angle) * cross + (1.0 - np.cos(angle)) * cross @ cross


def origin(node):
    """Pose of an `<origin>`, shape (4, 4): fixed axes, roll first."""
    pose = np.eye(4)
    roll, pitch, yaw = vector(node, "rpy")
    x, y, z = np.eye(3)
    pose[:3, :3] = rotation(z, yaw) @ rotation(y, pitch) @ rotation(x, roll)
    pose[:3, 3] = vector(node, "xyz")
    return pose


class Tree:
    """The links and joints of one document."""

    def __init__(self, robot: ET.Element) -> None:
        self.links = [node.get("name") for node in robot.findall("link")]
        self.joints = {node.get("name"): node for node in robot.findall("joint")}
        self.above = {node.find("child").get("link"): node for node in self.joints.values()}
        self.boxes = {
            link.get("name"): [
                (origin(part.find("origin")), vector(part.find("geometry/box"), "size"))
                for part in (*link.findall("visual"), *link.findall("collision"))
            ]
            for link in robot.findall("link")
        }

    @property
    def roots(self):
        """Links that no joint moves."""
        return [name for name in self.links if name not in self.above]

    def limits(self, name):
        """Lower and upper limit and speed of a joint."""
        node = self.joints[name].find("limit")
        return tuple(float(node.get(key)) for key in ("lower", "upper", "velocity"))

    def pose(self, link, positions):
        """Pose of a link in the root, shape (4, 4), with joints at `positions`; fixed joints need none."""
        joint = self.above.get(link)
        if joint is None:
            return np.eye(4)
        motion = np.eye(4)
        axis, kind = vector(joint.find("axis"), "xyz", "1 0 0"), joint.get("type")
        if kind == "revolute":
            motion[:3, :3] = rotation(axis, positions[joint.get("name")])
        elif kind == "prismatic":
            motion[:3, 3] = axis * positions[joint.get("name")]
        parent = joint.find("parent").get("link")
        return self.pose(parent, positions) @ origin(joint.find("origin")) @ motion

    def corners(self, link, positions):
        """Corners of all boxes of a link in the root frame, shape (N, 3)."""
        pose = self.pose(link, positions)
        signs = np.array(np.meshgrid(*[(-0.5, 0.5)] * 3)).reshape(3, -1).T
        found = [
            pose @ local @ np.append(signs * size, np.ones((8, 1)), axis=1).T
            for local, size in self.boxes[link]
        ]
        return np.concatenate([points[:3].T for points in found]) if found else np.zeros((0, 3))
