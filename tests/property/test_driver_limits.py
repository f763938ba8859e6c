"""Whatever is asked for, no command leaves the limits of position and speed."""

from __future__ import annotations

import numpy as np
from arms import EPOCH_NS, TICK_NS, TICK_S, both
from cobotmagic_driver.codec import ArmCodec
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.safety import Limiter, SafetySettings
from hypothesis import given, settings
from hypothesis import strategies as st

from finevla.contract import ARM_SIDES, ActionChunk, load_contract

CONTRACT = load_contract()
ANYTHING = st.floats(allow_nan=True, allow_infinity=True, width=64)
NEARBY = st.floats(-4.0, 4.0)


def vectors(values):
    return st.lists(values, min_size=14, max_size=14).map(np.array)


@settings(max_examples=200, deadline=None)
@given(st.lists(vectors(st.one_of(ANYTHING, NEARBY)), min_size=1, max_size=20), st.booleans())
def test_the_limiter_passes_nothing_outside_its_limits(targets, soft):
    limiter = Limiter(CONTRACT, SafetySettings())
    limiter.reset(CONTRACT.home)
    if soft:
        limiter.begin(CONTRACT.home + 1.0, CONTRACT.home)
    before = limiter.command
    for target in targets:
        command = limiter.step(target, TICK_S)
        if command is None:
            assert not np.isfinite(target).all()
            continue
        assert (command >= CONTRACT.lower).all()
        assert (command <= CONTRACT.upper).all()
        assert (np.abs(command - before) <= CONTRACT.velocity * TICK_S + 1e-12).all()
        before = command


@settings(max_examples=200, deadline=None)
@given(vectors(NEARBY))
def test_rounding_to_the_wire_never_leaves_the_limits(values):
    for side in ARM_SIDES:
        part = CONTRACT.arm_slice(side)
        inside = np.clip(values, CONTRACT.lower, CONTRACT.upper)[part]
        decoded = ArmCodec.decode(ArmCodec(CONTRACT.arms[side]).encode(inside))
        assert (decoded >= CONTRACT.lower[part] - 1e-12).all()
        assert (decoded <= CONTRACT.upper[part] + 1e-12).all()
        assert np.abs(decoded - inside).max() <= np.radians(0.001)


@settings(max_examples=50, deadline=None)
@given(st.lists(st.tuples(vectors(NEARBY), vectors(NEARBY), st.integers(0, 40)), min_size=1, max_size=8))
def test_no_stream_of_chunks_makes_the_driver_send_beyond_the_limits(stream):
    now = EPOCH_NS
    arms = both(CONTRACT, CONTRACT.home)
    loop = DriverLoop(DriverCore(CONTRACT, CoreSettings()), arms, CONTRACT, lambda: now)
    loop.connect(0.1)
    loop.enable()
    for k, (start, end, ticks) in enumerate(stream):
        weight = np.linspace(0.0, 1.0, 16)[:, None]
        targets = (1.0 - weight) * start + weight * end
        loop.on_chunk(ActionChunk(now, 0.1, targets, now, str(k // 2), "test"))
        for _ in range(ticks):
            now += TICK_NS
            loop.tick(TICK_S)
    for side, arm in arms.items():
        part = CONTRACT.arm_slice(side)
        for values in arm.sent:
            assert (values >= CONTRACT.lower[part]).all()
            assert (values <= CONTRACT.upper[part]).all()
        steps = np.abs(np.diff(arm.sent, axis=0)) if len(arm.sent) > 1 else np.zeros((1, 7))
        assert (steps <= CONTRACT.velocity[part] * TICK_S + 1e-12).all()
