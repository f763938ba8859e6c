"""Launch files name executables and parameters that exist."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
PARAMETER_FILES = sorted((ROOT / "launch" / "params").glob("*.yaml"))
TABLES = {
    # node (cameras are numbered) -> module and name of its parameter table
    "finevla_driver": ("cobotmagic_driver.params", "DriverParams"),
    "finevla_policy": ("finevla_policy.params", "PolicyParams"),
    "finevla_sim": ("finevla_sim.params", "SimParams"),
    "finevla_leader": ("finevla_sim.params", "LeaderParams"),
    "finevla_camera": ("finevla_perception.params", "CameraParams"),
    "finevla_instruction": ("finevla_perception.params", "InstructionParams"),
    "finevla_lifecycle_manager": ("finevla_system.manager_params", "ManagerParams"),
    "finevla_recorder": ("finevla_system.recorder_params", "RecorderParams"),
}


def nodes(path: Path) -> list[dict[str, ast.expr]]:
    """Keyword arguments of every Node(...) in a launch file."""
    calls = [call for call in ast.walk(ast.parse(path.read_text())) if isinstance(call, ast.Call)]
    found = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Node"]
    return [{keyword.arg: keyword.value for keyword in call.keywords} for call in found]


def executables(package: str) -> set[str]:
    text = (ROOT / "ros2_ws" / "src" / package / "setup.py").read_text()
    return set(re.findall(r"(\w+) = ", text))


@pytest.mark.parametrize("path", LAUNCH_FILES, ids=lambda p: p.name)
def test_executables_exist(path: Path) -> None:
    for node in nodes(path):
        assert node["executable"].value in executables(node["package"].value)


@pytest.mark.ros
@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda p: p.name)
def test_parameters_exist_and_are_of_their_type(path: Path) -> None:
    for node, entry in yaml.safe_load(path.read_text()).items():
        module, name = TABLES[re.sub(r"_\d+$", "", node)]
        table = getattr(importlib.import_module(module), name)
        values = entry["ros__parameters"]
        built = table(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})
        for key, value in values.items():
            default = table.__dataclass_fields__[key].default
            assert isinstance(value, list if isinstance(default, tuple) else type(default)), key
        assert built is not None


@pytest.mark.parametrize("path", PARAMETER_FILES, ids=lambda p: p.name)
def test_every_tuned_value_says_why(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0].startswith("#")
    why = False
    for line in lines:
        # A comment explains the values below it, up to the next comment.
        why = (why or line.startswith("    #")) and not line.endswith("ros__parameters:")
        if re.match(r"    \w+: ", line) and path.name != "cameras.yaml":
            assert why, f"{path.name}: {line.strip()}"


@pytest.mark.ros
def test_colcon_finds_ros_packages() -> None:
    # A maintainer address that ROS 2 does not accept would silently turn them into plain ones.
    done = subprocess.run(
        [sys.executable, "-m", "colcon", "list"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines()}
    assert {"finevla", "finevla_msgs", "cobotmagic_driver", "finevla_policy"} <= set(found)
    assert all(kind.startswith("(ros.") for kind in found.values()), found
