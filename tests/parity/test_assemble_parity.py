"""Live equals offline: the same messages give the same frames as they arrive and from a bag."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fake_episode import MS, Fake, fake_bag

from finevla.bag import EncodedImage, EpisodeReader, ImageEvent, JointEvent
from finevla.bag.images import decode
from finevla.contract import ARM_SIDES, load_contract
from finevla.contract.assemble import Frame, FrameAssembler
from finevla.contract.episode import Role
from finevla.stages.convert.episode import read_episode

CONTRACT = load_contract()


def live(bag: Path, delay_ms: dict[str, int]) -> list[Frame[np.ndarray]]:
    """What a policy node would see: decoded images, streams delayed against each other, pop after each."""
    with EpisodeReader(bag) as reader:
        events = [e for e in reader.events() if isinstance(e, ImageEvent | JointEvent)]
    wanted = [e for e in events if isinstance(e, ImageEvent) or e.role is Role.FEEDBACK]
    stream = lambda e: e.camera if isinstance(e, ImageEvent) else e.side
    assembler: FrameAssembler[np.ndarray] = FrameAssembler(CONTRACT)
    frames = []
    for event in sorted(wanted, key=lambda e: e.stamp_ns + delay_ms.get(stream(e), 0) * MS):
        if isinstance(event, ImageEvent):
            assembler.push_image(event.camera, event.stamp_ns, decode(event.image))
        else:
            assembler.push_joints(event.side, event.stamp_ns, event.values)
        if (frame := assembler.pop()) is not None:
            frames.append(frame)
    return frames


@pytest.mark.parametrize(
    "delay_ms",
    [{}, {"cam_high": 120}, {"left": 90, "cam_left_wrist": 40}],
    ids=["in order", "late pivot", "late arm"],
)
@pytest.mark.parametrize(
    "fake",
    [
        Fake(camera_hz=10.0),  # every image lies exactly on a tick and on a joint sample
        Fake(camera_hz=30.0),
        Fake(camera_hz=30.0, keep=lambda topic, ms: "puppet/joint_right" not in topic or not 400 < ms < 520),
    ],
    ids=["on the tick", "30 Hz", "with a gap"],
)
def test_live_frames_are_the_frames_of_the_dataset(
    tmp_path: Path, fake: Fake, delay_ms: dict[str, int]
) -> None:
    bag = fake_bag(tmp_path, fake=fake)
    offline = read_episode(bag, CONTRACT, 1.0)
    frames = live(bag, delay_ms)
    assert len(frames) == offline.length
    pictures = {camera: tuple(images) for camera, images in offline.images.items()}
    for k, frame in enumerate(frames):
        assert frame.stamp_ns == offline.stamps_ns[k]
        np.testing.assert_array_equal(frame.state.astype(np.float32), offline.state[k])
        for camera, image in frame.images.items():
            np.testing.assert_array_equal(image, decode(pictures[camera][k]))


def test_the_last_frame_of_a_bag_needs_no_later_message(tmp_path: Path) -> None:
    """The event exactly on the last tick: bag and live both take it, and neither waits for more."""
    bag = fake_bag(tmp_path, seconds=0.5)
    assembler: FrameAssembler[EncodedImage] = FrameAssembler(CONTRACT)
    with EpisodeReader(bag) as reader:
        for event in reader.events():
            if isinstance(event, ImageEvent):
                assembler.push_image(event.camera, event.stamp_ns, event.image)
            elif isinstance(event, JointEvent) and event.role is Role.FEEDBACK:
                assembler.push_joints(event.side, event.stamp_ns, event.values)
    stamps = []
    while (frame := assembler.pop()) is not None:
        stamps.append(frame.stamp_ns)
    assert stamps == list(read_episode(bag, CONTRACT, 0.25).stamps_ns)
    assert stamps[-1] == max(assembler.newest_ns(side) for side in ARM_SIDES)
