"""The simulated world alone: arms as CAN devices on loopback, cameras, truth and scene services."""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, Shutdown
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Describes the simulated world."""
    share = FindPackageShare("finevla")
    return LaunchDescription(
        [
            DeclareLaunchArgument("task", default_value="pick_lift", description="task of the first scene"),
            DeclareLaunchArgument("seed", default_value="0", description="seed of the first scene"),
            DeclareLaunchArgument(
                "can_port",
                default_value="29536",
                description="TCP port on 127.0.0.1 of the simulated CAN",
            ),
            Node(
                package="finevla_sim",
                executable="sim_node",
                name="finevla_sim",
                output="screen",
                parameters=[
                    PathJoinSubstitution([share, "params", "sim.yaml"]),
                    {
                        "task": LaunchConfiguration("task"),
                        "seed": LaunchConfiguration("seed"),
                        "can_port": LaunchConfiguration("can_port"),
                    },
                ],
                on_exit=Shutdown(reason="the simulated world ended"),
            ),
        ]
    )
