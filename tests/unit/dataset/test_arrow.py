"""Columns out of buffers are those that pyarrow and pandas make, byte for byte in their files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from finevla.dataset.arrow import column, indexed, numbers, of_rows

WHOLE = st.integers(-(2**63), 2**63 - 1)
REAL = st.floats(allow_nan=False)
SINGLE = (WHOLE, REAL, st.text(), st.booleans(), st.none())
ROWS = st.one_of([st.lists(kind, min_size=1, max_size=6) for kind in SINGLE])
NESTED = st.one_of([st.lists(st.lists(st.lists(kind)), min_size=1, max_size=5) for kind in SINGLE])


@settings(deadline=None)
@given(st.one_of(ROWS, NESTED))
def test_a_column_is_the_one_that_pyarrow_makes(rows: list[Any]) -> None:
    assert column(rows).equals(pa.array(rows))
    assert column(rows).type == pa.array(rows).type


@pytest.mark.parametrize("kind", [np.float32, np.float64, np.int64, np.int32, np.uint8, np.bool_])
def test_numbers_are_those_of_pyarrow(kind: type[np.generic]) -> None:
    values = np.arange(24).astype(kind).reshape(4, 6)
    for some in (values.ravel(), values[:, 1], values[::-1, 2], values.ravel()[:0]):
        assert numbers(some).equals(pa.array(some))
        assert numbers(some).type == pa.array(some).type


@settings(deadline=None)
@given(st.lists(st.fixed_dictionaries({"a": WHOLE, "b": st.lists(REAL)}, optional={"c": REAL}), min_size=1))
def test_a_table_is_the_one_that_pyarrow_makes(rows: list[dict[str, Any]]) -> None:
    assert of_rows(rows).equals(pa.Table.from_pylist(rows))


@pytest.mark.parametrize("texts", [["pick up the cube"], ["b", "a", "ä", ""]])
def test_a_table_with_an_index_is_the_file_that_pandas_writes(tmp_path: Path, texts: list[str]) -> None:
    table = indexed({"task_index": column(range(len(texts))), "task": column(texts)}, "task")
    pq.write_table(table, tmp_path / "ours.parquet")
    frame = pd.DataFrame({"task_index": np.arange(len(texts)), "task": texts}).set_index("task")
    frame.to_parquet(tmp_path / "theirs.parquet")
    assert (tmp_path / "ours.parquet").read_bytes() == (tmp_path / "theirs.parquet").read_bytes()
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "ours.parquet"), frame)


def test_pandas_is_not_imported_for_it() -> None:
    code = (
        "import sys, numpy as np\n"
        "from finevla.dataset.arrow import column, indexed, numbers, of_rows\n"
        "numbers(np.zeros(3)), of_rows([{'a': 1, 'b': ['x'], 'c': [[0.5]]}])\n"
        "indexed({'n': column([0]), 'task': column(['x'])}, 'task')\n"
        "sys.exit('pandas' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
