"""Indexing: x[...] read and written, split into a basic view and an advanced part."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.values import from_array
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.host_reads import host_read
from torchlike._tensor.modes import modes
from torchlike._tensor.shapes import named
from torchlike._tensor.views import apply_view

_INDEX = TABLE["index_basic"]
_ALL, _INT, _NEW = ("all",), ("int",), ("new",)


def getitem(x, index):
    """``x[index]``: a view for ints, slices, None and ...; a copy for tensors and lists."""
    if modes.host:
        out = host_read(x, index, parse)
        if out is not None:
            return out
    if index.__class__ is int:  # the commonest, on its own
        shape = x._value.aval.shape
        if not shape:
            raise IndexError(
                "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
                "`tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
            )
        n = shape[0]
        if not -n <= index < n:
            raise IndexError(f"index {index} is out of bounds for dimension 0 with size {n}")
        spec = (_INT, *[_ALL] * (len(shape) - 1))
        number = index + n if index < 0 else index
        return named(apply_view(_INDEX, x, (number,), (spec,)), "SelectBackward0")
    spec, numbers, advanced, label = parse(x, index)
    out = x
    if spec is not None:
        out = named(apply_view(_INDEX, x, numbers, (spec,)), label)
    if advanced is None:
        if spec is None:  # x[...] and x[()] are views too
            return apply_view(TABLE["alias"], x)
        return out
    return read_advanced(out, advanced)


def setitem(x, index, value) -> None:
    """``x[index] = value``: written through the view, or by ``index_put_``."""
    if isinstance(value, np.ndarray):
        from torchlike._tensor.creation import tensor

        value = tensor(value)
    dispatch.check_inplace(x)
    spec, numbers, advanced, label = parse(x, index)
    part = x
    if spec is not None:
        part = named(apply_view(_INDEX, x, numbers, (spec,)), label)
    elif advanced is None:
        part = apply_view(TABLE["alias"], x)
    if advanced is None:
        fill(part, value)
        return
    write_advanced(part, advanced, value)


def fill(part, value) -> None:
    """Copy a tensor or number into a view, broadcasting."""
    a = part._value.aval
    if isinstance(value, dispatch._Tensor):
        shape = value._value.aval.shape
        extra = len(shape) - a.ndim
        if extra > 0 and all(n == 1 for n in shape[:extra]):
            value = value.reshape(shape[extra:])
        part.copy_(value)
    else:
        part.fill_(value)


# ---- parsing -----------------------------------------------------------------------------------


def parse(x, index):
    """(spec, numbers, advanced, label): the basic view to take, then the advanced index on it.

    spec is None if the view is x itself; advanced is None, or a list with one entry per dimension
    of the view: None or an index tensor.
    """
    items = list(index) if isinstance(index, tuple) else [index]
    if isinstance(index, list) and _is_nested_index(index):
        items = list(index)
    a = x._value.aval
    items = [_convert(x, item) for item in items]
    taken = sum(_dims_of(item) for item in items)
    if taken > a.ndim:
        raise IndexError(f"too many indices for tensor of dimension {a.ndim}")
    ellipses = [i for i, item in enumerate(items) if item is Ellipsis]
    if len(ellipses) > 1:
        raise IndexError("an index can only have a single ellipsis ('...')")
    missing = [slice(None)] * (a.ndim - taken)
    at = ellipses[0] if ellipses else len(items)
    items[at : at + 1] = missing
    spec, numbers, advanced, dim, label = [], [], [], 0, "AliasBackward0"
    basic = False
    for item in items:
        if item is None:
            spec.append(_NEW)
            advanced.append(None)
            basic, label = True, "UnsqueezeBackward0"
            continue
        if item is True or item is False:
            spec.append(_NEW)
            basic = True
            advanced.append(_bool_index(item))
            continue
        if isinstance(item, dispatch._Tensor):
            if item.dtype is dt.bool_ or item.dtype is dt.uint8:
                for k, n in enumerate(item._value.aval.shape):
                    if dim + k < a.ndim and a.shape[dim + k] != n:
                        raise IndexError(
                            f"The shape of the mask {list(item._value.aval.shape)} at index {k} "
                            f"does not match the shape of the indexed tensor {list(a.shape)} at "
                            f"index {dim + k}"
                        )
            advanced.append(item)
            for _ in range(_dims_of(item)):
                spec.append(_ALL)
            dim += _dims_of(item)
            continue
        n = a.shape[dim]
        if item.__class__ is slice:
            start, size, step = _slice(item, n)
            if start == 0 and size == n and step == 1 and item.start is None:
                spec.append(_ALL)
            else:
                spec.append(("slice", size, step))
                numbers.append(start)
                basic, label = True, "SliceBackward0"
            advanced.append(None)
        else:
            if not -n <= item < n:
                raise IndexError(f"index {item} is out of bounds for dimension {dim} with size {n}")
            spec.append(_INT)
            numbers.append(item + n if item < 0 else item)
            basic, label = True, "SelectBackward0"
        dim += 1
    if all(item is None for item in advanced):
        advanced = None
    return (tuple(spec) if basic else None), tuple(numbers), advanced, label


def _is_nested_index(index) -> bool:
    """Whether a list stands for a tuple of indices, as old numpy and PyTorch take it."""
    return len(index) < 32 and any(
        isinstance(i, (list, tuple, slice, dispatch._Tensor)) or i is None or i is Ellipsis
        for i in index
    ) and not all(isinstance(i, (list, int, float, bool)) for i in index)


def _convert(x, item):
    kind = item.__class__
    if kind is int or kind is slice or item is None or item is Ellipsis or kind is bool:
        return item
    if isinstance(item, dispatch._Tensor):
        d, a = item.dtype, item._value.aval
        if d.category > dt.INTEGRAL:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if d not in (dt.int64, dt.int32, dt.bool_, dt.uint8, dt.int16, dt.int8):
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        if not a.shape and d.category == dt.INTEGRAL and item._value.array is not None:
            if not item._value.is_traced():
                return int(item)  # a 0-d index at hand selects, as a Python int does
        return item
    if isinstance(item, (list, tuple, range)):
        from torchlike._tensor.creation import tensor

        array = np.asarray(
            [int(i) if isinstance(i, dispatch._Tensor) else i for i in item]
            if not any(isinstance(i, (list, tuple)) for i in item) else list(item)
        )
        if array.size == 0:
            array = array.astype(np.int64)
        if array.dtype.kind not in "iub":
            raise IndexError(f"only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid indices (got {type(item[0]).__name__})")
        return tensor(array if array.dtype.kind == "b" else array.astype(np.int64))
    if isinstance(item, np.ndarray):
        if item.dtype.kind not in "iub":
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return dispatch.wrap(from_array(np.array(item)))
    if isinstance(item, np.bool_):
        return bool(item)
    if hasattr(item, "__index__"):
        return item.__index__()
    raise TypeError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {type(item).__name__})"
    )


def _dims_of(item) -> int:
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    if isinstance(item, dispatch._Tensor) and (item.dtype is dt.bool_ or item.dtype is dt.uint8):
        return item._value.aval.ndim
    return 1


def _bool_index(item: bool):
    from torchlike._tensor.creation import tensor

    return tensor([0] if item else [], dtype=dt.int64)


def _slice(item: slice, n: int):
    step = 1 if item.step is None else int(item.step)
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if step < 0:
        raise ValueError("step must be greater than zero")
    start = 0 if item.start is None else int(item.start)
    stop = n if item.stop is None else int(item.stop)
    start = max(start + n, 0) if start < 0 else min(start, n)
    stop = max(stop + n, 0) if stop < 0 else min(stop, n)
    return start, max(0, -(-(stop - start) // step)), step


# ---- advanced ----------------------------------------------------------------------------------


def expand_masks(advanced):
    """Bool masks as index tensors, one for each of their dimensions (this needs their values)."""
    out = []
    for item in advanced:
        if item is not None and (item.dtype is dt.bool_ or item.dtype is dt.uint8):
            for found in np.nonzero(item._host()):
                out.append(dispatch.wrap(from_array(found.astype(np.int64))))
        else:
            out.append(item)
    return out


def host_bounds(index) -> tuple | None:
    """(min, max) of an index tensor whose numbers the host has at hand, else None."""
    value = dispatch.value_of(index)
    array = value.array
    if array is None or value.is_traced() or value.aval.device.type != "cpu":
        return None
    host = np.asarray(array)
    return (int(host.min()), int(host.max())) if host.size else (0, -1)


def check_index(index, size: int, dim: int, negative: bool = True) -> bool:
    """Whether an index is known to be in range; raises ``IndexError`` if it is known not to be."""
    bounds = host_bounds(index)
    if bounds is None:
        return False
    low, high = bounds
    for found in (low, high):
        if high >= low and not (-size if negative else 0) <= found < size:
            raise IndexError(
                f"index {found} is out of bounds for dimension {dim} with size {size}"
            )
    return True


def plan_advanced(x, advanced):
    """(index tensors, dims they stand at, whether all are known to be in range)."""
    advanced = expand_masks(advanced)
    shape = x._value.aval.shape
    dims, tensors, checked = [], [], True
    for dim, item in enumerate(advanced):
        if item is not None:
            checked &= check_index(item, shape[dim], dim)
            dims.append(dim)
            tensors.append(item)
    return tensors, tuple(dims), checked


def read_advanced(x, advanced):
    """Gather by index tensors, broadcast together, as numpy places the result."""
    tensors, dims, checked = plan_advanced(x, advanced)
    return apply(TABLE["index"], (x, *tensors), (dims, checked))


def write_advanced(part, advanced, value) -> None:
    """``part[tensors] = value``."""
    masks = [i for i in advanced if i is not None]
    if (
        len(masks) == 1
        and masks[0].dtype is dt.bool_
        and not (isinstance(value, dispatch._Tensor) and value._value.aval.numel != 1)
    ):
        # One mask and one number: a select, with no need of the mask's values.
        at = next(i for i, item in enumerate(advanced) if item is not None)
        mask = masks[0]
        after = part._value.aval.ndim - at - mask._value.aval.ndim
        mask = mask.reshape((*mask._value.aval.shape, *[1] * after))
        if isinstance(value, dispatch._Tensor):
            value = value.reshape(())
        part.masked_fill_(mask, value)
        return
    tensors, dims, checked = plan_advanced(part, advanced)
    put(part, tensors, dims, checked, value, False)


def put(part, tensors, dims, checked, value, accumulate) -> None:
    """``index_put_`` by planned indices."""
    if not isinstance(value, dispatch._Tensor):
        from torchlike._tensor.creation import full

        value = full((), value, dtype=part.dtype, device=part.device)
    if value.dtype is not part.dtype:
        if value._value.aval.ndim and not accumulate or accumulate:
            if value._value.aval.ndim:
                raise RuntimeError(
                    "Index put requires the source and destination dtypes match, got "
                    f"{dt.SCALAR_NAMES[part.dtype]} for the destination and "
                    f"{dt.SCALAR_NAMES[value.dtype]} for the source."
                )
        value = value.to(part.dtype)
    dispatch.apply_inplace(
        TABLE["index_put"], (part, value, *tensors), (dims, checked, bool(accumulate))
    )
