"""Products of matrices, convolutions, and reductions over windows."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._engine.primitives.reductions import edge
from torchlike._engine.primitives.registry import BUILDERS, F32, HALF, Unsupported, builder


@builder("dot_general")
def _dot_general(params, ins, outs):
    (left_sum, right_sum), (left_batch, right_batch) = params["dimension_numbers"]
    a, b = ins
    left_free = [d for d in range(len(a.shape)) if d not in left_sum and d not in left_batch]
    right_free = [d for d in range(len(b.shape)) if d not in right_sum and d not in right_batch]
    batch = tuple(a.shape[d] for d in left_batch)
    m = prod(a.shape[d] for d in left_free)
    k = prod(a.shape[d] for d in left_sum)
    n = prod(b.shape[d] for d in right_free)
    left_order = (*left_batch, *left_free, *left_sum)
    right_order = (*right_batch, *right_sum, *right_free)
    left_shape, right_shape = (*batch, m, k), (*batch, k, n)
    shape, out = outs[0].shape, np.dtype(outs[0].dtype)
    wide = F32 if out.name in HALF else out

    def dot(x, y):
        x = x.transpose(left_order).reshape(left_shape).astype(wide, copy=False)
        y = y.transpose(right_order).reshape(right_shape).astype(wide, copy=False)
        return np.matmul(x, y).reshape(shape).astype(out, copy=False)

    return dot


def _dilated(x, value, pads, dilation):
    """Spatial dimensions (from the third) dilated and padded; negative padding crops."""
    shape, put, crop = list(x.shape), [slice(None)] * 2, [slice(None)] * 2
    for d, ((low, high), step) in enumerate(zip(pads, dilation, strict=True), 2):
        n = (x.shape[d] - 1) * step + 1 if x.shape[d] else 0
        start = max(low, 0)
        shape[d] = n + start + max(high, 0)
        put.append(slice(start, start + n, step))
        crop.append(slice(max(-low, 0), shape[d] - max(-high, 0)))
    if shape == list(x.shape):
        return x[tuple(crop)]
    out = np.full(shape, value, x.dtype)
    out[tuple(put)] = x
    return out[tuple(crop)]


def _windows(x, sizes, strides, dilation):
    """(N, C, *out, *window) as a view."""
    spans = [(n - 1) * d + 1 for n, d in zip(sizes, dilation, strict=True)]
    axes = tuple(range(2, 2 + len(sizes)))
    view = np.lib.stride_tricks.sliding_window_view(x, spans, axes)
    at = [slice(None)] * 2 + [slice(None, None, s) for s in strides]
    at += [slice(None, None, d) for d in dilation]
    return view[tuple(at)]


@builder("conv_general_dilated")
def _convolution(params, ins, outs):
    numbers, groups = params["dimension_numbers"], params["feature_group_count"]
    out = np.dtype(outs[0].dtype)
    if 0 in ins[0].shape or 0 in ins[1].shape or 0 in outs[0].shape:
        return lambda x, w: np.zeros(outs[0].shape, out)
    parts = params["batch_group_count"]
    wide = F32 if out.name in HALF else out
    window = [ins[1].shape[d] for d in numbers.rhs_spec[2:]]
    rank = len(window)
    place = np.argsort(numbers.out_spec)

    def convolve(x, w):
        x = x.transpose(numbers.lhs_spec).astype(wide, copy=False)
        w = w.transpose(numbers.rhs_spec).astype(wide, copy=False)
        if parts == 1:
            made = one(x, w)
        else:
            pairs = zip(np.split(x, parts), np.split(w, parts), strict=True)
            made = np.concatenate([one(a, b) for a, b in pairs], 1)
        return made.transpose(place).astype(out, copy=False)

    def one(x, w):
        x = _dilated(x, 0, params["padding"], params["lhs_dilation"])
        view = _windows(x, window, params["window_strides"], params["rhs_dilation"])
        # (N, C, *out, *window) -> (groups, N * out, C / groups * window)
        batch, channels, space = view.shape[0], view.shape[1], view.shape[2 : 2 + rank]
        view = view.reshape(batch, groups, channels // groups, *space, *window)
        order = (1, 0, *range(3, 3 + rank), 2, *range(3 + rank, 3 + 2 * rank))
        rows = view.transpose(order).reshape(groups, batch * prod(space), -1)
        kernel = w.reshape(groups, w.shape[0] // groups, -1).transpose(0, 2, 1)
        made = np.matmul(rows, kernel)  # (groups, N * out, O / groups)
        made = made.reshape(groups, batch, *space, -1).transpose(
            (1, 0, 2 + rank, *range(2, 2 + rank))
        )
        return made.reshape(batch, w.shape[0], *space)

    return convolve


def _reduce_window(name, ufunc, lowest):
    def build(params, ins, outs):
        d = np.dtype(ins[0].dtype)
        if d.kind == "c" or any(n != 1 for n in params["base_dilation"]) or 0 in outs[0].shape:
            raise Unsupported(name)
        value = ufunc.identity if lowest is None else edge(d, lowest)
        half = d.name in HALF and lowest is None
        rank = len(ins[0].shape)

        def reduce(x):
            x = x.astype(F32) if half else x
            x = _dilated(x[None, None], value, params["padding"], params["base_dilation"])
            view = _windows(
                x, params["window_dimensions"], params["window_strides"], params["window_dilation"]
            )
            axes = tuple(range(2 + rank, 2 + 2 * rank))
            made = ufunc.reduce(view, axes, x.dtype)
            return made[0, 0].astype(d, copy=False)

        return reduce

    BUILDERS[name] = build


_reduce_window("reduce_window_sum", np.add, None)
_reduce_window("reduce_window_max", np.maximum, True)
_reduce_window("reduce_window_min", np.minimum, False)
