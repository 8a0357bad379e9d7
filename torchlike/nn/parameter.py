"""Parameter and Buffer: tensors that a Module registers when they are assigned to it."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._tensor import shared_memory
from torchlike._tensor.creation import from_host, target_device
from torchlike._tensor.dispatch import value_of, wrap
from torchlike._tensor.tensor import Tensor, _holds, copy_value

__all__ = [
    "Buffer",
    "Parameter",
    "UninitializedBuffer",
    "UninitializedParameter",
    "UninitializedTensorMixin",
    "is_lazy",
]


def _fresh(shape, device=None, dtype=None):
    """Zeros in host memory: nothing is recorded, so that a new model costs no program."""
    dtype = dt.as_dtype("empty", dtype) or dt.get_default_dtype()
    return from_host(np.zeros(shape, dtype.numpy), target_device(device))


def _handle(cls, data):
    """A new handle of class ``cls`` to the storage of ``data``, off the tape."""
    data = data.detach()
    out = object.__new__(cls)
    out._value = value_of(data)
    storage = data._storage
    if storage is not None:
        out._storage, out._chain, out._base = storage, data._chain, data._base
        out._seen, out._detached = data._seen, True
    return out


class _ParameterClass(type):
    """A tensor of a user's class that became a parameter keeps its class, and carries a mark."""

    def __instancecheck__(cls, instance):
        if super().__instancecheck__(instance):
            return True
        return cls is Parameter and isinstance(instance, Tensor) and "_is_param" in vars(instance)


class Parameter(Tensor, metaclass=_ParameterClass):
    """A tensor that is a module's parameter (https://pytorch.org/docs/stable/generated/torch.nn.parameter.Parameter.html)."""

    _is_parameter = True  # its repr says so

    def __new__(cls, data=None, requires_grad: bool = True):
        if data is None:
            data = _fresh((0,))
        if not isinstance(data, Tensor):
            raise TypeError(f"Parameter data must be a Tensor, not {type(data).__name__}")
        if data._sparse:
            raise NotSupported(
                "sparse parameters", "let the values be one, and build the tensor where it is used"
            )
        if requires_grad and data.dtype.category < dt.FLOATING:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        if cls is Parameter and data.__class__ is not Tensor and not issubclass(type(data), cls):
            out = data.detach()
            if out.__class__ is not data.__class__:
                raise RuntimeError(
                    f"Creating a Parameter from an instance of type {type(data).__name__} requires "
                    "that detach() returns an instance of the same type, but return type "
                    f"{type(out).__name__} was found instead. To use the type as a Parameter, "
                    "please correct the detach() semantics defined by its __torch_dispatch__() "
                    "implementation."
                )
            out._is_param = True
            return out.requires_grad_(requires_grad)
        return _handle(cls, data).requires_grad_(requires_grad)

    def __init__(self, *args, **kwargs):  # __new__ knows what it takes, a subclass's own too
        pass

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            copied = wrap(copy_value(value_of(self)))
            memo[id(self)] = type(self)(copied, self._requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        state = {k: v for k, v in self.__dict__.items() if not k.startswith("_")}
        data = np.array(self._host())
        return _rebuild_parameter, (data, self._requires_grad, self.device, state)


shared_memory.SENT.append(Parameter)

# How classes pickle whose tensors are their data and attributes; another one has its own way.
PICKLED_AS_DATA = Tensor.__reduce_ex__, Parameter.__reduce_ex__


def _rebuild_parameter(array, requires_grad, device=devices.CPU, state=None):
    out = Parameter(from_host(array, device), requires_grad)
    out.__dict__.update(state or {})
    return out


class _BufferClass(type):
    """A buffer is a plain Tensor that carries a mark."""

    def __instancecheck__(cls, instance):
        if cls is Buffer and isinstance(instance, Tensor):
            return getattr(instance, "_is_buffer", False)
        return super().__instancecheck__(instance)


class Buffer(Tensor, metaclass=_BufferClass):
    """A tensor that is a module's buffer (https://pytorch.org/docs/stable/generated/torch.nn.parameter.Buffer.html)."""

    def __new__(cls, data=None, *, persistent: bool = True):
        if data is None:
            data = _fresh((0,))
        out = _handle(Tensor, data).requires_grad_(data.requires_grad)
        out.persistent = persistent
        out._is_buffer = True
        return out


# ---- not yet initialised -----------------------------------------------------------------------


class UninitializedTensorMixin:
    """A tensor without a shape, as lazy modules hold it until their first call.

    Its value is hidden, so whatever computes with it raises; what is known of it already (dtype,
    device, casts and moves) is asked of an empty tensor that stands for it.
    """

    @property
    def _value(self):
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a "
            "`LazyModule` or explicitly manipulating `torch.nn.parameter.UninitializedParameter` "
            "objects. When using LazyModules Call `forward` with a dummy batch to initialize the "
            "parameters before calling torch functions"
        )

    @_value.setter
    def _value(self, value):
        _holds(self)["_value"] = value  # where an ordinary tensor has it

    def _empty(self):
        return wrap(_holds(self)["_value"])

    def materialize(self, shape, device=None, dtype=None) -> None:
        """Give it a shape, and become an ordinary parameter or buffer."""
        shape = (shape,) if isinstance(shape, int) else tuple(shape)
        fresh = _fresh(shape, device or self.device, dtype or self.dtype)
        self.__class__ = self.cls_to_become
        self.data = fresh

    @property
    def data(self):
        """The empty tensor that stands for it; assigning changes dtype and device."""
        return self._empty()

    @data.setter
    def data(self, value):
        self._value = value_of(value)

    @property
    def shape(self):
        """Raises: there is none yet."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually "
            "happens in `load_state_dict` when trying to load an uninitialized parameter into an "
            "initialized one. Call `forward` to initialize the parameters before accessing their "
            "attributes."
        )

    def share_memory_(self):
        """Raises: there is no memory yet."""
        raise RuntimeError(
            "Can't share memory on an uninitialized parameter or buffer. Call `forward` to "
            "initialize the parameters before calling `module.share_memory()`."
        )

    def copy_(self, src, non_blocking=False):
        """Nothing for another one without a shape, as a state dict has it; raises for a tensor."""
        return self if is_lazy(src) else self._value

    def __repr__(self, *, tensor_contents=None) -> str:
        return f"<{type(self).__name__}>"

    def detach(self):
        """Itself: a state dict holds it as it is."""
        return self

    def _converted(self, empty):
        return empty  # a module assigns it to ``data``

    def __reduce_ex__(self, protocol):
        return type(self), (self._requires_grad,)

    def __copy__(self):
        return type(self)(self._requires_grad, self.device, self.dtype)

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = self.__copy__()
        return memo[id(self)]


def _lazy(cls, requires_grad, device, dtype):
    out = _handle(cls, _fresh((0,), device, dtype))
    out._requires_grad = bool(requires_grad)
    return out


def _asked_of_empty(name):
    def method(self, *args, **kwargs):
        found = getattr(self._empty(), name)(*args, **kwargs)
        return self._converted(found) if isinstance(found, Tensor) else found

    method.__name__ = name
    return method


for _name in (
    "size", "is_complex", "is_floating_point", "half", "float", "double", "char", "short", "int",
    "long", "cuda", "cpu", "to", "get_device",
):  # fmt: skip
    setattr(UninitializedTensorMixin, _name, _asked_of_empty(_name))
for _name, _held in vars(Tensor).items():
    if isinstance(_held, property) and _name in ("grad", "requires_grad", "is_leaf", "grad_fn"):
        continue  # not of its value, and their own
    if isinstance(_held, property) and _name not in vars(UninitializedTensorMixin):
        setattr(
            UninitializedTensorMixin,
            _name,
            property(lambda self, name=_name: getattr(self._empty(), name)),
        )


class UninitializedParameter(UninitializedTensorMixin, Parameter):
    """A parameter whose shape the first call of its module decides."""

    cls_to_become = Parameter

    def __new__(cls, requires_grad=True, device=None, dtype=None):
        return _lazy(cls, requires_grad, device, dtype)

    def __init__(self, requires_grad=True, device=None, dtype=None):
        pass


class UninitializedBuffer(UninitializedTensorMixin, Tensor):
    """A buffer whose shape the first call of its module decides."""

    cls_to_become = Tensor

    def __new__(cls, requires_grad=False, device=None, dtype=None, persistent=True):
        out = _lazy(cls, requires_grad, device, dtype)
        out.persistent = persistent
        out._is_buffer = True
        return out

    def __init__(self, requires_grad=False, device=None, dtype=None, persistent=True):
        pass

    def _converted(self, empty):  # a module holds what a buffer was converted to
        return type(self)(self._requires_grad, empty.device, empty.dtype, self.persistent)


def is_lazy(param) -> bool:
    """Whether a parameter or buffer has no shape yet."""
    return isinstance(param, UninitializedTensorMixin)
