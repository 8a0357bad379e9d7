"""Derivatives of samples by finite differences, as ``torch.gradient`` takes them."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.table import op, torch_dtype


def _part(x, dim: int, start: int, stop: int):
    n = x.shape[dim]
    start = start if start >= 0 else n + start
    return lax.slice_in_dim(x, start, stop if stop > 0 else n + stop, axis=dim)


@op("gradient_even", promotes="float", numbers=("spacing",), grad_name="CatBackward0")
def gradient_even(input, spacing, dim: int, edge_order: int):
    """The derivative along a dimension whose samples are ``spacing`` apart."""
    part = lambda start, stop: _part(input, dim, start, stop)  # noqa: E731
    over = conventions.quotient
    middle = over(part(2, 0) - part(0, -2), 2 * spacing)
    if edge_order == 1:
        first = over(part(1, 2) - part(0, 1), spacing)
        last = over(part(-1, 0) - part(-2, -1), spacing)
    else:
        first = over(-3 * part(0, 1) + 4 * part(1, 2) - part(2, 3), 2 * spacing)
        last = over(3 * part(-1, 0) - 4 * part(-2, -1) + part(-3, -2), 2 * spacing)
    return jnp.concatenate([first, middle, last], dim)


@op("gradient_at", numbers=(), grad_name="CatBackward0")
def gradient_at(input, coordinates, dim: int, edge_order: int):
    """The derivative along a dimension whose samples stand at ``coordinates``."""
    d = dt.promote_types(torch_dtype(input), torch_dtype(coordinates))
    numpy_type = (d if d.category > dt.INTEGRAL else dt.get_default_dtype()).numpy
    f, at = input.astype(numpy_type), coordinates.astype(numpy_type)
    steps = at[1:] - at[:-1]
    steps = steps.reshape([-1 if i == dim else 1 for i in range(f.ndim)])
    before, after = _part(steps, dim, 0, -1), _part(steps, dim, 1, 0)
    if after.shape[dim] != f.shape[dim] - 2:
        raise RuntimeError(
            f"The size of tensor a ({after.shape[dim]}) must match the size of tensor b "
            f"({f.shape[dim] - 2}) at non-singleton dimension {dim}"
        )
    part = lambda start, stop: _part(f, dim, start, stop)  # noqa: E731
    middle = (
        -after / (before * (before + after)) * part(0, -2)
        + (after - before) / (before * after) * part(1, -1)
        + before / (after * (before + after)) * part(2, 0)
    )
    h = lambda i: _part(steps, dim, i, i + 1)  # noqa: E731
    if edge_order == 1:
        first = (part(1, 2) - part(0, 1)) / h(0)
        last = (part(-1, 0) - part(-2, -1)) / h(-1)
    else:
        first = _edge(part(0, 1), part(1, 2), part(2, 3), h(0), h(1))
        last = -_edge(part(-1, 0), part(-2, -1), part(-3, -2), h(-1), h(-2))
    return jnp.concatenate([first, middle, last], dim)


def _edge(f0, f1, f2, near, far):
    """The derivative at the first of three samples, by the parabola through them."""
    return (
        -(2 * near + far) / (near * (near + far)) * f0
        + (near + far) / (near * far) * f1
        - near / (far * (near + far)) * f2
    )
