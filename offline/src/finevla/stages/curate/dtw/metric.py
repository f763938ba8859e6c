"""How far two trajectories are from each other.

- `eef`: the paper's (FineVLA section 3.4): `w_pos |dp| + w_rot angle(q, q')` per pair of frames, summed along
  the path of least cost and divided by the number of its pairs; then `w_grip` times the mean difference of
  the grippers along the same path (two stages), or the gripper within the cost of a pair (one stage).
- `joint`: the same with `w_pos |dj|`.
- `sqeuclid`: dtaidistance's: root of the sum of squared differences along the path of least sum.

Both arms together are one trajectory: the costs of the two arms are added, so that one warp of time serves
both. What the left hand does while the right hand does something is part of how a task is done; two
alignments would lose it.

Among paths of equal cost the one counts that steps forward in both, then in the longer trajectory (of equal
length: the earlier), at the last place where they part.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

MetricName = Literal["eef", "joint", "sqeuclid"]
EEF_WIDTH = 8
RELATIVE_ERROR = 1e-5
"""Bound of the relative error of distances from the quick kernels: rounding in float32 grows with the root of
the number of steps (Higham and Mary 2019, "A New Approach to Probabilistic Rounding Error Analysis", with
lambda = 6: 6e-6 for 800 steps). Pairs whose path could tip are computed in float64 at once."""
CLOSE = 5e-8
"""Relative difference of two costs below which float32 might choose the other path. Costs of pairs of frames
are float32, their sums float64: rounding leaves 2e-8 of the sum (measured, 40 to 400 frames)."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric and its numbers.

    Attributes:
        name: Which.
        arms: Arms in a frame; `sqeuclid` does not look at it.
        window: Frames by which two moments that are compared may differ; None: any. `sqeuclid` means
            dtaidistance's band (wider by the difference of the lengths on one side), the others the paper's
            (at least the difference of the lengths, on both sides).
        two_stage: Whether the gripper is kept out of the choice of the path.
        w_pos: Weight of positions, or of joints.
        w_rot: Weight of angles, per rad.
        w_grip: Weight of grippers.
    """

    name: MetricName = "eef"
    arms: int = 2
    window: int | None = None
    two_stage: bool = True
    w_pos: float = 1.0
    w_rot: float = 1.0
    w_grip: float = 0.5

    def joints(self, width: int) -> int:
        """Numbers of an arm that are no gripper.

        Raises:
            ValueError: A frame of this width cannot be shared out among the arms.
        """
        if self.name == "sqeuclid":
            return width
        if (
            self.arms not in {1, 2}
            or width % self.arms
            or (self.name == "eef" and width != EEF_WIDTH * self.arms)
        ):
            raise ValueError(
                f"a frame of {width} numbers is not one of {self.arms} arms for the metric {self.name}"
            )
        return width // self.arms - 1


def prepared(metric: Metric, trajectories: list[NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Trajectories as the kernels want them: each column scaled to 0..1 over the group, weights applied.

    As in the paper, positions, joints and grippers are scaled by the least and largest value in the group and
    quaternions are not; a column that never changes becomes zero. Quaternions get the sign that is nearer to
    the group's mean rotation, and half their length (see paths.inc). `sqeuclid` leaves all as it is.

    Args:
        metric: The metric.
        trajectories: Shape (T, D) each; eef: x, y, z, quaternion xyzw, gripper for each arm.
    """
    if metric.name == "sqeuclid":
        return trajectories
    joints = metric.joints(trajectories[0].shape[1])
    low = np.min([t.min(0) for t in trajectories], axis=0)
    high = np.max([t.max(0) for t in trajectories], axis=0)
    span = np.where(high > low, high - low, np.inf)
    weights = np.tile(np.append(np.full(joints, metric.w_pos), 1.0), metric.arms)
    scaled = [(t - low) / span * weights for t in trajectories]
    if metric.name == "eef":
        for arm in range(metric.arms):
            part = slice(arm * EEF_WIDTH + 3, arm * EEF_WIDTH + 7)
            mean = mean_rotation([t[:, part] for t in trajectories])
            for to, source in zip(scaled, trajectories, strict=True):
                sign = np.where(source[:, part] @ mean < 0.0, -0.5, 0.5)
                to[:, part] = source[:, part] * sign[:, None]
    return scaled


def mean_rotation(quaternions: list[NDArray[np.float64]]) -> NDArray[np.float64]:
    """The unit quaternion nearest to all, whatever their signs, shape (4,) (Markley et al. 2007)."""
    moments = sum((q.T @ q for q in quaternions), np.zeros((4, 4)))
    mean: NDArray[np.float64] = np.linalg.eigh(moments)[1][:, -1]
    return mean
