"""Codec, homing, chunk follower, parameters and the socketcand server, each on its own."""

from __future__ import annotations

import json
import select
import socket
from pathlib import Path

import can
import numpy as np
import pytest
from arms import EPOCH_NS
from cobotmagic_driver import state_machine
from cobotmagic_driver.codec import ArmCodec
from cobotmagic_driver.homing import HomeMotion
from cobotmagic_driver.params import DriverParams
from cobotmagic_driver.trajectory import ChunkFollower, StreamFollower
from finevla_sim.socketcand_server import SocketcandServer, encode

from finevla.contract import ActionChunk, load_contract
from finevla.contract.units import counts_from_rad, rad_from_counts
from finevla.errors import LaunchError

CONTRACT = load_contract()
ARM = CONTRACT.arms["left"]
ROOT = Path(__file__).resolve().parents[2]


def test_codec_uses_thousandths_of_a_degree_and_of_a_millimetre():
    counts = ArmCodec(ARM).encode([np.pi / 6, np.pi / 2, -np.pi / 4, 0.0, 0.0, 0.0, 0.0355])
    assert counts == (30000, 90000, -45000, 0, 0, 0, 35500)
    assert np.allclose(ArmCodec.decode(counts), [np.pi / 6, np.pi / 2, -np.pi / 4, 0, 0, 0, 0.0355])


def test_the_wire_factor_is_exact_and_not_017444():
    assert rad_from_counts(180_000) == np.pi
    assert counts_from_rad(np.pi) == 180_000


def test_home_reaches_its_goal_and_waits_for_the_grippers():
    start, goal = CONTRACT.home - 0.05, CONTRACT.home
    motion = HomeMotion(start, goal, np.full(14, 0.5), CONTRACT.is_gripper)
    opening_s = 1.875 * 0.05 / 0.5
    assert motion.duration_s == pytest.approx(2 * opening_s)
    middle = motion.target(opening_s)
    assert np.allclose(middle[[6, 13]], goal[[6, 13]])
    assert np.allclose(middle[:6], start[:6])
    assert np.allclose(motion.target(motion.duration_s), goal)
    assert np.allclose(motion.target(1e9), goal)


def flat(value: float, at_ns: int) -> ActionChunk:
    return ActionChunk(at_ns, 0.1, np.full((16, 14), value), at_ns, "one", "test")


def test_blending_is_linear_in_time_and_survives_a_third_chunk():
    follower = ChunkFollower(blend_s=0.1, stale_s=1.0)
    follower.accept(flat(0.0, 0), 0)
    follower.accept(flat(1.0, 0), 50_000_000)
    assert follower.target(75_000_000)[0] == pytest.approx(0.25)
    follower.accept(flat(2.0, 0), 100_000_000)
    assert follower.target(100_000_000)[0] == pytest.approx(0.5)
    assert follower.target(150_000_000)[0] == pytest.approx(0.5 * 1.0 + 0.5 * 2.0)
    assert follower.target(200_000_000)[0] == 2.0


def test_a_follower_without_chunks_says_so():
    follower = ChunkFollower(0.1, 1.0)
    assert follower.age_s(0) == -1.0
    assert not follower.is_stale(10**12)
    with pytest.raises(ValueError, match="no chunk"):
        follower.target(0)


def test_leader_joints_are_joined_by_straight_lines():
    leader = StreamFollower()
    leader.push(np.zeros(7), 0)
    leader.push(np.ones(7), 10)
    assert leader.target(15)[0] == pytest.approx(0.5)
    assert leader.target(30)[0] == 1.0
    assert leader.age_ns(30) == 20


@pytest.mark.parametrize("text", ["{", "[1]", "3"])
def test_can_options_that_are_no_object_are_named(text):
    with pytest.raises(LaunchError, match="can_options"):
        DriverParams(can_options=text).bus_options()


def test_the_port_file_overrides_the_port(tmp_path):
    path = tmp_path / "port"
    params = DriverParams(can_options=json.dumps({"host": "h", "port": 1}), can_port_file=str(path))
    with pytest.raises(LaunchError, match="sim node"):
        params.bus_options()
    path.write_text("4711\n")
    assert params.bus_options() == {"host": "h", "port": 4711}


def test_states_are_numbered_as_in_the_message():
    names = ["DISCONNECTED", "CONNECTED", "ENABLED", "ACTIVE", "HOLD", "STOPPED", "FAULT"]
    assert [state.name for state in sorted(state_machine.State)] == names
    text = (ROOT / "ros2_ws" / "src" / "finevla_msgs" / "msg" / "DriverState.msg").read_text()
    for state in state_machine.State:
        assert f"uint8 {state.name}={state.value}" in text


def test_server_text_is_that_of_socketcand():
    line = encode([(0x2A5, bytes.fromhex("000003e8fffff63c"))], 1_700_000_000_123_456_789)
    assert line == b"< frame 2A5 1700000000.123456 000003e8fffff63c >"


class Served:
    """A server that the test polls by hand."""

    def __init__(self) -> None:
        self.now_ns = EPOCH_NS
        self.heard: list[tuple[str, int, bytes]] = []
        self.server = SocketcandServer(["can_left", "can_right"], self.hear, lambda: self.now_ns)
        self.clients: list[socket.socket] = []

    def hear(self, bus: str, can_id: int, data: bytes) -> list[tuple[int, bytes]]:
        self.heard.append((bus, can_id, data))
        return [(0x476, b"\x71" + bytes(7))] if can_id == 0x471 else []

    def connect(self, *messages: str) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.server.port))
        client.settimeout(2.0)
        self.clients.append(client)
        self.server.poll(1.0)
        assert client.recv(100) == b"< hi >"
        for message in messages:
            assert self.say(client, message) == "< ok >"
        return client

    def say(self, client: socket.socket, message: str) -> str:
        client.sendall(message.encode())
        self.server.poll(1.0)
        return client.recv(4096).decode()


@pytest.fixture
def served():
    served = Served()
    yield served
    for client in served.clients:
        client.close()
    served.server.close()


def test_frames_flow_both_ways_and_only_on_their_bus(served):
    left = served.connect("< open can_left >", "< rawmode >")
    right = served.connect("< open can_right >", "< rawmode >")
    served.now_ns += 10**9
    left.sendall(b"< send 155 8 0 0 75 30 0 0 ea 60 >< send 471 8 7 2 0 0 0 0 0 0 >")
    served.server.poll(1.0)
    assert served.heard[0] == ("can_left", 0x155, bytes.fromhex("000075300000ea60"))
    assert b"< frame 476 " in left.recv(4096)
    served.server.send("can_right", [(0x2A5, bytes(8))], served.now_ns)
    assert right.recv(4096).startswith(b"< frame 2A5 ")
    left.settimeout(0.05)
    with pytest.raises(TimeoutError):
        left.recv(1)


def test_frames_wait_until_the_client_has_read_the_answer_to_rawmode(served):
    client = served.connect("< open can_left >", "< rawmode >")
    served.server.send("can_left", [(0x2A5, bytes(8))], served.now_ns)
    client.settimeout(0.05)
    with pytest.raises(TimeoutError):
        client.recv(1)


@pytest.mark.parametrize(
    "message", ["< open can_other >", "< rawmode >", "< nonsense >", "< send 155 8 zz >"]
)
def test_wrong_requests_get_an_error_and_no_bus(served, message):
    assert served.say(served.connect(), message).startswith("< error")
    assert served.server.clients == 0


def test_a_client_that_does_not_read_neither_blocks_nor_tears_frames(served):
    mute = served.connect("< open can_left >", "< rawmode >")
    reader = served.connect("< open can_left >", "< rawmode >")
    served.now_ns += 10**9
    packet = [(0x2A5, bytes(8))] * 500
    size = len(encode(packet, served.now_ns))
    for _ in range(400):  # 9 MB: more than the kernel keeps for a client
        served.server.send("can_left", packet, served.now_ns)
        received = b""
        while len(received) < size:
            received += reader.recv(1 << 16)
        assert received == encode(packet, served.now_ns)
    kept = b""
    while select.select([mute], [], [], 0.2)[0]:
        kept += mute.recv(1 << 20)
    assert size < len(kept) < 400 * size
    assert set(kept.split(b">")[:-1]) == {encode(packet[:1], served.now_ns)[:-1]}


def test_a_client_that_goes_away_is_forgotten(served):
    client = served.connect("< open can_left >", "< rawmode >")
    assert served.server.clients == 1
    client.close()
    served.server.poll(1.0)
    assert served.server.clients == 0


def test_python_can_reads_the_frames(served):
    import threading

    stop = threading.Event()
    thread = threading.Thread(target=lambda: [served.server.poll(0.02) for _ in iter(stop.is_set, True)])
    thread.start()
    try:
        bus = can.Bus("can_left", interface="socketcand", host="127.0.0.1", port=served.server.port)
    finally:
        stop.set()
        thread.join()
    served.now_ns += 10**9
    served.server.send("can_left", [(0x2A5, bytes(range(8)))], served.now_ns)
    message = bus.recv(2.0)
    assert (message.arbitration_id, bytes(message.data)) == (0x2A5, bytes(range(8)))
    assert message.timestamp == pytest.approx(served.now_ns / 1e9)
    bus.shutdown()
