"""Affine maps: linear and bilinear."""

from __future__ import annotations

from math import prod

import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.table import torch_dtype
from torchlike._ops.windows import layer


def _dot(a, b, at_a, at_b, kind=None):
    return lax.dot_general(a, b, (((at_a,), (at_b,)), ((), ())), preferred_element_type=kind)


# Up to so many features, the gradient of a weight with more outputs than inputs is computed
# transposed: 4.6% of an encoder's step. The barrier keeps XLA from turning it round again.
_NARROW = 512


def _linear_vjp(c, g):
    """Each gradient as one product in the layout of its operand, with no transpose to copy."""
    x, w = (v if v is None else v.conj() for v in c.operands[:2])
    shapes = [None if a is None else a.shape for a in c.shapes]
    rows = prod(shapes[0][:-1])
    dx = dw = db = None
    given = g
    if len(shapes[1]) == 1:
        if c.need[0]:
            dx = g[..., None] * w
        if c.need[1]:
            dw = _dot(g.reshape(rows), x.reshape(rows, shapes[0][-1]), 0, 0)
    else:
        g = g.reshape(rows, shapes[1][0])
        if c.need[0]:
            dx = _dot(g, w, 1, 0).reshape(shapes[0])
        if c.need[1]:
            x = x.reshape(rows, shapes[0][-1])
            if x.shape[1] < g.shape[1] <= _NARROW:
                dw = lax.optimization_barrier(_dot(x, g, 0, 0)).T
            else:
                dw = _dot(g, x, 0, 0)
    if c.need[2]:
        whole = g.shape[-1:] == shapes[2] and len(shapes[1]) == 2
        db = g.sum(0) if whole else _summed_to(given, shapes[2])
    return dx, dw, db


def _summed_to(g, shape):
    """A gradient summed over what a tensor of this shape was broadcast along."""
    if g.ndim < len(shape):
        g = g.reshape(*(1,) * (len(shape) - g.ndim), *g.shape)
    g = g.sum(tuple(range(g.ndim - len(shape))))
    return g.sum([i for i, n in enumerate(shape) if n != g.shape[i]], keepdims=True)


_NODES = {1: ("SqueezeBackward4", "ViewBackward0"), 2: ("MmBackward0", "AddmmBackward0")}


def _linear_node(c):
    # PyTorch has one product of matrices, and a view before and behind it for another rank.
    return _NODES.get(c.input.ndim, ("UnsafeViewBackward0", "ViewBackward0"))[c.bias is not None]


@layer(
    "linear", vjp=_linear_vjp, grad_name=_linear_node,
    needs={"input": ("weight",), "weight": ("input",), "bias": ()},
)  # fmt: skip
def linear(input, weight, bias=None):
    """input @ weight.T + bias over the last dimension."""
    if weight.ndim not in (1, 2):
        raise RuntimeError("linear(): weight must be 1-D or 2-D")
    if input.ndim == 0:
        raise RuntimeError(
            "both arguments to linear need to be at least 1D, but they are 0D and 2D"
        )
    n, lead = input.shape[-1], input.shape[:-1]
    if weight.shape[-1] != n:
        t = tuple(reversed(weight.shape))
        raise RuntimeError(
            f"mat1 and mat2 shapes cannot be multiplied ({prod(lead)}x{n} and "
            f"{'x'.join(map(str, t))})"
        )
    for other in (weight,) if bias is None else (weight, bias):
        if other.dtype != input.dtype:
            a, b = torch_dtype(input), torch_dtype(other)
            if bias is not None:
                raise RuntimeError(
                    "mat1 and mat2 must have the same dtype, but got "
                    f"{dt.SCALAR_NAMES[a]} and {dt.SCALAR_NAMES[b]}"
                )
            raise RuntimeError(
                "expected m1 and m2 to have the same dtype, but got: "
                f"{dt.C_NAMES.get(a, a.name)} != {dt.C_NAMES.get(b, b.name)}"
            )
    # Half precision is rounded once, behind the bias.
    wide = np.float32 if bias is not None and torch_dtype(input) in dt.HALF else None
    out = _dot(input.reshape(-1, n) if input.size else input.reshape(prod(lead), n),
               weight, 1, weight.ndim - 1, wide)  # fmt: skip
    if bias is not None:
        if weight.ndim == 2 and bias.ndim == 1 and bias.shape[0] not in (1, weight.shape[0]):
            raise RuntimeError(
                f"The expanded size of the tensor ({weight.shape[0]}) must match the existing size "
                f"({bias.shape[0]}) at non-singleton dimension 1.  Target sizes: "
                f"{list(out.shape)}.  Tensor sizes: {list(bias.shape)}"
            )
        if bias.ndim > 1:
            if input.ndim > 2:
                out = out.reshape((*lead, *out.shape[1:]))
            shape = jnp.broadcast_shapes(out.shape, bias.shape)
            if shape != out.shape:
                raise RuntimeError(
                    f"output with shape {list(out.shape)} doesn't match the broadcast shape "
                    f"{list(shape)}"
                )
        out = (out + bias).astype(input.dtype)
    return out.reshape((*lead, *weight.shape[:-1]))


_OTHERS = {
    "input1": ("input2", "weight"), "input2": ("input1", "weight"), "weight": ("input1", "input2"),
    "bias": (),
}  # fmt: skip


@layer(
    "bilinear", needs=_OTHERS,
    grad_name=lambda c: "ViewBackward0" if c.bias is None else "AddBackward0",
)  # fmt: skip
def bilinear(input1, input2, weight, bias=None):
    """y_k = input1 W_k input2 + b_k over the last dimensions."""
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match: got {list(input1.shape)} and "
            f"{list(input2.shape)}"
        )
    if (input1.shape[-1], input2.shape[-1]) != weight.shape[1:]:
        raise RuntimeError(
            f"bilinear(): input sizes {input1.shape[-1]} and {input2.shape[-1]} do not match "
            f"weight of size {list(weight.shape)}"
        )
    given = {"input1": input1, "input2": input2, "weight": weight, "bias": bias}
    found = {k: torch_dtype(x) for k, x in given.items() if x is not None}
    if len(set(found.values())) > 1:
        names = ", ".join(f"{k}: {dt.C_NAMES.get(d, d.name)}" for k, d in found.items())
        raise RuntimeError(f"All tensors must have the same dtype, got {names}")
    out = jnp.einsum("...i,kij,...j->...k", input1, weight, input2)
    return out if bias is None else out + bias
