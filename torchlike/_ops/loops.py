"""XLA's control flow, for ops: staged as it is also where calls of ``jit`` are traced through.

The functions are those of ``jax.lax``, whose loops run in Python while ``jax.disable_jit`` is on,
as it is while a call is traced for NumPy (_engine/inference.py).
"""

from __future__ import annotations

from functools import wraps

import jax
from jax import lax


def _staged(function):
    @wraps(function)
    def call(*args, **kwargs):
        with jax.disable_jit(False):
            return function(*args, **kwargs)

    return call


cond = _staged(lax.cond)
fori_loop = _staged(lax.fori_loop)
map = _staged(lax.map)
scan = _staged(lax.scan)
while_loop = _staged(lax.while_loop)
