"""NumPy twins of the most frequent ops, and their shape rules: a new shape costs them no trace.

A twin is made for one call from (statics, operand avals, result avals): a function of the arrays,
or (function, [(size, ndim)] of the range checks whose flags it returns last), or None where only
the op itself knows. A rule gives the results' shapes and dtypes of a call that is surely valid, and
None for every other: the op then answers itself, or raises PyTorch's error.
"""

from __future__ import annotations

from math import prod
from sys import getrefcount

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.inference import shape_rule, shape_rules
from torchlike._engine.primitives import BUILDERS
from torchlike._ops.dims import axes, axis
from torchlike._ops.pointwise import WRAPPED

TWINS: dict = {}
REAL = frozenset((dt.float32, dt.float64))


def twin_of(*names):
    """Register a function (statics, operand avals, result avals) -> twin."""

    def put(build):
        for name in names:
            TWINS[name] = build
        return build

    return put


def aligned(in_avals):
    """A function of the arrays that are there that gives one for each operand, None for those that
    are not; None if a number is part of the call."""
    if any(a.__class__ is tuple for a in in_avals):
        return None
    there = [a is not None for a in in_avals]
    if all(there):
        return lambda arrays: arrays

    def take(arrays):
        arrays = iter(arrays)
        return [next(arrays) if found else None for found in there]

    return take


# ---- shape -------------------------------------------------------------------------------------


@shape_rule("view")
def _view_shape(statics, in_avals):
    (x,), (shape,) = in_avals, statics
    if prod(shape) != x.numel or min(shape, default=0) < 0:
        return None
    return [(tuple(shape), x.dtype)]


@shape_rule("permute")
def _permute_shape(statics, in_avals):
    (x,), (dims,) = in_avals, statics
    if sorted(dims) != list(range(x.ndim)):
        return None
    return [(tuple([x.shape[d] for d in dims]), x.dtype)]


@shape_rule("squeeze_dims")
def _squeeze_shape(statics, in_avals):
    (x,), (dims,) = in_avals, statics
    if any(not 0 <= d < x.ndim or x.shape[d] != 1 for d in dims):
        return None
    return [(tuple([n for d, n in enumerate(x.shape) if d not in dims]), x.dtype)]


@shape_rule("unsqueeze")
def _unsqueeze_shape(statics, in_avals):
    (x,), (dim,) = in_avals, statics
    return [((*x.shape[:dim], 1, *x.shape[dim:]), x.dtype)] if 0 <= dim <= x.ndim else None


@shape_rule("expand")
def _expand_shape(statics, in_avals):
    (x,), (shape,) = in_avals, statics
    fits = len(shape) >= x.ndim and min(shape, default=0) >= 0 and all(
        m in (1, n) for m, n in zip(x.shape, shape[len(shape) - x.ndim :], strict=True)
    )  # fmt: skip
    return [(tuple(shape), x.dtype)] if fits else None


@shape_rule("alias", "clone")
def _same_shape(statics, in_avals):
    return [(in_avals[0].shape, in_avals[0].dtype)]


@twin_of("view", "squeeze_dims", "unsqueeze")
def _reshape(statics, in_avals, avals):
    shape = avals[0].shape
    return lambda x: (x.reshape(shape),)


@twin_of("permute")
def _permute(statics, in_avals, avals):
    (dims,) = statics
    return lambda x: (x.transpose(dims),)


@twin_of("expand")
def _expand(statics, in_avals, avals):
    shape = avals[0].shape
    return lambda x: (np.broadcast_to(x, shape),)


@twin_of("alias", "clone")
def _same(statics, in_avals, avals):
    return lambda x: (x,)


# ---- parts -------------------------------------------------------------------------------------


def parts_of(spec, shape, in_avals):
    """(size, step) per dimension of the base and the result's shape; None if not plainly valid."""
    parts, out, dim = [], [], 0
    for item in spec:
        kind = item[0]
        if kind == "new":
            out.append(1)
            continue
        n = shape[dim]
        dim += 1
        if kind == "all":
            parts.append((n, 1, False))
            out.append(n)
        elif kind == "int" or kind == "at":
            parts.append((1, 1, True))
            if not n:
                return None
        elif kind == "slice" and item[1] >= 0 and item[2] > 0:
            parts.append((item[1], item[2], True))
            out.append(item[1])
            if item[1] and (item[1] - 1) * item[2] >= n:
                return None
        else:
            return None
    if dim != len(shape) or sum(p[2] for p in parts) != len(in_avals) - 1:
        return None
    return parts, tuple(out)


@shape_rule("index_basic", "index_at")
def _index_shape(statics, in_avals):
    x = in_avals[0]
    found = parts_of(statics[0], x.shape, in_avals)
    return None if found is None else [(found[1], x.dtype)]


def slices_of(parts, shape):
    """A function of the run-time starts that gives the slices of a basic index, one a dimension."""
    plan = [
        (given, n - ((size - 1) * step + 1), size, step)
        for n, (size, step, given) in zip(shape, parts, strict=True)
    ]

    def slices(starts):
        starts, at = iter(starts), []
        for given, top, size, step in plan:
            if given:
                start = min(max(int(next(starts)), 0), top)
                at.append(slice(start, start + (size - 1) * step + 1, step))
            else:
                at.append(slice(None))
        return tuple(at)

    return slices


def _starts_are_ints(starts) -> bool:
    return all([a is int or (a.__class__ is not tuple and a.ndim == 0) for a in starts])


def _wrapped(spec, shape):
    """A function of the run-time starts that counts those from the end that are results of other
    calls, and the range checks of these: (flags of the starts, their sizes)."""
    given, dim = [], 0  # of each start the size of its dimension, None where it is known to be fine
    for item in spec:
        if item[0] == "new":
            continue
        if item[0] != "all":
            given.append(shape[dim] if item[0] == "at" else None)
        dim += 1
    sizes = [(n, 0) for n in given if n is not None]

    def wrapped(starts):
        return [s if n is None or s >= 0 else s + n for s, n in zip(starts, given, strict=True)]

    def flags(starts):
        out = [(not -n <= s < n, s) for s, n in zip(starts, given, strict=True) if n is not None]
        return np.array([(bad, s if bad else 0) for bad, s in out], np.int64)

    return wrapped, flags, sizes


@twin_of("index_at")
def _index_at(statics, in_avals, avals):
    shape = in_avals[0].shape
    found = parts_of(statics[0], shape, in_avals)
    if found is None or not _starts_are_ints(in_avals[1:]) or 0 in found[1]:
        return None
    parts, out = found
    slices = slices_of(parts, shape)
    wrapped, flags, sizes = _wrapped(statics[0], shape)

    def index(x, *starts):
        return x[slices(wrapped(starts))].reshape(out), flags(starts)

    return index, sizes


@twin_of("index_basic")
def _index(statics, in_avals, avals):
    shape = in_avals[0].shape
    found = parts_of(statics[0], shape, in_avals)
    if found is None or any(a is not int for a in in_avals[1:]):
        return None
    parts, out = found
    slices = slices_of(parts, shape)

    def index(x, *starts):
        if 0 in out:
            return (np.empty(out, x.dtype),)
        return (x[slices(starts)].reshape(out),)

    return index


def _count(x) -> int:
    return getrefcount(x)


# What a twin counts as references to an array that only the list of its arguments holds.
UNHELD = (lambda held: _count(*[held[i] for i in (0,)]))([np.empty(1)])


@twin_of("write_view")
def _write_view(statics, in_avals, avals):
    (links,), (base, new, *numbers) = statics, in_avals
    if len(links) != 1 or links[0][0] not in _BASIC or base.dtype is not new.dtype:
        return None
    spec = links[0][2][0]
    found = parts_of(spec, base.shape, (base, *numbers))
    if found is None or not _starts_are_ints(numbers) or 0 in found[1]:
        return None
    parts, _ = found
    slices, part = slices_of(parts, base.shape), [size for size, _, _ in parts]
    wrapped = _wrapped(spec, base.shape)[0] if links[0][0] == "index_at" else lambda starts: starts

    def write(x, y, *starts):
        if getrefcount(x) > UNHELD or x.base is not None or not x.flags.writeable:
            x = x.copy()
        x[slices(wrapped(starts))] = y.reshape(part)
        return (x,)

    return write


_BASIC = ("index_basic", "index_at")


def _split_part(statics, in_avals):
    sizes, dim = statics
    (x,) = in_avals
    if not 0 <= dim < x.ndim or sum(sizes) > x.shape[dim] or min(sizes, default=-1) < 0:
        return None
    return x, sizes, dim


@shape_rule("split_sizes")
def _split_shape(statics, in_avals):
    found = _split_part(statics, in_avals)
    if found is None:
        return None
    x, sizes, dim = found
    return [((*x.shape[:dim], n, *x.shape[dim + 1 :]), x.dtype) for n in sizes]


@twin_of("split_sizes")
def _split(statics, in_avals, avals):
    sizes, dim = statics
    lead, places, start = (slice(None),) * dim, [], 0
    for n in sizes:
        places.append((*lead, slice(start, start + n)))
        start += n
    return lambda x: [x[at] for at in places]


@shape_rule("unbind")
def _unbind_shape(statics, in_avals):
    (x,), (dim,) = in_avals, statics
    if not 0 <= dim < x.ndim:
        return None
    return [((*x.shape[:dim], *x.shape[dim + 1 :]), x.dtype)] * x.shape[dim]


@twin_of("unbind")
def _unbind(statics, in_avals, avals):
    lead = (slice(None),) * statics[0]
    return lambda x: [x[*lead, i, ...] for i in range(len(avals))]


# ---- joining -----------------------------------------------------------------------------------


@shape_rule("cat")
def _cat_shape(statics, in_avals):
    first, (dim,) = in_avals[0], statics
    if not -first.ndim <= dim < first.ndim:
        return None
    dim %= first.ndim
    for x in in_avals:
        if x.dtype is not first.dtype or x.ndim != first.ndim or x.shape == (0,):
            return None
        if x.shape[:dim] != first.shape[:dim] or x.shape[dim + 1 :] != first.shape[dim + 1 :]:
            return None
    total = sum(x.shape[dim] for x in in_avals)
    return [((*first.shape[:dim], total, *first.shape[dim + 1 :]), first.dtype)]


@twin_of("cat")
def _cat(statics, in_avals, avals):
    dim = statics[0]
    if shape_rules["cat"](statics, in_avals) is None:
        return None
    return lambda *xs: (np.concatenate(xs, dim),)


@shape_rule("stack")
def _stack_shape(statics, in_avals):
    first, (dim,) = in_avals[0], statics
    if any(x.shape != first.shape or x.dtype is not first.dtype for x in in_avals):
        return None
    if not -first.ndim - 1 <= dim <= first.ndim:
        return None
    dim %= first.ndim + 1
    return [((*first.shape[:dim], len(in_avals), *first.shape[dim:]), first.dtype)]


@twin_of("stack")
def _stack(statics, in_avals, avals):
    dim = statics[0]
    if shape_rules["stack"](statics, in_avals) is None:
        return None
    return lambda *xs: (np.stack(xs, dim),)


# ---- dtypes and new tensors --------------------------------------------------------------------


@shape_rule("to_dtype")
def _to_dtype_shape(statics, in_avals):
    return [(in_avals[0].shape, statics[0])]


@twin_of("to_dtype")
def _to_dtype(statics, in_avals, avals):
    source, target = in_avals[0].dtype, statics[0]
    if source.category == dt.FLOATING and target in WRAPPED:
        return cut(source, target)

    class Like:
        dtype = source.numpy

    convert = BUILDERS["convert_element_type"]({"new_dtype": statics[0].numpy}, [Like], None)
    return lambda x: (convert(x),)


def cut(source: dt.dtype, target: dt.dtype):
    """Integers of floating numbers as PyTorch's CPU makes them: see the op."""
    wide = np.dtype(WRAPPED[target][0])
    width = np.float64 if source is dt.float64 else np.float32
    least = width(np.iinfo(wide).min)

    def convert(x):
        x = x.astype(width, copy=False)
        inside = (x >= least) & (x < -least)
        if not inside.all():
            x = np.where(inside, x, least)
        return (x.astype(wide).astype(target.numpy, copy=False),)

    return convert


@shape_rule("zeros", "ones")
def _filled_shape(statics, in_avals):
    size, dtype = statics
    return [(tuple(size), dtype)] if min(size, default=0) >= 0 else None


def _constant(number):
    def build(statics, in_avals, avals):
        shape, d = avals[0].shape, avals[0].dtype.numpy
        return lambda *_: (np.full(shape, number, d),)

    return build


@twin_of("full", "full_like")
def _full(statics, in_avals, avals):
    (a,) = avals
    if a.dtype in dt.FLOAT8 or a.dtype in dt.HALF or a.dtype is dt.bool_:
        return None
    kinds = (int, float) if a.dtype.category == dt.FLOATING else (int,)
    if in_avals[-1] not in kinds:
        return None
    return lambda *xs: (np.full(a.shape, xs[-1], a.dtype.numpy),)


TWINS["zeros"] = TWINS["zeros_like"] = _constant(0)
TWINS["ones"] = TWINS["ones_like"] = _constant(1)


# ---- reductions --------------------------------------------------------------------------------


def reduced(x, dim, keepdim):
    at = axes(dim, x.ndim)
    gone = range(x.ndim) if at is None else at
    if keepdim:
        return tuple([1 if d in gone else n for d, n in enumerate(x.shape)])
    return tuple([n for d, n in enumerate(x.shape) if d not in gone])


@shape_rule("sum")
def _sum_shape(statics, in_avals):
    (x,), (dim, keepdim, dtype) = in_avals, statics
    d = dtype or (dt.int64 if x.dtype.category < dt.FLOATING else x.dtype)
    return [(reduced(x, dim, keepdim), d)]


@shape_rule("mean")
def _mean_shape(statics, in_avals):
    (x,), (dim, keepdim, dtype) = in_avals, statics
    if dtype is not None or x.dtype.category < dt.FLOATING:
        return None
    return [(reduced(x, dim, keepdim), x.dtype)]


@twin_of("sum", "mean")
def _sum(statics, in_avals, avals):
    (x,), (dim, keepdim, dtype) = in_avals, statics
    if dtype is not None or x.dtype in dt.HALF or x.dtype in dt.FLOAT8:
        return None
    at, d = axes(dim, x.ndim), avals[0].dtype.numpy
    return lambda x: (np.add.reduce(x, at, d, keepdims=keepdim),)


def _mean(statics, in_avals, avals):
    total = _sum(statics, in_avals, avals)
    if total is None:
        return None
    x, at = in_avals[0], axes(statics[0], in_avals[0].ndim)
    n = avals[0].dtype.numpy.type(x.numel if at is None else prod(x.shape[d] for d in at))
    return lambda x: (total(x)[0] / n,)


TWINS["mean"] = _mean


@shape_rule("argmax", "argmin")
def _arg_shape(statics, in_avals):
    (x,), (dim, keepdim) = in_avals, statics
    if x.dtype.category in (dt.BOOL, dt.COMPLEX) or not x.numel:
        return None
    at = None if dim is None else axis(dim, x.ndim)
    return [(reduced(x, at, keepdim), dt.int64)]


def _arg(fn):
    def build(statics, in_avals, avals):
        (x,), (dim, keepdim) = in_avals, statics
        if x.dtype in dt.FLOAT8 or x.dtype in dt.HALF or x.ndim == 0:
            return None
        if dim is None:
            return lambda x: (np.reshape(fn(x), avals[0].shape),)
        return lambda x: (fn(x, dim, keepdims=keepdim),)

    return build


TWINS["argmax"], TWINS["argmin"] = _arg(np.argmax), _arg(np.argmin)


_FEW_TO_NUMBER = 1 << 14  # elements whose numbers are kept


def _extreme(fn):
    def build(statics, in_avals, avals):
        (x,), (dim, _) = in_avals, statics
        if x.dtype in dt.FLOAT8 or x.dtype in dt.HALF or not x.ndim:
            return None
        shape = avals[0].shape
        if not x.numel:
            return lambda x: (np.empty(shape, x.dtype), np.empty(shape, np.int64))
        if x.numel > _FEW_TO_NUMBER:
            start = None
        else:  # of each row in the flat array: take_along_axis spends 5 us on finding that
            start = np.arange(x.numel).reshape(x.shape).take([0], dim)
            stride = prod(x.shape[dim + x.ndim * (dim < 0) + 1 :])

        def extreme(x):
            index = fn(x, dim, keepdims=True)
            if start is None:
                return np.take_along_axis(x, index, dim).reshape(shape), index.reshape(shape)
            return x.take(index * stride + start).reshape(shape), index.reshape(shape)

        return extreme

    return build


TWINS["max_dim"], TWINS["min_dim"] = _extreme(np.argmax), _extreme(np.argmin)


@shape_rule("softmax", "log_softmax")
def _softmax_shape(statics, in_avals):
    (x,), (dim, dtype) = in_avals, statics
    if (dtype or x.dtype).category != dt.FLOATING or x.dtype.category == dt.COMPLEX:
        return None
    axis(dim, x.ndim)
    return [(x.shape, dtype or x.dtype)]


@twin_of("softmax")
def _softmax(statics, in_avals, avals):
    (x,), (dim, dtype) = in_avals, statics
    if x.dtype not in REAL or dtype not in (None, x.dtype) or not x.numel or not x.ndim:
        return None

    def softmax(x):
        e = np.exp(x - np.maximum.reduce(x, dim, keepdims=True))
        return (e / np.add.reduce(e, dim, keepdims=True),)

    return softmax


@twin_of("log_softmax")
def _log_softmax(statics, in_avals, avals):
    if _softmax(statics, in_avals, avals) is None:
        return None
    dim = statics[0]

    def log_softmax(x):
        x = x - np.maximum.reduce(x, dim, keepdims=True)
        return (x - np.log(np.add.reduce(np.exp(x), dim, keepdims=True)),)

    return log_softmax
