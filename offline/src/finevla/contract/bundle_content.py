"""What a bundle says about its policy, and whether that fits the robot at hand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import Transform

Problem = tuple[str, object, object]
"""What is wrong, what was expected, what was found."""

PROVENANCE_KEYS = ("dataset_hash", "commands", "seeds", "git_commit")
"""What every bundle must tell about its making."""

_LIMIT_SLACK = 0.05
"""Share of a joint's range by which a mean may lie outside its limits (sensor offsets)."""


@dataclass(frozen=True)
class BundleContent:
    """What a bundle says about its policy, weights apart.

    Args:
        model: Configuration of backbone and head, as `finevla.policy.config` writes it.
        images: Camera name to image transform, in the order in which the policy sees them.
        dt_s: Seconds between two targets of a chunk.
        horizon: Targets in a chunk.
        vocabulary: Words that the policy knows, in the order of their embeddings.
        state: Measured joints to policy numbers.
        action: Commanded joints to policy numbers; its inverse makes targets.
        provenance: Where the policy comes from; at least `PROVENANCE_KEYS`.
    """

    model: Mapping[str, Any]
    images: Mapping[str, WorkspaceCrop]
    dt_s: float
    horizon: int
    vocabulary: tuple[str, ...]
    state: Transform
    action: Transform
    provenance: Mapping[str, Any]

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that the policy needs."""
        return tuple(self.images)


def content_problems(content: BundleContent, contract: RobotContract) -> list[Problem]:
    """Contradictions between the parts and the robot."""
    return [
        *_shape_problems(content, contract),
        *_statistics_problems("state", content.state, contract),
        *_statistics_problems("action", content.action, contract),
    ]


def _shape_problems(content: BundleContent, contract: RobotContract) -> list[Problem]:
    problems: list[Problem] = []
    known = {name: (spec.width, spec.height) for name, spec in contract.cameras.items()}
    used = {name: image.source for name, image in content.images.items()}
    if not used or any(known.get(name) != size for name, size in used.items()):
        problems.append(("the bundle uses cameras that the robot does not have", known, used))
    if content.horizon < 1 or abs(content.dt_s - contract.frame_period_s) > 1e-9:
        expected = f"dt_s {contract.frame_period_s}, horizon >= 1"
        problems.append(("the chunks have impossible timing", expected, (content.dt_s, content.horizon)))
    words = content.vocabulary
    if not words or len(set(words)) != len(words) or not all(isinstance(w, str) and w for w in words):
        problems.append(("the vocabulary is empty or has repeated words", "distinct words", words))
    lacking = [key for key in PROVENANCE_KEYS if key not in content.provenance]
    if lacking:
        problems.append(("the bundle does not tell where it comes from", PROVENANCE_KEYS, f"no {lacking}"))
    return problems


def _statistics_problems(part: str, transform: Transform, contract: RobotContract) -> list[Problem]:
    """Statistics of other joints, or with means that this robot cannot reach (degrees, say)."""
    if transform.names != contract.joint_names:
        return [(f"the {part} statistics have other joints", contract.joint_names, transform.names)]
    mean = transform.invert(np.zeros(contract.dof))
    slack = _LIMIT_SLACK * (contract.upper - contract.lower)
    outside = (mean < contract.lower - slack) | (mean > contract.upper + slack)
    if outside.any():
        means = {n: float(m) for n, m, bad in zip(contract.joint_names, mean, outside, strict=True) if bad}
        return [(f"the {part} statistics lie outside the joint limits", "rad and m within limits", means)]
    return []
