"""The search direction of L-BFGS: the two-loop recursion as one op."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._ops import loops
from torchlike._ops.table import Arrays, op


@op("lbfgs_direction", promotes="raw", differentiable=False)
def lbfgs_direction(operands: Arrays, slots: int):
    """The direction and the coefficients of the first loop.

    Operands are the gradient, the Hessian's scale, and ``slots`` each of gradient changes, steps
    and inverse products, oldest first; unused slots at the end are zero and change nothing.
    """
    gradient, scale = operands[0], getattr(operands[1], "array", operands[1])
    changes, steps, inverses = (
        jnp.stack(operands[2 + k * slots : 2 + (k + 1) * slots]) for k in range(3)
    )
    dot = lambda a, b: jnp.dot(a, b, precision=lax.Precision.HIGHEST)  # noqa: E731

    def down(q, slot):
        change, step, inverse = slot
        al = dot(step, q) * inverse
        return q - al * change, al

    def up(r, slot):
        change, step, inverse, al = slot
        return r + (al - dot(change, r) * inverse) * step, None

    q, als = loops.scan(down, -gradient, (changes, steps, inverses), reverse=True)
    r, _ = loops.scan(up, q * scale.astype(q.dtype), (changes, steps, inverses, als))
    return r, als
