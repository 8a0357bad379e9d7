"""View ops: reads of a base and, beside each, the write that puts a changed view back."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core.dtypes import COMPLEX, bool_, uint8
from torchlike._ops import loops
from torchlike._ops.table import TABLE, Arrays, Dim, Dtype, Shape, evaluate, op, report_bad_index

# ---- shape -------------------------------------------------------------------------------------


def _write_view(base, new, shape):
    return new.reshape(base.shape)


@op("view", view=True, linear=True, write=_write_view)
def view(input, shape: Shape):
    """The same elements in row-major order under another shape."""
    return input.reshape(shape)


def _write_permute(base, new, dims):
    inverse = sorted(range(len(dims)), key=dims.__getitem__)
    return new.transpose(inverse)


@op("permute", view=True, linear=True, write=_write_permute)
def permute(input, dims: Shape):
    """Dimensions in another order."""
    return input.transpose(dims)


def _write_squeeze(base, new, dims):
    return new.reshape(base.shape)


@op("squeeze_dims", view=True, linear=True, write=_write_squeeze, grad_name="SqueezeBackward1")
def squeeze_dims(input, dims: Shape):
    """Without the given dimensions, all of size one."""
    return input.reshape([n for d, n in enumerate(input.shape) if d not in dims])


@op("unsqueeze", view=True, linear=True, write=_write_squeeze)
def unsqueeze(input, dim: Dim):
    """With a dimension of size one put in at ``dim``, not negative."""
    return input.reshape((*input.shape[:dim], 1, *input.shape[dim:]))


@op("expand", view=True, linear=True)
def expand(input, shape: Shape):
    """Broadcast to a shape without -1."""
    return jnp.broadcast_to(input, shape)


# ---- parts -------------------------------------------------------------------------------------


def _plan(shape, spec, numbers):
    """Starts, sizes and strides of a basic index on each dimension of the base."""
    numbers = iter(numbers)
    starts, sizes, steps, dim = [], [], [], 0
    for item in spec:
        kind = item[0]
        if kind == "new":
            continue
        n = shape[dim]
        dim += 1
        if kind == "all":
            starts.append(None)
            sizes.append(n)
            steps.append(1)
        elif kind == "at":  # an index that is itself a result
            index = next(numbers)
            report_bad_index(index, n, -n)
            starts.append(jnp.where(index < 0, index + n, index))
            sizes.append(1)
            steps.append(1)
        elif kind == "int":
            starts.append(next(numbers).array)
            sizes.append(1)
            steps.append(1)
        else:
            starts.append(next(numbers).array)
            sizes.append(item[1])
            steps.append(item[2])
    return starts, sizes, steps


def _out_shape(sizes, spec):
    sizes, out = iter(sizes), []
    for item in spec:
        if item[0] == "new":
            out.append(1)
        else:
            n = next(sizes)
            if item[0] not in ("int", "at"):
                out.append(n)
    return tuple(out)


def _window(sizes, steps):
    return [(n - 1) * step + 1 if n else 0 for n, step in zip(sizes, steps, strict=True)]


def _full_starts(starts):
    return [jnp.zeros((), jnp.int64) if s is None else s.astype(jnp.int64) for s in starts]


# Primitives whose results XLA may read as their operand's buffer in another shape. ("jit" may end
# in one; a tracer of a transformation does not tell.)
_RESHAPES = frozenset(
    ("reshape", "squeeze", "expand_dims", "broadcast_in_dim", "transpose", "copy", "jit", "pjit",
     "optimization_barrier", "bitcast_convert_type")
)  # fmt: skip


def _maker(x) -> str | None:
    """The name of the primitive that makes a traced array; None for an input of the program."""
    parent = getattr(x, "parent", "")
    return parent if parent is None else getattr(getattr(parent, "primitive", None), "name", "jit")


def _put(base, new, starts):
    """``base`` with ``new`` in the place that begins at the run-time ``starts``.

    XLA's CPU compiler fuses what computes ``new`` with the write. Where ``base`` is a reshape of an
    array that ``new`` is computed from, too, it overwrites elements before they are read
    (jax 0.10.2: x.reshape(1, -1) with its first four numbers less x[0] in their place). A branch
    on a run-time number is not fused: so ``new`` is complete before the write begins.
    """
    if _maker(base) in _RESHAPES and _maker(new) is not None:
        branch = lambda at, new: loops.cond(at < -(2**62), jnp.zeros_like, jnp.asarray, new)  # noqa: E731
        at = sum(s.astype(jnp.int64) for s in starts)
        new = lax.platform_dependent(at, new, cpu=branch, default=lambda at, new: new)
    return lax.dynamic_update_slice(base, new, starts)


def _put_at(base, new, start: int, dim: int):
    """The same along one dimension, at a place that is known."""
    if _maker(base) in _RESHAPES and _maker(new) is not None:
        end = start + new.shape[dim]
        before, after = (
            lax.slice_in_dim(base, a, b, axis=dim) for a, b in ((0, start), (end, base.shape[dim]))
        )
        return lax.concatenate([p for p in (before, new, after) if p.shape[dim]], dim)
    return lax.dynamic_update_slice_in_dim(base, new, start, dim)


def _write_index(base, new, *args):
    *numbers, spec = args
    starts, sizes, steps = _plan(base.shape, spec, numbers)
    new = new.reshape(sizes)
    if 0 in sizes:
        return base
    if any(step != 1 for step in steps):
        window = _window(sizes, steps)
        starts = _full_starts(starts)
        old = lax.dynamic_slice(base, starts, window)
        at = tuple(slice(None, None, step) for step in steps)
        return _put(base, old.at[at].set(new), starts)
    if all(s is None for s in starts):
        return new
    return _put(base, new, _full_starts(starts))


@op("index_basic", view=True, linear=True, write=_write_index, promotes="raw")
def index_basic(input, numbers: Arrays, spec: tuple):
    """A basic index: per dimension an int, a slice with a run-time start, all, or a new one."""
    starts, sizes, steps = _plan(input.shape, spec, numbers)
    window = _window(sizes, steps)
    out = input
    if any(s is not None for s in starts) and 0 not in window:
        out = lax.dynamic_slice(out, _full_starts(starts), window)
    else:
        out = lax.slice(out, [0] * out.ndim, window)
    if any(step != 1 for step in steps):
        out = out[tuple(slice(None, None, step) for step in steps)]
    return out.reshape(_out_shape(sizes, spec))


op(
    "index_at", view=True, needs={"input": ("numbers",)}, write=_write_index, promotes="raw",
    checks=True, grad_name="SelectBackward0",
)(index_basic)  # the same with indices that are results of other calls  # fmt: skip


def _write_split(base, new, sizes, dim, part):
    return _put_at(base, new, sum(sizes[:part]), dim)


@op("split_sizes", view=True, linear=True, write=_write_split, grad_name="SplitBackward0")
def split_sizes(input, sizes: Shape, dim: Dim):
    """Pieces of the given sizes along ``dim``."""
    pieces, start = [], 0
    for size in sizes:
        pieces.append(lax.slice_in_dim(input, start, start + size, axis=dim))
        start += size
    return tuple(pieces)


def _write_unbind(base, new, dim, part):
    return _put_at(base, jnp.expand_dims(new, dim), part, dim)


@op("unbind", view=True, linear=True, write=_write_unbind)
def unbind(input, dim: Dim):
    """The slices along ``dim``, without it."""
    return tuple(lax.index_in_dim(input, i, dim, keepdims=False) for i in range(input.shape[dim]))


def _diagonal_index(shape, shift, d1, d2):
    n = max(0, min(shape[d1] + min(shift, 0), shape[d2] - max(shift, 0)))
    k = jnp.arange(n)
    return k - min(shift, 0), k + max(shift, 0)


def _write_diagonal(base, new, shift, d1, d2):
    rows, cols = _diagonal_index(base.shape, shift, d1, d2)
    moved = jnp.moveaxis(base, (d1, d2), (-2, -1))
    return jnp.moveaxis(moved.at[..., rows, cols].set(new), (-2, -1), (d1, d2))


@op("diagonal", view=True, linear=True, write=_write_diagonal)
def diagonal(input, offset: Dim, dim1: Dim, dim2: Dim):
    """The diagonal of the plane of two dimensions, as the last dimension."""
    rows, cols = _diagonal_index(input.shape, offset, dim1, dim2)
    return jnp.moveaxis(input, (dim1, dim2), (-2, -1))[..., rows, cols]


@op("unfold", view=True, linear=True)
def unfold(input, dim: Dim, size: Dim, step: Dim):
    """Windows of ``size`` every ``step`` along ``dim``, as a new last dimension."""
    if input.ndim == 0:
        return input.reshape(1)[:size]
    count = (input.shape[dim] - size) // step + 1
    at = jnp.arange(count)[:, None] * step + jnp.arange(size)
    windows = jnp.take(input, at.reshape(-1), axis=dim)
    shape = (*input.shape[:dim], count, size, *input.shape[dim + 1 :])
    return jnp.moveaxis(windows.reshape(shape), dim + 1, -1)


@op("as_strided", view=True, linear=True)
def as_strided(input, size: Shape, stride: Shape, offset: Dim):
    """Any strided reading of the row-major elements of the base."""
    at = jnp.full((), offset)
    for n, s in zip(size, stride, strict=True):
        at = at[..., None] + jnp.arange(n) * s
    return input.reshape(-1)[at.reshape(size)]


# ---- the same memory under another type --------------------------------------------------------


@op("alias", view=True, linear=True, write=lambda base, new: new)
def alias(input):
    """The tensor itself, as a view."""
    return input


@op(
    "view_as_real", view=True, linear=True,
    write=lambda base, new: lax.complex(new[..., 0], new[..., 1]),
)  # fmt: skip
def view_as_real(input):
    """Real and imaginary parts as a last dimension of size two."""
    return jnp.stack([input.real, input.imag], -1)


@op(
    "view_as_complex", view=True, linear=True,
    write=lambda base, new: jnp.stack([new.real, new.imag], -1),
)  # fmt: skip
def view_as_complex(input):
    """A last dimension of size two as complex numbers."""
    return lax.complex(input[..., 0], input[..., 1])


# PyTorch takes both off the pairs of numbers: hence the name of their nodes.
@op(
    "real", view=True, linear=True, grad_name="SelectBackward0",
    write=lambda base, new: lax.complex(new, base.imag),
)  # fmt: skip
def real(input):
    """The real parts."""
    return input.real


@op(
    "conj_view", view=True, linear=True, grad_name="ConjBackward0",
    write=lambda base, new: jnp.conj(new),
)  # fmt: skip
def conj_view(input):
    """The complex conjugates."""
    return jnp.conj(input)


@op(
    "imag", view=True, linear=True, grad_name="SelectBackward0",
    write=lambda base, new: lax.complex(base.real, new),
)  # fmt: skip
def imag(input):
    """The imaginary parts."""
    return input.imag


@op(
    "view_dtype", view=True, differentiable=False,
    write=lambda base, new, source, target: _bitcast(new, target, source),
)  # fmt: skip
def view_dtype(input, source: Dtype, target: Dtype):
    """The same bytes as another dtype."""
    return _bitcast(input, source, target)


def _bitcast(x, source, target):
    scalar = not x.ndim
    x = x[None] if scalar else x
    x, source = _plain(x, source)
    unit = _unit(target)
    if source.itemsize < unit.itemsize:
        ratio = unit.itemsize // source.itemsize
        x = x.reshape((*x.shape[:-1], x.shape[-1] // ratio, ratio))
    out = lax.bitcast_convert_type(x, unit.numpy)
    if source.itemsize > unit.itemsize:
        out = out.reshape((*out.shape[:-2], out.shape[-2] * out.shape[-1]))
    if target.category == COMPLEX:
        out = lax.complex(out[..., 0::2], out[..., 1::2])
    elif target is bool_:
        out = out != 0
    return out[0] if scalar else out


def _unit(d):
    """What XLA casts in the place of complex numbers and bools."""
    return uint8 if d is bool_ else d.to_real()


def _plain(x, d):
    """The same bytes, along the last dimension, in a dtype that XLA casts."""
    if d.category == COMPLEX:
        x = jnp.stack([x.real, x.imag], -1).reshape((*x.shape[:-1], 2 * x.shape[-1]))
    elif d is bool_:
        x = x.astype(jnp.uint8)
    return x, _unit(d)


@op("overwrite", linear=True, grad_name="CopyBackwards")
def overwrite(input, new):
    """``new`` in the place of ``input``, to which no gradient flows."""
    return new


# ---- writing through a chain of views ----------------------------------------------------------


@op(
    "write_view", promotes="raw", grad_name="CopySlices",
    needs={"base": ("numbers",), "new": ("numbers",)},
)  # fmt: skip
def write_view(base, new, numbers: Arrays, links: tuple):
    """The base after the view that ``links`` read off it has been replaced by ``new``."""
    taken, reads, state = 0, [], base
    for name, count, statics, part in links:
        link = TABLE[name], list(numbers[taken : taken + count]), statics, part
        taken += count
        reads.append((state, link))
        state = _read(state, link)
    if all(link[0].write is not None for _, link in reads):
        for state, (view_op, args, statics, part) in reversed(reads):
            parts = (part,) if view_op.name in ("split_sizes", "unbind") else ()
            new = view_op.write(state, new, *args, *statics, *parts)
        return new
    # No closed write for some link: read the places of the elements instead, and write there.
    if base.dtype == new.dtype and not any(link[0].name in _RETYPES for _, link in reads):
        places = jnp.arange(base.size).reshape(base.shape)
        for _, link in reads:
            places = _read(places, link)
        return base.reshape(-1).at[places.reshape(-1)].set(new.reshape(-1)).reshape(base.shape)
    return _write_parts(base, new, [link for _, link in reads])


_RETYPES = ("real", "imag", "conj_view", "view_as_real", "view_as_complex", "view_dtype")


def _write_parts(base, new, links):
    """The same where views conjugate or change between complex numbers and their two real parts."""
    if any(link[0].name == "view_dtype" for link in links):
        raise NotImplementedError(
            "torchlike does not support writing through a view of another dtype together with "
            "expand, unfold or as_strided; clone() the view first"
        )
    whole = jnp.iscomplexobj(base)
    count = base.size * (2 if whole else 1)
    places = jnp.arange(count, dtype=jnp.float64)  # counted exactly; two make a complex number
    if whole:
        places = lax.complex(places[0::2], places[1::2])
    places = places.reshape(base.shape)
    for link in links:
        places = _read(places, link)
    parts = jnp.stack([base.real, base.imag], -1).reshape(-1) if whole else base.reshape(-1)
    at, values = places.reshape(-1), new.reshape(-1)
    if jnp.iscomplexobj(new):
        at, values = (jnp.concatenate([x.real, x.imag]) for x in (at, values))
    values = jnp.where(at < 0, -values, values)  # a conjugate's imaginary part
    parts = parts.at[jnp.abs(at).astype(jnp.int64)].set(values)
    return (lax.complex(parts[0::2], parts[1::2]) if whole else parts).reshape(base.shape)


def _read(x, link):
    view_op, args, statics, part = link
    return evaluate(view_op, [x, *args], statics)[part]
