"""Writes docs/reference/messages.md, cli.md and tasks.md from the code: python scripts/reference_pages.py."""

from __future__ import annotations

import ast
import importlib
import inspect
from dataclasses import MISSING, Field, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

from finevla.cli import VERBS
from finevla.sim import score
from finevla.sim.factors import FACTORS, IN_DISTRIBUTION, OOD_VALUES
from finevla.sim.tasks import task_named, task_names

ROOT = Path(__file__).resolve().parents[1]
REFERENCE = ROOT / "docs" / "reference"
INTERFACES = ROOT / "ros2_ws" / "src" / "finevla_msgs"

MESSAGES_HEAD = """\
# Messages, services and actions

Package `finevla_msgs`. Units are SI (m, rad, s) and frames are the contract's: x forward, y left, z up,
origin on the table top between the two arms. Enumerations whose value 0 means unknown never publish it, so
that a message that nobody filled in is recognised. Written by `scripts/reference_pages.py`.
"""
CLI_HEAD = """\
# The command `finevla`

`finevla --help` lists the verbs, `finevla VERB --help` the flags of one. The report goes to stdout,
progress and log to stderr. Exit codes: 0 done; 1 the verb says no (a floor was missed, a check failed); 2
refused (an error with what, where, expected, found and remedy, or wrong flags); 130 interrupted. Written by
`scripts/reference_pages.py`.
"""
TASKS_HEAD = """\
# Tasks and factors

Names follow RoboTwin 2.0 where it has the task. Every task has a clean and a hard version: the same objects
in the same places, in another room (colours, texture, light, clutter, table height, overhead camera).
Nothing is ever attached to a hand or moved by other means than contact and friction. Written by
`scripts/reference_pages.py`.
"""
KINDS = {
    "msg": "Messages",
    "srv": "Services (request above the line, answer below)",
    "action": "Actions (goal, result, feedback)",
}


def messages_page() -> str:
    """Every interface file, as it is."""
    parts = [MESSAGES_HEAD]
    for folder, title in KINDS.items():
        parts.append(f"## {title}\n")
        parts += [
            f"### {path.stem}\n\n```text\n{path.read_text().rstrip()}\n```\n"
            for path in sorted((INTERFACES / folder).iterdir())
        ]
    return "\n".join(parts)


def cli_page() -> str:
    """Every verb with its flags."""
    parts = [CLI_HEAD]
    for words, (module, what) in VERBS.items():
        config = importlib.import_module(module).Config
        docs = _field_docs(config)
        rows = "\n".join(_row(field, docs[field.name]) for field in fields(config))
        title = f"## `finevla {' '.join(words)}`\n\n{what[0].upper()}{what[1:]}.\n"
        parts.append(f"{title}\n| flag | default | meaning |\n|---|---|---|\n{rows}\n")
    return "\n".join(parts)


def tasks_page() -> str:
    """Every task with its success, every factor with its rule, and the rubric."""
    parts = [TASKS_HEAD, "## Tasks\n"]
    for name in task_names():
        task = task_named(name)
        fixed = ", ".join((*task.factors, *(f"{name} (where asked for)" for name in task.optional)))
        parts.append(
            f"### {name}\n\n{_sentence(task.summary)} Factors: {fixed}. "
            f"Given up after {task.max_frames} frames.\n\n"
            f"Done: {_text(type(task).success)}\n"
        )
    parts.append(
        "## Factors\n\nWhat the behaviour showed of each factor. It complies if that is what was asked.\n"
    )
    for factor in FACTORS.values():
        tasks = ", ".join(factor.tasks)
        role = (
            "one of the eight"
            if factor.name in IN_DISTRIBUTION
            else "for the combination that is never trained"
        )
        parts.append(
            f"### {factor.name}: {factor.title}\n\n{_text(factor.rule)}\n\nVaried in {tasks}; {role}.\n"
        )
    held = " and ".join(f"{name} {value}" for name, value in OOD_VALUES.items())
    parts.append(f"`ood`: {held}. No recording ever holds this combination; a test proves it.\n")
    parts.append(f"## Score\n\n{inspect.getdoc(score)}\n")
    return "\n".join(parts)


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


def _text(documented: object) -> str:
    return inspect.getdoc(documented) or ""


def _row(field: Field[Any], meaning: str) -> str:
    name = field.name.upper() if "Positional" in str(field.type) else "--" + field.name.replace("_", "-")
    if field.default is MISSING:
        default = "required" if field.default_factory is MISSING else field.default_factory()
    else:
        default = {None: "", False: "off", True: "on"}.get(_plain(field.default), field.default)
    text = " ".join(map(str, default)) if isinstance(default, tuple) else str(default)
    return f"| `{name}` | {text} | {meaning} |"


def _plain(value: object) -> object:
    """The value where it is None or a bool; 0 and 1 are equal to them and must not be mistaken."""
    return value if value is None or isinstance(value, bool) else ("", value)


def _field_docs(config: type) -> dict[str, str]:
    body = ast.parse(inspect.getsource(config)).body[0].body  # type: ignore[attr-defined]
    docs = {}
    for entry, text in pairwise(body):
        if isinstance(entry, ast.AnnAssign) and isinstance(text, ast.Expr):
            docs[entry.target.id] = " ".join(text.value.value.split()).replace("|", "\\|")  # type: ignore[union-attr,attr-defined]
    return docs


if __name__ == "__main__":
    (REFERENCE / "messages.md").write_text(messages_page())
    (REFERENCE / "cli.md").write_text(cli_page())
    (REFERENCE / "tasks.md").write_text(tasks_page())
