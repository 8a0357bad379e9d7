"""The order that a sequence of swaps from the front leaves, found without doing them one by one.

Step i swaps places i and t[i] >= i. After it place i is final, so what matters of an item is where
the steps before have put it: ``origin`` follows that chain for all places at once. numpy only.
"""

from __future__ import annotations

import numpy as np


def after_swaps(targets: np.ndarray) -> np.ndarray:
    """What 0 .. n-1 become as place i swaps with ``targets[i]``, for i = 0, 1, ...: (n,) int64."""
    n = len(targets)
    places = np.arange(n)
    # Steps with the same target become neighbours, in order; one plain sort is the fastest way.
    keys = np.sort(targets << 32 | places)
    steps, goals = keys & 0xFFFFFFFF, keys >> 32
    follows = goals[1:] == goals[:-1]

    # before[i]: the last step before i with the target of i, or -1
    before = np.full(n, -1)
    before[steps[1:][follows]] = steps[:-1][follows]

    # brought[j]: the step before j whose swap put an item in place j, or -1; it put there what its
    # own place held then. So origin[j], where the item in place j at step j began, is a chain.
    last = np.append(~follows, True)[:n]
    brought = np.full(n, -1)
    brought[goals[last]] = steps[last]
    with_itself = brought == places
    brought[with_itself] = before[with_itself]
    origin = np.where(brought >= 0, brought, places)
    while True:
        further = origin[origin]
        if np.array_equal(further, origin):
            break
        origin = further

    order = np.where(before >= 0, origin[before], targets)
    return np.where(targets == places, origin, order)
