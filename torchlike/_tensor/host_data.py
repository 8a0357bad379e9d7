"""Python data as numpy arrays: numbers, nested sequences, arrays, tensors; read as PyTorch does."""

from __future__ import annotations

from collections.abc import Mapping

import jax
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._engine.twins import cut
from torchlike._ops.pointwise import WRAPPED
from torchlike._tensor import dispatch

_NUMBERS = frozenset((bool, int, float, complex))


def host_data(data, dtype: dt.dtype | None) -> np.ndarray:
    """Numbers, nested sequences, arrays and tensors as a numpy array that is ours alone."""
    if data.__class__ is list or data.__class__ is tuple:  # first: what programs give most often
        return _sequence_array(data, dtype)
    if data.__class__ in _NUMBERS:
        return number_array(data, dtype)
    if isinstance(data, dispatch._Tensor):
        array = np.array(data._host())
    elif isinstance(data, np.generic):
        check_number(data, dtype)
        array = np.array(data)
    elif isinstance(data, np.ndarray):
        check_layout(data)
        array = np.array(data)
    elif isinstance(data, jax.Array):
        array = np.array(data)
    elif isinstance(data, (bool, int, float, complex)):
        return number_array(data, dtype)
    elif isinstance(data, (str, bytes)):
        raise TypeError(f"new(): invalid data type '{type(data).__name__}'")
    elif hasattr(data, "__array__"):
        array = np.array(data.__array__())
    elif _is_sequence(data):
        return _sequence_array(data, dtype)
    else:
        return number_array(_as_number(data, dtype), dtype)
    if array.dtype.kind in "OUSV" and array.dtype not in dt.BY_NUMPY:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{array.dtype.type.__name__}. The only "
            "supported types are: "
            "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
            "uint32, uint16, uint8, and bool."
        )
    return array if dtype is None else _cast(array, dtype)


def check_layout(array: np.ndarray) -> None:
    """Raise PyTorch's errors for arrays that lie in memory as no tensor does."""
    if not array.dtype.isnative:
        raise ValueError(
            "given numpy array has byte order different from the native byte order. Conversion "
            "between byte orders is currently not supported."
        )
    if any(s < 0 for s in array.strides):
        raise ValueError(
            "At least one stride in the given numpy array is negative, and tensors with negative "
            "strides are not currently supported. (You can probably work around this by making a "
            "copy of your array  with array.copy().) "
        )


def check_number(x: np.generic, d: dt.dtype | None) -> None:
    """Raise ``TypeError`` for a number of NumPy's that a dtype would change without a word."""
    if d is None or isinstance(x, float) or x.dtype.kind in "iu":
        return
    same = x.dtype.kind == "b" and d is dt.bool_
    if x.dtype.kind == "M" or (d.category < dt.FLOATING and not same):
        raise TypeError(f"'numpy.{type(x).__name__}' object cannot be interpreted as an integer")


def _as_number(x, d: dt.dtype | None):
    """A number of a class of the program's own, if a dtype says which one is meant."""
    kind = None if d is None else "__index__" if d.category < dt.FLOATING else "__float__"
    if kind is not None and (hasattr(x, kind) or hasattr(x, "__index__")):
        return x.__index__() if not hasattr(x, kind) or kind == "__index__" else x.__float__()
    if kind == "__index__":
        raise TypeError(f"'{type(x).__name__}' object cannot be interpreted as an integer")
    if kind is not None:
        raise TypeError(f"must be real number, not {type(x).__name__}")
    raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")


def _cast(array: np.ndarray, d: dt.dtype) -> np.ndarray:
    """The same numbers in another dtype, as a tensor's ``to`` has them; NumPy would warn."""
    source = dt.BY_NUMPY.get(array.dtype)
    if array.dtype == object and d in dt.HALF:  # integers beyond 64 bits
        array = array.astype(np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        if source is not None and source.category == dt.FLOATING and d in WRAPPED:
            return cut(source, d)(array)[0]
        return array.astype(d.numpy)


def number_array(x, dtype: dt.dtype | None) -> np.ndarray:
    """A 0-d array of a Python number."""
    kind = x.__class__
    if kind not in _NUMBERS:
        kind = next(k for k in (bool, int, float, complex) if isinstance(x, k))
    d = dtype or dt.scalar_dtype(kind)
    return _cast(np.array(fitting(x, d)), d)


def fitting(x, d: dt.dtype, error=None):
    """A Python number as a tensor of dtype ``d`` takes it; raises if the dtype cannot hold it."""
    if x.__class__ is complex and d.category < dt.COMPLEX:
        if d is dt.bool_:
            return x != 0
        raise TypeError("must be real number, not complex")
    if d.category != dt.INTEGRAL or isinstance(x, bool):
        return x
    low, high = _limits(d)
    if isinstance(x, float):
        if not max(low, 0 if d.numpy.kind == "u" else low) <= x <= high:  # nan, too
            raise (error or _does_not_fit)(d)
        return int(x)
    if not low <= x <= high:
        if not -(2**63) <= x < 2**63 and d is not dt.uint64:
            raise ValueError("Overflow when unpacking long long")
        raise (error or _does_not_fit)(d)
    return x % (high + 1) if low < 0 and d.numpy.kind == "u" else x


def _does_not_fit(d) -> RuntimeError:
    return RuntimeError(f"value cannot be converted to type {d.name} without overflow")


def number_for(x, d: dt.dtype):
    """A value to write into a tensor of dtype ``d``; a number must fit an integer one."""
    if d.category == dt.INTEGRAL and x.__class__ in (int, float):
        return fitting(x, d, dt.does_not_fit)
    return x


def number_held(x, d: dt.dtype):
    """``number_for``, where a floating dtype must hold the number as well."""
    if d.category == dt.INTEGRAL:
        return number_for(x, d)
    if x.__class__ is float or x.__class__ is int:
        dt.check_held(x, d)
    return x


def number_rounded(x, d: dt.dtype):
    """``number_held``, where half precision rounds what is beyond it, mostly to infinity."""
    if d in dt.HALF and x.__class__ in (int, float) and not -dt.LARGEST[d] <= x <= dt.LARGEST[d]:
        with np.errstate(over="ignore"):
            return float(np.float64(x).astype(d.numpy))
    return number_held(x, d)


def check_limit(x, input) -> None:
    """Raise PyTorch's error for a limit that a tensor's dtype cannot hold, nor widens to."""
    if isinstance(input, dispatch._Tensor):
        d = input._value.aval.dtype
        if d.category >= dt.FLOATING or (x.__class__ is int and d.category == dt.INTEGRAL):
            number_held(x, d)


def _limits(d: dt.dtype):
    """The range of numbers that PyTorch takes; unsigned dtypes wrap negative ones."""
    info = np.iinfo(d.numpy)
    return (-info.max if d.numpy.kind == "u" else info.min), info.max


def _sequence_array(data, dtype):
    kinds = {*map(type, data)}
    if kinds and kinds <= _NUMBERS:
        shape, flat = (len(data),), data
    else:
        shape, flat = _nested_shape(data), []
        _flatten(data, shape, 0, flat)
        kinds = {*map(type, flat)}
    if kinds <= _NUMBERS:
        kind = next((k for k in (complex, float, int) if k in kinds), bool if kinds else float)
        d = dtype or dt.scalar_dtype(kind)
        if d.category == dt.INTEGRAL and not kinds <= {bool}:
            low, high = _limits(d)
            if kind is not int or min(flat) < max(low, 0) or max(flat) > high:
                flat = [fitting(x, d) for x in flat]
            array = np.array(flat, d.numpy)
        else:
            if kind is complex and dt.BOOL < d.category < dt.COMPLEX:
                raise TypeError("must be real number, not complex")
            wide = dt.WIDEST[kind].numpy
            if kind is int:
                wide = np.float64 if d.category >= dt.FLOATING else object
            array = _cast(np.array(flat, wide), d)
        return array.reshape(shape)
    parts = []
    found = None
    for x in flat:
        if isinstance(x, np.generic):
            check_number(x, dtype)
        if isinstance(x, (np.generic, np.ndarray)):
            part, d = np.asarray(x), dt.BY_NUMPY.get(np.asarray(x).dtype)
        elif isinstance(x, dispatch._Tensor):
            part, d = x._host(), x.dtype
        elif isinstance(x, (bool, int, float, complex)):
            part = number_array(x, None)
            d = dt.BY_NUMPY[part.dtype]
        elif isinstance(x, (str, bytes)):
            if x is flat[0]:
                raise ValueError(f"too many dimensions '{type(x).__name__}'")
            raise TypeError(f"new(): invalid data type '{type(x).__name__}'")
        else:
            x = _as_number(x, dtype)
            part = number_array(x, None)
            d = dt.BY_NUMPY[part.dtype]
        if d is None:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
        found = d if found is None else dt.promote_types(found, d)
        # A Python number keeps its precision: the dtype asked for may be wider than its own.
        parts.append(x if isinstance(x, (bool, int, float, complex)) else part.item())
    d = dtype or found
    if any(x.__class__ is complex for x in parts) and d.category < dt.COMPLEX:
        raise TypeError("must be real number, not complex")
    if d.category == dt.INTEGRAL:
        parts = [fitting(x, d) for x in parts]
    return np.array(parts).astype(d.numpy).reshape(shape)


def _is_sequence(x) -> bool:
    """What PyTorch takes for a nested level: lists, tuples, ranges, and classes that act so."""
    if isinstance(x, (list, tuple)):
        return True
    return (
        not isinstance(x, (str, bytes, Mapping))
        and hasattr(x, "__len__")
        and hasattr(x, "__getitem__")
    )


def _nested_shape(data) -> tuple:
    shape = []
    while True:
        if isinstance(data, np.ndarray):
            shape.extend(data.shape)
            return tuple(shape)
        if isinstance(data, dispatch._Tensor) or not _is_sequence(data):
            return tuple(shape)
        if len(shape) > 64:
            raise ValueError("too many dimensions")
        shape.append(len(data))
        if not len(data):
            return tuple(shape)
        data = data[0]


def _wrong_length(expected, depth, got):
    return ValueError(f"expected sequence of length {expected} at dim {depth} (got {got})")


def _no_number(items) -> Exception:
    """PyTorch's error for a tensor of several elements in the place of a number."""
    kinds = (x.dtype.category if isinstance(x, dispatch._Tensor) else type(x) for x in items)
    if all(kind == dt.INTEGRAL or kind is int for kind in kinds):
        return TypeError("only integer tensors of a single element can be converted to an index")
    return ValueError("only one element tensors can be converted to Python scalars")


def _flatten(data, shape, depth, flat):
    if isinstance(data, dispatch._Tensor) and data.numel() != 1:
        raise _no_number((data,))
    if depth == len(shape):
        flat.append(data)
        return
    if isinstance(data, np.ndarray):
        if data.shape != shape[depth:]:
            raise _wrong_length(shape[depth], depth, len(data) if data.ndim else 0)
        flat.extend(data.reshape(-1))
        return
    if not _is_sequence(data):
        raise TypeError("not a sequence")
    if len(data) != shape[depth]:
        raise _wrong_length(shape[depth], depth, len(data))
    if depth + 1 < len(shape):
        for item in data:
            _flatten(item, shape, depth + 1, flat)
        return
    items = list(data)
    if not {type(x) for x in items} <= _NUMBERS:
        for x in items:
            if isinstance(x, (list, tuple)):
                kind = "interpreted as an integer" if type(items[0]) is int else "a number"
                raise TypeError(f"'{type(x).__name__}' object cannot be {kind}")
            if isinstance(x, dispatch._Tensor) and x.numel() != 1:
                raise _no_number(items)
    flat.extend(items)


_NUMBERS = {int, float, bool, complex}
