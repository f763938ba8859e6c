"""A recorded episode on the topics of the contract, as if the robot ran; for looking, and for dry runs.

ros2 launch finevla replay.launch.py bag:=bags/episode_1         (or finevla launch ...)
Plays cameras and measured joints only, and not where a driver runs: see docs/how-to/replay-a-recording.md.
"""

from launch import LaunchDescription
from launch.actions import DeclareLaunchArgument, SetEnvironmentVariable, Shutdown
from launch.substitutions import EnvironmentVariable, LaunchConfiguration, PathJoinSubstitution
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("finevla")
TYPES = {
    "contract_file": str,
    "bag": str,
    "roles": str,
    "topics": str,
    "rate": float,
    "loop": bool,
    "start_s": float,
    "end_s": float,
    "stamps": str,
    "allow_others": bool,
}


def arguments() -> list[DeclareLaunchArgument]:
    """What can be chosen; the parameters of the node say more."""
    switch = {"default_value": "false", "choices": ["true", "false"]}
    return [
        DeclareLaunchArgument("bag", description="directory of the bag"),
        DeclareLaunchArgument(
            "contract_file", default_value="", description="robot contract in YAML; empty: the one of finevla"
        ),
        DeclareLaunchArgument(
            "roles",
            default_value="camera,feedback",
            description="what is played; leader and instruction command a robot that runs",
        ),
        DeclareLaunchArgument(
            "topics", default_value="", description="exactly these topics, in place of roles"
        ),
        DeclareLaunchArgument("rate", default_value="1.0", description="speed: 2.0 is twice as fast"),
        DeclareLaunchArgument("loop", description="begin again at the end", **switch),
        DeclareLaunchArgument("start_s", default_value="0.0", description="where to begin, s"),
        DeclareLaunchArgument("end_s", default_value="0.0", description="where to end, s; 0: at the end"),
        DeclareLaunchArgument(
            "stamps",
            default_value="original",
            description="original: as recorded; now: those of a robot that runs now",
            choices=["original", "now"],
        ),
        DeclareLaunchArgument(
            "allow_others", description="play beside other publishers and a driver", **switch
        ),
        DeclareLaunchArgument(
            "network", default_value="local", description="local: this machine; robot: all network interfaces"
        ),
        DeclareLaunchArgument(
            "domain",
            default_value=EnvironmentVariable("ROS_DOMAIN_ID", default_value="0"),
            description="ROS domain",
        ),
    ]


def generate_launch_description() -> LaunchDescription:
    """Describes one node; the launch ends with it."""
    profile = PathJoinSubstitution([SHARE, "fastdds", [LaunchConfiguration("network"), ".xml"]])
    values = {
        name: ParameterValue(LaunchConfiguration(name), value_type=kind) for name, kind in TYPES.items()
    }
    return LaunchDescription(
        [
            *arguments(),
            SetEnvironmentVariable("ROS_DOMAIN_ID", LaunchConfiguration("domain")),
            SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
            Node(
                package="finevla_system",
                executable="replay_node",
                name="finevla_replay",
                output="screen",
                parameters=[values],
                on_exit=Shutdown(reason="the replay ended"),
            ),
        ]
    )
