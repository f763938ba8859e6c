"""Topic names of other drivers for the same arms, so that what was written for them finds ours.

The contract's own names are those of cobot_magic (`/puppet/joint_*`, `/master/joint_*`), which therefore
needs no preset. A preset adds names; the contract's stay, because policy, recorder and manager use them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from finevla.contract.robot import ARM_SIDES

NONE, PIPER_ROS = "none", "piper_ros"


@dataclass(frozen=True, slots=True)
class ArmTopics:
    """Names of one arm's topics, both `sensor_msgs/JointState` with the names of the contract's wire.

    Attributes:
        feedback: Measured joints.
        command: Joints to follow; heard as leader joints are.
    """

    feedback: str
    command: str


PRESETS: Mapping[str, Mapping[str, ArmTopics]] = {
    NONE: {},
    # piper_ros, branch humble: piper_ctrl_single_node, started once per arm in a namespace.
    PIPER_ROS: {
        side: ArmTopics(f"/{side}/joint_states_single", f"/{side}/joint_ctrl_single") for side in ARM_SIDES
    },
}
"""Further topics by preset and side."""
