"""What a bundle says about its policy, and whether that fits the robot at hand."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from finevla.contract.dimensions import SLOTS
from finevla.contract.images import WorkspaceCrop
from finevla.contract.robot import RobotContract
from finevla.contract.sanity import statistics_faults
from finevla.contract.transforms import Transform

Problem = tuple[str, object, object]
"""What is wrong, what was expected, what was found."""

TEXT_TYPES = ("words", "lexicon", "qwen")
_LISTED = frozenset({"words", "lexicon"})
"""Types of codec that know a list of words."""
"""Kinds of text codecs that a bundle of this format can carry."""

PROVENANCE_KEYS: Mapping[str, type] = {
    "dataset_hash": str,
    "manifest_hash": str,
    "mix": str,
    "commands": list,
    "seeds": dict,
    "git_commit": str,
    "steps": int,
    "episodes": int,
    "frames": int,
}
"""What every bundle must tell about its making, and as what."""

_MIX = re.compile(r"raw|fg|\d+:\d+")
_SLOT_NAMES = frozenset(slot for slots in SLOTS.values() for slot in slots)


@dataclass(frozen=True)
class BundleContent:
    """What a bundle says about its policy, weights apart.

    Args:
        model: Configuration of backbone and head, as `finevla.policy.config` writes it.
        images: Camera name to image transform, in the order in which the policy sees them.
        dt_s: Seconds between two targets of a chunk.
        horizon: Targets in a chunk.
        text: The text codec with its `type`; `words` carries the words that the policy knows.
        dimensions: Slot of the ten dimensions to the values seen in training, sorted.
        state: Measured joints to policy numbers.
        action: Commanded joints to policy numbers; its inverse makes targets.
        provenance: Where the policy comes from; at least `PROVENANCE_KEYS`.
        files: Further files by name, such as `tokenizer.json`.
    """

    model: Mapping[str, Any]
    images: Mapping[str, WorkspaceCrop]
    dt_s: float
    horizon: int
    text: Mapping[str, Any]
    dimensions: Mapping[str, tuple[str, ...]]
    state: Transform
    action: Transform
    provenance: Mapping[str, Any]
    files: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def cameras(self) -> tuple[str, ...]:
        """Names of the cameras that the policy needs."""
        return tuple(self.images)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that the policy was trained with; empty where its text codec reads any text.

        Those of a lexicon are canonical: `kind:value`, whichever phrase says it.
        """
        return tuple(self.text["words"]) if self.text["type"] in _LISTED else ()


def content_problems(content: BundleContent, contract: RobotContract) -> list[Problem]:
    """Contradictions between the parts and the robot."""
    return [
        *_camera_problems(content, contract),
        *_timing_problems(content, contract),
        *_text_problems(content.text),
        *_dimension_problems(content.dimensions),
        *_provenance_problems(content.provenance),
        *(
            (fault.what, fault.expected, fault.found)
            for fault in statistics_faults(content.state, content.action, contract)
        ),
    ]


def _camera_problems(content: BundleContent, contract: RobotContract) -> list[Problem]:
    known = {name: (spec.width, spec.height) for name, spec in contract.cameras.items()}
    used = {name: image.source for name, image in content.images.items()}
    if not used:
        return [("the policy uses no camera", sorted(known), "none")]
    if absent := sorted(set(used) - set(known)):
        return [("the bundle uses cameras that the robot does not have", sorted(known), absent)]
    if other := {name: size for name, size in used.items() if size != known[name]}:
        expected = {name: known[name] for name in other}
        return [("the bundle was made for other sizes of camera pictures", expected, other)]
    return []


def _timing_problems(content: BundleContent, contract: RobotContract) -> list[Problem]:
    problems: list[Problem] = []
    if abs(content.dt_s - contract.frame_period_s) > 1e-9:
        problem = "the bundle has another time between two targets than the robot"
        problems.append((problem, f"{contract.frame_period_s:g} s", f"{content.dt_s:g} s"))
    if content.horizon != contract.horizon:
        problem = "the bundle has another horizon than the robot"
        problems.append((problem, f"{contract.horizon} targets", content.horizon))
    return problems


def _text_problems(text: Mapping[str, Any]) -> list[Problem]:
    if text.get("type") not in TEXT_TYPES:
        return [("the bundle has an unknown type of text codec", TEXT_TYPES, text.get("type"))]
    if text["type"] not in _LISTED:
        return []
    words = text.get("words")
    if not isinstance(words, list | tuple) or not words:
        return [("the policy knows no words", "a list of words", words)]
    if not all(isinstance(word, str) and word for word in words):
        return [("the words of the policy are not words", "text", _some(words))]
    if len(set(words)) != len(words):
        twice = sorted({word for word in words if words.count(word) > 1})
        return [("the policy knows repeated words", "each word once", _some(twice))]
    longest = text.get("max_words")
    if not isinstance(longest, int) or isinstance(longest, bool) or longest < 1:
        return [("the longest sentence of the policy is not a number of words", "max_words >= 1", longest)]
    return []


def _dimension_problems(dimensions: Mapping[str, Sequence[str]]) -> list[Problem]:
    if unknown := sorted(set(dimensions) - _SLOT_NAMES):
        return [("the bundle names slots that the ten dimensions do not have", sorted(_SLOT_NAMES), unknown)]
    for slot, values in dimensions.items():
        good = all(isinstance(value, str) and value for value in values)
        if not good or not values or list(values) != sorted(set(values)):
            problem = "the values of a dimension are not a sorted list of texts"
            return [(problem, "values that were seen in training, each once", {slot: _some(values)})]
    return []


def _provenance_problems(provenance: Mapping[str, Any]) -> list[Problem]:
    if lacking := [key for key in PROVENANCE_KEYS if key not in provenance]:
        return [("the bundle does not tell where it comes from", list(PROVENANCE_KEYS), f"no {lacking}")]
    wrong = {
        key: provenance[key]
        for key, kind in PROVENANCE_KEYS.items()
        if not isinstance(provenance[key], kind) or provenance[key] == ""
    }
    if wrong:
        expected = {key: PROVENANCE_KEYS[key].__name__ for key in wrong}
        return [("the bundle tells where it comes from in an unusable way", expected, wrong)]
    if not _MIX.fullmatch(provenance["mix"]):
        problem = "the bundle names an unknown mixture of fine-grained and raw instructions"
        return [(problem, "raw, fg or A:B", provenance["mix"])]
    return []


def _some(values: Sequence[object]) -> list[object]:
    return list(values)[:5]
