"""Rules that move, pick and join the elements of sparse tensors."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.sparse.conversion import converted
from torchlike._tensor.sparse.parts import (
    Compressed,
    build,
    coalesced,
    coo,
    derived,
    is_coo,
    named,
    parts_of,
    values_of,
)
from torchlike._tensor.sparse.rules import rule


def wrapped(dim, n):
    """A dimension counted from the front; raises PyTorch's ``IndexError`` if out of range."""
    if not -max(n, 1) <= dim < max(n, 1):
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim % n if n else 0


def joined(tensors, dim=0):
    """Dense tensors one after the other."""
    return apply(TABLE["cat"], tuple(tensors), (dim,))


# ---- other views of the same elements ----------------------------------------------------------


@rule("permute")
def permute(x, dims):
    """The sparse dimensions in another order; rows and columns of a compressed tensor exchanged."""
    dims = tuple(dims)
    back = tuple(np.argsort(dims).tolist())
    name = "PermuteBackward0" if dims == back == tuple(range(x.ndim)) else "TransposeBackward0"
    return derived(name, lambda x: _permuted(x, dims), lambda grad, needs: grad.permute(back), x)


def _permuted(x, dims):
    pattern, n = parts_of(x), x.ndim
    size = tuple(pattern.size[d] for d in dims)
    if dims == tuple(range(n)):
        return build(pattern, values_of(x))
    if pattern.__class__ is Compressed:
        return _permuted_compressed(x, pattern, dims)
    k = pattern.sparse_dim
    if sorted(dims[:k]) != list(range(k)):
        if n == 2:
            raise RuntimeError(
                f"t() expects a tensor with <= 2 sparse and 0 dense dimensions, but got {k} sparse "
                f"and {n - k} dense dimensions"
            )
        raise RuntimeError(
            "transpose(): sparse and dense dimensions of a sparse tensor cannot be exchanged"
        )
    values = values_of(x)
    if dims[k:] != tuple(range(k, n)):
        values = values.permute((0, *(d - k + 1 for d in dims[k:])))
    return coo(pattern.coordinates()[list(dims[:k])], values, size, False)


_TURNED = {
    "sparse_csr": layouts.sparse_csc, "sparse_csc": layouts.sparse_csr,
    "sparse_bsr": layouts.sparse_bsc, "sparse_bsc": layouts.sparse_bsr,
}  # fmt: skip


def _permuted_compressed(x, pattern, dims):
    """Batches in another order, rows and columns exchanged."""
    n, lead = x.ndim, len(pattern.batch)
    front, rest = dims[:lead], dims[lead:]
    turned = rest == (lead + 1, lead, *range(lead + 2, n))
    if sorted(front) != list(range(lead)) or not (turned or rest == tuple(range(lead, n))):
        moved = [d for i, d in enumerate(dims) if i != d]
        kinds = ["Batch"] * lead + ["Sparse"] * 2 + ["Dense"] * (n - lead - 2)
        raise RuntimeError(
            "transpose(): can only transpose dimensions of the same type (Batch, Sparse, Dense), "
            "got " + " and ".join(f"{d}({kinds[d]})" for d in sorted(moved))
        )
    compressed, plain, values = pattern.compressed, pattern.plain, values_of(x)
    if front != tuple(range(lead)):
        compressed, plain = compressed.permute((*front, lead)), plain.permute((*front, lead))
        values = values.permute((*front, *range(lead, values.ndim)))
    layout, block = pattern.layout, pattern.block
    if turned:
        layout = _TURNED[layout._name]
        if block:
            block, values = block[::-1], values.transpose(lead + 1, lead + 2)
    size = tuple(pattern.size[d] for d in dims)
    return build(Compressed(layout, compressed, plain, values.detach(), size, block), values)


# ---- slices: the gradient of one is put back where it was cut out ------------------------------


def placed(grad, dim: int, at: np.ndarray, size):
    """Zeros of a size, to which the slices of a tensor are added at places along a dimension."""
    if not grad._sparse:
        return grad.new_zeros(size).index_add(dim, from_host(at, grad.device), grad)
    x = converted(grad, layouts.sparse_coo)
    pattern, values = parts_of(x), values_of(x)
    k, found = pattern.sparse_dim, pattern.coordinates()
    if dim >= k:
        inner = (values.shape[0], *size[k:])
        return coo(found, placed(values, dim - k + 1, at, inner), size, pattern.coalesced)
    found = found.copy()
    found[dim] = at[found[dim]]
    return converted(coalesced(coo(found, values, size, False)), grad.layout)


def _cut(name, run, x, dim, at):
    """A slice of a tensor, ``run(x)``: of the places ``at`` along a dimension, a number or many."""
    size = tuple(x.shape)

    def formula(grad, needs):
        return placed(grad if np.ndim(at) else grad.unsqueeze(dim), dim, np.atleast_1d(at), size)

    return derived(name, run, formula, x)


@rule("unsqueeze")
def unsqueeze(x, dim):
    """A dimension of size one put in: sparse, or dense if it comes after dense ones."""
    if not is_coo(x):
        return None
    return derived(
        "UnsqueezeBackward0", lambda x: _unsqueezed(x, dim),
        lambda grad, needs: grad.select(dim, 0), x,
    )  # fmt: skip


def _unsqueezed(x, dim):
    pattern, values = parts_of(x), values_of(x)
    size = (*pattern.size[:dim], 1, *pattern.size[dim:])
    k = pattern.sparse_dim
    if dim > k:
        return coo(pattern.coordinates(), values.unsqueeze(dim - k + 1), size, pattern.coalesced)
    found = np.insert(pattern.coordinates(), dim, 0, axis=0)
    return coo(found, values, size, False)


def select(x, dim: int, index: int):
    """One slice along a dimension, dense if it was the only sparse one."""
    pattern = parts_of(x)
    if pattern.__class__ is Compressed and dim < len(pattern.batch):  # one matrix of a batch
        values = values_of(x).select(dim, index)
        parts = (pattern.compressed.select(dim, index), pattern.plain.select(dim, index))
        size = (*pattern.size[:dim], *pattern.size[dim + 1 :])
        return build(
            Compressed(pattern.layout, *parts, values.detach(), size, pattern.block), values
        )
    if pattern.__class__ is Compressed and dim >= len(pattern.batch) + 2:
        return _cut("SelectBackward0", lambda x: _inner(x, dim, index), x, dim, index)
    ordered = not is_coo(x)
    if ordered:
        x = converted(x, layouts.sparse_coo)
    return _cut("SelectBackward0", lambda x: _selected(x, dim, index, ordered), x, dim, index)


def _inner(x, dim, index):
    """One slice along a dense dimension of a compressed tensor, which stays what it is."""
    pattern, size = parts_of(x), (*x.shape[:dim], *x.shape[dim + 1 :])
    values = values_of(x).select(dim - x.ndim, index)
    return build(
        Compressed(
            pattern.layout, pattern.compressed, pattern.plain, values.detach(), size,
            pattern.block, pattern.cache,
        ),
        values,
    )  # fmt: skip


def _selected(x, dim, index, ordered):
    pattern, values = parts_of(x), values_of(x)
    size, k = (*pattern.size[:dim], *pattern.size[dim + 1 :]), pattern.sparse_dim
    if dim >= k:
        return coo(
            pattern.coordinates(), values.select(dim - k + 1, index), size, pattern.coalesced
        )
    found = pattern.coordinates()
    at = np.flatnonzero(found[dim] == index)
    values = values[from_host(at, x.device)]
    if k == 1:
        return values.sum(0).to(x.dtype)
    return coo(np.delete(found, dim, axis=0)[:, at], values, size, ordered)


def narrow(x, dim: int, start: int, length: int, step: int = 1):
    """Slices along a dimension."""
    if not is_coo(x):
        return None
    if length == x.shape[dim]:
        return x
    at = np.arange(start, start + length * step, step)
    return _cut("SliceBackward0", lambda x: _narrowed(x, dim, start, length, step), x, dim, at)


def _narrowed(x, dim, start, length, step):
    pattern, values = parts_of(x), values_of(x)
    size, k = (*pattern.size[:dim], length, *pattern.size[dim + 1 :]), pattern.sparse_dim
    found = pattern.coordinates()
    if dim >= k:
        at = dim - k + 1
        take = (slice(None),) * at
        return coo(found, values[(*take, slice(start, start + length * step, step))], size,
                   pattern.coalesced)  # fmt: skip
    place = found[dim] - start
    at = np.flatnonzero((place >= 0) & (place < length * step) & (place % step == 0))
    found = found[:, at]
    found[dim] = place[at] // step
    return coo(found, values[from_host(at, x.device)], size, pattern.coalesced)


@rule("index_basic")
def index_basic(x, *rest):
    """Integers, slices, ``None`` and whole dimensions."""
    *numbers, spec = rest
    numbers = iter(numbers)
    dim = 0
    for item in spec:
        kind = item[0]
        if kind == "new":
            x, dim = unsqueeze(x, dim), dim + 1
        elif kind == "all":
            dim += 1
        elif kind == "int":
            index = next(numbers)
            x = select(x, dim, index) if x._sparse else x.select(dim, index)
        elif kind == "at":
            return None
        else:
            _, length, step = item
            start = next(numbers)
            if x._sparse:
                x = narrow(x, dim, start, length, step)
            else:
                at = (slice(None),) * dim
                x = x[(*at, slice(start, start + length * step, step))]
            dim += 1
        if x is None:
            return None
    return x


@rule("unbind")
def unbind(x, dim):
    """The slices along a dimension."""
    return tuple([select(x, dim, i) for i in range(x.shape[dim])])


@rule("index_select_dim")
def index_select(x, index, dim, checked):
    """The slices that an index names, in its order."""
    if not x._sparse or not is_coo(x):
        return None
    host = index._host().reshape(-1)
    at = host % max(x.shape[dim], 1)
    return _cut("IndexSelectBackward0", lambda x: _picked(x, index, dim, host), x, dim, at)


def _picked(x, index, dim, host):
    pattern, values = parts_of(x), values_of(x)
    k = pattern.sparse_dim
    if dim >= k:
        return coo(
            pattern.coordinates(), values.index_select(dim - k + 1, index),
            (*pattern.size[:dim], len(host), *pattern.size[dim + 1 :]), pattern.coalesced,
        )  # fmt: skip
    n = pattern.size[dim]
    for i in host:
        if not -n <= i < n:
            raise IndexError(
                f"index_select(): index contains {i} that is out of range for tensor of size "
                f"{list(pattern.size)} at dimension {dim}"
            )
    found = pattern.coordinates()
    order = np.argsort(found[dim], kind="stable")
    starts = np.searchsorted(found[dim][order], np.arange(n + 1))
    host = host % max(n, 1)
    counts = np.diff(starts)[host]
    ends = counts.cumsum()
    within = np.arange(int(counts.sum())) - np.repeat(ends - counts, counts)
    take = order[np.repeat(starts[host], counts) + within]
    new = found[:, take]
    new[dim] = np.repeat(np.arange(len(host)), counts)
    size = (*pattern.size[:dim], len(host), *pattern.size[dim + 1 :])
    return coo(new, values[from_host(take, x.device)], size, False)


@rule("embedding")
def embedding(weight, input, padding_idx, scale_grad_by_freq, checked):
    """Rows of a sparse table by a vector of numbers."""
    return index_select(weight, input, 0, checked) if input.ndim == 1 else None


@rule("cat")
def cat(*args):
    """COO tensors one after the other along a dimension."""
    *tensors, dim = args
    for i, x in enumerate(tensors):
        if not x._sparse:
            raise RuntimeError(
                f"Concatenating sparse tensors, but a dense tensor was found at position {i}."
            )
        if not is_coo(x):
            return None
    first = parts_of(tensors[0])
    n = len(first.size)
    dim = wrapped(dim, n)
    for i, x in enumerate(tensors):
        p = parts_of(x)
        if p.sparse_dim != first.sparse_dim:
            raise RuntimeError(
                "All tensors must have the same number of sparse and dense dimensions: "
                f"{first.sparse_dim}, {n - first.sparse_dim}, but tensor at position {i} has "
                f"{p.sparse_dim}, {len(p.dense)}."
            )
        if p.size[:dim] != first.size[:dim] or p.size[dim + 1 :] != first.size[dim + 1 :]:
            raise RuntimeError(
                f"All tensors must have the same shape: {list(first.size)} (except in the "
                f"concatenating dimension), but found shape: {list(p.size)} at position {i}."
            )
    ends = np.cumsum([x.shape[dim] for x in tensors]).tolist()

    def formula(grad, needs):
        return tuple(
            [
                grad.narrow_copy(dim, end - x.shape[dim], x.shape[dim]) if need else None
                for x, end, need in zip(tensors, ends, needs, strict=True)
            ]
        )

    return derived("CatBackward0", lambda *tensors: _joined(tensors, dim), formula, *tensors)


def _joined(tensors, dim):
    first, kind = parts_of(tensors[0]), tensors[0].dtype
    for x in tensors:
        kind = dt.promote_types(kind, x.dtype)
    size = list(first.size)
    size[dim] = sum(x.shape[dim] for x in tensors)
    k, found, values, offset = first.sparse_dim, [], [], 0
    for x in tensors:
        here, v = parts_of(x).coordinates().copy(), values_of(x).to(kind)
        if dim < k:
            here[dim] += offset
        else:
            inner, at = list(v.shape), dim - k + 1
            inner[at] = offset
            after = list(v.shape)
            after[at] = size[dim] - offset - v.shape[at]
            v = joined([v.new_zeros(inner), v, v.new_zeros(after)], at)
        offset += x.shape[dim]
        found.append(here)
        values.append(v)
    return coo(np.concatenate(found, axis=1), joined(values), size, False)


@rule("stack")
def stack(*args):
    """COO tensors along a new dimension."""
    *tensors, dim = args
    if any(not x._sparse or not is_coo(x) for x in tensors):
        return None
    dim = wrapped(dim, tensors[0].ndim + 1)
    return named(cat(*[unsqueeze(x, dim) for x in tensors], dim), "StackBackward0")
