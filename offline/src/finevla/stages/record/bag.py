"""One demonstration into one bag with the same topics and types as the recorder node writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EpisodeWriter, messages
from finevla.bag.images import encode_jpeg
from finevla.bag.language import LANGUAGE_FILE, EpisodeLanguage
from finevla.contract.clock import to_ns
from finevla.contract.episode import EpisodeInfo
from finevla.contract.instruction import parse
from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla.files import plain
from finevla.sim.language.describe import describe
from finevla.sim.log import EpisodeLog
from finevla.sim.rollout import Demonstration
from finevla.sim.truth import Truth

TRUTH_FILE = "truth.json"
"""Simulator truth beside the bag's messages; no topic holds it, so that no policy can learn it.

What a policy may be told of an episode is in another file, `finevla.bag.language.LANGUAGE_FILE`.
"""

ACCEPTED = 1
"""`InstructionStatus.ACCEPTED`."""


def write_demonstration(
    out: Path, name: str, demo: Demonstration, contract: RobotContract, start_ns: int
) -> Path:
    """Writes a demonstration that was made with pictures and samples.

    Args:
        out: Folder of the bags.
        name: Name of the episode.
        demo: The demonstration.
        contract: The robot.
        start_ns: Stamp of the first frame; the simulated time of a process has no meaning beyond it.

    Returns:
        Directory of the bag.
    """
    info = EpisodeInfo(name, demo.text, "success" if demo.success else "failure", "expert", "sim")
    shift = start_ns - int(demo.stamps_ns[0])
    with EpisodeWriter(out, info, contract) as writer:
        log = sorted(_messages(demo, contract, name, shift), key=lambda entry: entry[0])
        for stamp_ns, topic, message in log:
            writer.write(topic, stamp_ns, message)
        writer.attach(TRUTH_FILE, json.dumps(_truth(demo)) + "\n")
        if demo.log is not None:
            writer.attach(LANGUAGE_FILE, _language(demo, demo.log, contract).text())
        return writer.close()


def _messages(
    demo: Demonstration, contract: RobotContract, name: str, shift: int
) -> list[tuple[int, str, Any]]:
    first, last = int(demo.stamps_ns[0]) + shift, int(demo.stamps_ns[-1]) + shift
    topics, identity = contract.topics, f"{name}_0"
    log: list[tuple[int, str, Any]] = [
        (first, topics.episode_mark, messages.episode_mark(first, "start", name, demo.text, "")),
        (first, topics.instruction, messages.instruction(first, demo.text, identity)),
        (
            first,
            topics.instruction_parsed,
            messages.parsed_instruction(first, parse(demo.text), identity),
        ),
        (first, topics.instruction_status, messages.instruction_status(first, identity, ACCEPTED)),
    ]
    for stamp_ns, feedback, leader in zip(*_resampled(demo, contract), strict=True):
        at = int(stamp_ns) + shift
        for side in ARM_SIDES:
            arm, part = contract.arms[side], contract.arm_slice(side)
            log.append((at, arm.feedback_topic, messages.joint_state(arm, at, feedback[part])))
            log.append((at, arm.leader_topic, messages.joint_state(arm, at, leader[part])))
    for camera_name, images in demo.images.items():
        camera = contract.cameras[camera_name]
        for stamp_ns, image in zip(demo.stamps_ns, images, strict=True):
            at = int(stamp_ns) + shift
            jpeg = messages.compressed_image(camera, at, encode_jpeg(image))
            log.append((at, camera.compressed_topic, jpeg))
    outcome = "success" if demo.success else "failure"
    log.append((last, topics.episode_mark, messages.episode_mark(last, "stop", name, "", outcome)))
    return log


def _resampled(
    demo: Demonstration, contract: RobotContract
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Feedback and leader at the feedback rate, from first to last frame, both included.

    Frame stamps lie on this grid, so the samples there are the frames' own states and actions.
    """
    if demo.samples is None:
        raise ValueError("a demonstration without samples cannot become a bag")
    stamps = np.append(demo.samples.stamps_ns, demo.stamps_ns[-1])
    step = to_ns(1.0 / contract.rates_hz.feedback)
    grid = np.arange(demo.stamps_ns[0], demo.stamps_ns[-1] + 1, step, dtype=np.int64)

    def at_grid(rows: NDArray[np.float64], final: NDArray[np.float64]) -> NDArray[np.float64]:
        table = np.vstack([rows, final])
        return np.stack([np.interp(grid, stamps, column) for column in table.T], axis=1)

    return (
        grid,
        at_grid(demo.samples.feedback, demo.states[-1]),
        at_grid(demo.samples.leader, demo.actions[-1]),
    )


def _language(demo: Demonstration, log: EpisodeLog, contract: RobotContract) -> EpisodeLanguage:
    told = describe(demo.spec, demo.goal, log, demo.states, contract)
    return EpisodeLanguage(demo.text, told.raw, told.steps, told.paragraph, told.values)


def _frame(truth: Truth) -> dict[str, Any]:
    return {
        "objects": truth.objects,
        "tips": truth.tips,
        "openings": truth.openings,
        "pressed": truth.joints,
        "touching": {side: sorted(names) for side, names in truth.touching.items()},
    }


def _truth(demo: Demonstration) -> dict[str, Any]:
    document: dict[str, Any] = plain(
        {
            "scene": demo.spec,
            "goal": demo.goal,
            "score": demo.score,
            "frames": [_frame(truth) for truth in demo.truths],
        }
    )
    return document
