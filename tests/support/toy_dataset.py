"""A toy world, and a LeRobot dataset of it: colored squares whose place decides where the arms go."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from finevla.contract import RobotContract
from finevla.contract.images import WorkspaceCrop

COLORS = {"red": (200, 30, 30), "blue": (30, 30, 200), "green": (30, 180, 30), "yellow": (220, 200, 30)}
CROP = WorkspaceCrop((320, 240), (102, 50, 218, 166))


def squares(rng: np.random.Generator, size: int, side: int) -> tuple[np.ndarray, list[str], np.ndarray]:
    """A picture with two colored squares, their colors, and their places in [-1, 1]."""
    picture = np.full((size, size, 3), 120, np.uint8)
    colors = list(rng.permutation(list(COLORS))[:2])
    while True:
        corners = rng.integers(2, size - 2 - side, (2, 2))
        if np.abs(corners[0] - corners[1]).max() > side + 1:
            break
    for color, (x, y) in zip(colors, corners, strict=True):
        picture[y : y + side, x : x + side] = COLORS[color]
    return picture, colors, 2.0 * (corners + side / 2) / size - 1.0


def toy_episode(contract: RobotContract, rng: np.random.Generator, size: int, side: int):
    """One still picture, a text, and commands that turn one arm to the named square."""
    picture, colors, places = squares(rng, size, side)
    arm = str(rng.choice(["left", "right"]))
    goal = contract.home.copy()
    start = contract.arm_slice(arm).start
    goal[start] += 0.8 * places[0][0]
    goal[start + 1] += 0.5 * (places[0][1] + 1.0)
    return picture, f"Lift the {colors[0]} cube with the {arm} arm.", goal


def write_toy_dataset(root: Path, contract: RobotContract) -> Path:
    """Twelve episodes written by LeRobot's own API: the same toy, at camera resolution."""
    from lerobot.configs.video import RGBEncoderConfig
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    vector = {"dtype": "float32", "shape": (contract.dof,), "names": list(contract.joint_names)}
    camera = contract.cameras[contract.sync.pivot]
    picture = {
        "dtype": "video",
        "shape": (camera.height, camera.width, 3),
        "names": ["height", "width", "channels"],
    }
    dataset = LeRobotDataset.create(
        "local/toy",
        fps=int(contract.rates_hz.frame),
        features={"observation.state": vector, "action": vector, camera.key: picture},
        root=root,
        rgb_encoder=RGBEncoderConfig(vcodec="h264", preset="ultrafast", crf=23, g=2),
        streaming_encoding=True,
    )
    rng = np.random.default_rng(5)
    left, top, right, _ = CROP.box
    for _ in range(12):
        inner, text, goal = toy_episode(contract, rng, right - left, 16)
        frame = np.zeros((camera.height, camera.width, 3), np.uint8)
        frame[top : top + len(inner), left : left + len(inner)] = inner
        for share in np.linspace(0.2, 1.0, 5):
            action = contract.home + share * (goal - contract.home)
            state = contract.home + (share - 0.2) * (goal - contract.home)
            dataset.add_frame(
                {
                    "observation.state": state.astype(np.float32),
                    "action": action.astype(np.float32),
                    camera.key: frame,
                    "task": text,
                }
            )
        dataset.save_episode()
    dataset.finalize()
    return root
