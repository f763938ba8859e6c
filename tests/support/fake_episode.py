"""Small synthetic episodes, with no simulator and no ROS: bags that tests can bend."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from finevla.bag import EpisodeWriter, messages
from finevla.bag.images import encode_jpeg
from finevla.contract import load_contract
from finevla.contract.episode import EpisodeInfo
from finevla.contract.instruction import parse

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000
TEXT = "use the left arm to pick up the red cube"


def picture(index: int, camera: int, size: tuple[int, int] = (320, 240)) -> np.ndarray:
    """A picture in which frame and camera can be told from the colours."""
    width, height = size
    y, x = np.mgrid[0:height, 0:width]
    red = (x // 2 + 9 * index) % 256
    return np.stack([red, np.full_like(x, 60 * camera + 30), (y + 5 * index) % 256], -1).astype(np.uint8)


def joints(seconds: float, side: str, leader: bool) -> np.ndarray:
    """Seven values that move at constant speed within the range of the robot: interpolation is known."""
    base = {"left": 0.1, "right": 0.2}[side] + (0.05 if leader else 0.0)
    angles = np.array([base + 0.1 * seconds + 0.01 * k for k in range(6)])
    angles[2] *= -1.0  # joint 3 has no positive angles
    return np.append(angles, 0.03)


@dataclass(frozen=True)
class Fake:
    """What is in the bag; each switch breaks one thing."""

    seconds: float = 1.0
    camera_hz: float = 10.0
    without: tuple[str, ...] = ()
    """Topics that stay silent."""
    keep: Callable[[str, int], bool] = lambda topic, milliseconds: True
    rename: str = ""
    """New name of the first joint of the left feedback."""
    nan: bool = False
    shift_rad: float = 0.0
    """Added to all feedback of the left arm."""
    size: tuple[int, int] = (320, 240)
    jpeg: Callable[[bytes], bytes] = lambda data: data
    instruction: str = TEXT
    said: tuple[str, ...] = (TEXT,)
    outcome: str = "success"


def fake_messages(fake: Fake) -> list[tuple[int, str, object]]:
    """Log time, topic and message, in the order of the log."""
    contract, log = load_contract(), []
    for text in fake.said:
        log.append((START_NS, contract.topics.instruction, messages.instruction(START_NS, text, "i1")))
        parsed = messages.parsed_instruction(START_NS, parse(text), "i1")
        log.append((START_NS, contract.topics.instruction_parsed, parsed))
    for tick in range(round(fake.seconds * contract.rates_hz.feedback) + 1):
        stamp = START_NS + tick * 5 * MS
        for side, arm in contract.arms.items():
            for leader, topic in ((False, arm.feedback_topic), (True, arm.leader_topic)):
                values = joints(tick * 0.005, side, leader)
                values[0] += 0.0 if leader or side == "right" else fake.shift_rad
                if fake.nan and not leader and tick == 3:
                    values[2] = np.nan
                message = messages.joint_state(arm, stamp, values)
                if fake.rename and not leader and side == "left":
                    message.name[0] = fake.rename
                log.append((stamp, topic, message))
    for index in range(round(fake.seconds * fake.camera_hz) + 1):
        stamp = START_NS + round(index * 1e9 / fake.camera_hz)
        for number, camera in enumerate(contract.cameras.values()):
            jpeg = fake.jpeg(encode_jpeg(picture(index, number, fake.size)))
            log.append((stamp, camera.compressed_topic, messages.compressed_image(camera, stamp, jpeg)))
    kept = [
        entry
        for entry in log
        if entry[1] not in fake.without and fake.keep(entry[1], (entry[0] - START_NS) // MS)
    ]
    return sorted(kept, key=lambda entry: entry[0])


def fake_bag(out: Path, name: str = "episode", fake: Fake | None = None, **changes: object) -> Path:
    """Writes a bag and returns its directory."""
    fake = replace(fake or Fake(), **changes)
    info = EpisodeInfo(name, instruction=fake.instruction, outcome=fake.outcome, operator="test")
    with EpisodeWriter(out, info) as writer:
        for stamp, topic, message in fake_messages(fake):
            writer.write(topic, stamp, message)
        return writer.close()
