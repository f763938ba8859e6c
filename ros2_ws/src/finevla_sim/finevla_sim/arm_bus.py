"""Both emulated arms on their CAN buses: frames of clients in, fourteen joint commands and feedback out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla_sim.piper_device import EndPose, FrameSet, PiperDevice
from finevla_sim.piper_frames import Frame
from finevla_sim.socketcand_server import SocketcandServer


class ArmBus:
    """One socketcand port with one bus and one device per arm. Call it from one thread.

    Args:
        contract: The robot; its CAN channels name the buses.
        pose: Joints at power on, shape (14,), rad and m.
        clock: Nanoseconds since the epoch.
        port: TCP port on loopback; 0 takes any free one.
        frame_set: Which feedback the arms send.
        end_pose: Forward kinematics for the pose frames of the full set.
    """

    def __init__(
        self,
        contract: RobotContract,
        pose: NDArray[np.float64],
        clock: Callable[[], int],
        port: int = 0,
        frame_set: FrameSet = FrameSet.REDUCED,
        end_pose: EndPose | None = None,
    ) -> None:
        self._contract = contract
        self.devices = {
            side: PiperDevice(contract.arms[side], pose[contract.arm_slice(side)], frame_set, end_pose)
            for side in ARM_SIDES
        }
        self._by_channel = {contract.arms[side].can_channel: self.devices[side] for side in ARM_SIDES}
        self._server = SocketcandServer(self._by_channel, self._receive, clock, port=port)

    @property
    def port(self) -> int:
        """The TCP port in use."""
        return self._server.port

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handles everything that clients sent; waits at most `timeout_s` for it."""
        self._server.poll(timeout_s)

    def commands(self, dt_s: float) -> NDArray[np.float64]:
        """Lets both arms follow their targets for `dt_s`; returns the joint commands, shape (14,)."""
        return np.concatenate([self.devices[side].advance(dt_s) for side in ARM_SIDES])

    def feedback(
        self, measured: NDArray[np.float64], stamp_ns: int, velocity: NDArray[np.float64] | None = None
    ) -> None:
        """Sends the feedback of one tick of 200 Hz, measured at `stamp_ns` (ns since the epoch)."""
        for side in ARM_SIDES:
            part = self._contract.arm_slice(side)
            speed = None if velocity is None else velocity[part]
            frames = self.devices[side].feedback(measured[part], speed)
            self._server.send(self._contract.arms[side].can_channel, frames, stamp_ns)

    def close(self) -> None:
        """Closes the port."""
        self._server.close()

    def _receive(self, bus: str, can_id: int, data: bytes) -> Sequence[Frame]:
        return self._by_channel[bus].receive(can_id, data)
