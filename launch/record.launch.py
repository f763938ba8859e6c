"""Recording demonstrations: the leader arms command, the recorder writes one bag per episode.

On the robot:   ros2 launch finevla record.launch.py
Simulated:      finevla launch record.launch.py sim:=true    (the scripted expert plays the leaders)
Start, stop and label recordings with keys (ros2 run finevla_system record_keys, in a terminal of its own), on
the dashboard, or through the services and the action /finevla/recorder/*.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, IncludeLaunchDescription, Shutdown
from launch.conditions import IfCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("finevla")


def generate_launch_description() -> LaunchDescription:
    """Describes the recording set-up."""
    robot = PythonLaunchDescriptionSource(PathJoinSubstitution([SHARE, "launch", "robot.launch.py"]))
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "recorder", default_value="true", description="run the recorder", choices=["true", "false"]
            ),
            DeclareLaunchArgument("bag_dir", default_value="bags", description="folder of the recorded bags"),
            DeclareLaunchArgument("operator", default_value="", description="stored in every bag"),
            DeclareLaunchArgument(
                "raw_images",
                default_value="false",
                description="record images as the cameras publish them, where nothing compresses them",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument(
                "dashboard",
                default_value="false",
                description="serve a dashboard on 127.0.0.1, with the buttons of the recorder",
                choices=["true", "false"],
            ),
            DeclareLaunchArgument("dashboard_port", default_value="8080", description="its TCP port"),
            IncludeLaunchDescription(robot, launch_arguments=[("command_source", "leader")]),
            Node(
                package="finevla_sim",
                executable="leader_node",
                name="finevla_leader",
                output="screen",
                condition=IfCondition(LaunchConfiguration("sim")),
                on_exit=Shutdown(reason="the simulated leaders ended"),
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
                        "operator": ParameterValue(LaunchConfiguration("operator"), value_type=str),
                        "raw_images": ParameterValue(LaunchConfiguration("raw_images"), value_type=bool),
                    }
                ],
                condition=IfCondition(LaunchConfiguration("recorder")),
                on_exit=Shutdown(reason="the recorder ended"),
            ),
            Node(
                package="finevla_system",
                executable="dashboard_node",
                name="finevla_dashboard",
                output="screen",
                parameters=[{"port": LaunchConfiguration("dashboard_port")}],
                condition=IfCondition(LaunchConfiguration("dashboard")),
            ),
            Node(
                package="finevla_system",
                executable="lifecycle_manager",
                name="finevla_lifecycle_manager",
                output="screen",
                parameters=[
                    PathJoinSubstitution([SHARE, "params", "system.yaml"]),
                    PathJoinSubstitution([SHARE, "params", "system_record.yaml"]),
                    {"enable_arms": ParameterValue(LaunchConfiguration("enable"), value_type=bool)},
                ],
                on_exit=Shutdown(reason="the lifecycle manager ended"),
            ),
        ]
    )
