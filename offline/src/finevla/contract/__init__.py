"""The one definition of the robot: joints, units, cameras, topics, frames, dimensions, bundles.

Shared by the live nodes and the offline stages. Imports the standard library, numpy and yaml only:
loading it never pulls in torch, rclpy or lerobot.
"""

from finevla.contract.frame import REPLAN_FRAMES, ActionChunk, Observation
from finevla.contract.robot import ARM_SIDES, RobotContract, load_contract

__all__ = ["ARM_SIDES", "REPLAN_FRAMES", "ActionChunk", "Observation", "RobotContract", "load_contract"]
