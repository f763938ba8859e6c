"""Which episodes are kept for validation: a seeded draw that loses no word."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from finevla.policy.text import split_words


def split_episodes(
    texts: tuple[str, ...], validation: int, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Returns training and validation episodes, both sorted.

    At most a fifth of the episodes is kept for validation, and none whose words would then be
    missing from training: the vocabulary comes from the training texts.
    """
    order = np.random.default_rng([seed, 1]).permutation(len(texts))
    words = [set(split_words(text)) for text in texts]
    left = Counter(word for each in words for word in each)
    kept: list[int] = []
    for episode in order:
        if len(kept) == min(validation, len(texts) // 5):
            break
        if all(left[word] > 1 for word in words[episode]):
            left.subtract(words[episode])
            kept.append(int(episode))
    held = np.array(sorted(kept), dtype=np.int64)
    return np.setdiff1d(np.arange(len(texts), dtype=np.int64), held), held
