"""Creation functions: tensors from data, from numbers, and from other libraries' arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence

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
    elif hasattr(data, "__len__") and hasattr(data, "__getitem__"):
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
    if kind is int and d.category == dt.INTEGRAL:
        low, high = np.iinfo(d.numpy).min, np.iinfo(d.numpy).max
        if not low <= x <= high:
            if dtype is None:
                raise RuntimeError("Overflow when unpacking long long")
            raise RuntimeError(
                f"value cannot be converted to type {d.numpy.name}_t without overflow"
            )
    if d.category < dt.COMPLEX and kind is complex:
        raise RuntimeError(
            f"value cannot be converted to type {d.name} without overflow"
        )
    return np.array(x).astype(d.numpy)


def _sequence_array(data, dtype):
    shape = _nested_shape(data)
    flat: list = []
    _flatten(data, shape, 0, flat)
    kinds = {type(x) for x in flat}
    if kinds <= {float, int, bool, complex}:
        kind = next((k for k in (complex, float, int) if k in kinds), bool if kinds else float)
        d = dtype or dt.scalar_dtype(kind)
        try:
            if kind is int and d.category == dt.INTEGRAL and d.itemsize < 8:
                array = np.array(flat, np.int64)
                array = array.astype(d.numpy)
            elif kind is int and d.category == dt.INTEGRAL:
                array = np.array(flat, d.numpy)
            else:
                array = np.array(flat, dt.scalar_dtype(kind).numpy if kind is not float else np.float64)
                array = array.astype(d.numpy)
        except OverflowError:
            raise RuntimeError("Overflow when unpacking long long") from None
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
        elif isinstance(x, str):
            raise TypeError(f"new(): invalid data type '{type(x).__name__}'")
        else:
            raise RuntimeError(f"Could not infer dtype of {type(x).__name__}")
        found = d if found is None else dt.promote_types(found, d)
        parts.append(part.item() if part.ndim == 0 else part)
    d = dtype or found
    return np.array(parts).astype(d.numpy).reshape(shape)


def _nested_shape(data) -> tuple:
    shape = []
    while True:
        if isinstance(data, (np.ndarray, dispatch._Tensor)):
            shape.extend(data.shape)
            return tuple(shape)
        if isinstance(data, (str, bytes)) or not (
            isinstance(data, Sequence) or (hasattr(data, "__len__") and hasattr(data, "__getitem__"))
        ):
            return tuple(shape)
        if len(shape) > 64:
            raise ValueError("too many dimensions")
        shape.append(len(data))
        if not len(data):
            return tuple(shape)
        data = data[0]


def _flatten(data, shape, depth, flat):
    if depth == len(shape):
        if isinstance(data, (list, tuple)):
            raise ValueError(f"too many dimensions or a ragged sequence at dim {depth}")
        flat.append(data)
        return
    if isinstance(data, (np.ndarray, dispatch._Tensor)):
        array = data if isinstance(data, np.ndarray) else data._host()
        if array.shape != shape[depth:]:
            raise ValueError(
                f"expected sequence of length {shape[depth]} at dim {depth} (got {len(array)})"
            )
        flat.extend(array.reshape(-1))
        return
    if not hasattr(data, "__len__"):
        raise TypeError(f"not a sequence at dim {depth}: {data!r}")
    if len(data) != shape[depth]:
        raise ValueError(
            f"expected sequence of length {shape[depth]} at dim {depth} (got {len(data)})"
        )
    if depth + 1 == len(shape):
        flat.extend(data)
        if any(isinstance(x, (list, tuple)) for x in data):
            raise ValueError(f"too many dimensions or a ragged sequence at dim {depth + 1}")
        return
    for item in data:
        _flatten(item, shape, depth + 1, flat)


@function()
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A new tensor of a copy of the data (https://pytorch.org/docs/stable/generated/torch.tensor.html)."""
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


def _size_of(size, named_size):
    if "size" in named_size:
        return check_size((named_size.pop("size"),))
    return check_size(size)


def _unknown(name, extra):
    extra = {k: v for k, v in extra.items() if k not in ("layout", "pin_memory", "memory_format", "names")}
    if extra:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(extra))}'")


def _into(out, result):
    return result if out is None else dispatch.copy_out(out, result)


@function()
def zeros(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of zeros."""
    size = _size_of(size, extra)
    _unknown("zeros", extra)
    d = dtype or (out.dtype if out is not None else dt.get_default_dtype())
    return _into(out, make("zeros", (), (size, d), device, requires_grad))


@function()
def ones(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of ones."""
    size = _size_of(size, extra)
    _unknown("ones", extra)
    d = dtype or (out.dtype if out is not None else dt.get_default_dtype())
    return _into(out, make("ones", (), (size, d), device, requires_grad))


@function()
def empty(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor whose contents are not specified: zeros."""
    return zeros(*size, out=out, dtype=dtype, device=device, requires_grad=requires_grad, **extra)


@function()
def full(size, fill_value, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of one number."""
    _unknown("full", extra)
    size = check_size((size,) if isinstance(size, (tuple, list)) else size if hasattr(size, "__iter__") else (size,))
    if isinstance(fill_value, dispatch._Tensor):
        d = dtype or fill_value.dtype
    else:
        kind = next((k for k in (bool, int, float, complex) if isinstance(fill_value, k)), None)
        if kind is None and hasattr(fill_value, "item"):
            fill_value = fill_value.item()
            kind = type(fill_value)
        if kind is None:
            raise TypeError(
                f"full(): argument 'fill_value' must be Number, not {type(fill_value).__name__}"
            )
        d = dtype or dt.scalar_dtype(kind)
    return _into(out, make("full", (fill_value,), (size, d), device, requires_grad))


def _like(name):
    def like(input, *, dtype=None, device=None, requires_grad=False, **extra):
        _unknown(name, extra)
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
    given = dict(zip(names, args, strict=False))
    for name in ("start", "end", "step"):
        if name in extra:
            given[name] = extra.pop(name)
    _unknown("arange", extra)
    start, end, step = given.get("start", 0), given["end"], given.get("step", 1)
    start, end, step = (x.item() if hasattr(x, "item") else x for x in (start, end, step))
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    integral = all(isinstance(x, int) for x in (start, end, step))
    d = dtype or (out.dtype if out is not None else dt.int64 if integral else dt.get_default_dtype())
    count = -(-(end - start) // step) if integral else math.ceil((end - start) / step)
    if not integral:
        start, step = float(start), float(step)
    result = make("arange", (start, step), ((int(count),), d), device, requires_grad)
    return _into(out, result)


@function()
def eye(n, m=None, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """Ones on the diagonal of an n by m matrix."""
    _unknown("eye", extra)
    if n < 0 or (m is not None and m < 0):
        raise RuntimeError(f"n must be greater or equal to 0, got {n if n < 0 else m}")
    size = (int(n), int(n if m is None else m))
    d = dtype or (out.dtype if out is not None else dt.get_default_dtype())
    return _into(out, make("eye", (), (size, d), device, requires_grad))


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


@function(method=True)
def clone(input, *, memory_format=None):
    """A copy, on the tape."""
    return apply(TABLE["clone"], (input,))


_ = value_of
