"""What is in the repository: nothing of one machine, nothing unfinished, nothing large, true documents."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from finevla.cli import VERBS

ROOT = Path(__file__).resolve().parents[2]
MEGABYTES = 25
FORBIDDEN = {
    "a path of one machine": re.compile(r"(?<![\w.$}~-])/(?:root|home|work|mnt|Users)/\w"),
    "an address inside a network": re.compile(
        r"\b(?:10|192\.168|172\.(?:1[6-9]|2\d|3[01]))\.\d+\.\d+(?:\.\d+)?:\d+"
    ),
    "unfinished work": re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X)\b"),
    "pickle": re.compile(r"^\s*(?:import|from) (?:pickle|cPickle|dill)\b", re.MULTILINE),
    "a stub": re.compile(r"raise NotImplemented" r"Error\((?!\))"),
}
TEXT = {
    ".py",
    ".md",
    ".txt",
    ".toml",
    ".yaml",
    ".yml",
    ".xml",
    ".sh",
    ".cmake",
    ".cfg",
    ".html",
    ".js",
    ".msg",
    ".srv",
}


@cache
def tracked() -> tuple[Path, ...]:
    """Files of the repository, those that are about to be added among them."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.skip("not a git checkout")
    return tuple(path for name in done.stdout.splitlines() if (path := ROOT / name).is_file())


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str) -> None:
    found = []
    for path in tracked():
        if what == "pickle" and "tests" in path.parts:  # tests may ask whether something survives it
            continue
        if path.suffix in TEXT or path.name in {"Makefile", "run"}:
            lines = path.read_text(errors="replace").splitlines()
            found += [
                f"{path.relative_to(ROOT)}:{i}: {line.strip()[:80]}"
                for i, line in enumerate(lines, 1)
                if FORBIDDEN[what].search(line)
            ]
    assert not found


def test_files_are_small() -> None:
    large = [str(path.relative_to(ROOT)) for path in tracked() if path.stat().st_size > MEGABYTES * 1e6]
    assert not large


DOCUMENTS = [
    path
    for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), ROOT / "offline" / "README.md")
    if path.is_file()
]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: str(p.relative_to(ROOT)))
def test_documents_name_what_exists(path: Path) -> None:
    text = path.read_text()
    tops = {entry.name for entry in ROOT.iterdir()}
    wrong = []
    for name in re.findall(r"`([\w./-]+)`", text) + re.findall(r"\]\(([\w./-]+)\)", text):
        generated = name.split("/")[0] in {"out", "install", "build", "log"}
        if "/" in name and name.split("/")[0] in tops and not generated and not (ROOT / name).exists():
            wrong.append(name)
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    wrong += [f"make {target}" for target in re.findall(r"\bmake ([a-z-]+)`", text) if target not in targets]
    firsts = {words[0] for words in VERBS}
    wrong += [f"finevla {verb}" for verb in re.findall(r"`finevla ([a-z]+)", text) if verb not in firsts]
    assert not wrong


def test_pins_are_exact_and_without_addresses() -> None:
    for path in (ROOT / "requirements").glob("*.txt"):
        for line in path.read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), f"{path.name}: {line}"


def test_no_package_is_pinned_twice() -> None:
    names = [
        line.split("==")[0].lower().replace("_", "-")
        for path in (ROOT / "requirements").glob("*.txt")
        for line in path.read_text().splitlines()
        if "==" in line
    ]
    assert sorted(names) == sorted(set(names))
    assert "launch" not in names, "the package of this name on PyPI is not ROS's"
