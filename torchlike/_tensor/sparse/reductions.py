"""Sums, norms and softmax of sparse tensors."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.function import Function
from torchlike._tensor.modes import no_grad
from torchlike._tensor.sparse import parts
from torchlike._tensor.sparse.conversion import converted
from torchlike._tensor.sparse.parts import (
    build,
    coalesced,
    coo,
    flat_values,
    is_coo,
    keys_of,
    named,
    parts_of,
    summed,
    values_of,
)
from torchlike._tensor.sparse.rules import rule
from torchlike._tensor.sparse.slices import wrapped

# ---- reductions --------------------------------------------------------------------------------


class _Total(Function):
    """The sum of all elements; its gradient is dense, as PyTorch's is."""

    @staticmethod
    def forward(ctx, x, dtype):
        ctx.size = x.shape
        return flat_values(x).sum(dtype=dtype)

    @staticmethod
    def backward(ctx, grad):
        return grad.expand(ctx.size).clone(), None


@rule("sum")
def total(x, dim=None, keepdim=False, dtype=None):
    """The sum of all elements, dense; along dimensions, sparse."""
    n = x.ndim
    if dim is not None and not isinstance(dim, int) and not len(dim) and is_coo(x) and not keepdim:
        return summed_along(x, [], dtype=dtype)  # as PyTorch: of dense tensors it is all of them
    dims = range(n) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    dims = unique([wrapped(d, n) for d in dims])
    if len(dims) == n and (is_coo(x) or not keepdim):
        out = named(_Total.apply(x, dtype), "SumBackward0" if dim is None else "SumBackward1")
        return out.reshape((1,) * n) if keepdim else out
    if not is_coo(x):
        if not keepdim:
            raise RuntimeError(
                "reduction operations on CSR tensors with keepdim=False is unsupported"
            )
        return converted(total(converted(x, layouts.sparse_coo), dim, True, dtype), x.layout)
    out = summed_along(x, dims, dtype)
    for d in dims if keepdim else ():
        out = out.unsqueeze(d)
    return named(out, "SumBackward1")


def unique(dims):
    """The dimensions in order; raises PyTorch's error where one comes twice."""
    for i, d in enumerate(dims):
        if d in dims[:i]:
            raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return sorted(dims)


def summed_along(x, dims, dtype=None, widens=True):
    """The sum of a COO tensor along some dimensions: a dense tensor if no sparse one is left.

    widens: whether sums of integers are int64.
    """
    if dtype is None and x.dtype.category < dt.FLOATING and widens:
        dtype = dt.int64
    x = x if dtype is None else x.to(dtype)
    x = x if dims else coalesced(x)
    pattern, values = parts_of(x), values_of(x)
    k = pattern.sparse_dim
    inner = [d - k + 1 for d in dims if d >= k]
    if inner:
        values = values.sum(tuple(inner))
    kept = [d for d in range(k) if d not in dims]
    size = [n for d, n in enumerate(pattern.size) if d not in dims]
    if not kept:
        return values.sum(0)
    found = pattern.coordinates()
    if len(kept) == k:
        return coo(found, values, size, pattern.coalesced)
    return coalesced(coo(found[kept], values, size, False))


@rule("norm")
def norm(x, p=2, dim=None, keepdim=False, dtype=None):
    """The norm of all elements."""
    if dim is not None and dim != () and len(set(np.atleast_1d(dim))) < x.ndim:
        raise RuntimeError(
            "norm_sparse currently only supports full reductions, so 'dim' must either be empty "
            "or contain all dimensions of the input"
        )
    if keepdim:
        raise RuntimeError("norm_sparse currently does not support keepdim=True")
    if dtype is not None:
        raise RuntimeError("norm_sparse currently does not support 'dtype' argument")
    values = flat_values(coalesced(x))
    return apply(TABLE["norm"], (values,), (p, None, False, None))


@rule("any")
def any_of(x, dim=None, keepdim=False):
    """Whether any element is not zero."""
    return None if dim is not None else values_of(coalesced(x)).any()


# ---- softmax -----------------------------------------------------------------------------------


def softmax(x, dim: int, dtype=None, log: bool = False):
    """Softmax along a dimension of a COO tensor, where what is not specified counts as -inf."""
    parts.need_coo("softmax", x)
    x = coalesced(x)
    pattern, values = parts_of(x), values_of(x)
    if dtype is not None:
        values = values.to(dtype)
    if values.dtype.category < dt.FLOATING:
        raise parts.refuse("_sparse_softmax", (x,))
    dim, k = wrapped(dim, x.ndim), pattern.sparse_dim
    name = "SparseLogSoftmaxBackward0" if log else "SparseSoftmaxBackward0"
    if dim >= k:
        along = values.log_softmax if log else values.softmax
        return build(pattern, along(dim - k + 1), name)
    found = pattern.coordinates()
    others = [d for d in range(k) if d != dim]
    keys = keys_of(found[others], [pattern.size[d] for d in others])
    _, group = np.unique(keys, return_inverse=True)
    group = group.reshape(-1)
    count = int(group.max()) + 1 if len(group) else 0
    index = from_host(group, x.device)
    if not count:
        return build(pattern, values, name)
    with no_grad():
        low = values.new_full((count, *values.shape[1:]), -np.inf)
        every = index.reshape(-1, *[1] * (values.ndim - 1)).expand(values.shape)
        high = low.scatter_reduce(0, every, values.detach(), "amax")
        high = high.where(high.isfinite(), 0.0)
    shifted = values - high[index]
    powers = shifted.exp()
    totals = summed(powers, group, count)
    out = shifted - totals.log()[index] if log else powers / totals[index]
    return build(pattern, out, name)
