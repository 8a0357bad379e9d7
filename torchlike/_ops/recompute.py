"""The op that lets a computation be done a second time."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._ops.table import Arrays, Number, op


@op(promotes="raw", differentiable=False)
def recompute_from(tensors: Arrays, flag: Number, count: int):
    """The first ``count`` tensors, known to the compiler only when the others are.

    What is computed from the results is so no common subexpression with what was computed from the
    tensors before, and cannot be scheduled before the others. A barrier alone does not do it: XLA's
    CPU compiler drops barriers before it merges what is equal (measured: 47 MB of temporaries with
    and without one in a chain of 24 layers, 14 MB with this).
    """
    late = flag.array != 0
    for x in tensors[count:]:
        if x.size and jnp.issubdtype(x.dtype, jnp.inexact):
            late = late | jnp.isnan(x.ravel()[0])
    kept = [jnp.where(late, x, jnp.zeros_like(x)) for x in tensors[:count]]
    return tuple(lax.optimization_barrier((*kept, *tensors[count:]))[:count])
