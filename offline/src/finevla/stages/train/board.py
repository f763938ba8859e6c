"""Where curves go while a run goes on: TensorBoard by default, Weights & Biases if asked, or nowhere."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

from finevla.errors import SetupError

Logger = Literal["tensorboard", "wandb", "none"]


class Board(Protocol):
    """Takes figures by name."""

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Figures after `step` updates."""
        ...

    def close(self) -> None:
        """Everything is written."""
        ...


class NoBoard:
    """Takes figures nowhere."""

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Does nothing."""

    def close(self) -> None:
        """Does nothing."""


class TensorBoard:
    """Event files in `OUT/tensorboard`."""

    def __init__(self, out: Path, first: int) -> None:
        """Opens a file; figures of an interrupted run after update `first` are hidden."""
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as err:
            raise _missing("tensorboard", err) from err
        purge = first if first else None
        self._writer: Any = SummaryWriter(str(out / "tensorboard"), purge_step=purge)

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Writes scalars."""
        for name, value in figures.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Writes what is buffered."""
        self._writer.close()


class Wandb:
    """A Weights & Biases run in `OUT/wandb`, offline unless `WANDB_MODE` says otherwise."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        """Begins the run."""
        try:
            wandb = importlib.import_module("wandb")
        except ImportError as err:
            raise _missing("wandb", err) from err
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run: Any = wandb.init(
            project="finevla", name=out.name, dir=str(out), mode=mode, config=dict(settings)
        )

    def add(self, figures: Mapping[str, float], step: int) -> None:
        """Logs figures."""
        self._run.log(dict(figures), step=step)

    def close(self) -> None:
        """Ends the run."""
        self._run.finish()


def open_board(kind: Logger, out: Path, first: int, settings: Mapping[str, Any]) -> Board:
    """Opens a board.

    Args:
        kind: Which one.
        out: Directory of the run.
        first: Updates that the run has behind it.
        settings: What the run is; shown where the board can.

    Raises:
        SetupError: Its package is not installed.
    """
    if kind == "none":
        return NoBoard()
    return TensorBoard(out, first) if kind == "tensorboard" else Wandb(out, settings)


def _missing(package: str, err: ImportError) -> SetupError:
    return SetupError(
        f"{package} is not installed",
        where="--logger",
        found=err,
        remedy=f"`pip install {package}`, or choose --logger none",
    )
