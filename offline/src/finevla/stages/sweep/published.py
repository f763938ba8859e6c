"""What the paper reports, in percent or points of 100: the only place where its figures stand.

Source: FineVLA, arXiv 2605.27284, and the README of its release. The real robot is a CobotMagic
with the authors' own tasks and scenes; RoboTwin has 50 tasks, easy and hard. Neither states trials, seeds
or intervals. Our simulated robot, tasks, data and policies are others: the curves may
be compared in shape, never in height.
"""

from __future__ import annotations

from collections.abc import Mapping

SOURCE = "published, arXiv 2605.27284, other robot and data"

REAL_ROBOT_FACTORS = ("CleanTable", "StackBlock", "Color", "Pose", "Approach", "Rotate", "Arm")
REAL_ROBOT: Mapping[str, tuple[float, ...]] = {
    "raw": (72, 35, 22, 24, 60, 76, 60),
    "1:4": (76, 36, 28, 32, 65, 79, 61),
    "1:2": (79, 39, 36, 48, 76, 87, 63),
    "1:1": (84, 40, 40, 47, 78, 86, 64),
    "2:1": (80, 38, 34, 42, 72, 83, 62),
    "4:1": (74, 37, 31, 43, 72, 83, 62),
    "fg": (70, 35, 25, 41, 70, 80, 60),
}
"""FG:Raw -> points of each task in distribution."""
REAL_ROBOT_AVG_ID: Mapping[str, float] = {
    "raw": 49.9,
    "1:4": 53.9,
    "1:2": 61.1,
    "1:1": 62.7,
    "2:1": 58.7,
    "4:1": 57.4,
    "fg": 54.4,
}
"""FG:Raw -> Avg(ID), the mean of `REAL_ROBOT`."""
REAL_ROBOT_OOD: Mapping[str, float] = {
    "raw": 0,
    "1:4": 0,
    "1:2": 5,
    "1:1": 10,
    "2:1": 5,
    "4:1": 5,
    "fg": 0,
}
"""FG:Raw -> points of the combination out of distribution, left arm to the right bowl."""

ROBOTWIN: Mapping[str, Mapping[str, tuple[float, float]]] = {
    "RDT-OFT": {
        "raw": (61.5, 60.0),
        "1:4": (68.2, 66.5),
        "1:2": (74.1, 72.1),
        "1:1": (73.9, 72.4),
        "2:1": (70.4, 68.3),
        "4:1": (68.6, 67.5),
        "fg": (62.9, 62.0),
    },
    "RDT-GR00T": {
        "raw": (55.1, 53.4),
        "1:4": (58.2, 55.7),
        "1:2": (61.7, 60.9),
        "1:1": (69.4, 68.2),
        "2:1": (65.9, 63.1),
        "4:1": (64.9, 63.2),
        "fg": (62.1, 61.5),
    },
    "AlohaMix-OFT": {
        "raw": (71.8, 71.4),
        "1:4": (75.3, 74.3),
        "1:2": (82.8, 78.6),
        "1:1": (86.8, 82.5),
        "2:1": (80.9, 79.3),
        "4:1": (79.5, 78.5),
        "fg": (78.3, 76.1),
    },
}
"""Pretraining and head -> FG:Raw -> success over 50 RoboTwin tasks, easy and hard."""
ROBOTWIN_OF_HEAD: Mapping[str, tuple[str, ...]] = {"oft": ("RDT-OFT", "AlohaMix-OFT"), "flow": ("RDT-GR00T",)}
"""Our head -> the published series of the same kind of head."""
