"""The subset of launch: substitutions, scopes, inclusions, node command lines, and what it refuses."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import yaml

from finevla.errors import LaunchError
from finevla.launcher import verb
from finevla.launcher.arguments import DeclaredArgument, check_arguments, describe, parse_arguments
from finevla.launcher.subset.context import LaunchContext
from finevla.launcher.subset.modules import EXPORTS, installed
from finevla.launcher.subset.parameters import ParameterValue
from finevla.launcher.subset.ros import Node, PushRosNamespace, SetParameter, SetRemap, join_namespace
from finevla.launcher.subset.service import LaunchService
from finevla.launcher.subset.sources import load
from finevla.launcher.subset.substitutions import (
    EnvironmentVariable,
    IfCondition,
    LaunchConfiguration,
    PathJoinSubstitution,
    PythonExpression,
    UnlessCondition,
)


@pytest.fixture
def context() -> LaunchContext:
    service = LaunchService(write=lambda _: None, log=lambda _: None)
    service.context.launch_configurations.update(sim="true", n="3")
    return service.context


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `robot` with an executable `arm`, in an ament index of its own."""
    (tmp_path / "share/ament_index/resource_index/packages").mkdir(parents=True)
    (tmp_path / "share/ament_index/resource_index/packages/robot").touch()
    (tmp_path / "lib/robot").mkdir(parents=True)
    (tmp_path / "lib/robot/arm").write_text("#!/bin/sh\n")
    (tmp_path / "lib/robot/arm").chmod(0o755)
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    return tmp_path


def test_arguments_are_name_colon_equals_value() -> None:
    assert parse_arguments(["a:=1", "b:=x:=y", "a:=2"]) == {"a": "2", "b": "x:=y"}
    for word in ("a=1", ":=1", "a"):
        with pytest.raises(LaunchError, match="malformed"):
            parse_arguments([word])


def test_an_argument_that_is_not_declared_is_refused() -> None:
    declared = [DeclaredArgument("sim", "simulate", "false", ("true", "false"))]
    check_arguments({"sim": "true"}, declared)
    with pytest.raises(LaunchError, match="no argument simm"):
        check_arguments({"simm": "true"}, declared)
    assert "one of: true, false" in describe(declared)


def test_substitutions(context: LaunchContext) -> None:
    context.environment["WHERE"] = "here"
    cases = {
        LaunchConfiguration("sim"): "true",
        LaunchConfiguration("absent", default=5): "5",
        PathJoinSubstitution(["a", [LaunchConfiguration("n"), ".x"], "b"]): "a/3.x/b",
        EnvironmentVariable("WHERE"): "here",
        EnvironmentVariable("NOWHERE_AT_ALL", default_value="x"): "x",
        PythonExpression(["'", LaunchConfiguration("sim"), "' == 'true' and sqrt(4) == 2"]): "True",
    }
    assert {c.perform(context): want for c, want in cases.items()} == {want: want for want in cases.values()}
    for missing in (
        LaunchConfiguration("absent"),
        EnvironmentVariable("NOWHERE_AT_ALL"),
        PythonExpression("1/0"),
    ):
        with pytest.raises(LaunchError):
            missing.perform(context)


@pytest.mark.parametrize(
    ("text", "want"), [("true", True), ("True", True), ("1", True), ("false", False), ("0", False)]
)
def test_conditions(context: LaunchContext, text: str, want: bool) -> None:
    assert IfCondition(text).evaluate(context) is want
    assert UnlessCondition(text).evaluate(context) is not want


def test_a_condition_that_is_neither_true_nor_false_is_refused(context: LaunchContext) -> None:
    with pytest.raises(LaunchError, match="neither true nor false"):
        IfCondition("yes").evaluate(context)


def test_command_line_of_a_node(context: LaunchContext, package: Path) -> None:
    PushRosNamespace("lab").visit(context)
    SetParameter("use_sim_time", True).visit(context)
    SetRemap("/a", "/b").visit(context)
    node = Node(
        package="robot",
        executable="arm",
        name="left",
        namespace="arms",
        parameters=[
            {
                "rate": LaunchConfiguration("n"),
                "host": ParameterValue(LaunchConfiguration("n"), value_type=str),
            }
        ],
        remappings=[("/c", ["/d", LaunchConfiguration("n")])],
        arguments=["--verbose"],
    )
    words = node.command(context)
    assert words[:2] == [str(package / "lib/robot/arm"), "--verbose"]
    assert words[2:7] == ["--ros-args", "-r", "__node:=left", "-r", "__ns:=/lab/arms"]
    files = [Path(words[i + 1]) for i, word in enumerate(words) if word == "--params-file"]
    for_all, own = (yaml.safe_load(path.read_text())["/lab/arms/left"]["ros__parameters"] for path in files)
    assert for_all == {"use_sim_time": True}
    assert own == {"rate": 3, "host": "3"}
    assert words[-4:] == ["-r", "/a:=/b", "-r", "/c:=/d3"]


def test_absolute_namespaces_stand_for_themselves() -> None:
    assert join_namespace("/lab", "arms") == "/lab/arms"
    assert join_namespace("/lab", "/arms") == "/arms"
    assert join_namespace("", "") == ""


def test_parameters_that_ros_does_not_know_are_refused(context: LaunchContext, package: Path) -> None:
    for value in ([], [1, "a"], {"a": None}, ParameterValue(LaunchConfiguration("sim"), value_type=int)):
        with pytest.raises(LaunchError, match="a parameter has"):
            Node(package="robot", executable="arm", parameters=[{"x": value}]).command(context)


def test_unknown_packages_executables_and_files_are_named(context: LaunchContext, package: Path) -> None:
    with pytest.raises(LaunchError, match="'ghost' is not found"):
        Node(package="ghost", executable="arm").command(context)
    with pytest.raises(LaunchError, match="no executable 'leg'") as caught:
        Node(package="robot", executable="leg").command(context)
    assert caught.value.expected == "arm"
    with pytest.raises(LaunchError, match="parameter file is missing"):
        Node(package="robot", executable="arm", parameters=["/absent.yaml"]).command(context)


REFUSED = {
    "from launch.actions import SetLaunchConfiguration": "launch.actions.SetLaunchConfiguration is not in",
    "import launch.frontend": "launch.frontend is not in the subset",
    "import launch; launch.LaunchService": "launch.LaunchService is not in the subset",
    "from launch_ros.actions import ComposableNodeContainer": "ComposableNodeContainer is not in the subset",
    "from launch.actions import ExecuteProcess; ExecuteProcess(cmd=['a'], respawn=True)": "respawn=...",
    "from launch.actions import ExecuteProcess; ExecuteProcess(cmd=['a'], env={})": "env=...",
    "from launch_ros.actions import Node; Node(executable='b', emulate_tty=True)": "emulate_tty=...",
}


@pytest.mark.parametrize("line", REFUSED)
def test_what_is_not_in_the_subset_is_refused(tmp_path: Path, line: str) -> None:
    path = tmp_path / "x.launch.py"
    path.write_text(f"{line}\ndef generate_launch_description():\n    return None\n")
    with installed(), pytest.raises(LaunchError) as caught:
        load(path)
    assert REFUSED[line] in str(caught.value)


def test_the_names_of_real_launch_are_free_again_afterwards() -> None:
    before = {name for name in sys.modules if name.split(".")[0] in {"launch", "launch_ros"}}
    with installed():
        import launch.actions

        assert launch.actions.LogInfo is EXPORTS["launch.actions"]["LogInfo"]
    assert {name for name in sys.modules if name.split(".")[0] in {"launch", "launch_ros"}} == before


def test_a_folder_named_launch_does_not_pass_for_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] in {"launch", "launch_ros"}]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "launch").mkdir()
    assert not verb.real_launch_is_installed()
    with pytest.raises(LaunchError, match="not installed"):
        verb.choose_engine("ros")
    assert verb.choose_engine("auto") == "subset"


def test_the_whole_environment_reaches_processes() -> None:
    # A reduced environment breaks the ROS 2 wheels, whose start-up guard is inherited.
    service = LaunchService()
    assert service.context.environment == dict(os.environ)
