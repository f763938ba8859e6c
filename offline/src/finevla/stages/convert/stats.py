"""Statistics in LeRobot's form: min, max, mean, std, count and five quantiles per feature.

Images are counted exactly, by histograms of their 256 levels over a fixed sample of frames; so
the statistics of a dataset are those of its images, not an average over episodes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from finevla.bag import EncodedImage
from finevla.bag.images import decode

QUANTILES = {"q01": 0.01, "q10": 0.10, "q50": 0.50, "q90": 0.90, "q99": 0.99}
SAMPLE_EVERY = 10
"""One image in so many is counted."""

Stats = dict[str, NDArray[np.float64]]


def of_rows(rows: NDArray[np.floating] | NDArray[np.integer]) -> Stats:
    """Statistics of a numeric feature, shape (n, d) or (n,); every entry has shape (d,)."""
    table = np.asarray(rows, dtype=np.float64).reshape(len(rows), -1)
    levels = np.quantile(table, list(QUANTILES.values()), axis=0)
    return {
        "min": table.min(axis=0),
        "max": table.max(axis=0),
        "mean": table.mean(axis=0),
        "std": table.std(axis=0),
        "count": np.array([len(table)]),
        **dict(zip(QUANTILES, levels, strict=True)),
    }


def histogram(images: Sequence[EncodedImage]) -> NDArray[np.int64]:
    """Counts of the 256 levels per channel over every tenth image, shape (3, 256)."""
    counts = np.zeros((3, 256), dtype=np.int64)
    for image in images[::SAMPLE_EVERY]:
        pixels = decode(image)
        for channel in range(3):
            counts[channel] += np.bincount(pixels[..., channel].ravel(), minlength=256)
    return counts


def of_histogram(counts: NDArray[np.int64]) -> Stats:
    """Statistics of images in [0, 1]; every entry has shape (3, 1, 1), `count` has (1,)."""
    level = np.arange(256) / 255.0
    total = counts.sum(axis=1, keepdims=True)
    share = counts / total
    mean = share @ level
    square = share @ level**2
    cumulative = np.cumsum(share, axis=1)
    present = counts > 0
    stats = {
        "min": level[present.argmax(axis=1)],
        "max": level[255 - present[:, ::-1].argmax(axis=1)],
        "mean": mean,
        "std": np.sqrt(np.maximum(square - mean**2, 0.0)),
        **{name: level[(cumulative >= q).argmax(axis=1)] for name, q in QUANTILES.items()},
    }
    shaped = {name: values.reshape(3, 1, 1) for name, values in stats.items()}
    return {**shaped, "count": total[0].astype(np.float64)}


def as_json(stats: Mapping[str, Stats]) -> dict[str, dict[str, list[float]]]:
    """Nested lists, with counts as whole numbers."""
    return {
        key: {name: (v.astype(np.int64) if name == "count" else v).tolist() for name, v in entry.items()}
        for key, entry in stats.items()
    }
