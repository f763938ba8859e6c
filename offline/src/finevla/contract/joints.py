"""Named joint values to contract order and back: the only place where joints are reordered."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.errors import ContractError


def reorder(
    names: Sequence[str], values: Sequence[float], expected: Sequence[str], where: str = ""
) -> NDArray[np.float64]:
    """Puts named values into the order of `expected`.

    Args:
        names: Names as they came, in any order.
        values: One value per name, rad or m.
        expected: The names that must be present, each exactly once, in the order wanted.
        where: Topic or file, for the message of an error.

    Returns:
        Values in the order of `expected`, shape (len(expected),).

    Raises:
        ContractError: A name is missing, extra or duplicate, the lengths differ, or a value is
            not finite. Nothing is ever filled in.
    """
    if len(names) != len(values):
        raise ContractError(
            "there are not as many joint values as joint names",
            where=where,
            expected=f"{len(names)} values",
            found=f"{len(values)} values",
            remedy="publish one position per name",
        )
    lookup = dict(zip(names, values, strict=True))
    if len(lookup) != len(names) or set(lookup) != set(expected):
        missing = [n for n in expected if n not in lookup]
        extra = [n for n in names if n not in expected]
        duplicate = sorted({n for n in names if list(names).count(n) > 1})
        raise ContractError(
            "the joint names are not those of the contract",
            where=where,
            expected=list(expected),
            found=f"missing {missing}, extra {extra}, duplicate {duplicate}",
            remedy="publish each joint of the contract exactly once",
        )
    ordered = np.array([lookup[n] for n in expected], dtype=np.float64)
    if not np.isfinite(ordered).all():
        bad = [n for n, v in zip(expected, ordered, strict=True) if not np.isfinite(v)]
        raise ContractError(
            "a joint value is not a finite number",
            where=where,
            found=bad,
            remedy="check the source of these values; they are never replaced",
        )
    return ordered
