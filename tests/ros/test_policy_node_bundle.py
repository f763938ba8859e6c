"""The policy node with the bundle that ships: it configures in time, and refuses an altered one."""

from __future__ import annotations

import copy
import shutil

import pytest
import yaml

pytest.importorskip("rclpy")
pytest.importorskip("finevla_msgs.msg")
pytest.importorskip("torch")
module = pytest.importorskip("finevla_policy.policy_node")

from bundles import edit
from finevla_msgs.msg import PolicyStatus
from finevla_perception.qos import latched
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.parameter import Parameter
from ros_rig import RosRig, until

from finevla.contract import load_contract, services
from finevla.contract.bundle import shipped_bundle

pytestmark = pytest.mark.ros
TOPICS = load_contract().topics


def configure(**params):
    """Configures a node with a bundle; returns whether it succeeded and the last status."""
    params = {"latency_budget_s": 1.0, **params}  # the budget of a busy test machine
    overrides = [Parameter(name, value=value) for name, value in params.items()]
    with RosRig() as rig:
        node = rig.add(module.PolicyNode(context=rig.context, parameter_overrides=overrides))
        statuses = rig.collect(PolicyStatus, TOPICS.policy_status, latched())
        request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_CONFIGURE))
        answer = rig.call(ChangeState, f"/{services.POLICY_NODE}/change_state", request, 60)
        code = "not_activated" if answer.success else "bundle_refused"
        until(lambda: statuses and statuses[-1].reason_code == code)
        node.close()
        return answer.success, statuses[-1]


def test_the_shipped_bundle_is_loaded_and_fast_enough():
    success, status = configure()
    assert success
    assert status.checkpoint_id


def test_a_bundle_for_another_joint_order_is_refused_with_the_difference(tmp_path):
    document = copy.deepcopy(dict(load_contract().document))
    first, second, *others = document["joints"]
    document["joints"] = [second, first, *others]
    robot = tmp_path / "robot.yaml"
    robot.write_text(yaml.safe_dump(document))
    success, status = configure(contract_file=str(robot))
    assert not success
    assert "joint1" in status.reason


def test_a_folder_that_is_no_bundle_is_refused(tmp_path):
    success, status = configure(bundle=str(tmp_path))
    assert not success
    assert str(tmp_path) in status.reason


@pytest.mark.parametrize(
    "change",
    [
        lambda d: d.pop("action"),
        lambda d: d["action"]["steps"][0].pop("statistics"),
        lambda d: d["action"].update(steps=[]),
    ],
)
def test_a_bundle_without_action_statistics_is_refused_and_the_node_cannot_be_activated(tmp_path, change):
    bundle = shutil.copytree(shipped_bundle(), tmp_path / "bundle")
    edit(bundle, change)
    overrides = [Parameter("bundle", value=str(bundle)), Parameter("latency_budget_s", value=1.0)]
    with RosRig() as rig:
        node = rig.add(module.PolicyNode(context=rig.context, parameter_overrides=overrides))
        statuses = rig.collect(PolicyStatus, TOPICS.policy_status, latched())
        for transition in (Transition.TRANSITION_CONFIGURE, Transition.TRANSITION_ACTIVATE):
            request = ChangeState.Request(transition=Transition(id=transition))
            answer = rig.call(ChangeState, f"/{services.POLICY_NODE}/change_state", request, 60)
            assert not answer.success
        until(lambda: statuses and statuses[-1].reason_code == "bundle_refused")
        assert "action" in statuses[-1].reason
        node.close()
