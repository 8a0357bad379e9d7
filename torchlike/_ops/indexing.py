"""Gather and scatter: reads and writes by index tensors."""

from __future__ import annotations

import jax.numpy as jnp

from torchlike._ops.table import Arrays, Dim, Shape, op, report_bad_index


def _at(input, indices, dims, checked):
    """The full index tuple; negative indices count from the end."""
    at = [slice(None)] * input.ndim
    for d, index in zip(dims, indices, strict=True):
        n = input.shape[d]
        if not checked:
            report_bad_index(index, n, -n)
        at[d] = jnp.where(index < 0, index + n, index)
    return tuple(at)


@op("index", checks=True)
def index(input, indices: Arrays, dims: Shape, checked: Dim):
    """input[..., indices, ...], the indices broadcast together."""
    return input.at[_at(input, indices, dims, checked)].get(mode="clip")


@op("index_put", checks=True)
def index_put(input, values, indices: Arrays, dims: Shape, checked: Dim, accumulate: Dim):
    """The input with values put (or added) at the indices."""
    at = input.at[_at(input, indices, dims, checked)]
    values = values.astype(input.dtype)
    return at.add(values, mode="drop") if accumulate else at.set(values, mode="drop")


@op("masked_fill_value", grad_name="MaskedFillBackward0")
def masked_fill_value(input, mask, value):
    """``value`` where the mask is set."""
    return jnp.where(mask, value.astype(input.dtype), input)
