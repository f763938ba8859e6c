"""Everything that a verified bundle says: policy, weights, text, dimensions, statistics, origin."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from finevla.contract.bundle import FORMAT_VERSION, Bundle
from finevla.contract.bundle_weights import Tensors
from finevla.contract.robot import RobotContract
from finevla.contract.sanity import statistics_faults, statistics_notes
from finevla.contract.transforms import Transform, first_statistics

_MODULE_DEPTH = 2
"""Parts of a tensor's name that name its module: `head.out.bias` belongs to `head.out`."""


def bundle_facts(bundle: Bundle, contract: RobotContract) -> dict[str, Any]:
    """What `finevla inspect` shows of a bundle, in plain JSON values."""
    content, tensors = bundle.content, bundle.tensors
    return {
        "checkpoint_id": bundle.checkpoint_id,
        "format_version": FORMAT_VERSION,
        "signature": bundle.signature,
        "contract": f"{contract.name} {contract.hash}",
        "cameras": {name: image.to_json() for name, image in content.images.items()},
        "horizon": content.horizon,
        "dt_s": content.dt_s,
        "model": dict(content.model),
        "weights": _weights(tensors),
        "files": {file.name: file.stat().st_size for file in sorted(bundle.path.iterdir())},
        "bytes": sum(file.stat().st_size for file in bundle.path.iterdir()),
        "text": dict(content.text),
        "dimensions": {slot: list(values) for slot, values in content.dimensions.items()},
        "statistics": {
            "state": _statistics(content.state),
            "action": _statistics(content.action),
            "sanity": _sanity(content.state, content.action, contract),
        },
        "provenance": dict(content.provenance),
    }


def _weights(tensors: Tensors) -> dict[str, Any]:
    """Numbers in all, per module and per type."""
    modules: Counter[str] = Counter()
    dtypes: Counter[str] = Counter()
    for name, array in tensors.arrays.items():
        modules[_module(name)] += array.size
        dtypes[tensors.dtype(name)] += array.size
    return {
        "parameters": tensors.parameters,
        "per_module": dict(sorted(modules.items())),
        "per_dtype": dict(sorted(dtypes.items())),
    }


def _module(name: str) -> str:
    parts = name.split(".")
    return ".".join(parts[: min(_MODULE_DEPTH, len(parts) - 1)]) or name


def _statistics(transform: Transform) -> dict[str, Any]:
    """Per joint: mean, spread, smallest and largest value, rad and m."""
    statistics = first_statistics(transform)
    if statistics is None:
        return {}
    columns = (statistics.mean, statistics.std, statistics.minimum, statistics.maximum)
    rows: Mapping[str, list[float]] = {
        name: [round(value, 6) for value in values]
        for name, *values in zip(statistics.names, *columns, strict=True)
    }
    return {"frames": statistics.count, "mean, spread, smallest, largest": rows}


def _sanity(state: Transform, action: Transform, contract: RobotContract) -> dict[str, Any]:
    notes = [
        *statistics_notes("state", state, contract),
        *statistics_notes("action", action, contract),
    ]
    faults = [f"{fault.what}: {fault.found}" for fault in statistics_faults(state, action, contract)]
    return {"faults": faults, "notes": notes}
