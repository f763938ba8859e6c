"""The reference pages say what the code says."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest

from finevla.contract import load_contract, services

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"


def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("reference_pages", ROOT / "scripts" / "reference_pages.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


PAGES = [("messages.md", "messages_page"), ("cli.md", "cli_page"), ("tasks.md", "tasks_page")]


@pytest.mark.parametrize(("name", "page"), PAGES)
def test_written_pages_are_fresh(name: str, page: str) -> None:
    written = getattr(script(), page)()
    assert (REFERENCE / name).read_text() == written, "run: python scripts/reference_pages.py"


def test_every_flag_is_explained() -> None:
    rows = re.findall(r"^\| `([\w-]+)` \|.*\| (.*) \|$", (REFERENCE / "cli.md").read_text(), re.MULTILINE)
    assert len(rows) > 50
    assert [name for name, meaning in rows if not meaning.strip()] == []


def topics() -> set[str]:
    contract = load_contract()
    found = {getattr(contract.topics, name) for name in contract.topics.__slots__}
    found |= {topic for arm in contract.arms.values() for topic in (arm.feedback_topic, arm.leader_topic)}
    found |= {camera.raw_topic for camera in contract.cameras.values()}
    return found | {value for name, value in vars(services).items() if name.isupper() and value[0] == "/"}


def test_every_topic_and_service_is_listed() -> None:
    page = (REFERENCE / "topics.md").read_text()
    assert [topic for topic in sorted(topics()) if f"`{topic}`" not in page] == []


def test_no_service_or_topic_is_invented() -> None:
    named = set(re.findall(r"`(/finevla/[\w/]+)`", (REFERENCE / "topics.md").read_text()))
    assert named - topics() - {"/finevla/sim/truth"} == set()
