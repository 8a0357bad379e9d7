"""The registry of builders, and what the modules that fill it share."""

from __future__ import annotations

import numpy as np

HALF = frozenset(("float16", "bfloat16"))
F32 = np.dtype(np.float32)


class Unsupported(Exception):
    """The interpreter cannot compute this; XLA must."""


BUILDERS: dict = {}
ELEMENTWISE: set = set()  # primitives whose numpy twin broadcasts, whatever the shapes


def builder(*names):
    """Register a function (parameters, operand avals, result avals) -> function of arrays."""

    def put(build):
        for name in names:
            BUILDERS[name] = build
        return build

    return put
