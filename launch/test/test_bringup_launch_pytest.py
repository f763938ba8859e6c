"""bringup.launch.py through ROS's own launch: what `ros2 launch finevla bringup.launch.py sim:=true` does.

Runs under `colcon test` on a machine with ROS 2 and the renderer; elsewhere it is skipped. The expectations
are those of tests/launch/expectations.py.
"""

import importlib.util
import os
import socket
import sys
from pathlib import Path

import pytest

# Not `launch`: this folder's parent is called launch, and would pass for the package.
pytest.importorskip("launch.actions", reason="ROS's own launch is not installed")
launch_pytest = pytest.importorskip("launch_pytest", reason="launch_pytest is not installed")

from launch import LaunchDescription
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

ROOT = Path(__file__).resolve().parents[2]


def _expectations():
    spec = importlib.util.spec_from_file_location(
        "expectations", ROOT / "tests" / "launch" / "expectations.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules["expectations"] = module
    spec.loader.exec_module(module)
    return module


@launch_pytest.fixture
def bringup():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = PythonLaunchDescriptionSource(str(ROOT / "launch" / "bringup.launch.py"))
    arguments = [("sim", "true"), ("can_port", str(port)), ("description", "true")]
    ready = launch_pytest.actions.ReadyToTest()
    return LaunchDescription([IncludeLaunchDescription(source, launch_arguments=arguments), ready])


@pytest.mark.launch(fixture=bringup)
def test_the_robot_is_as_expected():
    expectations = _expectations()
    robot = expectations.Observer(int(os.environ.get("ROS_DOMAIN_ID", "0")))
    try:
        for expectation in expectations.EXPECTATIONS:
            problem = expectation.problem(robot)
            assert not problem, f"{expectation.name}: {problem}"
    finally:
        robot.close()
