"""Joints, cameras, topics and services are spelled once, in `finevla.contract`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from finevla.contract import ARM_SIDES, load_contract, services

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = load_contract()
SOURCES = [
    *sorted((ROOT / "offline" / "src").rglob("*.py")),
    *sorted((ROOT / "ros2_ws" / "src").rglob("*.py")),
    *sorted((ROOT / "scripts").rglob("*.py")),
]
HOME = ROOT / "offline" / "src" / "finevla" / "contract"


def topics() -> set[str]:
    found = {getattr(CONTRACT.topics, field.name) for field in fields(CONTRACT.topics)}
    for camera in CONTRACT.cameras.values():
        found |= {camera.topic, camera.raw_topic, camera.compressed_topic, camera.info_topic, camera.key}
    for side in ARM_SIDES:
        found |= {CONTRACT.arms[side].feedback_topic, CONTRACT.arms[side].leader_topic}
    return found


def service_names() -> set[str]:
    values = [value for name, value in vars(services).items() if name.isupper()]
    return {value for value in values if isinstance(value, str) and value.startswith("/")}


def texts(path: Path) -> Iterator[str]:
    """String constants of a file, docstrings aside."""
    tree = ast.parse(path.read_text())
    docs = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in docs:
            yield node.value


SPELLED_ONCE = {
    "joint": set(CONTRACT.joint_names),
    "camera": set(CONTRACT.cameras),
    "topic": topics(),
    "service": service_names(),
}
EXCEPTIONS = {
    # One name as the default of one parameter is a choice, not a list.
    ("camera", "finevla_perception/params.py"): {CONTRACT.sync.pivot},
}


@pytest.mark.parametrize("what", SPELLED_ONCE)
def test_names_are_spelled_once(what: str) -> None:
    found = {}
    for path in SOURCES:
        allowed = EXCEPTIONS.get((what, "/".join(path.parts[-2:])), set())
        spelled = SPELLED_ONCE[what].intersection(texts(path)) - allowed
        if spelled and HOME not in path.parents:
            found[str(path.relative_to(ROOT))] = sorted(spelled)
    assert not found, f"take them from load_contract() or finevla.contract.services: {found}"


def test_the_search_finds_what_it_looks_for(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text(f'"""Doc {CONTRACT.joint_names[0]}."""\nX = ["{CONTRACT.joint_names[0]}"]\n')
    assert list(texts(path)) == [CONTRACT.joint_names[0]]
