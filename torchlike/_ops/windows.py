"""What convolutions and pools share: sizes per spatial dimension, windows, checks of dtypes."""

from __future__ import annotations

from functools import partial
from itertools import product

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.conventions import average
from torchlike._ops.table import op, torch_dtype

# Registers an op whose operands are tensors, never Python numbers.
layer = partial(op, numbers=())

# Above this many elements a window is not unrolled into shifted slices.
MAX_UNROLLED = 64


def floating(x):
    """An integer or bool array in PyTorch's default dtype; others as they are."""
    inexact = jnp.issubdtype(x.dtype, jnp.inexact)
    return x if inexact else x.astype(dt.get_default_dtype().numpy)


def require_floating(input, kernel: str, complex: bool = False) -> None:
    """Raise PyTorch's error for an op that has no integer kernel, and most often no complex one."""
    d = torch_dtype(input)
    if d.category < dt.FLOATING or (d.category == dt.COMPLEX and not complex):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[d]}'")


def require_real(input, kernel: str) -> None:
    """Raise PyTorch's error for an op that has no kernel of complex numbers or of truth values."""
    d = torch_dtype(input)
    if d.category in (dt.BOOL, dt.COMPLEX):
        raise NotImplementedError(f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[d]}'")


def widen(x):
    """Half precision as float32, in which PyTorch computes; anything else as it is."""
    return x.astype(jnp.float32) if x is not None and torch_dtype(x) in dt.HALF else x


def unbatched(input, rank: int, name: str, channels: bool = True) -> bool:
    """Whether the batch dimension is missing; raises unless the input has a fitting rank."""
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"Expected {rank + 1}D (unbatched) or {rank + 2}D (batched) input to {name}, but got "
            f"input of size: {list(input.shape)}"
        )
    return input.ndim == rank + 1


def slices(input, kernel, stride, dilation, out):
    """For each element of the window, the input's elements that it meets, over (..., *out)."""
    lead = input.ndim - len(kernel)
    head, full = [0] * lead, list(input.shape[:lead])
    for offset in product(*map(range, kernel)):
        start = [o * d for o, d in zip(offset, dilation, strict=True)]
        stop = [a + (n - 1) * s + 1 for a, n, s in zip(start, out, stride, strict=True)]
        yield offset, lax.slice(input, head + start, full + stop, [1] * lead + list(stride))


def pad_spatial(input, low, high, value):
    """Pad (or crop, where negative) the last dimensions with one value."""
    if not any(low) and not any(high):
        return input
    lead = input.ndim - len(low)
    config = [(0, 0, 0)] * lead + [(a, b, 0) for a, b in zip(low, high, strict=True)]
    return lax.pad(input, jnp.asarray(value, input.dtype), config)


def lowest(dtype):
    """The number that no maximum picks."""
    if jnp.issubdtype(dtype, jnp.inexact):
        return np.array(-np.inf, dtype)
    return np.array(jnp.iinfo(dtype).min, dtype)


def reduce_loss(x, reduction: str):
    """A loss by ``reduction``: "none", "mean" or "sum"."""
    if reduction == "none":
        return x
    if reduction == "mean":
        return average(x)
    return x.sum(dtype=np.int64 if x.dtype.kind in "biu" else None)
