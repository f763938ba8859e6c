"""Carries out the runs of a blind key on a running graph, with an operator who lays out each scene.

The operator is told where the objects lie, never what is asked for. Nothing moves before the
operator has pressed Enter; enabling the arms stays with the operator. Every finished run is on disk, so
that a session that was interrupted goes on with the next run.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image

from finevla.contract import services
from finevla.contract.frame import NS_PER_S
from finevla.errors import FineVLAError
from finevla.stages.demo.film import FPS, Reel
from finevla.stages.demo.graph import GraphClient
from finevla.stages.demo.graph_types import GraphError
from finevla.stages.demo.run import Camera
from finevla.stages.evaluate.blind.key import (
    REJECTED,
    Ended,
    Key,
    Planned,
    key_document,
    key_from,
    key_path,
    new_key,
)
from finevla.stages.evaluate.blind.layout import FRAME, layout
from finevla.stages.evaluate.blind.page import PAGE_NAME, items, render
from finevla.stages.evaluate.plan import Pair
from finevla.stages.media import encode_mp4

Ask = Callable[[str], None]
"""Shows a text and returns once the operator has pressed Enter."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Station:
    """Where runs are carried out.

    Attributes:
        client: Talks to the graph.
        camera: Collects the overhead camera's frames.
        view: Name of that camera.
        simulated: Whether a simulator lays out the scenes.
        timeout_s: Longest time for one instruction, s.
    """

    client: GraphClient
    camera: Camera
    view: str
    simulated: bool
    timeout_s: float


def read_key(folder: Path) -> Key:
    """The key of a folder with videos.

    Raises:
        FineVLAError: There is none, or it is not as it was sealed.
    """
    path = key_path(folder)
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise FineVLAError(
            "there is no key to these videos",
            where=path,
            expected="the file that `finevla evaluate paired --ros --blind` wrote beside the folder",
            found=repr(err),
            remedy="put the key back to where it was written, or give the right --blind folder",
        ) from err
    return key_from(document, path)


def write_key(folder: Path, key: Key) -> None:
    """Writes the key so that it is whole at any time, and readable by its owner only."""
    path = key_path(folder)
    fresh = path.with_suffix(".new")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(key_document(key), indent=1, ensure_ascii=False) + "\n")
    fresh.replace(path)


def open_key(
    folder: Path, pairs: Sequence[Pair], factors: Sequence[str], provenance: dict[str, Any], rng: Random
) -> Key:
    """The key of a session that goes on, or a new one in a new or empty folder.

    Raises:
        FineVLAError: The folder holds something else, the runs of another plan, or of another policy.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not key_path(folder).exists():
        if any(folder.iterdir()):
            raise FineVLAError(
                "the folder for the videos is not empty and has no key",
                where=folder,
                expected="a new or empty folder",
                remedy="give --blind another folder",
            )
        key = new_key(pairs, factors, provenance, rng)
        write_key(folder, key)
        return key
    key = read_key(folder)
    same = key.pairs == tuple(pairs) and key.factors == tuple(factors)
    if not same or dict(key.provenance) != provenance:
        raise FineVLAError(
            "the folder holds the videos of another measurement",
            where=folder,
            expected=f"{len(key.pairs)} pairs of {', '.join(key.factors)} with {dict(key.provenance)}",
            found=f"{len(pairs)} pairs of {', '.join(factors)} with {provenance}",
            remedy="repeat the command that began it, or give --blind another folder",
        )
    return key


def record(folder: Path, key: Key, station: Station, ask: Ask, say: Say) -> Key:
    """Carries out what is left of a key and writes the scoring page.

    Raises:
        GraphError: The graph failed; what was done before is kept.
    """
    last = -1
    for run in key.left:
        number = len(key.ended) + 1
        say(f"Run {number} of {len(key.runs)}")
        _prepare(key, run, station, ask, say, again=run.pair == last)
        last = run.pair
        ended = _carry_out(folder, key, run, station)
        key = key.after(run, ended)
        write_key(folder, key)
        say(f"Run {number} of {len(key.runs)} is over after {ended.seconds:.1f} s")
    page = folder / PAGE_NAME
    page.write_text(render(items(key), key.seal), "utf-8")
    say(f"all runs are recorded; open {page} to rate them; the key, to be opened last: {key_path(folder)}")
    return key


def _prepare(key: Key, run: Planned, station: Station, ask: Ask, say: Say, *, again: bool) -> None:
    """Arms home, scene laid out, and the operator ready."""
    _await_torque(station, ask)
    ask("The arms will open their grippers and move home. Stand clear, then press Enter")
    _await_torque(station, ask)
    station.client.home_once()
    spec = key.pairs[run.pair].spec
    if station.simulated:
        station.client.reset_scene(spec.task, spec.seed, hard=spec.hard, variant=spec.variant)
    else:
        say("Lay the scene out again exactly as before:" if again else f"Lay out this scene ({FRAME}):")
        for line in layout(spec):
            say(f"  {line}")
    ask("The robot will act. When the scene is right and everybody stands clear, press Enter")
    _await_torque(station, ask)


def _await_torque(station: Station, ask: Ask) -> None:
    """Waits for an operator who has enabled the arms; nobody else does."""
    while True:
        holding, reason = station.client.holding()
        if holding:
            return
        state = reason or "the motors are off"
        ask(f"The arms are not enabled ({state}). Enable them ({services.DRIVER_ENABLE}), then press Enter")


def _carry_out(folder: Path, key: Key, run: Planned, station: Station) -> Ended:
    client, view = station.client, (station.view,)
    client.wait_for_frames(cameras=view)
    station.camera.start()
    try:
        ending = client.instruct(key.text(run), station.timeout_s)
        if ending.ending != REJECTED:
            client.wait_for_frames(cameras=view)
    finally:
        reel = station.camera.stop()
    if ending.ending != REJECTED:
        _write_video(folder / f"{run.name}.mp4", reel, station.view)
    return Ended(ending.ending, ending.reason_code, round(ending.seconds, 3))


def _write_video(path: Path, reel: Reel, camera: str) -> None:
    """Writes what a camera saw. Neither the file's time nor anything in it tells which run it was."""
    fresh = path.with_suffix(".part")
    if not encode_mp4(str(fresh), _pictures(reel, camera), FPS):
        raise GraphError(
            "no picture was recorded",
            where=camera,
            expected="frames of the overhead camera during the run",
            remedy="look at the camera's driver; the run is repeated when the command is given again",
        )
    os.utime(fresh, (0, 0))
    fresh.replace(path)


def _pictures(reel: Reel, camera: str) -> Iterator[Image.Image]:
    """The pictures of a camera at `FPS`, in real time, with even sides as H.264 wants them."""
    stamps = reel.stamps.get(camera, [])
    if not stamps:
        return
    for stamp in range(stamps[0], stamps[-1] + 1, NS_PER_S // FPS):
        jpeg = reel.at(camera, stamp)
        if jpeg is not None:
            picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
            yield picture.crop((0, 0, picture.width & ~1, picture.height & ~1))
