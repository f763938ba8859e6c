"""`make setup`: apt sources, versions, what counts as installed, and when the workspace is built again."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEB822 = """# a comment
Types: deb deb-src
URIs: http://mirror.example/debian
# another
Suites: bookworm bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


@pytest.fixture
def debian(monkeypatch: pytest.MonkeyPatch):
    return _module(monkeypatch, "debian")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch):
    return _module(monkeypatch, "environment")


def _module(monkeypatch: pytest.MonkeyPatch, name: str):
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "setup"))
    return importlib.import_module(name)


def test_backports_come_from_the_archive_that_apt_uses(debian, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "debian.sources").write_text(DEB822)
    text = debian.backports_source(debian.configured(tmp_path), "bookworm")
    assert text.splitlines() == [
        "Types: deb",
        "URIs: http://mirror.example/debian",
        "Suites: bookworm-backports",
        "Components: main",
        "Signed-By: /usr/share/keyrings/debian.gpg",
    ]


def test_backports_from_one_line_sources(debian, tmp_path: Path) -> None:
    (tmp_path / "sources.list").write_text(
        "# deb http://old.example bookworm main\n"
        "deb [signed-by=/k.gpg arch=amd64] http://mirror.example/debian bookworm main contrib # ours\n"
    )
    text = debian.backports_source(debian.configured(tmp_path), "bookworm")
    assert "URIs: http://mirror.example/debian" in text
    assert "Signed-By: /k.gpg" in text
    assert "Architectures: amd64" in text


def test_a_disabled_or_other_source_is_not_used(debian, tmp_path: Path) -> None:
    (tmp_path / "sources.list.d").mkdir()
    (tmp_path / "sources.list.d" / "x.sources").write_text(
        "Enabled: no\n" + DEB822.split("\n\n", maxsplit=1)[0]
    )
    with pytest.raises(debian.SetupError, match="no source for 'bookworm'"):
        debian.backports_source(debian.configured(tmp_path), "bookworm")
    with pytest.raises(debian.SetupError, match="no source for 'trixie'"):
        debian.backports_source(debian.stanzas(DEB822), "trixie")


@pytest.mark.parametrize(("version", "want"), [("25.0.7-2~bpo12+1", 25), ("1:22.3.6-1", 22), ("", 0)])
def test_major_version(debian, version: str, want: int) -> None:
    assert debian.major(version) == want


def test_without_root_the_exact_command_is_named(debian, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "missing_packages", lambda: {"ffmpeg": "video"})
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian.shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(debian.SetupError) as caught:
        debian.ensure()
    assert f"sudo {sys.executable} {ROOT / 'scripts' / 'setup' / 'debian.py'}" in str(caught.value)


def test_mesa_comes_from_backports_only_where_it_must(debian, monkeypatch: pytest.MonkeyPatch) -> None:
    tables = {
        "bookworm-backports": [("22.3.6", "bookworm"), ("25.0.7", "bookworm-backports")],
        "": [("25.2.8", "noble-updates")],
    }
    for want, table in tables.items():
        monkeypatch.setattr(debian, "offered", lambda table=table: table)
        assert debian.suite_with_mesa() == want


def test_the_environment_is_named_by_pins_and_ros(environment, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DISTRO", raising=False)
    plain = environment.environment_path(ROOT)
    assert plain == environment.environment_path(ROOT)
    monkeypatch.setattr(environment, "sourced_ros", lambda: "jazzy")
    assert environment.environment_path(ROOT) != plain
    assert not any(line.startswith("ros-") for line in environment.pins(ROOT, "jazzy")["ros"])


def test_an_unfinished_environment_is_not_used(tmp_path: Path) -> None:
    """env.sh refuses an environment without its mark; an interrupted installation leaves none."""
    for folder in ("scripts", "launch", "unfinished"):
        (tmp_path / folder).mkdir()
    (tmp_path / "scripts" / "env.sh").write_text((ROOT / "scripts" / "env.sh").read_text())
    (tmp_path / ".venv").symlink_to(tmp_path / "unfinished")
    done = subprocess.run(
        ["bash", "-c", ". scripts/env.sh"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "make -C" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh"])
def test_the_environment_can_be_entered_twice(shell: str, tmp_path: Path) -> None:
    for folder in ("scripts", "launch", "venv/share/rclpy", "venv/bin"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "venv" / ".complete").touch()
    (tmp_path / "venv/share/rclpy/package.xml").touch()
    (tmp_path / ".venv").symlink_to(tmp_path / "venv")
    (tmp_path / "scripts" / "env.sh").write_text((ROOT / "scripts" / "env.sh").read_text())
    if subprocess.run(["which", shell], capture_output=True, check=False).returncode:
        pytest.skip(f"{shell} is not installed")
    names = "$PATH|$PYTHONPATH|$AMENT_PREFIX_PATH|$FINEVLA_ROOT|$HF_HUB_OFFLINE"
    enter = f". {tmp_path}/scripts/env.sh"
    code = f'{enter}; {enter}; echo "{names}"; command -v _fv_enter || true'
    env = {k: v for k, v in os.environ.items() if k not in {"PYTHONPATH", "AMENT_PREFIX_PATH"}}
    done = subprocess.run([shell, "-c", code], capture_output=True, text=True, env=env, check=True)
    path, python, ament, root, offline = done.stdout.strip().split("|")
    assert path.count(f"{tmp_path}/venv/bin") == 1
    assert path.startswith(f"{tmp_path}/scripts/bin:")
    assert (python, ament, root, offline) == (
        ":".join(
            f"{tmp_path}/{part}"
            for part in ("offline/src", "offline/lerobot_policy_finevla/src", "build/lerobot")
        ),
        f"{tmp_path}/venv",
        str(tmp_path),
        "1",
    )
