"""Arrow columns out of their buffers.

`pyarrow.array` imports pandas to see whether it was given something of it, which takes longer than a whole
episode takes here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


def numbers(values: NDArray[Any]) -> pa.Array:
    """A column (n,) of numbers."""
    if values.dtype.kind not in "iuf":
        return pa.array(values)
    whole = np.ascontiguousarray(values)
    return pa.Array.from_buffers(pa.from_numpy_dtype(whole.dtype), len(whole), [None, pa.py_buffer(whole)])


def column(rows: Sequence[Any]) -> pa.Array:
    """A column of numbers or texts, or of lists of these to any depth, as `pyarrow.array` makes it."""
    kinds = {type(row) for row in rows}
    if kinds == {list} and (inner := [item for row in rows for item in row]):
        return pa.ListArray.from_arrays(numbers(_ends([len(row) for row in rows])), column(inner))
    if kinds == {str}:
        encoded = [row.encode() for row in rows]
        buffers = [pa.py_buffer(_ends([len(row) for row in encoded])), pa.py_buffer(b"".join(encoded))]
        return pa.Array.from_buffers(pa.string(), len(rows), [None, *buffers])
    if kinds in ({int}, {float}):
        return numbers(np.array(rows, np.int64 if kinds == {int} else np.float64))
    return pa.array(rows)


def of_rows(rows: Sequence[Mapping[str, Any]]) -> pa.Table:
    """A table of rows, with the columns of the first one."""
    return pa.table({key: column([row.get(key) for row in rows]) for key in rows[0]})


def indexed(columns: Mapping[str, pa.Array], index: str) -> pa.Table:
    """A table of whole numbers that pandas reads with the last column, texts, as its index.

    The metadata are those that pandas writes, see "Storing pandas DataFrame objects in Apache Parquet format"
    in its developer guide.
    """
    told = {
        "index_columns": [index],
        "column_indexes": [_told(None, "unicode", "object", {"encoding": "UTF-8"})],
        "columns": [
            _told(name, *(("unicode", "object") if name == index else ("int64", "int64"))) for name in columns
        ],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": version("pandas"),
    }
    return pa.table(dict(columns)).replace_schema_metadata({"pandas": json.dumps(told)})


def _told(name: str | None, kind: str, numpy: str, more: Any = None) -> dict[str, Any]:
    return {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy, "metadata": more}


def _ends(lengths: Sequence[int]) -> NDArray[np.int32]:
    """Where lists of such lengths begin and end in one sequence."""
    return np.append(0, np.cumsum(lengths)).astype(np.int32)
