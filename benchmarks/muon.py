"""What does an update of Muon cost? Ours, in the precision of the weights, against `torch.optim.Muon`.

    python benchmarks/muon.py [--json] [--out FILE]

torch rounds to bfloat16 before it multiplies matrices, which a processor without instructions for bfloat16
does slowly. Both get the matrices of the network `compact` with the same gradients, on one thread. Before
anything is timed, their updates must agree to 2 %, the precision of bfloat16.
"""

from __future__ import annotations

import statistics
import sys
import time
from functools import partial
from typing import Any

import torch
from origin import finish, origin, report_flags

from finevla.policy.model import build_network
from finevla.policy.presets import preset
from finevla.stages.train.muon import Muon

RATES = {"lr": 0.01, "weight_decay": 0.01}
OURS = partial(Muon, **RATES)
THEIRS = partial(torch.optim.Muon, adjust_lr_fn="match_rms_adamw", **RATES)


def matrices() -> list[torch.nn.Parameter]:
    """The weights of all linear layers of the network, each with a gradient."""
    config = preset("compact", "oft", dof=14, horizon=16, vocabulary_size=400)
    network = build_network(config, 0)
    found = [module.weight for module in network.modules() if isinstance(module, torch.nn.Linear)]
    generator = torch.Generator().manual_seed(0)
    for weight in found:
        weight.grad = torch.randn(weight.shape, generator=generator)
    return found


def largest_difference() -> float:
    """By how much an update of one differs from that of the other, as a share of its norm."""
    before, ours, theirs = matrices(), matrices(), matrices()
    OURS(ours).step()
    THEIRS(theirs).step()
    return max(
        float((a - b).detach().norm() / (b - c).detach().norm())
        for a, b, c in zip(ours, theirs, before, strict=True)
    )


def median_ms(optimizer: torch.optim.Optimizer, count: int) -> float:
    """Median time of an update, ms."""
    optimizer.step()
    times = []
    for _ in range(count):
        start = time.perf_counter()
        optimizer.step()
        times.append((time.perf_counter() - start) * 1e3)
    return statistics.median(times)


def measure(count: int) -> dict[str, Any]:
    """The whole benchmark; the report as JSON values.

    Raises:
        SystemExit: The two do not agree.
    """
    torch.set_num_threads(1)
    difference = largest_difference()
    if difference > 0.02:
        sys.exit(f"the updates differ by {difference:.1%}; their speed scores nothing")
    rows = {
        "torch.optim.Muon": median_ms(THEIRS(matrices()), count),
        "finevla": median_ms(OURS(matrices()), count),
    }
    return {
        "benchmark": "muon",
        "largest_difference": round(difference, 4),
        "n": count,
        "median_ms": {name: round(value, 2) for name, value in rows.items()},
        "ratio": round(rows["torch.optim.Muon"] / rows["finevla"], 2),
    }


def main() -> int:
    """Measures and prints the report."""
    parser = report_flags("Cost of one update of Muon for the network compact, on one thread.")
    parser.add_argument("--count", type=int, default=10, help="updates of each")
    flags = parser.parse_args()
    report = {"holds": True, **measure(flags.count), **origin("python benchmarks/muon.py", "torch")}
    return finish(report, flags, _table)


def _table(report: dict[str, Any]) -> str:
    lines = [f"{name:<18} median {value:8.2f} ms" for name, value in report["median_ms"].items()]
    return "\n".join([*lines, f"ratio {report['ratio']:g}, n {report['n']}; {report['machine']}"])


if __name__ == "__main__":
    sys.exit(main())
