"""A strict subset of ROS 2's `launch` and `launch_ros`, for machines that lack them.

It exists under those names in `sys.modules` only while a launch file runs (`modules.installed`), never
on disk, so that it cannot shadow the real packages. Behaviour follows the real packages for what is
in the subset; anything else raises `LaunchError`, it is never ignored. Lifecycle transitions are not
part of it: `finevla_system`'s lifecycle manager makes them.
"""
