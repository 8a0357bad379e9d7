"""Reductions over dimensions, and cumulative ones."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._engine.primitives.registry import BUILDERS, F32, HALF, Unsupported


def edge(dtype, lowest):
    """The lowest number of a dtype, or its highest: what max and min of nothing start from."""
    if dtype.kind == "b":
        return not lowest
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return info.min if lowest else info.max
    return -np.inf if lowest else np.inf


def _reduction(name, ufunc, initial=None, refuse=""):
    def build(params, ins, outs):
        axes, d = tuple(params["axes"]), np.dtype(ins[0].dtype)
        if d.kind in refuse:
            raise Unsupported(name)
        reduce = ufunc.reduce
        if not axes:
            return lambda x: x
        if prod(ins[0].shape) == 0:
            out = np.dtype(outs[0].dtype)
            empty = initial(d) if initial is not None else ufunc.identity
            return lambda x: np.full(outs[0].shape, empty, out)
        if initial is not None:
            return lambda x: reduce(x, axes)
        if d.name in HALF:
            return lambda x: reduce(x.astype(F32), axes).astype(d)
        return lambda x: reduce(x, axes, d)

    BUILDERS[name] = build


_reduction("reduce_sum", np.add)
_reduction("reduce_prod", np.multiply)
_reduction("reduce_max", np.maximum, lambda d: edge(d, True), "c")
_reduction("reduce_min", np.minimum, lambda d: edge(d, False), "c")
_reduction("reduce_and", np.bitwise_and, lambda d: True if d.kind == "b" else -1)
_reduction("reduce_or", np.bitwise_or)
_reduction("reduce_xor", np.bitwise_xor)


def _arg(fn):
    def build(params, ins, outs):
        (axis,), out = params["axes"], np.dtype(params["index_dtype"])
        if not ins[0].shape[axis] or np.dtype(ins[0].dtype).kind == "V":
            raise Unsupported("argmax")
        return lambda x: fn(x, axis).astype(out)

    return build


BUILDERS["argmax"], BUILDERS["argmin"] = _arg(np.argmax), _arg(np.argmin)


def _cumulative(name, ufunc, keep=True):
    def build(params, ins, outs):
        axis, d = params["axis"], np.dtype(ins[0].dtype)
        back = [slice(None)] * len(ins[0].shape)
        back[axis] = slice(None, None, -1)
        back = tuple(back)
        wide = F32 if d.name in HALF else d

        def scan(x):
            x = x.astype(wide, copy=False)
            if params["reverse"]:
                x = x[back]
            out = ufunc.accumulate(x, axis, wide) if keep else ufunc.accumulate(x, axis)
            if params["reverse"]:
                out = out[back]
            return out.astype(d, copy=False)

        return scan

    BUILDERS[name] = build


_cumulative("cumsum", np.add)
_cumulative("cumprod", np.multiply)
_cumulative("cummax", np.maximum, keep=False)
_cumulative("cummin", np.minimum, keep=False)
_cumulative("cumlogsumexp", np.logaddexp, keep=False)
