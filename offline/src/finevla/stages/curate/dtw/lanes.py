"""Distances of pairs through the compiled kernels."""

from __future__ import annotations

import ctypes
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from finevla.stages.curate.cluster.condensed import pair_index
from finevla.stages.curate.dtw.bounds import COARSE, FINE, Bounds
from finevla.stages.curate.dtw.library import PathMetric, function, variants
from finevla.stages.curate.dtw.metric import CLOSE, RELATIVE_ERROR, Metric
from finevla.stages.curate.dtw.series import Series

Float = NDArray[np.float64]
Precision = Literal["f32", "f64"]


@dataclass(frozen=True)
class Lanes:
    """The kernels for one group and one metric. Calls may come from several threads.

    Attributes:
        series: The trajectories, as `metric.Scaling` has made them.
        metric: The metric.
        variant: Number of the instruction set; None: the quickest.
    """

    series: Series
    metric: Metric
    variant: int | None = None

    def against(
        self,
        query: int,
        candidates: NDArray[np.int32],
        limit: float = np.inf,
    ) -> Float:
        """Distances of one trajectory to others, shape (K,); relative error `metric.RELATIVE_ERROR`.

        A pair whose path rounding might have tipped is computed again in double precision.

        Args:
            query: Which; longer than the candidates, or earlier (see `Series.order`).
            candidates: To which, shape (K,).
            limit: Distances that are larger may be given as infinity.
        """
        found, close = self._run("f32", query, candidates, limit)
        again = np.flatnonzero(close)
        if again.size:
            found[again] = self._run("f64", query, candidates[again], limit)[0]
        return found

    def exact(self, pairs: NDArray[np.int64]) -> Float:
        """Distances of pairs in double precision, shape (K,); pairs has shape (K, 2), in any order."""
        rank = self.series.rank
        swap = rank[pairs[:, 0]] > rank[pairs[:, 1]]
        queries = np.where(swap, pairs[:, 1], pairs[:, 0])
        candidates = np.where(swap, pairs[:, 0], pairs[:, 1]).astype(np.int32)
        out = np.empty(len(pairs))
        for query in np.unique(queries):
            mine = np.flatnonzero(queries == query)
            out[mine] = self._run("f64", int(query), candidates[mine], np.inf)[0]
        return out

    def _run(
        self,
        precision: Precision,
        query: int,
        candidates: NDArray[np.int32],
        limit: float,
    ) -> tuple[Float, NDArray[np.bool_]]:
        series, metric = self.series, self.metric
        values = series.values if precision == "f32" else series.wide
        chosen = np.ascontiguousarray(candidates, dtype=np.int32)
        variant = variants()[-1] if self.variant is None else self.variant
        window = -1 if metric.window is None else metric.window
        common = [variant, values.ctypes.data, series.starts.ctypes.data, series.lengths.ctypes.data]
        pairs = [query, chosen.ctypes.data, len(chosen), window]
        if metric.name == "sqeuclid":
            sums = np.empty(len(chosen))
            kernel = function(f"squared_{precision}")
            _require(kernel(*common, series.width, *pairs, limit * limit, sums.ctypes.data))
            return np.sqrt(sums), np.zeros(len(chosen), dtype=bool)
        found = np.empty((len(chosen), 4))
        steps = int(series.lengths[query]) + series.lengths[chosen] - 1
        most = float(limit * steps.max(initial=1))  # a path has no more steps, so its mean is no less
        kernel = function(f"path_{precision}")
        own = ctypes.byref(self._path_metric())
        _require(kernel(*common, own, *pairs, most, found.ctypes.data))
        cost, length, grip, ties = found.T
        with np.errstate(invalid="ignore"):
            distance = cost / length + (metric.w_grip * grip / length if metric.two_stage else 0.0)
        return np.where(np.isfinite(cost), distance, np.inf), (ties > 0) & np.isfinite(cost)

    def _path_metric(self) -> PathMetric:
        metric, eef = self.metric, self.metric.name == "eef"
        return PathMetric(
            eef=int(eef),
            arms=metric.arms,
            joints=metric.joints(self.series.width),
            rotation=metric.w_rot if eef else 0.0,
            gripper=0.0 if metric.two_stage else metric.w_grip,
            close=CLOSE,
        )


def _require(code: int) -> None:
    if code:
        raise MemoryError("the DTW kernel got no memory for its scratch")


def all_pairs(lanes: Lanes, threads: int = 1) -> Float:
    """Distances of all pairs of a group as scipy condenses them, shape (n (n - 1) / 2,)."""
    n = len(lanes.series)
    out = np.empty(n * (n - 1) // 2)
    for query, candidates, found in rows(lanes, range(n - 1), threads):
        out[pair_index(n, np.array(query), candidates.astype(np.int64))] = found
    return out


def rows(
    lanes: Lanes, places: Iterable[int], threads: int = 1, limit: float = np.inf
) -> Iterator[tuple[int, NDArray[np.int32], Float]]:
    """Queries at some places of `Series.order`, each with those that come after it and their distances.

    With a limit, only with those that are no further away.
    """
    order = lanes.series.order.astype(np.int32)
    coarse, fine = (Bounds(lanes.series, lanes.metric, frames, lanes.variant) for frames in (COARSE, FINE))

    def row(place: int) -> tuple[int, NDArray[np.int32], Float]:
        query, rest = int(order[place]), order[place + 1 :]
        if limit == np.inf:
            return query, rest, lanes.against(query, rest)
        rest = rest[coarse.of(query, rest) <= limit]
        rest = rest[fine.of(query, rest) <= limit]
        wide = limit * (1.0 + RELATIVE_ERROR)
        found = lanes.against(query, rest, wide)
        return query, rest[found <= wide], found[found <= wide]

    if threads <= 1:
        yield from map(row, places)
        return
    with ThreadPoolExecutor(threads, thread_name_prefix="dtw") as pool:
        yield from pool.map(row, places)
