"""Whatever comes in over every input of the driver, no frame leaves that violates a limit, and it lives.

The messages are real ROS messages and go through the node's own input code; only the transport is
left out. `FINEVLA_STREAMS` says how many streams are generated (`make test-slow`: 10,000).
"""

from __future__ import annotations

import math
import os
from types import SimpleNamespace

import numpy as np
import pytest
from arms import EPOCH_NS, TICK_NS, TICK_S, both
from cobotmagic_driver.codec import ArmCodec
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.guard import Guard, GuardSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.state_machine import COMMAND_SOURCES
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from finevla.contract import ARM_SIDES, load_contract

pytest.importorskip("finevla_msgs.msg")
from builtin_interfaces.msg import Duration, Time
from cobotmagic_driver.inputs import Inputs
from finevla_msgs.msg import ActionChunk
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

CONTRACT = load_contract()
STREAMS = int(os.environ.get("FINEVLA_STREAMS", "150"))
NAMES = list(CONTRACT.joint_names)
WIRE = list(CONTRACT.arms["left"].wire_names)
COUNT_RAD = math.radians(0.001)
HALF_COUNT = 0.5 * COUNT_RAD + 1e-12
GUARD = Guard(CONTRACT, GuardSettings())


class Rig:
    """The driver's loop and inputs on fake arms and a clock that the stream turns."""

    def __init__(self, source: str) -> None:
        self.now_ns = EPOCH_NS
        self.arms = both(CONTRACT, CONTRACT.home)
        core = DriverCore(CONTRACT, CoreSettings(command_source=source))
        self.loop = DriverLoop(core, self.arms, CONTRACT, lambda: self.now_ns)
        self.core = core
        self.segments: dict[str, list[list[np.ndarray]]] = {side: [[]] for side in ARM_SIDES}
        self.poses: list[np.ndarray] = []
        quiet = SimpleNamespace(warning=lambda *_, **__: None)
        node = SimpleNamespace(get_logger=lambda: quiet, create_subscription=lambda *_, **__: None)
        self.inputs = Inputs(node, CONTRACT, {}, lambda: self.loop)
        self.loop.connect(0.1)
        self.enable()

    def enable(self) -> None:
        self.loop.enable()
        self.tick()

    def tick(self) -> None:
        self.now_ns += TICK_NS
        before = {side: len(arm.sent) for side, arm in self.arms.items()}
        self.loop.tick(TICK_S)
        for side, segments in self.segments.items():
            if len(self.arms[side].sent) > before[side]:
                segments[-1].append(self.arms[side].sent[-1])
            elif segments[-1]:
                segments.append([])  # nothing was sent: what comes later begins anew
        if all(segments[-1] for segments in self.segments.values()):
            self.poses.append(np.concatenate([segments[-1][-1] for segments in self.segments.values()]))


def stamp(now_ns: int) -> Time:
    return Time(sec=now_ns // 10**9, nanosec=now_ns % 10**9)


WILD = st.floats(allow_nan=True, allow_infinity=True, width=64)
NUMBER = st.one_of(st.floats(-0.3, 0.3), st.floats(-0.3, 0.3), st.floats(-7.0, 7.0), WILD)
OFFSET_MS = st.one_of(st.just(0), st.integers(-50, 50), st.sampled_from([-10_000, -1500, 1500, 10_000]))


def names(of: list[str]):
    """The names themselves, mostly; else shuffled, one missing, one twice, one too many, or none."""
    return st.one_of(
        st.just(of),
        st.just(of),
        st.permutations(of),
        st.integers(0, len(of) - 1).map(lambda k: of[:k] + of[k + 1 :]),
        st.integers(0, len(of) - 1).map(lambda k: [*of, of[k]]),
        st.just([*of, "stranger"]),
        st.just([]),
    )


EVENT = st.one_of(
    st.tuples(st.just("tick"), st.integers(1, 40)),
    st.tuples(st.just("tick"), st.integers(1, 40)),
    st.tuples(st.just("storm"), st.integers(2, 8), st.lists(NUMBER, min_size=14, max_size=14)),
    st.tuples(
        st.just("chunk"),
        names(NAMES),
        st.lists(NUMBER, min_size=28, max_size=28),
        OFFSET_MS,
        st.sampled_from(["a", "b", ""]),
        st.sampled_from([0.1, 0.02, 0.0, math.nan, -1.0]),
        st.sampled_from([2, 2, 16, 0]),
    ),
    st.tuples(st.just("joints"), names(NAMES), st.lists(NUMBER, min_size=15, max_size=15), OFFSET_MS),
    st.tuples(
        st.just("leader"), names(WIRE), st.lists(NUMBER, min_size=15, max_size=15), OFFSET_MS, st.booleans()
    ),
    st.tuples(
        st.just("trajectory"),
        names(NAMES[:7]),
        st.lists(NUMBER, min_size=24, max_size=24),
        OFFSET_MS,
        st.lists(st.floats(-1.0, 3.0), min_size=1, max_size=3),
    ),
    st.tuples(st.just("scale"), WILD),
    st.tuples(st.just("source"), st.sampled_from([*COMMAND_SOURCES, "nobody"])),
    st.tuples(st.just("clock"), st.integers(-2000, 2000)),
    st.tuples(st.just("silence"), st.booleans(), st.integers(1, 60)),
    st.tuples(st.sampled_from(["stop", "reset", "home", "hold", "enable"])),
)


def around_home(values: list[float], wanted: int) -> list[float]:
    """Small numbers are steps away from home, so that some of the commands are followed."""
    home = np.resize(CONTRACT.home, wanted)
    return [float(home[k] + values[k % len(values)]) for k in range(wanted)]


def play(rig: Rig, event: tuple) -> None:
    kind, *facts = event
    if kind == "tick":
        for _ in range(facts[0]):
            rig.tick()
    elif kind == "storm":  # five commands a tick are 1 kHz
        for k in range(facts[0] * 5):
            part = [value * (k + 1) for value in around_home(facts[1], 14)]
            joints(rig, NAMES, part, 0)
            chunk(rig, NAMES, part * 2, 0, "storm", 0.1, 2)
            if k % 5 == 4:
                rig.tick()
    elif kind in ("chunk", "joints", "leader", "trajectory"):
        {"chunk": chunk, "joints": joints, "leader": leader, "trajectory": trajectory}[kind](rig, *facts)
    elif kind == "scale":
        rig.inputs._on_speed_scale(Float64(data=facts[0]))
    elif kind == "source":
        rig.loop.select_source(facts[0])
    elif kind == "clock":
        rig.now_ns += facts[0] * 1_000_000
    elif kind == "silence":
        arm = rig.arms["left" if facts[0] else "right"]
        arm.alive = False
        for _ in range(facts[1]):
            rig.tick()
        arm.alive = True
    elif kind == "stop":
        rig.inputs._on_stop(Bool(data=True))
    elif kind == "enable":
        rig.enable()
    else:
        getattr(rig.loop, kind)()


def chunk(rig, who, values, offset_ms, instruction, dt, horizon) -> None:
    rows = around_home(values, horizon * len(who)) if who else []
    at = stamp(rig.now_ns + offset_ms * 1_000_000)
    rig.inputs._on_chunk(
        ActionChunk(
            t0=at,
            dt=dt,
            names=who,
            horizon=horizon,
            targets=rows,
            observation_stamp=at,
            instruction_id=instruction,
        )
    )


def state(rig, who, values, offset_ms) -> JointState:
    message = JointState(name=who, position=values[: len(who)])
    message.header.stamp = stamp(rig.now_ns + offset_ms * 1_000_000)
    return message


def joints(rig, who, values, offset_ms) -> None:
    rig.inputs._on_joints(state(rig, who, around_home(values, max(len(who), 1)), offset_ms))


def leader(rig, who, values, offset_ms, left) -> None:
    rig.inputs._on_leader(
        "left" if left else "right", state(rig, who, around_home(values, max(len(who), 1)), offset_ms)
    )


def trajectory(rig, who, values, offset_ms, times) -> None:
    message = JointTrajectory(joint_names=who)
    message.header.stamp = stamp(rig.now_ns + offset_ms * 1_000_000)
    for at in times:
        whole = math.floor(at)
        point = JointTrajectoryPoint(positions=around_home(values, len(who)))
        point.time_from_start = Duration(sec=whole, nanosec=int((at - whole) * 1e9))
        message.points.append(point)
    rig.inputs._on_trajectory(message)


def require_limits(rig: Rig) -> None:
    limits = rig.core.limiter.limits
    for side in ARM_SIDES:
        part = CONTRACT.arm_slice(side)
        for segment in rig.segments[side]:
            if not segment:
                continue
            sent = np.array(segment)
            assert np.isfinite(sent).all()
            assert (sent >= CONTRACT.lower[part] - 1e-9).all()
            assert (sent <= CONTRACT.upper[part] + 1e-9).all()
            for order, limit in ((1, limits.velocity), (2, limits.acceleration), (3, limits.jerk)):
                if len(sent) > order:
                    rate = np.abs(np.diff(sent, order, axis=0)) / TICK_S**order
                    assert (rate <= limit[part] * (1 + 1e-6) + 1e-12 / TICK_S**order).all(), order
            require_frames(side, sent)
    if rig.poses:
        assert GUARD.clearances(np.array(rig.poses)[:: max(len(rig.poses) // 20, 1)]).min() >= -2e-3


def require_frames(side: str, sent: np.ndarray) -> None:
    """What the frames say differs from the command by half a count at most and stays within the limits."""
    part = CONTRACT.arm_slice(side)
    for values in sent[:: max(len(sent) // 10, 1)]:
        decoded = ArmCodec.decode(ArmCodec(CONTRACT.arms[side]).encode(values))
        assert np.abs(decoded - values).max() <= HALF_COUNT * 2
        assert (decoded >= CONTRACT.lower[part] - 1e-12).all()
        assert (decoded <= CONTRACT.upper[part] + 1e-12).all()


ENABLE_IN_MOTION = [
    ("tick", 1),
    ("storm", 2, [0.0] * 14),
    ("enable",),
    ("tick", 1),
    ("tick", 1),
    ("reset",),
]
"""Bug: a reset that was refused let the braking end at once."""


@settings(
    max_examples=STREAMS,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(st.sampled_from(COMMAND_SOURCES), st.lists(EVENT, min_size=3, max_size=14))
@example("policy", ENABLE_IN_MOTION)
def test_no_stream_of_commands_makes_a_frame_leave_its_limits(source, events):
    rig = Rig(source)
    for event in events:
        play(rig, event)
    for _ in range(60):
        rig.tick()
    assert rig.loop.failure is None
    require_limits(rig)
