"""Bring-up in order, all or none in motion, and a restarted node that stays inactive."""

from __future__ import annotations

import pytest
from finevla_system.bringup_plan import NodeReport, NodeState, Plan, bring_up, recover, shut_down
from finevla_system.heartbeats import Heartbeats

GOAL = {
    "configure": NodeState.INACTIVE,
    "activate": NodeState.ACTIVE,
    "deactivate": NodeState.INACTIVE,
    "cleanup": NodeState.UNCONFIGURED,
}


class FakeNodes:
    """Two lifecycle nodes; `refuse` lists (node, transition, how often)."""

    def __init__(self, refuse=None, absent=()):
        self.states = dict.fromkeys(("driver", "policy"), NodeState.UNCONFIGURED)
        self.refuse = dict(refuse or {})
        self.absent = absent
        self.calls = []
        self.now = 0.0

    def wait_for(self, node, timeout_s):
        return node not in self.absent

    def state(self, node):
        return NodeState.LOST if node in self.absent else self.states[node]

    def change(self, node, transition):
        self.calls.append((node, transition))
        left = self.refuse.get((node, transition), 0)
        if left:
            self.refuse[node, transition] = left - 1
            return False
        self.states[node] = GOAL[transition]
        return True

    def reason(self, node):
        return "the bundle has another joint order" if node == "policy" else ""

    def pause(self, seconds):
        self.now += seconds

    def now_s(self):
        return self.now


PLAN = Plan(("driver", "policy"), patient_nodes=("driver",), configure_patience_s=5)


def test_all_are_configured_before_any_is_activated():
    nodes = FakeNodes()
    report = bring_up(PLAN, nodes)
    assert report.ok
    assert nodes.calls == [(n, t) for t in ("configure", "activate") for n in ("driver", "policy")]
    assert set(nodes.states.values()) == {NodeState.ACTIVE}


def test_a_refused_bundle_leaves_everything_inactive_and_says_why():
    nodes = FakeNodes({("policy", "configure"): 99})
    report = bring_up(PLAN, nodes)
    assert not report.ok
    assert "policy: it refused to configure: the bundle has another joint order" in report.summary
    assert nodes.states == {"driver": NodeState.INACTIVE, "policy": NodeState.UNCONFIGURED}
    assert nodes.calls.count(("policy", "configure")) == 1


def test_a_failed_activation_takes_the_others_back():
    nodes = FakeNodes({("policy", "activate"): 1})
    report = bring_up(PLAN, nodes)
    assert nodes.states == {"driver": NodeState.INACTIVE, "policy": NodeState.INACTIVE}
    assert [entry.problem != "" for entry in report.nodes] == [False, True]


def test_a_patient_node_is_tried_again_but_not_for_ever():
    assert bring_up(PLAN, FakeNodes({("driver", "configure"): 3})).ok
    nodes = FakeNodes({("driver", "configure"): 99})
    assert not bring_up(PLAN, nodes).ok
    assert 5 <= len(nodes.calls) <= 7
    assert ("policy", "configure") not in nodes.calls


def test_an_absent_node_is_named():
    report = bring_up(PLAN, FakeNodes(absent=("policy",)))
    assert "policy: its services did not appear within 60 s" in report.summary


def test_without_activation_nothing_is_activated():
    nodes = FakeNodes()
    assert bring_up(Plan(("driver",), activate=False), nodes).ok
    assert nodes.calls == [("driver", "configure")]


def test_shutdown_goes_backwards_and_past_failures():
    nodes = FakeNodes()
    bring_up(PLAN, nodes)
    nodes.calls.clear()
    nodes.refuse = {("policy", "deactivate"): 1}
    report = shut_down(PLAN.nodes, nodes)
    assert nodes.calls == [("policy", "deactivate"), ("driver", "deactivate"), ("driver", "cleanup")]
    assert [bool(entry.problem) for entry in report.nodes] == [False, True]


def test_a_restarted_node_is_configured_and_never_activated():
    nodes = FakeNodes()
    bring_up(PLAN, nodes)
    nodes.absent = ("driver",)
    entry = recover(NodeReport("driver", NodeState.ACTIVE), nodes)
    assert entry.state is NodeState.LOST
    nodes.absent = ()
    nodes.states["driver"] = NodeState.UNCONFIGURED
    nodes.calls.clear()
    entry = recover(entry, nodes)
    assert recover(entry, nodes) == entry
    assert entry.state is NodeState.INACTIVE
    assert "bring_up" in entry.problem
    assert nodes.calls == [("driver", "configure")]


def test_a_node_that_was_only_slow_is_well_again():
    nodes = FakeNodes()
    bring_up(PLAN, nodes)
    lost = NodeReport("driver", NodeState.LOST, "it does not answer; is its process running?")
    assert recover(lost, nodes) == NodeReport("driver", NodeState.ACTIVE)


@pytest.mark.parametrize(("waited_s", "alive"), [(0.5, True), (1.5, False)])
def test_heartbeats_tell_silence(waited_s, alive):
    now = [0.0]
    beats = Heartbeats(1.0, lambda: now[0])
    beats.watch("/a")
    assert beats.all()[0].age_s is None
    beats.beat("/a")
    now[0] += waited_s
    assert beats.all()[0].alive is alive
