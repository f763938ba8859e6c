"""What the exporter takes out of a training directory: run.json, a checkpoint, its weights, further files."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from finevla.contract.bundle_weights import WEIGHTS_FILE, Tensors, read_tensors
from finevla.errors import PolicyError

RUN_FILE = "run.json"
EMA_FILE = "ema.safetensors"
RUN_KEYS = (
    "model",
    "images",
    "text",
    "dimensions",
    "state",
    "action",
    "mix",
    "manifest_hash",
    "dataset_hash",
    "schedule",
    "episodes",
    "frames",
    "command",
    "git_commit",
    "contract",
    "contract_hash",
)
"""What a bundle needs of run.json; `extra_files` is there where the text codec has files."""

_TRAIN_AGAIN = "train again with this version of `finevla train`"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A checkpoint that was chosen: its step and the file of weights in it, averaged or not."""

    step: int
    file: Path

    @property
    def averaged(self) -> bool:
        """Whether these are the averaged weights (EMA)."""
        return self.file.name == EMA_FILE


def read_run(train_dir: Path) -> dict[str, Any]:
    """The document of a training directory.

    Raises:
        PolicyError: There is none, or an older version wrote it.
    """
    try:
        document = json.loads((train_dir / RUN_FILE).read_text())
    except (OSError, ValueError) as err:
        raise PolicyError(
            "this is not a training directory",
            where=train_dir,
            expected=RUN_FILE,
            found=err,
            remedy="give the directory that `finevla train` wrote",
        ) from err
    lacking = [key for key in RUN_KEYS if not isinstance(document, dict) or key not in document]
    if lacking:
        raise PolicyError(
            "the training directory does not tell everything that a bundle needs",
            where=train_dir / RUN_FILE,
            expected=list(RUN_KEYS),
            found=f"no {lacking}",
            remedy=_TRAIN_AGAIN,
        )
    return dict(document)


def choose_checkpoint(train_dir: Path, step: int | None, ema: bool) -> Checkpoint:
    """The checkpoint of a step, or the newest; its averaged weights where they exist and `ema` says so.

    Raises:
        PolicyError: There is no checkpoint, or none of this step; those that exist are named.
    """
    found = {_step(folder): folder for folder in (train_dir / "checkpoints").glob("step_*")}
    if not found:
        raise PolicyError(
            "there is no checkpoint",
            where=train_dir,
            expected="checkpoints/step_*",
            remedy="give the directory that `finevla train` wrote",
        )
    chosen = max(found) if step is None else step
    if chosen not in found:
        raise PolicyError(
            f"there is no checkpoint of step {chosen}",
            where=train_dir,
            expected=f"one of {sorted(found)}",
            found=chosen,
            remedy="choose --step out of these, or leave it out for the newest",
        )
    names = (EMA_FILE, WEIGHTS_FILE) if ema else (WEIGHTS_FILE,)
    files = [found[chosen] / name for name in names]
    return Checkpoint(chosen, next((file for file in files if file.is_file()), files[-1]))


def _step(folder: Path) -> int:
    digits = folder.name.removeprefix("step_")
    if not digits.isdigit():
        raise PolicyError(
            "a checkpoint has a name without a step",
            where=folder,
            expected="step_ and a number",
            remedy="remove or rename this directory",
        )
    return int(digits)


def checkpoint_tensors(checkpoint: Checkpoint) -> Tensors:
    """The weights of a checkpoint, mapped where they are large.

    Raises:
        BundleError: The file is missing, damaged or holds numbers that are not finite.
    """
    return read_tensors([checkpoint.file])


def extra_files(train_dir: Path, run: Mapping[str, Any]) -> dict[str, bytes]:
    """Files that the policy needs beside its weights, by name.

    Raises:
        PolicyError: One is missing, lies outside of the directory, or two have the same name.
    """
    files: dict[str, bytes] = {}
    for relative in run.get("extra_files", ()):
        path = train_dir / str(relative)
        if not path.resolve().is_relative_to(train_dir.resolve()):
            raise _file_error("a file of the policy lies outside of its training directory", path)
        if path.name in files:
            raise _file_error("two files of the policy have the same name", path)
        try:
            files[path.name] = path.read_bytes()
        except OSError as err:
            raise _file_error("a file of the policy is missing", path, err) from err
    return files


def _file_error(what: str, path: Path, found: object = "") -> PolicyError:
    return PolicyError(what, where=path, found=found, remedy=_TRAIN_AGAIN)
