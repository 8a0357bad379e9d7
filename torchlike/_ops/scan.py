"""Scans along a dimension: running sums, products, extremes, differences and trapezoids."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.dims import along, axis
from torchlike._ops.reduce import cast, no_kernel, op, widened
from torchlike._ops.table import TABLE, Dim, Dtype, Number, torch_dtype

SCAN = ("function", "method", "out")


def _scan(fn, input, dim, dtype):
    """Integers run as int64, half precision as float32."""
    x = cast(input, dtype)
    if dtype is None and torch_dtype(x).category < dt.FLOATING:
        x = x.astype(np.int64)
    if x.dtype == bool:
        raise no_kernel(f"{fn.__name__}_out_cpu", x)
    y, at = along(widened(x), dim)
    # Without the barriers XLA evaluates the scan of a constant (a gradient of ones) when it
    # compiles: half a minute for four million numbers.
    y = lax.optimization_barrier(fn(lax.optimization_barrier(y), at))
    return y.reshape(input.shape).astype(x.dtype)


@op(linear=True, forms=SCAN)
def cumsum(input, dim: Dim, *, dtype: Dtype = None):
    """Running sums along a dimension."""
    return _scan(lax.cumsum, input, dim, dtype)


@op(forms=SCAN)
def cumprod(input, dim: Dim, *, dtype: Dtype = None):
    """Running products along a dimension."""
    return _scan(lax.cumprod, input, dim, dtype)


@op(forms=("function", "method", "out"))
def logcumsumexp(input, dim: Dim):
    """The logarithm of running sums of exponentials."""
    if not jnp.issubdtype(input.dtype, jnp.inexact):
        raise no_kernel("logcumsumexp_out_cpu", input)
    if jnp.iscomplexobj(input):
        add = TABLE["logaddexp"].fn
        return _scan(lambda x, d: lax.associative_scan(add, x, axis=d), input, dim, None)
    return _scan(lax.cumlogsumexp, input, dim, None)


def _running_extreme(name, fn, input, dim):
    """Values and the last index that reached them; a nan stays from where it appears."""
    if jnp.iscomplexobj(input):
        raise no_kernel(f"{name}_cpu", input)
    x, at = along(input, dim)
    whole = x.astype(np.uint8) if x.dtype == bool else x
    values = fn(whole, at)
    reached = whole == values
    if jnp.issubdtype(x.dtype, jnp.floating):
        reached |= x != x
    place = lax.broadcasted_iota(np.int32, x.shape, at)
    index = lax.cummax(jnp.where(reached, place, 0), at).astype(np.int64)
    return values.astype(x.dtype).reshape(input.shape), index.reshape(input.shape)


RUNNING = ("function", "method", "out", ("values", "indices"))


@op(saves="result", vjp=conventions.reordered, forms=RUNNING)
def cummax(input, dim: Dim):
    """Running maxima along a dimension, and where they stand."""
    return _running_extreme("cummax", lax.cummax, input, dim)


@op(saves="result", vjp=conventions.reordered, forms=RUNNING)
def cummin(input, dim: Dim):
    """Running minima along a dimension, and where they stand."""
    return _running_extreme("cummin", lax.cummin, input, dim)


# ---- differences and integrals -----------------------------------------------------------------


@op(linear=True, forms=("function", "method", "out"))
def diff(input, n: int = 1, dim: Dim = -1, prepend=None, append=None):
    """The n-th differences of neighbours along a dimension."""
    if input.ndim == 0:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    at = axis(dim, input.ndim)
    parts = [p for p in (prepend, input, append) if p is not None]
    common = torch_dtype(input)
    for p in parts:
        if p.ndim != input.ndim:
            raise RuntimeError("diff expects prepend or append to be the same dimension as input")
        common = dt.promote_types(common, torch_dtype(p))
        if any(a != b for d, (a, b) in enumerate(zip(p.shape, input.shape)) if d != at):
            raise RuntimeError(
                "diff expects the shape of tensor to prepend or append to match that of input "
                "except along the differencing dimension; "
                f"input.size() = {list(input.shape)}, but got {list(p.shape)}"
            )
    x = jnp.concatenate([p.astype(common.numpy) for p in parts], at) if len(parts) > 1 else input
    for _ in range(min(n, x.shape[at])):
        size = x.shape[at]
        high, low = (lax.slice_in_dim(x, a, size + a - 1, axis=at) for a in (1, 0))
        x = high ^ low if x.dtype == bool else high - low
    return x


def _panels(name, y, x, dx, dim):
    """Areas between neighbours, and the dimension they stand along."""
    if x is not None and dx is not None:
        raise TypeError(f"{name}() received an invalid combination of arguments: both x and dx")
    for operand, label in ((y, "y"), (x, "x")):
        if operand is not None and operand.dtype == bool:
            raise RuntimeError(
                f"{name}: received a bool input for `{label}`, but bool is not supported"
            )
    if y.ndim == 0:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    at = axis(dim, y.ndim)
    if x is not None:
        along_x = at if x.ndim == y.ndim else 0
        if x.ndim == 1:
            along_x = 0
        elif x.ndim != y.ndim:
            x = x.reshape((*[1] * (y.ndim - x.ndim), *x.shape))
            along_x = at
        if x.shape[along_x] != y.shape[at]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        steps = jnp.diff(x, axis=along_x)
        if x.ndim == 1:
            steps = steps.reshape([-1 if d == at else 1 for d in range(y.ndim)])
    n = y.shape[at]
    common = torch_dtype(y) if x is None else dt.promote_types(torch_dtype(y), torch_dtype(x))
    if common.category < dt.FLOATING:
        common = dt.get_default_dtype()
    y = y.astype(common.numpy)
    ends = (lax.slice_in_dim(y, a, n - 1 + a, axis=at) for a in (0, 1)) if n else (y, y)
    left, right = ends
    pairs = left + right
    if x is not None:
        pairs = pairs * steps.astype(common.numpy)
    elif dx is not None:
        pairs = pairs * dx.astype(common.numpy)
    return pairs / 2, at


@op(forms=("function",))
def trapezoid(y, x=None, *, dx: Number = None, dim: Dim = -1):
    """The integral of samples along a dimension by the trapezoidal rule."""
    panels, at = _panels("trapezoid", y, x, dx, dim)
    return panels.sum(at)


@op(forms=("function",))
def cumulative_trapezoid(y, x=None, *, dx: Number = None, dim: Dim = -1):
    """The running integral of samples along a dimension by the trapezoidal rule."""
    panels, at = _panels("cumulative_trapezoid", y, x, dx, dim)
    return lax.cumsum(panels, at)
