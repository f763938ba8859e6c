"""The cells of a sweep: which there are, in which order, and what decides the result of each."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from finevla.errors import FineVLAError
from finevla.stages.evaluate.plan import EVALUATION_SEEDS
from finevla.stages.train.mix import MIXES as PUBLISHED_MIXES

HEADS = ("oft", "flow")
"""In the order in which they are trained."""
RAW, FINE = "raw", "fg"
MIXES = tuple(mix.name for mix in PUBLISHED_MIXES)
"""FG:Raw in the order of the paper, from no fine-grained text to nothing else."""
SCENES_PER_SEED = 10_000
"""Seeds of scenes between two training seeds: every training seed is evaluated in scenes of its own, and
all mixes and heads of that seed in the same ones."""


class SweepError(FineVLAError):
    """A sweep cannot begin, go on, or be drawn: flags, another configuration, cells that do not match."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What all cells of a folder share and what decides their results.

    Attributes:
        dataset_hash: Identity of the training data.
        contract_hash: Robot that it was recorded with.
        steps: Updates of each training.
        train_flags: Further flags of `finevla train`, as written.
        factors: Rows of the paired evaluation, as in `finevla evaluate paired --factors`.
        n: Pairs per row.
        probes: Pairs per row whose first sentence is probed, held-out wordings among the probes.
        scene_seed: Seed of the first scene of training seed 0.
        replan_frames: Frames that are executed of each chunk.
        paired_flags: Further flags of `finevla evaluate paired`, as written.
        closed_loop: Episodes per task and version for success over all tasks; 0 leaves it out.
        openloop: Whether the language ablation on held-out episodes is run.
    """

    dataset_hash: str
    contract_hash: str
    steps: int
    train_flags: str
    factors: str
    n: int
    probes: int
    scene_seed: int
    replan_frames: int
    paired_flags: str
    closed_loop: int
    openloop: bool

    def to_json(self) -> dict[str, Any]:
        """As a mapping of JSON types."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Cell:
    """One policy: a head trained on a mix with a seed."""

    head: str
    mix: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its files: `oft-1to1-seed0`."""
        return f"{self.head}-{self.mix.replace(':', 'to')}-seed{self.seed}"


@dataclass(frozen=True, slots=True)
class CellJob:
    """A cell with everything that is needed to run it, in any process that sees these folders.

    Attributes:
        cell: Which.
        settings: What decides its result, with the cell itself.
        dataset: Folder of the training data.
        out: Folder of the sweep.
        pictures: Where decoded pictures are kept for all cells; decoded anew by every cell when None.
    """

    cell: Cell
    settings: Settings
    dataset: Path
    out: Path
    pictures: Path | None = None

    @property
    def config(self) -> dict[str, Any]:
        """What decides the result of the cell."""
        return {**self.settings.to_json(), **asdict(self.cell)}

    @property
    def config_hash(self) -> str:
        """SHA-256 of the configuration as canonical JSON."""
        return digest(self.config)

    @property
    def scene_seed(self) -> int:
        """Seed of the first scene in which it is evaluated."""
        return self.settings.scene_seed + SCENES_PER_SEED * self.cell.seed

    @property
    def run(self) -> Path:
        """Folder of its phases: training, logs, results."""
        return self.out / "runs" / self.cell.name

    @property
    def bundle(self) -> Path:
        """Folder of its bundle."""
        return self.out / "bundles" / self.cell.name


def digest(document: Mapping[str, Any]) -> str:
    """SHA-256 of a document as canonical JSON."""
    text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


def plan_cells(heads: Sequence[str], mixes: Sequence[str], seeds: Sequence[int]) -> list[Cell]:
    """All cells, useful from the front: seed by seed, head by head, mixes in the order given.

    The ends and the middle of a curve say most, but a curve is compared as a whole; so the order within
    a head is the paper's.
    """
    ranked = [head for head in HEADS if head in heads]
    return [Cell(head, mix, seed) for seed in seeds for head in ranked for mix in mixes]


def heads_of(text: str) -> list[str]:
    """The heads that a list with commas names.

    Raises:
        SweepError: One of them does not exist, or none is named.
    """
    return _names(text, "--heads", HEADS)


def mixes_of(text: str) -> list[str]:
    """The mixes that a list with commas names, in the paper's order; `all` stands for the seven.

    Raises:
        SweepError: One of them does not exist, or none is named.
    """
    return list(MIXES) if text.strip() == "all" else _names(text, "--mixes", MIXES)


def seeds_of(text: str, settings_seed: int) -> list[int]:
    """The seeds that a list with commas names, in that order.

    Args:
        text: As in `0,1,2`.
        settings_seed: Seed of the first scene: those of all training seeds must be for evaluation.

    Raises:
        SweepError: They are no numbers from 0 on, or there are too few scenes for them.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    seeds = [int(part) for part in parts if part.isdecimal()]
    last = settings_seed + SCENES_PER_SEED * (max(seeds, default=0) + 1)
    if len(seeds) != len(parts) or not 0 < len(seeds) == len(set(seeds)) or last > EVALUATION_SEEDS:
        most = (EVALUATION_SEEDS - settings_seed) // SCENES_PER_SEED - 1
        raise SweepError(
            "the seeds of the sweep are not right",
            where="--seeds",
            expected=f"whole numbers from 0 to {most}, each once, as in 0,1,2",
            found=text,
            remedy="finevla sweep --help explains the flags",
        )
    return seeds


def _names(text: str, flag: str, known: Sequence[str]) -> list[str]:
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if not 0 < len(asked) == len(set(asked)) or not set(asked) <= set(known):
        raise SweepError(
            "a flag of the sweep is not right",
            where=flag,
            expected=f"some of {', '.join(known)}, each once",
            found=text,
            remedy="finevla sweep --help explains the flags",
        )
    return [name for name in known if name in asked]


def dataset_identity(root: Path) -> tuple[str, str]:
    """Hash of a dataset and of the robot contract in it, without reading a frame.

    A dataset of another origin has no such record; the hash of its `meta` folder stands for it.

    Raises:
        SweepError: This is no LeRobot dataset.
    """
    info, record = root / "meta" / "info.json", root / "meta" / "finevla.json"
    try:
        text = info.read_bytes()
        if record.is_file():
            document = json.loads(record.read_text("utf-8"))
            return str(document["dataset_hash"]), str(document["contract_hash"])
    except (OSError, ValueError, KeyError) as err:
        raise SweepError(
            "this is not a LeRobot dataset",
            where=root,
            expected="a folder with meta/info.json, and meta/finevla.json where we converted it",
            found=repr(err),
            remedy="give the folder that `finevla convert` wrote",
        ) from err
    hashed = hashlib.sha256(text)
    for path in sorted((root / "meta").rglob("*")):
        if path.is_file():
            hashed.update(str(path.relative_to(root)).encode() + b"\0" + path.read_bytes())
    return hashed.hexdigest(), ""
