"""The emulated arms as a process: how to reach them, what they tell, faults by hand, a clean end."""

from __future__ import annotations

import json
import os
import queue
import re
import select
import signal
import subprocess
import sys
import threading
import time

import pytest
from arms import wait_until
from finevla_sim.arm_bus import ArmBus
from finevla_sim.arm_rehearsal import Watch, obey
from finevla_sim.motor_faults import Collision
from piper_sdk import C_PiperInterface_V2, LogLevel

from finevla.contract import load_contract
from finevla.contract import robot as contract_module
from finevla.errors import SimulationError

CONTRACT = load_contract()


class Process:
    """The emulator, its lines read by a thread."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "finevla_sim.arm_emulator", "--frames", "reduced", *options]
        pipe = subprocess.PIPE
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}  # the workspace may not be built
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=env)
        self.lines: queue.Queue[str] = queue.Queue()
        self.thread = threading.Thread(target=self._read)
        self.thread.start()

    def _read(self) -> None:
        for line in self.process.stdout:
            self.lines.put(line.rstrip("\n"))

    def until(self, text: str, timeout_s: float = 10.0) -> str:
        """The next line that holds `text`."""
        deadline = time.monotonic() + timeout_s
        seen = []
        while time.monotonic() < deadline:
            try:
                seen.append(self.lines.get(timeout=0.1))
            except queue.Empty:
                continue
            if text in seen[-1]:
                return seen[-1]
        pytest.fail(f"no line with {text!r} in {seen}")

    def say(self, line: str) -> None:
        self.process.stdin.write(f"{line}\n")
        self.process.stdin.flush()

    def end(self, number: int) -> tuple[int, str]:
        self.process.send_signal(number)
        code = self.process.wait(10.0)
        self.thread.join()
        errors = self.process.stderr.read()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            pipe.close()
        return code, errors

    def kill(self) -> None:
        if self.process.poll() is None:
            self.end(signal.SIGKILL)


@pytest.fixture
def start():
    processes = []

    def run(*options: str) -> Process:
        processes.append(Process(*options))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()


def test_a_person_rehearses_a_fault_while_the_sdk_drives_the_arm(start, tmp_path, monkeypatch):
    shipped = (contract_module.__file__.rpartition("/")[0]) + "/cobotmagic.yaml"
    other = tmp_path / "contract.yaml"  # channels of its own: the SDK keeps one object per channel
    with open(shipped) as file:
        other.write_text(re.sub(r"can_(left|right)$", r"emu_\1", file.read(), flags=re.MULTILINE))
    emulator = start("--contract", str(other), "--fault", "right:over_temperature=3,95")
    assert emulator.until("right: fault") == (
        "right: fault OverTemperature(motor=3, celsius=95.0, part='motor')"
    )
    where = emulator.until("the arms answer by socketcand")
    assert "left emu_left" in where
    port = int(re.search(r"127\.0\.0\.1:(\d+)", where)[1])
    monkeypatch.setenv("CAN_CONFIG", json.dumps({"host": "127.0.0.1", "port": port}))
    sdk = C_PiperInterface_V2(
        "emu_left", judge_flag=False, can_auto_init=False, logger_level=LogLevel.CRITICAL
    )
    sdk.CreateCanBus("emu_left", bustype="socketcand", judge_flag=False)
    sdk.ConnectPort()
    try:
        assert wait_until(sdk.EnablePiper)
        emulator.until("left: enabled")
        sdk.MotionCtrl_2(1, 1, 100, 0)
        sdk.JointCtrl(20000, 50000, -30000, 0, 0, 0)
        emulator.until("left: targets moving")
        emulator.until("left: at its targets")
        assert wait_until(lambda: sdk.GetArmJointMsgs().joint_state.joint_1 == 20000)
        emulator.say("left collision 3")
        emulator.until("left: fault Collision(motor=3)")
        emulator.until("left: faults: collision")
        assert wait_until(lambda: sdk.GetArmStatus().arm_status.arm_status == 7)
        assert wait_until(lambda: sdk.GetArmLowSpdInfoMsgs().motor_3.foc_status.collision_status)
        emulator.say("left colision 3")
        emulator.until("there is no such fault")
        emulator.say("left clear")
        emulator.until("left: faults: none")
        assert wait_until(lambda: sdk.GetArmStatus().arm_status.arm_status == 0)
        sdk.EmergencyStop(1)
        emulator.until("left: stopped")
    finally:
        sdk.DisconnectPort()
    assert emulator.end(signal.SIGINT) == (0, "")


def test_over_serial_lines_it_names_two_terminals_and_leaves_none(start):
    emulator = start("--transport", "slcan")
    where = emulator.until("the arms answer by slcan")
    paths = re.findall(r"(?:left|right) (/\S+?)(?:,|$)", where)
    assert len(paths) == 2
    tty = os.open(paths[0], os.O_RDWR | os.O_NOCTTY)
    os.write(tty, b"O\r")
    received = b""
    while b"t2A58" not in received and select.select([tty], [], [], 5.0)[0]:
        received += os.read(tty, 4096)
    os.close(tty)
    assert b"t2A58" in received
    assert emulator.end(signal.SIGTERM) == (0, "")
    assert not any(os.path.lexists(path) for path in paths)


def test_wrong_options_are_refused_before_anything_runs(start):
    emulator = start("--fault", "left:colision=3")
    assert emulator.process.wait(20.0) == 2
    assert "there is no such fault" in emulator.process.stderr.read()


@pytest.fixture
def bus():
    bus = ArmBus(CONTRACT, CONTRACT.home, time.time_ns)
    yield bus
    bus.close()


def test_lines_are_obeyed(bus):
    assert obey(bus, "") == ""
    assert obey(bus, "both collision 2 for 60") == (
        "left: fault Collision(motor=2) for 60 s\nright: fault Collision(motor=2) for 60 s"
    )
    assert bus.arms["right"].faults == (Collision(2),)
    obey(bus, "right clear collision")
    assert bus.arms["right"].faults == ()
    assert bus.arms["left"].faults == (Collision(2),)
    assert obey(bus, "left disconnect") == "left: disconnected"
    assert obey(bus, "left reconnect") == "left: reconnected"
    bus.arms["left"].receive(0x471, bytes([7, 2, 0, 0, 0, 0, 0, 0]))
    watch = Watch("left", bus.arms["left"])
    assert obey(bus, "left restart") == "left: restarted"
    assert watch.changes() == ["left: disabled"]
    assert watch.changes() == []


@pytest.mark.parametrize("line", ["left", "middle clear", "left clear colision", "collision 3", "left dance"])
def test_lines_that_say_nothing_are_refused(bus, line):
    with pytest.raises(SimulationError):
        obey(bus, line)
