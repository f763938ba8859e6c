"""The error tree of the library.

Every error that a user can cause or repair is a `FineVLAError`. Its message always says what is
wrong, where, what was expected, what was found, and the remedy. `ValueError` and `TypeError` stay
for mistakes of the programmer.
"""

from __future__ import annotations


class FineVLAError(Exception):
    """Base of all errors that a user can repair.

    Args:
        what: One sentence that names the problem.
        where: File, topic, episode, frame or field; empty where it adds nothing.
        expected: What would have been right.
        found: What was there instead.
        remedy: What the user can do about it.
    """

    def __init__(
        self,
        what: str,
        *,
        where: object = "",
        expected: object = "",
        found: object = "",
        remedy: str = "",
    ) -> None:
        self.what = what
        self.where = str(where)
        self.expected = str(expected)
        self.found = str(found)
        self.remedy = remedy
        super().__init__(self._message())

    def _message(self) -> str:
        parts = [self.what]
        for label in ("where", "expected", "found", "remedy"):
            value = getattr(self, label)
            if value:
                parts.append(f"  {label}: {value}")
        return "\n".join(parts)


class ContractError(FineVLAError):
    """Data does not match the robot contract: wrong joints, order, units, cameras or topics."""


class InstructionError(FineVLAError):
    """An instruction is empty, contradicts itself or cannot be followed by the loaded policy."""


class BagError(FineVLAError):
    """A bag is missing, damaged, or lacks a topic that the contract asks for."""


class DatasetError(FineVLAError):
    """A LeRobot dataset is missing, damaged or of another layout than expected."""


class BundleError(FineVLAError):
    """A bundle is incomplete, altered, or made for another contract or format."""


class PolicyError(FineVLAError):
    """The policy cannot give a chunk that is safe to execute: a configuration or numbers at fault."""


class SimulationError(FineVLAError):
    """The simulated world cannot be built, rendered or solved: no renderer, no IK solution."""


class DriverError(FineVLAError):
    """The arms cannot be reached, enabled or moved safely."""


class LaunchError(FineVLAError):
    """A launch file, its arguments or one of its processes is at fault."""


class SetupError(FineVLAError):
    """Something that the installation should provide is missing: a tool, a driver, a privilege."""
