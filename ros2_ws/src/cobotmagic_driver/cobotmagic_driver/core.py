"""The driver without ROS, threads or CAN: feedback and commands in, fourteen targets per tick out."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.core_types import CoreSettings, Request
from cobotmagic_driver.homing import HomeMotion
from cobotmagic_driver.safety import Limiter
from cobotmagic_driver.state_machine import HOME, LEADER, POLICY, POWERED, State, StateMachine
from cobotmagic_driver.trajectory import ChunkFollower, LeaderFollower
from cobotmagic_driver.watch import KnownArm, Trouble, find_trouble
from finevla.contract.frame import NS_PER_S, ActionChunk
from finevla.contract.robot import ARM_SIDES, RobotContract


class DriverCore:
    """Decides at every tick what both arms shall do. Call it from one thread at a time."""

    def __init__(self, contract: RobotContract, settings: CoreSettings) -> None:
        self._contract = contract
        self._settings = settings
        self.machine = StateMachine()
        self.limiter = Limiter(contract, settings.safety)
        self._follower = ChunkFollower(settings.blend_s, settings.chunk_timeout_s)
        self._arms: dict[str, KnownArm] = {}
        self._leader: dict[str, LeaderFollower] = {}
        self._pose = contract.home.copy()
        self._home: HomeMotion | None = None
        self._home_elapsed_s = 0.0
        self._home_request: Request | None = None
        self._keep_grippers = False
        self._had_torque = False
        self._enable_request: Request | None = None

    # Feedback -----------------------------------------------------------------------------------

    def on_feedback(self, side: str, feedback: ArmFeedback, now_ns: int) -> None:
        """Takes the newest sample of one arm."""
        self._arms[side] = KnownArm(feedback, now_ns)
        if self.machine.state == State.DISCONNECTED and len(self._arms) == len(ARM_SIDES):
            self.machine.connected()

    def feedback(self, side: str) -> ArmFeedback | None:
        """The newest feedback of one arm."""
        arm = self._arms.get(side)
        return None if arm is None else arm.feedback

    def feedback_age_s(self, side: str, now_ns: int) -> float:
        """Seconds since the newest sample of one arm; negative: none yet."""
        arm = self._arms.get(side)
        return -1.0 if arm is None else (now_ns - arm.received_ns) / NS_PER_S

    def measured(self) -> NDArray[np.float64]:
        """Measured joints of both arms, shape (14,), rad and m."""
        return np.concatenate([self._arms[side].feedback.values for side in ARM_SIDES])

    def _measured_with_grip(self) -> NDArray[np.float64]:
        """Measured arms, but grippers as they were commanded last, so that they keep their grip."""
        pose = self.measured()
        for index in self._contract.grippers.values():
            pose[index] = self.limiter.command[index]
        return pose

    def disconnect(self) -> None:
        """The channels were closed."""
        self._abort("the driver was shut down")
        self._had_torque = False
        self._arms.clear()
        self._leader.clear()
        self._follower.clear()
        self.machine.disconnected()

    # Commands -----------------------------------------------------------------------------------

    def on_chunk(self, chunk: ActionChunk, now_ns: int) -> str:
        """Takes a chunk of the policy.

        Returns:
            The reason code of a refusal, which is counted, or an empty string.
        """
        code = self._refuse_chunk(chunk, now_ns)
        if not code and chunk.horizon == 0:
            if self.machine.source != HOME:
                self._hold("hold_commanded", "the policy asked for a hold")
            return ""
        if not code:
            was = self.machine.state, self.machine.instruction_id
            code = self.machine.offer_chunk(chunk.instruction_id)
            if not code:
                self._follow(chunk, was, now_ns)
        if code:
            self.limiter.counts[code] += 1
        return code

    def _refuse_chunk(self, chunk: ActionChunk, now_ns: int) -> str:
        if self._settings.command_source != POLICY:
            return "not_the_source"
        if chunk.horizon == 0:
            return ""
        code = self.limiter.refuse_chunk(chunk) or self._follower.refuse(chunk, now_ns)
        if code or not self._is_following() or chunk.instruction_id != self.machine.instruction_id:
            return code
        # Compared with what is commanded, not with the chunk before: behind a soft start the arms lag.
        jump = self.limiter.is_jump(chunk.sample(now_ns), self.limiter.command)
        return "jump_rejected" if jump else ""

    def _is_following(self) -> bool:
        return (
            self.machine.state == State.ACTIVE
            and self.machine.source == POLICY
            and self._follower.newest is not None
        )

    def _follow(self, chunk: ActionChunk, was: tuple[State, str], now_ns: int) -> None:
        if was == (State.ACTIVE, chunk.instruction_id):
            self._follower.accept(chunk, now_ns)
            return
        # The first target tells whether the chunk was made for this pose, however late it comes.
        self.limiter.begin(chunk.targets[0], self.measured())
        self._follower.begin(self.limiter.command, chunk, now_ns)

    def on_leader(self, side: str, values: NDArray[np.float64], now_ns: int) -> str:
        """Takes joints of one leader arm, shape (7,), rad and m; see `on_chunk` for the answer."""
        if self._settings.command_source != LEADER:
            return "not_the_source"
        leader = self._leader.setdefault(side, LeaderFollower())
        timeout_ns = round(self._settings.leader_timeout_s * NS_PER_S)
        following = self.machine.state == State.ACTIVE and self.machine.source == LEADER
        if leader.newest is not None and (following or leader.age_ns(now_ns) <= timeout_ns):
            leap = float(np.abs(values - leader.newest)[:-1].max())
            if leap > self._settings.safety.jump_rad:
                self.limiter.counts["jump_rejected"] += 1
                return "jump_rejected"
        leader.push(values, now_ns)
        if self._leader_age_ns(now_ns) > timeout_ns:
            return ""
        was = self.machine.state
        code = self.machine.offer_leader()
        if not code and was != State.ACTIVE:
            self.limiter.begin(self._leader_target(now_ns), self.measured())
        return code

    def _leader_age_ns(self, now_ns: int) -> float:
        if len(self._leader) < len(ARM_SIDES):
            return math.inf
        return max(leader.age_ns(now_ns) for leader in self._leader.values())

    def _leader_target(self, now_ns: int) -> NDArray[np.float64]:
        return np.concatenate([self._leader[side].target(now_ns) for side in ARM_SIDES])

    # The operator -------------------------------------------------------------------------------

    def enable(self, now_ns: int) -> Request:
        """Wants torque on both arms; the caller asks the backends while `enabling` is true."""
        request = Request(now_ns)
        refusal = self.machine.refuse_enable() or self._unfit(now_ns)
        if refusal:
            request.finish(False, refusal)
            return request
        self._abort("a new enable was asked for")
        # What a gripper holds must not fall because the operator enables again.
        self._keep_grippers = self._had_torque and all(a.feedback.enabled for a in self._arms.values())
        self._hold("enabling", "the motors are being switched on")
        self._enable_request = request
        return request

    @property
    def enabling(self) -> bool:
        """True while the backends shall ask for torque."""
        return self._enable_request is not None

    def hold(self) -> None:
        """The operator wants no motion; the motors keep holding."""
        self._abort("a hold was asked for")
        self._hold("disabled", "enable was set to false: the motors hold, call enable to go on")

    def release(self) -> None:
        """Nobody ticks any more: the pose may change unseen, so an enable must come before motion."""
        self._abort("the driver was deactivated")
        self._hold("deactivated", "the driver was deactivated")
        if self.machine.state in POWERED:
            self.machine.connected()

    def fail(self, reason: str) -> None:
        """The loop that ticks has broken; the arms keep their last target."""
        self._abort(reason)
        self.machine.fault("driver_loop_failed", reason)

    def home(self, now_ns: int) -> Request:
        """Wants the grippers open and both arms at the contract's home."""
        request = Request(now_ns)
        refusal = "an enable is under way" if self.enabling else self.machine.start_home()
        if refusal:
            request.finish(False, refusal)
            return request
        self._abort("a new home was asked for", keep_enable=True)
        speed = np.full(self._contract.dof, self._settings.home_speed_rad_s)
        grippers = tuple(self._contract.grippers.values())
        speed[list(grippers)] = self._settings.home_speed_m_s
        self.limiter.begin(self.limiter.command, self.limiter.command)
        # Ahead of the limiter the way home would end before the arms are there.
        speed = np.minimum(speed, self.limiter.velocity)
        self._home = HomeMotion(self.limiter.command, self._contract.home, speed, grippers)
        self._home_elapsed_s = 0.0  # counted in ticks, so that a stall does not make the arms catch up
        self._home_request = request
        return request

    def stop(self) -> str:
        """Stops, latched; the caller tells the backends."""
        self._abort("the driver was stopped")
        return self.machine.stop()

    def reset(self) -> str:
        """Ends a stop; the caller tells the backends."""
        self._had_torque = False
        return self.machine.reset()

    # The tick -----------------------------------------------------------------------------------

    def tick(self, now_ns: int, dt_s: float) -> NDArray[np.float64] | None:
        """Advances by `dt_s`.

        Returns:
            Fourteen targets to send now, rad and m, or None where nothing may be sent.
        """
        if self.machine.state == State.DISCONNECTED:
            return None
        self._watch(now_ns)
        if self._enable_request is not None:
            self._continue_enable(self._enable_request, now_ns)
        if self.machine.state not in POWERED or self.enabling:
            return None
        self._home_elapsed_s += dt_s
        command = self.limiter.step(self._target(now_ns), dt_s)
        if command is None:
            self._hold("non_finite", "a command was not finite and was not sent")
            return self.limiter.step(self._pose, dt_s)
        return command

    def _target(self, now_ns: int) -> NDArray[np.float64]:
        source = self.machine.source
        if source == POLICY:
            if self._follower.is_stale(now_ns):
                self._hold("stale_chunk", "no new action chunk arrived in time")
            else:
                return self._follower.target(now_ns)
        elif source == LEADER:
            if self._leader_age_ns(now_ns) > self._settings.leader_timeout_s * NS_PER_S:
                self._hold("stale_leader", "a leader arm has gone silent")
            else:
                return self._leader_target(now_ns)
        elif source == HOME:
            return self._home_target()
        return self._pose

    def _home_target(self) -> NDArray[np.float64]:
        if self._home is None or self._home_request is None:
            raise RuntimeError("the source is home but there is no way home")
        elapsed = self._home_elapsed_s
        target = self._home.target(elapsed)
        if elapsed >= self._home.duration_s:
            off = np.abs(self.measured() - self._contract.home)
            arms = np.delete(off, list(self._contract.grippers.values()))
            grippers = off[list(self._contract.grippers.values())]
            there = (
                arms.max() <= self._settings.home_tolerance_rad
                and grippers.max() <= self._settings.home_tolerance_m
            )
            if there or elapsed >= self._home.duration_s + self._settings.home_settle_s:
                return self._end_home(self._home_request, there, f"{arms.max():.3f} rad")
        return target

    def _end_home(self, request: Request, there: bool, off: str) -> NDArray[np.float64]:
        if there:
            request.finish(True, "the arms are home")
            self._hold("home_reached", request.message)
            self._pose = self._contract.home.copy()
        else:
            self._hold("home_missed", f"an arm is still {off} away from home: look for what blocks it")
        return self._pose

    def _continue_enable(self, request: Request, now_ns: int) -> None:
        if all(arm.feedback.enabled for arm in self._arms.values()):
            pose = self._measured_with_grip() if self._keep_grippers else self.measured()
            self.limiter.reset(pose)
            self._pose = self.limiter.command
            self._follower.clear()
            self._leader.clear()
            self.machine.enabled()
            self._had_torque = True
            request.finish(True, "the motors of both arms hold; waiting for commands")
            self._enable_request = None
        elif now_ns - request.started_ns > self._settings.enable_timeout_s * NS_PER_S:
            dark = [side for side, arm in self._arms.items() if not arm.feedback.enabled]
            request.finish(
                False,
                f"the motors of the {' and '.join(dark)} arm did not report torque within "
                f"{self._settings.enable_timeout_s:g} s: check power and the emergency stop button",
            )
            self._enable_request = None
            self.machine.fault("enable_failed", request.message)

    def _watch(self, now_ns: int) -> None:
        trouble = self._trouble(now_ns)
        if trouble is None:
            return
        code, reason = trouble.code, trouble.reason
        if self.machine.state in POWERED or (code == "feedback_lost" and not self.enabling):
            self._abort(reason)
            self.machine.fault(code, reason)

    def _unfit(self, now_ns: int) -> str:
        trouble = self._trouble(now_ns)
        return "" if trouble is None or trouble.code == "motors_off" else trouble.reason

    def _trouble(self, now_ns: int) -> Trouble | None:
        return find_trouble(self._arms, now_ns, self._settings.feedback_timeout_s, self.enabling)

    def _hold(self, code: str, reason: str) -> None:
        """Holds at the measured pose; grippers keep their last command so that nothing is dropped."""
        if self.machine.state not in POWERED:
            return
        moving = self.machine.state == State.ACTIVE
        self.machine.hold(code, reason)
        if moving:
            self._pose = self._measured_with_grip()
        self._follower.clear()
        if self._home_request is not None:
            self._home_request.finish(False, reason)
        self._home, self._home_request = None, None

    def _abort(self, reason: str, keep_enable: bool = False) -> None:
        if self._home_request is not None:
            self._home_request.finish(False, reason)
        self._home, self._home_request = None, None
        if self._enable_request is not None and not keep_enable:
            self._enable_request.finish(False, reason)
            self._enable_request = None

    # For the state message ----------------------------------------------------------------------

    def chunk_age_s(self, now_ns: int) -> float:
        """Seconds since the newest chunk arrived; negative: none is followed."""
        return self._follower.age_s(now_ns)

    @property
    def interventions(self) -> Mapping[str, int]:
        """How often each limit acted since the start."""
        return dict(self.limiter.counts)
