"""The vendor's own demos, as they are shipped, against the emulated arms."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from arms import emulated_arms, wait_until
from finevla_sim.vendor_demo import main

from finevla.contract import load_contract

CONTRACT = load_contract()


@pytest.fixture(scope="module")
def bus() -> Iterator:
    with emulated_arms(CONTRACT) as bus:
        yield bus


def command(bus, name: str, side: str = "left") -> list[str]:
    return [sys.executable, "-m", "finevla_sim.vendor_demo", name, "--port", str(bus.port), "--arm", side]


def run(bus, name: str) -> str:
    """What a demo prints that ends by itself."""
    done = subprocess.run(command(bus, name), capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


@contextmanager
def running(bus, name: str, side: str) -> Iterator[None]:
    """A demo that goes on until it is interrupted."""
    with subprocess.Popen(
        command(bus, name, side), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(20)


def test_the_firmware_is_read(bus):
    assert "S-V1.8-2" in run(bus, "piper_read_firmware.py")


def test_an_arm_is_switched_on_and_moves_back_and_forth(bus):
    """`piper_ctrl_joint.py` goes to zero, after 300 rounds to another pose, and so on."""
    arm = bus.devices["right"]
    with running(bus, "piper_ctrl_joint.py", "right"):
        assert wait_until(lambda: arm.enabled, 20.0)
        assert wait_until(lambda: np.abs(arm._target[:6]).max() < 1e-4, 20.0)
        wanted = np.array([0.2, 0.2, -0.2, 0.3, -0.2, 0.5])
        assert wait_until(lambda: np.abs(arm._target[:6] - wanted).max() < 1e-4, 20.0)
        assert wait_until(lambda: np.abs(arm.advance(0.0)[:6] - wanted).max() < 1e-3, 20.0)


def test_the_joints_that_are_read_are_those_of_the_arm(bus):
    arm = bus.devices["left"]
    degrees = round(float(np.degrees(arm.advance(0.0)[1])) * 1000)
    with subprocess.Popen(
        command(bus, "piper_read_joint_state.py"), stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any(str(degrees) in line for line in process.stdout), "a line tells joint 2"
        finally:
            process.kill()


def test_without_arms_it_says_how_to_start_them(free_port, capsys):
    with pytest.raises(SystemExit):
        main(["piper_read_firmware.py", "--port", str(free_port)])
    assert "arm_emulator" in capsys.readouterr().err
