"""LeRobot feature keys, written once. Camera keys come from `CameraSpec.key`."""

STATE = "observation.state"
"""Measured joints, shape (14,), rad and m, in contract order."""

ACTION = "action"
"""Commanded joints (leader or expert), shape (14,), rad and m, in contract order."""

TASK = "task"
"""The plain instruction text of an episode."""
