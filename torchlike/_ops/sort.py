"""Sorting and selection along a dimension, and searches in sorted sequences."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._core.symbolic import symint, tracing
from torchlike._ops import conventions, loops
from torchlike._ops.dims import along, dropped
from torchlike._ops.reduce import no_kernel, op
from torchlike._ops.table import Dim, torch_dtype

PAIR = ("function", "method", "out", ("values", "indices"))


# ---- order -------------------------------------------------------------------------------------


def _keys(x):
    """int32 keys in the order of the elements, for dtypes of at most 32 bits: nan is the largest,
    and both zeros are one."""
    if jnp.issubdtype(x.dtype, jnp.floating):
        x = x.astype(np.float32)
        x = jnp.where(x != x, np.float32("nan"), jnp.where(x == 0, np.float32(0), x))
        bits = lax.bitcast_convert_type(x, np.int32)
        return jnp.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    if x.dtype == np.uint32:
        return lax.bitcast_convert_type(x ^ np.uint32(0x80000000), np.int32)
    return x.astype(np.int32)


def order(x, at: int, descending: bool = False):
    """The stable order along a dimension, nan last (first when descending): indices in int64.

    XLA sorts one array of int64 four times as fast as a pair of arrays (2.1 against 9.1 ms at
    (512, 128) on two CPU cores), so key and index are packed into one.
    """
    x = lax.stop_gradient(x)
    place = lax.broadcasted_iota(np.int64, x.shape, at)
    if x.dtype.itemsize <= 4:
        keys = _keys(x)
        keys = (~keys if descending else keys).astype(np.int64)
        return lax.sort((keys << 32) | place, at, is_stable=False) & 0xFFFFFFFF
    if descending:  # the reverse of the reversed list: equal elements keep their order
        _, index = lax.sort((jnp.flip(x, at), place), at, is_stable=True, num_keys=1)
        return x.shape[at] - 1 - jnp.flip(index, at)
    return lax.sort((x, place), at, is_stable=True, num_keys=1)[1]


def taken(x, index, at: int):
    """Elements along a dimension by an index known to be in range."""
    return jnp.take_along_axis(x, index, at, mode="clip")


def _no_complex(name, input):
    if jnp.iscomplexobj(input):
        raise RuntimeError(f" {name} does not support complex dtypes on CPU")


def _sorted(input, dim, descending):
    _no_complex("Sort", input)
    x, at = along(input, dim)
    index = order(x, at, descending)
    return taken(x, index, at).reshape(input.shape), index.reshape(input.shape)


@op("sort", saves="result", vjp=conventions.reordered, forms=PAIR,
    grad_name=lambda c: f"SortBackward{int(c.stable)}")  # fmt: skip
def sort_(input, dim: Dim = -1, descending: bool = False, *, stable: bool = False):
    """Elements in order along a dimension, and where they stood; always stable."""
    return _sorted(input, dim, descending)


@op(differentiable=False, forms=("function", "method"))
def argsort(input, dim: Dim = -1, descending: bool = False, stable: bool = False):
    """Where the elements in order along a dimension stand; always stable."""
    return _sorted(input, dim, descending)[1]


@op(saves="result", vjp=conventions.reordered, forms=PAIR)
def topk(input, k: Dim, dim: Dim = -1, largest: bool = True, sorted: bool = True):
    """The k largest or smallest elements along a dimension, in order, and where they stand."""
    _no_complex("topk", input)
    if input.dtype == bool:
        raise RuntimeError("topk does not support bool dtypes on CPU")
    x, at = along(input, dim)
    n = x.shape[at]
    if not 0 <= k <= symint(n, tracing.scope):
        raise RuntimeError("selected index k out of range")
    # XLA's top-k serves float32 on CPU: 0.4 against 2.1 ms for the packed sort at (512, 128) and
    # k = 5. For other dtypes it sorts pairs, and for large k it is the slower one too.
    few = n.__class__ is int and k <= n // 4
    if few and x.dtype.itemsize <= 4 and jnp.issubdtype(x.dtype, jnp.floating):
        y = jnp.moveaxis(x, at, -1).astype(np.float32)
        y = jnp.where(y != y, np.float32("nan"), y)  # a negative nan would be the smallest
        index = lax.top_k(y if largest else -y, k)[1].astype(np.int64)
        index = jnp.moveaxis(index, -1, at)
    else:
        index = lax.slice_in_dim(order(x, at, largest), 0, k, axis=at)
    values = taken(x, index, at)
    if input.ndim:
        return values, index
    return (values if k else x).reshape(()), (index if k else jnp.zeros(1, np.int64)).reshape(())


def _ranked(name, input, dim, keepdim, rank):
    """(value, index) of one rank along a dimension; rank(x, at) may depend on the elements."""
    x, at = along(input, dim)
    if x.shape[at] == 0 and (input.size == 0):
        raise IndexError(f"{name}(): Expected reduction dim {at} to have non-zero size.")
    index = taken(order(x, at), rank(x, at), at)
    values = taken(x, index, at)
    return dropped(values, input, at, keepdim), dropped(index, input, at, keepdim)


def _fixed(k):
    return lambda x, at: jnp.full([1 if d == at else n for d, n in enumerate(x.shape)], k)


def _nans(x, at):
    if not jnp.issubdtype(x.dtype, jnp.floating):
        return jnp.zeros([1 if d == at else n for d, n in enumerate(x.shape)], np.int64)
    return (x != x).sum(at, keepdims=True, dtype=np.int64)


def _middle(x, at):
    """The lower middle, or the first nan if there is one."""
    n, nans = x.shape[at], _nans(x, at)
    return jnp.where(nans > 0, n - nans, (n - 1) // 2)


def _middle_of_numbers(x, at):
    return jnp.maximum(x.shape[at] - _nans(x, at) - 1, 0) // 2


@op(saves="result", vjp=conventions.picked, forms=PAIR)
def kthvalue(input, k: Dim, dim: Dim = -1, keepdim: bool = False):
    """The k-th smallest element along a dimension, and where it stands."""
    if input.dtype == bool or jnp.iscomplexobj(input):
        raise no_kernel("kthvalue_cpu", input)
    x, at = along(input, dim)
    if x.shape[at] and not 1 <= k <= symint(x.shape[at], tracing.scope):
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {at}")
    return _ranked("kthvalue", input, dim, keepdim, _fixed(k - 1))


def _check_median(name, input):
    if input.dtype == bool or jnp.iscomplexobj(input):
        raise no_kernel("median_cpu", input)


def _full_median(input, rank):
    _check_median("median", input)
    if not input.size:
        if not jnp.issubdtype(input.dtype, jnp.floating):
            return jnp.full((), jnp.iinfo(input.dtype).min, input.dtype)
        return jnp.full((), jnp.nan, input.dtype)
    flat = input.reshape(-1)
    return _ranked("median", flat, 0, False, rank)[0]


@op("median", saves="both", vjp=conventions.evenly_over_all)
def median_all(input):
    """The lower median of all elements."""
    return _full_median(input, _middle)


@op("nanmedian", saves="both", vjp=conventions.evenly_over_all)
def nanmedian_all(input):
    """The lower median of all elements that are not nan."""
    return _full_median(input, _middle_of_numbers)


@op(saves="result", vjp=conventions.picked, grad_name="MedianBackward1")
def median_dim(input, dim: Dim, keepdim: bool = False):
    """The lower medians along a dimension, and where they stand."""
    _check_median("median", input)
    return _ranked("median", input, dim, keepdim, _middle)


@op(saves="result", vjp=conventions.picked, grad_name="NanmedianBackward1")
def nanmedian_dim(input, dim: Dim, keepdim: bool = False):
    """The lower medians of what is not nan along a dimension, and where they stand."""
    _check_median("nanmedian", input)
    return _ranked("nanmedian", input, dim, keepdim, _middle_of_numbers)


@op(saves="result", vjp=conventions.picked, forms=PAIR)
def mode(input, dim: Dim = -1, keepdim: bool = False):
    """The commonest element along a dimension (the smallest of several), and its last place."""
    if jnp.iscomplexobj(input):
        raise no_kernel("mode_cpu", input)
    x, at = along(input, dim)
    if x.shape[at] == 0:
        raise IndexError(f"mode(): Expected reduction dim {at} to have non-zero size.")
    index = order(x, at)
    values = taken(x, index, at)
    place = lax.broadcasted_iota(np.int64, x.shape, at)
    before = taken(values, jnp.maximum(place - 1, 0), at)
    start = lax.cummax(jnp.where(values != before, place, 0), at)
    last = jnp.argmax(place - start, at, keepdims=True)  # where the longest run ends
    values, index = taken(values, last, at), taken(index, last, at)
    return dropped(values, input, at, keepdim), dropped(index, input, at, keepdim)


# ---- quantiles ---------------------------------------------------------------------------------

INTERPOLATIONS = ("linear", "lower", "higher", "midpoint", "nearest")


def _check_quantile(name, input, q, interpolation):
    if torch_dtype(input) not in (dt.float32, dt.float64):
        raise RuntimeError("quantile() input tensor must be either float or double dtype")
    if not input.size:
        raise RuntimeError("quantile() input tensor must be non-empty")
    if q.ndim > 1:
        raise RuntimeError(f"{name}() q must be a scalar or 1D tensor")
    if q.dtype != input.dtype:
        raise RuntimeError(f"{name}() q tensor must be same dtype as the input tensor")
    if interpolation not in INTERPOLATIONS:
        raise RuntimeError(
            f"{name}() interpolation must be one of linear, lower, higher, midpoint or nearest, "
            f"but got {interpolation}"
        )


@op("quantile", numbers=("q",), saves="nothing", grad_name="SqueezeBackward4")
def quantile(input, q, dim: Dim, keepdim: bool, interpolation: str, skip_nan: bool):
    """Quantiles along a dimension or of all elements; those of ``q`` come first in the shape."""
    _check_quantile("nanquantile" if skip_nan else "quantile", input, q, interpolation)
    rank_of_input = input.ndim
    if dim is None:
        x, at = input.reshape(-1), 0
    else:
        x, at = along(input, dim)
    x = jnp.moveaxis(x, at, -1)
    ordered = taken(x, order(x, x.ndim - 1), x.ndim - 1)
    n, nans = x.shape[-1], (x != x).sum(-1, keepdims=True)
    if skip_nan:
        rank = q.reshape(-1) * jnp.maximum(n - nans - 1, 0).astype(x.dtype)
    else:  # the last element is a nan if there is one
        rank = jnp.where(nans > 0, np.asarray(n - 1, x.dtype), q.reshape(-1) * (n - 1))
    if interpolation == "nearest":
        rank = jnp.round(rank)
    elif interpolation == "lower":
        rank = jnp.floor(rank)
    elif interpolation == "higher":
        rank = jnp.ceil(rank)
    below = rank.astype(np.int64)
    out = taken(ordered, below, x.ndim - 1)
    if interpolation in ("linear", "midpoint"):
        above = taken(ordered, jnp.ceil(rank).astype(np.int64), x.ndim - 1)
        weight = 0.5 if interpolation == "midpoint" else rank - below.astype(rank.dtype)
        step = above - out
        out = jnp.where(weight < 0.5, out + weight * step, above - step * (1 - weight))
    out = jnp.moveaxis(out, -1, 0)
    if keepdim:
        shape = [1] * rank_of_input
        if dim is not None and rank_of_input:
            shape = [1 if d == at else m for d, m in enumerate(input.shape)]
        out = out.reshape((out.shape[0], *shape))
    elif rank_of_input == 0:
        out = out.reshape(-1)
    return out if q.ndim else out[0]


# ---- searches ----------------------------------------------------------------------------------


def _check_search(sequence, values, sorter):
    name = "torch.searchsorted()"
    if sequence.ndim == 0:
        raise RuntimeError(
            f"{name}: boundaries tensor should have positive dimension, but got 0 dimension"
        )
    if values.ndim == 0 and sequence.ndim != 1:
        raise RuntimeError(
            f"{name}: input value can be a scalar only when boundaries tensor dimension is 1, but "
            f"we got boundaries tensor dim({sequence.ndim}) and input value's dim(0) numel(1)"
        )
    if sequence.ndim != 1 and (
        sequence.ndim != values.ndim or sequence.shape[:-1] != values.shape[:-1]
    ):
        raise RuntimeError(
            f"{name}: boundaries tensor should be 1 dimension or the first N-1 dimensions of "
            f"boundaries tensor and input value tensor must match, but we got boundaries tensor "
            f"{list(sequence.shape)} and input value tensor {list(values.shape)}"
        )
    if sorter is None:
        return
    if sorter.shape != sequence.shape:
        raise RuntimeError(
            f"{name}: boundary and sorter must have the same size, but got boundary tensor "
            f"{list(sequence.shape)}and got sorter tensor {list(sorter.shape)}"
        )
    if sorter.dtype != np.int64:
        raise RuntimeError(
            f"{name}: sorter must be a tensor of long dtype but got dtype "
            f"{dt.SCALAR_NAMES[torch_dtype(sorter)]}"
        )


@op("searchsorted", differentiable=False)
def searchsorted(sequence, values, sorter=None, right: bool = False, out_int32: bool = False):
    """Where each value would have to be put into a sorted sequence."""
    _check_search(sequence, values, sorter)
    common = dt.promote_types(torch_dtype(sequence), torch_dtype(values)).numpy
    out_type = np.int32 if out_int32 else np.int64
    if sorter is not None:
        sequence = taken(sequence, sorter, sequence.ndim - 1)
    a, v = sequence.astype(common), values.astype(common)
    if a.shape[-1] == 0:
        return jnp.zeros(v.shape, out_type)
    rows = a.reshape(-1, a.shape[-1])
    wide = v.size if a.ndim == 1 else v.shape[-1]
    found = _bisected(rows, v.reshape(rows.shape[0], wide), right)
    return found.reshape(v.shape).astype(out_type)


def _bisected(rows, values, right: bool):
    """Where each row's values belong, halving as PyTorch does: where a row is not in order, or ends
    in nans, the way there decides upon the result."""
    n = rows.shape[-1]
    least = jnp.zeros(values.shape, np.int64)

    def halve(_, state):
        low, high = state
        middle = low + (high - low) // 2
        there = jnp.take_along_axis(rows, jnp.minimum(middle, n - 1), -1)
        after = ~(there > values) if right else ~(there >= values)
        open_ = low < high
        return jnp.where(open_ & after, middle + 1, low), jnp.where(open_ & ~after, middle, high)

    return loops.fori_loop(0, n.bit_length(), halve, (least, least + n))[0]


@op("isin", differentiable=False)
def isin(elements, test_elements, invert: bool):
    """Whether each element is one of the others."""
    for x in (elements, test_elements):
        if x.dtype == bool or jnp.iscomplexobj(x):
            raise RuntimeError(
                f"Unsupported input type encountered for isin(): {dt.SCALAR_NAMES[torch_dtype(x)]}"
            )
    common = dt.promote_types(torch_dtype(elements), torch_dtype(test_elements)).numpy
    return jnp.isin(elements.astype(common), test_elements.astype(common), invert=invert)
