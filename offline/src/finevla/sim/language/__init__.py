"""What is said of goals and of episodes: instructions, probes of them, descriptions from truth.

Instructions are in `render` (tables in `sentences`), the way back from a parsed sentence to a goal in
`understand`, the sentence probes of the evaluation in `probes`, the fine-grained text of an episode
in `describe`, and its independent check in `check`.
"""

from finevla.sim.goal import Goal
from finevla.sim.language.probes import PROBES, Probe, probes
from finevla.sim.language.render import family, held_out, raw, render, swapped, synonym, templates, words
from finevla.sim.language.sentences import FAMILIES, HELD_OUT_FAMILIES, HELD_OUT_WORDS

__all__ = [
    "FAMILIES",
    "HELD_OUT_FAMILIES",
    "HELD_OUT_WORDS",
    "PROBES",
    "Goal",
    "Probe",
    "family",
    "held_out",
    "probes",
    "raw",
    "render",
    "swapped",
    "synonym",
    "templates",
    "words",
]
