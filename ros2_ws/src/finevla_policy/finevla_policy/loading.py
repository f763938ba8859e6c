"""From a bundle to a policy that may be activated, or a refusal that says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from finevla.contract import RobotContract
from finevla.errors import BundleError
from finevla_policy.worker import PolicyLike, measure_latency_s

Loader = Callable[[str], PolicyLike]


def bundle_loader(contract: RobotContract, threads: int) -> Loader:
    """Loads real bundles; torch is imported with the first one, not with this module."""

    def load(path: str) -> PolicyLike:
        from finevla.contract.bundle import shipped_bundle
        from finevla.policy.inference import load_policy

        return load_policy(Path(path) if path else shipped_bundle(), contract, threads)

    return load


def accepted(policy: PolicyLike, contract: RobotContract, budget_s: float, where: str) -> PolicyLike:
    """Returns the policy, warmed up.

    Raises:
        BundleError: It needs a camera that the robot lacks, or is slower than the budget.
    """
    missing = [name for name in policy.cameras if name not in contract.cameras]
    if missing:
        raise BundleError(
            "the policy needs a camera that the robot does not have",
            where=where,
            expected=f"cameras of {sorted(contract.cameras)}",
            found=missing,
            remedy="use a bundle trained for this robot",
        )
    latency_s = measure_latency_s(policy)
    if latency_s > budget_s:
        raise BundleError(
            "the policy is too slow on this computer",
            where=where,
            expected=f"one inference in at most {budget_s:g} s",
            found=f"{latency_s:.3f} s after warm-up",
            remedy="use a faster computer or a smaller model, or raise latency_budget_s",
        )
    return policy
