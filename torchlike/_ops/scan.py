"""Scans along a dimension: running sums, products, extremes, differences and trapezoids."""

from __future__ import annotations

from functools import partial
from math import prod

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions, loops
from torchlike._ops.dims import along, axis, surely
from torchlike._ops.reduce import cast, no_kernel, op, widened
from torchlike._ops.table import TABLE, Dim, Dtype, Number, torch_dtype

SCAN = ("function", "method", "out")


def _scan(fn, input, dim, dtype, name=None):
    """Integers run as int64, half precision as float32."""
    x = cast(input, dtype)
    if dtype is None and torch_dtype(x).category < dt.FLOATING:
        x = x.astype(np.int64)
    if x.dtype == bool:
        raise no_kernel(f"{name or fn.__name__}_out_cpu", x)
    y, at = along(widened(x), dim)
    # Without the barriers XLA evaluates the scan of a constant (a gradient of ones) when it
    # compiles: half a minute for four million numbers.
    y = lax.optimization_barrier(fn(lax.optimization_barrier(y), at))
    return y.reshape(input.shape).astype(x.dtype)


def _sums(x, at: int, reverse: bool = False):
    """Running sums; on a CPU by products with triangles of ones where those are faster.

    In ms of one core of a Xeon with AVX-512 (jax 0.10.2), sums and their gradient: 4096x1024 along
    its rows 20 against 36 of lax.cumsum, along its columns 23 against 85; 256x1024 1.1 against 2.5;
    64x100 no difference.
    """
    scan = partial(lax.cumsum, axis=at, reverse=reverse)
    large = surely(lambda: x.size >= 2**14 and x.shape[at] >= 64)
    if not large or not jnp.issubdtype(x.dtype, jnp.floating):
        return scan(x)

    def by_products(x):
        # A nan or infinity, times the zeros of a triangle, would spread to sums before it.
        size = jnp.abs(x).reshape(x.shape[0] if x.ndim > 1 else 1, -1).sum(-1).sum()
        return loops.cond(jnp.isfinite(size), lambda x: _by_triangles(x, at, reverse), scan, x)

    return lax.platform_dependent(x, cpu=by_products, default=scan)


def _by_triangles(x, at, reverse):
    """Running sums in blocks of 32, plus the running sums of the blocks before."""
    before, n, after = prod(x.shape[:at]), x.shape[at], prod(x.shape[at + 1 :])
    blocks = -(-n // 32)
    y = lax.pad(
        x.reshape(before, n, after),
        np.zeros((), x.dtype),
        [(0, 0, 0), (0, blocks * 32 - n, 0), (0, 0, 0)],
    )
    inner = _triangle(y.reshape(before * blocks, 32, after), reverse, 0)
    inner = inner.reshape(before, blocks, 32, after)
    ends = inner[:, :, 0 if reverse else -1]
    if blocks <= 64:
        start = _triangle(ends, reverse, 1)
    else:
        shift = (-1, 1, 0) if reverse else (1, -1, 0)
        start = lax.pad(
            _by_triangles(ends, 1, reverse), np.zeros((), x.dtype), [(0, 0, 0), shift, (0, 0, 0)]
        )
    sums = (inner + start[:, :, None]).reshape(before, blocks * 32, after)
    return lax.slice_in_dim(sums, 0, n, axis=1).reshape(x.shape)


def _triangle(x, reverse, skip):
    """Sums over the middle dimension up to each place, or ``skip`` places before it."""
    rows, n, after = x.shape
    ones = np.ones((n, n), x.dtype)
    ones = np.tril(ones, -skip) if reverse else np.triu(ones, skip)  # (from, to)
    if after < 16:  # else 32 * 32 / after times the input is stored of the triangles
        sums = lax.dot_general(x, ones, (((1,), (0,)), ((), ())), precision=lax.Precision.HIGHEST)
        return jnp.swapaxes(sums, 1, 2)
    each = jnp.broadcast_to(ones.T, (rows, n, n))
    return lax.dot_general(each, x, (((2,), (1,)), ((0,), (0,))), precision=lax.Precision.HIGHEST)


def _cumsum_vjp(c, g):
    """The sums of the gradients of all sums that an element is part of."""
    return _scan(partial(_sums, reverse=True), g, c.statics["dim"], None)


@op(linear=True, vjp=_cumsum_vjp, forms=SCAN)
def cumsum(input, dim: Dim, *, dtype: Dtype = None):
    """Running sums along a dimension."""
    return _scan(_sums, input, dim, dtype, "cumsum")


@op(forms=SCAN)
def cumprod(input, dim: Dim, *, dtype: Dtype = None):
    """Running products along a dimension."""
    return _scan(lax.cumprod, input, dim, dtype)


@op(forms=("function", "method", "out"))
def logcumsumexp(input, dim: Dim):
    """The logarithm of running sums of exponentials."""
    if not jnp.issubdtype(input.dtype, jnp.inexact):
        raise no_kernel("logcumsumexp_out_cpu", input)
    add = TABLE["logaddexp"].fn  # the derivative of JAX's own is wrong beside an infinite number
    return _scan(lambda x, d: lax.associative_scan(add, x, axis=d), input, dim, None)


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


@op(linear=True, forms=("function", "method", "out"),
    grad_name=lambda c: "SubBackward0" if c.n else "CopyBackwards")  # fmt: skip
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
    left, right = (lax.slice_in_dim(y, a, n - 1 + a, axis=at) for a in (0, 1)) if n else (y, y)
    pairs = left + right  # of integers by their own arithmetic
    if x is None:
        return pairs, at
    common = dt.promote_types(torch_dtype(y), torch_dtype(x)).numpy
    return pairs.astype(common) * steps.astype(common), at


def _floating(x):
    """``x`` in the dtype of its quotient with a number."""
    floating = jnp.issubdtype(x.dtype, jnp.inexact)
    return x if floating else x.astype(dt.get_default_dtype().numpy)


@op(forms=("function",),
    grad_name=lambda c: "MulBackward1" if c.x is None else "DivBackward1")  # fmt: skip
def trapezoid(y, x=None, *, dx: Number = None, dim: Dim = -1):
    """The integral of samples along a dimension by the trapezoidal rule."""
    panels, at = _panels("trapezoid", y, x, dx, dim)
    whole = np.int64 if panels.dtype.kind in "iu" else None
    if x is not None or not y.shape[at]:
        return _floating(panels.sum(at, dtype=whole)) / 2
    ends = lax.index_in_dim(y, 0, at, False) + lax.index_in_dim(y, -1, at, False)
    total = _floating(y.sum(at, dtype=whole)) - _floating(ends) / 2
    return total if dx is None else total * dx.astype(total.dtype)


@op(forms=("function",),
    grad_name=lambda c: "CumsumBackward0" if c.x is None else "DivBackward1")  # fmt: skip
def cumulative_trapezoid(y, x=None, *, dx: Number = None, dim: Dim = -1):
    """The running integral of samples along a dimension by the trapezoidal rule."""
    panels, at = _panels("cumulative_trapezoid", y, x, dx, dim)
    panels = _floating(panels)
    return lax.cumsum(panels / 2 if dx is None else panels * (dx.astype(panels.dtype) / 2), at)
