"""Both emulated arms on their CAN buses: frames of clients in, fourteen joint commands and feedback out."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.contract.robot import ARM_SIDES, RobotContract
from finevla_sim.can_port import Transport, open_port
from finevla_sim.faulty_arm import FaultyArm
from finevla_sim.piper_device import EndPose, FrameSet, PiperDevice
from finevla_sim.piper_frames import Frame
from finevla_sim.socketcand_server import SocketcandServer


class ArmBus:
    """One CAN port with one bus and one device per arm. Call it from one thread.

    Faults (`arms[side].inject`, `.clear`), `disconnect` and `reconnect` may come from any thread.

    Args:
        contract: The robot; its CAN channels name the buses.
        pose: Joints at power on, shape (14,), rad and m.
        clock: Nanoseconds since the epoch.
        port: TCP port on loopback; 0 takes any free one. For socketcand only.
        frame_set: Which feedback the arms send.
        end_pose: Forward kinematics for the pose frames of the full set.
        transport: How clients reach the arms.
        seed: Of what faults do by chance.
        options: Further arguments of the transport, see `open_port`.

    Attributes:
        devices: The arms by side, `left` and `right`.
        arms: The same arms with their faults: what their buses see.
    """

    def __init__(
        self,
        contract: RobotContract,
        pose: NDArray[np.float64],
        clock: Callable[[], int],
        port: int = 0,
        frame_set: FrameSet = FrameSet.REDUCED,
        end_pose: EndPose | None = None,
        transport: Transport | str = Transport.SOCKETCAND,
        seed: int = 0,
        **options: int,
    ) -> None:
        self._contract = contract
        self.devices = {
            side: PiperDevice(contract.arms[side], pose[contract.arm_slice(side)], frame_set, end_pose)
            for side in ARM_SIDES
        }
        chances = np.random.default_rng(seed).spawn(len(ARM_SIDES))
        self.arms = {
            side: FaultyArm(self.devices[side], clock, rng)
            for side, rng in zip(ARM_SIDES, chances, strict=True)
        }
        self._by_channel = {contract.arms[side].can_channel: self.arms[side] for side in ARM_SIDES}
        self._port = open_port(transport, self._by_channel, self._receive, clock, port, **options)

    @property
    def port(self) -> int:
        """The TCP port in use; 0 if clients come another way than by socketcand."""
        return self._port.port if isinstance(self._port, SocketcandServer) else 0

    def address(self, side: str) -> str:
        """The `channel` by which python-can opens the bus of one arm."""
        return self._port.address(self._contract.arms[side].can_channel)

    def poll(self, timeout_s: float = 0.0) -> None:
        """Handles everything that clients sent; waits at most `timeout_s` for it."""
        self._port.poll(timeout_s)

    def commands(self, dt_s: float) -> NDArray[np.float64]:
        """Lets both arms follow their targets for `dt_s`; returns the joint commands, shape (14,)."""
        return np.concatenate([self.arms[side].advance(dt_s) for side in ARM_SIDES])

    def feedback(
        self, measured: NDArray[np.float64], stamp_ns: int, velocity: NDArray[np.float64] | None = None
    ) -> None:
        """Sends the feedback of one tick of 200 Hz, measured at `stamp_ns` (ns since the epoch)."""
        for side in ARM_SIDES:
            part = self._contract.arm_slice(side)
            speed = None if velocity is None else velocity[part]
            frames = self.arms[side].feedback(measured[part], speed)
            self._port.send(self._contract.arms[side].can_channel, frames, stamp_ns)

    def disconnect(self, side: str) -> None:
        """Drops all clients of one arm's bus and takes no new ones."""
        self._port.disconnect(self._contract.arms[side].can_channel)

    def reconnect(self, side: str) -> None:
        """Takes clients of one arm's bus again, at the same address."""
        self._port.reconnect(self._contract.arms[side].can_channel)

    def close(self) -> None:
        """Closes the port."""
        self._port.close()

    def _receive(self, bus: str, can_id: int, data: bytes) -> Sequence[Frame]:
        return self._by_channel[bus].receive(can_id, data)
