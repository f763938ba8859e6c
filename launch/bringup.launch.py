"""The whole robot: arms, cameras, instructions, policy, and the manager that brings them up in order.

On the robot:   ros2 launch finevla bringup.launch.py
Simulated:      finevla launch bringup.launch.py sim:=true
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution, PythonExpression
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("finevla")


def arguments() -> list[DeclareLaunchArgument]:
    """What can be chosen beside the arguments of robot.launch.py."""
    switch = {"default_value": "false", "choices": ["true", "false"]}
    return [
        DeclareLaunchArgument("bundle", default_value="", description="bundle folder; empty: finevla's own"),
        DeclareLaunchArgument(
            "image_transport",
            default_value="raw",
            description="camera topics that the policy reads",
            choices=["raw", "compressed"],
        ),
        DeclareLaunchArgument("recorder", description="run the recorder node too", **switch),
        DeclareLaunchArgument("bag_dir", default_value="bags", description="folder of recorded bags"),
        DeclareLaunchArgument("dashboard", description="serve a dashboard on 127.0.0.1", **switch),
        DeclareLaunchArgument("dashboard_port", default_value="8080", description="its TCP port"),
    ]


def policy() -> Node:
    """The policy; the lifecycle manager configures (loads, warms up) and activates it."""
    sim = ["'", LaunchConfiguration("sim"), "'.lower() in ('true', '1')"]
    special = PythonExpression(["'policy_sim.yaml' if ", *sim, " else 'policy.yaml'"])
    return Node(
        package="finevla_policy",
        executable="policy_node",
        name="finevla_policy",
        output="screen",
        parameters=[
            PathJoinSubstitution([SHARE, "params", "policy.yaml"]),
            PathJoinSubstitution([SHARE, "params", special]),
            {
                "bundle": ParameterValue(LaunchConfiguration("bundle"), value_type=str),
                "contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str),
                "image_transport": LaunchConfiguration("image_transport"),
            },
        ],
        on_exit=Shutdown(reason="the policy ended"),
    )


def system() -> list[Node]:
    """The manager, and what is not needed for motion: recorder and dashboard may end without the rest."""
    return [
        Node(
            package="finevla_system",
            executable="lifecycle_manager",
            name="finevla_lifecycle_manager",
            output="screen",
            parameters=[
                PathJoinSubstitution([SHARE, "params", "system.yaml"]),
                {"enable_arms": ParameterValue(LaunchConfiguration("enable"), value_type=bool)},
            ],
            on_exit=Shutdown(reason="the lifecycle manager ended"),
        ),
        Node(
            package="finevla_system",
            executable="recorder_node",
            name="finevla_recorder",
            output="screen",
            parameters=[
                {
                    "contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str),
                    "out_dir": ParameterValue(LaunchConfiguration("bag_dir"), value_type=str),
                }
            ],
            condition=IfCondition(LaunchConfiguration("recorder")),
        ),
        Node(
            package="finevla_system",
            executable="dashboard_node",
            name="finevla_dashboard",
            output="screen",
            parameters=[{"port": LaunchConfiguration("dashboard_port")}],
            condition=IfCondition(LaunchConfiguration("dashboard")),
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Describes the whole robot."""
    robot = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"]))
    return LaunchDescription([*arguments(), IncludeLaunchDescription(robot), policy(), *system()])
