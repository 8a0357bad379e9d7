"""Gather and scatter: reads and writes at places that index arrays give."""

from __future__ import annotations

import numpy as np

from torchlike._engine.primitives.registry import BUILDERS, builder


def _places(starts, shape, sizes, index_map, batch, inner_dims):
    """Index arrays (batch dimensions, then window dimensions) and whether each row is inside.

    ``batch`` pairs operand dimensions with dimensions of ``starts``; ``inner_dims`` are the operand
    dimensions that the window keeps.
    """
    lead = starts.shape[:-1]
    inside = np.ones(lead, bool)
    at = [np.zeros(lead, np.int64) for _ in shape]
    for k, d in enumerate(index_map):
        raw = starts[..., k].astype(np.int64)
        top = shape[d] - sizes[d]
        inside &= (raw >= 0) & (raw <= top)
        at[d] = np.clip(raw, 0, max(top, 0))
    for d, b in batch:
        line = np.arange(shape[d]).reshape([-1 if i == b else 1 for i in range(len(lead))])
        at[d] = np.broadcast_to(line, lead)
    extra = len(inner_dims)
    out = [a.reshape(lead + (1,) * extra) for a in at]
    for n, d in enumerate(inner_dims):
        line = np.arange(sizes[d]).reshape([-1 if i == n else 1 for i in range(extra)])
        out[d] = out[d] + line
    return tuple(out), inside


@builder("gather")
def _gather(params, ins, outs):
    numbers, sizes = params["dimension_numbers"], params["slice_sizes"]
    mode = params["mode"].name if hasattr(params["mode"], "name") else str(params["mode"])
    shape, out_shape = ins[0].shape, outs[0].shape
    batch = tuple(
        zip(numbers.operand_batching_dims, numbers.start_indices_batching_dims, strict=True)
    )
    gone = {*numbers.collapsed_slice_dims, *numbers.operand_batching_dims}
    inner = [d for d in range(len(shape)) if d not in gone]
    index_map = numbers.start_index_map
    lead = len(ins[1].shape) - 1
    offsets = numbers.offset_dims
    rest = [d for d in range(len(out_shape)) if d not in offsets]
    order = [0] * len(out_shape)
    for n, d in enumerate(rest):
        order[d] = n
    for n, d in enumerate(offsets):
        order[d] = lead + n
    plain = order == list(range(len(order)))
    dtype = np.dtype(outs[0].dtype)
    fill = params["fill_value"]
    if fill is None:
        fill = np.nan if dtype.kind in "fcV" else False if dtype.kind == "b" else (
            np.iinfo(dtype).min if dtype.kind == "i" else np.iinfo(dtype).max
        )  # fmt: skip
    filling = mode == "FILL_OR_DROP"
    # Rows of one dimension: what an embedding or x[index] is; np.take does it in one call.
    rows = (
        len(index_map) == 1 and not batch and numbers.collapsed_slice_dims == index_map
        and all(sizes[d] == shape[d] for d in inner) and sizes[index_map[0]] == 1
    )  # fmt: skip

    def gather(x, starts):
        if rows and shape[index_map[0]] and not filling:
            d = index_map[0]
            out = np.take(x, starts[..., 0], axis=d, mode="clip")
            out = np.moveaxis(out, list(range(d, d + lead)), list(range(lead))) if d else out
            return out if plain else out.transpose(order)
        if 0 in out_shape:
            return np.zeros(out_shape, x.dtype)
        at, inside = _places(starts, shape, sizes, index_map, batch, inner)
        if filling and not inside.all():
            if not x.size:
                return np.full(out_shape, fill, dtype)
            out = np.array(x[at])
            out[~inside] = fill
        else:
            out = x[at]
        return out if plain else out.transpose(order)

    return gather


_SCATTERS = {
    "scatter": None, "scatter-add": np.add, "scatter_add": np.add, "scatter-sub": np.subtract,
    "scatter_sub": np.subtract, "scatter-mul": np.multiply, "scatter_mul": np.multiply,
    "scatter-min": np.minimum, "scatter_min": np.minimum, "scatter-max": np.maximum,
    "scatter_max": np.maximum,
}  # fmt: skip


def _scatter_with(ufunc):
    def build(params, ins, outs):
        numbers, shape = params["dimension_numbers"], ins[0].shape
        mode = params["mode"].name if hasattr(params["mode"], "name") else str(params["mode"])
        batch = tuple(
            zip(numbers.operand_batching_dims, numbers.scatter_indices_batching_dims, strict=True)
        )
        gone = {*numbers.inserted_window_dims, *numbers.operand_batching_dims}
        inner = [d for d in range(len(shape)) if d not in gone]
        window = numbers.update_window_dims
        sizes = [1] * len(shape)
        for d, w in zip(inner, window, strict=True):
            sizes[d] = ins[2].shape[w]
        order = [d for d in range(len(ins[2].shape)) if d not in window] + list(window)

        def scatter(x, starts, updates):
            out = x.copy()
            if not updates.size or not out.size:
                return out
            at, inside = _places(
                starts, shape, sizes, numbers.scatter_dims_to_operand_dims, batch, inner
            )
            updates = updates.transpose(order)
            if mode != "CLIP" and not inside.all():
                at = tuple(np.broadcast_to(a, updates.shape)[inside] for a in at)
                updates = updates[inside]
            if ufunc is None:
                out[at] = updates
            else:
                ufunc.at(out, at, updates)
            return out

        return scatter

    return build


for _name, _ufunc in _SCATTERS.items():
    BUILDERS[_name] = _scatter_with(_ufunc)
