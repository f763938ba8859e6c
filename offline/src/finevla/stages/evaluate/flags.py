"""What the verbs of `finevla evaluate` say of a wrong flag."""

from __future__ import annotations

from finevla.errors import FineVLAError


def wrong_flag(verb: str, where: str, expected: object, found: object) -> FineVLAError:
    """The refusal of a flag.

    Args:
        verb: Of `finevla evaluate`, such as paired.
        where: Name of the flag.
        expected: What it may be.
        found: What it is.
    """
    return FineVLAError(
        "a flag of the evaluation is not right",
        where=where,
        expected=expected,
        found=found,
        remedy=f"finevla evaluate {verb} --help explains the flags",
    )
