"""make_tensor: random tensors of any dtype, the same as PyTorch's for the same seed."""

from __future__ import annotations

import math
import warnings

from torchlike._core import dtypes as dt
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.queries import finfo, iinfo

_F = FUNCTIONS


def _interval(low, high, default, least, most, dtype) -> tuple:
    """The bounds to draw between; raises if they are empty or the dtype holds nothing of them."""
    low = default[0] if low is None else low
    high = default[1] if high is None else high
    for x in (low, high):
        if isinstance(x, float) and math.isnan(x):
            raise ValueError(
                f"`low` and `high` cannot be NaN, but got low={low!r} and high={high!r}"
            )
    floating = dtype.category >= dt.FLOATING
    if low == high and floating:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
            "deprecated since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif low >= high:
        raise ValueError(f"`low` must be less than `high`, but got {low} >= {high}")
    elif high < least or low > most:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{low}, {high}), but {dtype} "
            f"only supports [{least}, {most}{']' if floating else ')'}"
        )
    low, high = max(low, least), min(high, most)
    return (low, high) if floating else (math.ceil(low), math.ceil(high))


def make_tensor(
    *shape, dtype, device, low: float | None = None, high: float | None = None,
    requires_grad: bool = False, noncontiguous: bool = False, exclude_zero: bool = False,
    memory_format=None,
):  # fmt: skip
    """A tensor of a shape with numbers from [low, high): [-9, 9) by default, integers [-9, 10),
    unsigned ones from 0
    (https://pytorch.org/docs/stable/testing.html#torch.testing.make_tensor)."""
    if len(shape) == 1 and not isinstance(shape[0], int):
        shape = tuple(shape[0])
    if not isinstance(dtype, dt.dtype):
        raise TypeError(
            f"The requested dtype '{dtype}' is not supported by torch.testing.make_tensor(). To "
            "request support, file an issue at: https://github.com/pytorch/pytorch/issues"
        )
    if noncontiguous and memory_format is not None:
        raise ValueError(
            "The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"noncontiguous={noncontiguous} and memory_format={memory_format}"
        )
    if requires_grad and dtype.category < dt.FLOATING:
        raise ValueError(
            "`requires_grad=True` is not supported for boolean and integral dtypes, but got "
            f"dtype={dtype}"
        )
    apart = noncontiguous and math.prod(shape) > 1
    if apart:  # every second number of twice as many
        shape = (*shape[:-1], 2 * shape[-1])
    if dtype is dt.bool_:
        low, high = _interval(low, high, (0, 2), 0, 2, dtype)
        result = _F["randint"](low, high, shape, device=device, dtype=dtype)
    elif dtype.category <= dt.INTEGRAL:
        info = iinfo(dtype)
        default = (0 if info.min == 0 else -9), 10
        # PyTorch draws int64 below the largest only: its bound is exclusive, and an int64 itself.
        most = info.max if dtype is dt.int64 else info.max + 1
        low, high = _interval(low, high, default, info.min, most, dtype)
        result = _F["randint"](low, high, shape, device=device, dtype=dtype)
    else:
        real = {dt.complex64: dt.float32, dt.complex128: dt.float64}.get(dtype, dtype)
        info = finfo(real)
        low, high = _interval(low, high, (-9, 9), info.min, info.max, dtype)
        full = (*shape, 2) if real is not dtype else shape
        result = _uniform(full, real, device, low, high, info)
        if real is not dtype:
            result = _F["view_as_complex"](result)
    if apart:
        result = result[..., 1::2]
    elif memory_format is not None:
        result = result.clone(memory_format=memory_format)
    if exclude_zero:
        result[result == 0] = 1 if dtype.category <= dt.INTEGRAL else finfo(dtype).tiny
    if dtype.category >= dt.FLOATING:
        result.requires_grad_(requires_grad)
    return result


def _uniform(shape, dtype, device, low, high, info):
    """Numbers from [low, high), where high - low may be more than the dtype holds."""
    if dtype.itemsize == 1:
        return _uniform(shape, dt.float32, device, low, high, finfo(dt.float32)).to(dtype)
    result = _F["empty"](shape, dtype=dtype, device=device)
    if high - low < info.max:
        return result.uniform_(low, high)
    return result.uniform_(low / 2, high / 2).mul_(2)
