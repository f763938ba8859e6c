"""Commands from outside: who is listened to, what is refused, what is followed. Pure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.safety import Limiter
from cobotmagic_driver.sources import JointPath, PolicySource, Source, StreamSource, TrajectorySource
from cobotmagic_driver.state_machine import (
    COMMAND_SOURCES,
    GOING,
    JOINTS,
    LEADER,
    POLICY,
    TRAJECTORY,
    State,
    StateMachine,
)
from finevla.contract.frame import NS_PER_S, ActionChunk
from finevla.contract.robot import ARM_SIDES, RobotContract

Vector = NDArray[np.float64]


class Commands:
    """The arbiter: one source is selected, and only its commands are looked at.

    Every method that takes a command answers with the reason code of a refusal, which is counted, or
    with an empty string.

    Args:
        contract: The robot.
        settings: Times; `command_source` is selected first.
        machine: States.
        limiter: Limits; counts what is refused.
        measured: Tells where the arms are, shape (14,).
        hold: Ends motion, with reason code and sentence.
    """

    def __init__(
        self,
        contract: RobotContract,
        settings: CoreSettings,
        machine: StateMachine,
        limiter: Limiter,
        measured: Callable[[], Vector],
        hold: Callable[[str, str], None],
    ) -> None:
        self._contract, self._settings = contract, settings
        self._machine, self._limiter = machine, limiter
        self._measured, self._hold = measured, hold
        self._policy = PolicySource(settings)
        self._streams = {name: StreamSource(name, settings.leader_timeout_s) for name in (LEADER, JOINTS)}
        self._trajectory = TrajectorySource()
        self.sources: dict[str, Source] = {
            POLICY: self._policy,
            **self._streams,
            TRAJECTORY: self._trajectory,
        }
        self.selected = settings.command_source
        self._paths = 0

    def select(self, name: str) -> str:
        """Listens to another source from now on; answers with the reason of a refusal."""
        if name not in COMMAND_SOURCES:
            return f"there is no source {name!r}: choose one of {', '.join(COMMAND_SOURCES)}"
        if self._machine.source in GOING:
            return "the arms are on a way of their own: wait for its end, or stop them"
        self.selected = name
        self.clear()
        return ""

    def clear(self) -> None:
        """Forgets what every source has sent."""
        for source in self.sources.values():
            source.clear()

    def count(self, code: str) -> str:
        """Counts a refusal; returns its code."""
        if code:
            self._limiter.interventions.note(code)
        return code

    def chunk_age_s(self, now_ns: int) -> float:
        """Seconds since the newest chunk arrived; negative: none is followed."""
        return self._policy.follower.age_s(now_ns)

    def _refuse_stamp(self, stamp_ns: int, age_s: float, now_ns: int) -> str:
        """Why a command with this stamp is too old, too new, or without one."""
        if stamp_ns == 0:
            return "" if self._settings.accept_unstamped else "unstamped_command"
        if now_ns - stamp_ns > age_s * NS_PER_S:
            return "old_command"
        ahead = stamp_ns - now_ns > self._settings.clock_ahead_s * NS_PER_S
        return "future_command" if ahead else ""

    # A policy's chunks --------------------------------------------------------------------------

    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> str:
        """Takes a chunk of the policy; an empty one asks for a hold."""
        code = self._refuse_chunk(chunk, now_ns)
        if not code and chunk.horizon == 0:
            if self._machine.source not in GOING:
                self._hold("hold_commanded", "the policy asked for a hold")
            return ""
        if not code:
            was = self._machine.state, self._machine.instruction_id
            code = self._machine.offer_chunk(chunk.instruction_id)
            if not code:
                self._follow(chunk, was, now_ns)
        return self.count(code)

    def _refuse_chunk(self, chunk: ActionChunk, now_ns: int) -> str:
        if self.selected != POLICY:
            return "not_the_source"
        if chunk.horizon == 0:
            return ""
        follower = self._policy.follower
        code = (
            self._limiter.refuse_chunk(chunk)
            or follower.refuse(chunk, now_ns)
            or self._refuse_stamp(chunk.observation_stamp_ns, self._settings.command_age_s, now_ns)
        )
        following = self._machine.state == State.ACTIVE and self._machine.source == POLICY
        if code or not following or chunk.instruction_id != self._machine.instruction_id:
            return code
        # Compared with what is commanded, not with the chunk before: behind a soft start the arms lag.
        jump = self._limiter.is_jump(chunk.sample(now_ns), self._limiter.command)
        return "jump_rejected" if jump else ""

    def _follow(self, chunk: ActionChunk, was: tuple[State, str], now_ns: int) -> None:
        follower = self._policy.follower
        if was == (State.ACTIVE, chunk.instruction_id):
            follower.accept(chunk, now_ns)
            return
        # The first target tells whether the chunk was made for this pose, however late it comes.
        self._limiter.begin(chunk.targets[0], self._measured())
        follower.begin(chunk, now_ns)

    # Streams ------------------------------------------------------------------------------------

    def on_leader(self, side: str, values: Vector, stamp_ns: int, now_ns: int) -> str:
        """Takes joints of one leader arm, shape (7,), rad and m, measured at `stamp_ns`."""
        if self.selected != LEADER:
            return self.count("not_the_source")
        return self.count(self._on_stream(LEADER, {side: values}, stamp_ns, now_ns))

    def on_joints(self, values: Vector, stamp_ns: int, now_ns: int) -> str:
        """Takes a joint command for both arms, shape (14,), rad and m, made at `stamp_ns`."""
        if self.selected != JOINTS:
            return self.count("not_the_source")
        parts = {side: values[self._contract.arm_slice(side)] for side in ARM_SIDES}
        return self.count(self._on_stream(JOINTS, parts, stamp_ns, now_ns))

    def _on_stream(self, name: str, parts: dict[str, Vector], stamp_ns: int, now_ns: int) -> str:
        code = self._refuse_stamp(stamp_ns, self._settings.leader_timeout_s, now_ns)
        if code:
            return code
        stream = self._streams[name]
        following = self._machine.state == State.ACTIVE and self._machine.source == name
        for side, values in parts.items():
            newest = stream.newest(side)
            if newest is not None and (following or stream.is_fresh(side, now_ns)):
                leap = float(np.abs(values - newest)[:-1].max())
                if leap > self._settings.safety.jump_rad:
                    return "jump_rejected"
        for side, values in parts.items():
            stream.push(side, values, now_ns)
        if stream.ending(now_ns) is not None:
            return ""  # the other arm has not spoken yet
        was = self._machine.state
        code = self._machine.offer_stream(name)
        if not code and was != State.ACTIVE:
            self._limiter.begin(stream.target(now_ns), self._measured())
        return code

    # Trajectories -------------------------------------------------------------------------------

    def on_trajectory(self, path: JointPath, now_ns: int) -> str:
        """Takes a planned trajectory; it replaces the one that is followed."""
        if self.selected != TRAJECTORY:
            return self.count("not_the_source")
        code = self._refuse_path(path, now_ns)
        if not code:
            code = self._machine.offer_chunk(f"trajectory-{self._paths + 1}", TRAJECTORY)
        if not code:
            self._paths += 1
            command = self._limiter.command
            self._limiter.begin(path.as_chunk_rows(command)[0], self._measured())
            self._trajectory.begin(path, command, now_ns)
        return self.count(code)

    def _refuse_path(self, path: JointPath, now_ns: int) -> str:
        if not np.isfinite(path.positions).all():
            return "non_finite"
        if path.end_ns < now_ns:
            return "expired_chunk"
        ahead = path.start_ns - now_ns
        if ahead > self._settings.command_age_s * NS_PER_S:
            return "future_command"
        if len(path.times_s) > 1:
            speed = np.abs(np.diff(path.positions, axis=0) / np.diff(path.times_s)[:, None]).max(axis=0)
            if self._limiter.is_too_fast(speed, path.columns):
                return "jump_rejected"
        return ""
