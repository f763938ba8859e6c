"""What a client of the graph reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from finevla.errors import FineVLAError

FrameSink = Callable[[str, int, bytes], None]


class GraphError(FineVLAError):
    """The running graph does not answer, or refuses what it was asked."""


@dataclass(frozen=True, slots=True)
class Ending:
    """How the graph ended an instruction; times in s since it was published.

    `ending` is finished, rejected, superseded or timeout. `applied_s` is None where no chunk followed it.
    """

    ending: str
    reason_code: str
    reason: str
    seconds: float
    applied_s: float | None


@dataclass(frozen=True, slots=True)
class PolicyFigures:
    """The newest figures of the policy node; latencies in s, 0 before the first inference."""

    checkpoint_id: str = ""
    chunks: int = 0
    latency_s: float = 0.0
    latency_p95_s: float = 0.0
