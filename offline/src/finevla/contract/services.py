"""Names of the services and of the nodes that offer them, written once.

Topics are part of the contract itself (`RobotContract.topics`); services are not robot data, so
they do not enter its hash.
"""

from __future__ import annotations

DRIVER_NODE = "finevla_driver"
POLICY_NODE = "finevla_policy"
INSTRUCTION_NODE = "finevla_instruction"
SIM_NODE = "finevla_sim"
RECORDER_NODE = "finevla_recorder"
LIFECYCLE_MANAGER_NODE = "finevla_lifecycle_manager"
LEADER_NODE = "finevla_leader"
DASHBOARD_NODE = "finevla_dashboard"
REPLAY_NODE = "finevla_replay"
RECORD_KEYS_NODE = "finevla_record_keys"

DRIVER_ENABLE = "/finevla/driver/enable"
"""`std_srvs/SetBool`: true lets the motors hold torque, motion still needs a command; false holds."""
DRIVER_STOP = "/finevla/driver/stop"
"""`std_srvs/Trigger`: latched stop."""
DRIVER_RESET_STOP = "/finevla/driver/reset_stop"
"""`std_srvs/Trigger`: ends a stop when called twice within some seconds; the motors go off, the arms drop."""
DRIVER_HOME = "/finevla/driver/home"
"""`std_srvs/Trigger`: opens the grippers, moves both arms home, answers when they are there."""

POLICY_LOAD_CHECKPOINT = "/finevla/policy/load_checkpoint"
"""`finevla_msgs/LoadCheckpoint`."""
POLICY_CANCEL = "/finevla/policy/cancel"
"""`std_srvs/Trigger`: ends the instruction being followed; the arms hold."""
SYSTEM_BRING_UP = "/finevla/system/bring_up"
"""`std_srvs/Trigger`: configures and activates the nodes again, after a person has looked."""
SYSTEM_SHUTDOWN = "/finevla/system/shutdown"
"""`std_srvs/Trigger`: deactivates and cleans up the nodes in reverse order."""
SYSTEM_STATUS = "/finevla/system/status"
"""Topic, `diagnostic_msgs/DiagnosticStatus`, latched: how far the bring-up is, and what is lost."""
RUN_INSTRUCTION = "/finevla/run_instruction"
"""Action `finevla_msgs/RunInstruction`."""
RUN_INSTRUCTION_BLOCKING = "/finevla/run_instruction_blocking"
"""The same as a plain service, `finevla_msgs/RunInstruction`."""

SIM_RESET_SCENE = "/finevla/sim/reset_scene"
"""`finevla_msgs/ResetScene`."""
SIM_SCORE_SCENE = "/finevla/sim/score_scene"
"""`finevla_msgs/ScoreScene`."""

RECORDER_START = "/finevla/recorder/start"
"""`finevla_msgs/StartRecording`."""
RECORDER_STOP = "/finevla/recorder/stop"
"""`finevla_msgs/StopRecording`."""
RECORDER_LABEL = "/finevla/recorder/label"
"""`finevla_msgs/LabelRecording`."""
RECORDER_RECORD = "/finevla/recorder/record"
"""Action `finevla_msgs/RecordEpisode`: one recording from start to end."""

DIAGNOSTICS = "/diagnostics"
"""Topic, `diagnostic_msgs/DiagnosticArray`: ROS's own; how the streams of a node fare."""
