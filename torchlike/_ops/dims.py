"""Dimensions of a call: from PyTorch's arguments to axes, and from reduced shapes back."""

from __future__ import annotations

import math

import jax
import jax.extend.core
import jax.numpy as jnp


def is_open(*sizes) -> bool:
    """Whether any of some sizes is one that an exported program leaves open."""
    return any(not isinstance(n, int) for n in sizes)


def surely(test) -> bool:
    """Whether a test of sizes holds, whatever the open ones among them are."""
    try:
        return bool(test())
    except jax.extend.core.InconclusiveDimensionOperation:
        return False


def out_of_range(dim, n: int) -> IndexError:
    """PyTorch's error for a dimension that does not exist among ``n``."""
    return IndexError(
        f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
    )


def axis(dim, ndim: int) -> int:
    """One dimension counted from the front; a 0-d operand has a dimension 0 too."""
    if isinstance(dim, (bool, float, str, tuple, list)) or not hasattr(dim, "__index__"):
        raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
    n = ndim or 1
    if not -n <= dim < n:
        raise out_of_range(dim, n)
    return int(dim) + n if dim < 0 else int(dim)


def axes(dim, ndim: int):
    """Dimensions counted from the front, or None for all; raises PyTorch's errors."""
    if dim is None or (dim.__class__ is tuple and not dim):
        return None
    out = []
    for d in dim if isinstance(dim, tuple) else (dim,):
        d = axis(d, ndim)
        if d in out:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
        out.append(d)
    return () if ndim == 0 else tuple(out)


def along(input, dim):
    """(operand, axis) for ops along one dimension: a 0-d operand becomes a vector of one."""
    at = axis(dim, input.ndim)
    return (input.reshape(1) if input.ndim == 0 else input), at


def dropped(result, input, at: int, keepdim: bool):
    """A result that keeps its reduced dimension, in the shape that the call asks for."""
    if input.ndim == 0:
        return result.reshape(())
    return result if keepdim else jnp.squeeze(result, at)


def count(shape, at) -> int:
    """How many elements are reduced to one."""
    return math.prod(shape if at is None else [shape[d] for d in at])


def kept(x, shape, dim, keepdim: bool):
    """A reduced array with its reduced dimensions as ones again."""
    at = axes(dim, len(shape))
    if keepdim or not shape:
        return x
    gone = range(len(shape)) if at is None else at
    return x.reshape([1 if d in gone else n for d, n in enumerate(shape)])
