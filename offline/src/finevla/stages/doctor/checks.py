"""The checks of `finevla doctor`. Each looks at one thing and returns one row."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from finevla.contract import load_contract
from finevla.errors import FineVLAError

OK, WARN, FAIL = "ok", "warn", "fail"
SETUP = "run `make setup`, then enter the environment: . scripts/env.sh"
ENTER = "enter the environment: . scripts/env.sh"
SHM, SHM_NEEDED_MB = "/dev/shm", 500  # noqa: S108  shared memory, not a place for files
CAN_UP = "connect the adapters, name them, and: ip link set NAME up type can bitrate 1000000"
PROBE_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Row:
    """One finding. `state` is ok, warn (some verbs will not work) or fail (the demo will not work)."""

    check: str
    state: str
    found: str
    remedy: str = ""


def python() -> Row:
    """The interpreter."""
    version = ".".join(str(part) for part in sys.version_info[:3])
    if version.startswith("3.12."):
        return Row("python", OK, f"{version} ({sys.executable})")
    return Row("python", FAIL, f"{version}; ROS 2 Jazzy and Kilted are built for 3.12", SETUP)


def requirements_folder() -> Path | None:
    """Folder of the pins, if the library runs from a checkout."""
    folder = Path(__file__).resolve().parents[5] / "requirements"
    return folder if folder.is_dir() else None


def ros_distro() -> str:
    """The ROS 2 distribution that is sourced, or the empty string."""
    return os.environ.get("ROS_DISTRO", "")


def pins() -> Row:
    """Installed versions against `requirements/`."""
    folder = requirements_folder()
    if folder is None:
        return Row("pins", WARN, "not a checkout: versions are not compared")
    wrong = []
    lines = [line for path in sorted(folder.glob("*.txt")) for line in path.read_text().splitlines()]
    wanted = [line.split("==") for line in lines if "==" in line]
    wanted = [pin for pin in wanted if not (ros_distro() and pin[0].startswith("ros-"))]
    for name, version in wanted:
        try:
            found = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found = "missing"
        if found != version:
            wrong.append(f"{name} {found} (pinned {version})")
    if wrong:
        return Row("pins", WARN, f"{len(wrong)} of {len(wanted)} differ: {', '.join(wrong[:5])}", SETUP)
    return Row("pins", OK, f"{len(wanted)} packages as pinned")


def ros() -> Row:
    """rclpy, and where it comes from."""
    spec = importlib.util.find_spec("rclpy")
    if spec is None or spec.origin is None:
        return Row("ros 2", FAIL, "rclpy cannot be imported", SETUP)
    if ros_distro():
        return Row("ros 2", OK, f"{ros_distro()} (installed)")
    return Row("ros 2", OK, f"Kilted wheels, rclpy {importlib.metadata.version('ros-rclpy')}")


def messages() -> Row:
    """The compiled messages."""
    try:
        from finevla_msgs.msg import ActionChunk
    except ImportError as err:
        return Row("finevla_msgs", FAIL, f"not built or not on the path: {err}", SETUP)
    return Row(
        "finevla_msgs", OK, f"built, {len(ActionChunk.get_fields_and_field_types())} fields in ActionChunk"
    )


def nodes() -> Row:
    """The node packages of the workspace."""
    from finevla.launcher.packages import package_share

    try:
        share = package_share("finevla")
    except FineVLAError as err:
        return Row("workspace", FAIL, err.what, err.remedy)
    return Row("workspace", OK, str(share.parents[1]))


def renderer() -> Row:
    """The Vulkan device that renders; one small picture is rendered in a process of its own."""
    driver = os.environ.get("VK_DRIVER_FILES", "(not set)")
    remedy = (
        "without a GPU: Mesa >= 25 (`make setup` installs it as root) and `. scripts/env.sh`, which sets "
        f"VK_DRIVER_FILES; it is {driver} now"
    )
    command = [sys.executable, "-m", "finevla.stages.doctor.render_probe"]
    try:
        # The environment is handed on whole: the ROS 2 wheels need it.
        done = subprocess.run(command, capture_output=True, text=True, timeout=PROBE_TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return Row("renderer", FAIL, f"no picture within {PROBE_TIMEOUT_S} s", remedy)
    if done.returncode != 0:
        reason = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        return Row("renderer", FAIL, reason, remedy)
    facts = json.loads(done.stdout.strip().splitlines()[-1])
    text = f"{facts['name']}, driver {facts.get('driver', 'unknown')}, {facts.get('type', 'unknown type')}"
    if facts["pixels"] == 0:
        return Row("renderer", FAIL, f"{text}: renders an empty picture", remedy)
    return Row("renderer", OK, text)


def transport() -> Row:
    """The Fast DDS profile."""
    path = os.environ.get("FASTDDS_DEFAULT_PROFILES_FILE", "")
    if not path:
        found = "FASTDDS_DEFAULT_PROFILES_FILE is not set: nodes that no launch file starts lose large images"
        return Row("fast dds", WARN, found, ENTER)
    if not Path(path).is_file():
        return Row("fast dds", FAIL, f"the profile is missing: {path}", ENTER)
    return Row("fast dds", OK, path)


def shared_memory() -> Row:
    """Room in /dev/shm: every node takes a segment of 35 MB there."""
    folder = Path(SHM)
    if not folder.is_dir():
        return Row(SHM, FAIL, "there is none", "in a container: --shm-size=1g")
    free_mb = shutil.disk_usage(folder).free / 1e6
    if free_mb < SHM_NEEDED_MB:
        remedy = "`fastdds shm clean` removes what dead nodes left; in a container: --shm-size=1g"
        return Row(SHM, FAIL, f"{free_mb:.0f} MB free, {SHM_NEEDED_MB} MB needed", remedy)
    return Row(SHM, OK, f"{free_mb:.0f} MB free")


def can() -> Row:
    """The CAN interfaces of the arms; a simulated robot needs none."""
    net = Path("/sys/class/net")
    present = sorted(
        p.name for p in net.iterdir() if (p / "type").is_file() and (p / "type").read_text().strip() == "280"
    )
    wanted = sorted(arm.can_channel for arm in load_contract().arms.values())
    missing = [name for name in wanted if name not in present]
    if missing:
        found = (
            f"no {', '.join(missing)} (found: {', '.join(present) or 'none'}); only a real robot needs them"
        )
        return Row("can", WARN, found, CAN_UP)
    return Row("can", OK, ", ".join(wanted))


def bundle() -> Row:
    """The bundle that ships with the library."""
    from finevla.contract.bundle import read_bundle, shipped_bundle

    try:
        checked = read_bundle(shipped_bundle(), load_contract())
    except FineVLAError as err:
        return Row("bundle", FAIL, err.what, err.remedy)
    return Row("bundle", OK, f"{checked.checkpoint_id}, signature and contract hash verified")


def ffmpeg() -> Row:
    """ffmpeg: its libraries decode the videos of datasets."""
    path = shutil.which("ffmpeg")
    return Row("ffmpeg", OK, path) if path else Row("ffmpeg", WARN, "not on the path", SETUP)


def kernels() -> Row:
    """The compiled kernels of `finevla curate`."""
    from finevla.stages.curate.dtw.library import VARIANTS, variants

    try:
        return Row("dtw kernels", OK, f"compiled, {VARIANTS[variants()[-1]]}")
    except FineVLAError as err:
        return Row("dtw kernels", WARN, err.what, SETUP)


CHECKS: Sequence[Callable[[], Row]] = (
    python,
    pins,
    ros,
    messages,
    nodes,
    renderer,
    transport,
    shared_memory,
    can,
    bundle,
    ffmpeg,
    kernels,
)


def run_all() -> list[Row]:
    """All rows, in order."""
    return [check() for check in CHECKS]
