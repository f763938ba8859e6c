"""What the stage leaves behind: which episode was dropped why, and what the vectors mean."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from finevla.contract import unified
from finevla.contract.robot import RobotContract
from finevla.dataset.read import Opened
from finevla.errors import DatasetError
from finevla.stages.normalize.examine import Examined, Fault
from finevla.stages.normalize.filters import Rule, diverges
from finevla.stages.normalize.poses import RECORD
from finevla.stages.normalize.unify import STORED, Plan
from finevla.stages.report import Rejected

FILTER_REPORT = "filter_report.json"
SCORES = "scores.png"
UNIFIED = "unified.json"
"""In `meta`: what the places of the vectors are."""
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Judged:
    """An episode with everything that speaks against it; it is kept where nothing does."""

    episode: Examined
    faults: tuple[Fault, ...]

    @property
    def rejected(self) -> Rejected:
        """The line of `rejected.jsonl`: the first reason, and all that is said."""
        words = "\n".join(fault.message for fault in self.faults)
        return Rejected(f"episode {self.episode.number}", self.faults[0].reason, words)


def judge(episodes: Sequence[Examined], rule: Rule) -> list[Judged]:
    """Adds what the divergence filter says."""
    return [Judged(episode, (*episode.faults, *_diverged(episode, rule))) for episode in episodes]


def _diverged(episode: Examined, rule: Rule) -> tuple[Fault, ...]:
    if not diverges(episode.score, rule.threshold):
        return ()
    slots = ", ".join(rule.compare)
    if episode.score == math.inf:
        words = f"of state and action, one moves and the other stands still: {slots}"
    else:
        words = f"state and action diverge by {episode.score:.4g}, at most {rule.threshold:.4g}: {slots}"
    return (Fault("divergence", words),)


def plain_score(score: float | None) -> float | str | None:
    """A score in JSON, which knows no infinity."""
    if score is None or math.isnan(score):
        return None
    return "inf" if math.isinf(score) else score


def summary(judged: Sequence[Judged], rule: Rule) -> dict[str, Any]:
    """Counts and thresholds; an episode counts under each of its reasons."""
    reasons = Counter(fault.reason for item in judged for fault in _by_reason(item).values())
    return {
        "episodes": len(judged),
        "kept": sum(not item.faults for item in judged),
        "rejected": sum(bool(item.faults) for item in judged),
        "reasons": dict(sorted(reasons.items())),
        "preset": rule.preset,
        "compare": list(rule.compare),
        "threshold": rule.threshold,
        "percentile": rule.percentile,
        "min_frames": rule.min_frames,
    }


def _by_reason(item: Judged) -> dict[str, Fault]:
    return {fault.reason: fault for fault in item.faults}


def filter_report(judged: Sequence[Judged], rule: Rule) -> dict[str, Any]:
    """`filter_report.json`: every episode of the source by its index there, and a summary."""
    episodes = {
        str(item.episode.number): {
            "kept": not item.faults,
            "reasons": list(_by_reason(item)),
            "messages": [fault.message for fault in item.faults],
            "frames": item.episode.frames,
            "score": plain_score(item.episode.score),
            "tasks": list(item.episode.tasks),
        }
        for item in judged
    }
    return {"summary": summary(judged, rule), "episodes": episodes}


def source_hash(opened: Opened, episodes: Sequence[Examined]) -> str:
    """Identity of the source wherever it lies: that of its converter, or of its metadata and columns."""
    path = opened.root / "meta" / RECORD
    if path.is_file():
        try:
            return str(json.loads(path.read_text())["dataset_hash"])
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise DatasetError(
                "the record of the converter cannot be read",
                where=path,
                expected="a JSON document with dataset_hash",
                found=repr(err),
                remedy="convert the bags again",
            ) from err
    told = [opened.fps, opened.info.get("robot_type"), opened.features, opened.tasks]
    sha = hashlib.sha256(json.dumps(told, sort_keys=True).encode())
    for episode in episodes:
        sha.update(f"{episode.digest} {list(episode.tasks)}\n".encode())
    return sha.hexdigest()


def unified_document(
    opened: Opened, plan: Plan, robot: str | None, kept: Sequence[int], origin: str
) -> dict[str, Any]:
    """`meta/unified.json`.

    Args:
        opened: The source.
        plan: What was done with it.
        robot: Name of the robot.
        kept: Index in the source of every episode.
        origin: Identity of the source.
    """
    document = {
        "format_version": FORMAT,
        "width": unified.WIDTH,
        "slots": [{"name": s.name, "start": s.start, "size": s.size} for s in unified.SLOTS.values()],
        "features": {
            "state": unified.STATE,
            "action": unified.ACTION,
            "mask_state": unified.STATE_MASK,
            "mask_action": unified.ACTION_MASK,
        },
        **_groups(plan),
        "rotation": {
            "state": "unit quaternion x, y, z, w of continuous sign, after x, y, z in m: 7 of 9 values",
            "action": plan.to.form if plan.to.form != "joint" else "quat",
        },
        "action_type": str(plan.to),
        "time": {"fps": opened.fps, "t0_s": 0.0, "seconds_per_frame": 1.0 / opened.fps},
        "robot": _robot(plan.robot, robot),
        "told_by": plan.layout.told_by,
        "unused": list(plan.layout.unused),
        "source": {"dataset_hash": origin, "format": opened.version, "episodes": len(opened.rows)},
        "episodes": [
            {"episode_index": number, "source_episode_index": old} for number, old in enumerate(kept)
        ],
    }
    identity = json.dumps(document, sort_keys=True).encode()
    return {**document, "dataset_hash": hashlib.sha256(identity).hexdigest()}


def _robot(contract: RobotContract | None, name: str | None) -> dict[str, Any]:
    return {
        "name": name,
        "kinematics": None if contract is None else contract.name,
        "contract_hash": None if contract is None else contract.hash,
    }


def _groups(plan: Plan) -> dict[str, Any]:
    """What every filled slot holds, and where that comes from."""
    computed, slots = plan.computed(), plan.slots()
    told = {"state": plan.layout.state, "action": plan.layout.action}
    found: dict[str, dict[str, Any]] = {"state": {}, "action": {}}
    for group, names in slots.items():
        fields = {field.slot: field for field in told[group]}
        for name in names:
            pose = unified.slot_of(name).part == unified.EEF
            kind = plan.output(name) if group == "action" else STORED if pose else "abs_joint"
            field = fields.get(name)
            origin: Mapping[str, Any]
            if field is None:
                origin = {"computed": "forward kinematics", "frame": "world, point between the finger pads"}
            else:
                origin = {
                    "type": str(field.kind),
                    "column": field.column,
                    "dimensions": list(field.places),
                }
            found[group][name] = {"type": str(kind), "source": origin}
    return {**found, "computed": {group: list(names) for group, names in computed.items()}}
