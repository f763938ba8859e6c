"""Launch files name executables and parameters that exist."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
LAUNCH_FILES = sorted((ROOT / "launch").glob("*.launch.py"))
PARAMETER_FILES = sorted((ROOT / "launch" / "params").glob("*.yaml"))
TABLES = {
    # node (cameras are numbered) -> module and name of its parameter table
    "finevla_driver": ("cobotmagic_driver.params", "DriverParams"),
    "finevla_description": ("cobotmagic_driver.description_params", "DescriptionParams"),
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


@pytest.mark.parametrize(
    "path", [*sorted(ROOT.glob("ros2_ws/src/*/package.xml")), ROOT / "launch" / "package.xml"]
)
def test_package_files_are_valid(path: Path) -> None:
    # A maintainer address that ROS 2 does not accept would silently turn the package into a plain one.
    catkin_pkg = pytest.importorskip("catkin_pkg.package")
    package = catkin_pkg.parse_package(str(path))
    package.validate()
    assert package.name == ("finevla" if path.parent.name == "launch" else path.parent.name)
    assert package.get_build_type() in {"ament_cmake", "ament_python"}


@pytest.mark.ros
def test_the_arguments_of_the_replay_are_its_parameters() -> None:
    # ROS ignores a parameter that nobody declared: a wrong name would be an argument without effect.
    from finevla_system.replay_params import ReplayParams

    from finevla.contract.params import specs

    body = ast.parse((ROOT / "launch" / "replay.launch.py").read_text()).body
    named = [n for n in body if isinstance(n, ast.Assign) and n.targets[0].id == "TYPES"]
    types = {
        key.value: value.id for key, value in zip(named[0].value.keys, named[0].value.values, strict=True)
    }
    declared = {spec.name: spec.type.__name__ for spec in specs(ReplayParams)}
    assert types.items() <= declared.items()
