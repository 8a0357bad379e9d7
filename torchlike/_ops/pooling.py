"""Pools over windows of one to three spatial dimensions, fixed and adaptive, and their inverse."""

from __future__ import annotations

from functools import partial
from math import prod

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import conventions
from torchlike._ops.dims import is_open, surely
from torchlike._ops.extremes import is_first, number_of_first
from torchlike._ops.resizing import by_matrix, gathered, transposed
from torchlike._ops.table import Shape, report_bad_index, torch_dtype
from torchlike._ops.windows import (
    MAX_UNROLLED,
    layer,
    lowest,
    pad_spatial,
    require_floating,
    require_real,
    slices,
    unbatched,
    widen,
)

_WORDS = {1: "one int", 2: "two ints", 3: "three ints"}


def _ints(value, rank: int, what: str, name: str) -> tuple:
    if hasattr(value, "__index__"):
        return (int(value),) * rank
    value = tuple(value)
    if len(value) == 1:
        return value * rank
    if len(value) != rank:
        raise RuntimeError(
            f"{name}: {what} must either be a single int, or a tuple of {_WORDS[rank]}"
        )
    return value


def _sides(what: str, values: tuple) -> str:
    values = (1, *values) if len(values) == 1 else values
    return " ".join(f"{what}{side}: {n}" for side, n in zip("THW"[-len(values) :], values))


class Geometry:
    """The sizes of a pool call, checked as PyTorch checks them."""

    def __init__(self, input, kernel, stride, padding, dilation, ceil_mode, rank, name):
        self.rank = rank
        self.kernel = _ints(kernel, rank, "kernel_size", name)
        no_stride = stride is None or (stride.__class__ is tuple and not stride)
        self.stride = self.kernel if no_stride else _ints(stride, rank, "stride", name)
        self.padding = _ints(padding, rank, "padding", name)
        self.dilation = _ints(dilation, rank, "dilation", name)
        self.spatial = input.shape[-rank:]
        if any(k <= 0 for k in self.kernel):
            raise RuntimeError(
                f"kernel size should be greater than zero, but got {_sides('k', self.kernel)}"
            )
        if any(s == 0 for s in self.stride):
            raise RuntimeError("stride should not be zero")
        if any(s < 0 for s in self.stride):
            raise RuntimeError(
                f"stride should be greater than zero, but got {_sides('d', self.stride)}"
            )
        if any(d <= 0 for d in self.dilation):
            raise RuntimeError(
                f"dilation should be greater than zero, but got {_sides('dilation', self.dilation)}"
            )
        for p, k, d in zip(self.padding, self.kernel, self.dilation):
            if p < 0:
                raise RuntimeError(f"pad must be non-negative, but got pad: {p}")
            if p > (d * (k - 1) + 1) // 2:
                raise RuntimeError(
                    f"pad should be at most half of effective kernel size, but got pad={p}, "
                    f"kernel_size={k} and dilation={d}"
                )
        self.out = tuple(
            _pooled(*sizes, ceil_mode)
            for sizes in zip(self.spatial, self.kernel, self.stride, self.padding, self.dilation)
        )
        if surely(lambda: any(n < 1 for n in self.out)):
            lead = input.shape[-rank - 1]
            before, after = ("x".join(map(str, (lead, *s))) for s in (self.spatial, self.out))
            raise RuntimeError(
                f"Given input size: ({before}). Calculated output size: ({after}). Output size is "
                "too small"
            )
        # What the last window needs beyond the input; negative where it does not reach the end.
        self.reach = tuple(
            (o - 1) * s + d * (k - 1) + 1 - p - n
            for o, s, d, k, p, n in zip(
                self.out, self.stride, self.dilation, self.kernel, self.padding, self.spatial
            )
        )
        self.tiled = (
            self.kernel == self.stride
            and not any(self.padding)
            and not any(self.reach)
            and all(d == 1 or k == 1 for d, k in zip(self.dilation, self.kernel))
        )

    def tiles(self, input):
        """The input with each dimension split in (windows, window), and the axes of the latter."""
        lead = input.shape[: input.ndim - self.rank]
        shape = [n for pair in zip(self.out, self.kernel) for n in pair]
        axes = tuple(len(lead) + 2 * i + 1 for i in range(self.rank))
        return input.reshape(*lead, *shape), axes


def _pooled(n, kernel, stride, pad, dilation, ceil_mode):
    room = n + 2 * pad - dilation * (kernel - 1) - 1
    out = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (out - 1) * stride >= n + pad:
        out -= 1
    return out


def _check_rank(input, rank, name):
    fits = input.ndim in (rank + 1, rank + 2)
    if fits and all(input.shape[-rank - 1 :]):
        return
    if fits and rank == 3:
        raise RuntimeError(
            f"{name}(): Expected input's non-batch dimensions to have positive length, but input "
            f"has a shape of {list(input.shape)}"
        )
    if fits or rank == 1:
        name = f"{name}: " if rank == 1 else ""
        raise RuntimeError(
            f"{name}Expected {rank + 1}D or {rank + 2}D (batch mode) tensor with optional 0 dim "
            f"batch size for input, but got:{list(input.shape)}"
        )
    raise RuntimeError(
        f"non-empty {rank + 1}D or {rank + 2}D (batch mode) tensor expected for input"
    )


# ---- maximum -----------------------------------------------------------------------------------


def _node(name):
    """The node's name by rank; PyTorch pools one dimension as two."""
    return lambda c: "SqueezeBackward1" if c.rank == 1 else name.format(c.rank)


def _max_pool_vjp(c, g):
    """All of a window's gradient goes to its first maximum."""
    (input,), s = c.operands, c.statics
    rank, name = s["rank"], f"max_pool{s['rank']}d"
    geo = Geometry(
        input, s["kernel"], s["stride"], s["padding"], s["dilation"], s["ceil_mode"], rank, name
    )
    if not geo.tiled:
        return jax.vjp(lambda x: _max_windows(x, geo, False)[0], input)[1](g)
    x, axes = geo.tiles(input)
    return jnp.where(is_first(x, axes), jnp.expand_dims(g, axes), 0).reshape(input.shape)


_MAX = {
    "grad_name": _node("MaxPool{}DWithIndicesBackward0"),
    "signature": "max_pool{rank}d(input, kernel_size, stride, padding, dilation, ceil_mode)",
}


@layer("max_pool", vjp=_max_pool_vjp, **_MAX)
def max_pool(
    input, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, ceil_mode: bool, rank: int
):
    """The maximum of each window."""
    name = f"max_pool{rank}d"
    if rank == 1:
        require_floating(input, "max_pool1d_impl")
    require_real(input, name)
    _check_rank(input, rank, name)
    geo = Geometry(input, kernel, stride, padding, dilation, ceil_mode, rank, name)
    if geo.tiled:
        x, axes = geo.tiles(input)
        return x.max(axes)
    return _max_windows(input, geo, False)[0]


@layer("max_pool_with_indices", **_MAX)
def max_pool_with_indices(
    input, kernel: Shape, stride: Shape, padding: Shape, dilation: Shape, ceil_mode: bool, rank: int
):
    """The maximum of each window, and where in the flattened input it stands."""
    name = f"max_pool{rank}d"
    require_real(input, name)
    _check_rank(input, rank, name)
    geo = Geometry(input, kernel, stride, padding, dilation, ceil_mode, rank, name)
    return _max_windows(input, geo, True)


def _max_windows(input, geo, indices: bool):
    if prod(geo.kernel) > MAX_UNROLLED:
        at = [
            np.arange(o)[:, None] * s - p + np.arange(k) * d
            for o, s, p, k, d in zip(geo.out, geo.stride, geo.padding, geo.kernel, geo.dilation)
        ]
        return _max_gathered(input, at, [(a >= 0) & (a < n) for a, n in zip(at, geo.spatial)])
    if is_open(*geo.spatial) and not indices:
        return _max_reduced(input, geo), None
    padded = pad_spatial(input, geo.padding, [max(r, 0) for r in geo.reach], lowest(input.dtype))
    best = best_at = None
    places = _places(geo)
    for offset, part in slices(padded, geo.kernel, geo.stride, geo.dilation, geo.out):
        at = places(offset) if indices else None
        if best is None:
            best, best_at = part, at
            continue
        # A nan wins, and later nans win over it, as in PyTorch's loop.
        better = (part > best) | (part != part)
        best = jnp.where(better, part, best)
        if indices:
            best_at = jnp.where(better, at, best_at)
    if not indices:
        return best, None
    return best, jnp.broadcast_to(best_at, best.shape).astype(jnp.int64)


def _max_reduced(input, geo):
    """Maximum over windows by XLA's own reduction, which takes sizes that are left open."""
    lead = (1,) * (input.ndim - geo.rank)
    return lax.reduce_window(
        input, lowest(input.dtype), lax.max, (*lead, *geo.kernel), (*lead, *geo.stride),
        [(0, 0) for _ in lead] + [(p, p) for p in geo.padding],
        window_dilation=(*lead, *geo.dilation),
    )  # fmt: skip


def _places(geo):
    """A function from a window's offset to the flat index of the element that it meets."""

    def at(offset):
        flat = 0
        for i, (o, n) in enumerate(zip(offset, geo.spatial)):
            line = np.arange(geo.out[i]) * geo.stride[i] - geo.padding[i] + o * geo.dilation[i]
            shape = [1] * geo.rank
            shape[i] = -1
            flat = flat * n + np.maximum(line, 0).reshape(shape)
        return flat

    return at


def _max_gathered(input, at, valid):
    """Maximum over windows given as index tables per dimension: (out, window), padded by marks."""
    rank = len(at)
    lead, spatial = input.ndim - rank, input.shape[input.ndim - rank :]
    x = input
    flat, inside = np.zeros((), np.int64), np.ones((), bool)
    for i, (a, ok, n) in enumerate(zip(at, valid, spatial)):
        axis = lead + 2 * i
        x = jnp.take(x, jnp.asarray(np.clip(a, 0, n - 1).reshape(-1)), axis=axis)
        x = x.reshape(*x.shape[:axis], *a.shape, *x.shape[axis + 1 :])
        shape = [1] * (2 * rank)
        shape[2 * i : 2 * i + 2] = a.shape
        flat = flat * n + np.clip(a, 0, n - 1).reshape(shape)
        inside = inside & ok.reshape(shape)
    order = [*range(lead), *range(lead, x.ndim, 2), *range(lead + 1, x.ndim, 2)]
    outs = [a.shape[0] for a in at]
    x = jnp.where(inside, x, lowest(x.dtype)).transpose(order)
    x = x.reshape(*x.shape[: lead + rank], -1)
    turn = [*range(0, 2 * rank, 2), *range(1, 2 * rank, 2)]
    flat = flat.transpose(turn).reshape(*outs, -1)
    # Padding must not be picked, not even where a window's elements are all the lowest number.
    mark = inside.transpose(turn).reshape(*outs, -1)
    pick = number_of_first(x, -1 % x.ndim, among=mark)
    best = jnp.take_along_axis(x, pick, -1)[..., 0]
    found = jnp.take_along_axis(jnp.broadcast_to(flat, x.shape), pick, -1)[..., 0]
    return best, found.astype(jnp.int64)


# ---- average -----------------------------------------------------------------------------------


@layer(
    "avg_pool", linear=True, grad_name=_node("AvgPool{}DBackward0"),
    signature="avg_pool{rank}d(input, kernel_size, stride, padding, ceil_mode, count_include_pad, "
    "divisor_override)",
)  # fmt: skip
def avg_pool(
    input, kernel: Shape, stride: Shape, padding: Shape, ceil_mode: bool, count_include_pad: bool,
    divisor_override: int, rank: int,
):  # fmt: skip
    """The mean of each window."""
    name = f"avg_pool{rank}d"
    kernel_name = "avg_pool3d_out_frame" if rank == 3 else "avg_pool2d"
    if torch_dtype(input) is not dt.int64:  # the one integer dtype that PyTorch averages
        require_floating(input, kernel_name)
    _check_rank(input, rank, name)
    if divisor_override == 0:
        raise RuntimeError("divisor must be not zero")
    geo = Geometry(input, kernel, stride, padding, 1, ceil_mode, rank, name)
    integral = torch_dtype(input).category < dt.FLOATING
    if geo.tiled:
        x, axes = geo.tiles(widen(input))
        total = x.sum(axes, dtype=x.dtype)
    else:
        lead = (1,) * (input.ndim - rank)
        high = geo.padding if is_open(*geo.spatial) else geo.reach
        edges = [(0, 0)] * len(lead) + list(zip(geo.padding, high))
        x = widen(input)
        total = lax.reduce_window(
            x, np.zeros((), x.dtype), lax.add, lead + geo.kernel, lead + geo.stride, edges
        )
    count = divisor_override or _divisor(geo, count_include_pad)
    result = (
        lax.div(total, jnp.broadcast_to(jnp.asarray(count, total.dtype), total.shape))
        if integral
        else conventions.by_number(total, count)
    )
    return result.astype(input.dtype)


def _divisor(geo, count_include_pad):
    """How many elements each window counts."""
    result = np.ones((), np.int64)
    for i, (n, o, k, s, p) in enumerate(
        zip(geo.spatial, geo.out, geo.kernel, geo.stride, geo.padding)
    ):
        if is_open(o) and (count_include_pad or not p):
            result = result * k  # windows lie inside: with ceil_mode the size could not be open
            continue
        start = np.arange(o) * s - p
        end = np.minimum(start + k, n + p)
        if not count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, n)
        shape = [1] * geo.rank
        shape[i] = o
        result = result * (end - start).reshape(shape)
    return result.flat[0] if (result == result.flat[0]).all() else result


# ---- adaptive ----------------------------------------------------------------------------------


def _targets(input, size, rank, name):
    if rank > 1 and isinstance(size, tuple) and input.ndim <= len(size):
        raise ValueError(f"Input dimension should be at least {len(size) + 1}, got {input.ndim}")
    if input.ndim not in (rank + 1, rank + 2):
        raise RuntimeError(
            f"{name}: Expected {rank + 1}D or {rank + 2}D tensor, but got {list(input.shape)}"
        )
    size = (size,) * rank if size is None or isinstance(size, int) else tuple(size)
    if len(size) != rank:
        raise RuntimeError(f"{name}: output_size must be {rank}")
    spatial = input.shape[-rank:]
    out = tuple(n if o is None else o for o, n in zip(size, spatial))
    if any(o < 0 for o in out):
        raise RuntimeError(f"{name}: elements of output_size must be greater than or equal to 0")
    if any(n == 0 for n in spatial):
        raise RuntimeError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but input has "
            f"sizes {list(input.shape)}"
        )
    return spatial, out


def _bounds(n, o):
    """Start and end of each adaptive window."""
    i = np.arange(o)
    return i * n // o, -(-(i + 1) * n // o)


def _adaptive_node(c):
    size = c.size if isinstance(c.size, tuple) else (c.size,)
    if c.rank > 1 and all(n == 1 for n in size):
        return "MeanBackward1"
    return _node("AdaptiveAvgPool{}DBackward0")(c)


def _adaptive_vjp(c, g):
    means = partial(_adaptive_means, combine=by_matrix, average=jnp.mean, **c.statics)
    return transposed(means, c, g)


@layer(
    "adaptive_avg_pool", linear=True, vjp=_adaptive_vjp, grad_name=_adaptive_node,
    signature="adaptive_avg_pool{rank}d(input, output_size)",
)  # fmt: skip
def adaptive_avg_pool(input, size: Shape, rank: int):
    """Means over windows that divide the input as evenly as integers can."""
    return _adaptive_means(input, size, rank, gathered, conventions.average)


def _adaptive_means(input, size, rank, combine, average):
    spatial, out = _targets(input, size, rank, f"adaptive_avg_pool{rank}d()")
    require_floating(input, "adaptive_avg_pool2d")
    x = widen(input)
    if all(o == 1 for o in out):  # one mean, as ``mean`` itself rounds it
        at = tuple(range(input.ndim - rank, input.ndim))
        return average(x, at, keepdims=True).astype(input.dtype)
    for i, (n, o) in enumerate(zip(spatial, out)):
        axis = input.ndim - rank + i
        if o and n % o == 0:
            if n != o:
                shape = (*x.shape[:axis], o, n // o, *x.shape[axis + 1 :])
                x = average(x.reshape(shape), (axis + 1,))
            continue
        start, end = _bounds(n, o)
        width = end - start
        taps = [
            (np.minimum(start + k, n - 1), np.ma.array(1 / width, mask=width <= k))
            for k in range(width.max(initial=1))
        ]
        x = combine(x, axis, taps)
    return x.astype(input.dtype)


def _no_empty(name, input, rank):
    """Raise for channels or pixels of which there are none; a batch may be empty."""
    if 0 in input.shape[-rank - 1 :]:
        raise RuntimeError(
            f"{name}: Expected input to have non-zero size for non-batch dimensions, but input has "
            f"sizes {list(input.shape)}"
        )


@layer(
    "adaptive_max_pool", grad_name=_node("AdaptiveMaxPool{}DBackward0"),
    signature="adaptive_max_pool{rank}d(input, output_size)",
)  # fmt: skip
def adaptive_max_pool(input, size: Shape, rank: int):
    """Maxima over windows that divide the input as evenly as integers can, and their places."""
    require_floating(input, "adaptive_max_pool3d_cpu" if rank == 3 else "adaptive_max_pool2d")
    spatial, out = _targets(input, size, rank, f"adaptive_max_pool{rank}d()")
    _no_empty(f"adaptive_max_pool{rank}d()", input, rank)
    shape = (*input.shape[:-rank], *out)
    if 0 in shape:
        return jnp.zeros(shape, input.dtype), jnp.zeros(shape, jnp.int64)
    at, valid = [], []
    for n, o in zip(spatial, out):
        start, end = _bounds(n, o)
        table = start[:, None] + np.arange(int((end - start).max()) if o else 1)
        at.append(table)
        valid.append(table < end[:, None])
    return _max_gathered(input, at, valid)


# ---- inverse -----------------------------------------------------------------------------------


def _unpooled(c, g):
    """Every element gets the gradient of its place, also where another overwrote it."""
    indices, shape = c.operands[1], c.shapes[0].shape
    rows = prod(shape[: len(shape) - c.statics["rank"]])
    if 0 in shape:
        return jnp.zeros(shape, g.dtype), None
    at = indices.reshape(rows, -1)
    return jnp.take_along_axis(g.reshape(rows, -1), at, 1, mode="fill").reshape(shape), None


@layer("max_unpool", checks=True, grad_name=_node("MaxUnpool{}DBackward0"), vjp=_unpooled)
def max_unpool(input, indices, size: Shape, rank: int):
    """Zeros of the given spatial size, with the input at the indices that a max pool returned."""
    require_floating(input, f"max_unpool{max(rank, 2)}d")
    lone = unbatched(input, rank, f"max_unpool{rank}d")
    lead = input.shape[: 1 if lone else 2]
    rows = prod(lead)
    _no_empty(f"max_unpooling{rank}d_forward_out_cpu()", input, rank)
    if 0 in input.shape:
        return jnp.zeros((*lead, *size), input.dtype)
    at = indices.reshape(rows, -1)
    if prod(size):
        report_bad_index(at, prod(size))
    flat = jnp.zeros((rows, prod(size)), input.dtype)
    flat = flat.at[jnp.arange(rows)[:, None], at].set(input.reshape(rows, -1), mode="drop")
    return flat.reshape(*lead, *size)
