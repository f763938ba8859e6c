"""How long does a compact policy think? Latency of `Policy.infer` on one thread.

    python benchmarks/inference.py [--json] [--out FILE]

Everything that the policy node does per inference is in it: cropping of the camera pictures, normalization,
network, inverse normalization, checks. Untrained weights, since they take as long as trained ones. Before
anything is timed, every policy must give the same chunk twice, finite and within the limits of the joints.

Floors (95th percentile, 10 Hz control): 10 ms with one camera and the regression head, 30 ms with three. The
flow head, which runs its transformer four times, is information. Exits 0 only where the floors hold.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from origin import finish, origin, report_flags

from finevla.contract import Observation, RobotContract, load_contract
from finevla.contract.bundle import BundleContent, write_bundle
from finevla.contract.images import WorkspaceCrop
from finevla.contract.transforms import Chain, JointStatistics, Normalize
from finevla.policy.inference import Policy, load_policy
from finevla.policy.lexicon import Lexicon
from finevla.policy.model import build_network, network_weights
from finevla.policy.presets import preset

FLOORS_MS = {("compact", "oft"): 10.0, ("compact-3cam", "oft"): 30.0}
CASES = (*FLOORS_MS, ("compact", "flow"), ("compact-3cam", "flow"))
TEXT = "use the left arm to pick up the red cube from the top"
SIZE = 96
"""Width and height of the policy's pictures, pixels: the recipe of the sweep."""


def untrained(folder: Path, name: str, head: str, contract: RobotContract) -> Policy:
    """A policy with fresh weights, written as a bundle and loaded as the node loads it."""
    words = Lexicon.from_texts([TEXT, TEXT.replace("left", "right"), "put a blue cube into the left bowl"])
    config = preset(name, head, dof=contract.dof, horizon=contract.horizon, vocabulary_size=words.size)
    cameras = list(contract.cameras)[: config.cameras]
    config = type(config).from_json({**config.to_json(), "image_size": [SIZE, SIZE]})
    rows = np.random.default_rng(0).uniform(contract.lower, contract.upper, (500, contract.dof))
    chain = Chain((Normalize(JointStatistics.of(contract.joint_names, rows), (0.01,) * contract.dof),))
    content = BundleContent(
        model=config.to_json(),
        images={
            camera: WorkspaceCrop(
                (contract.cameras[camera].width, contract.cameras[camera].height),
                (102, 50, 218, 166),
                (SIZE, SIZE),
            )
            for camera in cameras
        },
        dt_s=contract.frame_period_s,
        horizon=contract.horizon,
        text=words.to_json(),
        dimensions={"actor": ("left_arm", "right_arm")},
        state=chain,
        action=chain,
        provenance={
            "dataset_hash": "none: untrained",
            "manifest_hash": "none: untrained",
            "mix": "fg",
            "commands": [],
            "seeds": {},
            "git_commit": "benchmark",
            "steps": 0,
            "episodes": 0,
            "frames": 0,
        },
    )
    out = write_bundle(
        folder / f"{name}-{head}", contract, content, network_weights(build_network(config, 0))
    )
    return load_policy(out, contract, threads=1)


def observations(contract: RobotContract, count: int) -> list[Observation]:
    """Noise in all cameras, the arms somewhere."""
    rng = np.random.default_rng(1)
    return [
        Observation(
            stamp,
            rng.uniform(contract.lower, contract.upper),
            {
                name: rng.integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)
                for name, spec in contract.cameras.items()
            },
        )
        for stamp in range(count)
    ]


def require_equal(policy: Policy, seen: Observation, contract: RobotContract, name: str) -> None:
    """Refuses to time a policy that does not repeat itself or leaves the limits.

    Raises:
        SystemExit: It does.
    """
    first, second = (policy.infer(seen, TEXT, "i").targets for _ in range(2))
    inside = (first >= contract.lower).all() and (first <= contract.upper).all()
    if not (np.array_equal(first, second) and np.isfinite(first).all() and inside):
        sys.exit(f"{name}: the same observation gave other or impossible targets; its speed scores nothing")


def measure(count: int) -> dict[str, Any]:
    """The whole benchmark; the report as JSON values."""
    contract, rows = load_contract(), {}
    seen = observations(contract, 20)
    with tempfile.TemporaryDirectory() as folder:
        for name, head in CASES:
            policy = untrained(Path(folder), name, head, contract)
            policy.warm_up()
            require_equal(policy, seen[0], contract, f"{name} {head}")
            times = [_milliseconds(policy, seen[i % len(seen)]) for i in range(count)]
            floor = FLOORS_MS.get((name, head))
            p95 = float(np.percentile(times, 95))
            rows[f"{name} {head}"] = {
                "n": count,
                "median_ms": round(statistics.median(times), 2),
                "p95_ms": round(p95, 2),
                "floor_ms": floor,
                "holds": floor is None or p95 <= floor,
            }
    return {
        "benchmark": "inference",
        "equal": True,
        "policies": rows,
        "holds": all(r["holds"] for r in rows.values()),
    }


def _milliseconds(policy: Policy, seen: Observation) -> float:
    start = time.perf_counter()
    policy.infer(seen, TEXT, "i")
    return (time.perf_counter() - start) * 1e3


def main() -> int:
    """Measures, prints the report, and says by its exit code whether the floors hold."""
    parser = report_flags("Latency of compact policies on one thread.")
    parser.add_argument("--count", type=int, default=300, help="inferences of each policy")
    flags = parser.parse_args()
    report = {**measure(flags.count), **origin("python benchmarks/inference.py", "torch", "numpy")}
    return finish(report, flags, _table)


def _table(report: dict[str, Any]) -> str:
    lines = [
        f"{name:<18} median {row['median_ms']:6.2f} ms, p95 {row['p95_ms']:6.2f} ms, n {row['n']}"
        + ("" if row["floor_ms"] is None else f", floor {row['floor_ms']:g}")
        for name, row in report["policies"].items()
    ]
    return "\n".join([*lines, f"floors {'hold' if report['holds'] else 'FAIL'}; {report['machine']}"])


if __name__ == "__main__":
    sys.exit(main())
