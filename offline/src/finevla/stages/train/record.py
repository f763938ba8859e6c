"""run.json: everything that fixes a policy and its origin; also how a resumed run is recognised."""

from __future__ import annotations

import dataclasses
import json
import subprocess
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from finevla.contract.instruction import RejectedInstructionError, parse
from finevla.contract.robot import RobotContract
from finevla.errors import PolicyError
from finevla.policy.text import TextCodec

RUN_FILE = "run.json"
MANIFEST_FILE = "manifest.json"
TEXT_FOLDER = "text"
_LOOSE = frozenset({"git_commit", "command"})
"""What may differ when a run is resumed."""


def dimensions_of(texts: Iterable[str]) -> dict[str, list[str]]:
    """The values of each slot of the ten dimensions that these texts fix, sorted.

    A text that the live robot would refuse (`finevla.contract.instruction`) fixes nothing.
    """
    found: dict[str, set[str]] = {}
    for text in texts:
        try:
            values = parse(text).values
        except RejectedInstructionError:
            continue
        for value in values:
            found.setdefault(value.slot, set()).add(value.value)
    return {slot: sorted(values) for slot, values in sorted(found.items())}


def contract_part(contract: RobotContract) -> dict[str, Any]:
    """The robot that a policy is for."""
    return {"contract_hash": contract.hash, "contract": dict(contract.document)}


def text_part(codec: TextCodec) -> dict[str, Any]:
    """How texts become numbers, and the files of that."""
    files = [f"{TEXT_FOLDER}/{name}" for name in sorted(codec.files)]
    return {"text": codec.to_json(), "extra_files": files}


def begin_record(out: Path, document: Mapping[str, Any], codec: TextCodec) -> None:
    """Makes the directory of a new run with its run.json and the files of its text codec."""
    out.mkdir(parents=True, exist_ok=True)
    for name, content in codec.files.items():
        (out / TEXT_FOLDER).mkdir(exist_ok=True)
        (out / TEXT_FOLDER / name).write_bytes(content)
    (out / RUN_FILE).write_text(json.dumps(document, indent=1) + "\n")


def check_record(out: Path, document: Mapping[str, Any]) -> None:
    """Checks that a resumed run is the one that was begun.

    Raises:
        PolicyError: It is not; what changed is named.
    """
    before, now = read_run(out), json.loads(json.dumps(document))
    changed = [key for key in now if key not in _LOOSE and now[key] != before.get(key)]
    if changed:
        raise PolicyError(
            "the resumed run is not the one that was begun",
            where=out,
            expected={key: _shown(before.get(key), now[key]) for key in changed},
            found={key: _shown(now[key], before.get(key)) for key in changed},
            remedy="resume with the dataset and flags of the first run, or choose a new --out",
        )


def read_run(out: Path) -> dict[str, Any]:
    """The document of a training directory.

    Raises:
        PolicyError: There is none.
    """
    try:
        document: dict[str, Any] = json.loads((out / RUN_FILE).read_text())
    except (OSError, ValueError) as err:
        raise PolicyError(
            "this is not a training directory",
            where=out,
            expected=RUN_FILE,
            found=err,
            remedy="give the directory that `finevla train` wrote",
        ) from err
    return document


def git_commit() -> str:
    """Commit of the library's checkout with a mark for changes, or `unknown` outside of one."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return "unknown"
    return done.stdout.strip() or "unknown"


def plain_fields(part: Any) -> dict[str, Any]:
    """A dataclass as plain JSON values."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(part), default=str))
    return fields


def _shown(value: Any, other: Any) -> Any:
    """Of two mappings, only the entries that differ."""
    if isinstance(value, dict) and isinstance(other, dict):
        return {key: item for key, item in value.items() if other.get(key) != item}
    return value
