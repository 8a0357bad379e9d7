"""NumPy twins of derivatives that would be traced anew for each count of rows: of what is routed
to an expert, of what a mask keeps."""

from __future__ import annotations

from itertools import accumulate, pairwise
from math import prod

import numpy as np

from torchlike._engine.inference import shape_rules
from torchlike._engine.twins import REAL, twin_of
from torchlike._ops.derivatives import Spec


def _forward(name: str, statics: tuple):
    """The description of a forward call that its shape rule says is valid, else None."""
    (spec,) = statics
    if spec.__class__ is not Spec:
        return None
    return spec if shape_rules[name](spec.statics, spec.avals) is not None else None


@twin_of("cat_backward")
def _cat_backward(statics, in_avals, avals):
    spec = _forward("cat", statics)
    if spec is None or any(a is not None for a in in_avals[:-1]):
        return None
    dim = spec.statics[0] % spec.avals[0].ndim
    bounds = pairwise(accumulate([a.shape[dim] for a in spec.avals], initial=0))
    parts = [(*[slice(None)] * dim, slice(*at))
             for at, need in zip(bounds, spec.need, strict=True) if need]  # fmt: skip
    return lambda g: [g[part] for part in parts]


@twin_of("linear_backward")
def _linear_backward(statics, in_avals, avals):
    spec = _forward("linear", statics)
    if spec is None or len(in_avals) != 4 or any(a.dtype not in REAL for a in avals):
        return None
    x, w, b, g = in_avals
    want_x, want_w, want_b = spec.need
    if b is not None or g is None or (w is None) is want_x or (x is None) is want_w:
        return None
    shape, rows, width = spec.avals[0].shape, prod(g.shape[:-1]), g.shape[-1]

    def linear_backward(*saved):
        g = saved[-1].reshape(rows, width)
        out = []
        if want_x:
            out.append(np.matmul(g, saved[-2]).reshape(shape))
        if want_w:
            out.append(np.matmul(g.T, saved[0].reshape(rows, shape[-1])))
        if want_b:
            out.append(np.add.reduce(g, 0))
        return out

    return linear_backward
