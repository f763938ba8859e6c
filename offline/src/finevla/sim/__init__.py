"""The simulated CobotMagic: SAPIEN world, tasks, scripted expert, scores. No ROS.

The world frame is the contract's: x forward, y left, z up, origin on the table top between the
two arm bases. Lengths in m, angles in rad, times in s; vectors of 14 values in contract order.
Only `finevla.sim.world` imports SAPIEN; everything else works without it.
"""
