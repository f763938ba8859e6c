"""The emulated arms over socketcand, slcan and a virtual bus: the vendor's unmodified SDK, other clients."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import os
import select
import threading
import time

import can
import pytest
from arms import emulated_arms, wait_until
from finevla_sim.arm_faults import BusOff, OtherFirmware
from finevla_sim.can_port import open_port
from finevla_sim.slcan_port import SlcanPort
from piper_sdk import C_PiperInterface_V2, LogLevel

from finevla.contract import load_contract

CONTRACT = load_contract()
TRANSPORTS = ["socketcand", "slcan", "virtual"]


@pytest.fixture(params=TRANSPORTS)
def transport(request) -> str:
    if request.param == "slcan":
        pytest.importorskip("serial", reason="python-can's slcan needs pyserial")
    return request.param


def contract_for(name: str):
    """The SDK keeps one object per channel for the life of the process: channels of this test's own."""
    arms = {
        side: dataclasses.replace(arm, can_channel=f"{name}_{side}") for side, arm in CONTRACT.arms.items()
    }
    return dataclasses.replace(CONTRACT, arms=arms)


@pytest.fixture
def bus(transport, request, monkeypatch):
    with emulated_arms(contract_for(request.node.name), transport=transport) as bus:
        options = {
            "socketcand": {"host": "127.0.0.1", "port": bus.port},
            "slcan": {"sleep_after_open": 0.0},
            "virtual": {},
        }
        monkeypatch.setenv("CAN_CONFIG", json.dumps(options[transport]))
        yield bus


def opened(bus, transport: str, side: str = "left") -> can.BusABC:
    """A client of one bus."""
    return can.Bus(interface=transport, channel=bus.address(side), bitrate=1_000_000)


def connect(sdk: C_PiperInterface_V2, address: str, transport: str) -> bool:
    sdk.CreateCanBus(address, bustype=transport, judge_flag=False)
    if sdk.GetCanBus().recv_bus is None:
        return False
    sdk.ConnectPort()
    return True


@contextlib.contextmanager
def sdk_of(bus, transport: str, side: str = "left"):
    sdk = C_PiperInterface_V2(
        bus.address(side), judge_flag=False, can_auto_init=False, logger_level=LogLevel.CRITICAL
    )
    assert connect(sdk, bus.address(side), transport)
    try:
        yield sdk
    finally:
        sdk.DisconnectPort()


def joints(sdk) -> list[int]:
    state = sdk.GetArmJointMsgs().joint_state
    return [getattr(state, f"joint_{k}") for k in range(1, 7)]


def heard(client: can.BusABC, can_id: int, timeout_s: float = 3.0) -> can.Message | None:
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        message = client.recv(0.1)
        if message is not None and message.arbitration_id == can_id:
            return message
    return None


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_the_sdk_enables_moves_and_reads_back(bus, transport):
    bus.arms["right"].inject(OtherFirmware("S-V1.5-2"))
    with sdk_of(bus, transport) as left, sdk_of(bus, transport, "right") as right:
        assert wait_until(left.EnablePiper)
        left.MotionCtrl_2(1, 1, 100, 0)
        left.JointCtrl(20000, 50000, -30000, 1000, 2000, -3000)
        left.GripperCtrl(30000, 1000, 1, 0)
        assert wait_until(lambda: joints(left) == [20000, 50000, -30000, 1000, 2000, -3000])
        assert wait_until(lambda: left.GetArmGripperMsgs().gripper_state.grippers_angle == 30000)
        assert wait_until(lambda: left.GetPiperFirmwareVersion() == "S-V1.8-2")
        assert wait_until(lambda: right.GetPiperFirmwareVersion() == "S-V1.5-2")
        # One by one: in GetAllMotorAngleLimitMaxSpd all six entries are the object of the last answer.
        left.SearchMotorMaxAngleSpdAccLimit(4, 1)
        limit = left.GetCurrentMotorAngleLimitMaxVel().current_motor_angle_limit_max_vel
        assert wait_until(lambda: (limit.motor_num, limit.max_angle_limit) == (4, 1000))
        assert bus.devices["left"].enabled
        assert not bus.devices["right"].enabled


@pytest.mark.parametrize("transport", ["socketcand", "virtual"], indirect=True)
def test_a_second_client_sees_the_first_ones_frames_and_the_first_sees_its(bus, transport):
    """Over slcan two clients are two adapters: `test_adapters_of_one_bus_hear_each_other`."""
    with sdk_of(bus, transport) as sdk, opened(bus, transport) as other:
        time.sleep(0.3)  # frames flow once the handshake is surely over
        sdk.JointCtrl(1000, 2000, -3000, 0, 0, 0)
        command = heard(other, 0x155)
        assert command is not None
        assert bytes(command.data).hex() == "000003e8000007d0"
        if transport == "socketcand":  # on a virtual bus the SDK hears itself
            time.sleep(0.2)
            assert sdk.GetArmJointCtrl().time_stamp == 0
        intruder = can.Message(
            arbitration_id=0x155, data=bytes.fromhex("0000138800001770"), is_extended_id=False
        )
        other.send(intruder)
        assert wait_until(lambda: sdk.GetArmJointCtrl().joint_ctrl.joint_1 == 5000)


def test_connections_can_each_be_a_client_of_their_own():
    """Without pairing, as a raw listener and a raw sender that open at once need it."""
    from finevla_sim.socketcand_server import SocketcandServer

    server = SocketcandServer(["can"], lambda *_: [], time.time_ns, settle_s=0.05, pairs=False)
    ends = threading.Event()

    def run() -> None:
        while not ends.is_set():
            server.poll(0.01)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        options = {"interface": "socketcand", "channel": "can", "host": "127.0.0.1", "port": server.port}
        listener, sender = can.Bus(**options), can.Bus(**options)
        time.sleep(0.1)
        sender.send(can.Message(arbitration_id=0x155, data=bytes(8), is_extended_id=False))
        assert heard(listener, 0x155) is not None
        assert heard(sender, 0x155, 0.2) is None
        listener.shutdown()
        sender.shutdown()
    finally:
        ends.set()
        thread.join()
        server.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_dropped_bus_refuses_clients_until_it_is_taken_up_again(bus, transport):
    with sdk_of(bus, transport) as sdk, sdk_of(bus, transport, "right") as right:
        assert wait_until(lambda: sdk.GetArmJointMsgs().Hz > 0)
        bus.disconnect("left")
        assert wait_until(lambda: not sdk.isOk())
        sdk.DisconnectPort()
        assert right.isOk()
        if transport == "virtual":  # there, nothing tells a client
            with opened(bus, transport) as silent:
                assert heard(silent, 0x2A5, 0.3) is None
        else:
            with pytest.raises((can.CanError, OSError)):
                opened(bus, transport)
        address = bus.address("left")
        bus.reconnect("left")
        assert bus.address("left") == address
        time.sleep(1.1)  # the SDK's reader thread ends
        stamp = sdk.GetArmJointMsgs().time_stamp
        assert wait_until(lambda: connect(sdk, address, transport))
        assert wait_until(lambda: sdk.GetArmJointMsgs().time_stamp > stamp)
        gc.collect()  # python-can's slcan cannot close a terminal that vanished, and says so here


@pytest.mark.parametrize("transport", ["socketcand"], indirect=True)
def test_a_bus_off_arm_is_silent_for_its_time_and_the_connection_stays(bus, transport):
    with opened(bus, transport) as client:
        assert heard(client, 0x2A5) is not None
        bus.arms["left"].inject(BusOff(), seconds=0.4)
        while client.recv(0.1) is not None:
            pass
        assert heard(client, 0x2A5) is not None


class Line:
    """A client of a slcan terminal that needs no library."""

    def __init__(self, path: str) -> None:
        self.tty = os.open(path, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK)

    def say(self, port: SlcanPort, text: str) -> str:
        os.write(self.tty, text.encode())
        port.poll(1.0)
        return self.read()

    def read(self) -> str:
        out = b""
        while select.select([self.tty], [], [], 0.02)[0]:
            out += os.read(self.tty, 4096)
        return out.decode()


@pytest.fixture
def slcan():
    got: list[tuple[str, int, bytes]] = []

    def receive(bus: str, can_id: int, data: bytes):
        got.append((bus, can_id, data))
        return [(0x476, b"\x71" + bytes(7))] if can_id == 0x471 else []

    port = SlcanPort(["a", "b"], receive, adapters=2)
    lines = [Line(port.address(bus, k)) for bus, k in (("a", 0), ("a", 1), ("b", 0))]
    yield port, got, lines
    for line in lines:
        os.close(line.tty)
    port.close()


def test_adapters_of_one_bus_hear_each_other(slcan):
    port, got, (first, second, other) = slcan
    for line in (first, second, other):
        assert line.say(port, "C\rS8\r\rO\r") == "\r" * 4
    assert first.say(port, "t47180702000000000000\r") == "z\rt47687100000000000000\r"
    assert got == [("a", 0x471, bytes([7, 2, 0, 0, 0, 0, 0, 0]))]
    assert second.read() == "t47180702000000000000\rt47687100000000000000\r"
    assert other.read() == ""
    port.send("b", [(0x2A5, bytes.fromhex("000003e8fffff63c"))], 0)
    assert other.read() == "t2A58000003E8FFFFF63C\r"
    assert first.read() == ""


@pytest.mark.parametrize("text", ["t15\r", "t155zz\r", "t15580000\r", "X\r"])
def test_wrong_lines_get_a_bell(slcan, text):
    port, got, (line, *_) = slcan
    line.say(port, "O\r")
    assert line.say(port, text) == "\a"
    assert got == []


def test_a_closed_adapter_hears_nothing_and_sends_nothing(slcan):
    port, got, (line, *_) = slcan
    port.send("a", [(0x2A5, bytes(8))], 0)
    assert line.read() == ""
    assert line.say(port, "t1558" + "00" * 8 + "\r") == "\a"
    assert got == []
    assert line.say(port, "V\rN\r") == "V1013\rNA001\r"


def test_an_adapter_that_is_not_read_tears_no_frame_and_blocks_nobody(slcan):
    port, _got, (mute, reader, _) = slcan
    for line in (mute, reader):
        line.say(port, "O\r")
    frame = "t2A58" + "00" * 8
    for _ in range(60):  # more than the kernel keeps for a terminal
        port.send("a", [(0x2A5, bytes(8))] * 100, 0)
        assert reader.read() == f"{frame}\r" * 100
    kept = ""
    while more := mute.read():
        kept += more
        port.poll()
    assert set(kept.split("\r")) == {frame, ""}
    assert 100 < kept.count("t") < 6000


def test_an_unplugged_terminal_vanishes_and_comes_back_under_its_name(slcan):
    port, _got, (line, *_) = slcan
    path = port.address("a")
    port.disconnect("a")
    port.poll()
    assert not os.path.lexists(path)
    with pytest.raises(OSError):
        os.write(line.tty, b"O\r")
    port.reconnect("a")
    port.poll()
    again = Line(path)
    assert again.say(port, "O\r") == "\r"
    os.close(again.tty)


def test_transports_are_chosen_by_name():
    port = open_port("virtual", ["can_x"], lambda *_: [], time.time_ns)
    assert port.address("can_x") == "can_x"
    port.close()
    with pytest.raises(ValueError, match="carrier_pigeon"):
        open_port("carrier_pigeon", ["can_x"], lambda *_: [], time.time_ns)
