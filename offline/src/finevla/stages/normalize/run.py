"""One dataset: prepared, judged, written."""

from __future__ import annotations

import json
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from finevla.contract.robot import load_contract
from finevla.dataset.read import Opened, open_dataset
from finevla.dataset.write import WRITERS
from finevla.errors import DatasetError
from finevla.files import write_json
from finevla.stages.normalize import examine as examining
from finevla.stages.normalize import make as making
from finevla.stages.normalize.actions import parse_type
from finevla.stages.normalize.carry import carry
from finevla.stages.normalize.examine import Examined, Fault
from finevla.stages.normalize.filters import (
    FEWEST,
    PRESETS,
    Rule,
    Source,
    auto_threshold,
    check_percentile,
    chosen_slots,
    is_preset,
    parse_threshold,
)
from finevla.stages.normalize.make import Made, build
from finevla.stages.normalize.plot import draw_scores
from finevla.stages.normalize.poses import known_robot
from finevla.stages.normalize.read import layout_of
from finevla.stages.normalize.report import (
    FILTER_REPORT,
    SCORES,
    UNIFIED,
    Judged,
    filter_report,
    judge,
    source_hash,
    summary,
    unified_document,
)
from finevla.stages.normalize.unify import Plan, check_target
from finevla.stages.pool import map_jobs
from finevla.stages.report import Rejected, atomic_directory, write_report

if TYPE_CHECKING:
    from finevla.stages.normalize.verb import Config


@dataclass(frozen=True)
class Prepared:
    """A dataset of which all is known but its episodes.

    Attributes:
        opened: The dataset.
        out: Where the new one goes.
        plan: What is done with every episode.
        rule: The filters; a threshold that the scores give is still absent.
        robot: Name of the robot.
    """

    opened: Opened
    out: Path
    plan: Plan
    rule: Rule
    robot: str | None


@dataclass(frozen=True, slots=True)
class Done:
    """What was done with a dataset: counts for the report, and what was not taken."""

    counts: dict[str, Any]
    rejected: tuple[Rejected, ...]


def prepare(config: Config, root: Path, out: Path) -> Prepared:
    """Reads what the columns of a dataset are and which filters apply; no episode is read.

    Raises:
        DatasetError: The dataset is missing or damaged, or it cannot be known what its columns are.
        FineVLAError: A flag is wrong for this dataset.
    """
    opened = open_dataset(root)
    told = [
        parse_type(text, flag) if text else None
        for text, flag in ((config.state_type, "--state-type"), (config.action_type, "--action-type"))
    ]
    robot = _robot(config, opened)
    plan = Plan(layout_of(opened, *told), known_robot(opened, robot), parse_type(config.to, "--to"))
    check_target(plan, root)
    return Prepared(opened, out, plan, _rule(config, opened, plan), robot)


def _robot(config: Config, opened: Opened) -> str | None:
    """Name of the robot: the user's, the dataset's, or that of most episodes."""
    told = config.robot or opened.info.get("robot_type")
    named = [name for row in opened.rows if (name := examining.robot_of(row)) is not None]
    if named and told not in named:
        return Counter(named).most_common(1)[0][0]
    return told or None


def _rule(config: Config, opened: Opened, plan: Plan) -> Rule:
    name = config.preset or _noted_source(opened, plan)
    preset = PRESETS[name]
    threshold, auto = parse_threshold(config.threshold, preset)
    check_percentile(config.percentile)
    slots = plan.slots()
    comparable = [slot for slot in slots["action"] if slot in slots["state"]]
    told = [slot.strip() for slot in config.compare.split(",") if slot.strip()]
    fewest = preset.min_frames if config.min_frames is None else config.min_frames
    return Rule(
        preset=name,
        compare=chosen_slots(told, preset, comparable, opened.root),
        threshold=threshold,
        percentile=config.percentile if auto else None,
        min_frames=max(fewest or FEWEST, FEWEST),
    )


def _noted_source(opened: Opened, plan: Plan) -> Source:
    """The source that `finevla import` noted; the contract's robot; or none that is known."""
    path = opened.root / "meta" / "source.json"
    if path.is_file():
        try:
            what = json.loads(path.read_text())["what"]
        except (OSError, ValueError, KeyError, TypeError) as err:
            raise DatasetError(
                "the note of the source cannot be read",
                where=path,
                expected="what `finevla import` wrote",
                found=repr(err),
                remedy="import the dataset again, or give --preset",
            ) from err
        if is_preset(what):
            return what  # type: ignore[no-any-return]
    known = plan.robot is not None and plan.robot.name == load_contract().name
    return "cobotmagic" if known else "default"


def run(config: Config, item: Prepared) -> Done:
    """Judges the episodes of a dataset and writes those that are kept.

    Raises:
        DatasetError: No episode is left, or a file cannot be read.
    """
    started = time.monotonic()
    if config.dry_run:
        rule, judged = _judged(config, item)
        return Done(_counts(item, rule, judged, started), _rejected(judged))
    with atomic_directory(item.out) as folder:
        rule, judged = _judged(config, item)
        if all(entry.faults for entry in judged):
            raise _nothing_left(item.opened, judged)
        return _write(config, item, rule, judged, started, folder)


def _judged(config: Config, item: Prepared) -> tuple[Rule, list[Judged]]:
    """The filters with their threshold, and all episodes with what speaks against them."""
    examined, rule = _examined(config, item), item.rule
    if rule.percentile is not None:
        scores = [episode.score for episode in examined if episode.score is not None]
        rule = replace(rule, threshold=auto_threshold(scores, rule.percentile))
    return rule, judge(examined, rule)


def _examined(config: Config, item: Prepared) -> list[Examined]:
    jobs = [
        examining.Job(
            item.opened.root, number, item.plan, item.rule.compare, item.rule.min_frames, item.robot
        )
        for number in range(len(item.opened.rows))
    ]
    return list(map_jobs(examining.examine, jobs, config.workers, "judging", "episodes"))


def _write(
    config: Config, item: Prepared, rule: Rule, judged: list[Judged], started: float, folder: Path
) -> Done:
    """Writes the kept episodes, and all that is said of them and the others, into a folder."""
    opened, scratch = item.opened, folder / "scratch"
    kept = [entry.episode.number for entry in judged if not entry.faults]
    jobs = [making.Job(opened.root, number, item.plan, scratch) for number in kept]
    results = list(map_jobs(making.make, jobs, config.workers, "writing", "episodes"))
    late = {number: r for number, r in zip(kept, results, strict=True) if isinstance(r, Fault)}
    made = [result for result in results if isinstance(result, Made)]
    judged = [_with(entry, late.get(entry.episode.number)) for entry in judged]
    if not made:
        raise _nothing_left(opened, judged)
    header, recordings = build(opened, made, item.robot)
    WRITERS["v3.0" if opened.version == "v3.0" else "v2.1"](header, recordings, folder)
    shutil.rmtree(scratch, ignore_errors=True)
    kept = [episode.number for episode in made]
    carry(opened, folder, kept)
    origin = source_hash(opened, [entry.episode for entry in judged])
    document = unified_document(opened, item.plan, item.robot, kept, origin)
    write_json(folder / "meta" / UNIFIED, document)
    write_json(folder / FILTER_REPORT, filter_report(judged, rule))
    draw_scores(judged, rule, opened.root.resolve().name, folder / SCORES)
    hashes = {"source_hash": origin, "dataset_hash": document["dataset_hash"]}
    counts = {**_counts(item, rule, judged, started), "out": str(item.out), **hashes}
    rejected = _rejected(judged)
    write_report(folder, "normalize", config, counts, time.monotonic() - started, rejected)
    return Done(counts, rejected)


def _with(entry: Judged, fault: Fault | None) -> Judged:
    return entry if fault is None else replace(entry, faults=(*entry.faults, fault))


def _rejected(judged: Sequence[Judged]) -> tuple[Rejected, ...]:
    return tuple(entry.rejected for entry in judged if entry.faults)


def _counts(item: Prepared, rule: Rule, judged: Sequence[Judged], started: float) -> dict[str, Any]:
    computed = item.plan.computed()
    return {
        "dataset": str(item.opened.root),
        "robot": item.robot or "unknown",
        "told_by": item.plan.layout.told_by,
        "unused": list(item.plan.layout.unused),
        "action_type": str(item.plan.to),
        "computed": sorted({slot for slots in computed.values() for slot in slots}),
        **summary(judged, rule),
        "frames": sum(entry.episode.frames for entry in judged if not entry.faults),
        "seconds": round(time.monotonic() - started, 2),
    }


def _nothing_left(opened: Opened, judged: Sequence[Judged]) -> DatasetError:
    reasons = Counter(reason for entry in judged for reason in {fault.reason for fault in entry.faults})
    return DatasetError(
        f"none of the {len(judged)} episodes is left",
        where=opened.root,
        expected="one or more that pass the filters",
        found=", ".join(f"{count} x {reason}" for reason, count in reasons.most_common()),
        remedy=f"--dry-run lists them all; the first: {judged[0].faults[0].message}",
    )
