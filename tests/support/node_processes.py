"""Nodes as processes of their own, and cameras that show one picture."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path


def start(
    module: str, *, params: Path | None = None, env: dict[str, str] | None = None, **parameters: object
) -> subprocess.Popen[str]:
    """Runs a node's `main` in this interpreter's environment."""
    words = [f"import sys; sys.path[:] = {sys.path!r}", f"from {module} import main", "sys.exit(main())"]
    flags = [flag for name, value in parameters.items() for flag in ("-p", f"{name}:={value}")]
    if params is not None:
        flags += ["--params-file", str(params)]
    return subprocess.Popen(
        [sys.executable, "-c", "; ".join(words), "--ros-args", *flags],
        stdout=subprocess.DEVNULL if env is not None else subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=None if env is None else {**os.environ, **env},
    )


def cameras() -> int:
    """All cameras of the contract, ten pictures a second, and leader arms at rest, which a recorder wants."""
    import time

    import rclpy
    from finevla_perception.convert import msgify_joints
    from rclpy.qos import qos_profile_sensor_data
    from sensor_msgs.msg import Image, JointState

    from finevla.contract import load_contract

    rclpy.init()
    node = rclpy.create_node("grey_cameras")
    contract = load_contract()
    leaders = {
        side: node.create_publisher(JointState, arm.leader_topic, 10) for side, arm in contract.arms.items()
    }
    specs = list(contract.cameras.values())
    publishers = [node.create_publisher(Image, spec.raw_topic, qos_profile_sensor_data) for spec in specs]

    def show() -> None:
        now = time.time_ns()
        for spec, publisher in zip(specs, publishers, strict=True):
            size = spec.width * spec.height * 3
            message = Image(width=spec.width, height=spec.height, encoding="rgb8", step=spec.width * 3)
            message.data = bytes((7 * k + now // 100_000_000) % 200 for k in range(256)) * (size // 256)
            message.header.frame_id = spec.frame_id
            message.header.stamp.sec, message.header.stamp.nanosec = now // 10**9, now % 10**9
            publisher.publish(message)
        for side, arm in contract.arms.items():
            rest = contract.home[contract.arm_slice(side)]
            leaders[side].publish(msgify_joints(arm.wire_names, rest, now))

    node.create_timer(0.1, show)
    with contextlib.suppress(KeyboardInterrupt):
        rclpy.spin(node)
    return 0


main = cameras
