"""The model card of a bundle: what a person wants to know before the policy moves a robot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from finevla.contract.bundle_content import BundleContent
from finevla.contract.bundle_weights import Tensors
from finevla.contract.dimensions import SLOTS
from finevla.contract.robot import RobotContract
from finevla.contract.transforms import Transform, first_statistics

_HEAD = """---
license: apache-2.0
library_name: finevla
pipeline_tag: robotics
tags: [finevla, robotics, vision-language-action]
---
"""

_LIMITS = """## Intended use and limits

For research on how well a robot follows fine-grained instructions, on the robot that is named above,
behind the safety layer of its driver. Not for work near people, and not for other robots: the loader
refuses a robot with another contract. Outside of the scenes, objects and sentences of its training data
its behavior is unknown. It does not notice that it failed.
"""

_VERIFY = """## How to verify it

`finevla inspect BUNDLE` recomputes every digest, checks the statistics and prints where the bundle comes
from. `bundle.json` holds the SHA-256 of each file, and its own signature covers them. This shows damage
and mix-ups; it does not prove who made the bundle.

License: Apache-2.0.
"""


def model_card(contract: RobotContract, content: BundleContent, tensors: Tensors) -> str:
    """The text of the bundle's README.md; equal bundles have equal cards."""
    parts = [
        _HEAD,
        f"# {_kind(content.model, 'backbone')} + {_kind(content.model, 'head')} for {contract.name}\n",
        "A policy of FineVLA for ROS 2: pictures, joints and an instruction in, a chunk of targets out.\n",
        _facts(contract, content, tensors),
        "## Training data and mixture\n",
        _training(content.provenance),
        _LIMITS,
        "## What it understands\n",
        _words(content),
        _dimensions(content),
        "## Statistics\n",
        "The numbers that turn the policy's outputs into motion.\n",
        _statistics("Measured joints (state)", content.state, contract),
        _statistics("Commanded joints (action)", content.action, contract),
        _VERIFY,
    ]
    return "\n".join(parts)


def _training(provenance: Mapping[str, Any]) -> str:
    rows = [(k.replace("_", " "), _cell(value)) for k, value in provenance.items() if k != "commands"]
    commands = "".join(f"    {command}\n" for command in provenance["commands"])
    return (
        f"{provenance['episodes']} episodes with {provenance['frames']} frames, "
        f"{provenance['steps']} updates. Instructions: {_mixture(provenance['mix'])}.\n\n"
        f"{_table(('what', 'value'), rows)}\n{commands}"
    )


def _facts(contract: RobotContract, content: BundleContent, tensors: Tensors) -> str:
    dtypes = sorted({tensors.dtype(name) for name in tensors.arrays})
    pictures = [
        f"{name} {_size(*image.source)}, box {list(image.box)}, resized to {_size(*image.size)} pixels"
        for name, image in content.images.items()
    ]
    rows = [
        ("robot", f"{contract.name}, contract {contract.hash[:12]}, {contract.dof} joints"),
        ("cameras", "; ".join(pictures)),
        ("output", f"{content.horizon} targets, {content.dt_s:g} s apart"),
        ("parameters", f"{tensors.parameters} ({', '.join(dtypes)})"),
    ]
    return _table(("part", "value"), rows)


def _size(width: int, height: int) -> str:
    return f"{width} x {height}"


def _kind(model: Mapping[str, Any], part: str) -> str:
    found = model.get(part)
    return str(found.get("type", "unknown")) if isinstance(found, Mapping) else "unknown"


def _mixture(mix: str) -> str:
    named = {"raw": "raw ones only", "fg": "fine-grained ones only"}
    return named.get(mix, f"fine-grained to raw = {mix}")


def _words(content: BundleContent) -> str:
    if content.words:
        return f"{len(content.words)} words; any other is refused: {', '.join(content.words)}.\n"
    return f"Any sentence; text codec `{content.text['type']}`.\n"


def _dimensions(content: BundleContent) -> str:
    if not content.dimensions:
        return "No value of the ten dimensions was recognised in the training sentences.\n"
    rows = [
        (dimension.value, slot, _cell(content.dimensions[slot]))
        for dimension, slots in SLOTS.items()
        for slot in slots
        if slot in content.dimensions
    ]
    return _table(("dimension", "slot", "values seen in training"), rows)


def _statistics(title: str, transform: Transform, contract: RobotContract) -> str:
    statistics = first_statistics(transform)
    if statistics is None:
        return f"{title}: none.\n"
    grippers = set(contract.grippers.values())
    columns = (statistics.mean, statistics.std, statistics.minimum, statistics.maximum)
    rows = [
        (name, "m" if i in grippers else "rad", *(f"{round(column[i], 4) + 0.0:.4f}" for column in columns))
        for i, name in enumerate(statistics.names)
    ]
    table = _table(("joint", "unit", "mean", "spread", "smallest", "largest"), rows)
    return f"{title}, from {statistics.count} frames:\n\n{table}"


def _cell(value: object) -> str:
    if isinstance(value, Mapping):
        value = [f"{key} {item}" for key, item in value.items()]
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in lines) + "\n"


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")
