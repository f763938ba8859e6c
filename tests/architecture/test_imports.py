"""Who may import whom. The walls are those of ARCHITECTURE.md; a new one is a decision, not an accident."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LIBRARY = ROOT / "offline" / "src" / "finevla"
PACKAGES = ROOT / "ros2_ws" / "src"

STOREYS: dict[str, tuple[set[str], set[str]]] = {
    # storey: (storeys it may import besides itself and errors, third parties it may import)
    "contract": (set(), {"numpy", "yaml", "safetensors"}),
    "pictures": (set(), {"numpy", "av"}),
    "bag": (
        {"contract", "pictures"},
        {"numpy", "yaml", "ruamel", "rosbags", "apsw", "simplejpeg", "lz4", "backports"},
    ),
    "dataset": ({"contract", "bag", "files"}, {"numpy", "pyarrow", "av", "simplejpeg"}),
    "files": (set(), {"numpy"}),
    "sim": ({"contract"}, {"numpy", "sapien", "scipy"}),
    "policy": ({"contract"}, {"numpy", "torch", "safetensors"}),
    "launcher": (set(), {"yaml", "tyro", "launch"}),
    "stages": (
        {"contract", "bag", "dataset", "files", "sim", "policy", "launcher"},
        {
            "numpy",
            "yaml",
            "tyro",
            "rich",
            "torch",
            "safetensors",
            "lerobot",
            "pyarrow",
            "av",
            "PIL",
            "sapien",
            "accelerate",
            "torchcodec",
            "matplotlib",
            "scipy",
            "plotly",
            "dtaidistance",
            "ray",
            "simplejpeg",
            "h5py",
            "google_crc32c",
            "google",
        },
    ),
    "cli": (set(), {"tyro"}),
    "__main__": ({"cli"}, set()),
    "errors": (set(), set()),
    "__init__": (set(), set()),
}
ROS_IN_LIBRARY = {
    # The library is no ROS program, but for a client of a running graph and the check that ROS is there.
    "stages/demo/graph.py",
    "stages/doctor/checks.py",
}
ROS = {"rclpy", "finevla_msgs", "std_msgs", "std_srvs", "sensor_msgs", "geometry_msgs", "builtin_interfaces"}
ROS |= {"rcl_interfaces", "lifecycle_msgs", "diagnostic_msgs", "ament_index_python"}
REAL_LAUNCH = "launcher/real.py"
NODES: dict[str, tuple[set[str], set[str]]] = {
    # package: (storeys of the library, other node packages)
    "cobotmagic_driver": ({"contract"}, {"finevla_perception"}),
    "finevla_perception": ({"contract", "pictures"}, set()),
    "finevla_policy": ({"contract", "pictures", "policy"}, {"finevla_perception"}),
    "finevla_sim": ({"contract", "bag", "sim"}, {"finevla_perception"}),
    "finevla_system": ({"contract", "pictures", "bag"}, {"finevla_perception"}),
}


def imports(path: Path) -> Iterator[str]:
    """Full names of the modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            if node.module == "finevla":
                yield from (f"finevla.{alias.name}" for alias in node.names)
            else:
                yield node.module or ""


def third_parties(path: Path) -> set[str]:
    tops = {name.split(".")[0] for name in imports(path)}
    return tops - set(sys.stdlib_module_names) - {"finevla", "__future__"}


def storeys(path: Path) -> set[str]:
    return {name.split(".")[1] for name in imports(path) if name.startswith("finevla.")} - {
        "errors",
        "__version__",
    }


def storey_of(path: Path) -> str:
    return path.relative_to(LIBRARY).parts[0].removesuffix(".py")


FILES = sorted(LIBRARY.rglob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(LIBRARY)))
def test_the_library_imports_downwards_only(path: Path) -> None:
    lower, parties = STOREYS[storey_of(path)]
    assert storeys(path) <= lower | {storey_of(path)}
    name = str(path.relative_to(LIBRARY))
    allowed = parties | (ROS if name in ROS_IN_LIBRARY else set())
    if name != REAL_LAUNCH:
        allowed -= {"launch"}
    assert third_parties(path) <= allowed


@pytest.mark.parametrize("package", NODES)
def test_nodes_import_only_what_runs_on_the_robot(package: str) -> None:
    lower, neighbours = NODES[package]
    for path in sorted((PACKAGES / package / package).rglob("*.py")):
        assert storeys(path) <= lower, path
        assert third_parties(path) & set(NODES) <= neighbours | {package}, path


def test_every_node_package_has_its_walls() -> None:
    present = {path.parent.name for path in PACKAGES.glob("*/package.xml")} - {"finevla_msgs"}
    assert present == set(NODES)


@pytest.mark.parametrize("path", sorted((ROOT / "launch").glob("*.launch.py")), ids=lambda p: p.name)
def test_launch_files_import_only_launch(path: Path) -> None:
    assert third_parties(path) <= {"launch", "launch_ros"}
    assert not storeys(path)


def test_the_launch_folder_is_no_python_package() -> None:
    # An __init__.py there would shadow ROS's own `launch` whenever the root comes first on the path.
    assert not list((ROOT / "launch").rglob("__init__.py"))


HEAVY = ("torch", "rclpy", "lerobot", "sapien", "rosbags", "launch", "pyarrow")


@pytest.mark.parametrize(
    "module", ["finevla.contract", "finevla.contract.bundle", "finevla.cli", "finevla.launcher.verb"]
)
def test_light_modules_load_nothing_heavy(module: str) -> None:
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_help_lists_verbs_without_loading_them() -> None:
    loaded = "[name for name in sys.modules if 'stages' in name or name == 'numpy']"
    code = f"import sys; from finevla.cli import main; main([]); print({loaded})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("[]")
