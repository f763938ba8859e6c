"""The Piper backend through the unmodified SDK against the emulated arms, over a real TCP port."""

from __future__ import annotations

import time

import numpy as np
import pytest
from arms import chunk_to, emulated_arms, wait_until
from cobotmagic_driver.core import DriverCore
from cobotmagic_driver.core_types import CoreSettings
from cobotmagic_driver.loop import DriverLoop
from cobotmagic_driver.piper_backend import CanSettings, PiperBackend
from cobotmagic_driver.state_machine import State
from finevla_sim.piper_device import FrameSet, _Schedule

from finevla.contract import ARM_SIDES, load_contract
from finevla.errors import DriverError

CONTRACT = load_contract()
MOTORS_ONCE_A_SECOND = _Schedule(status=1, motors=200, pose=0, high_speed=0)
GOAL = CONTRACT.home + np.array([0.3, 0.2, -0.2, 0.1, 0.1, 0.2, -0.03] * 2)


def loop_on(port: int, **settings) -> DriverLoop:
    can = CanSettings("socketcand", {"host": "127.0.0.1", "port": port, "tcp_tune": True})
    backends = {side: PiperBackend(arm, can, time.time_ns) for side, arm in CONTRACT.arms.items()}
    core = DriverCore(CONTRACT, CoreSettings(feedback_timeout_s=0.5, **settings))
    return DriverLoop(core, backends, CONTRACT, time.time_ns)


def test_enable_follow_stop_and_reset_through_the_sdk():
    with emulated_arms(CONTRACT) as bus:
        loop = loop_on(bus.port)
        loop.connect(10.0)
        loop.start_thread()
        try:
            ok, message = loop.enable().result(10.0)
            assert ok, message
            started = time.time_ns()
            assert loop.on_chunk(chunk_to(CONTRACT, GOAL, started)) == ""
            assert wait_until(lambda: loop.state == State.HOLD)  # no second chunk comes
            reached = loop._core.arms.measured()
            assert 0.15 < reached[0] - CONTRACT.home[0] <= 0.31
            ok, message = loop.home().result(20.0)
            assert ok, message
            assert np.abs(loop._core.arms.measured() - CONTRACT.home).max() < 0.05
            assert loop.stop() == ""
            assert wait_until(lambda: all(bus.devices[side].stopped for side in ARM_SIDES))
            assert loop.reset() == ""
            assert wait_until(lambda: not any(bus.devices[side].enabled for side in ARM_SIDES))
        finally:
            loop.disconnect()


def test_a_port_without_a_server_is_refused_at_once(free_port):
    started = time.monotonic()
    with pytest.raises(DriverError, match="CAN bus of the left arm cannot be opened"):
        loop_on(free_port).connect(1.0)
    assert time.monotonic() - started < 5.0


def test_every_sample_of_the_arms_arrives_and_joints_of_one_sample_belong_together():
    with emulated_arms(CONTRACT, FrameSet.FULL) as bus:
        loop = loop_on(bus.port)
        loop.connect(10.0)
        try:
            backend = loop._backends["left"]
            backend.poll()
            time.sleep(0.5)  # longer than a tick: the newest alone would be one sample
            samples = backend.poll()
            assert len(samples) > 50
            stamps = [sample.stamp_ns for sample in samples]
            assert stamps == sorted(set(stamps))
            assert all(np.allclose(s.values, CONTRACT.home[:7], atol=1e-5) for s in samples)
        finally:
            loop.disconnect()


def test_a_new_connection_does_not_believe_what_the_sdk_remembers_of_the_last_one():
    """The SDK keeps one object per channel: once, motors of the session before counted as switched on."""
    with emulated_arms(CONTRACT) as bus:
        loop = loop_on(bus.port)
        loop.connect(10.0)
        loop.start_thread()
        assert loop.enable().result(10.0)[0]
        loop.disconnect()
    with emulated_arms(CONTRACT) as bus:
        for device in bus.devices.values():
            device._schedule = MOTORS_ONCE_A_SECOND
        loop = loop_on(bus.port)
        loop.connect(10.0)
        try:
            assert not loop._core.arms.feedback("left").enabled
            loop.start_thread()
            assert loop.enable().result(10.0)[0]
            assert all(bus.devices[side].enabled for side in ARM_SIDES)
        finally:
            loop.disconnect()


def test_collision_protection_is_set_in_the_arm_and_read_back():
    with emulated_arms(CONTRACT) as bus:
        can = CanSettings("socketcand", {"host": "127.0.0.1", "port": bus.port, "tcp_tune": True})
        arm = PiperBackend(CONTRACT.arms["left"], can, time.time_ns, crash_level=2)
        arm.connect()
        try:
            assert wait_until(lambda: bool(arm.poll()))
            assert arm.check() == []
            assert bus.devices["left"].identity.crash_levels == (2,) * 6
        finally:
            arm.disconnect()
