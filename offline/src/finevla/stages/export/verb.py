"""`finevla export`: flags and report; which way it goes follows from what is given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from finevla.contract.bundle import DOCUMENT_FILE
from finevla.contract.robot import load_contract
from finevla.errors import BundleError
from finevla.stages.export.run import ExportReport, ExportSpec, export_bundle


@dataclass(frozen=True)
class Config:
    """Make a verified bundle of a trained policy, or a LeRobot checkpoint of one."""

    train_dir: tyro.conf.Positional[Path]
    """Directory that `finevla train` wrote, or `lerobot-train`; with --format lerobot a bundle will do."""
    out: Path
    """New directory of the bundle or checkpoint."""
    format: Literal["bundle", "lerobot"] = "bundle"
    """bundle for the nodes, or lerobot for a checkpoint of the plugin lerobot_policy_finevla."""
    step: int | None = None
    """Step of the checkpoint; the newest one when not given."""
    ema: bool = True
    """Take the averaged weights where the run has them; --no-ema takes those of the last update."""
    max_mb: float | None = None
    """Refuse a bundle that is larger, in MB; any size when not given."""


def main(config: Config) -> int:
    """Exports and prints the report."""
    # LeRobot takes seconds to import.
    from finevla.stages.export.lerobot import from_lerobot, is_checkpoint, to_lerobot, train_dir_to_lerobot

    spec, contract, source = export_spec(config), load_contract(), config.train_dir
    is_bundle, from_there = (source / DOCUMENT_FILE).is_file(), is_checkpoint(source)
    if is_bundle or from_there:
        _check_whole(config)
    if config.format == "lerobot":
        made = to_lerobot(source, config.out, contract) if is_bundle else train_dir_to_lerobot(spec, contract)
        print(f"checkpoint  {made}\nverified    read by LeRobot, the same targets as the bundle, bit by bit")
    elif from_there:
        made = from_lerobot(source, config.out, contract, spec.command)
        print(f"bundle      {made}\nverified    the same targets as the checkpoint, bit by bit")
    else:
        print(_text(export_bundle(spec, contract)))
    return 0


def _check_whole(config: Config) -> None:
    """Refuses flags that choose among the checkpoints of a training directory where there is but one.

    Raises:
        BundleError: Such a flag is given.
    """
    given = {
        "--step": config.step is not None,
        "--no-ema": not config.ema,
        "--max-mb": config.max_mb is not None,
    }
    if any(given.values()):
        raise BundleError(
            "a bundle or LeRobot checkpoint is exported as it is",
            where=", ".join(flag for flag, said in given.items() if said),
            expected="these flags with a training directory only",
            found=config.train_dir,
            remedy="leave the flags out, or give the directory that `finevla train` wrote",
        )


def export_spec(config: Config) -> ExportSpec:
    """The stage's view of the flags.

    Raises:
        BundleError: The largest size is not positive.
    """
    if config.max_mb is not None and not config.max_mb > 0:
        raise BundleError(
            "no bundle is this small",
            where="--max-mb",
            expected="more than 0",
            found=config.max_mb,
            remedy="give a size in MB, or leave the flag out",
        )
    return ExportSpec(
        train_dir=config.train_dir,
        out=config.out,
        command=command_line(config),
        step=config.step,
        ema=config.ema,
        max_bytes=None if config.max_mb is None else int(config.max_mb * 1e6),
    )


def command_line(config: Config) -> str:
    """The command that repeats the export, with directory names in place of paths of this machine."""
    flags = [f"--format {config.format}"] if config.format != "bundle" else []
    flags += [f"--step {config.step}"] if config.step is not None else []
    flags += [] if config.ema else ["--no-ema"]
    flags += [f"--max-mb {config.max_mb:g}"] if config.max_mb is not None else []
    names = (config.train_dir.resolve().name, config.out.resolve().name)
    return " ".join(["finevla export", names[0], "--out", names[1], *flags])


def _text(report: ExportReport) -> str:
    provenance = report.provenance
    which = "averaged weights" if provenance["averaged_weights"] else "weights of the last update"
    lines = [
        f"bundle      {report.bundle}",
        f"checkpoint  {report.checkpoint_id}, step {provenance['steps']}, {which}",
        f"size        {report.bytes / 1e6:.2f} MB, {report.parameters} parameters",
        f"dataset     {provenance['dataset_hash']}",
        f"mixture     {provenance['mix']}, manifest {provenance['manifest_hash']}",
        *(f"note        {note}" for note in report.notes),
        "verified    read again, built, one chunk inferred",
    ]
    return "\n".join(lines)
