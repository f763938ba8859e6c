"""The whole loop with real parts: simulate, record, convert, train a little, export, act in the node."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

EPISODES = 2


def finevla(*arguments: object) -> str:
    """Runs a verb as a user does; returns what it printed."""
    command = [sys.executable, "-m", "finevla", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, env=dict(os.environ))
    assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with bags, dataset, training directory and bundle, each made from the one before."""
    root = tmp_path_factory.mktemp("loop")
    finevla("sim", "record", "--out", root / "bags", "--episodes", EPISODES, "--seed", 5, "--noise", 0)
    finevla("convert", root / "bags", "--out", root / "dataset")
    finevla("train", root / "dataset", "--out", root / "train", "--steps", 20, "--batch-size", 8)
    finevla("export", root / "train", "--out", root / "bundle")
    return root


def test_the_bundle_carries_its_origin(loop: Path) -> None:
    from finevla.contract import load_contract
    from finevla.contract.bundle import read_bundle

    bundle = read_bundle(loop / "bundle", load_contract())
    assert bundle.content.provenance["dataset_hash"]
    assert sum(f.stat().st_size for f in (loop / "bundle").rglob("*")) < 25e6


class Replay:
    """Publishes one recorded frame as a robot that stands still: cameras and joints, again and again."""

    def __init__(self, rig, bag: Path) -> None:
        from finevla_perception import convert
        from rclpy.qos import qos_profile_sensor_data
        from sensor_msgs.msg import Image, JointState

        from finevla.bag import EpisodeReader, ImageEvent, JointEvent
        from finevla.bag.images import decode
        from finevla.contract import load_contract
        from finevla.contract.episode import Role

        self.contract, self.convert = load_contract(), convert
        self.pictures: dict[str, np.ndarray] = {}
        self.joints: dict[str, np.ndarray] = {}
        for event in EpisodeReader(bag).events():
            if isinstance(event, ImageEvent):
                self.pictures.setdefault(event.camera, decode(event.image))
            elif isinstance(event, JointEvent) and event.role is Role.FEEDBACK:
                self.joints.setdefault(event.side, event.values)
        qos = qos_profile_sensor_data
        self.images = {
            c: rig.peer.create_publisher(Image, spec.raw_topic, qos)
            for c, spec in self.contract.cameras.items()
        }
        self.arms = {
            s: rig.peer.create_publisher(JointState, arm.feedback_topic, qos)
            for s, arm in self.contract.arms.items()
        }
        self.stop = threading.Event()
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        for k in range(100_000):
            if self.stop.wait(0.01):
                return
            now_ns = time.time_ns()
            for side, publisher in self.arms.items():
                names = self.contract.arms[side].wire_names
                publisher.publish(self.convert.msgify_joints(names, self.joints[side], now_ns))
            if k % 10 == 0:
                for camera, publisher in self.images.items():
                    publisher.publish(self.convert.msgify_image(self.pictures[camera], now_ns, camera))


def test_the_node_acts_with_the_bundle_on_the_recorded_scene(loop: Path) -> None:
    from finevla_msgs.msg import ActionChunk, ParsedInstruction
    from finevla_perception import convert
    from finevla_perception.qos import command, latched
    from finevla_policy.policy_node import PolicyNode
    from lifecycle_msgs.msg import Transition
    from lifecycle_msgs.srv import ChangeState
    from rclpy.parameter import Parameter
    from ros_rig import RosRig, until

    from finevla.bag import EpisodeReader
    from finevla.contract import load_contract, services

    contract = load_contract()
    bag = min((loop / "bags").glob("pick_lift_*"))
    with RosRig() as rig:
        overrides = [
            Parameter("bundle", value=str(loop / "bundle")),
            Parameter("latency_budget_s", value=2.0),
        ]
        node = rig.add(PolicyNode(context=rig.context, parameter_overrides=overrides))
        chunks = rig.collect(ActionChunk, contract.topics.action_chunk, command())
        said = rig.peer.create_publisher(ParsedInstruction, contract.topics.instruction_parsed, latched())
        replay = Replay(rig, bag)
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            assert rig.call(ChangeState, f"/{services.POLICY_NODE}/change_state", request, 60).success
        sentence = ParsedInstruction(id="e2e", text=EpisodeReader(bag).info.instruction)
        sentence.header.stamp = convert.ns_to_stamp(time.time_ns())
        said.publish(sentence)
        chunk = until(lambda: chunks and chunks[0], 30)
        replay.stop.set()
        node.close()
    assert tuple(chunk.names) == contract.joint_names
    assert chunk.horizon == contract.horizon
    assert chunk.instruction_id == "e2e"
    targets = np.array(chunk.targets).reshape(chunk.horizon, contract.dof)
    assert np.isfinite(targets).all()
    assert (np.clip(targets, contract.lower, contract.upper) == targets).all()
