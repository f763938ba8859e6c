"""`finevla import`: a dataset that others recorded becomes a LeRobot dataset of the wanted format."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

import tyro

from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.stats import as_json
from finevla.dataset.write import WRITERS
from finevla.files import write_json
from finevla.stages.import_ import lerobot
from finevla.stages.import_.difference import Finding, compare
from finevla.stages.report import atomic_directory, write_report


@dataclass(frozen=True)
class Config:
    """Makes a LeRobot dataset of one that others recorded, and says what became different.

    Data and encoded pictures are taken over as they are. Exit code 1: something is not as in the source.
    """

    format: tyro.conf.Positional[Literal["lerobot"]]
    """What the source is: LeRobot v2.0, v2.1 or v3.0."""
    source: tyro.conf.Positional[Path]
    """Folder of the source; it is only read."""
    out: Path
    """Folder of the dataset; must not exist."""
    to: Literal["v3.0", "v2.1"] = "v3.0"
    """Format of the dataset."""
    workers: int = 1
    """Processes that copy videos."""
    json: bool = False
    """Print the report as JSON."""


def import_dataset(config: Config) -> tuple[dict[str, object], list[Finding]]:
    """Writes the dataset and compares it with its source.

    Returns:
        The counts of the report, and what was compared.

    Raises:
        DatasetError: The source is missing, damaged or contradicts itself; nothing is written then.
    """
    started = time.monotonic()
    source = open_dataset(config.source)
    with atomic_directory(config.out) as folder:
        scratch = folder / "scratch"
        header, episodes = lerobot.adapt(source, scratch, config.workers, moved=config.to == "v2.1")
        WRITERS[config.to](header, episodes, folder)
        if config.to == "v2.1":  # has no place for them, but they could not be had back
            write_json(folder / "meta" / "stats.json", as_json(header.stats))
        _carry_over(source, folder)
        shutil.rmtree(scratch, ignore_errors=True)
        findings = compare(source, open_dataset(folder))
        seconds = time.monotonic() - started
        counts: dict[str, object] = {
            "out": str(config.out),
            "from": source.version,
            "to": config.to,
            "episodes": len(episodes),
            "frames": source.info["total_frames"],
        }
        document = {**counts, "compared": [asdict(finding) for finding in findings]}
        write_report(folder, "import", config, document, seconds, [])
    return {**counts, "seconds": round(seconds, 2)}, findings


def _carry_over(source: Opened, folder: Path) -> None:
    for path in source.extras:
        target = folder / "meta" / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source.root / "meta" / path, target)


def words(counts: Mapping[str, object], findings: list[Finding]) -> str:
    """The report for people."""
    width = max(len(finding.what) for finding in findings)
    return "\n".join(
        [
            *(f"{key:10} {value}" for key, value in counts.items()),
            "",
            "compared with the source",
            *(f"  {f.what:{width}}  {f.verdict:8} {f.detail}".rstrip() for f in findings),
        ]
    )


def main(config: Config) -> int:
    """Imports and prints the report."""
    counts, findings = import_dataset(config)
    if config.json:
        print(json.dumps({**counts, "compared": [asdict(finding) for finding in findings]}))
    else:
        print(words(counts, findings))
    return 1 if any(finding.verdict in {"changed", "lost"} for finding in findings) else 0
