"""MaskedTensor: data and a mask of the same shape that says which elements are there."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, warn
from torchlike._engine.values import Parts, Value
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, views
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.function import Function
from torchlike._tensor.layouts import sparse_coo, sparse_csr, strided
from torchlike._tensor.tensor import Tensor
from torchlike.masked.masks import torch

_DTYPES = (
    dt.float16, dt.float32, dt.float64, dt.bool_, dt.int8, dt.int16, dt.int32, dt.int64,
)  # fmt: skip


class Pair(Parts):
    """Data and mask: they stand in the Value of a MaskedTensor where others have a segment."""

    __slots__ = ("data", "mask")
    missing = "a MaskedTensor has no array of its own; use get_data() or to_tensor(value)"

    def __init__(self, data, mask):
        self.data, self.mask = data, mask


class MaskedTensor(Tensor):
    """A tensor of which a mask tells what is there (https://pytorch.org/docs/stable/masked.html).

    Its data keep their own place on the tape, and gradients flow to them as dense tensors; a
    leaf's ``.grad`` is a MaskedTensor with the leaf's mask. An in-place op replaces its data:
    what was sliced from it before does not follow.
    """

    _is_masked = True

    def __new__(cls, data, mask, requires_grad=False):
        warn(
            "The PyTorch API of MaskedTensors is in prototype stage and will change in the near "
            "future. Please open a Github issue for features requests and see our documentation on "
            "the torch.masked module for further information about the project."
        )
        _check(data, mask)
        if data.requires_grad:
            warn(
                "It is not recommended to create a MaskedTensor with a tensor that requires_grad. "
                "To avoid this, you can use data.detach().clone()"
            )
        data = wrap(data.detach().clone(), mask.detach().clone(), cls)
        return data.requires_grad_() if requires_grad else data

    def __init__(self, data, mask, requires_grad=False):
        pass

    # ---- its two halves ------------------------------------------------------------------------

    def get_data(self):
        """The data, what is masked out included."""
        return views.apply_view(TABLE["alias"], data_of(self))

    def get_mask(self):
        """The mask, of dtype bool and the data's shape."""
        return _pair(self).mask.detach()

    def to_tensor(self, value):
        """The data as a dense tensor, with ``value`` where they are masked out."""
        data = data_of(self)
        return torch.where(_pair(self).mask, data, torch.full_like(data.detach(), value))

    # ---- what it is ----------------------------------------------------------------------------

    @property
    def is_sparse(self) -> bool:
        """Whether the data have a sparse layout; always False."""
        return self.is_sparse_coo() or self.is_sparse_csr()

    def is_sparse_coo(self) -> bool:
        """Whether the data's layout is ``torch.sparse_coo``; always False."""
        return self.layout is sparse_coo

    def is_sparse_csr(self) -> bool:
        """Whether the data's layout is ``torch.sparse_csr``; always False."""
        return self.layout is sparse_csr

    def item(self):
        """The only element as a Python number; raises if it is masked out."""
        if self.numel() == 1 and not _pair(self).mask.item():
            raise ValueError("item(): the element is masked out")
        return _pair(self).data.item()

    def numpy(self, *, force: bool = False):
        """Raises: use ``get_data().numpy()``."""
        raise RuntimeError(".numpy() is not supported for tensor subclasses.")

    def tolist(self):
        """Raises: use ``get_data().tolist()``."""
        raise RuntimeError(".tolist() is not supported for tensor subclasses, got MaskedTensor")

    def __repr__(self, *, tensor_contents=None) -> str:
        pair = _pair(self)
        return show(pair.data.tolist(), pair.mask.tolist(), pair.data)

    def __format__(self, spec: str) -> str:
        return object.__format__(self, spec) if spec else repr(self)

    # ---- autograd ------------------------------------------------------------------------------

    def backward(self, gradient=None, retain_graph=None, create_graph=False, inputs=None):
        """Accumulate gradients of the leaves; ``gradient`` may be masked."""
        if is_masked_tensor(gradient):
            gradient = gradient.to_tensor(0)
        data_of(self).backward(gradient, retain_graph, create_graph, inputs)

    def accumulate_grad(self, grad, create_graph, retained=False):
        """Add a gradient of the data to ``.grad``, which has this tensor's mask."""
        grad = dispatch.to_tensor(grad)
        grad = wrap(grad if create_graph else grad.detach(), _pair(self).mask)
        before = self._grad
        self._grad = grad if before is None or retained else before + grad

    def detach(self):
        """The same data and mask, off the tape."""
        return wrap(_pair(self).data.detach(), _pair(self).mask)

    @property
    def data(self):
        """The same data and mask, off the tape."""
        return self.detach()

    @data.setter
    def data(self, other):
        raise NotSupported("setting .data of a MaskedTensor", "make a new one of the data")

    # ---- writing -------------------------------------------------------------------------------

    def __setitem__(self, index, value):
        raise NotSupported("writing into a MaskedTensor", "use torch.where, or make a new one")

    def copy_(self, src, non_blocking=False):
        """Raises: make a new one of the data."""
        raise NotSupported("copy_() into a MaskedTensor", "make a new one of the data")

    # ---- copies --------------------------------------------------------------------------------

    def __deepcopy__(self, memo):
        if id(self) not in memo:
            memo[id(self)] = masked_tensor(_pair(self).data, _pair(self).mask, self._requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol):
        return masked_tensor, (_pair(self).data.detach(), self.get_mask(), self._requires_grad)

    def _refresh(self):
        pass


MaskedTensor.__module__ = "torchlike.masked"


# ---- making one --------------------------------------------------------------------------------


def _check(data, mask) -> None:
    """Raise PyTorch's error unless the two make a MaskedTensor."""
    for name, x in (("data", data), ("mask", mask)):
        if not isinstance(x, Tensor) or is_masked_tensor(x):
            raise TypeError(f"{name} must be a Tensor")
        if x.layout is not strided:
            raise NotSupported(
                f"a MaskedTensor with a {name} of layout {x.layout}", "use to_dense()"
            )
    if mask.dtype is not dt.bool_:
        raise TypeError("mask must have dtype bool.")
    if data.dtype not in _DTYPES:
        raise TypeError(f"{data.dtype} is not supported in MaskedTensor.")
    if data.ndim != mask.ndim:
        raise ValueError("data.dim() must equal mask.dim()")
    if data.shape != mask.shape:
        raise ValueError("data.size() must equal mask.size()")


def wrap(data, mask, cls=MaskedTensor) -> MaskedTensor:
    """A MaskedTensor of these very tensors; it has the data's place on the tape."""
    value = value_of(data)
    out = object.__new__(cls)
    out._value = Value(value.aval, None, Pair(data, mask))
    out._node, out._index = data._node, data._index
    return out


def masked_tensor(data, mask, requires_grad=False) -> MaskedTensor:
    """A leaf with copies of ``data`` and ``mask``, a bool tensor of the same shape."""
    return MaskedTensor(data, mask, requires_grad)


def as_masked_tensor(data, mask) -> MaskedTensor:
    """``data`` under a mask of the same shape, on the tape: gradients flow back to ``data``."""
    _check(data, mask)
    mask = mask.detach().clone()
    return wrap(_Masked.apply(data, mask), mask)


def is_masked_tensor(obj, /) -> bool:
    """Whether an object is a MaskedTensor."""
    return isinstance(obj, MaskedTensor)


# ---- data on the tape --------------------------------------------------------------------------


class _Masked(Function):
    """A copy whose gradient is zero where the mask says no, whatever was computed there."""

    @staticmethod
    def forward(ctx, data, mask):
        ctx.mask = mask
        return data.clone()

    @staticmethod
    def backward(ctx, grad):
        return torch.where(ctx.mask, grad, 0.0), None


class _Data(Function):
    """The data of a leaf; their gradient is the leaf's."""

    @staticmethod
    def forward(ctx, x):
        return dispatch.wrap(value_of(_pair(x).data))

    @staticmethod
    def backward(ctx, grad):
        return grad


def _pair(x) -> Pair:
    return x._value.segment


def data_of(x):
    """The data of a MaskedTensor, on the tape if it is."""
    return _Data.apply(x) if x._requires_grad and x._node is None else _pair(x).data


def mask_of(x):
    """The mask of a MaskedTensor, itself and no copy."""
    return _pair(x).mask


# ---- printing ----------------------------------------------------------------------------------


def show(data, mask, tensor) -> str:
    """The text of a MaskedTensor from nested lists of its data and its mask."""
    form = "{0:8.4f}" if tensor.dtype.category == dt.FLOATING else "{0}"
    if not tensor.ndim:
        return f"MaskedTensor({form.format(data) if mask else '--'}, {mask})"
    return "MaskedTensor(\n" + _indented(_rows(data, mask, form, tensor.ndim)) + "\n)"


def _rows(data, mask, form, ndim) -> str:
    if ndim > 1:
        rows = [_indented(_rows(x, m, form, ndim - 1)) for x, m in zip(data, mask, strict=True)]
        return "[\n" + ",\n".join(rows) + "\n]"
    texts = [form.format(x) for x in data]
    width = max([8, *(len(t) for t, m in zip(texts, mask, strict=True) if m)])
    shown = [t if m else "--".rjust(width) for t, m in zip(texts, mask, strict=True)]
    return "[" + ", ".join(shown) + "]"


def _indented(text: str) -> str:
    return "  " + text.replace("\n", "\n  ")
