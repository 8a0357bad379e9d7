"""Indexing: Python index expressions as one basic view plus, if need be, one gather or scatter."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import BadIndex, warn
from torchlike._core.symbolic import whole
from torchlike._engine.captures import at_hand
from torchlike._engine.prefix import local
from torchlike._engine.values import from_array
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, views
from torchlike._tensor.dispatch import apply
from torchlike._tensor.host_data import number_rounded
from torchlike._tensor.host_reads import host_read
from torchlike._tensor.modes import memory_lock, modes
from torchlike._tensor.peeks import overwritten
from torchlike._tensor.shapes import named
from torchlike._tensor.views import Storage, apply_view, write

_INDEX = TABLE["index_basic"]
_ALL, _INT, _NEW, _AT = ("all",), ("int",), ("new",), ("at",)
_MASKS = (dt.bool_, dt.uint8)
_INDICES = (dt.int64, dt.int32, dt.bool_, dt.uint8)
_EXACT = 1 << 53  # up to here a float holds an int
_NUMBERS = {dt.float32: float, dt.float64: float, dt.int64: int, dt.bool_: bool}


def getitem(self, key, /):
    """``self[key]``: a view for ints, slices, None and ...; a copy for tensors and lists."""
    if modes.host:
        out = host_read(self, key, parse)
        if out is not None:
            return out
    part, advanced = basic_part(self, key)
    return part if advanced is None else read_advanced(part, advanced)


def basic_part(x, index):
    """The view that the basic part of an index takes, and what is left to gather from it."""
    return _part(x, *parse(x, index))


def _part(x, spec, numbers, advanced, label):
    if spec is not None:
        view_op = TABLE["index_at"] if _AT in spec else _INDEX
        return named(apply_view(view_op, x, numbers, (spec,)), label), advanced
    if advanced is None:  # x[...] and x[()] are views too
        return named(apply_view(TABLE["alias"], x), label), None
    return x, advanced


def setitem(self, key, value, /) -> None:
    """``self[key] = value``: written through the view, or by ``index_put_``."""
    if isinstance(value, np.generic):
        value = value.item()
    if not isinstance(value, (dispatch._Tensor, int, float, complex)):
        kind = type(value)
        name = (
            kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
        )
        raise TypeError(f"can't assign a {name} to a torch.{dt.SCALAR_NAMES[self.dtype]}Tensor")
    if isinstance(value, complex) and self.dtype.category < dt.COMPLEX:
        if self.dtype is not dt.bool_:
            raise dt.does_not_fit(self.dtype)
        value = bool(value)
    value = number_rounded(value, self.dtype)
    if key is False:  # nothing is written, and nothing is checked
        return
    found = parse(self, None if key is True else key)
    if found[2] is None and _is_bare(self) and _write_whole(self, *found[:2], value):
        return
    part, advanced = _part(self, *found)
    dispatch.check_inplace(part)
    if advanced is None:
        fill(part, value)
    else:
        write_advanced(part, advanced, value)


def _is_bare(x) -> bool:
    """Whether a tensor is all of its memory, and neither it nor what is going on needs more of a
    write than the new numbers."""
    return (
        x.__class__ in dispatch.TENSORS and not x._chain and not x._sparse
        and x._node is None and not x._requires_grad and local.capture is None
        and not (modes.levels or modes.scopes or modes.sealed)
        and modes.around is None and modes.dual is None
    )  # fmt: skip


def _write_whole(x, spec, numbers, value) -> bool:
    """``x[key] = value`` as one call, without the view; False where it takes more than that."""
    if spec is None or _AT in spec:
        return False
    a, sizes = x._value.aval, iter(x._value.aval.shape)
    shape = []
    for item in spec:
        n = 1 if item is _NEW else next(sizes)
        if item is not _INT:
            shape.append(item[1] if len(item) > 1 else n)
    shape = tuple(shape)
    number = value.__class__ not in dispatch.TENSORS
    if number:
        kind = _NUMBERS.get(a.dtype)
        if kind is float and value.__class__ is int and -_EXACT <= value <= _EXACT:
            value = float(value)
        if a.device is not devices.CPU or value.__class__ is not kind:
            return False
    else:
        b = value._value.aval
        if (
            b.shape != shape or b.dtype is not a.dtype or b.device is not a.device
            or value._node is not None or value._requires_grad or value._sparse
        ):  # fmt: skip
            return False
    with memory_lock:
        storage, link = x._storage, (_INDEX, numbers, (spec,), 0)
        if storage is not None and x._seen != storage.version:
            x._sync()
        if (storage is None or storage.__class__ is Storage) and (number or value._storage is None):
            there = value if number else value._value.array
            if number or there.__class__ is np.ndarray:
                found = overwritten(x, spec, numbers, there)
                if found is not None:
                    dispatch.rebind(x, dispatch.wrap(found))
                    return True
        if number:
            from torchlike._tensor.creation import make

            value = make("full", (value,), (shape, a.dtype), a.device)
        if value._storage is storage is not None and value._chain == (link,) and (
            storage.__class__ is Storage and value._seen == storage.version
        ):  # fmt: skip
            # ``x[key] += 1`` has written the part and now puts it where it is.
            storage.version += 1
            x._seen = value._seen = storage.version
            return True
        if not number and value._storage is storage is not None:
            return False  # the two may overlap
        dispatch.rebind(x, write(x, (link,), value))
        return True


def fill(part, value) -> None:
    """Copy a tensor or number into a view, broadcasting."""
    a = part._value.aval
    if isinstance(value, dispatch._Tensor):
        shape = value._value.aval.shape
        if not shape and a.ndim:
            _check_integral(a.dtype, value)
        ones = next((i for i, n in enumerate(shape) if n != 1), len(shape))
        if ones and len(shape) > a.ndim:
            value = value.reshape(shape[min(ones, len(shape) - a.ndim) :])
        part.copy_(value if value._value.aval.shape == a.shape else value.expand(a.shape))
    else:
        views.check_overlap(part)  # unlike ``fill_``
        part.fill_(value)


# ---- parsing -----------------------------------------------------------------------------------


def parse(x, index):
    """(spec, numbers, advanced, label): the basic view to take, then the advanced index on it.

    spec is None if the view is x itself; advanced is None, or a list with one entry per dimension
    of the view: None or an index tensor (one entry for all dimensions of a mask).
    """
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
        number = index + n if index < 0 else index
        return (_INT, *[_ALL] * (len(shape) - 1)), (number,), None, "SelectBackward0"
    if index.__class__ is tuple or index.__class__ is slice:
        found = _plain(x._value.aval.shape, index if index.__class__ is tuple else (index,))
        if found is not None:
            return found
    elif index.__class__ in dispatch.TENSORS:
        a, b = x._value.aval, dispatch.value_of(index).aval
        mask = b.dtype is dt.bool_
        if (mask and 0 < b.ndim <= a.ndim) or (b.dtype is dt.int64 and b.ndim and a.ndim):
            if mask:
                _check_mask(index, a.shape, 0)
            rest = [None] * (a.ndim - (b.ndim if mask else 1))
            return None, (), [index, *rest], "AliasBackward0"
    items = [index]
    if isinstance(index, tuple):
        items = list(index)
    elif _is_tuple_like(index):
        items = list(index)
        warn(
            "Using a non-tuple sequence for multidimensional indexing is deprecated and will be "
            "changed in pytorch 2.9; use x[tuple(seq)] instead of x[seq]. In pytorch 2.9 this will "
            "be interpreted as tensor index, x[torch.tensor(seq)], which will result either in an "
            "error or a different result"
        )
    a = x._value.aval
    items = [_convert(item) for item in items]
    taken = sum(dims_of(item) for item in items)
    if not a.ndim and len(items) == 1 and isinstance(items[0], (int, slice)) and taken:
        raise IndexError(
            "slice() cannot be applied to a 0-dim tensor."
            if isinstance(items[0], slice)
            else "invalid index of a 0-dim tensor. Use `tensor.item()` in Python or "
            "`tensor.item<T>()` in C++ to convert a 0-dim tensor to a number"
        )
    if taken > a.ndim:
        raise IndexError(f"too many indices for tensor of dimension {a.ndim}")
    items = _without_ellipsis(items, a.ndim - taken)
    spec, numbers, advanced, dim, label, basic = [], [], [], 0, "AliasBackward0", False
    for item in items:
        if item is None or item is True or item is False or (_is_mask(item) and not item.ndim):
            spec.append(_NEW)
            advanced.append(None if item is None else _bool_index(item))
            basic, label = True, "UnsqueezeBackward0"
            continue
        if isinstance(item, dispatch._Tensor) and (_is_mask(item) or item._value.aval.ndim):
            if _is_mask(item):
                _check_mask(item, a.shape, dim)
            advanced.append(item)
            spec.extend([_ALL] * dims_of(item))
            dim += dims_of(item)
            continue
        n = a.shape[dim]
        if item.__class__ is slice:
            start, size, step = _slice(item, n)
            if start == 0 and size == n and step == 1:
                spec.append(_ALL)
                label = "SliceBackward0" if index.__class__ is slice else label
            else:
                spec.append(("slice", size, step))
                numbers.append(start)
                basic, label = True, "SliceBackward0"
            advanced.append(None)
        elif isinstance(item, dispatch._Tensor):  # its number is not known yet, and need not be
            spec.append(_AT)
            numbers.append(dispatch.wrap(dispatch.value_of(item)))
            basic, label = True, "SelectBackward0"
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


def _plain(shape, index):
    """``parse`` of ints and of slices without a step, in a third of the time; None of all others,
    and of what is out of range or empty."""
    if len(index) > len(shape):
        return None
    spec, numbers, label = [], [], None
    for item, n in zip(index, shape, strict=False):
        if item.__class__ in dispatch.TENSORS and item.dtype is dt.int64:
            item = _convert(item)
        if item.__class__ is int:
            if n.__class__ is not int or not -n <= item < n:
                return None
            spec.append(_INT)
            numbers.append(item + n if item < 0 else item)
            label = "SelectBackward0"
        elif item.__class__ is slice:
            start, stop = item.start, item.stop
            if start is None and stop is None is item.step:
                spec.append(_ALL)
                continue
            if (
                item.step is not None or n.__class__ is not int
                or not (start is None or start.__class__ is int)
                or not (stop is None or stop.__class__ is int)
            ):  # fmt: skip
                return None
            start, stop, _ = item.indices(n)
            if start >= stop:
                return None
            if stop - start == n:
                spec.append(_ALL)
                continue
            spec.append(("slice", stop - start, 1))
            numbers.append(start)
            label = "SliceBackward0"
        else:
            return None
    if label is None:
        return None
    return (*spec, *[_ALL] * (len(shape) - len(index))), tuple(numbers), None, label


def _is_tuple_like(index) -> bool:
    """Whether a list stands for a tuple of indices: if it holds anything but plain numbers."""
    return (
        isinstance(index, list)
        and len(index) < 32
        and any(
            i is None or i is Ellipsis
            or isinstance(i, (list, tuple, range, slice, str, np.ndarray, dispatch._Tensor))
            for i in index
        )
    )  # fmt: skip


def _without_ellipsis(items, missing):
    """Items with ``...`` (or the end, if there is none) as so many full slices."""
    where = [i for i, item in enumerate(items) if item is Ellipsis]
    full = [slice(None)] * missing
    if not where:
        return items + full if missing else items
    if len(where) > 1 and missing:
        rest = items[where[1] + 1 :]
        if any(dims_of(item) for item in rest):
            raise IndexError("an index can only have a single ellipsis ('...')")
    first = where[0]
    return items[:first] + full + [item for item in items[first + 1 :] if item is not Ellipsis]


def _is_mask(item) -> bool:
    return isinstance(item, dispatch._Tensor) and item.dtype in _MASKS


def _check_mask(mask, shape, dim) -> None:
    for k, n in enumerate(mask._value.aval.shape):
        if dim + k < len(shape) and shape[dim + k] != n:
            raise IndexError(
                f"The shape of the mask {list(mask._value.aval.shape)} at index {k} does not match "
                f"the shape of the indexed tensor {list(shape)} at index {dim + k}"
            )


def _convert(item):
    """An index as an int, slice, None, Ellipsis, bool, or a tensor of integers or bools."""
    kind = item.__class__
    if kind is int or kind is slice or item is None or item is Ellipsis or kind is bool:
        return item
    if isinstance(item, dispatch._Tensor):
        d, value = item.dtype, dispatch.value_of(item)
        if not value.aval.shape and d.category <= dt.INTEGRAL and d not in _MASKS:
            known = at_hand(value)
            if known is None:
                return item  # a 0-d index selects, as an int does
            return int(known) if known.__class__ is np.ndarray else int(item)
        if d is dt.uint8:
            warn(
                "indexing with dtype torch.uint8 is now deprecated, please use a dtype torch.bool "
                "instead."
            )
        if d not in _INDICES:
            raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        return item
    if isinstance(item, (list, tuple, range, np.ndarray, str)):
        return _from_sequence(item)
    if hasattr(item, "__index__") and not isinstance(item, np.bool_):
        return whole(item)
    name = kind.__name__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__name__}"
    raise IndexError(
        "only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
        f"indices (got {name})"
    )


def _from_sequence(item):
    from torchlike._tensor.creation import host_data

    array = host_data(list(item) if isinstance(item, range) else item, None)
    if array.ndim == 0 and array.dtype.kind in "iu":
        return int(array)
    if array.dtype.kind != "b" and array.dtype != np.uint8:
        array = array.astype(np.int64)
    return dispatch.wrap(from_array(array))


def dims_of(item) -> int:
    """How many dimensions of the tensor an index consumes."""
    if item is None or item is Ellipsis or item is True or item is False:
        return 0
    return item._value.aval.ndim if _is_mask(item) else 1


def _bool_index(item):
    on = bool(item)
    return dispatch.wrap(from_array(np.zeros(1 if on else 0, np.int64)))


def _slice(item: slice, n: int):
    try:
        step = 1 if item.step is None else whole(item.step)
        start = 0 if item.start is None else whole(item.start)
        stop = n if item.stop is None else whole(item.stop)
    except TypeError:
        raise TypeError(
            "slice indices must be integers or None or have an __index__ method"
        ) from None
    if step == 0:
        raise ValueError("slice step cannot be zero")
    if step < 0:
        raise ValueError("step must be greater than zero")
    start = max(start + n, 0) if start < 0 else min(start, n)
    stop = max(stop + n, 0) if stop < 0 else min(stop, n)
    return start, max(0, -(-(stop - start) // step)), step


# ---- advanced ----------------------------------------------------------------------------------


def expand_masks(advanced):
    """Bool masks as index tensors, one for each of their dimensions (this needs their values)."""
    out = []
    for item in advanced:
        if item is not None and _is_mask(item):
            if not item.ndim:
                raise IndexError("too many indices for tensor of dimension 0 (got 1)")
            for found in np.nonzero(item._host()):
                out.append(dispatch.wrap(from_array(found.astype(np.int64))))
        else:
            out.append(item)
    return out


def host_bounds(index) -> tuple | None:
    """(min, max) of an index tensor whose numbers the host has at hand, else None."""
    value = dispatch.value_of(index)
    array = at_hand(value)
    if array is None:
        return None
    if value.bounds is None:
        host = np.asarray(array)
        value.bounds = (int(host.min()), int(host.max())) if host.size else (0, -1)
    return value.bounds


def check_index(index, size: int, dim: int, negative: bool = True, text: str | None = None) -> bool:
    """Whether an index is known to be in range; raises if it is known not to be."""
    bounds = host_bounds(index)
    if bounds is None:
        if size or not index._value.aval.numel:
            return False
        raise BadIndex(text or f"index 0 is out of bounds for dimension {dim} with size 0")
    low, high = bounds
    for found in (low, high):
        if high >= low and not (-size if negative else 0) <= found < size:
            raise BadIndex(
                text or f"index {found} is out of bounds for dimension {dim} with size {size}"
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
            tensors.append(_beside(x, item))
    return tensors, tuple(dims), checked


def _beside(x, index):
    """An index tensor on the device of what it indexes: it may come from the CPU."""
    device, source = x._value.aval.device, dispatch.value_of(index).aval.device
    if source is device:
        return index
    if source is not devices.CPU:
        raise RuntimeError(
            "indices should be either on cpu or on the same device as the indexed tensor "
            f"({device})"
        )
    return index.to(device)


def read_advanced(x, advanced):
    """Gather by index tensors, broadcast together, as numpy places the result."""
    tensors, dims, checked = plan_advanced(x, advanced)
    return apply(TABLE["index"], (x, *tensors), (dims, checked))


def _check_integral(d: dt.dtype, value) -> None:
    """Raise PyTorch's error for filling integers with a number that wants a gradient."""
    if d.category <= dt.INTEGRAL and value.requires_grad:
        raise RuntimeError(f"Autograd not support dtype: {dt.SCALAR_NAMES[d]}")


def write_advanced(part, advanced, value) -> None:
    """``part[tensors] = value``."""
    given = [i for i in advanced if i is not None]
    tensor = isinstance(value, dispatch._Tensor)
    one = not tensor or value._value.aval.numel == 1
    if len(given) == 1 and given[0].dtype is dt.bool_ and one:
        # One mask and one number: a select, with no need of the mask's values.
        at = next(i for i, item in enumerate(advanced) if item is not None)
        mask = _beside(part, given[0])
        after = part._value.aval.ndim - at - mask._value.aval.ndim
        if tensor:
            _check_integral(part.dtype, value)
            value = value.reshape(())
        part.masked_fill_(mask.reshape((*mask._value.aval.shape, *[1] * after)), value)
        return
    put(part, advanced, value, False)


def _put_call(part, advanced, value, accumulate):
    """Operands and statics of an ``index_put``."""
    if not isinstance(value, dispatch._Tensor):
        from torchlike._tensor.creation import full

        value = full((), value, dtype=part.dtype, device=part.device)
    elif value.dtype is not part.dtype:
        raise RuntimeError(
            "Index put requires the source and destination dtypes match, got "
            f"{dt.SCALAR_NAMES[part.dtype]} for the destination and "
            f"{dt.SCALAR_NAMES[value.dtype]} for the source."
        )
    if not value.ndim and value.device is devices.CPU:  # as a number
        value = value.to(part.device)
    tensors, dims, checked = plan_advanced(part, advanced)
    if not tensors:  # x.index_put_((), v) and x.index_put_((None,), v) write everything
        return None
    return (part, value, *tensors), (dims, checked, accumulate)


def put(part, advanced, value, accumulate) -> None:
    """Write (or add) a value where the index tensors point, in place."""
    call = _put_call(part, advanced, value, accumulate)
    if call is None:
        part.add_(value) if accumulate else fill(part, value)
    else:
        dispatch.check_apart(part, call[0][1:])
        dispatch.apply_inplace(TABLE["index_put"], *call)


def put_values(x, advanced, value, accumulate):
    """A copy of ``x`` with a value written (or added) where the index tensors point."""
    call = _put_call(x, advanced, value, accumulate)
    if call is None:
        out = x.clone()
        put(out, advanced, value, accumulate)
        return out
    return apply(TABLE["index_put"], *call)
