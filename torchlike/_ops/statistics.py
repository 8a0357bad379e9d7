"""Statistics: variance and deviation, covariance and correlation, histograms."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.dims import axes, count
from torchlike._ops.reduce import no_kernel, op, widened
from torchlike._ops.table import Dims, Number, torch_dtype

# ---- variance ----------------------------------------------------------------------------------


def _moments(name, input, dim, correction, keepdim):
    """(variance, mean) in the precision that they are computed in."""
    if torch_dtype(input).category < dt.FLOATING:
        raise RuntimeError(f"{name} only support floating point and complex dtypes")
    x, at = widened(input), axes(dim, input.ndim)
    n = count(x.shape, at)
    mean = conventions.by_number(x.sum(at, keepdims=True), n)
    # Two passes: the mean of squares less the square of the mean costs 20 us where this costs 29,
    # at (512, 128), but cancels for data far from zero.
    d = x - mean
    square = d.real**2 + d.imag**2 if jnp.iscomplexobj(d) else d * d
    var = conventions.by_number(square.sum(at, keepdims=keepdim), max(n - correction, 0))
    if not keepdim:
        mean = jnp.squeeze(mean, tuple(range(x.ndim)) if at is None else at)
    return var, mean


def _rounded(input, *results):
    """Half precision is rounded once, at the end."""
    if torch_dtype(input) not in dt.HALF:
        return results
    return tuple(r.astype(input.dtype) for r in results)


@op("var", vjp=conventions.variance)
def var(input, dim: Dims, correction: float, keepdim: bool):
    """The variance over the given dimensions, or over all."""
    return _rounded(input, _moments("std and var", input, dim, correction, keepdim)[0])[0]


@op("std", saves="both", vjp=conventions.deviation)
def std(input, dim: Dims, correction: float, keepdim: bool):
    """The standard deviation over the given dimensions, or over all."""
    square, _ = _moments("std and var", input, dim, correction, keepdim)
    return _rounded(input, jnp.sqrt(square))[0]


@op("var_mean", saves="all", vjp=conventions.variance_and_mean)
def var_mean(input, dim: Dims, correction: float, keepdim: bool):
    """Variance and mean."""
    return tuple(_rounded(input, *_moments("var_mean", input, dim, correction, keepdim)))


@op("std_mean", saves="both", vjp=conventions.deviation_and_mean)
def std_mean(input, dim: Dims, correction: float, keepdim: bool):
    """Standard deviation and mean."""
    square, mean = _moments("std_mean", input, dim, correction, keepdim)
    return tuple(_rounded(input, jnp.sqrt(square), mean))


# ---- covariance --------------------------------------------------------------------------------


def _check_weights(name, weights, n, floating):
    if weights is None:
        return
    kind = torch_dtype(weights)
    if weights.ndim > 1:
        raise RuntimeError(
            f"cov(): expected {name} to have one or fewer dimensions but got {name} with "
            f"{weights.ndim} dimensions"
        )
    if floating != (kind.category == dt.FLOATING):
        wanted = "floating point" if floating else "integral"
        raise RuntimeError(
            f"cov(): expected {name} to have {wanted} dtype but got {name} with "
            f"{dt.SCALAR_NAMES[kind]} dtype"
        )
    if weights.size != n:
        raise RuntimeError(
            f"cov(): expected {name} to have the same numel as there are observations in the input "
            f"but got {weights.size} != {n}"
        )


@op(grad_name="SqueezeBackward0")
def cov(input, *, correction: float = 1, fweights=None, aweights=None):
    """The covariance matrix of variables in rows, observations in columns."""
    if input.ndim > 2:
        raise RuntimeError(
            f"cov(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    if input.dtype == bool:
        raise RuntimeError("cov(): bool dtype is not supported for input")
    x = input.reshape(1, -1) if input.ndim < 2 else input
    n = x.shape[1]
    _check_weights("fweights", fweights, n, False)
    _check_weights("aweights", aweights, n, True)
    if not jnp.issubdtype(x.dtype, jnp.inexact):
        x = x.astype(dt.get_default_dtype().numpy)
    if aweights is not None:
        x = x.astype(dt.promote_types(torch_dtype(x), torch_dtype(aweights)).numpy)
    half, x = x.dtype, widened(x)
    w = None
    if fweights is not None:
        w = fweights.astype(np.int64)
    if aweights is not None:
        w = aweights if w is None else w * aweights
    if w is None:
        w, total = jnp.ones((), x.real.dtype), n
        mean = conventions.average(x, (1,), keepdims=True)
    else:
        w = w.reshape(-1)
        total = w.sum()  # in the dtype of the weights
        mean = (x * w.astype(x.real.dtype)).sum(1, keepdims=True) / total.astype(x.real.dtype)
    free = total - correction
    if aweights is not None and correction:
        free = total - correction * (w * aweights.reshape(-1)).sum() / total
    free = jnp.maximum(jnp.asarray(free, x.real.dtype), 0)
    d = x - mean
    out = ((d * w) @ d.T.conj() / free).astype(half)
    return out.reshape(()) if input.ndim < 2 or out.shape == (1, 1) else out


def _corrcoef_node(c):
    if c.input.dtype.is_complex:
        return "ComplexBackward0"
    return "ClampBackward1" if c.input.ndim > 1 else "DivBackward0"


@op(forms=("function", "method"), grad_name=_corrcoef_node)
def corrcoef(input):
    """The matrix of correlation coefficients of variables in rows."""
    if input.ndim > 2:
        raise RuntimeError(
            f"corrcoef(): expected input to have two or fewer dimensions but got an input with "
            f"{input.ndim} dimensions"
        )
    c = cov(input)
    if c.ndim == 0:
        return conventions.quotient(c, c)  # whose gradient is 0, and not what rounding leaves
    scale = jnp.sqrt(jnp.diagonal(c).real)
    c = c / scale[:, None] / scale[None, :]
    if jnp.iscomplexobj(c):
        return jnp.clip(c.real, -1, 1) + 1j * jnp.clip(c.imag, -1, 1)
    return jnp.clip(c, -1, 1)


# ---- counts ------------------------------------------------------------------------------------


@op("histc", differentiable=False)
def histc(input, low: Number, high: Number, bins: int):
    """Counts of the elements in bins of equal width; those outside are left out."""
    if not jnp.issubdtype(input.dtype, jnp.floating):
        raise no_kernel("histogram_cpu", input)
    x = widened(input.reshape(-1))
    low, high = low.astype(x.dtype), high.astype(x.dtype)
    inside = (x >= low) & (x <= high)
    at = conventions.quotient((x - low) * bins, high - low).astype(np.int64)
    at = jnp.clip(jnp.where(inside, at, 0), 0, bins - 1)
    return jnp.zeros(bins, x.dtype).at[at].add(inside.astype(x.dtype)).astype(input.dtype)
