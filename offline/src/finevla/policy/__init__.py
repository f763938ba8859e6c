"""The policy: camera pictures, joints and words in, a chunk of joint targets out.

Shared by trainer and policy node. Importing this package loads torch; nothing here knows ROS,
LeRobot or the simulator.
"""
