"""`finevla export`: flags and report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro

from finevla.contract.robot import load_contract
from finevla.errors import BundleError
from finevla.stages.export.run import ExportReport, ExportSpec, export_bundle


@dataclass(frozen=True)
class Config:
    """Make a verified bundle of a trained policy."""

    train_dir: tyro.conf.Positional[Path]
    """Directory that `finevla train` wrote."""
    out: Path
    """New directory of the bundle."""
    step: int | None = None
    """Step of the checkpoint; the newest one when not given."""
    ema: bool = True
    """Take the averaged weights where the run has them; --no-ema takes those of the last update."""
    max_mb: float | None = None
    """Refuse a bundle that is larger, in MB; any size when not given."""


def main(config: Config) -> int:
    """Exports and prints the report."""
    print(_text(export_bundle(export_spec(config), load_contract())))
    return 0


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
    flags = [f"--step {config.step}"] if config.step is not None else []
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
