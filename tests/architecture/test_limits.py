"""Files and functions stay short enough to be read in one go (ruff and mypy hold the other gates)."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FILE_LINES, FUNCTION_LINES = 500, 80
FOLDERS = ("offline/src", "ros2_ws/src", "launch", "scripts", "tests", "benchmarks")
SOURCES = [path for folder in FOLDERS for path in sorted((ROOT / folder).rglob("*.py"))]


def test_files_are_short() -> None:
    long = {
        str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > FILE_LINES
    }
    assert not long


def test_functions_are_short() -> None:
    long = {}
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = node.end_lineno - node.lineno + 1
                if lines > FUNCTION_LINES:
                    long[f"{path.relative_to(ROOT)}:{node.name}"] = lines
    assert not long


def test_only_verbs_and_reports_print() -> None:
    """Stdout is the report, stderr the log: the library's insides do neither by `print`."""
    allowed = ("cli.py", "launcher/", "stages/")
    library = ROOT / "offline" / "src" / "finevla"
    found = []
    for path in SOURCES:
        name = str(path.relative_to(library)) if library in path.parents else ""
        if (not name and "ros2_ws" not in path.parts) or name.startswith(allowed):
            continue
        calls = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Call)]
        if any(isinstance(call.func, ast.Name) and call.func.id == "print" for call in calls):
            found.append(str(path.relative_to(ROOT)))
    assert not found
