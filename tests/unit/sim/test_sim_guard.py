"""The guard of the driver leaves our own expert alone, where the two arms meet above all."""

from __future__ import annotations

import pytest
from cobotmagic_driver.guard import COLUMNS, Guard, GuardSettings

from finevla.sim.rollout import demonstrate
from finevla.sim.tasks import sample_goal, sample_scene

# Those of all tasks in which something comes nearest: arms to each other, fingers to the table, hand to the
# edge of the workspace.
NEAREST = ("handover_block", "stack_blocks_three", "move_around_obstacle")


@pytest.mark.parametrize("task", NEAREST)
def test_demonstrations_stay_clear(physics, task):
    demonstration = demonstrate(physics, sample_goal(sample_scene(task, 1)), 1, cameras=())
    assert demonstration.success
    guard = Guard(physics.contract, GuardSettings())
    for poses in (demonstration.actions, demonstration.states):
        room = guard.clearances(poses).min(axis=0)
        assert (room > 0.0).all(), dict(zip(COLUMNS, room.tolist(), strict=True))
