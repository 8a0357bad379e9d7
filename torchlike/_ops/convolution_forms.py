"""How convolutions and their gradients are computed: by XLA's own, or on a CPU by what is faster.

The numbers beside the rules are of two cores of a Xeon with AVX-512 and 2 MB of L2 cache a core,
jax 0.10.2, in ms of one core (XLA's convolution often uses one only).
"""

from __future__ import annotations

from itertools import product
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._ops import loops
from torchlike._ops.dims import is_open, surely
from torchlike._ops.windows import MAX_UNROLLED, pad_spatial, slices, widen

LAYOUT = {1: ("NCH", "OIH", "NCH"), 2: ("NCHW", "OIHW", "NCHW"), 3: ("NCDHW", "OIDHW", "NCDHW")}


class Plan(NamedTuple):
    """The sizes of a convolution: per spatial dimension, and the number of groups."""

    stride: tuple
    low: tuple
    high: tuple
    dilation: tuple
    out: tuple
    groups: int


# ---- choices -----------------------------------------------------------------------------------


def forward(x, w, plan: Plan):
    """The convolution of (N, C, ...) with (O, C / groups, ...)."""
    fast = _fast_forward(w.shape, plan)
    if fast is None and _gains_by_an_edge(x.shape[0], w.shape, plan):
        fast = _with_an_edge
    if fast is None:
        return _whole(x, w, plan)
    return lax.platform_dependent(
        x, w, cpu=lambda x, w: fast(x, w, plan), default=lambda x, w: _whole(x, w, plan)
    )


def by_input(g, w, plan: Plan, shape: tuple):
    """What the convolution's input of ``shape`` gets of a result's gradient ``g``."""
    whole = lambda g, w: _whole_by_input(g, w, plan, shape)  # noqa: E731
    fast = _fast_forward(w.shape, plan)
    if fast is None and (form := _in_phases(w.shape, plan)) is not None:
        cpu = lambda g, w: form(g, w, plan, shape)  # noqa: E731
    elif fast is None or not jnp.issubdtype(g.dtype, jnp.inexact):
        return whole(g, w)
    elif fast is _depthwise and w.shape[0] == plan.groups:
        # XLA transposes shifted slices to a sum of padded terms with a choice at each element: 3.2
        # against 1.6 for a 3x3 kernel on 16x64x56x56.
        cpu = lambda g, w: _depthwise_by_input(g, w, plan, shape)  # noqa: E731
    else:
        cpu = lambda g, w: _pulled(lambda x: fast(x, w, plan), shape, g)  # noqa: E731
    return lax.platform_dependent(g, w, cpu=cpu, default=whole)


def by_weight(x, g, plan: Plan, shape: tuple):
    """What the convolution's kernel of ``shape`` gets of a result's gradient ``g``."""
    linear = lambda f: lambda x, g: _pulled(lambda w: f(x, w, plan), shape, g)  # noqa: E731
    fast = _fast_forward(shape, plan)
    if fast is _depthwise and is_open(*g.shape):
        cpu = linear(fast)  # the blocks of the other form are counted out
    elif fast is _depthwise:
        cpu = lambda x, g: _depthwise_by_weight(x, g, plan, shape)  # noqa: E731
    elif fast is not None:
        cpu = linear(fast)
    elif (size := _images_at_once(g, shape)) is not g.shape[0] and size < g.shape[0]:
        cpu = lambda x, g: _by_weight_in_parts(x, g, plan, shape, size)  # noqa: E731
    elif _gains_by_an_edge(x.shape[0], shape, plan):
        cpu = linear(_with_an_edge)
    else:
        return linear(_whole)(x, g)
    return lax.platform_dependent(x, g, cpu=cpu, default=linear(_whole))


def _fast_forward(w: tuple, plan: Plan):
    """The formulation for a CPU of a kernel of this shape; None: XLA's convolution."""
    kernel = w[2:]
    if plan.groups > 1:
        # XLA's grouped convolution on a CPU is 10 to 60 times slower than the sum over the kernel.
        if w[1] > 1 and len(kernel) < 3 and plan.groups <= _FEW_GROUPS:
            return _as_dense if plan.groups <= 4 and w[1] <= 8 else _by_group
        if prod(kernel) > MAX_UNROLLED:
            return None
        return _depthwise if w[1] == 1 else _grouped
    if prod(kernel) == 1 and not any(plan.low) and not any(plan.high):
        # With all gradients, on 16x64x56x56 to 32 channels: 35 by XLA's convolution, 15 as one
        # product and a transpose, 10 by images; on 32x512x7x7 to 2048: 160, 99 and 600.
        small = surely(lambda: 8 * w[0] * w[1] <= (w[0] + w[1]) * prod(plan.out))
        return _products_by_image if small else _one_product
    # With all gradients, 3x3x3 of stride 1 on 2x16x16x16x16 to 16 channels: 36 by XLA's, 2.9 so.
    return _by_depth if len(kernel) == 3 else None


def _in_phases(w: tuple, plan: Plan):
    """How a CPU computes the input's gradient, and a transposed convolution, phase by phase of the
    stride; None where XLA's own, of a gradient with zeros in between, is as fast.

    On two cores of an EPYC, in ms: that, a convolution for each phase, all phases by one.

    | gradient | channels given | kernel of stride 2 | zeros | each | one |
    |---|---|---|---|---|---|
    | 8x16x64x64 | 8 | 3x3 | 3.1 | 2.8 | 1.5 |
    | | | 4x4 | 10.5 | 3.6 | 1.6 |
    | 8x64x32x32 | 32 | 3x3 | 3.7 | 2.1 | 2.4 |
    | | | 4x4 | 5.6 | 3.3 | 3.1 |
    | 16x64x16x16 | 64 | 3x3 | 3.8 | 2.4 | 2.5 |
    | | | 4x4 | 6.9 | 3.7 | 2.9 |
    | | | 5x5 | 8.9 | 4.7 | 4.7 |
    | 16x256x8x8 | 128 | 3x3 | 2.4 | 2.4 | 3.7 |
    | | | 4x4 | 4.6 | 4.0 | 3.5 |
    | 16x64x32x32 | 3 | 4x4 | 2.5 | 5.5 | 2.1 |
    | | | 5x5 | 3.6 | 7.6 | 3.7 |
    | 4x256x20x20 | | 9x9 | 1408 | 37 | |
    """
    if len(w) != 4 or plan.groups > 1 or max(plan.dilation) > 1 or max(plan.stride) == 1:
        return None
    if any(k < s for k, s in zip(w[2:], plan.stride, strict=True)) or w[1] < 8:
        return None
    even = not any(k % s for k, s in zip(w[2:], plan.stride, strict=True))
    if even or w[1] < 16:
        return _by_input_at_once
    return _by_input_in_phases if prod(plan.stride) <= MAX_UNROLLED else None


def _whole(x, w, plan: Plan):
    return lax.conv_general_dilated(
        x, w, plan.stride, list(zip(plan.low, plan.high)), rhs_dilation=plan.dilation,
        dimension_numbers=LAYOUT[w.ndim - 2], feature_group_count=plan.groups,
    )  # fmt: skip


def _gains_by_an_edge(images, w: tuple, plan: Plan) -> bool:
    """Whether a CPU is faster at a convolution without padding if it is given some.

    XLA has another way for those without. On two cores of an EPYC, in ms, forward and with all
    gradients: 64x32x26x26 by 64 kernels of 3x3 39 and 94, with a column more 10 and 47; 32x64x16x16
    by 64 4.2 and 15, 3.0 and 12; 8x16x64x64 by 32 of 5x5, stride 2, 2.8 and 8.0, 1.3 and 7.3. Small
    ones lose: 64x1x8x8 by 16 0.10, 0.19.
    """
    if len(w) != 4 or plan.groups > 1 or any(plan.low) or any(plan.high):
        return False
    if any(s >= k for s, k in zip(plan.stride, w[2:], strict=True)):
        return False
    return surely(lambda: images * prod(w) * prod(plan.out) >= _EDGE_PAYS)


_EDGE_PAYS = 20_000_000  # products


def _with_an_edge(x, w, plan: Plan):
    """One column more, of which nobody knows."""
    *high, last = plan.high
    wide = plan._replace(high=(*high, last + plan.stride[-1]))
    return _whole(x, w, wide)[..., : plan.out[-1]]


def _whole_by_input(g, w, plan: Plan, shape: tuple):
    """A convolution of the gradient, with zeros where the stride left elements out."""
    rank, groups, (given, per_group) = len(plan.out), plan.groups, w.shape[:2]
    w = jnp.flip(w, range(2, 2 + rank)).reshape(groups, -1, *w.shape[1:])
    w = w.swapaxes(1, 2).reshape(groups * per_group, given // groups, *w.shape[3:])
    return lax.conv_general_dilated(
        g, w, (1,) * rank, _edges(w.shape[2:], plan, shape), lhs_dilation=plan.stride,
        rhs_dilation=plan.dilation, dimension_numbers=LAYOUT[rank], feature_group_count=groups,
    )  # fmt: skip


def _by_input_in_phases(g, w, plan: Plan, shape: tuple):
    """The elements whose places leave the same rest by the stride meet the same part of the kernel:
    one plain convolution for each rest, and the results side by side."""
    rank, stride, spatial = len(plan.out), plan.stride, shape[2:]
    steps = [-(-(low + n) // s) for low, n, s in zip(plan.low, spatial, stride, strict=True)]
    g = g[(..., *map(slice, steps))]  # the others meet nothing but padding behind the input
    parts = []
    for rest in product(*map(range, stride)):
        part = w[(..., *(slice(r, None, s) for r, s in zip(rest, stride, strict=True)))]
        pads = [(k - 1, j - o) for k, j, o in zip(part.shape[2:], steps, g.shape[2:], strict=True)]
        if part.size == 0:  # a kernel narrower than the stride
            parts.append(jnp.zeros((shape[0], shape[1], *steps), g.dtype))
            continue
        part = jnp.flip(part, range(2, 2 + rank)).swapaxes(0, 1)
        parts.append(
            lax.conv_general_dilated(g, part, (1,) * rank, pads, dimension_numbers=LAYOUT[rank])
        )
    return _side_by_side(jnp.stack(parts, 2), plan, shape, steps)


def _by_input_at_once(g, w, plan: Plan, shape: tuple):
    """The same with the phases as channels of one convolution."""
    rank, stride, spatial = len(plan.out), plan.stride, shape[2:]
    steps = [-(-(low + n) // s) for low, n, s in zip(plan.low, spatial, stride, strict=True)]
    g = g[(..., *map(slice, steps))]
    taps = [-(-k // s) for k, s in zip(w.shape[2:], stride, strict=True)]
    ends = [t * s - k for t, s, k in zip(taps, stride, w.shape[2:], strict=True)]
    w = jnp.pad(w, [(0, 0), (0, 0), *[(0, end) for end in ends]])
    w = w.reshape(*w.shape[:2], *[n for pair in zip(taps, stride, strict=True) for n in pair])
    w = w.transpose(0, 1, *range(3, 3 + 2 * rank, 2), *range(2, 2 + 2 * rank, 2))
    w = jnp.flip(w.reshape(w.shape[0], -1, *taps), range(2, 2 + rank)).swapaxes(0, 1)
    pads = [(t - 1, j - o) for t, j, o in zip(taps, steps, g.shape[2:], strict=True)]
    found = lax.conv_general_dilated(g, w, (1,) * rank, pads, dimension_numbers=LAYOUT[rank])
    return _side_by_side(found, plan, shape, steps)


def _side_by_side(found, plan: Plan, shape: tuple, steps: list):
    """Phases (N, C, of all dimensions, places) as the array that they are phases of."""
    rank, stride, spatial = len(plan.out), plan.stride, shape[2:]
    found = found.reshape(*shape[:2], *stride, *steps)
    sides = [axis for i in range(rank) for axis in (2 + rank + i, 2 + i)]
    found = found.transpose(0, 1, *sides)
    found = found.reshape(*shape[:2], *(j * s for j, s in zip(steps, stride, strict=True)))
    return found[(..., *(slice(low, low + n) for low, n in zip(plan.low, spatial, strict=True)))]


def _edges(kernel: tuple, plan: Plan, shape: tuple) -> list:
    """What is put around a gradient, spread by the stride, to get the input's by a convolution."""
    edges = []
    for n, k, o, s, d, low in zip(
        shape[2:], kernel, plan.out, plan.stride, plan.dilation, plan.low, strict=True
    ):
        before = d * (k - 1) - low
        edges.append((before, n + d * (k - 1) - before - ((o - 1) * s + 1)))
    return edges


def _pulled(linear, shape, g):
    """The transpose of a linear function of an array of ``shape``, applied to ``g``."""
    return jax.linear_transpose(linear, jax.ShapeDtypeStruct(shape, g.dtype))(g)[0]


# ---- volumes ------------------------------------------------------------------------------------


def _by_depth(x, w, plan):
    """A convolution of images, whose channels are those of all depths that the kernel meets."""
    (sd, *stride), (dd, *dilation), (depth, *rows) = plan.stride, plan.dilation, plan.out
    x = pad_spatial(x, (plan.low[0], 0, 0), (plan.high[0], 0, 0), 0)
    reach = (depth - 1) * sd + 1
    met = [x[:, :, dd * k : dd * k + reach : sd] for k in range(w.shape[2])]
    images = jnp.concatenate(met, 1).swapaxes(1, 2)  # (N, D, K * C, H, W)
    images = images.reshape(x.shape[0] * depth, *images.shape[2:])
    kernel = w.swapaxes(1, 2).reshape(w.shape[0], -1, *w.shape[3:])
    flat = Plan(tuple(stride), plan.low[1:], plan.high[1:], tuple(dilation), tuple(rows), 1)
    found = _whole(images, kernel, flat)
    return found.reshape(x.shape[0], depth, *found.shape[1:]).swapaxes(1, 2)


# ---- kernels of one element --------------------------------------------------------------------


def _thinned(x, plan):
    """The elements that a kernel of one element meets, the spatial dimensions as one."""
    if any(s > 1 for s in plan.stride):
        stop = [(n - 1) * s + 1 for n, s in zip(plan.out, plan.stride)]
        at = [0] * x.ndim, [*x.shape[:2], *stop], [1, 1, *plan.stride]
        x = lax.slice(x, *at)
    return x.reshape(*x.shape[:2], prod(plan.out))


def _products_by_image(x, w, plan):
    x = _thinned(x, plan)
    factor = jnp.broadcast_to(w.reshape(w.shape[:2]), (x.shape[0], *w.shape[:2]))
    y = lax.dot_general(factor, x, (((2,), (1,)), ((0,), (0,))))
    return y.reshape(*y.shape[:2], *plan.out)


def _one_product(x, w, plan):
    x = _thinned(x, plan)
    y = lax.dot_general(w.reshape(w.shape[:2]), x, (((1,), (1,)), ((), ())))  # (O, N, out)
    return y.swapaxes(0, 1).reshape(x.shape[0], w.shape[0], *plan.out)


# ---- groups ------------------------------------------------------------------------------------


def _depthwise(x, w, plan):
    """Each channel on its own: a sum of shifted inputs."""
    n, many = x.shape[0], w.shape[0] // plan.groups
    x = pad_spatial(x, plan.low, plan.high, 0)
    total = None
    for offset, part in slices(x, w.shape[2:], plan.stride, plan.dilation, plan.out):
        factor = w[(slice(None), 0, *offset)].reshape(plan.groups, many, *[1] * len(plan.out))
        term = part[:, :, None] * factor
        total = term if total is None else total + term
    return total.reshape(n, w.shape[0], *plan.out)


# Few groups of 3x3 kernels, forward and with all gradients, on two cores of an EPYC, in ms:
#
# | input, groups | XLA's | windows | each group | dense |
# |---|---|---|---|---|
# | 8x16x64x64, 4 (to 32 channels) | 12.7, 213 | 6.2, 19 | 5.2, 14 | 3.1, 8.9 |
# | 8x64x28x28, 8 | 4.8, 290 | 4.1, 8.9 | 1.9, 3.3 | 3.2, 9.8 |
# | 8x64x28x28, 2 | 7.4, 78 | 3.1, 7.9 | 1.5, 4.8 | 2.8, 8.7 |
# | 16x48x16x16, 3 of 5x5 | 6.9, 109 | 4.2, 13 | 1.0, 3.3 | 2.6, 7.5 |
# | 8x256x14x14, 32 | 5.9, 684 | 2.7, 7.0 | 2.1, 4.6 | 5.0, 16 |
#
# A program of more groups would be long to compile.
_FEW_GROUPS = 8


def _by_group(x, w, plan):
    """A convolution for each group."""
    one, groups = plan._replace(groups=1), plan.groups
    pairs = zip(jnp.split(x, groups, 1), jnp.split(w, groups, 0), strict=True)
    return jnp.concatenate([_whole(part, kernel, one) for part, kernel in pairs], 1)


def _as_dense(x, w, plan):
    """One convolution whose kernel is zero from each group to the others."""
    groups, (given, per_group) = plan.groups, w.shape[:2]
    wide = w.reshape(groups, given // groups, 1, *w.shape[1:])
    own = jnp.eye(groups, dtype=bool).reshape(groups, 1, groups, *[1] * (w.ndim - 1))
    wide = jnp.where(own, wide, 0).reshape(given, groups * per_group, *w.shape[2:])
    return _whole(x, wide, plan._replace(groups=1))


def _grouped(x, w, plan):
    """Windows side by side, then one product a group."""
    n, count, groups = x.shape[0], prod(plan.out), plan.groups
    x = pad_spatial(x, plan.low, plan.high, 0)
    windows = slices(x, w.shape[2:], plan.stride, plan.dilation, plan.out)
    parts = [p.reshape(n, groups, w.shape[1], count) for _, p in windows]
    windows = jnp.stack(parts, 3).reshape(n, groups, prod(w.shape[1:]), count)
    factor = w.reshape(groups, w.shape[0] // groups, -1)
    y = lax.dot_general(factor, windows, (((2,), (2,)), ((0,), (1,))))  # (G, O / G, N, out)
    return jnp.moveaxis(y, 2, 0).reshape(n, w.shape[0], *plan.out)


def _depthwise_by_input(g, w, plan, shape):
    """A sum of shifted gradients, with zeros where the stride left elements out."""
    rank = len(plan.out)
    edges = _edges(w.shape[2:], plan, shape)
    config = [(0, 0, 0)] * 2 + [(a, b, s - 1) for (a, b), s in zip(edges, plan.stride)]
    spread = lax.pad(g, jnp.zeros((), g.dtype), config)
    back = jnp.flip(w, range(2, 2 + rank))
    even = Plan((1,) * rank, (0,) * rank, (0,) * rank, plan.dilation, shape[2:], plan.groups)
    return _depthwise(spread, back, even)


def _depthwise_by_weight(x, g, plan, shape):
    """Products of shifted inputs with the gradient, added block by block before they are reduced.

    XLA stores each operand of a reduction, here k * k times the input: 60 for a 3x3 kernel on
    16x64x56x56, 12 with sums of 16 blocks in one loop; 170 and 38 for 5x5.
    """
    kernel, rank = shape[2:], len(plan.out)
    n, groups, many = x.shape[0], plan.groups, shape[0] // plan.groups
    dtype, x, g = x.dtype, widen(x), widen(g).reshape(n, groups, many, *plan.out)
    unrolled = prod(kernel) <= 9
    blocks = 1 if x.size < 2**15 else 16 if unrolled else 8  # a small one compiles faster
    images = -(-n // blocks)  # in a block
    over_batch = -(-n // images) if n else 1
    over_rows = max(1, min(blocks // over_batch, plan.out[0]))
    rows = -(-plan.out[0] // over_rows)
    out = (rows, *plan.out[1:])
    # Zeros fill the last blocks.
    more = over_batch * images - n, over_rows * rows - plan.out[0]
    at = [(0, more[0]), (0, 0), (0, 0), (0, more[1])] + [(0, 0)] * (rank - 1)
    g = jnp.pad(g, at) if any(more) else g
    high = list(plan.high)
    high[0] += more[1] * plan.stride[0]
    x = lax.pad(
        x, jnp.zeros((), x.dtype),
        [(0, more[0], 0), (0, 0, 0)] + [(a, b, 0) for a, b in zip(plan.low, high)],
    )  # fmt: skip
    x = lax.optimization_barrier(x)  # else the padding becomes a choice in each product
    reach = [(o - 1) * s + 1 for o, s in zip(out, plan.stride)]

    def sums(first):
        """The sums over blocks of all products for one place in the kernel's leading dimensions."""
        terms = []
        for last in range(kernel[-1]):
            total = None
            for b, r in product(range(over_batch), range(over_rows)):
                start = [b * images, 0, *(o * d for o, d in zip((*first, last), plan.dilation))]
                start[2] = start[2] + r * rows * plan.stride[0]
                part = _cut(x, start, [images, groups, *reach], [1, 1, *plan.stride])
                factor = lax.slice_in_dim(g, b * images, (b + 1) * images, axis=0)
                factor = lax.slice_in_dim(factor, r * rows, (r + 1) * rows, axis=3)
                term = part[:, :, None] * factor
                total = term if total is None else total + term
            terms.append(total)
        return jnp.stack(terms).sum((1, *range(4, 4 + rank)))  # (last, G, many)

    lead = list(product(*map(range, kernel[:-1])))
    if unrolled:
        result = jnp.stack([sums(first) for first in lead])
    else:  # one body for all rows of the kernel: 0.3 s to compile for 5x5 where unrolled takes 1.0
        places = np.array(lead, np.int32).reshape(len(lead), rank - 1)
        result = loops.map(lambda first: sums([first[i] for i in range(rank - 1)]), places)
    return jnp.moveaxis(result.reshape(prod(kernel), -1), 0, -1).reshape(shape).astype(dtype)


def _cut(x, start, size, step):
    """A slice with a step, from numbers or from traced places."""
    if all(isinstance(s, int) for s in start):
        return lax.slice(x, start, [a + n for a, n in zip(start, size)], step)
    block = lax.dynamic_slice(x, [jnp.asarray(s, jnp.int32) for s in start], size)
    return block if max(step) == 1 else lax.slice(block, [0] * x.ndim, size, step)


# ---- dense kernels -----------------------------------------------------------------------------


def _images_at_once(g, kernel: tuple) -> int:
    """Of how many images the kernel's gradient is computed at once.

    XLA's convolution reads the whole gradient for every few rows of its result, at a third of the
    speed if that does not fit the L2 cache: 3x3 on 16x64x56x56 to 32 channels, 53 at once and 18
    in parts of 2 images (22 by 4, 25 by 1); on 32x64x56x56 to 64, 365 at once and 84 by 2; on
    64x32x28x28 to 64, 62 at once and 15 by 8. Small kernels gain little: 48 and 40 for 3 to 64
    channels at 128x3x32x32, at 4 times the compile time.
    """
    if is_open(*g.shape):
        return g.shape[0]
    n, image = g.shape[0], prod(g.shape[1:]) * g.dtype.itemsize
    fit = int(1.75 * 2**20) // max(image, 1)
    # Single images are slow again; 32 parts take a second or two to compile.
    if not n or fit < 2 or n > fit * 32 or prod(kernel) < 4096:
        return n
    parts = -(-n // fit)
    return -(-n // parts)


def _by_weight_in_parts(x, g, plan, shape, size):
    total = None
    for a in range(0, g.shape[0], size):
        part, given = (lax.slice_in_dim(y, a, min(a + size, y.shape[0])) for y in (x, g))
        term = _pulled(lambda w, part=part: _whole(part, w, plan), shape, given)
        total = term if total is None else total + term
    return total
