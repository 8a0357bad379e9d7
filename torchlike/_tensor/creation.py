"""Creation functions: tensors from data, from numbers, and from other libraries' arrays."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.sizes import Size
from torchlike._engine.flush import flush, jax_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, aval, expose, from_array
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, value_of, wrap
from torchlike._tensor.forms import function, method
from torchlike._tensor.shapes import sizes_argument


def target_device(device) -> devices.device:
    """The device of a new tensor; raises if the machine has no such device."""
    if device is None:
        device = devices.get_default_device()
    device = devices.canonical(device)
    if device is not devices.CPU and device is not devices.META:
        devices.jax_device(device)
    return device


def on_device(device: devices.device) -> None:
    """Let the next recorded call, which has no operands, run on ``device``."""
    segment = local.segment
    if segment.device is not device:
        flush(segment, "device")
        local.segment.device = device


def make(op_name, operands, statics, device, requires_grad=False):
    """Record a creation op on a device."""
    on_device(target_device(device))
    out = apply(TABLE[op_name], operands, statics)
    return out.requires_grad_() if requires_grad else out


def from_host(array: np.ndarray, device: devices.device, requires_grad=False):
    """A tensor over a numpy array that nobody else will write."""
    d = dt.BY_NUMPY.get(array.dtype)
    if d is None:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: "
            "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
            "uint32, uint16, uint8, and bool."
        )
    out = wrap(Value(aval(array.shape, d, device), None if device is devices.META else array))
    if device is not devices.CPU and device is not devices.META:
        jax_array(out._value)
    return out.requires_grad_() if requires_grad else out


# ---- from data ---------------------------------------------------------------------------------


def host_data(data, dtype: dt.dtype | None) -> np.ndarray:
    """Numbers, nested sequences, arrays and tensors as a numpy array that is ours alone."""
    if isinstance(data, dispatch._Tensor):
        array = np.array(data._host())
    elif isinstance(data, jax.Array):
        array = np.array(data)
    elif isinstance(data, (np.ndarray, np.generic)):
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
        raise RuntimeError(f"Could not infer dtype of {type(data).__name__}")
    if array.dtype.byteorder == ">":
        array = array.astype(array.dtype.newbyteorder("="))
    if array.dtype.kind in "OUSV" and array.dtype not in dt.BY_NUMPY:
        raise TypeError(
            f"can't convert np.ndarray of type {array.dtype}. The only supported types are: "
            "float64, float32, float16, complex64, complex128, int64, int32, int16, int8, uint64, "
            "uint32, uint16, uint8, and bool."
        )
    return array if dtype is None else array.astype(dtype.numpy)


def number_array(x, dtype: dt.dtype | None) -> np.ndarray:
    """A 0-d array of a Python number."""
    kind = next(k for k in (bool, int, float, complex) if isinstance(x, k))
    d = dtype or dt.scalar_dtype(kind)
    return np.array(fitting(x, d)).astype(d.numpy)


def fitting(x, d: dt.dtype):
    """A Python number as a tensor of dtype ``d`` takes it; raises if the dtype cannot hold it."""
    if x.__class__ is complex and d.category < dt.COMPLEX:
        raise TypeError("must be real number, not complex")
    if d.category != dt.INTEGRAL or isinstance(x, bool):
        return x
    low, high = _limits(d)
    if isinstance(x, float):
        if not low <= x <= high:  # nan, too
            raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
        return int(x)
    if not low <= x <= high:
        if not -(2**63) <= x < 2**63 and d is not dt.uint64:
            raise ValueError("Overflow when unpacking long long")
        raise RuntimeError(f"value cannot be converted to type {d.name} without overflow")
    return x % (high + 1) if low < 0 and d.numpy.kind == "u" else x


def _limits(d: dt.dtype):
    """The range of numbers that PyTorch takes; unsigned dtypes wrap negative ones."""
    info = np.iinfo(d.numpy)
    return (-info.max if d.numpy.kind == "u" else info.min), info.max


_PYTHON_DTYPES = {float: dt.float64, int: dt.int64, bool: dt.bool_, complex: dt.complex128}


def as_dtype(name: str, d) -> dt.dtype | None:
    """A ``dtype=`` argument; Python's own types stand for the widest dtype of their kind."""
    if d is None or d.__class__ is dt.dtype:
        return d
    try:
        return _PYTHON_DTYPES[d]
    except (KeyError, TypeError):
        raise TypeError(
            f"{name}(): argument 'dtype' must be torch.dtype, not {type(d).__name__}"
        ) from None


def _sequence_array(data, dtype):
    shape = _nested_shape(data)
    flat: list = []
    _flatten(data, shape, 0, flat)
    kinds = {type(x) for x in flat}
    if kinds <= {float, int, bool, complex}:
        kind = next((k for k in (complex, float, int) if k in kinds), bool if kinds else float)
        d = dtype or dt.scalar_dtype(kind)
        if d.category == dt.INTEGRAL and not kinds <= {bool}:
            low, high = _limits(d)
            if kind is not int or min(flat) < max(low, 0) or max(flat) > high:
                flat = [fitting(x, d) for x in flat]
            array = np.array(flat, d.numpy)
        else:
            if kind is complex and d.category < dt.COMPLEX:
                raise TypeError("must be real number, not complex")
            wide = dt.scalar_dtype(kind).numpy if kind is not float else np.float64
            if kind is int:
                wide = np.float64 if d.category >= dt.FLOATING else object
            array = np.array(flat, wide).astype(d.numpy)
        return array.reshape(shape)
    parts = []
    found = None
    for x in flat:
        if isinstance(x, (np.generic, np.ndarray)):
            part, d = np.asarray(x), dt.BY_NUMPY.get(np.asarray(x).dtype)
        elif isinstance(x, dispatch._Tensor):
            part, d = x._host(), x.dtype
        elif isinstance(x, (bool, int, float, complex)):
            part = number_array(x, None)
            d = dt.BY_NUMPY[part.dtype]
        elif isinstance(x, (str, bytes)):
            raise ValueError(f"too many dimensions '{type(x).__name__}'")
        else:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
        if d is None:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
        found = d if found is None else dt.promote_types(found, d)
        parts.append(part.item() if part.ndim == 0 else part)
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
        if isinstance(data, (np.ndarray, dispatch._Tensor)):
            shape.extend(data.shape)
            return tuple(shape)
        if not _is_sequence(data):
            return tuple(shape)
        if len(shape) > 64:
            raise ValueError("too many dimensions")
        shape.append(len(data))
        if not len(data):
            return tuple(shape)
        data = data[0]


def _wrong_length(expected, depth, got):
    return ValueError(f"expected sequence of length {expected} at dim {depth} (got {got})")


def _flatten(data, shape, depth, flat):
    if isinstance(data, dispatch._Tensor) and data.numel() != 1:
        raise ValueError("only one element tensors can be converted to Python scalars")
    if depth == len(shape):
        flat.append(data)
        return
    if isinstance(data, (np.ndarray, dispatch._Tensor)):
        array = data if isinstance(data, np.ndarray) else data._host()
        if array.shape != shape[depth:]:
            raise _wrong_length(shape[depth], depth, len(array) if array.ndim else 0)
        flat.extend(array.reshape(-1))
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
                raise ValueError("only one element tensors can be converted to Python scalars")
    flat.extend(items)


_NUMBERS = {int, float, bool, complex}


@function()
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A new tensor of a copy of the data (https://pytorch.org/docs/stable/generated/torch.tensor.html)."""
    dtype = as_dtype("tensor", dtype)
    if isinstance(data, dispatch._Tensor):
        out = data.detach().clone()
        if dtype is not None or device is not None:
            out = out.to(device=device, dtype=dtype)
        return out.requires_grad_() if requires_grad else out
    if isinstance(data, jax.core.Tracer):
        out = from_jax(data)
        return out if dtype is None else out.to(dtype)
    return from_host(host_data(data, dtype), target_device(device), requires_grad)


@function()
def as_tensor(data, dtype=None, device=None):
    """The data as a tensor; a tensor that fits already is returned as it is."""
    if isinstance(data, dispatch._Tensor):
        if (dtype is None or dtype is data.dtype) and device is None:
            return data
        return data.to(device=device, dtype=dtype)
    return tensor(data, dtype=dtype, device=device)


@function()
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=False):
    """``as_tensor`` with numpy's arguments."""
    out = as_tensor(obj, dtype=dtype, device=device)
    if copy and out is obj:
        out = out.clone()
    return out.detach().requires_grad_() if requires_grad else out


@function()
def from_numpy(ndarray):
    """A tensor of a copy of a numpy array; unlike PyTorch's it shares no memory with it."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    return from_host(host_data(ndarray, None), devices.CPU)


@function()
def from_jax(array):
    """A tensor over a jax.Array, without a copy."""
    value = from_array(array)
    expose(array)
    return wrap(value)


@function()
def from_dlpack(ext_tensor):
    """A tensor over another library's array that speaks DLPack."""
    if isinstance(ext_tensor, dispatch._Tensor):
        return ext_tensor.detach()
    with jax.enable_x64(True):
        return from_jax(jax.dlpack.from_dlpack(ext_tensor))


@function()
def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False):
    """A 0-d tensor of the default dtype."""
    return tensor(s, dtype=dtype or dt.get_default_dtype(), device=device, requires_grad=requires_grad)


def legacy_tensor(cls, *args, dtype=None, device=None):
    """``torch.Tensor(...)``: sizes give an uninitialised float tensor, a sequence its data."""
    d = dtype or dt.get_default_dtype()
    if not args:
        out = from_host(np.zeros((0,), d.numpy), target_device(device))
    elif len(args) == 1 and isinstance(args[0], dispatch._Tensor):
        out = args[0].detach() if args[0].dtype is d else args[0].to(d)
    elif len(args) == 1 and isinstance(args[0], (float, complex, str)):
        raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
    elif len(args) == 1 and not isinstance(args[0], (int, Size)):
        out = from_host(host_data(args[0], d), target_device(device))
    else:
        out = from_host(np.zeros(sizes_argument(args), d.numpy), target_device(device))
    if cls is not dispatch._Tensor:
        shown = object.__new__(cls)
        shown._value = out._value
        return shown
    return out


# ---- from numbers ------------------------------------------------------------------------------


def check_size(size) -> tuple:
    """A size tuple; raises PyTorch's error for negative dimensions."""
    size = sizes_argument(size)
    for n in size:
        if n < 0:
            raise RuntimeError(
                f"Trying to create tensor with negative dimension {n}: {list(size)}"
            )
    return size


def _size_of(name, size, named_size):
    if "size" in named_size:
        size = (named_size.pop("size"),)
    elif not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    return check_size(size)


def _dtype_for(name, dtype, out):
    if dtype is not None:
        return as_dtype(name, dtype)
    return dt.get_default_dtype() if out is None else out.dtype


def _unknown(name, extra):
    extra = {k: v for k, v in extra.items() if k not in ("layout", "pin_memory", "memory_format", "names")}
    if extra:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(extra))}'")


def _into(out, result):
    return result if out is None else dispatch.copy_out(out, result)


@function()
def zeros(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of zeros."""
    size = _size_of("zeros", size, extra)
    _unknown("zeros", extra)
    d = _dtype_for("zeros", dtype, out)
    return _into(out, make("zeros", (), (size, d), device, requires_grad))


@function()
def ones(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of ones."""
    size = _size_of("ones", size, extra)
    _unknown("ones", extra)
    d = _dtype_for("ones", dtype, out)
    return _into(out, make("ones", (), (size, d), device, requires_grad))


@function()
def empty(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor whose contents are not specified: zeros."""
    return zeros(*size, out=out, dtype=dtype, device=device, requires_grad=requires_grad, **extra)


@function()
def full(size, fill_value, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of one number."""
    _unknown("full", extra)
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not "
            f"{type(size).__name__}"
        )
    size, dtype = check_size((size,)), as_dtype("full", dtype)
    if isinstance(fill_value, dispatch._Tensor):
        if fill_value.ndim:
            raise RuntimeError(
                f"full() expects a 0-dim fill_value, but got a tensor of {fill_value.ndim} dims"
            )
        d = dtype or fill_value.dtype
    else:
        fill_value = _number("full", "fill_value", 2, fill_value)
        d = dtype or (out.dtype if out is not None else dt.scalar_dtype(type(fill_value)))
        fill_value = _fill(fill_value, d)
    return _into(out, make("full", (fill_value,), (size, d), device, requires_grad))


def _number(function, argument, position, x):
    """A Python number; raises PyTorch's error for what is none."""
    if isinstance(x, (np.generic, dispatch._Tensor)) and x.ndim == 0:
        x = x.item()
    kind = next((k for k in (bool, int, float, complex) if isinstance(x, k)), None)
    if kind is None:
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be Number, not "
            f"{type(x).__name__}"
        )
    return kind(x)


def _fill(x, d):
    if x.__class__ is complex and d.category < dt.COMPLEX:
        raise RuntimeError(
            f"value cannot be converted to type {d.name} without overflow"
        )
    return fitting(x, d)


def _like(name):
    def like(input, *, dtype=None, device=None, requires_grad=False, **extra):
        _unknown(name, extra)
        dtype = as_dtype(name, dtype)
        if not isinstance(input, dispatch._Tensor):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        if device is not None and devices.canonical(device) is not input.device:
            d = dtype or input.dtype
            maker = {"zeros_like": zeros, "ones_like": ones, "empty_like": zeros}[name]
            return maker(input.shape, dtype=d, device=device, requires_grad=requires_grad)
        op = TABLE["zeros_like" if name == "empty_like" else name]
        out = apply(op, (input,), (dtype,))
        return out.requires_grad_() if requires_grad else out

    like.__name__ = name
    like.__doc__ = f"``{name[:-5]}`` of the shape, dtype and device of a tensor."
    return like


for _name in ("zeros_like", "ones_like", "empty_like"):
    function(_name)(_like(_name))


@function()
def full_like(input, fill_value, *, dtype=None, device=None, requires_grad=False, **extra):
    """One number in the shape, dtype and device of a tensor."""
    _unknown("full_like", extra)
    if device is not None and devices.canonical(device) is not input.device:
        return full(input.shape, fill_value, dtype=dtype or input.dtype, device=device, requires_grad=requires_grad)
    if not isinstance(fill_value, dispatch._Tensor):
        fill_value = _number("full_like", "fill_value", 2, fill_value)
        fill_value = _fill(fill_value, dtype or input.dtype)
    out = apply(TABLE["full_like"], (input, fill_value), (dtype,))
    return out.requires_grad_() if requires_grad else out


@function()
def empty_strided(size, stride, *, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of given strides."""
    need = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if math.prod(size) else 0
    base = zeros(need, dtype=dtype, device=device)
    out = base.as_strided(size, stride)
    return out.requires_grad_() if requires_grad else out


@function()
def arange(*args, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Numbers from ``start`` below ``end`` in steps (https://pytorch.org/docs/stable/generated/torch.arange.html)."""
    names = ("end",) if len(args) == 1 and "start" not in extra else ("start", "end", "step")
    if len(args) > 3:
        raise TypeError(f"arange() takes at most 3 positional arguments but {len(args)} were given")
    if args and "end" in extra and "start" not in extra:
        names = ("start", "step")
    given = dict(zip(names, args, strict=False))
    for name in ("start", "end", "step"):
        if name in extra:
            given[name] = extra.pop(name)
    _unknown("arange", extra)
    if "end" not in given:
        raise TypeError("arange() received an invalid combination of arguments - no 'end'")
    start, end, step = (
        _number("arange", name, 1 + i, given.get(name, i // 2))
        for i, name in enumerate(("start", "end", "step"))
    )
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if not all(math.isfinite(x) for x in (start, end)):
        raise RuntimeError(f"unsupported range: {start} -> {end}")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(x, int) for x in (start, end, step))
    d = as_dtype("arange", dtype)
    if d is None:
        d = out.dtype if out is not None else dt.int64 if integral else dt.get_default_dtype()
    if d is dt.bool_ or d.category == dt.COMPLEX:
        raise NotImplementedError(f"\"arange_cpu\" not implemented for '{dt.SCALAR_NAMES[d]}'")
    if d is dt.int64:
        start, end, step = int(start), int(end), int(step)
        count = -(-(end - start) // step) if step else 0
    else:
        count = math.ceil((float(end) - float(start)) / step)
    if d.category == dt.INTEGRAL:
        start, step = int(start), int(step)
    else:
        start, step = float(start), float(step)
    result = make("arange", (start, step), ((int(count),), d), device, requires_grad)
    return _into(out, result)


@function("range")
def range_(start, end=None, step=1, *, out=None, dtype=None, device=None, requires_grad=False):
    """Numbers from ``start`` to ``end`` in steps, the end included."""
    if end is None:
        start, end = 0, start
    d = _dtype_for("range", dtype, out)
    start, end, step = (_number("range", "end", 1, x) for x in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    count = int((float(end) - float(start)) / step) + 1
    kind = int if d.category == dt.INTEGRAL else float
    result = make("arange", (kind(start), kind(step)), ((count,), d), device, requires_grad)
    return _into(out, result)


def _check_steps(steps):
    if isinstance(steps, bool) or not hasattr(steps, "__index__"):
        raise TypeError(
            f"linspace(): argument 'steps' must be int, not {type(steps).__name__}"
        )
    steps = steps.__index__()
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    return steps


def _end(name, position, x):
    if isinstance(x, dispatch._Tensor):
        if x.ndim:
            raise RuntimeError(
                f"{name} only supports 0-dimensional start and end tensors, but got {name} with "
                f"{x.ndim} dimension(s)."
            )
        return x
    return _number(name, ("start", "end")[position], position + 1, x)


def _ramp_dtype(name, dtype, out, start, end):
    if dtype is None and out is None and (_is_complex(start) or _is_complex(end)):
        return dt.scalar_dtype(complex)
    return _dtype_for(name, dtype, out)


def _is_complex(x):
    return x.is_complex() if isinstance(x, dispatch._Tensor) else isinstance(x, complex)


@function()
def linspace(start, end, steps, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Evenly spaced numbers from ``start`` to ``end``, both included."""
    _unknown("linspace", extra)
    steps = _check_steps(steps)
    d = _ramp_dtype("linspace", dtype, out, start, end)
    ends = _end("linspace", 0, start), _end("linspace", 1, end)
    return _into(out, make("linspace", ends, (steps, d), device, requires_grad))


@function()
def logspace(
    start, end, steps, base=10.0, *, out=None, dtype=None, device=None, requires_grad=False, **extra
):
    """Powers of ``base`` with evenly spaced exponents."""
    _unknown("logspace", extra)
    steps = _check_steps(steps)
    d = _ramp_dtype("logspace", dtype, out, start, end)
    ends = _end("logspace", 0, start), _end("logspace", 1, end)
    base = float(_number("logspace", "base", 4, base))
    return _into(out, make("logspace", (*ends, base), (steps, d), device, requires_grad))


def _count(name, argument, position, n):
    if isinstance(n, (bool, float)) or not hasattr(n, "__index__"):
        raise TypeError(
            f"{name}(): argument '{argument}' (position {position}) must be int, not "
            f"{type(n).__name__}"
        )
    return n.__index__()


@function()
def eye(n, m=None, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Ones on the diagonal of an n by m matrix."""
    _unknown("eye", extra)
    n = _count("eye", "n", 1, n)
    m = n if m is None else _count("eye", "m", 2, m)
    for name, size in (("n", n), ("m", m)):
        if size < 0:
            raise RuntimeError(f"{name} must be greater or equal to 0, got {size}")
    d = _dtype_for("eye", dtype, out)
    return _into(out, make("eye", (), ((n, m), d), device, requires_grad))


def _triangle(name, lower):
    def indices(row, col, offset=0, *, dtype=None, device=None, **extra):
        _unknown(name, extra)
        for label, n in (("row", row), ("col", col)):
            if n < 0:
                raise RuntimeError(f"{label} must be non-negative, got{n}")
        d = as_dtype(name, dtype) or dt.int64
        return make("triangle_indices", (), (row, col, offset, lower, d), device)

    indices.__name__ = name
    indices.__doc__ = f"Row and column numbers of the {'lower' if lower else 'upper'} triangle."
    return indices


for _name, _lower in {"tril_indices": True, "triu_indices": False}.items():
    function(_name)(_triangle(_name, _lower))


@function()
def vander(x, N=None, increasing=False):
    """The Vandermonde matrix of a vector."""
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    n = x.shape[0] if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    exponents = arange(n) if increasing else arange(n - 1, -1, -1) if n else arange(0)
    if x.dtype is dt.bool_ or x.dtype.category == dt.INTEGRAL:
        x = x.to(dt.int64)
    return x.unsqueeze(-1).pow(exponents)


# ---- methods that make new tensors -------------------------------------------------------------


@method("new_tensor")
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, **extra):
    """``tensor`` with this tensor's dtype and device."""
    return tensor(
        data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


def _new_form(maker):
    def new(self, *size, dtype=None, device=None, requires_grad=False, **extra):
        return maker(
            *size, dtype=dtype or self.dtype, device=device or self.device,
            requires_grad=requires_grad, **extra,
        )  # fmt: skip

    new.__doc__ = f"``{maker.__name__}`` with this tensor's dtype and device."
    return new


for _maker in (zeros, ones, empty, full):
    method(f"new_{_maker.__name__}")(_new_form(_maker))


@method("new_empty_strided")
def new_empty_strided(self, size, stride, *, dtype=None, device=None, requires_grad=False):
    """``empty_strided`` with this tensor's dtype and device."""
    return empty_strided(
        size, stride, dtype=dtype or self.dtype, device=device or self.device,
        requires_grad=requires_grad,
    )  # fmt: skip


@method("new")
def new(self, *args, device=None):
    """The legacy constructor with this tensor's dtype and device."""
    return legacy_tensor(
        dispatch._Tensor, *args, dtype=self.dtype, device=device or self.device
    )


@function(method=True)
def clone(input, *, memory_format=None):
    """A copy, on the tape."""
    return apply(TABLE["clone"], (input,))


_ = value_of
