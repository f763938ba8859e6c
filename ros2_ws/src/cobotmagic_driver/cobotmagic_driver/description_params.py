"""Parameters of the description node."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.params import param


@dataclass(frozen=True, slots=True)
class DescriptionParams:
    """Parameters of finevla_description."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    rate_hz: float = param(50.0, "How often joint states are published.", lower=1.0, upper=200.0)
    fresh_s: float = param(0.2, "An arm not heard for longer is left out.", lower=0.02, upper=5.0)
