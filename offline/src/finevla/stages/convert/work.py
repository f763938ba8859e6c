"""The part of a conversion that is done per bag, in any process: read, check, encode, count."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EncodedImage
from finevla.bag.images import decode
from finevla.bag.language import EpisodeLanguage, read_language
from finevla.contract.dimensions import DimensionValue
from finevla.contract.instruction import Level
from finevla.contract.robot import RobotContract, contract_from_document
from finevla.dataset.encode import VideoSettings, encode
from finevla.dataset.stats import SAMPLE_EVERY, levels
from finevla.errors import BagError
from finevla.stages.convert.digest import EpisodeDigest
from finevla.stages.convert.episode import Episode, EpisodeRejectedError, read_episode
from finevla.stages.report import Rejected


@dataclass(frozen=True, slots=True)
class Job:
    """One bag to convert. `scratch` receives the videos, under names that carry `number`."""

    bag: Path
    number: int
    scratch: Path
    document: Mapping[str, object]
    max_gap_s: float | None
    include_failures: bool
    settings: VideoSettings
    cameras: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Converted:
    """One episode without its images: numbers, texts, files of video, level counts per camera."""

    bag: str
    digest: str
    task: str
    level: Level
    dimensions: tuple[DimensionValue, ...]
    outcome: str
    operator: str
    source: str
    start_ns: int
    state: NDArray[np.float32]
    action: NDArray[np.float32]
    videos: Mapping[str, Path]
    histograms: Mapping[str, NDArray[np.int64]]
    dropped: Mapping[str, int]
    surplus: int
    language: EpisodeLanguage | None = None

    @property
    def length(self) -> int:
        """Number of frames."""
        return len(self.state)


def convert_bag(job: Job) -> Converted | Rejected:
    """Converts one bag; a bag that cannot be used comes back as a rejection, not as an error."""
    contract = contract_from_document(job.document)
    try:
        episode = read_episode(job.bag, contract, job.max_gap_s, job.cameras)
        if episode.info.outcome == "failure" and not job.include_failures:
            raise EpisodeRejectedError(
                "labeled_failure",
                "the operator labeled this episode as a failure",
                where=job.bag,
                remedy="pass --include-failures to keep such episodes",
            )
        return _encoded(job, episode, contract)
    except EpisodeRejectedError as err:
        return Rejected(str(job.bag), err.reason, str(err))


def _encoded(job: Job, episode: Episode, contract: RobotContract) -> Converted:
    videos: dict[str, Path] = {}
    histograms: dict[str, NDArray[np.int64]] = {}
    seen, fps = episode.begin_digest(), round(contract.rates_hz.frame)
    for name in sorted(job.cameras):
        camera = contract.cameras[name]
        videos[name] = job.scratch / name / f"{job.number:06d}.mp4"
        histograms[name] = np.zeros((3, 256), np.int64)
        images = _noted(name, episode.images[name], seen, histograms[name])
        try:
            encode(images, videos[name], (camera.width, camera.height), fps, job.settings)
        except (ValueError, BagError) as err:
            raise EpisodeRejectedError(
                "bad_image",
                "an image of the bag cannot be used",
                where=f"{job.bag}: {camera.topic}",
                expected=f"complete images of {camera.width}x{camera.height}",
                found=err.found if isinstance(err, BagError) else err,
                remedy="set the camera to the contract's size, or record again",
            ) from err
    return Converted(
        bag=episode.bag,
        digest=seen.hexdigest(),
        task=episode.task,
        level=episode.level,
        dimensions=episode.dimensions,
        outcome=episode.info.outcome,
        operator=episode.info.operator,
        source=episode.info.source,
        start_ns=episode.stamps_ns[0],
        state=episode.state,
        action=episode.action,
        videos=videos,
        histograms=histograms,
        dropped=episode.dropped,
        surplus=episode.surplus,
        language=_language(job.bag, episode.task),
    )


def _noted(
    camera: str, images: Iterable[EncodedImage], seen: EpisodeDigest, counts: NDArray[np.int64]
) -> Iterator[EncodedImage]:
    """The images on their way to the encoder; what it took goes into the digest, every tenth is counted."""
    for number, image in enumerate(images):
        yield image
        seen.add(camera, image)
        if number % SAMPLE_EVERY == 0:
            counts += levels([decode(image)])


def _language(bag: Path, task: str) -> EpisodeLanguage | None:
    """The texts beside the bag, if they belong to its instruction."""
    try:
        language = read_language(bag)
    except BagError as err:
        raise EpisodeRejectedError("bad_language", err.what, where=err.where, remedy=err.remedy) from err
    if language is not None and language.instruction != task:
        raise EpisodeRejectedError(
            "other_language",
            "the texts beside the bag belong to another instruction",
            where=bag,
            expected=task,
            found=language.instruction,
            remedy="remove the file to convert the bag without them, or record again",
        )
    return language
