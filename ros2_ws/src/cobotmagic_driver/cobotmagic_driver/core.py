"""The driver without ROS, threads or CAN: feedback and commands in, fourteen targets per tick out."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from cobotmagic_driver.arms import Arms
from cobotmagic_driver.backend import ArmFeedback
from cobotmagic_driver.commands import Commands
from cobotmagic_driver.core_types import Command, CoreSettings, Request
from cobotmagic_driver.enabling import Enabling
from cobotmagic_driver.homing import Going
from cobotmagic_driver.safety import Limiter
from cobotmagic_driver.sources import Source
from cobotmagic_driver.state_machine import GOING, HOME, POWERED, State, StateMachine
from cobotmagic_driver.watch import FollowWatch, Trouble
from finevla.contract.robot import ARM_SIDES, RobotContract


class DriverCore:
    """Decides at every tick what both arms shall do. Call it from one thread at a time."""

    def __init__(self, contract: RobotContract, settings: CoreSettings) -> None:
        self._contract = contract
        self._settings = settings
        self.machine = StateMachine()
        self.limiter = Limiter(contract, settings.safety)
        self.arms = Arms(settings, self.limiter.interventions)
        self.commands = Commands(
            contract, settings, self.machine, self.limiter, self.arms.measured, self._hold
        )
        self._pose: NDArray[np.float64] | None = contract.home.copy()
        self._settled_s = 0.0
        self._going: Going | None = None
        self._lost: set[str] = set()
        self._had_torque = False
        self._enabling: Enabling | None = None
        self._arm_joints = np.flatnonzero(~contract.is_gripper)
        self._follow_watch = FollowWatch(settings.following_error_rad, settings.following_time_s)

    # Feedback -----------------------------------------------------------------------------------

    def on_feedback(self, side: str, feedback: ArmFeedback, now_ns: int) -> None:
        """Takes the newest sample of one arm."""
        self.arms.take(side, feedback, now_ns)
        if self.machine.state == State.DISCONNECTED and self.arms.both_known:
            self.machine.connected()

    def _measured_with_grip(self) -> NDArray[np.float64]:
        """Measured arms, but grippers as they were commanded last, so that they keep their grip."""
        pose = self.arms.measured()
        for index in self._contract.grippers.values():
            pose[index] = self.limiter.command[index]
        return pose

    def disconnect(self) -> None:
        """The channels were closed."""
        self._abort("the driver was shut down")
        self._had_torque = False
        self.arms.clear()
        self.commands.clear()
        self.machine.disconnected()

    # The operator -------------------------------------------------------------------------------

    def enable(self, now_ns: int) -> Request:
        """Wants torque on both arms; the caller asks the backends while `enabling` is true."""
        request = Request(now_ns)
        refusal = self.machine.refuse_enable() or self._unfit(now_ns)
        if refusal:
            request.finish(False, refusal)
            return request
        self._abort("a new enable was asked for")
        self._hold("enabling", "the motors are being switched on")
        self._enabling = Enabling(request, self._had_torque and not self.arms.dark)
        return request

    @property
    def enabling(self) -> bool:
        """True while the backends shall ask for torque."""
        return self._enabling is not None

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
        return self.go(HOME, self._contract.home, now_ns)

    def go(self, where: str, goal: NDArray[np.float64], now_ns: int) -> Request:
        """Wants both arms at a pose, grippers first: HOME, or PARK and where that is, shape (14,)."""
        request = Request(now_ns)
        refusal = "an enable is under way" if self.enabling else self.machine.start_going(where)
        if refusal:
            request.finish(False, refusal)
            return request
        self._abort(f"a new way {where} was asked for", keep_enable=True)
        command = self.limiter.command
        self.limiter.begin(command, command)
        self._going = Going(where, request, goal, self._contract, self._settings, self.arms.measured)
        return request

    def stop(self) -> str:
        """Stops, latched; the caller tells the backends."""
        self._abort("the driver was stopped")
        return self.machine.stop()

    def reset(self) -> str:
        """Ends a stop; the caller tells the backends."""
        refusal = self.machine.reset()
        if not refusal:
            self._had_torque = False
        return refusal

    def select_source(self, name: str) -> str:
        """Hands the arms over to another source; they hold, and go on as after any hold."""
        refusal = self.commands.select(name)
        if not refusal:
            self._hold("handed_over", f"the arms were handed over to the source {name}")
        return refusal

    # The tick -----------------------------------------------------------------------------------

    def tick(self, now_ns: int, dt_s: float) -> Command | None:
        """Advances by `dt_s`.

        Returns:
            What to send now, or None where nothing may be sent.
        """
        self.limiter.interventions.begin_tick(now_ns)
        if self.machine.state == State.DISCONNECTED:
            return None
        troubles = self._watch(now_ns)
        if self._enabling is not None:
            braking = self._brake_before_enable(troubles, dt_s)
            if braking is not None:
                return braking
            self._continue_enable(self._enabling, now_ns)
        if self.machine.state == State.FAULT:
            return self._wind_down(troubles, dt_s)
        if self.machine.state not in POWERED or self.enabling:
            return None
        self._watch_following(now_ns)
        return None if self.machine.state == State.FAULT else Command(self._step(now_ns, dt_s), ARM_SIDES)

    @property
    def is_moving(self) -> bool:
        """True while the arms are commanded to move."""
        return self.machine.state in POWERED and not self.limiter.motion.is_at_rest

    def _brake_before_enable(self, troubles: list[Trouble], dt_s: float) -> Command | None:
        """Arms that move under power come to rest before an enable lets them begin anew."""
        if self.machine.state == State.FAULT:
            return self._wind_down(troubles, dt_s)
        if self._had_torque and not self.arms.dark and self.is_moving:
            return Command(self.limiter.brake(dt_s), ARM_SIDES)
        return None

    def _watch_following(self, now_ns: int) -> None:
        """An arm that does not follow is held where it is; one that leaves its place by itself is a fault."""
        joints = self._arm_joints
        lost = self._follow_watch.lost(self.limiter.command[joints], self.arms.measured()[joints], now_ns)
        if lost is None:
            return
        self._follow_watch.reset()
        name = self._contract.joint_names[joints[lost]]
        reason = f"{name} is not where it was told to be: look for what blocks it, or for a bad encoder"
        if self.machine.state == State.ACTIVE:
            self._hold("not_following", reason)
            self._pose = self._measured_with_grip()  # at once: no further push against what blocks it
        else:
            self._abort(reason)
            self.machine.fault("not_following", f"{reason}; then enable")

    def _step(self, now_ns: int, dt_s: float) -> NDArray[np.float64]:
        source = self._source()
        ending = None if source is None else source.ending(now_ns)
        if ending is not None:
            there = self._going.goal if self._going is not None and self._going.request.success else None
            self._hold(ending.code, ending.reason)
            self._pose = self._pose if there is None else there
        elif source is not None:
            if self._going is not None:
                if not self._set_out(self._going):
                    return self.limiter.brake(dt_s)
                self._going.advance(dt_s)
            speed = None if self._going is None else self._going.speed
            command = self.limiter.step(source.target(now_ns), dt_s, speed, source.reach(now_ns))
            if command is not None:
                return command
            self._hold("non_finite", "a command was not finite and was not sent")
        return self._rest(dt_s)

    def _set_out(self, going: Going) -> bool:
        """True once the arms are at rest, from where a way of the driver's own begins."""
        if not going.begun and self.limiter.motion.is_at_rest:
            going.begin(self.limiter.command, self.limiter.velocity)
        return going.begun

    def _source(self) -> Source | None:
        if self.machine.state != State.ACTIVE:
            return None
        if self.machine.source in GOING:
            return self._going
        return self.commands.sources[self.machine.source]

    def _rest(self, dt_s: float) -> NDArray[np.float64]:
        """Brakes; after that the measured pose is held, so that an arm does not press on what blocks it."""
        if self._pose is not None:
            command = self.limiter.step(self._pose, dt_s)
            return self.limiter.brake(dt_s) if command is None else command
        command = self.limiter.brake(dt_s)
        self._settled_s = self._settled_s + dt_s if self.limiter.motion.is_at_rest else 0.0
        if self._settled_s > self._settings.hold_settle_s:
            self._pose = self._measured_with_grip()
        return command

    def _wind_down(self, troubles: list[Trouble], dt_s: float) -> Command | None:
        """In FAULT the arm in trouble is sent nothing more; the other brakes, then it is left alone too."""
        self._lost |= {trouble.side for trouble in troubles}
        well = tuple(side for side in self.arms.powered if side not in self._lost)
        if not well or not self._had_torque or self.limiter.motion.is_at_rest:
            return None
        return Command(self.limiter.brake(dt_s), well)

    def _continue_enable(self, enabling: Enabling, now_ns: int) -> None:
        if not self.arms.dark:
            self._go_on_from(enabling)
            enabling.request.finish(True, "the motors of both arms hold; waiting for commands")
            self._enabling = None
            return
        given_up = enabling.overdue(self.arms.dark, now_ns, self._settings)
        if given_up:
            enabling.request.finish(False, given_up)
            self._enabling = None
            self.machine.fault("enable_failed", given_up)

    def _go_on_from(self, enabling: Enabling) -> None:
        """The motors hold: everything that was commanded before is forgotten, but not where the arms are."""
        pose = self._measured_with_grip() if enabling.had_torque else self.arms.measured()
        self.limiter.reset(enabling.beginning(self.limiter.command, pose, self._lost, self._contract))
        self._follow_watch.reset()
        self._lost.clear()
        self._pose = pose
        self.commands.clear()
        self.machine.enabled()
        self._had_torque = True

    def _watch(self, now_ns: int) -> list[Trouble]:
        troubles = self.arms.troubles(now_ns, self.enabling)
        if troubles:
            code, reason = troubles[0].code, troubles[0].reason
            if self.machine.state in POWERED or (code == "feedback_lost" and not self.enabling):
                self._abort(reason)
                self.machine.fault(code, reason)
        return troubles

    def _unfit(self, now_ns: int) -> str:
        """Why the motors must not be switched on; empty: they may."""
        for trouble in self.arms.troubles(now_ns, self.enabling):
            if trouble.code != "motors_off":
                return trouble.reason
        outside = self.limiter.outside(self.arms.measured())
        if outside:
            return (
                f"{', '.join(outside)} far outside of the joint limits: move the arm inside by hand, or "
                "correct the zero of the joint, before the motors are switched on"
            )
        return ""

    def _hold(self, code: str, reason: str) -> None:
        """Brakes and holds the measured pose; grippers keep their last command so that nothing is dropped."""
        if self.machine.state not in POWERED:
            return
        if self.machine.state == State.ACTIVE:
            self._pose, self._settled_s = None, 0.0
        self.machine.hold(code, reason)
        self.commands.clear()
        self._end_going(reason)

    def _abort(self, reason: str, keep_enable: bool = False) -> None:
        self._end_going(reason)
        if self._enabling is not None and not keep_enable:
            self._enabling.request.finish(False, reason)
            self._enabling = None

    def _end_going(self, reason: str) -> None:
        if self._going is not None:
            self._going.request.finish(False, reason)
        self._going = None

    # For the state message ----------------------------------------------------------------------

    @property
    def interventions(self) -> Mapping[str, int]:
        """How often each limit acted since the start."""
        return dict(self.limiter.counts)
