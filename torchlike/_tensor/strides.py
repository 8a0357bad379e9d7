"""Strides: how they follow from a shape, and how each view op changes them."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._engine.values import Batched


def contiguous_strides(shape) -> tuple:
    """Row-major strides in elements, as PyTorch gives them."""
    strides, step = [], 1
    for n in reversed(shape):
        strides.append(step)
        step *= max(n, 1)
    return tuple(reversed(strides))


def is_contiguous(shape, strides) -> bool:
    """Whether these strides are row-major, ignoring dimensions of size one."""
    if 0 in shape:
        return True
    step = 1
    for n, s in zip(reversed(shape), reversed(strides), strict=True):
        if n != 1:
            if s != step:
                return False
            step *= n
    return True


def repeats(shape, strides) -> bool:
    """Whether two elements have one offset, by looking at all of them."""
    offsets = np.zeros((), np.int64)
    for n, s in zip(shape, strides, strict=True):
        offsets = offsets[..., None] + np.arange(n) * s
    return np.unique(offsets).size < offsets.size


# ---- of views ----------------------------------------------------------------------------------


def view_strides(shape, strides, target):
    """Strides of a view of another shape without a copy, or None if there are none."""
    if shape == target:
        return strides
    if prod(shape) == 0:
        return contiguous_strides(target)
    if not shape:
        return (1,) * len(target)
    # From the last dimension on: a run of old dimensions that lie as one must be cut exactly into
    # new ones. A new dimension of size one takes the stride of the run it ends.
    out, at = [0] * len(target), len(target) - 1
    old = new = 1
    step = strides[-1]
    for d in reversed(range(len(shape))):
        old *= shape[d]
        if d and (shape[d - 1] == 1 or strides[d - 1] == old * step):
            continue
        while at >= 0 and (new < old or target[at] == 1):
            out[at] = new * step
            new *= target[at]
            at -= 1
        if new != old:
            return None
        if d:
            step, old, new = strides[d - 1], 1, 1
    return tuple(out) if at < 0 else None


def _reshape(shape, strides, offset, numbers, statics, part):
    target = statics[0]
    found = view_strides(shape, strides, target)
    return target, found if found is not None else contiguous_strides(target), offset


def _permute(shape, strides, offset, numbers, statics, part):
    dims = statics[0]
    return tuple(shape[d] for d in dims), tuple(strides[d] for d in dims), offset


def _place(number, n: int) -> int:
    """Where an index points; in a batch each sample has another, so that there is no offset."""
    return 0 if number._value.array.__class__ is Batched else int(number) % n


def _index(shape, strides, offset, numbers, statics, part):
    numbers = iter(numbers)
    new_shape, new_strides, dim = [], [], 0
    for item in statics[0]:
        kind = item[0]
        if kind == "new":
            new_shape.append(1)
            new_strides.append(strides[dim] * shape[dim] if dim < len(shape) else 1)
            continue
        n, s = shape[dim], strides[dim]
        dim += 1
        if kind == "int":
            offset += next(numbers) * s
        elif kind == "at":
            offset += _place(next(numbers), n) * s
        elif kind == "all":
            new_shape.append(n)
            new_strides.append(s)
        else:
            _, size, step = item
            offset += next(numbers) * s
            new_shape.append(size)
            new_strides.append(s * step)
    return tuple(new_shape), tuple(new_strides), offset


def _unsqueeze(shape, strides, offset, numbers, statics, part):
    dim = statics[0]
    step = shape[dim] * strides[dim] if dim < len(shape) else 1
    return (*shape[:dim], 1, *shape[dim:]), (*strides[:dim], step, *strides[dim:]), offset


def _squeeze(shape, strides, offset, numbers, statics, part):
    kept = [d for d in range(len(shape)) if d not in statics[0]]
    return tuple(shape[d] for d in kept), tuple(strides[d] for d in kept), offset


def _expand(shape, strides, offset, numbers, statics, part):
    target = statics[0]
    lead = len(target) - len(shape)
    new = [0] * lead
    for n, s, t in zip(shape, strides, target[lead:], strict=True):
        new.append(s if n == t else 0)
    return target, tuple(new), offset


def _split(shape, strides, offset, numbers, statics, part):
    sizes, dim = statics
    new = list(shape)
    new[dim] = sizes[part]
    return tuple(new), strides, offset + sum(sizes[:part]) * strides[dim]


def _unbind(shape, strides, offset, numbers, statics, part):
    dim = statics[0]
    return (
        shape[:dim] + shape[dim + 1 :],
        strides[:dim] + strides[dim + 1 :],
        offset + part * strides[dim],
    )


def _diagonal(shape, strides, offset, numbers, statics, part):
    shift, d1, d2 = statics
    rest = [d for d in range(len(shape)) if d not in (d1, d2)]
    n = max(0, min(shape[d1] + min(shift, 0), shape[d2] - max(shift, 0)))
    if n:
        offset += max(shift, 0) * strides[d2] - min(shift, 0) * strides[d1]
    return (
        (*(shape[d] for d in rest), n),
        (*(strides[d] for d in rest), strides[d1] + strides[d2]),
        offset,
    )


def _unfold(shape, strides, offset, numbers, statics, part):
    dim, size, step = statics
    if not shape:
        return (size,), (1,), offset
    new = list(shape)
    new[dim] = (shape[dim] - size) // step + 1
    lengths = list(strides)
    lengths[dim] *= step
    return (*new, size), (*lengths, strides[dim]), offset


def _as_strided(shape, strides, offset, numbers, statics, part):
    size, stride, start = statics
    return size, stride, offset + start


def _view_as_real(shape, strides, offset, numbers, statics, part):
    return (*shape, 2), (*(2 * s for s in strides), 1), 2 * offset


def _view_as_complex(shape, strides, offset, numbers, statics, part):
    return shape[:-1], tuple(s // 2 for s in strides[:-1]), offset // 2


def _real(shape, strides, offset, numbers, statics, part):
    return shape, tuple(2 * s for s in strides), 2 * offset


def _imag(shape, strides, offset, numbers, statics, part):
    return shape, tuple(2 * s for s in strides), 2 * offset + 1


def _same(shape, strides, offset, numbers, statics, part):
    return shape, strides, offset


def _view_dtype(shape, strides, offset, numbers, statics, part):
    """Strides and offset count elements: of another size, others."""
    new, (source, target) = _bitcast_shape(shape, statics), statics
    old, size = source.itemsize, target.itemsize
    if old == size or not shape:
        return new, strides, offset
    inner = tuple([s * old // size for s in strides[:-1]])
    return new, (*inner, 1), offset * old // size


def _bitcast_shape(shape, statics):
    source, target = statics
    if source.itemsize == target.itemsize or not shape:
        return shape
    return (*shape[:-1], shape[-1] * source.itemsize // target.itemsize)


GEOMETRY = {
    "view": _reshape,
    "permute": _permute,
    "index_basic": _index,
    "squeeze_dims": _squeeze,
    "unsqueeze": _unsqueeze,
    "index_at": _index,
    "expand": _expand,
    "split_sizes": _split,
    "unbind": _unbind,
    "diagonal": _diagonal,
    "unfold": _unfold,
    "as_strided": _as_strided,
    "view_as_real": _view_as_real,
    "view_as_complex": _view_as_complex,
    "real": _real,
    "imag": _imag,
    "conj_view": _same,
    "alias": _same,
    "view_dtype": _view_dtype,
}
