"""Masked reductions and scans (https://pytorch.org/docs/stable/masked.html).

``mask`` is True where an element of ``input`` counts, and broadcasts to its shape. ``dim`` is one
dimension, several, or None for all of them; the functions of one dimension take the first.
"""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike.masked.masks import dim_of, dims_of, filled, identity, taken_apart, torch

_INTEGERS = dt.INTEGRAL  # the highest category that is not floating point


def _summed_as(input, dtype):
    """Integers are summed and multiplied as int64."""
    if dtype is None:
        return dt.int64 if input.dtype.category <= _INTEGERS else input.dtype
    return dtype


# ---- sums and products -------------------------------------------------------------------------


def sum(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The sum of what the mask lets through; 0 where that is nothing."""
    dtype, x = _summed_as(input, dtype), filled("sum", input, mask)
    return torch.sum(x, dims_of(dim, x.ndim), bool(keepdim), dtype=dtype)


def prod(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The product of what the mask lets through; 1 where that is nothing."""
    x = filled("prod", input, mask).to(_summed_as(input, dtype))
    for d in reversed(dims_of(dim, x.ndim)):
        x = torch.prod(x, d, bool(keepdim))
    return x


def cumsum(input, dim, *, dtype=None, mask=None):
    """Running sums of what the mask lets through, in the input's dtype."""
    x = filled("cumsum", input, mask)
    return torch.cumsum(x, dim_of(dim, x.ndim), dtype=dtype or input.dtype)


def cumprod(input, dim, *, dtype=None, mask=None):
    """Running products of what the mask lets through, in the input's dtype."""
    x = filled("cumprod", input, mask)
    return torch.cumprod(x, dim_of(dim, x.ndim), dtype=dtype or input.dtype)


# ---- extremes ----------------------------------------------------------------------------------


def amax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The largest of what the mask lets through; the dtype's lowest value where that is nothing."""
    x = filled("amax", input, mask)
    return torch.amax(x, dims_of(dim, x.ndim), bool(keepdim)).to(dtype or input.dtype)


def amin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The least of what the mask lets through; the dtype's highest value where that is nothing."""
    x = filled("amin", input, mask)
    return torch.amin(x, dims_of(dim, x.ndim), bool(keepdim)).to(dtype or input.dtype)


def argmax(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the largest of what the mask lets through is, as numbers of the input's dtype."""
    x = filled("argmax", input, mask)
    return torch.argmax(x, dim, bool(keepdim)).to(dtype or input.dtype)


def argmin(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """Where the least of what the mask lets through is, as numbers of the input's dtype."""
    x = filled("argmin", input, mask)
    return torch.argmin(x, dim, bool(keepdim)).to(dtype or input.dtype)


# ---- means and spreads -------------------------------------------------------------------------


def mean(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The mean of what the mask lets through; nan where that is nothing."""
    if (dtype or input.dtype).category <= _INTEGERS:
        kind = "Input" if dtype is None else "Optional"
        raise ValueError(
            f"mean(): Could not infer output dtype. {kind} dtype must be either a floating point "
            f"or complex dtype. Got: {dtype or input.dtype}"
        )
    input, mask = taken_apart("mean", input, mask)
    dim, keepdim = dims_of(dim, input.ndim), bool(keepdim)
    if mask is None:
        return torch.mean(input, dim, keepdim, dtype=dtype)
    total = torch.sum(torch.where(mask, input, 0), dim, keepdim, dtype=dtype)
    return total / torch.sum(mask, dim, keepdim)


def median(input, dim=-1, *, keepdim=False, dtype=None, mask=None):
    """The (lower) median along one dimension of what the mask lets through and is not nan.

    It is nan where that is nothing; for dtypes that have no nan a ``ValueError``.
    """
    wanted = dtype or input.dtype
    x, mask = taken_apart("median", input, mask)
    floating = x.dtype.category == dt.FLOATING
    if not floating:
        x = (x.real if x.dtype.category == dt.COMPLEX else x).to(dt.float32)
    if mask is not None:
        x = torch.where(mask, x, float("nan"))
    out = torch.nanmedian(x, dim_of(dim, x.ndim), bool(keepdim)).values
    if floating:
        return out
    if torch.any(torch.isnan(out)):
        raise ValueError(
            "masked median expects no fully masked out rows if dtype is not floating point"
        )
    return out.to(wanted)


def _variance(name, input, dim, unbiased, correction, keepdim, dtype, mask):
    """The variance, and the dtype that the result is wanted in."""
    if unbiased is not None and correction is not None:
        raise AssertionError("Only one of unbiased and correction may be given")
    if correction is None:
        correction = 1.0 if unbiased is None or unbiased else 0.0
    x, mask = taken_apart(name, input, mask)
    dim = dims_of(dim, x.ndim)
    wanted = dtype or x.dtype
    computing = dt.float32 if wanted.category <= _INTEGERS else wanted
    kept = x if mask is None else torch.where(mask, x, identity("sum", x.dtype))
    total = torch.sum(kept, dim, True, dtype=_summed_as(x, dtype))
    if mask is None:
        count = 1
        for d in dim or range(x.ndim):
            count *= x.shape[d]
        rest = max(count - correction, 0)
    else:
        count = torch.sum(mask, dim, True)
        rest = count if keepdim else count.reshape(torch.sum(mask, dim).shape)
        rest = torch.clamp_min(rest - correction, 0)
    away = x - total / count
    squares = away * away.conj()
    if mask is not None:
        squares = torch.where(mask, squares, 0)
    out = torch.sum(squares, dim, bool(keepdim), dtype=computing) / rest
    return out, computing if dtype is None else dtype


def var(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The variance of what the mask lets through; nan where that is nothing.

    It divides by the count less ``correction``: 1, or 0 if ``unbiased`` is False.
    """
    out, dtype = _variance("var", input, dim, unbiased, correction, keepdim, dtype, mask)
    return out.to(dtype)


def std(input, dim=None, unbiased=None, *, correction=None, keepdim=False, dtype=None, mask=None):
    """The square root of ``var``."""
    out, dtype = _variance("std", input, dim, unbiased, correction, keepdim, dtype, mask)
    return torch.sqrt(out.to(dtype))


# ---- norms and logarithms of sums --------------------------------------------------------------


def norm(input, ord=2.0, dim=None, *, keepdim=False, dtype=None, mask=None):
    """The vector norm of what the mask lets through; 0 where that is nothing (inf for -inf)."""
    x = filled("norm", input, mask, ord=ord)
    return torch.vector_norm(x, ord, dims_of(dim, x.ndim), bool(keepdim), dtype=dtype)


def logsumexp(input, dim=None, *, keepdim=False, dtype=None, mask=None):
    """log(sum(exp(x))) of what the mask lets through; -inf where that is nothing."""
    x = filled("logsumexp", input, mask)
    return torch.logsumexp(x, dims_of(dim, x.ndim), bool(keepdim)).to(dtype or input.dtype)


def logaddexp(input, other, *, dtype=None, input_mask=None, other_mask=None):
    """log(exp(x) + exp(y)), elementwise; what a mask hides counts as exp(x) = 0."""
    a, b = filled("logaddexp", input, input_mask), filled("logaddexp", other, other_mask)
    return torch.logaddexp(a, b).to(dtype or input.dtype)
