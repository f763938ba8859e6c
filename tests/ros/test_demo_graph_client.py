"""The demonstration's client against a small graph that answers as the real nodes do."""

from __future__ import annotations

import time

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from finevla_msgs import msg, srv
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import CompressedImage
from spinning import spinning
from std_srvs.srv import SetBool, Trigger

from finevla.contract import load_contract, services
from finevla.stages.demo.graph import GraphClient, GraphError
from finevla.stages.demo.plan import plan
from finevla.stages.demo.run import Camera, Record, run_trial, run_trials, side_cameras

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATUS = msg.InstructionStatus


class FakeGraph:
    """Answers every service; ends an instruction as told by `endings`, after APPLIED."""

    def __init__(self, domain: int) -> None:
        self.calls: list[str] = []
        self.refuse: set[str] = set()
        self.ending: tuple[int, str] | None = (STATUS.FINISHED, "settled")
        self.context = Context()
        rclpy.init(context=self.context, domain_id=domain)
        node = self.node = rclpy.create_node("fake_graph", context=self.context)
        topics = CONTRACT.topics
        kinds = {
            services.DRIVER_ENABLE: SetBool,
            services.DRIVER_HOME: Trigger,
            services.POLICY_CANCEL: Trigger,
            services.SIM_RESET_SCENE: srv.ResetScene,
            services.SIM_SCORE_SCENE: srv.ScoreScene,
        }
        for name, kind in kinds.items():
            node.create_service(kind, name, self._answer(name))
        self.status = node.create_publisher(STATUS, topics.instruction_status, 10)
        self.driver = node.create_publisher(msg.DriverState, topics.driver_state, LATCHED)
        self.policy = node.create_publisher(msg.PolicyStatus, topics.policy_status, LATCHED)
        node.create_subscription(msg.Instruction, topics.instruction, self._hear, 10)
        self.cameras = {
            name: node.create_publisher(CompressedImage, camera.compressed_topic, qos_profile_sensor_data)
            for name, camera in CONTRACT.cameras.items()
        }
        self.diagnostics = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self.silent: set[str] = set()
        self.count = 0
        node.create_timer(0.02, self._show)

    def _answer(self, name):
        def handle(request, response):
            self.calls.append(name.rsplit("/", 1)[1])
            response.success, response.message = name not in self.refuse, "because"
            if name == services.SIM_SCORE_SCENE:
                response.moved_arm, response.lifted_object = "left", "red"
                response.arm_complied = "left" in request.instruction
                response.color_complied = response.task_done = True
                response.factors, response.points = ["arm", "color"], 80.0
                response.asked = ["left" if response.arm_complied else "right", "red"]
                response.observed, response.complied = ["left", "red"], [response.arm_complied, True]
            return response

        return handle

    def _hear(self, message) -> None:
        self.calls.append(message.text)
        self.status.publish(STATUS(id=message.id, state=STATUS.ACCEPTED))
        self.status.publish(STATUS(id="another", state=STATUS.FINISHED, reason_code="not mine"))
        if self.ending is not None:
            self.status.publish(STATUS(id=message.id, state=STATUS.APPLIED, step=1))
            state, code = self.ending
            self.status.publish(STATUS(id=message.id, state=state, reason_code=code))

    def _show(self) -> None:
        self.count += 1
        for name, publisher in self.cameras.items():
            if name not in self.silent:
                picture = CompressedImage(format="jpeg", data=b"jpeg")
                picture.header.stamp.sec = self.count
                publisher.publish(picture)


@pytest.fixture
def graph(ros_domain):
    made = FakeGraph(ros_domain)
    with spinning(made.context, made.node):
        yield made
    made.node.destroy_node()
    made.context.try_shutdown()


@pytest.fixture
def camera():
    return Camera(side_cameras(CONTRACT))


@pytest.fixture
def client(graph, camera, ros_domain, monkeypatch):
    monkeypatch.setattr("finevla.stages.demo.graph.PACE_WINDOW_S", 1.5)
    with GraphClient(CONTRACT, domain_id=ros_domain, on_frame=camera.sink) as made:
        yield made


def ready(graph: FakeGraph, client: GraphClient) -> None:
    graph.driver.publish(msg.DriverState(state=msg.DriverState.CONNECTED))
    graph.policy.publish(msg.PolicyStatus(state=msg.PolicyStatus.IDLE, checkpoint_id="ck", latency_s=0.004))
    until(lambda: client.awaited() == {}, lambda: client.awaited())


def until(condition, why=lambda: "") -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain: {why()}"
        time.sleep(0.02)


def test_says_what_is_still_lacking(graph: FakeGraph, client: GraphClient) -> None:
    until(lambda: set(client.awaited()) == {services.DRIVER_NODE, services.POLICY_NODE})
    graph.driver.publish(msg.DriverState(state=msg.DriverState.FAULT, reason="left arm: joint fault"))
    graph.policy.publish(msg.PolicyStatus(state=msg.PolicyStatus.INACTIVE, reason="bundle refused"))
    until(lambda: "joint fault" in client.awaited()[services.DRIVER_NODE])
    until(lambda: "bundle refused" in client.awaited()[services.POLICY_NODE])
    ready(graph, client)
    assert client.policy_figures().checkpoint_id == "ck"


def test_one_trial_from_home_to_verdict(graph: FakeGraph, client: GraphClient, camera: Camera) -> None:
    ready(graph, client)
    client.enable()
    trials = {trial.arm: trial for trial in plan(2, 1)}
    row, reel = run_trial(client, trials["left"], 10.0, camera)
    order = ["enable", "home", "reset_scene", trials["left"].text, "score_scene"]
    assert graph.calls == order
    assert (row.ending, row.reason_code, row.complied) == ("finished", "settled", True)
    assert row.applied_s is not None
    assert row.applied_s <= row.seconds
    assert row.latency_s == 0.004
    assert set(reel.jpegs) <= set(CONTRACT.cameras)
    assert row.verdict.observed == {"arm": "left", "color": "red"}
    assert row.verdict.points == 80.0
    other = run_trial(client, trials["right"], 10.0, camera)[0]
    assert not other.complied
    assert (other.verdict.asked["arm"], other.verdict.complied["arm"]) == ("right", False)


@pytest.mark.parametrize(
    ("ending", "words"),
    [
        ((STATUS.REJECTED, "unknown_word"), ("rejected", "unknown_word")),
        ((STATUS.SUPERSEDED, ""), ("superseded", "")),
        (None, ("timeout", "timeout")),
    ],
)
def test_other_endings(graph: FakeGraph, client: GraphClient, ending, words) -> None:
    ready(graph, client)
    graph.ending = ending
    heard = client.instruct("lift", 1.0)
    assert (heard.ending, heard.reason_code) == words
    assert ("cancel" in graph.calls) == (words[0] == "timeout"), "an instruction is not left running"


def test_the_lowest_real_time_factor_is_kept(graph: FakeGraph, client: GraphClient) -> None:
    ready(graph, client)
    for name, factor in (("finevla_sim: real time", 0.9), ("finevla_sim: real time", 0.4), ("other", 0.1)):
        values = [KeyValue(key="real_time_factor", value=str(factor))]
        graph.diagnostics.publish(DiagnosticArray(status=[DiagnosticStatus(name=name, values=values)]))
    until(lambda: len(client._factors) == 2)
    assert client.take_real_time_factor() == 0.4
    assert client.take_real_time_factor() is None


def test_the_early_real_time_factor_is_of_the_first_seconds_only(
    graph: FakeGraph, client: GraphClient
) -> None:
    def tell(factor: float) -> None:
        told = len(client._factors)
        values = [KeyValue(key="real_time_factor", value=str(factor))]
        status = [DiagnosticStatus(name="finevla_sim: real time", values=values)]
        graph.diagnostics.publish(DiagnosticArray(status=status))
        until(lambda: len(client._factors) > told)

    ready(graph, client)
    tell(0.1)
    client.instruct("lift", 5.0)
    tell(0.9)
    tell(0.7)
    begun = time.monotonic()
    assert client.early_real_time_factor() == pytest.approx(0.8)
    assert time.monotonic() > begun + 0.1, "a short trial waits for the end of the window"
    tell(0.2)
    assert client.early_real_time_factor() == pytest.approx(0.8)
    assert client.take_real_time_factor() == 0.1
    assert client.early_real_time_factor() is None


def test_a_refusal_and_a_silent_camera_are_named(graph: FakeGraph, client: GraphClient) -> None:
    ready(graph, client)
    graph.refuse.add(services.DRIVER_HOME)
    with pytest.raises(GraphError, match="because") as caught:
        client.home()
    assert services.DRIVER_HOME in str(caught.value)
    graph.silent.add("cam_left_wrist")
    with pytest.raises(GraphError, match="no pictures come from cam_left_wrist"):
        client.wait_for_frames(3, timeout_s=0.5)
    graph.silent.clear()
    client.wait_for_frames()


def test_a_fault_is_cleared_before_the_way_home(graph: FakeGraph, client: GraphClient) -> None:
    ready(graph, client)
    client.home()
    assert graph.calls == ["home"]
    graph.driver.publish(msg.DriverState(state=msg.DriverState.FAULT))
    until(lambda: services.DRIVER_NODE in client.awaited())
    client.home()
    assert graph.calls == ["home", "enable", "home"]
    graph.refuse.add(services.DRIVER_HOME)
    with pytest.raises(GraphError):
        client.home()
    assert graph.calls[3:] == ["enable", "home"] * 3


def test_what_was_done_before_a_failure_is_kept(graph: FakeGraph, client: GraphClient) -> None:
    ready(graph, client)
    record = Record()

    def fail_after_one(_row) -> None:
        graph.refuse.add(services.DRIVER_HOME)

    with pytest.raises(GraphError):
        run_trials(client, plan(4, 1), 5.0, None, fail_after_one, record)
    assert len(record.rows) == len(record.reels) == 1


def test_a_service_that_nobody_offers_times_out(ros_domain: int) -> None:
    with (
        GraphClient(CONTRACT, domain_id=ros_domain) as alone,
        pytest.raises(GraphError, match="did not answer"),
    ):
        alone.home(timeout_s=0.2)
