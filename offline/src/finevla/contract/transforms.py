"""Invertible transforms between robot units and the policy's numbers, and their statistics.

Each transform is a frozen dataclass with `apply`, `invert` and `to_json`; a `Chain` inverts in the
opposite order. Statistics carry joint names. Statistics that are missing, too short, not finite or
impossible raise an error when they are built: they can never turn into motion.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from finevla.errors import ContractError

Array = NDArray[np.float64]

STATISTICS_REMEDY = "compute the statistics again from the dataset (`finevla train`)"


class Transform(Protocol):
    """What every transform can do. Arrays are (..., D) float64; inputs are never changed."""

    @property
    def names(self) -> tuple[str, ...]:
        """Joint names on the robot's side, in order."""
        ...

    def apply(self, values: Array) -> Array:
        """Robot units to policy numbers."""
        ...

    def invert(self, values: Array) -> Array:
        """Policy numbers to robot units."""
        ...

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values with the field `type`."""
        ...


@dataclass(frozen=True, slots=True)
class JointStatistics:
    """Mean, spread and range of each joint over a dataset, rad and m, one entry per name.

    Raises:
        ContractError: Wrong lengths, duplicate names, values that are not finite, a negative
            spread, a mean outside the range, or a range of zero for every joint.
    """

    names: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    minimum: tuple[float, ...]
    maximum: tuple[float, ...]
    count: int

    def __post_init__(self) -> None:
        """Checks that these numbers can describe joints that moved."""
        problem = self._problem()
        if problem:
            raise ContractError(
                "joint statistics are unusable",
                expected=f"{len(self.names)} finite values per field, of joints that moved",
                found=problem,
                remedy=STATISTICS_REMEDY,
            )

    def _problem(self) -> str:
        fields = {name: getattr(self, name) for name in ("mean", "std", "minimum", "maximum")}
        if not self.names or len(set(self.names)) != len(self.names):
            return f"joint names are absent or repeated: {list(self.names)}"
        for field, values in fields.items():
            if len(values) != len(self.names):
                return f"{field} has {len(values)} values"
            bad = [n for n, v in zip(self.names, values, strict=True) if not math.isfinite(v)]
            if bad:
                return f"{field} is not finite for {bad}"
        rows = zip(self.names, self.mean, self.std, self.minimum, self.maximum, strict=True)
        slack = 1e-6  # mean and extrema are summed in different orders
        wrong = [n for n, mean, std, low, high in rows if std < 0 or not low - slack <= mean <= high + slack]
        if wrong:
            return f"mean, spread and range contradict each other for {wrong}"
        if all(low >= high for low, high in zip(self.minimum, self.maximum, strict=True)):
            return "no joint ever moves (zero range)"
        return "" if self.count > 1 else f"they were computed from {self.count} rows"

    @classmethod
    def of(cls, names: Sequence[str], rows: NDArray[Any]) -> JointStatistics:
        """Computes the statistics of `rows`, shape (N, len(names)).

        Raises:
            ContractError: The rows do not give usable statistics.
        """
        if rows.ndim != 2 or rows.shape[0] == 0:
            raise ContractError(
                "there are no rows to compute joint statistics from",
                expected=f"shape (N, {len(names)})",
                found=rows.shape,
                remedy="check the dataset",
            )
        table = rows.astype(np.float64)
        columns = (table.mean(0), table.std(0), table.min(0), table.max(0))
        mean, std, low, high = (tuple(float(v) for v in column) for column in columns)
        return cls(tuple(names), mean, std, low, high, int(table.shape[0]))

    def to_json(self) -> dict[str, Any]:
        """The statistics as plain JSON values."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> JointStatistics:
        """Rebuilds and checks the statistics.

        Raises:
            ContractError: A field is missing, unknown or unusable.
        """
        columns = ("mean", "std", "minimum", "maximum")
        try:
            if set(document) != {"names", "count", *columns}:
                raise ValueError(f"fields {sorted(document)}")
            numbers = {name: tuple(float(v) for v in document[name]) for name in columns}
            return cls(
                names=tuple(str(n) for n in document["names"]), count=int(document["count"]), **numbers
            )
        except (TypeError, ValueError, OverflowError) as err:
            raise ContractError(
                "joint statistics are missing or incomplete",
                expected=["names", "count", *columns],
                found=err,
                remedy=STATISTICS_REMEDY,
            ) from err


@dataclass(frozen=True, slots=True)
class Normalize:
    """(value - mean) / max(std, floor), joint by joint.

    The floor keeps a joint that hardly moved from turning noise into large numbers.

    Raises:
        ContractError: The floors are not one positive finite number per joint.
    """

    statistics: JointStatistics
    floor: tuple[float, ...]

    def __post_init__(self) -> None:
        """Rejects floors that would divide by nothing."""
        positive = all(math.isfinite(v) and v > 0 for v in self.floor)
        if len(self.floor) != len(self.statistics.names) or not positive:
            raise ContractError(
                "the floors of a normalization are unusable",
                expected=f"{len(self.statistics.names)} positive finite values",
                found=self.floor,
                remedy="take the bundle or configuration as the tool wrote it",
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the joints, in order."""
        return self.statistics.names

    def _terms(self, values: Array) -> tuple[Array, Array]:
        if values.shape[-1:] != (len(self.names),):
            raise ContractError(
                "a vector has not one value per joint",
                expected=f"(..., {len(self.names)})",
                found=values.shape,
                remedy="pass vectors in contract order",
            )
        return np.array(self.statistics.mean), np.maximum(self.statistics.std, self.floor)

    def apply(self, values: Array) -> Array:
        """Robot units to policy numbers.

        Raises:
            ContractError: The last axis is not one value per joint.
        """
        mean, scale = self._terms(values)
        result: Array = (values - mean) / scale
        return result

    def invert(self, values: Array) -> Array:
        """Policy numbers to robot units.

        Raises:
            ContractError: The last axis is not one value per joint.
        """
        mean, scale = self._terms(values)
        result: Array = values * scale + mean
        return result

    def to_json(self) -> dict[str, Any]:
        """The transform as plain JSON values."""
        return {"type": "normalize", "statistics": self.statistics.to_json(), "floor": list(self.floor)}


@dataclass(frozen=True, slots=True)
class Chain:
    """Transforms applied first to last and inverted last to first.

    Raises:
        ContractError: There are no steps: nothing is passed through untouched by omission.
    """

    steps: tuple[Transform, ...]

    def __post_init__(self) -> None:
        """Rejects an empty chain."""
        if not self.steps:
            raise ContractError(
                "a chain of transforms is empty",
                expected="at least a normalization",
                found="no steps",
                remedy=STATISTICS_REMEDY,
            )

    @property
    def names(self) -> tuple[str, ...]:
        """Joint names on the robot's side: those of the first step."""
        return self.steps[0].names

    def apply(self, values: Array) -> Array:
        """Robot units to policy numbers."""
        for step in self.steps:
            values = step.apply(values)
        return values

    def invert(self, values: Array) -> Array:
        """Policy numbers to robot units, steps in the opposite order."""
        for step in reversed(self.steps):
            values = step.invert(values)
        return values

    def to_json(self) -> dict[str, Any]:
        """The chain as plain JSON values."""
        return {"type": "chain", "steps": [step.to_json() for step in self.steps]}


def transform_from_json(document: Mapping[str, Any]) -> Transform:
    """Rebuilds any transform from its JSON form.

    Raises:
        ContractError: The type is unknown or a part is missing; there is no identity by default.
    """
    try:
        kind = document["type"]
        if kind == "chain":
            return Chain(tuple(transform_from_json(step) for step in document["steps"]))
        if kind == "normalize":
            statistics = JointStatistics.from_json(document["statistics"])
            return Normalize(statistics, tuple(float(v) for v in document["floor"]))
    except (KeyError, TypeError, ValueError) as err:
        raise ContractError(
            "a transform lacks a part", found=f"{type(err).__name__}: {err}", remedy=STATISTICS_REMEDY
        ) from err
    raise ContractError(
        "a transform is of an unknown type",
        expected="chain or normalize",
        found=kind,
        remedy="use a bundle written by this version of the library",
    )


def first_statistics(transform: Transform) -> JointStatistics | None:
    """The statistics on the robot's side of a transform; None where its first step has none."""
    while isinstance(transform, Chain):
        transform = transform.steps[0]
    return transform.statistics if isinstance(transform, Normalize) else None
