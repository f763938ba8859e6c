"""One bag into the frames of one episode, or a rejection with a named reason."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EpisodeReader
from finevla.bag.pictures import Pictures, pictures_of
from finevla.contract.assemble import NO_IMAGE
from finevla.contract.clock import to_ns
from finevla.contract.dimensions import DimensionValue
from finevla.contract.episode import EpisodeInfo
from finevla.contract.instruction import Level, parse
from finevla.contract.robot import RobotContract
from finevla.errors import BagError, ContractError, InstructionError
from finevla.stages.convert.collect import Matched, Streams, collect
from finevla.stages.convert.digest import EpisodeDigest

GAP_PERIODS = 1.5
"""Largest distance of two frames, in frame periods, where nothing else is asked for."""
CLOCK_TOLERANCE = 0.1
"""Share of the messages of a stream that may be stamped not later than the one before."""
RATE_TOLERANCE = 0.05
"""How much the usual (median) frame period may differ from the contract's.

Datasets hold no stamps: a frame's time is its number divided by the rate, so frames of another rate
would be motion of another speed.
"""


class EpisodeRejectedError(BagError):
    """An episode that cannot become part of a dataset; `reason` is a code in lower_snake_case."""

    def __init__(self, reason: str, what: str, *, where: object, remedy: str, **facts: object) -> None:
        """Adds the code to the parts of every error."""
        super().__init__(what, where=where, remedy=remedy, **facts)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Episode:
    """The frames of one bag.

    `state` and `action` are float32, shape (n, 14), rad and m, in contract order; `images` gives n
    encoded images per camera, out of the bag; `stamps_ns` the n stamps of the pivot camera.
    """

    bag: str
    info: EpisodeInfo
    task: str
    level: Level
    dimensions: tuple[DimensionValue, ...]
    stamps_ns: NDArray[np.int64]
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    images: Mapping[str, Pictures]
    dropped: Mapping[str, int]
    surplus: int
    matched: Mapping[str, Matched]

    @property
    def length(self) -> int:
        """Number of frames, n."""
        return len(self.stamps_ns)

    def digest(self) -> str:
        """SHA-256 of everything that a policy can see: texts, numbers, image bytes."""
        said = [f"{v.dimension}/{v.slot}={v.value}" for v in self.dimensions]
        seen = EpisodeDigest([self.task, self.level, *said], self.state, self.action)
        for camera in sorted(self.images):
            for image in self.images[camera]:
                seen.add(camera, image)
        return seen.hexdigest()


def read_episode(
    bag: Path,
    contract: RobotContract,
    max_gap_s: float | None = None,
    cameras: Sequence[str] | None = None,
) -> Episode:
    """Reads a bag and assembles its frames exactly as the live policy node would.

    Args:
        bag: Directory of the bag.
        contract: The contract that the dataset follows.
        max_gap_s: Largest distance of two neighbouring frames; `GAP_PERIODS` frame periods when None.
        cameras: Cameras to keep; all of the contract when None.

    Raises:
        EpisodeRejectedError: The bag cannot be part of a dataset; the error carries the reason code.
    """
    try:
        with EpisodeReader(bag, contract) as reader:
            _check_contract(reader, contract)
            _check_topics(reader, cameras or tuple(contract.cameras))
            _check_cameras(reader, cameras or tuple(contract.cameras))
            streams = collect(reader, contract, cameras)
            pictures = pictures_of(reader, cameras or contract.cameras)
            info = reader.info
    except EpisodeRejectedError:
        raise
    except (BagError, ContractError) as err:
        reason = "wrong_joints" if isinstance(err, ContractError) else "unreadable"
        raise EpisodeRejectedError(
            reason,
            err.what,
            where=err.where or bag,
            expected=err.expected,
            found=err.found,
            remedy=err.remedy,
        ) from err
    return _episode(bag, info, streams, pictures, contract, max_gap_s)


def _check_contract(reader: EpisodeReader, contract: RobotContract) -> None:
    recorded = reader.info.contract_hash
    if recorded and recorded != contract.hash:
        raise EpisodeRejectedError(
            "other_contract",
            "the bag was recorded under another robot contract",
            where=reader.path,
            expected=contract.hash,
            found=recorded,
            remedy="convert it with the contract stored in its metadata.yaml, or record again",
        )


def _check_topics(reader: EpisodeReader, kept: Sequence[str]) -> None:
    unwanted = {c.compressed_topic for name, c in reader.contract.cameras.items() if name not in kept}
    missing = [topic for topic in reader.missing() if topic not in unwanted]
    if not missing:
        return
    cameras = {c.compressed_topic for c in reader.contract.cameras.values()}
    if not any(reader.counts().values()):
        reason, what = "empty", "the bag holds no message"
    elif cameras & set(missing):
        reason, what = "missing_camera", "the bag lacks a camera"
    else:
        reason, what = "missing_joints", "the bag lacks the joints of an arm"
    raise EpisodeRejectedError(
        reason,
        what,
        where=reader.path,
        expected=f"messages on every feedback and leader topic of the contract, and of {', '.join(kept)}",
        found=f"no message on {', '.join(missing)}",
        remedy="record again with these topics, or name the cameras that are there (--cameras)",
    )


def _check_cameras(reader: EpisodeReader, cameras: Sequence[str]) -> None:
    """Refuses images that name the coordinate frame of another camera: the topics were swapped."""
    owners = {camera.frame_id: name for name, camera in reader.contract.cameras.items()}
    for name in cameras:
        found = reader.frame_id(name)
        if owners.get(found, name) != name:
            raise EpisodeRejectedError(
                "swapped_cameras",
                "the images of a camera are those of another one",
                where=f"{reader.path}: {reader.image_topic(name)[0]}",
                expected=f"frame_id {reader.contract.cameras[name].frame_id}",
                found=f"{found}, that of {owners[found]}",
                remedy="repair the remapping of the camera drivers, and record again",
            )


def _episode(
    bag: Path,
    info: EpisodeInfo,
    streams: Streams,
    pictures: Mapping[str, Pictures],
    contract: RobotContract,
    max_gap_s: float | None,
) -> Episode:
    _check_clocks(bag, streams)
    task = _task(bag, info, streams)
    frames = streams.frames
    stamps_ns = frames.stamps_ns
    if unseen := _ticks_without_pivot(stamps_ns, streams.pivots_ns, to_ns(contract.frame_period_s)):
        streams.dropped[f"{NO_IMAGE}:{contract.sync.pivot}"] += unseen
    _check_frames(bag, stamps_ns, streams.dropped, contract.frame_period_s, max_gap_s)
    level, dimensions = _understood(bag, task, streams)
    return Episode(
        bag=bag.name,
        info=info,
        task=task,
        level=level,
        dimensions=dimensions,
        stamps_ns=stamps_ns,
        state=frames.state,
        action=frames.action,
        images={camera: replace(some, places=frames.images(camera)) for camera, some in pictures.items()},
        dropped=dict(streams.dropped),
        surplus=streams.surplus,
        matched=streams.frames.matched(),
    )


def _task(bag: Path, info: EpisodeInfo, streams: Streams) -> str:
    """The instruction of the episode: the recorder's, else the only one that was said."""
    if info.instruction.strip():
        return info.instruction
    texts = sorted({event.text for event in (*streams.said, *streams.parsed) if event.text.strip()})
    if len(texts) == 1:
        return texts[0]
    raise EpisodeRejectedError(
        "several_instructions" if texts else "no_instruction",
        "the episode does not have exactly one instruction",
        where=bag,
        expected="one instruction, given when the recording starts or said once during it",
        found=texts or "none",
        remedy="record one instruction per episode, or give it to the recorder's start service",
    )


def _understood(bag: Path, task: str, streams: Streams) -> tuple[Level, tuple[DimensionValue, ...]]:
    """Level and dimensions as recorded, else by the same parser that the instruction node runs."""
    for event in reversed(streams.parsed):
        if event.text == task and event.level is not None:
            return event.level, event.values
    try:
        parsed = parse(task)
    except InstructionError as err:
        raise EpisodeRejectedError(
            "bad_instruction", err.what, where=bag, found=err.found or task, remedy=err.remedy
        ) from err
    return parsed.level, parsed.values


def _ticks_without_pivot(stamps_ns: NDArray[np.int64], pivots_ns: Sequence[int], period_ns: int) -> int:
    """Ticks between the frames for which the pivot camera gave no image at all.

    The assembler sees only images that came; what it made no frame of is counted there.
    """
    seen = np.array(sorted(pivots_ns), dtype=np.int64)
    unseen = 0
    periods = np.rint(np.diff(stamps_ns) / period_ns).astype(np.int64)
    for row in np.flatnonzero(periods > 1):
        ticks = stamps_ns[row] + period_ns * np.arange(1, periods[row])
        first, last = (np.searchsorted(seen, ticks + half) for half in (-period_ns // 2, period_ns // 2))
        unseen += int((first == last).sum())
    return unseen


def _check_clocks(bag: Path, streams: Streams) -> None:
    """Refuses streams whose clock went back: what comes after would be left out without a gap."""
    back = {name: share for name, share in streams.refused().items() if share > CLOCK_TOLERANCE}
    if back:
        raise EpisodeRejectedError(
            "clock_jump",
            "the clock of a stream went back",
            where=bag,
            expected=f"stamps that grow, but for {CLOCK_TOLERANCE:.0%} of the messages",
            found=", ".join(f"{name}: {share:.0%} not later" for name, share in back.items()),
            remedy="keep the clock of the robot in step (chrony), or use one clock for all, and record again",
        )


def _check_frames(
    bag: Path,
    stamps_ns: NDArray[np.int64],
    dropped: Mapping[str, int],
    period_s: float,
    max_gap_s: float | None,
) -> None:
    lost = f"dropped: {dict(dropped) or 'none'}"
    if len(stamps_ns) < 2:
        raise EpisodeRejectedError(
            "no_frames",
            "no two complete frames can be made of this bag",
            where=bag,
            found=f"{len(stamps_ns)} frames; {lost}",
            remedy="check rates and clocks of the streams that were dropped for",
        )
    limit_s = GAP_PERIODS * period_s if max_gap_s is None else max_gap_s
    periods_s = np.diff(stamps_ns) / 1e9
    longest_s, usual_s = float(periods_s.max()), float(np.median(periods_s))
    if abs(usual_s - period_s) > RATE_TOLERANCE * period_s:
        raise EpisodeRejectedError(
            "frame_rate",
            "the frames have another rate than the contract, which would change the speed of the motion",
            where=bag,
            expected=f"a frame every {period_s:.3f} s, within {RATE_TOLERANCE:.0%}",
            found=f"one every {usual_s:.3f} s; {lost}",
            remedy="set the cameras to the contract's rate or a multiple of it, and record again",
        )
    if longest_s > limit_s:
        raise EpisodeRejectedError(
            "frame_gap",
            "frames are missing in the middle of the episode",
            where=bag,
            expected=f"neighbouring frames at most {limit_s:.3f} s apart",
            found=f"{longest_s:.3f} s; {lost}",
            remedy="record again, or allow a longer gap with --max-gap-s",
        )
