"""Attributes of Tensor that answer questions, and methods that call Python for each element."""

from __future__ import annotations

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._engine.flush import host_array, jax_array
from torchlike._engine.range_checks import check_bad_indices
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, layouts, views
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import FUNCTIONS, METHODS, function, method
from torchlike._tensor.host_data import number_held
from torchlike._tensor.modes import no_grad
from torchlike._tensor.overriding import DisableTorchFunctionSubclass
from torchlike._tensor.shapes import shape_of
from torchlike._tensor.tensor import Tensor, _holds, _rebuild
from torchlike._tensor.views import apply_view

# ---- what it is --------------------------------------------------------------------------------


def _property(name, doc, answer):
    answer.__doc__ = doc
    setattr(Tensor, name, property(answer))


_property("itemsize", "Bytes of one element.", lambda self: self.dtype.itemsize)
_property("nbytes", "Bytes of all elements.", lambda self: self.numel() * self.dtype.itemsize)
_property("is_cpu", "Whether it lies on the CPU.", lambda self: self.device.type == "cpu")
_property("is_cuda", "Whether it lies on a GPU.", lambda self: self.device.type == "cuda")
_property("is_meta", "Whether it has no data.", lambda self: self.device.type == "meta")
for _name in ("mps", "xpu", "xla", "ipu", "maia", "mtia", "vulkan"):
    _property(f"is_{_name}", "Always False: there are no such devices.", lambda self: False)
_property("_cdata", "A number that tells tensors apart.", lambda self: id(self))
_property("name", "Always None: names are nn.Module's.", lambda self: None)
for _name in ("is_sparse", "is_sparse_csr", "is_quantized", "is_nested", "is_mkldnn"):
    _property(_name, "Always False, but for sparse tensors.", lambda self: False)


@function(method=True)
def is_inference(input) -> bool:
    """Always False: what inference mode makes may be used with autograd afterwards."""
    return False


@function(method=True)
def is_distributed(input) -> bool:
    """Always False."""
    return False


FUNCTIONS["is_signed"] = METHODS["is_signed"]
FUNCTIONS["get_device"] = METHODS["get_device"]


@method("dim_order")
def dim_order(self, *, ambiguity_check=False) -> tuple:
    """The dimensions from the one with the largest steps in memory to that with the smallest."""
    strides, shape = views.geometry(self)[0], shape_of(self)
    formats = ambiguity_check if isinstance(ambiguity_check, list) else []
    if not isinstance(ambiguity_check, (bool, list)) or not all(
        isinstance(f, layouts.memory_format) for f in formats
    ):
        raise TypeError("The ambiguity_check argument must be a bool or a list of memory formats.")
    plain = layouts.contiguous_format in formats and views.is_contiguous(shape, strides)
    if ambiguity_check and not plain and (len(set(strides)) < len(shape) or 1 in shape):
        raise RuntimeError(
            "The tensor does not have unique dim order, or cannot map to exact one of the given "
            "memory formats."
        )
    return tuple(sorted(range(len(shape)), key=lambda d: (-strides[d], -shape[d])))


@method("_is_view")
def _is_view(self) -> bool:
    """Whether it shows the memory of another tensor, as autograd sees it."""
    return self._base is not None


# ---- Python for each element -------------------------------------------------------------------


def _on_host(name, tensors):
    for t in tensors:
        if t.requires_grad:
            raise RuntimeError(
                f"Can't call {name}() on Variable that requires grad. Use var.detach().{name}() "
                "instead."
            )
        if t.device.type != "cpu":
            raise TypeError(f"{name} is only implemented on CPU tensors")


def _integer(x) -> int:
    if isinstance(x, str):
        raise TypeError("'str' object cannot be interpreted as an integer")
    return int(x)


_KINDS = {dt.BOOL: _integer, dt.INTEGRAL: _integer, dt.FLOATING: float, dt.COMPLEX: complex}


def _mapped(self, name, callable, others):
    _on_host(name, (self, *others))
    shape, d = shape_of(self), self.dtype
    for t in others:
        if t.dtype is not d:
            raise TypeError(f"{name}: all tensors must be of dtype {d}, but got {t.dtype}")
    columns = [METHODS["expand"](t, shape)._host().reshape(-1).tolist() for t in (self, *others)]
    kind = _KINDS[d.category]
    new = [kind(callable(*row)) for row in zip(*columns, strict=True)]
    if d.category == dt.INTEGRAL:
        for number in new:
            try:
                number_held(number, d)
            except RuntimeError:
                text = f"value cannot be converted to type {d.name} without overflow"
                raise RuntimeError(text) from None
    with no_grad():
        return self.copy_(from_host(np.array(new).astype(d.numpy).reshape(shape), self.device))


@method("apply_")
def apply_(self, callable):
    """Replace each element by what a Python function makes of it; slow."""
    return _mapped(self, "apply_", callable, ())


@method("map_")
def map_(self, tensor, callable):
    """Replace each element by a Python function of it and another tensor's; slow."""
    return _mapped(self, "map_", callable, (tensor,))


@method("map2_")
def map2_(self, x, y, callable):
    """Replace each element by a Python function of it and two other tensors'; slow."""
    return _mapped(self, "map2_", callable, (x, y))


# ---- protocols ---------------------------------------------------------------------------------


@method("as_subclass")
def as_subclass(self, cls):
    """The same data as an instance of a subclass, on the tape."""
    if not (isinstance(cls, type) and issubclass(cls, Tensor)):
        raise TypeError(f"as_subclass(): expected a subclass of Tensor, but got {cls}")
    out = object.__new__(cls)
    _holds(out).update(_holds(apply_view(TABLE["alias"], self)))
    return out


def _make_subclass(cls, data, require_grad: bool = False, **policies):
    """The data of a tensor as a leaf of a subclass, which may ask for its gradient."""
    if policies:  # they ask for sizes and strides of the class's own
        raise NotSupported(
            f"Tensor._make_subclass({next(iter(policies))}=...)", "use Tensor.as_subclass(cls)"
        )
    with DisableTorchFunctionSubclass():  # the class hears nothing of its own making
        return as_subclass(data.detach(), cls).requires_grad_(require_grad)


Tensor._make_subclass = staticmethod(_make_subclass)


@method("block_until_ready")
def block_until_ready(self):
    """The tensor, computed; under JAX's name, so that ``jax.block_until_ready`` waits for it."""
    value = dispatch.value_of(self)
    if value.aval.device is devices.CPU:
        host_array(value)
    elif value.aval.device is not devices.META:
        jax_array(value).block_until_ready()
        check_bad_indices()
    return self


@method("record_stream")
def record_stream(self, stream) -> None:
    """Nothing: XLA keeps an array for as long as a program uses it."""


@method("__delitem__")
def delete(self, key, /):
    """Raise ``TypeError``: tensors have a fixed size."""
    raise TypeError("Tensor does not support deleting items")


@method("__array_wrap__")
def array_wrap(self, array, context=None, return_scalar=False):
    """A numpy result as a tensor; bools as uint8, as PyTorch does."""
    array = np.asarray(array)
    return FUNCTIONS["from_numpy"](array.astype(np.uint8) if array.dtype == bool else array)


@method("__setstate__")
def set_state(self, state):
    """Become what ``__reduce_ex__`` described."""
    _holds(self).update(_holds(_rebuild(*state)))


@method("module_load")
def module_load(self, other, assign=False):
    """What ``load_state_dict`` puts in this tensor's place: itself overwritten, or ``other``."""
    if assign:
        return other.detach()
    return self.copy_(other).detach()


def swap_tensors(t1, t2) -> None:
    """Exchange two tensors: value, history, class and attributes; the objects stay
    (https://pytorch.org/docs/stable/notes/extending.html)."""
    one, two = _holds(t1), _holds(t2)
    kept = dict(one)
    one.clear()
    one.update(two)
    two.clear()
    two.update(kept)
    t1.__class__, t2.__class__ = t2.__class__, t1.__class__
