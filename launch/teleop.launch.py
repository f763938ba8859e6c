"""The arms follow the leader arms and nothing is recorded: for practice, and to check a set-up."""

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import PathJoinSubstitution
from launch_ros.substitutions import FindPackageShare


def generate_launch_description() -> LaunchDescription:
    """Describes record.launch.py without its recorder."""
    record = PathJoinSubstitution([FindPackageShare("finevla"), "launch", "record.launch.py"])
    return LaunchDescription(
        [
            IncludeLaunchDescription(
                PythonLaunchDescriptionSource(record), launch_arguments=[("recorder", "false")]
            )
        ]
    )
