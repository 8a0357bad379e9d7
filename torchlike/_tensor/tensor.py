"""Tensor: the mutable handle that PyTorch users hold, over immutable values."""

from __future__ import annotations

import itertools
from sys import getrefcount

import jax
import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import type_name, warn
from torchlike._core.sizes import Size, of_shape
from torchlike._engine.flush import host_array, jax_array
from torchlike._engine.prefix import local
from torchlike._engine.values import Batched, Value, alias, aval, expose, from_array
from torchlike._tensor import bridge, dispatch, tape, views
from torchlike._tensor.dispatch import TENSORS, to_value, value_of
from torchlike._tensor.handles import Hooks, hold
from torchlike._tensor.modes import modes
from torchlike._tensor.noted import Noted
from torchlike._tensor.peeks import part_at_hand
from torchlike._tensor.scalars import real_scalar, scalar

_identities = itertools.count(1)
_backward = None  # set by backward.py, which stands above


class _Instance:
    """The base of Tensor: through it ``Tensor.__dict__`` reaches what an instance holds."""


_holds = _Instance.__dict__["__dict__"].__get__


class Tensor(_Instance):
    """An n-dimensional array with PyTorch's semantics (https://pytorch.org/docs/stable/tensors.html).

    It points at an immutable Value; in-place ops rebind it. The class holds what a fresh one has.
    """

    _storage = None  # views.Storage, once a second handle exists
    _chain = ()  # reads that lead from the base to this view
    _base = None
    _seen = 0  # the storage's version that _value was read at
    _detached = False  # shares another tensor's storage, not its history
    _silent = False  # a handle made by .data: autograd does not see its writes
    _made = None  # a view made under no_grad, or by an op with several results
    _geometry = None
    _version_count = 0
    _node = None  # tape.Node that made it
    _index = 0  # which of the node's results it is
    _requires_grad = False  # for leaves
    _grad = None
    _hooks = None
    _after_hooks = None
    _retains = False
    _is_parameter = False
    _sparse = False  # the subclass for sparse layouts says True
    __array_priority__ = 1000

    __hash__ = object.__hash__  # in C: tensors are keys in every step

    @property
    def __dict__(self) -> dict:
        """What the program has set; the engine's own fields are not among it."""
        return Noted(_holds(self), FIELDS)

    @__dict__.setter
    def __dict__(self, attributes: dict) -> None:
        # A subclass takes over another instance's attributes: its data is not among them.
        own = _holds(self)
        for name in [name for name in own if name not in FIELDS]:
            del own[name]
        own.update({k: v for k, v in attributes.items() if k not in FIELDS})

    def __new__(cls, *args, **kwargs):
        return _legacy_new(cls, *args, **kwargs)

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        TENSORS.add(cls)
        register_pytree(cls)
        if dispatch._subclassed is not None:
            dispatch._subclassed(cls)

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The shape, a ``Size``."""
        return of_shape(self._value.aval.shape)

    @property
    def dtype(self) -> dt.dtype:
        """The data type."""
        return self._value.aval.dtype

    @property
    def device(self) -> devices.device:
        """The device that holds the data."""
        return self._value.aval.device

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._value.aval.ndim

    @property
    def layout(self):
        """``torch.strided``; sparse tensors have their own."""
        from torchlike._tensor.layouts import strided

        return strided

    @property
    def is_leaf(self) -> bool:
        """Whether it was made by the user rather than by an op on the tape."""
        self._refresh()
        return self._node is None

    @property
    def requires_grad(self) -> bool:
        """Whether calls on it go on the tape."""
        self._refresh()
        if self._node is not None or self._requires_grad:
            return True
        base = self._base
        return base is not None and base.requires_grad and self.dtype.category >= dt.FLOATING

    @requires_grad.setter
    def requires_grad(self, value: bool):
        self._refresh()
        if not isinstance(value, bool):
            raise RuntimeError("requires_grad must be a bool")
        if value and self._node is not None:
            raise RuntimeError("you can only change requires_grad flags of leaf variables.")
        if value and self._value.aval.dtype.category < dt.FLOATING:
            raise RuntimeError(
                "only Tensors of floating point and complex dtype can require gradients"
            )
        self.requires_grad_(value)

    @property
    def grad_fn(self):
        """The tape node that made it, or None for a leaf."""
        self._refresh()
        if local.capture is not None and self._node is not None:
            local.capture.reads_history(self._node.number)
        return self._node and tape.named(self._node)

    @property
    def output_nr(self) -> int:
        """Which result of its node it is."""
        return self._index

    @property
    def _version(self) -> int:
        if local.capture is not None:
            local.capture.refuse("a tensor's version is read")
        return views.version_of(self)

    @property
    def grad(self):
        """The accumulated gradient, or None."""
        if local.capture is not None:
            local.capture.gradients = True
        if self._grad is None and self._node is not None and not self._retains:
            warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its "
                ".grad attribute won't be populated during autograd.backward(). If you indeed want "
                "the .grad field to be populated for a non-leaf Tensor, use .retain_grad() on the "
                "non-leaf Tensor. If you access the non-leaf Tensor by mistake, make sure you "
                "access the leaf Tensor instead. See github.com/pytorch/pytorch/pull/30531 for "
                "more information."
            )
        return self._grad

    @grad.setter
    def grad(self, value):
        if local.capture is not None:
            local.capture.gradients = True
            modes.check_unsealed("setting .grad")
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(
                    f"assigned grad expected to be a Tensor or None but got grad of type "
                    f"{type(value).__name__}"
                )
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            a, b = self._value.aval, value._value.aval
            if a.shape != b.shape:
                raise RuntimeError(
                    f"attempting to assign a gradient of size '{list(b.shape)}' to a tensor of "
                    f"size '{list(a.shape)}'. Please ensure that the gradient and the tensor are "
                    "the same size"
                )
            if a.dtype is not b.dtype:
                raise RuntimeError(
                    f"attempting to assign a gradient with dtype '{b.dtype}' to a tensor with "
                    f"grad_dtype '{a.dtype}'. The gradient must match the tensor's dtype."
                )
        self._grad = value

    @grad.deleter
    def grad(self):
        self.grad = None

    @property
    def data(self):
        """A handle to the same storage off the tape; assigning rebinds the storage."""
        return views.data_of(self)

    @data.setter
    def data(self, other):
        # PyTorch lets .data change shape, dtype and device; the version does not count.
        if not isinstance(other, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(other).__name__}")
        if other._sparse is not self._sparse:
            raise RuntimeError(
                "Attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have "
                "incompatible tensor type."
            )
        value = value_of(other)
        if value.aval.dtype.category < dt.FLOATING and self._requires_grad:
            raise RuntimeError(
                "data set to a tensor that requires gradients must be floating point or complex "
                "dtype"
            )
        views.share(self, other)

    # ---- internals -----------------------------------------------------------------------------

    def _refresh(self):
        storage = self._storage
        if storage is not None and self._seen != storage.version:
            views.sync(self)

    def _sync(self):
        views.sync(self)

    def accumulate_grad(self, grad, create_graph, retained=False):
        """Add a gradient (a Value, or a Tensor if ``create_graph``) to ``.grad``: in place for a
        leaf, as a new tensor where one was ``retained``."""
        before = self._grad
        if local.capture is not None:
            local.capture.gradients = True
        if before is None:
            if grad.__class__ is Value:
                self._grad = new = object.__new__(Tensor)
                new._value = grad
            else:
                self._grad = grad if create_graph else grad.detach()
        elif create_graph:
            self._grad = dispatch.add_tensors(before, grad)
        else:
            before._refresh()
            total = dispatch.to_tensor(tape.add_values(to_value(before), to_value(grad)))
            if retained or before._sparse is not total._sparse:
                self._grad = total
            else:
                dispatch.rebind(before, total)

    # ---- autograd ------------------------------------------------------------------------------

    def requires_grad_(self, requires_grad: bool = True):
        """Set whether calls on this leaf go on the tape; raises for a non-leaf turned off."""
        self._refresh()
        if self._node is not None:
            if not requires_grad:
                raise RuntimeError(
                    "you can only change requires_grad flags of leaf variables. If you want to use "
                    "a computed variable in a subgraph that doesn't require differentiation use "
                    "var_no_grad = var.detach()."
                )
            return self
        if requires_grad and self._value.aval.dtype.category < dt.FLOATING:
            raise RuntimeError("only Tensors of floating point dtype can require gradients")
        if requires_grad.__class__ is not bool:
            raise TypeError(f"'requires_grad' must be bool, not {type_name(requires_grad)}")
        self._requires_grad = requires_grad
        return self

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Accumulate gradients of the leaves (https://pytorch.org/docs/stable/generated/torch.Tensor.backward.html)."""
        _backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self):
        """The same storage, off the tape."""
        return views.detach(self)

    def detach_(self):
        """Take this tensor itself off the tape."""
        self._refresh()
        if self._base is not None:
            raise RuntimeError(
                "Can't detach views in-place. Use detach() instead. If you are using "
                "DistributedDataParallel (DDP) for training, and gradient_as_bucket_view is set as "
                "True, gradients are views of DDP buckets, and hence detach_() cannot be called on "
                "these gradients. To fix this error, please refer to the Optimizer.zero_grad() "
                "function in torch/optim/optimizer.py as a solution."
            )
        self._node, self._index, self._requires_grad = None, 0, False
        if self._storage is not None:
            self._storage.node = None
        return self

    def retain_grad(self):
        """Keep ``.grad`` of this non-leaf after backward."""
        self._refresh()
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if self._node is None or self._retains:
            return
        tape.keep_retained(self)
        self._retains = True

    @property
    def _backward_hooks(self):
        """The hooks of this tensor, or None."""
        if self._node is None:
            return self._hooks
        found = self._node.pre_hooks or {}
        return {k: h for k, (i, h) in found.items() if i == self._index} or None

    @property
    def retains_grad(self) -> bool:
        """Whether ``.grad`` of this non-leaf is kept."""
        return self._retains

    def register_hook(self, hook):
        """Call ``hook(grad)`` when the gradient is computed; it may return another."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            return self._node.add_result_hook(self._index, hook)
        if self._hooks is None:
            self._hooks = Hooks()
        tape.hooked = True
        return hold(self._hooks, hook)

    def register_post_accumulate_grad_hook(self, hook):
        """Call ``hook(param)`` after ``.grad`` of this leaf has been updated."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if self._node is not None:
            raise RuntimeError(
                "post accumulate grad hooks cannot be registered on non-leaf tensors"
            )
        if self._after_hooks is None:
            self._after_hooks = Hooks()
        tape.hooked = True
        return hold(self._after_hooks, hook)

    # ---- out of the engine ---------------------------------------------------------------------

    def jax(self):
        """The jax.Array behind this tensor, without a copy; it will not see later in-place ops."""
        array = jax_array(value_of(self))
        expose(array)
        return array

    def __jax_array__(self):
        return self.jax()

    def _host(self) -> np.ndarray:
        """The data as a numpy array that must not be written."""
        part = part_at_hand(self) if self._chain else None
        return host_array(value_of(self)) if part is None else part

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The data as a numpy array that shares the tensor's memory, as in PyTorch."""
        pending = self._chain and views.conjugated(self)
        if force and pending:
            return np.array(self._host())
        if not force:
            if pending:
                bit, way = ("conjugate", "conj") if self.is_complex() else ("negative", "neg")
                raise RuntimeError(
                    f"Can't call numpy() on Tensor that has {bit} bit set. Use "
                    f"tensor.resolve_{way}().numpy() instead."
                )
            if modes.grad and self.requires_grad:
                raise RuntimeError(
                    "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                    "instead."
                )
            if self.device.type != "cpu":
                raise TypeError(
                    f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to "
                    "copy the tensor to host memory first."
                )
        if self._storage is None and getrefcount(self) <= bridge.UNHELD and local.capture is None:
            return host_array(self._value).copy()
        return bridge.array_of(self)

    def __array__(self, dtype=None, copy=None):
        array = self.numpy()
        return array if dtype is None else array.astype(dtype, copy=False)

    def item(self):
        """The only element as a Python number."""
        a = self._value.aval
        if a.numel != 1:
            raise RuntimeError(f"a Tensor with {a.numel} elements cannot be converted to Scalar")
        if a.device is devices.META:
            raise RuntimeError("Tensor.item() cannot be called on meta tensors")
        value = self._host().item()
        return float(value) if a.dtype.category == dt.FLOATING else value

    def tolist(self):
        """The data as nested lists of Python numbers."""
        host = self._host()
        if self.dtype.category == dt.FLOATING and self.dtype.itemsize < 4:
            host = host.astype(np.float32)
        return host.tolist()

    # ---- Python protocols ----------------------------------------------------------------------

    def __repr__(self, *, tensor_contents=None):
        from torchlike._tensor.show import tensor_repr

        return tensor_repr(self)

    def __len__(self) -> int:
        shape = self._value.aval.shape
        if not shape:
            raise TypeError("len() of a 0-d tensor")
        return shape[0]

    def __iter__(self):
        if not self._value.aval.shape:
            raise TypeError("iteration over a 0-d tensor")
        return iter(self.unbind(0))

    def __bool__(self) -> bool:
        n = self._value.aval.numel
        if n != 1:
            if n == 0:
                raise RuntimeError("Boolean value of Tensor with no values is ambiguous")
            raise RuntimeError("Boolean value of Tensor with more than one value is ambiguous")
        if self._value.array.__class__ is Batched:
            raise RuntimeError(
                "vmap: It looks like you're attempting to use a Tensor in some data-dependent "
                "control flow. We don't support that yet, please file an issue at "
                "https://github.com/pytorch/pytorch/issues ."
            )
        return bool(self.item())

    def __float__(self) -> float:
        return float(real_scalar(self, "double"))

    def __int__(self) -> int:
        return int(real_scalar(self, "int64_t"))

    def __complex__(self) -> complex:
        return complex(scalar(self))

    def __index__(self) -> int:
        if self.dtype.category > dt.INTEGRAL or self._value.aval.numel != 1:
            raise TypeError("only integer tensors of a single element can be converted to an index")
        return int(self.item())

    def __contains__(self, element, /) -> bool:
        if isinstance(element, (Tensor, int, float, bool, complex, np.number, np.bool_)):
            return bool((element == self).any().item())
        found = f"you passed in a {type(element)}."
        raise RuntimeError(f"Tensor.__contains__ only supports Tensor or scalar, but {found}")

    def __format__(self, format_spec: str) -> str:
        if not self._value.aval.shape and type(self) is Tensor and self.device.type != "meta":
            return format(self.item(), format_spec)
        return object.__format__(self, format_spec) if format_spec else repr(self)

    def __reversed__(self):
        return self.flip(0) if self.ndim else self

    def __copy__(self):
        """Another leaf over the same memory, with what the user has set on this one."""
        out = object.__new__(type(self))
        views.share(out, self)
        out._requires_grad = self.requires_grad
        held = _holds(out)
        held.update({k: v for k, v in _holds(self).items() if k not in FIELDS})
        return out

    def __deepcopy__(self, memo):
        if id(self) in memo:
            return memo[id(self)]
        if not self.is_leaf:
            raise RuntimeError(
                "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
                "protocol at the moment.  If you were attempting to deepcopy a module, this may be "
                "because of a torch.nn.utils.weight_norm usage, see "
                "https://github.com/pytorch/pytorch/pull/103001"
            )
        import copy

        out = object.__new__(type(self))
        memo[id(self)] = out
        out._value = copy_value(value_of(self))
        views.share_copies(out, self, memo)
        out._requires_grad = self._requires_grad
        if self._grad is not None:
            out._grad = copy.deepcopy(self._grad, memo)
        held = _holds(out)
        for name, value in _holds(self).items():
            if name not in FIELDS:
                held[name] = copy.deepcopy(value, memo)
        return out

    def __reduce_ex__(self, proto):
        kind = type(self)
        if kind.__getstate__ is object.__getstate__:
            state = {k: v for k, v in _holds(self).items() if k not in FIELDS}
        else:
            state = self.__getstate__()
        a = self._value.aval
        data = (a.shape, a.dtype) if a.device is devices.META else np.array(self._host())
        return _rebuild, (kind, data, self.requires_grad, state)

    @property
    def __cuda_array_interface__(self):
        raise AttributeError("use __dlpack__ or tensor.jax(): JAX owns the memory")


# The names under which an instance holds what is the engine's.
FIELDS = frozenset(n for n in vars(Tensor) if n[0] == "_" and n[1] != "_") | {"_value"}


def _rebuild(kind, data, requires_grad, state):
    out = object.__new__(kind)
    if isinstance(data, tuple):  # of a meta tensor
        out._value = Value(aval(*data, devices.META), None)
    else:
        out._value = from_array(data)
    out._requires_grad = requires_grad
    if kind.__setstate__ is Tensor.__setstate__:
        _holds(out).update(state)
    else:
        out.__setstate__(state)
    return out


def copy_value(value: Value) -> Value:
    """A new Value of the same data."""
    from torchlike._ops.table import TABLE

    # A recorded call has to say where the data is from: the next call may bring other data.
    if value.array is not None and local.capture is None:
        return alias(value)
    return dispatch.record(TABLE["clone"], (), (value,))[0][0]


def _legacy_new(cls, *args, **kwargs):
    """``torch.Tensor(2, 3)`` and ``torch.Tensor([1, 2])``: float32, as PyTorch's constructor."""
    from torchlike._tensor.creation import legacy_tensor

    return legacy_tensor(cls, *args, **kwargs)


def _flatten(t):
    return (t.jax(),), t._requires_grad


def _unflatten(requires_grad, children):
    (array,) = children
    out = object.__new__(Tensor)
    # JAX also passes placeholders that are no arrays through here.
    out._value = from_array(array) if isinstance(array, (jax.Array, np.ndarray)) else array
    out._requires_grad = requires_grad
    return out


def register_pytree(kind: type) -> None:
    """Let JAX's transformations take a Tensor class apart into its array."""
    jax.tree_util.register_pytree_node(kind, _flatten, _unflatten)


register_pytree(Tensor)
TENSORS.add(Tensor)
dispatch._Tensor = Tensor
