"""`finevla evaluate paired --ros` on a small graph that answers as the real nodes do."""

from __future__ import annotations

import io
import json
from pathlib import Path
from random import Random

import pytest

rclpy = pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")

import numpy as np
from finevla_msgs import msg, srv
from PIL import Image
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from ros_rig import RosRig
from sensor_msgs.msg import CompressedImage
from sensor_msgs.msg import Image as RawImage
from std_srvs.srv import SetBool, Trigger

from finevla.contract import load_contract, services
from finevla.errors import FineVLAError, LaunchError
from finevla.sim.tasks import sample_scene
from finevla.stages.demo.graph import GraphError
from finevla.stages.evaluate.blind.answers import said
from finevla.stages.evaluate.blind.session import read_key
from finevla.stages.evaluate.plan import plan_pairs
from finevla.stages.evaluate.ros_run import RosRequest, run_on_ros

pytestmark = pytest.mark.ros
CONTRACT = load_contract()
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
STATUS = msg.InstructionStatus
DRIVER = msg.DriverState
PAIRS = plan_pairs(("arm", "side"), (), 1, 1000)
GOALS = {text: goal for pair in PAIRS for text, goal in zip(pair.texts, pair.goals, strict=True)}


class FakeGraph:
    """Driver, policy and instruction node; with `simulated` also the scene services.

    It does what is asked, unless a sentence is in `refuse`; what it is asked to do is in `calls`.
    """

    def __init__(
        self, rig: RosRig, *, simulated: bool, raw: bool = False, state: int = DRIVER.ENABLED
    ) -> None:
        self.calls: list[str] = []
        self.refuse: set[str] = set()
        node = rig.peer
        kinds = {
            services.DRIVER_ENABLE: SetBool,
            services.DRIVER_HOME: Trigger,
            services.POLICY_CANCEL: Trigger,
        }
        if simulated:
            kinds |= {services.SIM_RESET_SCENE: srv.ResetScene, services.SIM_SCORE_SCENE: srv.ScoreScene}
        for name, kind in kinds.items():
            node.create_service(kind, name, lambda q, a, name=name: self._answer(name, q, a))
        topics = CONTRACT.topics
        self.status = node.create_publisher(STATUS, topics.instruction_status, 10)
        self.driver = node.create_publisher(DRIVER, topics.driver_state, LATCHED)
        self.policy = node.create_publisher(msg.PolicyStatus, topics.policy_status, LATCHED)
        node.create_subscription(msg.Instruction, topics.instruction, self._hear, 10)
        self.raw = raw
        cameras = CONTRACT.cameras if simulated else {"cam_high": CONTRACT.cameras["cam_high"]}
        self.cameras = [
            node.create_publisher(
                RawImage if raw else CompressedImage,
                camera.raw_topic if raw else camera.compressed_topic,
                qos_profile_sensor_data,
            )
            for camera in cameras.values()
        ]
        self.count = 0
        node.create_timer(0.03, self._show)
        self.tell(state)
        self.policy.publish(msg.PolicyStatus(state=msg.PolicyStatus.IDLE, checkpoint_id="ck"))

    def tell(self, state: int, reason: str = "") -> None:
        self.driver.publish(DRIVER(state=state, reason=reason))

    def _answer(self, name, request, response):
        call = name.rsplit("/", 1)[1]
        self.calls.append(call)
        response.success = True
        if name == services.DRIVER_ENABLE:
            self.tell(DRIVER.ENABLED)
        if name == services.SIM_RESET_SCENE:
            spec = sample_scene(request.task, request.seed, hard=request.hard, variant=request.variant)
            assert spec in [pair.spec for pair in PAIRS]
        if name == services.SIM_SCORE_SCENE:
            done = request.instruction not in self.refuse
            asked = {name: said(value) for name, value in GOALS[request.instruction].values().items()}
            response.factors, response.asked = list(asked), list(asked.values())
            response.observed = [value if done else "" for value in asked.values()]
            response.complied = [done] * len(asked)
            response.task_done, response.points = done, 100.0 * done
        return response

    def _hear(self, message) -> None:
        self.calls.append(message.text)
        if message.text in self.refuse:
            self.status.publish(STATUS(id=message.id, state=STATUS.REJECTED, reason_code="unknown_word"))
            return
        self.status.publish(STATUS(id=message.id, state=STATUS.APPLIED, step=1))
        self.status.publish(STATUS(id=message.id, state=STATUS.FINISHED, reason_code="settled"))

    def _show(self) -> None:
        self.count += 1
        pixels = np.full((24, 33, 3), self.count % 256, np.uint8)
        for publisher in self.cameras:
            if self.raw:
                picture = RawImage(height=24, width=33, step=99, encoding="bgr8", data=pixels.tobytes())
            else:
                out = io.BytesIO()
                Image.fromarray(pixels).save(out, "JPEG")
                picture = CompressedImage(format="jpeg", data=out.getvalue())
            picture.header.stamp.sec, rest = divmod(self.count * 30, 1000)
            picture.header.stamp.nanosec = rest * 1_000_000
            publisher.publish(picture)


@pytest.fixture
def rig(monkeypatch):
    monkeypatch.setattr("finevla.stages.demo.graph.PACE_WINDOW_S", 0.1)
    with RosRig() as made:
        yield made


def request(rig: RosRig, **changes) -> RosRequest:
    domain = rig.context.get_domain_id()
    values = {"domain_id": domain, "timeout_s": 2.0, "attach_timeout_s": 8.0}
    return RosRequest(PAIRS, ("arm", "side"), **values | changes)


class Operator:
    """Presses Enter and keeps what was shown; `before` is called with every question."""

    def __init__(self, before=lambda _: None) -> None:
        self.shown: list[str] = []
        self.before = before

    def ask(self, text: str) -> None:
        self.shown.append(text)
        self.before(text)

    def say(self, text: str) -> None:
        self.shown.append(text)


def nobody(text: str) -> None:
    raise AssertionError(f"a simulated measurement asks nobody: {text}")


def test_pairs_of_any_factor_run_on_the_simulated_graph(rig: RosRig, tmp_path: Path) -> None:
    graph = FakeGraph(rig, simulated=True, state=DRIVER.CONNECTED)
    graph.refuse.add(PAIRS[1].texts[1])
    path = tmp_path / "result.json"
    result = run_on_ros(request(rig, json=path, runs=True), ask=nobody)
    assert graph.calls[0] == "enable"
    sentences = [text for pair in PAIRS for text in pair.texts]
    assert [call for call in graph.calls if call in GOALS] == sentences
    assert graph.calls[1:5] == ["home", "reset_scene", sentences[0], "score_scene"]
    assert (
        json.loads(path.read_text())["factors"]["arm"]["compliance"] == result["factors"]["arm"]["compliance"]
    )
    assert (result["source"], result["provenance"]["checkpoint_id"]) == ("simulator truth", "ck")
    assert (result["factors"]["arm"]["compliance"], result["factors"]["side"]["compliance"]) == (1.0, 0.5)
    assert (result["factors"]["side"]["refused"], result["factors"]["side"]["points"]) == (1, 50.0)
    assert {"avg_id", "avg_all"} <= set(result)
    assert [run["text"] for run in result["runs"]] == sentences
    assert [path.name for path in tmp_path.iterdir()] == ["result.json"]


def test_what_was_measured_before_a_failure_is_not_run_again(rig: RosRig, tmp_path: Path) -> None:
    graph = FakeGraph(rig, simulated=True)
    todo = request(rig, json=tmp_path / "result.json")
    import finevla.stages.evaluate.ros_run as module

    whole = module.run_valid_trial
    with pytest.MonkeyPatch.context() as patch:

        def some(client, trial, *rest):
            if trial.goal == PAIRS[1].goals[0]:
                raise GraphError("the graph is gone")
            return whole(client, trial, *rest)

        patch.setattr(module, "run_valid_trial", some)
        with pytest.raises(GraphError):
            run_on_ros(todo, ask=nobody)
    graph.calls.clear()
    result = run_on_ros(todo, ask=nobody)
    assert [call for call in graph.calls if call in GOALS] == list(PAIRS[1].texts)
    assert result["factors"]["arm"]["n"] == 1


def test_an_empty_domain_is_named_with_all_that_is_missing(rig: RosRig) -> None:
    with pytest.raises(LaunchError) as caught:
        run_on_ros(request(rig, attach_timeout_s=0.5), ask=nobody)
    domain = rig.context.get_domain_id()
    assert f"ROS domain {domain} is not complete" in str(caught.value)
    for node in (services.SIM_NODE, services.DRIVER_NODE, services.POLICY_NODE, services.INSTRUCTION_NODE):
        assert node in caught.value.found


def test_a_real_robot_needs_a_folder_for_the_rater(rig: RosRig) -> None:
    FakeGraph(rig, simulated=False)
    with pytest.raises(LaunchError, match="give --blind DIR"):
        run_on_ros(request(rig, attach_timeout_s=4.0), ask=nobody)


@pytest.mark.parametrize("raw", [False, True])
def test_a_real_robot_moves_after_enter_only_and_a_rater_scores_it(rig: RosRig, tmp_path, raw: bool) -> None:
    graph = FakeGraph(rig, simulated=False, raw=raw, state=DRIVER.CONNECTED)
    graph.refuse.add(PAIRS[0].texts[0])
    folder = tmp_path / "films"
    moves: list[int] = []

    def before(text: str) -> None:
        moves.append(sum(call != "cancel" for call in graph.calls))
        if "not enabled" in text:
            graph.tell(DRIVER.ENABLED)

    operator = Operator(before)
    assert run_on_ros(request(rig, blind=folder), ask=operator.ask, say=operator.say, rng=Random(4)) is None
    questions = [text for text in operator.shown if text.endswith("press Enter")]
    while "not enabled" in questions[0]:
        questions.pop(0)
        assert moves.pop(0) == 0
    assert moves == list(range(8)), "one Enter per motion: home, run, home, run, ..."
    assert "enable" not in graph.calls, "enabling stays with the operator"
    shown = "\n".join(operator.shown)
    assert not [text for text in GOALS if text in shown], "the operator is not told what is asked for"
    assert "Lay the scene out again exactly as before" in shown
    assert shown.count("pillar") == 2

    key = read_key(folder)
    assert {path.name for path in folder.iterdir()} == {
        "score.html",
        *(f"{run.name}.mp4" for run in key.videos),
    }
    assert len(key.videos) == 3, "a refused sentence has no video"
    assert all((folder / f"{run.name}.mp4").stat().st_mtime == 0 for run in key.videos)
    import av

    with av.open(str(folder / f"{key.videos[0].name}.mp4")) as film:
        assert (film.streams.video[0].width, film.streams.video[0].height) == (32, 24)
    answers = {
        run.name: {name: said(value) for name, value in key.goal(run).values().items()} | {"done": "yes"}
        for run in key.videos
    }
    path = tmp_path / "answers.json"
    path.write_text(json.dumps({"seal": key.seal, "answers": answers}))
    rated = RosRequest((), (), blind=folder, answers=path, json=tmp_path / "result.json")
    result = run_on_ros(rated, ask=nobody)
    assert result["source"] == "blind rater"
    assert result["provenance"]["rated"] == {"videos": 3, "rejected": 1, "seal": key.seal}
    assert (result["factors"]["arm"]["compliance"], result["factors"]["side"]["compliance"]) == (0.5, 1.0)
    assert (result["factors"]["arm"]["refused"], result["factors"]["arm"]["n"]) == (1, 1)
    assert json.loads((tmp_path / "result.json").read_text())["source"] == "blind rater"


def test_a_session_goes_on_with_what_is_left(rig: RosRig, tmp_path: Path) -> None:
    graph = FakeGraph(rig, simulated=True)
    folder = tmp_path / "films"

    def leave(text: str) -> None:
        if len([call for call in graph.calls if call in GOALS]) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_on_ros(request(rig, blind=folder), ask=Operator(leave).ask, say=lambda _: None)
    assert len(read_key(folder).left) == 1
    assert not (folder / "score.html").exists()
    graph.calls.clear()
    assert run_on_ros(request(rig, blind=folder), ask=Operator().ask, say=lambda _: None) is None
    assert len([call for call in graph.calls if call in GOALS]) == 1
    assert "reset_scene" in graph.calls, "a simulator lays the scenes out itself"
    assert "score_scene" not in graph.calls
    assert len(list(folder.glob("*.mp4"))) == 4


def test_answers_without_their_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FineVLAError, match="--blind DIR as well"):
        run_on_ros(RosRequest((), (), answers=tmp_path / "answers.json"))


def test_nobody_at_the_terminal_is_no_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    from finevla.stages.evaluate.ros_run import ask_enter

    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    with pytest.raises(FineVLAError, match="nobody answers"):
        ask_enter("ready?")
