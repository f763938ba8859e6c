"""Live equals offline in one real run: what the policy node saw is what the converter makes of the bag.

A recorder and a policy node listen to the same cameras and arms through DDS. The recording begins in the
middle of the stream, the policy is activated before it and again during it: both count from one origin.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fake_episode import START_NS, TEXT, Fake, fake_messages

pytest.importorskip("rclpy")
policy_node = pytest.importorskip("finevla_policy.policy_node")
recorder_node = pytest.importorskip("finevla_system.recorder_node")

from finevla_msgs.srv import StartRecording, StopRecording
from finevla_system.recorder_convert import message_class
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile
from ros_rig import RosRig, until

from finevla.bag.types import typestore
from finevla.contract import load_contract
from finevla.contract.assemble import Frame
from finevla.contract.episode import recorded_topics
from finevla.contract.services import POLICY_NODE, RECORDER_START, RECORDER_STOP
from finevla.stages.convert.episode import read_episode

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
SECONDS = 4.0
SLOWER = 2.0
"""The stream is played at half speed: nothing may be lost on a machine that does other things too."""


class Deaf:
    """A policy that is never asked; it needs all cameras."""

    cameras = tuple(CONTRACT.cameras)
    checkpoint_id = "deaf"

    def check_instruction(self, text: str) -> None:
        """Follows everything."""

    def warm_up(self, repeats: int = 3) -> None:
        """Is warm."""

    def infer(self, *_: Any) -> None:
        """Is not called without an instruction."""


class WatchedPolicyNode(policy_node.PolicyNode):
    """Keeps the frames that its loop gets."""

    def __init__(self, **more: Any) -> None:
        self.frames: list[Frame[Any]] = []
        super().__init__(lambda _: Deaf(), **more)

    def _on_frames(self, frames: list[Any]) -> None:
        self.frames += frames
        super()._on_frames(frames)


class Stream:
    """Cameras and arms that play one long episode, byte for byte, in a thread."""

    def __init__(self, rig: RosRig) -> None:
        topics = {t.topic: t for t in recorded_topics(CONTRACT) if t.required}
        self._publishers = {
            name: rig.peer.create_publisher(message_class(topic.type), name, QoSProfile(depth=1000))
            for name, topic in topics.items()
        }
        # Every third image lies exactly on a tick and on a sample of the joints.
        log = fake_messages(Fake(seconds=SECONDS, camera_hz=30.0, said=()))
        self._log = [(ns, topic, bytes(typestore().serialize_cdr(m, m.__msgtype__))) for ns, topic, m in log]
        self.seconds = 0.0
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._thread = threading.Thread(target=self._run, name="stream")

    def start(self) -> None:
        until(lambda: all(p.get_subscription_count() for p in self._publishers.values()))
        self._thread.start()

    def join(self) -> None:
        self._thread.join()
        time.sleep(0.3)  # the last messages are on their way

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nothing is sent meanwhile: a busy machine that takes its time misses no more than a quick one."""
        self._goes_on.clear()
        yield
        self._goes_on.set()

    def _run(self) -> None:
        begin = time.monotonic()
        for stamp_ns, topic, cdr in self._log:
            stopped = time.monotonic()
            if not self._goes_on.is_set():
                self._goes_on.wait()
                begin += time.monotonic() - stopped
            self.seconds = (stamp_ns - START_NS) / 1e9
            time.sleep(max(0.0, SLOWER * self.seconds - (time.monotonic() - begin)))
            self._publishers[topic].publish(cdr)


@pytest.fixture
def rig() -> Iterator[RosRig]:
    with RosRig() as rig:
        yield rig


def test_the_frames_of_a_run_are_the_frames_of_its_bag(rig: RosRig, tmp_path: Path) -> None:
    overrides = [Parameter("out_dir", value=str(tmp_path))]
    recorder = rig.add(recorder_node.RecorderNode(context=rig.context, parameter_overrides=overrides))
    overrides = [Parameter("image_transport", value="compressed")]
    policy = rig.add(WatchedPolicyNode(context=rig.context, parameter_overrides=overrides))

    def change(transition: int) -> None:
        request = ChangeState.Request(transition=Transition(id=transition))
        assert rig.call(ChangeState, f"/{POLICY_NODE}/change_state", request).success

    change(Transition.TRANSITION_CONFIGURE)
    change(Transition.TRANSITION_ACTIVATE)
    stream = Stream(rig)
    stream.start()
    after(stream, 0.65)
    started = rig.call(StartRecording, RECORDER_START, StartRecording.Request(instruction=TEXT))
    assert started.success, started.message
    after(stream, 2.0)
    with stream.standing_still():
        change(Transition.TRANSITION_DEACTIVATE)
        change(Transition.TRANSITION_ACTIVATE)
        again_ns = START_NS + round(stream.seconds * 1e9)
    stream.join()
    stopped = rig.call(StopRecording, RECORDER_STOP, StopRecording.Request(outcome="success"))
    assert stopped.success, stopped.message
    assert "LOST" not in stopped.message
    recorder.finish()
    policy.close()
    episode = read_episode(Path(stopped.path), CONTRACT)
    live = [f for f in policy.frames if episode.stamps_ns[0] <= f.stamp_ns <= episode.stamps_ns[-1]]
    offline = dict(zip(episode.stamps_ns, range(episode.length), strict=True))
    assert episode.info.frame_origin_ns >= START_NS
    unseen = [ns for ns in offline if ns not in {f.stamp_ns for f in live}]
    assert len(unseen) <= 3, "only what was on its way when the policy was activated again"
    assert all(abs(ns - again_ns) < 500_000_000 for ns in unseen)
    assert any(f.stamp_ns < again_ns for f in live)
    assert any(f.stamp_ns > again_ns for f in live)
    pictures = {camera: tuple(images) for camera, images in episode.images.items()}
    for frame in live:
        place = offline[frame.stamp_ns]
        np.testing.assert_array_equal(frame.state.astype(np.float32), episode.state[place])
        assert set(frame.images) == set(pictures)
        for camera, message in frame.images.items():
            assert bytes(message.data) == pictures[camera][place].data


def after(stream: Stream, seconds: float) -> None:
    until(lambda: stream.seconds >= seconds, 30.0)
