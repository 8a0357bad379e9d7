"""Moves: primitives that shape, slice, join or fill arrays and compute nothing."""

from __future__ import annotations

import numpy as np

from torchlike._engine.primitives.registry import Unsupported, builder


@builder("broadcast_in_dim")
def _broadcast(params, ins, outs):
    shape, dims = tuple(params["shape"]), params["broadcast_dimensions"]
    middle = [1] * len(shape)
    for d, n in zip(dims, ins[0].shape, strict=True):
        middle[d] = n
    middle = tuple(middle)
    if middle == shape:
        return lambda x: x.reshape(shape)
    return lambda x: np.broadcast_to(x.reshape(middle), shape)


@builder("reshape", "squeeze", "expand_dims")
def _reshape(params, ins, outs):
    shape = outs[0].shape
    order = params.get("dimensions") if "new_sizes" in params else None
    if order is not None:
        return lambda x: x.transpose(order).reshape(shape)
    return lambda x: x.reshape(shape)


@builder("transpose")
def _transpose(params, ins, outs):
    order = params["permutation"]
    return lambda x: x.transpose(order)


@builder("rev")
def _rev(params, ins, outs):
    at = [slice(None)] * len(outs[0].shape)
    for d in params["dimensions"]:
        at[d] = slice(None, None, -1)
    at = tuple(at)
    return lambda x: x[at]


@builder("stack")
def _stack(params, ins, outs):
    axis = params["axis"]
    return lambda *xs: np.stack(xs, axis)


@builder("unstack")
def _unstack(params, ins, outs):
    axis = params["axis"]
    return lambda x: list(np.moveaxis(x, axis, 0))


@builder("platform_index")
def _platform_index(params, ins, outs):
    for i, names in enumerate(params["platforms"]):
        if names is None or "cpu" in names:
            index = np.int32(i)
            return lambda: index
    raise Unsupported("platform_index")


@builder("tile")
def _tile(params, ins, outs):
    reps = params["reps"]
    return lambda x: np.tile(x, reps)


@builder("concatenate")
def _concatenate(params, ins, outs):
    axis = params["dimension"]
    return lambda *xs: np.concatenate(xs, axis)


@builder("slice")
def _slice(params, ins, outs):
    steps = params["strides"] or [1] * len(params["start_indices"])
    ranges = zip(params["start_indices"], params["limit_indices"], steps, strict=True)
    at = (*[slice(a, b, s) for a, b, s in ranges], ...)
    return lambda x: x[at]


@builder("split")
def _split(params, ins, outs):
    axis = params["axis"]
    ends = np.cumsum(params["sizes"])[:-1].tolist()
    return lambda x: np.split(x, ends, axis)


@builder("iota")
def _iota(params, ins, outs):
    shape, d, at = params["shape"], np.dtype(params["dtype"]), params["dimension"]
    line = np.arange(shape[at]).astype(d).reshape([-1 if i == at else 1 for i in range(len(shape))])
    made = np.broadcast_to(line, shape)
    return lambda: made


@builder("pad")
def _pad(params, ins, outs):
    config, shape = params["padding_config"], outs[0].shape
    if any(inner < 0 for _, _, inner in config):
        raise Unsupported("pad")
    put, take = [], []
    for (low, _, inner), n, size in zip(config, ins[0].shape, shape, strict=True):
        step = inner + 1
        first = max(0, -(low // step)) if low < 0 else 0  # the first element that stays
        last = min(n, max(0, (size - 1 - low) // step + 1)) if size else 0
        last = max(first, last)
        take.append(slice(first, last))
        start = low + first * step
        put.append(slice(start, start + max(0, (last - first - 1) * step + 1), step)
                   if last > first else slice(0, 0))  # fmt: skip
    put, take = (*put, ...), (*take, ...)

    def pad(x, value):
        out = np.empty(shape, x.dtype)
        out[...] = value
        out[put] = x[take]
        return out

    return pad


@builder("empty", "empty2")
def _empty(params, ins, outs):
    shape, d = outs[0].shape, np.dtype(outs[0].dtype)
    return lambda *_: np.zeros(shape, d)


def _window_at(starts, shape, sizes):
    at = []
    for start, n, size in zip(starts, shape, sizes, strict=True):
        start = min(max(int(start), 0), n - size)
        at.append(slice(start, start + size))
    return (*at, ...)


@builder("dynamic_slice")
def _dynamic_slice(params, ins, outs):
    shape, sizes = ins[0].shape, params["slice_sizes"]
    return lambda x, *starts: x[_window_at(starts, shape, sizes)]


@builder("dynamic_update_slice")
def _dynamic_update_slice(params, ins, outs):
    shape, sizes = ins[0].shape, ins[1].shape

    def update(x, new, *starts):
        out = x.copy()
        out[_window_at(starts, shape, sizes)] = new
        return out

    return update


@builder("optimization_barrier", "device_put")
def _identity(params, ins, outs):
    if len(outs) == 1:
        return lambda x: x
    return lambda *xs: xs
