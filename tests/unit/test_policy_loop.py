"""The policy loop: when it infers, when it stops, what it tells; with a clock of its own."""

from __future__ import annotations

import numpy as np
import pytest
from finevla_policy.loop import PolicyLoop
from finevla_policy.loop_types import DriverView, LoopConfig, Outcome, Report, SendChunk, State

from finevla.contract import ActionChunk, load_contract
from finevla.contract.assemble import Frame
from finevla.contract.frame import NS_PER_S
from finevla.errors import InstructionError

CONTRACT = load_contract()
FRAME_NS = round(CONTRACT.frame_period_s * NS_PER_S)
START_NS = 1_000 * NS_PER_S
FRESH = dict.fromkeys((*CONTRACT.cameras, "left", "right"), 0)


class Rig:
    """A loop, its clock and everything that it published."""

    def __init__(self, **config):
        self.now_ns = START_NS
        self.out = []
        self.driver = None
        self.loop = PolicyLoop(
            CONTRACT, LoopConfig(**{"replan_frames": 4, **config}), lambda: self.now_ns, self.check
        )
        self.tick(1)
        self.loop.activate("bundle")

    def check(self, text):
        if "zorp" in text:
            raise InstructionError("the word zorp is unknown", expected="red blue")

    def tick(self, frames):
        self.now_ns += frames * FRAME_NS

    def drain(self):
        self.out += self.loop.take_effects()
        return self.out

    def say(self, name, text="pick up the red cube"):
        self.loop.instruct(name, text, self.now_ns)
        self.drain()

    def frame(self):
        self.tick(1)
        self.loop.observe(Frame(self.now_ns, CONTRACT.home, {}))

    def answer(self, *, moving=True, **changes):
        job = self.loop.next_job()
        assert job is not None
        targets = np.tile(CONTRACT.home, (CONTRACT.horizon, 1))
        targets[:, 0] += np.linspace(0, 0.5 if moving else 0.001, CONTRACT.horizon)
        fields = {
            "t0_ns": job.frame.stamp_ns,
            "dt_s": CONTRACT.frame_period_s,
            "targets": targets,
            "observation_stamp_ns": job.frame.stamp_ns,
            "instruction_id": job.instruction_id,
            "checkpoint_id": "bundle",
        }
        self.loop.succeed(job, ActionChunk(**{**fields, **changes}))
        self.drain()
        return job

    def watch(self, ages=None, driver_state="ACTIVE", instruction_id="", driver_age_s=0.0, code="code"):
        received = self.now_ns - round(driver_age_s * NS_PER_S)
        driver = DriverView(driver_state, code, "text", instruction_id, received)
        self.loop.watch({**FRESH, **(ages or {})}, driver)
        self.drain()

    @property
    def reports(self):
        return [(r.instruction_id, r.outcome, r.reason_code) for r in self.out if isinstance(r, Report)]

    @property
    def chunks(self):
        return [e.chunk for e in self.out if isinstance(e, SendChunk)]


@pytest.fixture
def rig():
    return Rig(driver_stale_s=1.0)


def test_nothing_is_inferred_without_an_instruction(rig):
    for _ in range(10):
        rig.frame()
    assert rig.loop.next_job() is None
    assert rig.loop.status.state is State.IDLE


def test_it_infers_at_once_and_then_every_four_frames(rig):
    rig.say("a")
    inferred = []
    for k in range(12):
        rig.frame()
        if (rig.loop._pending) is not None:
            inferred.append(k)
            rig.answer()
    assert inferred == [0, 4, 8]
    assert rig.reports == [("a", Outcome.APPLIED, "")]
    assert [e.sequence for e in rig.out if isinstance(e, SendChunk)] == [1, 2, 3]


def test_a_fresh_frame_serves_a_new_instruction_without_waiting(rig):
    rig.frame()
    rig.say("a")
    assert rig.loop.next_job().text == "pick up the red cube"


def test_only_one_inference_is_in_flight(rig):
    rig.say("a")
    rig.frame()
    assert rig.loop.next_job() is not None
    for _ in range(5):
        rig.frame()
    assert rig.loop.next_job() is None


def test_a_new_instruction_takes_over_and_the_old_answer_is_dropped(rig):
    rig.say("a")
    rig.frame()
    old = rig.loop.next_job()
    rig.say("b", "pick up the blue cube")
    rig.loop.succeed(old, ActionChunk(rig.now_ns, 0.1, np.tile(CONTRACT.home, (16, 1)), 0, "a", "bundle"))
    rig.drain()
    assert rig.chunks == []
    rig.frame()
    assert rig.answer().text == "pick up the blue cube"
    assert rig.reports == [("a", Outcome.SUPERSEDED, "superseded"), ("b", Outcome.APPLIED, "")]


def test_rest_ends_an_instruction_but_not_before_its_time(rig):
    rig.say("a")
    frames = 0
    while rig.loop.running:
        rig.frame()
        frames += 1
        if rig.loop._pending is not None:
            rig.answer(moving=False)
        assert frames < 100
    assert frames * CONTRACT.frame_period_s >= 1.0
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "settled")
    assert all(chunk.horizon for chunk in rig.chunks)
    for _ in range(5):
        rig.frame()
    assert rig.loop.next_job() is None


def test_motion_between_two_rests_starts_the_count_again(rig):
    rig.say("a")
    for k in range(32):
        rig.frame()
        if rig.loop._pending is not None:
            rig.answer(moving=k % 12 == 8)
    assert rig.loop.running


def test_a_dead_camera_holds_once_and_names_camera_and_topic(rig):
    rig.say("a")
    rig.frame()
    rig.answer()
    rig.tick(20)
    rig.watch(ages={"cam_left_wrist": 3 * NS_PER_S})
    rig.watch(ages={"cam_left_wrist": 4 * NS_PER_S})
    assert rig.loop.status.state is State.HOLDING
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "camera_stale")
    assert CONTRACT.cameras["cam_left_wrist"].topic in rig.loop.status.reason
    assert "cam_high" not in rig.loop.status.reason
    assert [chunk.horizon for chunk in rig.chunks] == [16, 0]


def test_holding_ends_only_with_a_new_id(rig):
    rig.say("a")
    rig.frame()
    rig.tick(20)
    rig.watch(ages={"left": None})
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "joints_stale")
    rig.say("a")
    rig.frame()
    assert rig.loop.status.state is State.HOLDING
    assert rig.loop.next_job() is None
    rig.say("b")
    assert rig.loop.running


def test_streams_get_their_time_after_activation(rig):
    rig.say("a")
    rig.tick(4)
    rig.watch(ages=dict.fromkeys(FRESH))
    assert rig.loop.running


def test_streams_without_frames_are_a_fault(rig):
    rig.say("a")
    rig.tick(16)
    rig.watch()
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "no_frames")


def test_an_unknown_word_is_rejected_by_name_and_the_arms_hold(rig):
    rig.say("a")
    rig.frame()
    rig.answer()
    rig.say("b", "pick up the zorp")
    assert rig.reports[1:] == [
        ("a", Outcome.SUPERSEDED, "superseded"),
        ("b", Outcome.REJECTED, "unknown_word"),
    ]
    assert "zorp" in rig.loop.status.reason
    assert rig.chunks[-1].horizon == 0
    assert rig.loop.status.state is State.IDLE


def test_arms_that_go_home_end_the_run(rig):
    """Bug: the policy went on, and the next enable let it move the arms again."""
    rig.say("a")
    rig.frame()
    rig.answer()
    rig.watch(driver_state="ACTIVE", instruction_id="a", code="homing")
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "driver_hold")


@pytest.mark.parametrize(
    ("state", "code"), [("STOPPED", "driver_stopped"), ("FAULT", "driver_fault"), ("HOLD", "driver_hold")]
)
def test_a_driver_that_stops_ends_the_run(rig, state, code):
    rig.say("a")
    rig.frame()
    rig.answer()
    rig.watch(driver_state=state, instruction_id="a")
    assert rig.reports[-1] == ("a", Outcome.FINISHED, code)
    assert rig.loop.status.state is State.HOLDING


def test_a_hold_left_over_from_an_older_instruction_is_no_fault(rig):
    rig.say("b")
    rig.watch(driver_state="HOLD", instruction_id="b")  # nothing was sent yet: not about our chunks
    rig.frame()
    rig.answer()
    rig.watch(driver_state="HOLD", instruction_id="a")
    assert rig.loop.running


def test_motors_off_and_silence_of_the_driver_are_faults(rig):
    rig.say("a")
    rig.watch(driver_state="CONNECTED")
    assert rig.loop.running
    for _ in range(11):
        rig.frame()
    rig.watch(driver_state="CONNECTED")
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "driver_not_enabled")
    rig.say("b")
    rig.frame()
    rig.watch(driver_age_s=1.2)
    assert rig.reports[-1] == ("b", Outcome.FINISHED, "driver_lost")


def test_the_driver_is_not_watched_where_that_is_wanted():
    rig = Rig(driver_stale_s=0.0)
    rig.say("a")
    for _ in range(30):
        rig.frame()
    rig.loop.watch(FRESH, None)
    assert rig.loop.running


def test_timeout_and_cancel_end_idle_with_a_hold():
    rig = Rig(instruction_timeout_s=2.0)
    rig.say("a")
    for _ in range(21):
        rig.frame()
    rig.watch()
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "timeout")
    rig.say("b")
    assert rig.loop.cancel()
    assert not rig.loop.cancel()
    rig.drain()
    assert rig.reports[-1] == ("b", Outcome.FINISHED, "canceled")
    assert rig.loop.status.state is State.IDLE
    assert [chunk.horizon for chunk in rig.chunks] == [0, 0]


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"targets": np.full((16, 14), np.nan)}, "bad_chunk"),
        ({"targets": np.zeros((16, 13))}, "bad_chunk"),
        ({"t0_ns": START_NS - 10 * NS_PER_S}, "inference_too_slow"),
    ],
)
def test_a_bad_answer_is_never_sent(rig, changes, code):
    rig.say("a")
    rig.frame()
    rig.answer(**changes)
    assert [chunk.horizon for chunk in rig.chunks] == [0]
    assert rig.reports == [("a", Outcome.FINISHED, code)]


def test_failed_and_stuck_inferences_hold(rig):
    rig.say("a")
    rig.frame()
    rig.loop.fail(rig.loop.next_job(), RuntimeError("boom"))
    rig.drain()
    assert rig.reports[-1] == ("a", Outcome.FINISHED, "inference_failed")
    assert "boom" in rig.loop.status.reason
    rig.say("b")
    rig.frame()
    rig.loop.next_job()
    for _ in range(21):
        rig.frame()
    rig.watch()
    assert rig.reports[-1] == ("b", Outcome.FINISHED, "inference_stuck")


def test_what_was_said_before_activation_moves_nothing():
    rig = Rig()
    rig.loop.instruct("old", "pick up the red cube", START_NS - 1)
    rig.loop.instruct("early", "pick up the red cube", START_NS)
    rig.drain()
    assert rig.reports == [("early", Outcome.REJECTED, "not_active")]
    assert rig.loop.status.state is State.IDLE


def test_deactivation_holds_and_tells():
    rig = Rig()
    rig.say("a")
    rig.loop.deactivate()
    rig.drain()
    assert rig.reports == [("a", Outcome.FINISHED, "deactivated")]
    assert rig.chunks[-1].horizon == 0
    rig.say("b")
    assert rig.reports[-1] == ("b", Outcome.REJECTED, "not_active")
