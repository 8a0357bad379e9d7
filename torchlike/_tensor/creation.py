"""Creation functions: tensors from data, from numbers, and from other libraries' arrays."""

from __future__ import annotations

import math

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, type_name, warn, warn_once
from torchlike._core.sizes import Size
from torchlike._core.symbolic import SymFloat, SymInt, tracing
from torchlike._engine.flush import flush, jax_array
from torchlike._engine.prefix import keeps_all, local, takes
from torchlike._engine.values import Value, aval, expose, from_array
from torchlike._ops.table import TABLE
from torchlike._tensor import bridge, dispatch, levels
from torchlike._tensor.dispatch import apply, into, value_of, wrap
from torchlike._tensor.forms import FUNCTIONS, function, method
from torchlike._tensor.host_data import check_layout, fitting, host_data
from torchlike._tensor.layouts import strided
from torchlike._tensor.modes import modes
from torchlike._tensor.size_arguments import lone_keyword, sizes_argument


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
    if segment.creates is device:
        return
    if not (keeps_all(segment) and takes(segment, device)):
        if segment.device is not device and (segment.node.depth or segment.arrays):
            flush(segment, "device")
            segment = local.segment
        segment.device = device
    segment.creates = device


def as_leaf(out, requires_grad: bool):
    """A new tensor, as a leaf of the tape if ``requires_grad``."""
    if not requires_grad:
        return out
    if requires_grad.__class__ is not bool:
        raise TypeError(f"argument 'requires_grad' must be bool, not {type_name(requires_grad)}")
    if out.dtype.category < dt.FLOATING:
        raise RuntimeError("Only Tensors of floating point and complex dtype can require gradients")
    return out.requires_grad_()


def make(op_name, operands, statics, device, requires_grad=False):
    """Record a creation op on a device."""
    on_device(target_device(device))
    out = apply(TABLE[op_name], operands, statics)
    return as_leaf(out, requires_grad)


def from_host(array: np.ndarray, device: devices.device, requires_grad=False):
    """A tensor over a numpy array that nobody else will write."""
    d = dt.BY_NUMPY.get(array.dtype)
    if d is None:
        raise TypeError(
            f"can't convert np.ndarray of type numpy.{array.dtype.type.__name__}. The only "
            "supported types are: float64, float32, float16, complex64, complex128, int64, int32, "
            "int16, int8, uint64, uint32, uint16, uint8, and bool."
        )
    out = wrap(Value(aval(array.shape, d, device), None if device is devices.META else array))
    if local.capture is not None:
        local.capture.constant(out._value)
    if device is not devices.CPU and device is not devices.META:
        jax_array(out._value)
    return as_leaf(out, requires_grad)


# ---- from data ---------------------------------------------------------------------------------


@function()
def tensor(data, *, dtype=None, device=None, requires_grad=False, pin_memory=False):
    """A new tensor of a copy of the data (https://pytorch.org/docs/stable/generated/torch.tensor.html)."""
    dtype = dt.as_dtype("tensor", dtype)
    if isinstance(data, dispatch._Tensor):
        _warn_of_copy("torch.tensor")
        out = data.detach().clone()
        if dtype is not None or device is not None:
            out = out.to(device=device, dtype=dtype)
        return as_leaf(out, requires_grad)
    if hasattr(data, "as_tensor"):  # a storage: its bytes as elements, not its elements cast
        if dtype is None:  # PyTorch's choices
            dtype = dt.get_default_dtype() if hasattr(data, "_untyped_storage") else dt.int64
        out = data.as_tensor(dtype, "").detach().clone()
        return as_leaf(out if device is None else out.to(device), requires_grad)
    if isinstance(data, jax.core.Tracer):
        out = from_jax(data)
        return out if dtype is None else out.to(dtype)
    if tracing.scope is not None and _has_open(data):
        return _of_open(data, dtype)
    out = from_host(host_data(data, dtype), target_device(device), requires_grad)
    if modes.sealed:  # the body computes it anew in each turn, and may write to it
        out = as_leaf(out.detach().clone(), requires_grad)
    return out


def _warn_of_copy(call: str) -> None:
    warn(
        "To copy construct from a tensor, it is recommended to use "
        "sourceTensor.detach().clone() or sourceTensor.detach().clone().requires_grad_(True), "
        f"rather than {call}(sourceTensor)."
    )


def _has_open(data) -> bool:
    if isinstance(data, (tuple, list)):
        return any(map(_has_open, data))
    return isinstance(data, (SymInt, SymFloat))


def _of_open(data, dtype):
    """A tensor of numbers among which are open sizes of an exported program."""
    if isinstance(data, (tuple, list)):
        return FUNCTIONS["stack"]([_of_open(x, dtype) for x in data])
    if not isinstance(data, (SymInt, SymFloat)):
        return tensor(data, dtype=dtype)
    out = wrap(from_array(tracing.scope.array(data), devices.CPU))
    if isinstance(data, SymFloat) and dtype is None:
        dtype = dt.get_default_dtype()
    return out if dtype is None else out.to(dtype)


@function()
def as_tensor(data, dtype=None, device=None):
    """The data as a tensor; a tensor that fits already is returned as it is."""
    if isinstance(data, dispatch._Tensor):
        dtype = dt.as_dtype("as_tensor", dtype)
        if (dtype is None or dtype is data.dtype) and device is None:
            return data
        return data.to(device=device, dtype=dtype)
    if isinstance(data, np.ndarray) and target_device(device) is devices.CPU:
        dtype = dt.as_dtype("as_tensor", dtype)
        if dtype is None or dtype is dt.BY_NUMPY.get(data.dtype):
            return from_numpy(data)
    return tensor(data, dtype=dtype, device=device)


@function()
def asarray(obj, *, dtype=None, device=None, copy=None, requires_grad=None):
    """``as_tensor`` with numpy's arguments; ``requires_grad`` defaults to the object's own."""
    if isinstance(obj, (bytes, bytearray, memoryview)):
        obj = FUNCTIONS["frombuffer"](obj, dtype=dtype or dt.get_default_dtype())
    if copy is False:
        _need_alias(obj, dtype)
    if hasattr(obj, "__dlpack__") and not isinstance(obj, (dispatch._Tensor, np.ndarray)):
        obj = FUNCTIONS["from_dlpack"](obj)
    if copy and not isinstance(obj, dispatch._Tensor):
        out = tensor(obj, dtype=dtype, device=device)
    else:
        out = as_tensor(obj, dtype=dtype, device=device)
        if copy and out is obj:
            out = out.clone()
    if requires_grad is None and out.requires_grad:
        warn_once(
            "torch.asarray: unspecified requires_grad now defaults to obj.requires_grad instead of "
            "False. Pass requires_grad=False explicitly to get the old behavior and silence this "
            "warning."
        )
    if requires_grad is None or requires_grad == out.requires_grad:
        return out
    return out.detach().requires_grad_() if requires_grad else out.detach()


def _need_alias(obj, dtype) -> None:
    """Raise if a tensor of a dtype could not share the memory of an object."""
    if isinstance(obj, dispatch._Tensor):
        found = obj.dtype
    elif isinstance(obj, np.ndarray):
        found = dt.BY_NUMPY.get(obj.dtype)
    elif hasattr(obj, "__dlpack__"):
        return
    else:
        raise ValueError("can't alias arbitrary sequence into a tensor.")
    if dtype is not None and dtype is not found:
        raise ValueError(
            f"can't alias tensor with dtype '{dt.SCALAR_NAMES.get(found, found)}' into dtype "
            f"'{dt.SCALAR_NAMES[dtype]}'."
        )


@function()
def from_numpy(ndarray):
    """A tensor that shares the memory of a numpy array; a read-only one is copied."""
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    check_layout(ndarray)
    out = from_host(host_data(ndarray, None), devices.CPU)
    bridge.share(out, ndarray)
    return out


@function()
def from_jax(array):
    """A tensor over a jax.Array, without a copy."""
    value = from_array(array)
    expose(array)
    return wrap(value)


@function()
def scalar_tensor(s, *, dtype=None, device=None, requires_grad=False, **extra):
    """A 0-d tensor of the default dtype."""
    refuse_unknown("scalar_tensor", extra)
    s = python_number("scalar_tensor", "s", 1, s)
    return tensor(
        s, dtype=dtype or dt.get_default_dtype(), device=device, requires_grad=requires_grad
    )


def _options(d: dt.dtype) -> str:
    return (
        f"TensorOptions(dtype={dt.C_NAMES.get(d, d)}, device=cpu, layout=Strided, requires_grad="
        "false (default), pinned_memory=false (default), memory_format=(nullopt))"
    )


_NO_SIZES = (float, complex, np.floating, np.complexfloating)


def legacy_tensor(cls, *args, dtype=None, device=None, place=None):
    """``torch.Tensor(...)``: sizes give an uninitialised float tensor, a sequence its data.

    Raises ``TypeError`` for a tensor of another dtype than the class has, and ``RuntimeError`` for
    a device of another type than ``place``."""
    d = dtype or dt.get_default_dtype()
    place = place or devices.get_default_device().type
    if device is not None and (given := devices.device(device)).type != place:
        raise RuntimeError(
            f"legacy constructor expects device type: {place} but device type: {given.type} was "
            "passed"
        )
    if not args:
        out = from_host(np.zeros((0,), d.numpy), target_device(device))
    elif len(args) == 1 and isinstance(args[0], dispatch._Tensor):
        if dtype is not None and args[0].dtype is not d:
            raise TypeError(f"expected {_options(d)} (got {_options(args[0].dtype)})")
        out = args[0].detach()
    elif len(args) == 1 and hasattr(args[0], "as_tensor"):  # a storage
        out = args[0].as_tensor(d)
    elif len(args) == 1 and isinstance(args[0], str):
        raise TypeError("new(): invalid data type 'str'")
    elif len(args) == 1 and (args[0] is None or isinstance(args[0], _NO_SIZES)):
        raise TypeError(f"new(): data must be a sequence (got {type(args[0]).__name__})")
    elif len(args) == 1 and not isinstance(args[0], (int, np.integer, Size)):
        out = from_host(host_data(args[0], d), target_device(device))
    else:
        out = from_host(np.zeros(check_size(args, "new"), d.numpy), target_device(device))
    if cls is dispatch._Tensor:
        return out
    if args and isinstance(args[0], dispatch._Tensor):
        return out.as_subclass(cls)
    shown = object.__new__(cls)
    shown._value = out._value
    return shown


# ---- from numbers ------------------------------------------------------------------------------


def check_size(size, function: str = "empty") -> tuple:
    """A size tuple; raises PyTorch's error for negative dimensions."""
    size = sizes_argument(size, function)
    for n in size:
        if n < 0 and function == "zeros":
            raise RuntimeError("zeros: Dimension size must be non-negative.")
        if n < 0:
            raise RuntimeError(f"Trying to create tensor with negative dimension {n}: {list(size)}")
    return size


def _size_of(name, size, named_size):
    if "size" in named_size:
        size = (lone_keyword(name, "size", {"size": named_size.pop("size")}),)
    elif not size:
        raise TypeError(f'{name}() missing 1 required positional arguments: "size"')
    return check_size(size, name)


def dtype_for(name, dtype, out):
    if dtype is not None:
        dtype = dt.as_dtype(name, dtype)
        if out is not None and out.dtype is not dtype:
            raise RuntimeError(
                f"dtype {dt.SCALAR_NAMES[dtype]} does not match dtype of out parameter "
                f"({dt.SCALAR_NAMES[out.dtype]})"
            )
        return dtype
    return dt.get_default_dtype() if out is None else out.dtype


_sparse_empty = None  # set by sparse/creation.py: zeros of a sparse layout


def _of_layout(size, dtype, device, requires_grad, extra):
    """What zeros() and empty() make for ``layout=`` a sparse one; else None."""
    layout = extra.get("layout")
    if layout is None or layout is strided:
        return None
    del extra["layout"]
    return _sparse_empty(size, layout, dtype, device, requires_grad)


def refuse_unknown(name, extra):
    layout = extra.get("layout")
    if layout is not None and layout is not strided:
        raise NotSupported(f"{name}(layout={layout})", "make it dense, then x.to_sparse()")
    extra = {
        k: v
        for k, v in extra.items()
        if k not in ("layout", "pin_memory", "memory_format", "names")
    }
    if extra:
        raise TypeError(f"{name}() got an unexpected keyword argument '{next(iter(extra))}'")


@function()
def zeros(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of zeros."""
    size = _size_of("zeros", size, extra)
    if out is not None and extra.get("layout") not in (None, out.layout):
        raise RuntimeError(
            f"layout {extra['layout']} does not match layout of out parameter ({out.layout})"
        )
    if extra and (found := _of_layout(size, dtype, device, requires_grad, extra)) is not None:
        return found
    refuse_unknown("zeros", extra)
    d = dtype_for("zeros", dtype, out)
    if out is not None and out._sparse:
        return dispatch.rebind(out, _sparse_empty(size, out.layout, d, out.device))
    return into(out, make("zeros", (), (size, d), device, requires_grad))


@function()
def ones(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of ones."""
    size = _size_of("ones", size, extra)
    refuse_unknown("ones", extra)
    d = dtype_for("ones", dtype, out)
    return into(out, make("ones", (), (size, d), device, requires_grad))


@function()
def empty(*size, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor whose contents are not specified: zeros."""
    if size and "layout" not in extra:
        size = (check_size(size, "empty"),)
    return zeros(*size, out=out, dtype=dtype, device=device, requires_grad=requires_grad, **extra)


@function()
def full(size, fill_value, *, out=None, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of one number."""
    refuse_unknown("full", extra)
    if not isinstance(size, (tuple, list)):
        raise TypeError(
            f"full(): argument 'size' (position 1) must be tuple of ints, not {type(size).__name__}"
        )
    size, dtype = check_size((size,)), dt.as_dtype("full", dtype)
    if isinstance(fill_value, dispatch._Tensor) and not fill_value.requires_grad:
        if fill_value.ndim:
            raise RuntimeError(
                f"full() expects a 0-dim fill_value, but got a tensor of {fill_value.ndim} dims"
            )
        d = dtype_for("full", dtype, out) if dtype else fill_value.dtype
    else:
        fill_value = python_number("full", "fill_value", 2, fill_value)
        given = dtype is not None or out is not None
        d = dtype_for("full", dtype, out) if given else dt.scalar_dtype(type(fill_value))
        fill_value = _fill(fill_value, d)
    return into(out, make("full", (fill_value,), (size, d), device, requires_grad))


def python_number(function, argument, position, x):
    """A Python number; raises PyTorch's error for what is none."""
    if isinstance(x, np.bool_):
        return float(x)
    if isinstance(x, (np.generic, dispatch._Tensor)) and x.ndim == 0:
        x = x if getattr(x, "requires_grad", False) else x.item()
    if isinstance(x, (SymInt, SymFloat)):
        return x
    kind = next((k for k in (bool, int, float, complex) if isinstance(x, k)), None)
    if kind is None:
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be Number, not "
            f"{type(x).__name__}"
        )
    return kind(x)


def _fill(x, d):
    if x.__class__ is complex and dt.BOOL < d.category < dt.COMPLEX:
        raise dt.does_not_fit(d)
    if d.category >= dt.FLOATING and x.__class__ in (int, float):
        dt.check_held(x, d)
    return fitting(x, d, dt.does_not_fit)


def _like(name):
    def like(input, *, dtype=None, device=None, requires_grad=False, **extra):
        if extra and name != "ones_like" and isinstance(input, dispatch._Tensor):
            layout = extra.get("layout")
            if layout is input.layout:
                del extra["layout"]
            elif layout is not None and layout is not strided and name == "zeros_like":
                dtype = dt.as_dtype(name, dtype) or input.dtype
                device = device or input.device
                return _sparse_empty(input.shape, layout, dtype, device, requires_grad)
        refuse_unknown(name, extra)
        dtype = dt.as_dtype(name, dtype)
        if not isinstance(input, dispatch._Tensor):
            raise TypeError(
                f"{name}(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        elsewhere = device is not None and devices.canonical(device) is not input.device
        if elsewhere or (extra and input._sparse and extra.get("layout") is strided):
            d, device = dtype or input.dtype, device or input.device
            maker = {"zeros_like": zeros, "ones_like": ones, "empty_like": zeros}[name]
            return maker(input.shape, dtype=d, device=device, requires_grad=requires_grad)
        if name == "empty_like" and input._sparse and not input.is_sparse:
            return full_like(input, 0, dtype=dtype, requires_grad=requires_grad)  # its pattern
        op = TABLE["zeros_like" if name == "empty_like" else name]
        out = apply(op, (input,), (dtype,))
        return as_leaf(out, requires_grad)

    like.__name__ = name
    like.__doc__ = f"``{name[:-5]}`` of the shape, dtype and device of a tensor."
    return like


for _name in ("zeros_like", "ones_like", "empty_like"):
    function(_name)(_like(_name))


@function()
def full_like(input, fill_value, *, dtype=None, device=None, requires_grad=False, **extra):
    """One number in the shape, dtype and device of a tensor."""
    refuse_unknown("full_like", extra)
    if device is not None and devices.canonical(device) is not input.device:
        return full(
            input.shape,
            fill_value,
            dtype=dtype or input.dtype,
            device=device,
            requires_grad=requires_grad,
        )
    if not isinstance(fill_value, dispatch._Tensor):
        fill_value = python_number("full_like", "fill_value", 2, fill_value)
        fill_value = _fill(fill_value, dtype or input.dtype)
    out = apply(TABLE["full_like"], (input, fill_value), (dtype,))
    return as_leaf(out, requires_grad)


@function()
def empty_strided(size, stride, *, dtype=None, device=None, requires_grad=False, **extra):
    """A tensor of given strides."""
    size, stride = check_size((size,)), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError(
            f"dimensionality of sizes ({len(size)}) must match dimensionality of strides "
            f"({len(stride)})"
        )
    need = 1 + sum((n - 1) * s for n, s in zip(size, stride, strict=True)) if math.prod(size) else 0
    base = zeros(need, dtype=dtype, device=device)
    out = base.as_strided(size, stride)
    return as_leaf(out, requires_grad)


# ---- methods that make new tensors -------------------------------------------------------------


@method("new_tensor")
def new_tensor(self, data, *, dtype=None, device=None, requires_grad=False, **extra):
    """``tensor`` with this tensor's dtype and device."""
    if isinstance(data, dispatch._Tensor):
        _warn_of_copy("tensor.new_tensor")
        data = data.detach()
        return as_leaf(
            data.to(device or self.device, dtype or self.dtype, copy=True), requires_grad
        )
    return tensor(
        data, dtype=dtype or self.dtype, device=device or self.device, requires_grad=requires_grad
    )


def _new_form(maker):
    def new(self, *size, dtype=None, device=None, requires_grad=False, **extra):
        made = maker(
            *size, dtype=dtype or self.dtype, device=device or self.device,
            requires_grad=requires_grad, **extra,
        )  # fmt: skip
        return levels.alike(made, self) if modes.levels and not requires_grad else made

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
def new(self, *args, device=None, **named):
    """The legacy constructor with this tensor's dtype and device."""
    if named:
        args = (Size(lone_keyword("new", "size", named)),)
    return legacy_tensor(
        dispatch._Tensor, *args, dtype=self.dtype, device=device or self.device,
        place=self.device.type,
    )  # fmt: skip


@function(method=True)
def clone(input, *, memory_format=None):
    """A copy, on the tape."""
    return apply(TABLE["clone"], (input,))


_ = value_of
