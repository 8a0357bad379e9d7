"""Order: comparisons in XLA's total order, sort and top_k."""

from __future__ import annotations

import numpy as np

from torchlike._engine.primitives.elementwise import elementwise
from torchlike._engine.primitives.registry import F32, Unsupported, builder


def _ranks(x):
    """Integers in XLA's total order of the elements: -nan, -inf, ..., -0, 0, ..., inf, nan."""
    if x.dtype.kind not in "fV":
        return x
    width = x.dtype.itemsize
    bits = np.asarray(x).view(f"i{width}")
    return np.where(bits < 0, bits ^ np.iinfo(bits.dtype).max, bits)


for _name, _fn in {"lt_to": np.less, "le_to": np.less_equal}.items():
    elementwise(_name, lambda x, y, fn=_fn: fn(_ranks(x), _ranks(y)), half=False, refuse="c")


@builder("sort")
def _sort(params, ins, outs):
    axis, keys = params["dimension"], params["num_keys"]
    kinds = [np.dtype(a.dtype) for a in ins[:keys]]
    if any(d.kind == "c" for d in kinds):
        raise Unsupported("sort")

    def key(x):
        return x.astype(F32) if x.dtype.kind == "V" else x

    def sort(*xs):
        if len(xs) == 1:
            return [np.sort(key(xs[0]), axis, "stable").astype(xs[0].dtype, copy=False)]
        if keys == 1:
            order = np.argsort(key(xs[0]), axis, "stable")
        else:
            order = np.lexsort([key(x) for x in reversed(xs[:keys])], axis)
        return [np.take_along_axis(x, order, axis) for x in xs]

    return sort if len(outs) > 1 else lambda x: sort(x)[0]


@builder("top_k")
def _top_k(params, ins, outs):
    k, axis = params["k"], params.get("axis", -1) % max(1, len(ins[0].shape))
    if np.dtype(ins[0].dtype).kind == "c":
        raise Unsupported("top_k")
    n = ins[0].shape[axis]
    back = tuple(slice(None, None, -1) if d == axis else slice(None) for d in range(axis + 1))
    first = tuple(slice(0, k) if d == axis else slice(None) for d in range(axis + 1))
    index = np.dtype(outs[1].dtype)

    def top(x):
        # Sorted from behind, so that equal elements come in the order of their places.
        order = (n - 1 - np.argsort(_ranks(x)[back], axis, "stable"))[back][first]
        return [np.take_along_axis(x, order, axis), order.astype(index)]

    return top
