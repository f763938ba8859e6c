"""The real bringup.launch.py, started as a user starts it: `finevla launch bringup.launch.py sim:=true`."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from finevla.stages.demo.bringup import Graph, free_port
from finevla.stages.demo.domain import reserved_domain

pytestmark = [pytest.mark.launch, pytest.mark.sim]
FILE = Path(__file__).with_name("expectations.py")
NAMES = re.findall(r"^    Expectation\((\w+),", FILE.read_text(), re.MULTILINE)


@pytest.fixture(scope="module")
def expectations() -> ModuleType:
    """The list, loaded by path: it needs ROS 2, and this file must be collected without."""
    spec = importlib.util.spec_from_file_location("expectations", FILE)
    module = importlib.util.module_from_spec(spec)
    sys.modules["expectations"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Graph]:
    arguments = {"sim": "true", "can_port": str(free_port()), "description": "true"}
    if bundle := os.environ.get("FINEVLA_TEST_BUNDLE"):  # to try another bundle than the shipped one
        arguments["bundle"] = bundle
    log = tmp_path_factory.mktemp("bringup") / "log.txt"
    with reserved_domain(None) as domain, Graph(arguments, domain, log) as graph:
        yield graph


@pytest.fixture(scope="module")
def robot(expectations: ModuleType, graph: Graph) -> Iterator[object]:
    observer = expectations.Observer(graph.domain_id)
    yield observer
    observer.close()


@pytest.mark.parametrize("name", NAMES)
def test_expectation(expectations: ModuleType, graph: Graph, robot: object, name: str) -> None:
    assert graph.alive, graph.log_path.read_text()[-3000:]
    expectation = next(e for e in expectations.EXPECTATIONS if e.name == name)
    problem = expectation.problem(robot)
    assert not problem, f"{problem}\n{graph.log_path.read_text()[-3000:]}"


def test_an_interrupt_ends_every_process_cleanly(graph: Graph, robot: object) -> None:
    code = graph.stop(patience_s=30.0)
    log = graph.log_path.read_text()
    started = re.findall(r"\[(\w+-\d+)\]: process started", log)
    clean = re.findall(r"\[(\w+-\d+)\]: process has finished cleanly", log)
    assert sorted(clean) == sorted(started), log[-3000:]
    assert code == 0
    assert "Traceback" not in log, log[-3000:]


def test_a_launch_argument_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    from finevla.cli import main

    assert main(["launch", "bringup.launch.py", "simm:=true"]) == 2
    assert "no argument simm" in capsys.readouterr().err
