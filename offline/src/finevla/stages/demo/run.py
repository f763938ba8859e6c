"""One demonstration: issue every instruction, collect rows and frames, write the results."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from finevla.contract import RobotContract
from finevla.stages.demo import film, page
from finevla.stages.demo.facts import Facts, median, summary
from finevla.stages.demo.film import Reel
from finevla.stages.demo.graph import GraphClient
from finevla.stages.demo.rows import Row, Trial, verdict_words

FILM_NAME, REPORT_NAME, SUMMARY_NAME = "demo.mp4", "report.html", "summary.json"


class Camera:
    """Collects the frames of the trial that runs now; frames between trials are dropped."""

    def __init__(self, cameras: Sequence[str]) -> None:
        self._cameras = tuple(cameras)
        self._lock = threading.Lock()
        self._reel: Reel | None = None

    def sink(self, camera: str, stamp_ns: int, jpeg: bytes) -> None:
        """Takes a frame; called on the client's thread."""
        with self._lock:
            if self._reel is not None:
                self._reel.add(camera, stamp_ns, jpeg)

    def start(self) -> None:
        """Begins a new reel."""
        with self._lock:
            self._reel = Reel(self._cameras)

    def stop(self) -> Reel:
        """Ends the reel and returns it."""
        with self._lock:
            reel, self._reel = self._reel, None
        return reel if reel is not None else Reel(self._cameras)


def run_trial(
    client: GraphClient, trial: Trial, timeout_s: float, camera: Camera | None = None
) -> tuple[Row, Reel]:
    """Home, new scene, one sentence, verdict.

    Raises:
        GraphError: A service of the graph refused or was silent.
    """
    client.home()
    client.reset_scene(trial.task, trial.seed, hard=trial.hard, variant=trial.variant)
    client.wait_for_frames()
    client.take_real_time_factor()
    if camera is not None:
        camera.start()
    try:
        ending = client.instruct(trial.text, timeout_s)
        client.wait_for_frames()  # the arms come to rest, and the film shows it
        verdict = client.score(trial.text)
    finally:
        reel = camera.stop() if camera is not None else Reel(())
    row = Row(
        trial=trial,
        verdict=verdict,
        ending=ending.ending,
        reason_code=ending.reason_code,
        reason=ending.reason,
        seconds=ending.seconds,
        applied_s=ending.applied_s,
        latency_s=client.policy_figures().latency_s,
        early_real_time_factor=client.early_real_time_factor(),
        real_time_factor=client.take_real_time_factor(),
    )
    return row, reel


@dataclass(slots=True)
class Record:
    """What was done so far: rows and their reels, in order."""

    rows: list[Row] = field(default_factory=list)
    reels: list[Reel] = field(default_factory=list)


def run_valid_trial(
    client: GraphClient,
    trial: Trial,
    timeout_s: float,
    camera: Camera | None = None,
    repeats: int = 0,
) -> tuple[Row, Reel]:
    """A trial, tried again up to `repeats` times where the simulator did not keep real time at its start.

    The rule is `rows.REPEAT_RULE`: it looks at the same first seconds of every try, never at how the try
    ended or how long it took. The last try counts; the row says how many there were and keeps the first.
    """
    first, reel = run_trial(client, trial, timeout_s, camera)
    row, attempts = first, 1
    while not row.kept_real_time and attempts <= repeats:
        row, reel = run_trial(client, trial, timeout_s, camera)
        attempts += 1
    return replace(row, attempts=attempts, first_try=first if attempts > 1 else None), reel


def run_trials(
    client: GraphClient,
    trials: Sequence[Trial],
    timeout_s: float,
    camera: Camera | None,
    report: Callable[[Row], None],
    record: Record,
    repeats: int = 0,
) -> None:
    """Runs all trials in order into `record`; `report` is called after each.

    Raises:
        GraphError: The graph failed; what was done before is in the record.
    """
    for trial in trials:
        row, reel = run_valid_trial(client, trial, timeout_s, camera, repeats)
        record.rows.append(row)
        record.reels.append(reel)
        report(row)


@dataclass(frozen=True, slots=True)
class Products:
    """Files of a demonstration; `film` is None where no frame arrived."""

    film: Path | None
    report: Path
    summary: Path


def side_cameras(contract: RobotContract) -> tuple[str, ...]:
    """The pivot camera first, then the others."""
    pivot = contract.sync.pivot
    return (pivot, *(name for name in contract.cameras if name != pivot))


def scene_of(row: Row, reel: Reel, total: int) -> film.Scene:
    """One row as a scene of the film."""
    return film.Scene(
        reel=reel,
        title=f"{row.trial.index + 1} of {total}",
        caption=row.trial.text,
        verdict=verdict_words(row),
        good=row.complied,
    )


def write_products(
    out: Path, rows: Sequence[Row], reels: Sequence[Reel], facts: Facts, floor: float
) -> Products:
    """Writes film, report and summary into `out`."""
    scenes = [scene_of(row, reel, len(rows)) for row, reel in zip(rows, reels, strict=True)]
    film_path = out / FILM_NAME
    count = film.write_mp4(film_path, film.frames(scenes))
    stills = {row.trial.index: film.stills(reel) for row, reel in zip(rows, reels, strict=True)}
    embedded = film_path.read_bytes() if count else None
    (out / REPORT_NAME).write_text(page.render(rows, facts, embedded, stills), "utf-8")
    (out / SUMMARY_NAME).write_text(json.dumps(summary(rows, facts, floor), indent=2) + "\n", "utf-8")
    return Products(film_path if count else None, out / REPORT_NAME, out / SUMMARY_NAME)


def with_figures(facts: Facts, rows: Sequence[Row], client: GraphClient) -> Facts:
    """Adds what is known only after the trials: checkpoint, number of chunks and latencies."""
    figures = client.policy_figures()
    return replace(
        facts,
        checkpoint_id=figures.checkpoint_id,
        chunks=figures.chunks,
        latency_p50_s=median([row.latency_s for row in rows if row.latency_s > 0]),
        latency_p95_s=figures.latency_p95_s,
        applied_p50_s=median([row.applied_s for row in rows if row.applied_s is not None]),
        real_time_factor=min(
            (row.real_time_factor for row in rows if row.real_time_factor is not None), default=0.0
        ),
    )
