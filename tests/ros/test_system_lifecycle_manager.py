"""The lifecycle manager with real lifecycle nodes in one process: order, refusal, restart, shutdown."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
module = pytest.importorskip("finevla_system.lifecycle_manager")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from finevla_msgs.msg import DriverState, PolicyStatus
from finevla_perception.qos import latched, reliable
from rclpy.lifecycle import LifecycleNode, TransitionCallbackReturn
from rclpy.parameter import Parameter
from ros_rig import RosRig, until
from std_srvs.srv import SetBool, Trigger

from finevla.contract import load_contract, services

pytestmark = pytest.mark.ros
TOPICS = load_contract().topics


class Fake(LifecycleNode):
    """A lifecycle node that writes its transitions into a shared list."""

    def __init__(self, rig, name, log, refuse=()):
        super().__init__(name, context=rig.context)
        self.log, self.refuse = log, refuse

    def note(self, transition):
        self.log.append((self.get_name(), transition))
        refused = transition in self.refuse
        return TransitionCallbackReturn.FAILURE if refused else TransitionCallbackReturn.SUCCESS

    def on_configure(self, state):
        return self.note("configure")

    def on_activate(self, state):
        return self.note("activate")

    def on_deactivate(self, state):
        return self.note("deactivate")

    def on_cleanup(self, state):
        return self.note("cleanup")


class Bench:
    def __init__(self, rig, refuse=(), **params):
        self.rig, self.log, self.enabled = rig, [], []
        self.driver = rig.add(Fake(rig, services.DRIVER_NODE, self.log))
        self.policy = rig.add(Fake(rig, services.POLICY_NODE, self.log, refuse))
        rig.peer.create_service(SetBool, services.DRIVER_ENABLE, self.enable)
        self.says = rig.peer.create_publisher(PolicyStatus, TOPICS.policy_status, latched())
        self.says.publish(PolicyStatus(reason="the bundle has another joint order"))
        rig.peer.create_publisher(DriverState, TOPICS.driver_state, latched()).publish(DriverState())
        self.statuses = rig.collect(DiagnosticStatus, services.SYSTEM_STATUS, latched())
        self.diagnostics = rig.collect(DiagnosticArray, "/diagnostics", reliable(10))
        overrides = [Parameter(name, value=value) for name, value in params.items()]
        self.manager = rig.add(module.LifecycleManager(context=rig.context, parameter_overrides=overrides))

    def enable(self, request, response):
        self.enabled.append(request.data)
        response.success = True
        return response

    def phase(self, wanted):
        def newest():
            values = {v.key: v.value for v in self.statuses[-1].values} if self.statuses else {}
            return self.statuses[-1] if values.get("phase") == wanted else None

        return until(newest, 20)

    def trigger(self, name):
        return self.rig.call(Trigger, name, Trigger.Request(), 20)


@pytest.fixture
def make():
    benches = []
    with RosRig(threads=8) as rig:

        def build(**params):
            benches.append(Bench(rig, **params))
            return benches[-1]

        yield build
        for bench in benches:
            bench.manager.close()


def test_bring_up_in_order_then_enable_then_diagnostics_and_shutdown(make):
    bench = make(enable_arms=True)
    assert bench.phase("up").level == DiagnosticStatus.OK
    both = (services.DRIVER_NODE, services.POLICY_NODE)
    assert bench.log == [(node, step) for step in ("configure", "activate") for node in both]
    assert bench.enabled == [True]
    latest = until(lambda: bench.diagnostics)[-1]
    levels = {status.name: status.level for status in latest.status}
    assert levels[f"finevla: {services.POLICY_NODE}"] == DiagnosticStatus.OK
    assert f"finevla: topic {TOPICS.driver_state}" in levels
    bench.log.clear()
    assert bench.trigger(services.SYSTEM_SHUTDOWN).success
    assert bench.log == [(node, step) for node in both[::-1] for step in ("deactivate", "cleanup")]
    assert bench.trigger(services.SYSTEM_BRING_UP).success


def test_a_refusal_is_reported_with_its_reason_and_nothing_moves(make):
    bench = make(refuse=("configure",), enable_arms=True)
    status = bench.phase("failed")
    assert status.level == DiagnosticStatus.ERROR
    assert "finevla_policy: it refused to configure" in status.message
    assert ("finevla_driver", "activate") not in bench.log
    assert bench.enabled == []
    until(lambda: "another joint order" in bench.trigger(services.SYSTEM_BRING_UP).message)


def test_a_restarted_node_stays_inactive_until_a_person_brings_it_up(make):
    bench = make()
    bench.phase("up")
    bench.rig.remove(bench.driver)
    assert "does not answer" in bench.phase("failed").message
    bench.log.clear()
    bench.rig.add(Fake(bench.rig, services.DRIVER_NODE, bench.log))
    until(lambda: "restarted" in bench.statuses[-1].message, 20)
    assert bench.log == [(services.DRIVER_NODE, "configure")]
    assert bench.trigger(services.SYSTEM_BRING_UP).success
    assert bench.log[-1] == (services.DRIVER_NODE, "activate")
    bench.phase("up")


def test_without_stay_it_ends_with_the_result(make):
    bench = make(nodes=["finevla_nobody"], service_timeout_s=0.3, stay=False)
    until(bench.manager.finished.done)
    assert not bench.manager.report.ok
    assert "finevla_nobody: its services did not appear" in bench.manager.report.summary
