"""Parameters of `finevla_replay`."""

from __future__ import annotations

from dataclasses import dataclass

from finevla.contract.params import param


@dataclass(frozen=True, slots=True)
class ReplayParams:
    """One line per parameter: default, description, bounds."""

    contract_file: str = param("", "Robot contract in YAML; empty: the one that ships with finevla.")
    bag: str = param("", "Directory of the bag.")
    roles: str = param(
        "camera,feedback",
        "What is played: camera, feedback, leader, instruction, parsed, status, mark. Leader joints and "
        "instructions move arms where a driver or a policy runs: they are played only where asked for.",
    )
    topics: str = param("", "Exactly these topics of the contract, in place of roles.")
    rate: float = param(1.0, "Speed: 2 is twice as fast.", lower=0.01, upper=100.0)
    loop: bool = param(False, "Begins again at the end, until it is told to stop.")
    start_s: float = param(0.0, "Where to begin, from the first message of the bag.", lower=0.0)
    end_s: float = param(0.0, "Where to end, from the first message of the bag; 0: at its end.", lower=0.0)
    stamps: str = param(
        "original",
        "Stamps in the headers. original: as recorded (with loop they go back at every beginning). now: all "
        "moved by the same time, so that they are those of a robot that runs now and their distances stay.",
        choices=("original", "now"),
    )
    delay_s: float = param(
        3.0,  # Fast DDS announces a participant five times at once, and then every three seconds
        "Time before the first message, in which subscribers and other publishers are found.",
        lower=0.0,
        upper=60.0,
    )
    allow_others: bool = param(
        False, "Plays where other nodes publish the same topics, and where a driver runs."
    )
