"""The robot without a mind: transport, arms and cameras (real or simulated), and the instruction node.

Included by bringup.launch.py and record.launch.py, whose arguments these are too.
"""

from launch import LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    GroupAction,
    IncludeLaunchDescription,
    SetEnvironmentVariable,
    Shutdown,
)
from launch.conditions import IfCondition, UnlessCondition
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import (
    EnvironmentVariable,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
)
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue
from launch_ros.substitutions import FindPackageShare

SHARE = FindPackageShare("finevla")
SIM = LaunchConfiguration("sim")


def arguments() -> list[DeclareLaunchArgument]:
    """What can be chosen."""
    return [
        DeclareLaunchArgument(
            "sim", default_value="false", description="simulate arms and cameras", choices=["true", "false"]
        ),
        DeclareLaunchArgument(
            "enable",
            default_value=SIM,
            description="switch the motors on as soon as the driver is active (in simulation the default)",
        ),
        DeclareLaunchArgument(
            "cameras",
            default_value="none",
            description="own: run our node for each of the contract's cameras, as camera_params says (V4L2, "
            "RealSense, film); none: the vendor's nodes publish them",
            choices=["none", "own"],
        ),
        DeclareLaunchArgument(
            "camera_params",
            default_value=PathJoinSubstitution([SHARE, "params", "cameras.yaml"]),
            description="parameter file that says which device is which camera",
        ),
        DeclareLaunchArgument(
            "command_source",
            default_value="policy",
            description="what moves the arms: action chunks, leader arms, joint commands or trajectories",
            choices=["policy", "leader", "joints", "trajectory"],
        ),
        DeclareLaunchArgument(
            "contract_file", default_value="", description="robot contract in YAML; empty: the one of finevla"
        ),
        DeclareLaunchArgument(
            "description",
            default_value=PythonExpression(["'false' if '", SIM, "'.lower() in ('true', '1') else 'true'"]),
            description="publish /robot_description and /joint_states for RViz, Foxglove and the like",
            choices=["true", "false"],
        ),
        DeclareLaunchArgument(
            "network",
            default_value=PythonExpression(["'local' if '", SIM, "'.lower() in ('true', '1') else 'robot'"]),
            description="local: this machine only; robot: all network interfaces",
        ),
        DeclareLaunchArgument(
            "domain",
            default_value=EnvironmentVariable("ROS_DOMAIN_ID", default_value="0"),
            description="ROS domain",
        ),
    ]


def transport() -> list[SetEnvironmentVariable]:
    """Default Fast DDS loses large images; the profile uses shared memory segments that hold them."""
    profile = PathJoinSubstitution([SHARE, "fastdds", [LaunchConfiguration("network"), ".xml"]])
    return [
        SetEnvironmentVariable("ROS_DOMAIN_ID", LaunchConfiguration("domain")),
        SetEnvironmentVariable("FASTDDS_DEFAULT_PROFILES_FILE", profile),
    ]


def driver(condition: IfCondition | UnlessCondition, files: list[str], more: dict) -> Node:
    """The driver of both arms; the lifecycle manager configures and activates it."""
    return Node(
        package="cobotmagic_driver",
        executable="driver_node",
        name="finevla_driver",
        output="screen",
        parameters=[
            *(PathJoinSubstitution([SHARE, "params", name]) for name in files),
            {
                "contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str),
                "command_source": LaunchConfiguration("command_source"),
                **more,
            },
        ],
        condition=condition,
        on_exit=Shutdown(reason="the driver ended"),
    )


def camera(name: str, condition: IfCondition) -> Node:
    """One camera; the parameter file says which. If it dies the policy holds."""
    return Node(
        package="finevla_perception",
        executable="camera_node",
        name=name,
        output="screen",
        parameters=[
            LaunchConfiguration("camera_params"),
            {"contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str)},
        ],
        condition=condition,
    )


def description() -> Node:
    """What programs that show the robot need; if it dies nothing else does."""
    return Node(
        package="cobotmagic_driver",
        executable="description_node",
        name="finevla_description",
        output="screen",
        parameters=[
            {"contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str)},
        ],
        condition=IfCondition(LaunchConfiguration("description")),
    )


def generate_launch_description() -> LaunchDescription:
    """Describes the robot."""
    bus = ['{"host": "127.0.0.1", "port": ', LaunchConfiguration("can_port"), ', "tcp_tune": true}']
    socketcand = {"can_interface": "socketcand", "can_options": ParameterValue(bus, value_type=str)}
    sim_file = PathJoinSubstitution([SHARE, "launch", "sim.launch.py"])
    simulated = IncludeLaunchDescription(PythonLaunchDescriptionSource(sim_file))
    cameras = PythonExpression(
        ["'", LaunchConfiguration("cameras"), "' == 'own' and '", SIM, "'.lower() in ('false', '0')"]
    )
    return LaunchDescription(
        [
            *arguments(),
            *transport(),
            GroupAction(
                [simulated, driver(IfCondition("true"), ["driver.yaml", "driver_sim.yaml"], socketcand)],
                scoped=False,
                condition=IfCondition(SIM),
            ),
            driver(UnlessCondition(SIM), ["driver.yaml"], {}),
            *(camera(f"finevla_camera_{number}", IfCondition(cameras)) for number in (1, 2, 3)),
            description(),
            Node(
                package="finevla_perception",
                executable="instruction_node",
                name="finevla_instruction",
                output="screen",
                parameters=[
                    {"contract_file": ParameterValue(LaunchConfiguration("contract_file"), value_type=str)}
                ],
                on_exit=Shutdown(reason="the instruction node ended"),
            ),
        ]
    )
