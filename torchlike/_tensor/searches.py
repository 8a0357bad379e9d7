"""Functions that search, count and find distinct elements; where a shape depends on the data, on
the host."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host, tensor
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import function, structseq
from torchlike._tensor.modes import modes
from torchlike._tensor.products import need_tensor
from torchlike._tensor.shapes import wrap_dim


def _no_kernel(kernel, d):
    return NotImplementedError(f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[d]}'")


def _like(input, array):
    return from_host(np.asarray(array, order="C"), input.device)


def without_derivative(input, result, name: str):
    """A result that was computed on the host: as in PyTorch, a backward through it raises."""
    if not modes.grad or not input.requires_grad or result.dtype.category < dt.FLOATING:
        return result
    return apply(TABLE["counted"], (result, input), (name,))


def _comparable(host):
    """numpy orders and compares bfloat16 and float8 by their numbers as float32."""
    return host.astype(np.float32) if host.dtype.kind == "V" else host


# ---- places ------------------------------------------------------------------------------------


_PLACES_OUT = "nonzero: Expected out tensor to have scalar type {want} but got scalar type{got}"


@function(method=True)
def nonzero(input, *, out=None, as_tuple=False):
    """Indices of the elements that are not zero: one row an element, or one tensor a dimension."""
    need_tensor("nonzero", "input", 1, input)
    host = input._host() != 0
    if as_tuple:
        if out is not None:
            raise RuntimeError("nonzero does not support the out kwarg when as_tuple is True")
        return tuple(_like(input, i.astype(np.int64)) for i in np.nonzero(np.atleast_1d(host)))
    if host.ndim == 0:
        return into(out, _like(input, np.zeros((int(host), 0), np.int64)), _PLACES_OUT)
    return into(out, _like(input, np.argwhere(host).astype(np.int64)), _PLACES_OUT)


@function(method=True)
def argwhere(input):
    """Indices of the elements that are not zero, one row an element."""
    return nonzero(input)


def _search(name, sequence, values, sorter, right, out_int32, out):
    if not isinstance(values, dispatch._Tensor):
        values = tensor(values, device=sequence.device)
    common = dt.promote_types(sequence.dtype, values.dtype)
    if common.category == dt.COMPLEX or common is dt.bool_:
        raise NotImplementedError(
            f"\"searchsorted_out_cpu\" not implemented for '{dt.SCALAR_NAMES[common]}'"
        )
    found = apply(TABLE["searchsorted"], (sequence, values, sorter), (right, bool(out_int32)))
    return into(
        out, found,
        "torch.searchsorted(): output tensor's dtype is wrong, it can only be Int(int32) or "
        "Long(int64) depending on whether out_int32 flag is True, but we got output tensor's dtype "
        f"{{got}} and out_int32 flag is {out_int32}",
    )  # fmt: skip


@function()
def searchsorted(
    sorted_sequence, input=None, *, out_int32=False, right=False, side=None, sorter=None, out=None
):
    """Where each value would have to be put into a sorted sequence."""
    need_tensor("searchsorted", "sorted_sequence", 1, sorted_sequence)
    if side is not None:
        if side not in ("left", "right"):
            raise RuntimeError(
                f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}"
            )
        if right and side == "left":
            raise RuntimeError(
                "torch.searchsorted(): side and right can't be set to opposites, got side of left "
                "while right was True"
            )
    if sorter is not None and sorter.dtype is dt.int64 and sorter.numel():
        host = sorter._host()
        if host.min() < 0 or host.max() >= sorted_sequence.shape[-1]:
            raise RuntimeError("torch.searchsorted(): sorter index out of range")
    right = bool(right) or side == "right"
    return _search("searchsorted", sorted_sequence, input, sorter, right, out_int32, out)


@function()
def bucketize(input, boundaries, *, out_int32=False, right=False, out=None):
    """The number of the bucket between boundaries that each value falls into."""
    need_tensor("bucketize", "boundaries", 2, boundaries)
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return _search("bucketize", boundaries, input, None, bool(right), out_int32, out)


@function()
def isin(elements, test_elements, *, assume_unique=False, invert=False, out=None):
    """Whether each element is one of the others; ``assume_unique`` only allows a faster search."""
    pair = (elements, test_elements)
    given = [x for x in pair if isinstance(x, dispatch._Tensor)]
    if not given:
        raise TypeError(
            f"isin() received an invalid combination of arguments - got "
            f"({type(elements).__name__}, {type(test_elements).__name__})"
        )
    pair = [
        x if isinstance(x, dispatch._Tensor) else tensor(x, device=given[0].device) for x in pair
    ]
    return into(out, apply(TABLE["isin"], pair, (invert,)), exact=True)


# ---- distinct elements -------------------------------------------------------------------------


def _rows(host, dim):
    """Slices along a dimension as rows."""
    moved = np.moveaxis(host, dim, 0)
    if 0 in moved.shape[1:]:
        raise RuntimeError(
            "There are 0 sized dimensions, and they aren't selected, so unique cannot be applied"
        )
    return moved, _comparable(moved).reshape(len(moved), prod(moved.shape[1:]))


def _answers(name, input, values, inverse, counts, return_inverse, return_counts):
    out = [without_derivative(input, _like(input, values), name)]
    if return_inverse:
        out.append(_like(input, inverse.astype(np.int64)))
    if return_counts:
        out.append(_like(input, counts.astype(np.int64)))
    return out[0] if len(out) == 1 else tuple(out)


@function(method=True, numpy=False)
def unique(input, sorted=True, return_inverse=False, return_counts=False, dim=None):
    """The distinct elements, or slices along a dimension, in order whether asked or not."""
    need_tensor("unique", "input", 1, input)
    if input.is_complex():
        raise _no_kernel("unique", input.dtype)
    host = input._host()
    if dim is None:
        flat = host.reshape(-1)
        _, first, inverse, counts = np.unique(
            _comparable(flat), return_index=True, return_inverse=True, return_counts=True,
            equal_nan=False,
        )  # fmt: skip
        values, inverse = flat[first], inverse.reshape(host.shape)
    else:
        dim = wrap_dim(dim, host.ndim)
        moved, rows = _rows(np.atleast_1d(host), dim)
        _, first, inverse, counts = np.unique(
            rows, axis=0, return_index=True, return_inverse=True, return_counts=True,
            equal_nan=False,
        )  # fmt: skip
        values, inverse = np.moveaxis(moved[first], 0, dim), inverse.reshape(-1)
    name = "_unique2" if dim is None else "unique_dim"
    return _answers(name, input, values, inverse, counts, return_inverse, return_counts)


@function(method=True, numpy=False)
def unique_consecutive(input, return_inverse=False, return_counts=False, dim=None):
    """Elements, or slices along a dimension, without those equal to the one before."""
    need_tensor("unique_consecutive", "input", 1, input)
    host = input._host()
    if dim is None:
        moved = host.reshape(-1)
        rows, shape = _comparable(moved)[:, None], host.shape
    else:
        dim = wrap_dim(dim, host.ndim)
        moved, rows = _rows(np.atleast_1d(host), dim)
        shape = (len(rows),)
    starts = np.ones(len(rows), bool)
    starts[1:] = (rows[1:] != rows[:-1]).any(1)
    counts = np.diff(np.append(np.flatnonzero(starts), len(rows)))
    values = moved[starts] if dim is None else np.moveaxis(moved[starts], 0, dim)
    inverse = (np.cumsum(starts) - 1).reshape(shape)
    name = "unique_consecutive"
    return _answers(name, input, values, inverse, counts, return_inverse, return_counts)


# ---- counts ------------------------------------------------------------------------------------


@function(method=True)
def bincount(input, weights=None, minlength=0):
    """How often each non-negative integer occurs, or the sum of its weights."""
    need_tensor("bincount", "input", 1, input)
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    if input.ndim != 1:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if input.dtype.category != dt.INTEGRAL:
        raise _no_kernel("bincount_cpu", input.dtype)
    host = input._host()
    if host.size and host.min() < 0:
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is None:
        return _like(input, np.bincount(host, minlength=minlength).astype(np.int64))
    if weights.ndim != 1 or weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    total = np.bincount(host, weights._host().astype(np.float64), minlength)
    if not host.size and not minlength:  # PyTorch does not look at the weights then
        return _like(input, np.zeros(0, np.int64))
    if not host.size:  # numpy forgets the weights' dtype then
        total = total.astype(np.float64)
    total = _like(input, total.astype(np.float32) if weights.dtype is dt.float32 else total)
    return without_derivative(weights, total, "bincount")


def _finite_range(name, low, high):
    if low > high:
        raise RuntimeError(f"{name}: max must be larger than min")
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"{name}: range of [{low}, {high}] is not finite")


def _check_bins(bins):
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")


def _data_range(input, margin):
    """The extent of the data, which must be read; a single number gets a margin on both sides."""
    if not input.numel() or input.device is devices.META:
        return 0.0, 1.0
    host = _comparable(input._host())
    low, high = float(host.min()), float(host.max())
    return (low, high) if low != high else (low - margin, high + margin)


@function(method=True)
def histc(input, bins=100, min=0, max=0, *, out=None):
    """Counts in bins of equal width between ``min`` and ``max``, by default those of the data."""
    need_tensor("histc", "input", 1, input)
    _check_bins(bins)
    low, high = float(min), float(max)
    if low == high and input.dtype.is_floating_point:
        low, high = _data_range(input, 1)
    _finite_range("torch.histc", low, high)
    counts = apply(TABLE["histc"], (input, low, high), (int(bins),))
    return into(
        out, counts,
        "torch.histogram: input tensor and hist tensor should have the same dtype, but got input "
        "{c_want} and hist {c_got}",
    )  # fmt: skip


_HISTOGRAM = structseq("histogram", ("hist", "bin_edges"))


@function(method=True)
def histogram(input, bins=100, *, range=None, weight=None, density=False, out=None):
    """Counts, or weights, between bin edges, given or of equal width."""
    need_tensor("histogram", "input", 1, input)
    if input.dtype not in (dt.float32, dt.float64):
        raise _no_kernel("histogramdd", input.dtype)
    host = input._host().reshape(-1)
    if isinstance(bins, dispatch._Tensor):
        if bins.dtype is not input.dtype:
            raise RuntimeError(
                "torch.histogramdd(): input tensor and bins tensors should have the same dtype"
            )
        if bins.ndim != 1:
            raise RuntimeError(
                "torch.histogramdd: bins tensor should have one dimension, but got "
                f"{bins.ndim} dimensions in the bins tensor for dimension 0"
            )
        edges = np.array(bins._host())
    else:
        _check_bins(bins)
        low, high = map(float, range) if range is not None else _data_range(input, 0.5)
        if low == high:
            low, high = low - 0.5, high + 0.5
        _finite_range("torch.histogramdd()", low, high)
        edges = np.linspace(low, high, bins + 1, dtype=host.dtype)
    n = len(edges) - 1
    at = np.searchsorted(edges, host, "right") - 1
    at[host == edges[-1]] = n - 1
    inside = (at >= 0) & (at < n)
    masses = None
    if weight is not None:
        if weight.shape != input.shape:
            raise RuntimeError(
                "torch.histogramdd(): if weight tensor is provided it should have the same shape "
                "as the input tensor excluding its innermost dimension"
            )
        masses = weight._host().reshape(-1)[inside]
    hist = np.bincount(at[inside], masses, n).astype(host.dtype)
    if density:
        hist = hist / (hist.sum() * np.diff(edges))
    hist = without_derivative(input, _like(input, hist.astype(host.dtype)), "histogram")
    if weight is not None:
        hist = without_derivative(weight, hist, "histogram")
    edges = without_derivative(input, _like(input, edges), "histogram")
    return _HISTOGRAM(*into(out, (hist, edges)))
