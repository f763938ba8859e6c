"""Tables of node parameters: types, bounds, choices, and reading them from anything like a node."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace

import pytest

from finevla.contract.params import build, param, read, specs
from finevla.errors import LaunchError


@dataclass(frozen=True, slots=True)
class Table:
    """A table with one line of each type."""

    timeout_s: float = param(1.5, "How long.", lower=0.1, upper=10.0)
    count: int = param(3, "How many.", lower=1)
    mode: str = param("raw", "Which.", choices=("raw", "compressed"))
    loud: bool = param(False, "Whether.")
    names: tuple[str, ...] = param(("a",), "Who.")


class FakeNode:
    def __init__(self, **overrides):
        self.overrides, self.declared = overrides, {}

    def declare_parameter(self, name, default, descriptor):
        self.declared[name] = descriptor
        self.overrides.setdefault(name, default)

    def get_parameter(self, name):
        return SimpleNamespace(value=self.overrides[name])

    def get_name(self):
        return "fake"


def test_defaults_and_overrides_are_read_with_their_types():
    node = FakeNode(timeout_s=2, names=["x", "y"])
    table = read(node, Table, SimpleNamespace)
    assert table == Table(timeout_s=2.0, names=("x", "y"))
    assert isinstance(table.timeout_s, float)
    assert node.declared["timeout_s"].additional_constraints == "0.1 .. 10"
    assert all(entry.read_only for entry in node.declared.values())


@pytest.mark.parametrize(
    "bad",
    [
        {"timeout_s": 0.05},
        {"timeout_s": 11},
        {"timeout_s": float("nan")},
        {"timeout_s": "2"},
        {"timeout_s": True},
        {"count": 0},
        {"count": 2.0},
        {"mode": "png"},
        {"loud": 1},
        {"names": "a"},
        {"names": [1]},
        {"nonsense": 1},
    ],
)
def test_a_wrong_value_is_refused_by_name(bad):
    with pytest.raises(LaunchError) as caught:
        build(Table, bad)
    assert next(iter(bad)) in str(caught.value)


def test_specs_tell_what_a_document_needs():
    assert [spec.name for spec in specs(Table)] == ["timeout_s", "count", "mode", "loud", "names"]
    assert specs(Table)[2].constraint == "one of 'raw', 'compressed'"
