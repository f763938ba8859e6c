"""ROS domains for tests: each gets another one.

What ran before is forgotten by discovery only after a while; in a domain of its own a test hears neither
it, nor another run of the tests, nor a demo.
"""

from __future__ import annotations

import itertools
import os

FIRST, COUNT = 10, 60
"""Demos take 70 to 99; above 101 a domain would use ports that the kernel hands out to others."""
_TAKEN = itertools.count()


def fresh_domain() -> int:
    """A domain that this run of the tests has not used lately."""
    return FIRST + (os.getpid() + next(_TAKEN)) % COUNT
