"""The command line is an interface: verbs and flags change on purpose only."""

from __future__ import annotations

import importlib
from dataclasses import MISSING, fields
from pathlib import Path

import pytest

from finevla.cli import VERBS, help_text, main

FROZEN = Path(__file__).with_name("cli_surface.txt")


def surface() -> str:
    lines = []
    for words, (module, _) in VERBS.items():
        for field in fields(importlib.import_module(module).Config):
            if field.default is not MISSING:
                default = f" = {field.default!r}"
            else:
                default = "" if field.default_factory is MISSING else f" = {field.default_factory()!r}"
            lines.append(f"{' '.join(words)}: {field.name.replace('_', '-')}{default}")
    return "\n".join(lines) + "\n"


def test_verbs_and_flags_are_as_frozen() -> None:
    found = surface()
    hint = f"if this change is wanted, note it in CHANGELOG.md and put this into {FROZEN.name}:\n{found}"
    assert found == FROZEN.read_text(), hint


@pytest.mark.parametrize("words", VERBS, ids=" ".join)
def test_every_verb_explains_itself(words: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*words, "--help"])
    assert caught.value.code == 0
    assert f"finevla {' '.join(words)}" in capsys.readouterr().out


def test_the_help_names_every_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    printed = capsys.readouterr().out
    assert all(f"  {' '.join(words)} " in printed for words in VERBS)
    assert main(["sim"]) == 0
    assert capsys.readouterr().out.strip() == help_text(["sim"])


def test_unknown_verbs_and_flags_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dance"]) == 2
    assert "no verb 'dance'" in capsys.readouterr().err
    with pytest.raises(SystemExit) as caught:
        main(["doctor", "--no-such-flag"])
    assert caught.value.code == 2
