"""`finevla doctor`: each check says what is wrong and how to repair it."""

from __future__ import annotations

import json

import pytest

from finevla.stages.doctor import checks, verb
from finevla.stages.doctor.checks import FAIL, OK, WARN, Row


def test_a_missing_renderer_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VK_DRIVER_FILES", "/absent/driver.json")
    row = checks.renderer()
    assert row.state == FAIL
    assert "Mesa >= 25" in row.remedy
    assert "/absent/driver.json" in row.remedy


@pytest.mark.sim
def test_a_renderer_that_works_is_named_with_its_driver() -> None:
    row = checks.renderer()
    assert row.state == OK
    assert "driver" in row.found


@pytest.mark.parametrize(("profile", "state"), [("", WARN), ("/absent.xml", FAIL), (__file__, OK)])
def test_transport(monkeypatch: pytest.MonkeyPatch, profile: str, state: str) -> None:
    monkeypatch.setenv("FASTDDS_DEFAULT_PROFILES_FILE", profile)
    assert checks.transport().state == state


def test_pins_that_differ_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = checks.importlib.metadata.version
    monkeypatch.setattr(checks.importlib.metadata, "version", lambda n: "0.0" if n == "numpy" else real(n))
    row = checks.pins()
    assert row.state == WARN
    assert "numpy 0.0 (pinned" in row.found


def test_a_workspace_that_is_not_built_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/absent")
    row = checks.nodes()
    assert row.state == FAIL
    assert "make setup" in row.remedy


@pytest.mark.parametrize(("states", "code"), [((OK, WARN), 0), ((OK, FAIL), 1)])
def test_only_failures_make_it_fail(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], states: tuple[str, ...], code: int
) -> None:
    def check(state: str):
        def row() -> Row:
            return Row("thing", state, "found [it]", "do this")

        return row

    monkeypatch.setattr(verb, "CHECKS", [check(state) for state in states])
    assert verb.main(verb.Config(json=True)) == code
    assert [row["state"] for row in json.loads(capsys.readouterr().out)] == list(states)
    assert verb.main(verb.Config()) == code
    printed = capsys.readouterr().out
    assert "found [it]" in printed
    assert "do this" in printed
