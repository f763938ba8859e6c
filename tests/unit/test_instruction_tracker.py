"""How the run of one instruction ends, whoever reports it, or nobody."""

from __future__ import annotations

import pytest
from finevla_perception.run_tracker import Outcome, RunTracker, TrackerConfig

from finevla.contract.frame import NS_PER_S


class Clock:
    now_s = 100.0

    def __call__(self):
        return round(self.now_s * NS_PER_S)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def run(clock):
    return RunTracker("a", TrackerConfig(timeout_s=30, apply_timeout_s=5, policy_lost_s=3), clock)


def applied(run):
    run.on_status("APPLIED", "", "", 7)
    run.on_policy()


@pytest.mark.parametrize(
    ("state", "code", "outcome"),
    [
        ("FINISHED", "settled", Outcome.SETTLED),
        ("FINISHED", "timeout", Outcome.TIMEOUT),
        ("FINISHED", "canceled", Outcome.CANCELED),
        ("FINISHED", "camera_stale", Outcome.HELD),
        ("REJECTED", "unknown_word", Outcome.REJECTED),
        ("SUPERSEDED", "superseded", Outcome.SUPERSEDED),
    ],
)
def test_the_policy_says_how_it_ended(run, state, code, outcome):
    applied(run)
    run.on_status(state, code, "why", 0)
    run.on_status("FINISHED", "settled", "", 0)
    assert (run.ended.outcome, run.ended.reason_code, run.ended.reason) == (outcome, code, "why")


def test_over_time_the_policy_is_stopped_first(run, clock):
    applied(run)
    clock.now_s += 31
    run.on_policy()
    run.poll()
    assert run.wants_stop
    assert run.ended is None
    run.on_status("FINISHED", "canceled", "", 0)
    assert run.ended.outcome is Outcome.TIMEOUT


def test_cancel_ends_even_where_the_policy_is_deaf(run):
    applied(run)
    run.cancel()
    assert run.wants_stop
    run.stopped()
    assert run.ended.outcome is Outcome.CANCELED
    assert not run.wants_stop


def test_settled_just_before_the_cancel_counts_as_settled(run):
    applied(run)
    run.cancel()
    run.on_status("FINISHED", "settled", "", 0)
    assert run.ended.outcome is Outcome.SETTLED


def test_silence_is_an_end_too(run, clock):
    clock.now_s += 5.1
    run.poll()
    assert run.ended.reason_code == "not_applied"


def test_a_policy_that_dies_and_a_driver_that_stops_are_noticed(clock):
    config = TrackerConfig(timeout_s=30, apply_timeout_s=5, policy_lost_s=3)
    lost, stopped = RunTracker("a", config, clock), RunTracker("b", config, clock)
    for run in (lost, stopped):
        applied(run)
    stopped.on_driver("STOPPED")
    clock.now_s += 1.5
    stopped.poll()
    assert stopped.ended.reason_code == "driver_stopped"
    lost.poll()
    assert lost.ended is None
    clock.now_s += 2
    lost.poll()
    assert lost.ended.reason_code == "policy_lost"


def test_a_newer_instruction_supersedes(run):
    run.on_newer("b")
    assert run.ended.outcome is Outcome.SUPERSEDED
