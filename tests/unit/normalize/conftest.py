"""Small datasets of the contract's robot and of others, made to be good or bad in one way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from foreign_lerobot import CAMERA, FPS, SIZE, write_video

from finevla.contract import load_contract
from finevla.dataset.encode import VideoSettings
from finevla.dataset.modality import Modality
from finevla.dataset.pack import Outline, Take, pack
from finevla.dataset.write import WRITERS

CONTRACT = load_contract()


@dataclass
class Episode:
    """State and action (T, n) with a task."""

    state: np.ndarray
    action: np.ndarray
    task: str = "lift the cube"


@dataclass
class Kit:
    """What tests make datasets of."""

    contract: object = CONTRACT
    fps: int = FPS
    names: tuple[str, ...] = field(default_factory=lambda: CONTRACT.joint_names)

    def moving(self, frames: int = 20, seed: int = 0) -> Episode:
        """Both arms wave; the action is a little ahead of the state."""
        rng = np.random.default_rng(seed)
        t = np.arange(frames + 1)[:, None]
        sway = 0.3 * np.sin(0.15 * t + rng.uniform(0, 6, CONTRACT.dof)) * (~CONTRACT.is_gripper)
        grip = 0.02 * np.sin(0.3 * t) * CONTRACT.is_gripper
        joints = (CONTRACT.home - 0.03 * CONTRACT.is_gripper + sway + grip).astype(np.float32)
        return Episode(joints[:-1], joints[:-1] + np.float32(0.2) * np.diff(joints, axis=0))

    def write(
        self,
        root: Path,
        episodes: Sequence[Episode],
        to: str = "v3.0",
        names: Sequence[str] | None = None,
        robot: str | None = CONTRACT.name,
        modality: Modality | None = None,
    ) -> Path:
        """Writes a dataset with one small camera."""
        scratch = root.parent / f"{root.name}_videos"
        takes = []
        for number, episode in enumerate(episodes):
            video = scratch / f"{number}.mp4"
            # Without B-frames, so that episodes of one frame can be joined to others.
            write_video(video, 20 * number, len(episode.state), bf="0")
            counts = np.full((3, 256), 1, np.int64)
            vectors = {"observation.state": episode.state, "action": episode.action}
            takes.append(Take(episode.task, vectors, {CAMERA: video}, {CAMERA: counts}))
        told = list(self.names if names is None else names)
        outline = Outline(
            robot_type=robot,
            fps=FPS,
            vectors={"observation.state": told, "action": told},
            pictures={CAMERA: (SIZE[1], SIZE[0])},
            settings=VideoSettings(),
        )
        root.mkdir(parents=True)
        WRITERS[to](*pack(outline, takes), root)
        if modality is not None:
            modality.write(root)
        return root


@pytest.fixture
def kit() -> Kit:
    return Kit()
