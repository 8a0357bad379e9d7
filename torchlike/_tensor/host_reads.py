"""Reads of tensors whose data the host has at hand, done by numpy with nothing recorded.

While a data fetcher runs (``modes.host``), ``x[i]`` is called once per sample: the engine's record
would cost more than the read. The result is the same view, or the same copy, as without.
"""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core.settings import settings
from torchlike._core.symbolic import tracing
from torchlike._engine.captures import at_hand
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, aval, expose, host_copy
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.modes import modes
from torchlike._tensor.views import attach

_INDEX = TABLE["index_basic"]
_ALL, _INT = ("all",), ("int",)
_new = object.__new__
_BASIC = (int, slice, type(None), type(Ellipsis))


def host_data(x) -> np.ndarray | None:
    """The data of a tensor as numpy, if that takes no computing and autograd does not care."""
    storage = x._storage
    if storage is not None and x._seen != storage.version:
        x._sync()
    if (x._node is not None or x._requires_grad) and modes.grad:
        return None
    array = at_hand(x._value)
    if array is None or array.__class__ is np.ndarray:
        return array
    expose(array)  # what is read here is a window on the array: nobody may overwrite it
    return host_copy(array)


_FEW, _SHORT = 4, 1 << 14  # tensors; bytes of them all


def joined(tensors, join, dim):
    """Short tensors that are alike, joined by ``join`` of numpy; None where not all are at hand.

    Which of them are one and the same (the samples of a replay memory are, each time others) would
    be part of what is recorded, and each time of another program.
    """
    first = tensors[0]
    if len(tensors) < _FEW or first.__class__ is not dispatch._Tensor or settings.immediate:
        return None
    a = first._value.aval
    if a.device is not devices.CPU or a.nbytes * len(tensors) > _SHORT:
        return None
    if local.capture is not None or tracing.scope is not None:  # they want to see the op
        return None
    if modes.levels or modes.transforms or modes.around is not None or modes.cast is not None:
        return None
    arrays, pending = [], 0
    for t in tensors:
        if t.__class__ is not first.__class__ or t._value.aval is not a or t._requires_grad:
            return None
        storage = t._storage
        if t._node is not None or (storage is not None and t._seen != storage.version):
            return None
        array = at_hand(t._value)
        if array is None:
            pending += 1
            if t._value.segment is not local.segment or pending * _FEW > len(tensors):
                return None
        elif not (array.__class__ is np.ndarray or array.is_ready()):
            return None
        arrays.append(array)
    if pending:  # the newest of many: worth running what has made it
        arrays = [host_array(t._value) for t in tensors]
    try:
        return wrap_host(join(arrays, dim), a.dtype)
    except (ValueError, TypeError):  # a wrong dimension: the op has PyTorch's words for it
        return None


def wrap_host(array: np.ndarray, dtype):
    """A fresh tensor over a numpy array of this dtype, on the CPU."""
    return dispatch.wrap(Value(aval(array.shape, dtype, devices.CPU), array))


def host_read(x, index, parse):
    """``x[index]`` by numpy; None where that is not possible, or where the index is wrong."""
    data = host_data(x)
    if data is None:
        return None
    dtype = x._value.aval.dtype
    kind = index.__class__
    if kind is not int and isinstance(index, np.integer):
        kind, index = int, int(index)
    if kind is int:
        shape = data.shape
        if not shape or not -shape[0] <= index < shape[0]:
            return None
        if index < 0:
            index += shape[0]
        spec = (_INT, *[_ALL] * (len(shape) - 1))
        out = _new(dispatch._Tensor)
        out._value = Value(aval(shape[1:], dtype, devices.CPU), data[index, ...])
        return attach(out, x, (_INDEX, (index,), (spec,), 0))
    if kind is list or isinstance(index, dispatch._Tensor):
        rows = host_rows(index)
        if rows is None or not data.ndim:
            return None
        try:
            return wrap_host(data.take(rows, 0), dtype)
        except IndexError:
            return None
    items = index if kind is tuple else (index,)
    if not all(item.__class__ in _BASIC for item in items):
        return None
    spec, numbers, _, _ = parse(x, index)
    if spec is None:
        return None
    out = wrap_host(data[_numpy_index(spec, numbers)], dtype)
    return attach(out, x, (_INDEX, numbers, (spec,), 0))


def host_rows(index) -> np.ndarray | None:
    """Row numbers from a list of ints or an integer tensor at hand; else None."""
    if index.__class__ is list:
        if not index or any(i.__class__ is not int for i in index):
            return None
        return np.array(index)
    rows = host_data(index)
    return None if rows is None or not rows.ndim or rows.dtype != np.int64 else rows


def _numpy_index(spec, numbers) -> tuple:
    numbers, out = iter(numbers), []
    for item in spec:
        kind = item[0]
        if kind == "all":
            out.append(slice(None))
        elif kind == "int":
            out.append(next(numbers))
        elif kind == "new":
            out.append(None)
        else:
            start = next(numbers)
            out.append(slice(start, start + item[1] * item[2], item[2]))
    return (*out, Ellipsis)
