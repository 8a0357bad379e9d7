"""Methods of Tensor that are no plain ops: conversion, copying, operators."""

from __future__ import annotations

from functools import wraps

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._core.symbolic import SymFloat, SymInt
from torchlike._engine.flush import jax_array
from torchlike._engine.prefix import keeps_all, local, record
from torchlike._engine.values import Batched, Value, aval
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, indexing, views
from torchlike._tensor.dispatch import apply, value_of, wrap
from torchlike._tensor.forms import FUNCTIONS, METHODS, method
from torchlike._tensor.host_data import number_held
from torchlike._tensor.shapes import broadcast_shapes
from torchlike._tensor.tensor import Tensor

# ---- conversion --------------------------------------------------------------------------------


def _parse_to(args, device, dtype):
    for arg in args:
        if isinstance(arg, (dt.dtype, type)):
            dtype = dt.as_dtype("to", arg)
        elif isinstance(arg, Tensor):
            dtype, device = arg.dtype, arg.device
        elif isinstance(arg, (str, devices.device)) or (
            isinstance(arg, int) and not isinstance(arg, bool)
        ):
            device = devices.device(arg)
        elif arg is None or isinstance(arg, bool):
            continue
        elif isinstance(arg, jax.Device):
            device = devices.from_jax_device(arg)
        else:
            raise TypeError(
                f"to() received an invalid combination of arguments - got ({type(arg).__name__})"
            )
    return device, dt.as_dtype("to", dtype)


@method("to")
def to(
    self,
    *args,
    device=None,
    dtype=None,
    non_blocking=False,
    copy=False,
    memory_format=None,
    other=None,
):
    """Another dtype or device; itself if it has both already (https://pytorch.org/docs/stable/generated/torch.Tensor.to.html)."""
    if other is not None:
        args = (other, *args)
    device, dtype = _parse_to(args, device, dtype)
    out = self
    if dtype is not None and dtype is not self.dtype:
        if self.dtype.is_complex and not dtype.is_complex and dtype is not dt.bool_:
            warn_once("Casting complex values to real discards the imaginary part")
        out = apply(TABLE["to_dtype"], (out,), (dtype,))
    if device is not None:
        device = devices.canonical(device)
        if device is not out.device:
            out = move(out, device)
    return out.clone() if copy and out is self else out


def move(t, device: devices.device):
    """A copy on another device; its gradient goes back to this one."""
    from torchlike._tensor.function import Function

    class ToCopy(Function):
        @staticmethod
        def forward(ctx, x):
            ctx.source = x.device
            return wrap(_moved(value_of(x), device))

        @staticmethod
        def backward(ctx, g):
            return wrap(_moved(value_of(g), ctx.source))

    return ToCopy.apply(t)


def _moved(value: Value, device: devices.device) -> Value:
    a = aval(value.aval.shape, value.aval.dtype, device)
    if device is devices.META:
        return Value(a)
    batch, capture = value.array, local.capture
    if batch.__class__ is Batched:
        return Value(a, Batched(batch.level, _moved(batch.value, device), batch.mapped))
    constant = capture is not None and capture.constants.get(id(value)) is value
    if keeps_all(local.segment) and not constant and not isinstance(batch, jax.core.Tracer):
        return record(TABLE["to_device"], (device,), (value,))[0][0]
    array, target = jax_array(value), devices.jax_device(device)
    with jax.enable_x64(True):
        # Two of our devices can be one of JAX's, and either tensor may be overwritten.
        shared = not isinstance(array, jax.core.Tracer) and array.device == target
        moved = Value(a, jax.device_put(array, target, may_alias=False if shared else None))
    if constant:
        capture.constant(moved)
    return moved


@method("type")
def type_(self, dtype=None, non_blocking=False):
    """The legacy type's name, or the tensor as another dtype or legacy type, given as one or by
    its name. Raises ``ValueError`` for a name that is none."""
    if dtype is None:
        kind = self.device.type
        place = _PLACES[kind == "cuda"] if kind in ("cpu", "cuda") else f"torch.{kind}."
        return f"{place}{_legacy_name(self.dtype)}Tensor"
    if isinstance(dtype, str):
        place, _, name = dtype.rpartition(".")
        named = {f"{_legacy_name(d)}Tensor": d for d in dt.ALL}
        if f"{place}." not in _PLACES or name not in named:
            raise ValueError(f"invalid type: '{dtype}'")
        return to(self, "cuda" if f"{place}." == _PLACES[True] else "cpu", named[name])
    if dtype is Tensor:
        return to(self, devices.CPU, dt.get_default_dtype())
    if isinstance(dtype, LegacyType):
        return to(self, "cuda" if dtype.is_cuda else "cpu", dtype.dtype)
    if isinstance(dtype, type):
        raise ValueError(f"invalid type: '{dtype.__name__}'")
    if not isinstance(dtype, dt.dtype):
        raise TypeError("dtype must be a type, str, or dtype object")
    return to(self, dtype)


class LegacyType(type):
    """What the classes ``torch.FloatTensor`` and its kin are: a dtype, on the CPU or on CUDA."""

    dtype: dt.dtype
    is_cuda: bool


_PLACES = ("torch.", "torch.cuda.")  # indexed by whether the tensor is on CUDA


def _legacy_name(dtype: dt.dtype) -> str:
    return _LEGACY.get(dtype) or dt.SCALAR_NAMES[dtype]


_LEGACY = {dt.complex64: "ComplexFloat", dt.complex128: "ComplexDouble"}


def _caster(d: dt.dtype):
    def cast(self, *, memory_format=None):
        return to(self, d)

    cast.__doc__ = f"As {d!r}."
    return cast


for _name, _d in {
    **{d.name: d for d in (dt.bfloat16,)}, **dt.ALIASES, "bool": dt.bool_, "byte": dt.uint8,
    "char": dt.int8,
}.items():  # fmt: skip
    method(_name)(_caster(_d))


@method("type_as")
def type_as(self, other):
    """With the dtype of ``other``."""
    return to(self, other.dtype)


@method("cpu")
def cpu(self, memory_format=None):
    """On the CPU."""
    return to(self, devices.CPU)


@method("cuda")
def cuda(self, device=None, non_blocking=False, memory_format=None):
    """On a GPU; raises PyTorch's error where there is none."""
    if device is None:
        device = devices.device("cuda", 0)
    elif isinstance(device, int):
        device = devices.device("cuda", device)
    devices.jax_device(devices.canonical(device))
    return to(self, device)


def _of_tensor(fn):
    """The function form of a question to a tensor; raises ``TypeError`` for what is none."""

    @wraps(fn)
    def ask(input):
        if not isinstance(input, Tensor):
            raise TypeError(
                f"{fn.__name__}(): argument 'input' (position 1) must be Tensor, not "
                f"{type(input).__name__}"
            )
        return fn(input)

    return ask


@method("is_floating_point")
def is_floating_point(self) -> bool:
    """Whether the dtype is floating."""
    return self.dtype.is_floating_point


FUNCTIONS["is_floating_point"] = _of_tensor(is_floating_point)


@method("is_complex")
def is_complex(self) -> bool:
    """Whether the dtype is complex."""
    return self.dtype.is_complex


FUNCTIONS["is_complex"] = _of_tensor(is_complex)


@method("is_signed")
def is_signed(self) -> bool:
    """Whether the dtype has negative numbers."""
    return self.dtype.is_signed


@method("get_device")
def get_device(self) -> int:
    """The device index, -1 for the CPU."""
    return -1 if self.device.index is None else self.device.index


@method("pin_memory")
def pin_memory(self, device=None):
    """Itself: JAX pins what it transfers."""
    return self


@method("is_pinned")
def is_pinned(self, device=None) -> bool:
    """Always False."""
    return False


# ---- copying -----------------------------------------------------------------------------------


@method("copy_")
def copy_(self, src, non_blocking=False):
    """Overwrite with ``src``, cast and broadcast."""
    dispatch.check_inplace(self)
    if not isinstance(src, Tensor):
        if isinstance(src, np.generic):
            src = src.item()
        if isinstance(src, (bool, int, float, complex)):
            views.check_overlap(self)  # unlike ``fill_``
            return fill_(self, src)
        raise TypeError(
            f"copy_(): argument 'other' (position 1) must be Tensor, not {type(src).__name__}"
        )
    dispatch.check_beside(self, (src,))
    a, b = self._value.aval, src._value.aval
    if b.dtype is not a.dtype:
        if b.dtype.is_complex and not a.dtype.is_complex:
            warn_once("Casting complex values to real discards the imaginary part")
        src = apply(TABLE["to_dtype"], (src,), (a.dtype,))
    if b.device is not a.device:
        src = move(src, a.device)
    if b.shape != a.shape:
        if len(b.shape) > len(a.shape):
            wide = broadcast_shapes(a.shape, b.shape)
            raise RuntimeError(
                f"output with shape {list(a.shape)} doesn't match the broadcast shape {list(wide)}"
            )
        for d in range(-1, -len(b.shape) - 1, -1):
            if b.shape[d] != a.shape[d] and b.shape[d] != 1:
                raise RuntimeError(
                    f"The size of tensor a ({a.shape[d]}) must match the size of tensor b "
                    f"({b.shape[d]}) at non-singleton dimension {d + len(a.shape)}"
                )
        src = METHODS["expand"](src, *a.shape)
    if src._node is None and not src._requires_grad:
        from torchlike._tensor.tensor import copy_value

        result = wrap(copy_value(value_of(src)))
    else:
        result = apply(TABLE["overwrite"], (self, src))
    return dispatch.rebind(self, result)


@method("fill_")
def fill_(self, value):
    """Overwrite with one number."""
    dispatch.check_inplace(self)
    if isinstance(value, Tensor):
        if value._value.aval.ndim:
            raise RuntimeError(
                f"fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value._value.aval.ndim} dimensions."
            )
        return copy_(self, value)
    a = self._value.aval
    if isinstance(value, complex) and a.dtype.category < dt.COMPLEX:
        raise dt.does_not_fit(a.dtype)
    value = number_held(value, a.dtype)
    result = apply(TABLE["full_like"], (self.detach(), value), (None,))
    return dispatch.rebind(self, result, fills=True)


@method("zero_")
def zero_(self):
    """Overwrite with zeros."""
    dispatch.check_inplace(self)
    zeros = apply(TABLE["zeros_like"], (self.detach(),), (None,))
    return dispatch.rebind(self, zeros, fills=True)


# ---- operators ---------------------------------------------------------------------------------

_OPERANDS = (Tensor, int, float, bool, complex, np.generic, SymInt, SymFloat)


def _operator(name):
    fn = FUNCTIONS[name]

    def forward(self, other):
        if other.__class__ is Tensor or isinstance(other, _OPERANDS):
            return fn(self, other)
        return _foreign(fn, self, other)

    return forward


def _reflected(name):
    fn = FUNCTIONS[name]

    def reflected(self, other):
        if isinstance(other, _OPERANDS):
            return fn(other, self)
        return _foreign(fn, other, self)

    return reflected


def _reflected_sub(self, other):
    if isinstance(other, _OPERANDS):
        return FUNCTIONS["rsub"](self, other)
    return _foreign(FUNCTIONS["sub"], other, self)


def _reflected_div(self, other):
    """Over the reciprocal, as PyTorch does: both steps round, which shows in half precision."""
    if isinstance(other, _OPERANDS):
        return FUNCTIONS["mul"](FUNCTIONS["reciprocal"](self), other)
    return _foreign(FUNCTIONS["div"], other, self)


def _foreign(fn, a, b):
    """Arrays of other libraries take part as tensors do in PyTorch's operators with numpy."""
    self, other = (a, b) if isinstance(a, Tensor) else (b, a)
    if not isinstance(other, (np.ndarray, jax.Array)):
        return NotImplemented
    tensor = FUNCTIONS["as_tensor"](other)
    if isinstance(other, np.ndarray) and self.dtype is not dt.bfloat16:
        # PyTorch lets NumPy compute, by its promotion: int64 and float32 make float64.
        common = dt.BY_NUMPY[np.result_type(self.dtype.numpy, other.dtype)]
        if fn is FUNCTIONS["div"] and common.category <= dt.INTEGRAL:
            common = dt.float64
        self, tensor = self.to(common), tensor.to(common)
    return fn(self, tensor) if isinstance(a, Tensor) else fn(tensor, self)


def _inplace_operator(name):
    fn = METHODS[name + "_"]

    def inplace(self, other):
        if not isinstance(other, _OPERANDS) or isinstance(other, np.ndarray):
            return NotImplemented  # an array: Python adds, and binds the name to a new tensor
        return fn(self, other)

    return inplace


OPERATORS = {
    "add": "add", "sub": "sub", "mul": "mul", "truediv": "div", "floordiv": "floor_divide",
    "mod": "remainder", "pow": "pow", "matmul": "matmul", "and": "bitwise_and",
    "or": "bitwise_or", "xor": "bitwise_xor", "lshift": "bitwise_left_shift",
    "rshift": "bitwise_right_shift",
}  # fmt: skip
_PYTHON_2 = {"div": "truediv", "rdiv": "rtruediv", "idiv": "itruediv", "long": "int",
             "nonzero": "bool"}  # fmt: skip
COMPARISONS = ("eq", "ne", "lt", "le", "gt", "ge")


def install_operators() -> None:
    """Python's operators on Tensor, from the functions of the op table."""
    for symbol, name in OPERATORS.items():
        if name not in FUNCTIONS:
            continue
        setattr(Tensor, f"__{symbol}__", _operator(name))
        setattr(Tensor, f"__r{symbol}__", _reflected(name))
        if name + "_" in METHODS:
            setattr(Tensor, f"__i{symbol}__", _inplace_operator(name))
    Tensor.__rsub__, Tensor.__rtruediv__ = _reflected_sub, _reflected_div
    for name in COMPARISONS:
        setattr(Tensor, f"__{name}__", _operator(name))
    for symbol, name in {"neg": "neg", "abs": "abs", "pos": "positive"}.items():
        setattr(Tensor, f"__{symbol}__", METHODS[name])
    Tensor.__getitem__ = indexing.getitem
    Tensor.__setitem__ = indexing.setitem
    for symbol, name in _PYTHON_2.items():
        setattr(Tensor, f"__{symbol}__", getattr(Tensor, f"__{name}__"))
