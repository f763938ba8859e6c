"""The states of the driver and every way between them. Pure: no clock, no arms, no ROS.

Nothing here resumes motion by itself: HOLD is left by a chunk that follows a new instruction or by
an enable, FAULT by an enable, STOPPED by a reset.
"""

from __future__ import annotations

from enum import IntEnum


class State(IntEnum):
    """Numbers as in `finevla_msgs/DriverState`."""

    DISCONNECTED = 0
    CONNECTED = 1
    ENABLED = 2
    ACTIVE = 3
    HOLD = 4
    STOPPED = 5
    FAULT = 6


POLICY, LEADER, JOINTS, TRAJECTORY = "policy", "leader", "joints", "trajectory"
HOME, PARK = "home", "park"
COMMAND_SOURCES = (POLICY, LEADER, JOINTS, TRAJECTORY)
"""Who may command the arms from outside; one of them at a time is selected."""
GOING = (HOME, PARK)
"""Motions of the driver itself, at the operator's word."""

POWERED = (State.ENABLED, State.ACTIVE, State.HOLD)
"""States in which the motors hold and targets are sent."""


class StateMachine:
    """Holds the state, why it was entered, and who commands.

    Every request answers with an empty string, or with the reason of its refusal. `instruction_id`
    names the instruction that is executed or, after its end, the last one.
    """

    def __init__(self) -> None:
        self.instruction_id = ""
        self._ended: set[str] = set()
        self.disconnected()

    def _enter(self, state: State, code: str, reason: str, source: str = "") -> None:
        self.state, self.reason_code, self.reason, self.source = state, code, reason, source

    def connected(self) -> None:
        """Feedback of both arms arrives."""
        self._enter(State.CONNECTED, "connected", "feedback arrives; call enable to switch the motors on")

    def disconnected(self) -> None:
        """The channels were closed."""
        self._ended.clear()
        self.instruction_id = ""
        self._enter(State.DISCONNECTED, "not_connected", "the driver is not connected to the arms")

    def refuse_enable(self) -> str:
        """Why an enable is refused now; empty: it is not."""
        if self.state == State.STOPPED:
            return "the driver is stopped: call reset_stop first"
        if self.state == State.DISCONNECTED:
            return "the driver is not connected: configure and activate it first"
        return ""

    def enabled(self) -> None:
        """All motors hold torque, at the operator's wish."""
        self.instruction_id = ""
        self._ended.clear()
        self._enter(State.ENABLED, "enabled", "the motors hold; waiting for commands")

    def offer_chunk(self, instruction_id: str, source: str = POLICY) -> str:
        """A chunk or trajectory that follows `instruction_id` wants to move the arms."""
        if not instruction_id:
            return "no_instruction_id"
        if self.state not in POWERED:
            return "not_enabled"
        if self.source in GOING:
            return "homing"
        if instruction_id in self._ended:
            return "instruction_ended"
        if instruction_id != self.instruction_id:
            self._end_instruction()
            self.instruction_id = instruction_id
        if self.state != State.ACTIVE:
            what = "instruction" if source == POLICY else "trajectory"
            self._enter(State.ACTIVE, "", f"following {what} {instruction_id}", source)
        return ""

    def offer_stream(self, source: str = LEADER) -> str:
        """The leader arms, or a stream of joint commands, want to move the arms."""
        if self.state == State.ACTIVE and self.source == source:
            return ""
        if self.state != State.ENABLED:
            return "not_enabled"
        what = "the leader arms" if source == LEADER else "joint commands"
        self._enter(State.ACTIVE, "", f"following {what}", source)
        return ""

    def hold(self, code: str, reason: str) -> None:
        """Motion ends here; the arms keep their pose."""
        if self.state in POWERED:
            self._end_instruction()
            self._enter(State.HOLD, code, reason)

    def start_going(self, where: str) -> str:
        """The operator wants the arms home, or parked."""
        if self.state not in POWERED:
            return f"the arms cannot move in state {self.state.name}: {self.reason}"
        self._end_instruction()
        code, text = ("homing", "moving home") if where == HOME else ("parking", "moving to the parking pose")
        self._enter(State.ACTIVE, code, text, where)
        return ""

    def fault(self, code: str, reason: str) -> None:
        """Something is wrong with an arm; nothing is sent any more."""
        if self.state not in (State.STOPPED, State.DISCONNECTED, State.FAULT):
            self._end_instruction()
            self._enter(State.FAULT, code, reason)

    def stop(self) -> str:
        """The operator stops everything, latched."""
        if self.state == State.DISCONNECTED:
            return "the driver is not connected to the arms"
        self._end_instruction()
        self._enter(State.STOPPED, "stopped", "stopped by the operator; call reset_stop, twice, to go on")
        return ""

    def reset(self) -> str:
        """The operator ends a stop; the motors are off now."""
        if self.state != State.STOPPED:
            return f"there is nothing to reset in state {self.state.name}"
        self._enter(State.CONNECTED, "reset", "reset after a stop; the motors are off, call enable")
        return ""

    def _end_instruction(self) -> None:
        if self.instruction_id:
            self._ended.add(self.instruction_id)
