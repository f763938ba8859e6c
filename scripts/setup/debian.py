"""Debian and Ubuntu packages: says what is missing and, as root, installs only that.

SAPIEN needs a Vulkan driver that knows descriptor indexing. Where there is no GPU that is Mesa's
lavapipe, version 25 or newer. Debian 12 has it in its backports suite, which is taken from the
archive that the machine already uses; Debian 13 and Ubuntu 24.04 have it in their own.

Run by `make setup`; alone: `sudo python3.12 scripts/setup/debian.py`.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from console import SetupError, run, say

MESA = "mesa-vulkan-drivers"
MESA_MAJOR = 25
SOURCES = Path("/etc/apt")
BACKPORTS = SOURCES / "sources.list.d" / "finevla-backports.sources"
COPIED_FIELDS = ("signed-by", "trusted", "architectures")


def has_nvidia_vulkan() -> bool:
    """True where an NVIDIA GPU can render: its device and its Vulkan driver are there."""
    folders = ("/etc/vulkan/icd.d", "/usr/share/vulkan/icd.d")
    drivers = [path for folder in folders for path in Path(folder).glob("nvidia*.json")]
    return bool(drivers) and Path("/dev/nvidiactl").exists()


def installed_version(package: str) -> str:
    """Version of an installed package, or the empty string."""
    if shutil.which("dpkg-query") is None:
        return ""
    query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", package]
    status, _, version = subprocess.run(query, capture_output=True, text=True).stdout.partition(" ")
    return version if status == "installed" else ""


def major(version: str) -> int:
    """First number of a Debian version, epoch aside; 0 where there is none."""
    match = re.match(r"(?:\d+:)?(\d+)", version)
    return int(match[1]) if match else 0


def missing_packages() -> dict[str, str]:
    """Packages that this machine lacks, with what each is for."""
    missing = {}
    tools = (("g++", "g++", "builds the ROS 2 messages"), ("make", "make", "builds the ROS 2 messages"))
    for tool, package, why in (*tools, ("ffmpeg", "ffmpeg", "reads and writes video")):
        if shutil.which(tool) is None:
            missing[package] = why
    libraries = (("libvulkan1", "finds the Vulkan driver"), ("libx11-6", "SAPIEN is linked against it"))
    libraries += (("libusb-1.0-0", "pyrealsense2 is linked against it"),)
    for package, why in libraries:
        if not installed_version(package):
            missing[package] = why
    if major(installed_version(MESA)) < MESA_MAJOR and not has_nvidia_vulkan():
        missing[MESA] = f"renders without a GPU (lavapipe, version {MESA_MAJOR} or newer)"
    if not (Path(sysconfig.get_path("include")) / "Python.h").exists():
        missing["python3.12-dev"] = f"headers of {sys.executable}"
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        missing["python3.12-venv"] = f"virtual environments of {sys.executable}"
    return missing


def codename() -> str:
    """Name of the release, such as bookworm."""
    match = re.search(r"^VERSION_CODENAME=\"?([\w-]+)", Path("/etc/os-release").read_text(), re.MULTILINE)
    return match[1] if match else ""


def stanzas(text: str) -> list[dict[str, str]]:
    """Parses deb822 text into stanzas with lower-case field names; comments are dropped."""
    found: list[dict[str, str]] = [{}]
    field = ""
    for line in text.splitlines():
        if line.startswith("#"):
            continue
        if not line.strip():
            found.append({})
        elif line[0] in " \t":
            found[-1][field] += "\n" + line
        else:
            field, _, value = line.partition(":")
            field = field.strip().lower()
            found[-1][field] = value.strip()
    return [stanza for stanza in found if stanza]


def one_line(text: str) -> list[dict[str, str]]:
    """Parses one-line entries (`deb [options] URI suite component...`) into stanzas."""
    found = []
    for line in text.splitlines():
        match = re.match(r"deb\s+(?:\[([^\]]*)\]\s+)?(\S+)\s+(\S+)\s+(.+)", line.split("#")[0].strip())
        if match:
            options = dict(option.split("=", 1) for option in (match[1] or "").split() if "=" in option)
            fields = {"types": "deb", "uris": match[2], "suites": match[3], "components": match[4]}
            renamed = {"arch": "architectures"}
            found.append({**{renamed.get(k.lower(), k.lower()): v for k, v in options.items()}, **fields})
    return found


def configured(folder: Path = SOURCES) -> list[dict[str, str]]:
    """All package sources that apt is set up with."""
    entries = []
    lists = [folder / "sources.list", *sorted((folder / "sources.list.d").glob("*.list"))]
    for path in lists:
        if path.exists():
            entries += one_line(path.read_text())
    for path in sorted((folder / "sources.list.d").glob("*.sources")):
        entries += stanzas(path.read_text())
    return [entry for entry in entries if entry.get("enabled", "yes").lower() != "no"]


def backports_source(entries: list[Mapping[str, str]] | list[dict[str, str]], release: str) -> str:
    """The backports suite of the archive that serves `release`, as deb822 text.

    Raises:
        SetupError: No configured source serves the release.
    """
    for entry in entries:
        if release in entry.get("suites", "").split() and "main" in entry.get("components", "").split():
            kept = [f"{name.title()}: {entry[name]}" for name in COPIED_FIELDS if name in entry]
            rows = [
                "Types: deb",
                f"URIs: {entry['uris']}",
                f"Suites: {release}-backports",
                "Components: main",
            ]
            return "\n".join([*rows, *kept]) + "\n"
    raise SetupError(
        f"apt has no source for {release!r}, so its backports suite cannot be derived\n"
        f"  remedy: install {MESA} {MESA_MAJOR} or newer by hand, then run this again"
    )


def offered() -> list[tuple[str, str]]:
    """Versions of Mesa that apt knows, each with the suite it comes from."""
    table = subprocess.run(["apt-cache", "madison", MESA], capture_output=True, text=True).stdout
    rows = [line.split("|") for line in table.splitlines()]
    return [(row[1].strip(), row[2].split()[1].split("/")[0]) for row in rows if len(row) == 3]


def apt(*arguments: str) -> None:
    """Runs apt-get without questions; shows what it downloads and installs."""

    def show(line: str) -> str | None:
        return line if re.match(r"(Need to get|After this|Setting up|E:|W:)", line) else None

    command = ["apt-get", "-y", "-o", "DPkg::Lock::Timeout=120", *arguments]
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    run(command, show=show, heartbeat=lambda: f"apt-get {arguments[0]} ...", env=env)


def add_backports() -> str:
    """Adds the backports suite to apt's sources and returns its name."""
    suite = f"{codename()}-backports"
    if not any(suite in entry.get("suites", "").split() for entry in configured()):
        text = backports_source(configured(), codename())
        say(f"    adding {suite} from the archive that apt already uses: {BACKPORTS}")
        BACKPORTS.write_text("# Written by FineVLA's `make setup` for Mesa >= 25.\n" + text)
    apt("update")
    return suite


def suite_with_mesa() -> str:
    """Suite to install Mesa from; empty where the default one is new enough."""
    good = [suite for version, suite in offered() if major(version) >= MESA_MAJOR]
    if not good:
        apt("update")
        good = [suite for version, suite in offered() if major(version) >= MESA_MAJOR]
    if not good:
        added = add_backports()
        good = [suite for version, suite in offered() if major(version) >= MESA_MAJOR]
        if not good:
            raise SetupError(f"{added} offers no {MESA} >= {MESA_MAJOR}\n  remedy: install one by hand")
    backports = [suite for suite in good if suite.endswith("-backports")]
    return backports[0] if len(backports) == len(good) else ""


def install(missing: Mapping[str, str]) -> None:
    """Installs packages; needs root."""
    if not Path("/var/lib/apt/lists").is_dir() or not any(Path("/var/lib/apt/lists").glob("*Packages*")):
        apt("update")
    graphics = [name for name in missing if name in {MESA, "libvulkan1"}]
    plain = [name for name in missing if name not in graphics]
    if graphics:
        suite = suite_with_mesa() if MESA in graphics else ""
        apt("install", "--no-install-recommends", *(["-t", suite] if suite else []), *graphics)
    if plain:
        apt("install", "--no-install-recommends", *plain)


def ensure() -> None:
    """Installs what is missing, or says exactly what a person with root rights has to run.

    Raises:
        SetupError: Something is missing and cannot be installed from here.
    """
    missing = missing_packages()
    if not missing:
        say("Debian packages: nothing is missing")
        return
    listed = "\n".join(f"    {name}: {why}" for name, why in missing.items())
    if os.environ.get("FINEVLA_SKIP_PACKAGES") == "1":
        say(f"Debian packages: FINEVLA_SKIP_PACKAGES=1, going on without\n{listed}")
        return
    if shutil.which("apt-get") is None:
        raise SetupError(
            f"system packages are missing and this is not a Debian or Ubuntu system\n{listed}\n"
            "  remedy: install their counterparts, then run again with FINEVLA_SKIP_PACKAGES=1"
        )
    if os.geteuid() != 0:
        raise SetupError(
            f"Debian packages are missing and only root can install them\n{listed}\n"
            f"  remedy: sudo {sys.executable} {Path(__file__).resolve()}\n"
            "          then run `make setup` again"
        )
    say(f"Debian packages: installing\n{listed}")
    install(missing)
    still = missing_packages()
    if still:
        raise SetupError(f"still missing after the installation: {', '.join(still)}")
    say("Debian packages: done")


if __name__ == "__main__":
    try:
        ensure()
    except SetupError as err:
        sys.exit(f"error: {err}")
