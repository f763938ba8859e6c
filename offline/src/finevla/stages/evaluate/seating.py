"""The flags --policy and --bundle: who sits in the seat, and under which name."""

from __future__ import annotations

from pathlib import Path

from finevla.contract import load_contract
from finevla.contract.bundle import read_bundle, shipped_bundle
from finevla.errors import FineVLAError
from finevla.sim.factors import factor_named
from finevla.sim.room import require_renderer
from finevla.stages.evaluate.seat import Seat

_SWAP = "swap:"


def seat_of(policy: str, bundle: Path | None) -> Seat:
    """Who acts.

    Args:
        policy: `bundle`, `expert`, `ignore`, `swap:FACTOR`, or the folder of a bundle.
        bundle: Folder of the bundle for `bundle`; the shipped one when None.

    Raises:
        FineVLAError: A bundle is given twice, or to an oracle; or `policy` names nothing.
        SimulationError: The factor to swap does not exist.
        BundleError: The installation lacks the shipped bundle.
    """
    if policy == "bundle":
        return Seat("bundle", bundle or shipped_bundle())
    if bundle is not None:
        raise FineVLAError(
            "a flag of the evaluation is not right",
            where="--bundle",
            expected=f"no bundle together with --policy {policy}",
            found=bundle,
            remedy="leave one of the two out",
        )
    if policy == "expert":
        return Seat("expert")
    if policy == "ignore":
        return Seat("ignore")
    if policy.startswith(_SWAP):
        return Seat("swap", factor=factor_named(policy.removeprefix(_SWAP)).name)
    if Path(policy).is_dir():
        return Seat("bundle", Path(policy))
    raise FineVLAError(
        "nobody of that name can sit in the seat",
        where="--policy",
        expected="bundle, expert, ignore, swap:FACTOR, or the folder of a bundle",
        found=policy,
        remedy="give the folder that `finevla export` wrote, or the name of an oracle",
    )


def checkpoint_of(seat: Seat) -> str:
    """What the result calls it: the checkpoint of a bundle, which must fit this robot, or the oracle.

    Raises:
        BundleError: The bundle is not for this robot, incomplete or altered.
        SimulationError: A policy needs pictures, and nothing can render here.
    """
    if seat.bundle is None:
        return f"{_SWAP}{seat.factor}" if seat.kind == "swap" else seat.kind
    require_renderer()
    return read_bundle(seat.bundle, load_contract()).checkpoint_id
