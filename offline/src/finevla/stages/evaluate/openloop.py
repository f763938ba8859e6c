"""Open loop: what a policy predicts on recorded frames, compared with what the demonstrator did.

Errors are absolute differences between predicted and commanded targets, per joint (rad, or m for a gripper)
and per step of the horizon; targets past the end of an episode do not count. An ablation gives the same
frames other words. `change` is how far its prediction lies from that with the right words, `error_increase`
how much farther from the demonstration: a policy deaf to words has zero for both. A small error proves
little, and a large one may be another good way: only the closed loop shows obedience.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import RobotContract
from finevla.errors import FineVLAError, InstructionError
from finevla.stages.evaluate.openloop_texts import ABLATIONS, RIGHT, Episode, ablated, phrases_of

FloatArray = NDArray[np.float64]
OnEpisode = Callable[[], None]


class Predictor(Protocol):
    """What is measured."""

    def predict(self, frames: NDArray[np.int64], text: str) -> FloatArray:
        """Chunks (n, horizon, dof) for frames of the dataset (n,), rad and m.

        Raises:
            InstructionError: The policy does not take the text.
        """
        ...


class Recording(Protocol):
    """The frames that are looked at: a `FrameCache`, or one of a test."""

    @property
    def starts(self) -> NDArray[np.int64]:
        """First frame of each episode and, last, their number."""
        ...

    def chunks(
        self, frames: NDArray[np.int64], horizon: int, rest_steps: int
    ) -> tuple[FloatArray, NDArray[np.bool_]]:
        """Commanded chunks that begin at frames, and which of their steps count."""
        ...


@dataclass(frozen=True, slots=True)
class Tried:
    """One text on one episode: which, and absolute differences (n, horizon, dof); NaN where nothing counts.

    `error` is the distance to the demonstration, `right` that of the right words, `change` the distance to
    the prediction with the right words.
    """

    name: str
    text: str
    instead_of: str
    error: FloatArray
    right: FloatArray
    change: FloatArray


@dataclass(frozen=True, slots=True)
class Skipped:
    """A text that was not tried on an episode: the policy refused it (or there is none such)."""

    name: str
    episode: int
    refused: bool


def try_all(
    predictor: Predictor,
    recording: Recording,
    texts: Sequence[Episode],
    chosen: Sequence[int],
    *,
    horizon: int,
    every: int,
    on_episode: OnEpisode = lambda: None,
) -> tuple[list[Tried], list[Skipped]]:
    """Predicts every `every`-th frame of the chosen episodes with the right words and with all others.

    An episode whose right words are refused is skipped; nothing can be compared with.
    """
    phrases = phrases_of(episode.text for episode in texts)
    tried: list[Tried] = []
    skipped: list[Skipped] = []
    for index in chosen:
        frames = np.arange(recording.starts[index], recording.starts[index + 1], every)
        wanted, counts = recording.chunks(frames, horizon, 0)
        wanted = np.where(counts[..., None], wanted, np.nan)
        own = texts[index].text
        try:
            right = predictor.predict(frames, own)
        except InstructionError:
            skipped.append(Skipped(RIGHT, index, refused=True))
            on_episode()
            continue
        error = np.abs(right - wanted)
        tried.append(Tried(RIGHT, own, own, error, error, np.where(np.isnan(error), np.nan, 0.0)))
        for name in ABLATIONS:
            text = ablated(name, texts, index, phrases)
            if text is None:
                skipped.append(Skipped(name, index, refused=False))
                continue
            try:
                found = predictor.predict(frames, text)
            except InstructionError:
                skipped.append(Skipped(name, index, refused=True))
                continue
            change = np.where(np.isnan(wanted), np.nan, np.abs(found - right))
            tried.append(Tried(name, text, own, np.abs(found - wanted), error, change))
        on_episode()
    return tried, skipped


def summarize(tried: Sequence[Tried], skipped: Sequence[Skipped], contract: RobotContract) -> dict[str, Any]:
    """The figures: `{"episodes": .., "frames": .., "error": {...}, "ablations": {NAME: {...}}}`.

    Raises:
        FineVLAError: The policy refused the right words of every episode.
    """
    right = [row for row in tried if row.name == RIGHT]
    if not right:
        raise FineVLAError(
            "the policy takes the text of no episode",
            expected="at least one instruction that it can follow",
            found=f"{sum(row.refused for row in skipped if row.name == RIGHT)} refused",
            remedy="give a dataset whose words the policy knows; `finevla inspect BUNDLE` lists them",
        )
    grippers = contract.is_gripper
    return {
        "episodes": len(right),
        "frames": sum(len(row.error) for row in right),
        "refused": sum(row.refused for row in skipped if row.name == RIGHT),
        "error": _errors(np.concatenate([row.error for row in right]), contract.joint_names, grippers),
        "ablations": {name: _ablation(name, tried, skipped, grippers) for name in ABLATIONS},
    }


def _errors(error: FloatArray, names: Sequence[str], grippers: NDArray[np.bool_]) -> dict[str, Any]:
    """Means and 95th percentiles of errors (n, horizon, dof), over all, per joint and per step."""
    arms, hands = error[..., ~grippers], error[..., grippers]
    return {
        "mean_rad": _mean(arms),
        "p95_rad": float(np.nanpercentile(arms, 95)),
        "mean_m": _mean(hands),
        "p95_m": float(np.nanpercentile(hands, 95)),
        "joints": {
            name: {
                "unit": "m" if grippers[i] else "rad",
                "mean": _mean(error[..., i]),
                "p95": float(np.nanpercentile(error[..., i], 95)),
            }
            for i, name in enumerate(names)
        },
        "steps_mean_rad": np.nanmean(arms, axis=(0, 2)).tolist(),
        "steps_mean_m": np.nanmean(hands, axis=(0, 2)).tolist(),
        "joint_step_mean": np.nanmean(error, axis=0).T.tolist(),
        "joint_step_p95": np.nanpercentile(error, 95, axis=0).T.tolist(),
    }


def _ablation(
    name: str, tried: Sequence[Tried], skipped: Sequence[Skipped], grippers: NDArray[np.bool_]
) -> dict[str, Any]:
    """One ablation; its errors are compared with the right words on the same frames."""
    rows = [row for row in tried if row.name == name]
    left_out = [row for row in skipped if row.name == name]
    document: dict[str, Any] = {
        "n": sum(len(row.error) for row in rows),
        "episodes": len(rows),
        "refused": sum(row.refused for row in left_out),
        "no_such_text": sum(not row.refused for row in left_out),
    }
    if not rows:
        return document
    error, right, change = (
        np.concatenate(part)
        for part in zip(*((row.error, row.right, row.change) for row in rows), strict=True)
    )
    for unit, joints in (("rad", ~grippers), ("m", grippers)):
        document[f"change_{unit}"] = _mean(change[..., joints])
        document[f"error_{unit}"] = _mean(error[..., joints])
        document[f"error_increase_{unit}"] = _mean(error[..., joints]) - _mean(right[..., joints])
    return document | {"example": {"text": rows[0].text, "instead_of": rows[0].instead_of}}


def _mean(values: FloatArray) -> float:
    return float(np.nanmean(values))


def table(result: Mapping[str, Any]) -> str:
    """The result of `summarize` as text."""
    error = result["error"]
    rows = [["joint", "mean", "p95", ""]]
    rows += [
        [name, f"{row['mean']:.4f}", f"{row['p95']:.4f}", row["unit"]]
        for name, row in error["joints"].items()
    ]
    rows += [
        ["arms", f"{error['mean_rad']:.4f}", f"{error['p95_rad']:.4f}", "rad"],
        ["grippers", f"{error['mean_m']:.4f}", f"{error['p95_m']:.4f}", "m"],
    ]
    words = [["words", "episodes", "frames", "refused", "no such text", "change, rad", "error increase, rad"]]
    for name, row in result["ablations"].items():
        moved = [f"{row[key]:.4f}" if key in row else "" for key in ("change_rad", "error_increase_rad")]
        counts = [str(row[key]) for key in ("episodes", "n", "refused", "no_such_text")]
        words.append([name, *counts, *moved])
    steps = ", ".join(f"{value:.3f}" for value in error["steps_mean_rad"])
    head = f"{result['episodes']} episodes, {result['frames']} frames, {result['refused']} refused"
    return "\n\n".join([head, _columns(rows), f"arms, mean per step, rad: {steps}", _columns(words)])


def _columns(rows: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )
