"""The reference pages say what the code says."""

from __future__ import annotations

import importlib
import re
from dataclasses import fields
from pathlib import Path

import pytest

from finevla.cli import VERBS
from finevla.contract import load_contract, services

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
INTERFACES = sorted((ROOT / "ros2_ws" / "src" / "finevla_msgs").glob("*/*.*"))


@pytest.mark.parametrize(
    "path", [p for p in INTERFACES if p.suffix in {".msg", ".srv", ".action"}], ids=lambda p: p.name
)
def test_messages_are_shown_as_they_are(path: Path) -> None:
    page = (REFERENCE / "messages.md").read_text()
    assert f"### {path.stem}\n\n```text\n{path.read_text().rstrip()}\n```\n" in page


def test_no_message_is_invented() -> None:
    named = re.findall(r"^### (\w+)$", (REFERENCE / "messages.md").read_text(), re.MULTILINE)
    assert sorted(named) == sorted(p.stem for p in INTERFACES if p.suffix in {".msg", ".srv", ".action"})


def test_every_topic_and_service_is_listed() -> None:
    page = (REFERENCE / "topics.md").read_text()
    contract = load_contract()
    topics = [getattr(contract.topics, name) for name in contract.topics.__slots__]
    topics += [topic for arm in contract.arms.values() for topic in (arm.feedback_topic, arm.leader_topic)]
    topics += [camera.raw_topic for camera in contract.cameras.values()]
    topics += [value for name, value in vars(services).items() if name.isupper() and value.startswith("/")]
    assert [topic for topic in topics if f"`{topic}`" not in page] == []


def test_no_service_or_topic_is_invented() -> None:
    page = (REFERENCE / "topics.md").read_text()
    contract = load_contract()
    known = {getattr(contract.topics, name) for name in contract.topics.__slots__}
    known |= {value for value in vars(services).values() if isinstance(value, str)}
    known |= {"/finevla/sim/truth"}
    assert set(re.findall(r"`(/finevla/[\w/]+)`", page)) - known == set()


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_flag_is_explained(words: tuple[str, ...]) -> None:
    page = (REFERENCE / "cli.md").read_text()
    section = page.split(f"## `finevla {' '.join(words)}`\n", 1)[1].split("\n## ", 1)[0]
    listed = re.findall(r"^\| `(?:--)?([\w-]+)` \|.*\| (.*) \|$", section, re.MULTILINE)
    found = {name.lower().replace("-", "_"): text for name, text in listed}
    assert list(found) == [field.name for field in fields(importlib.import_module(VERBS[words][0]).Config)]
    assert [name for name, text in found.items() if not text.strip()] == []


def test_no_verb_is_invented() -> None:
    named = re.findall(r"^## `finevla ([\w ]+)`$", (REFERENCE / "cli.md").read_text(), re.MULTILINE)
    assert [tuple(name.split()) for name in named] == list(VERBS)
