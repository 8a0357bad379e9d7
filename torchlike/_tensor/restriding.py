"""Strided readings of a storage, shape changes in place, and copies with one part replaced."""

from __future__ import annotations

from math import prod

from torchlike._core import references
from torchlike._core.errors import NotSupported, user_line
from torchlike._engine.values import epoch_of
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, levels, views
from torchlike._tensor.forms import FUNCTIONS, function, method
from torchlike._tensor.modes import modes
from torchlike._tensor.parts import (
    chunk,
    diagonal,
    narrow,
    select,
    split,
    view_as_complex,
    view_as_real,
)
from torchlike._tensor.shapes import (
    named,
    shape_of,
    squeeze,
    swapaxes,
    swapdims,
    t,
    transpose,
    unsqueeze,
    wrap_dim,
)
from torchlike._tensor.views import apply_view

# ---- strided readings --------------------------------------------------------------------------


@function(method=True)
def as_strided(input, size, stride, storage_offset=None):
    """Any strided reading of the storage, as a view."""
    base = input if input._base is None else input._base
    if input._storage is not None:
        input._refresh()
    if base._chain and base._node is None and not base._requires_grad:
        base = views.root_handle(base)
    if storage_offset is None:
        storage_offset = views.geometry(input)[1]
    size, stride = tuple(size), tuple(stride)
    if len(size) != len(stride):
        raise RuntimeError("mismatch in length of strides and shape")
    if any(s < 0 for s in stride):
        raise RuntimeError(
            "as_strided: Negative strides are not supported at the moment, got strides: "
            f"{list(stride)}"
        )
    if any(n < 0 for n in size):
        raise RuntimeError(
            f"Storage size calculation overflowed with sizes={list(size)} and strides="
            f"{list(stride)}"
        )
    if storage_offset < 0:
        raise RuntimeError(f"Tensor: invalid storage offset {storage_offset}")
    length = sum((n - 1) * s for n, s in zip(size, stride, strict=True) if n)
    if base._chain or base._geometry is not None:
        storage_offset -= _window(base, input.dtype, storage_offset, length)
    if input.dtype is not base.dtype:
        base = _as_dtype(base, input.dtype)
    reach = storage_offset + length
    if prod(size) and reach >= base._value.aval.numel:
        raise RuntimeError(
            f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset "
            f"{storage_offset} are out of bounds for storage of size {base._value.aval.numel}"
        )
    out = apply_view(TABLE["as_strided"], base, (), (size, stride, storage_offset))
    if not views.conjugated(input):
        return out
    if not input.is_complex():
        raise NotSupported("as_strided on imaginary parts of a conjugate", "clone() it first")
    return apply_view(TABLE["conj_view"], out)


def _window(base, dtype, offset: int, length: int) -> int:
    """Where a tensor that is one window of its storage begins, if what is read lies within it."""
    strides, start = views.geometry(base)
    shape = shape_of(base)
    whole = strides == views.contiguous_strides(shape) and dtype is base.dtype
    if whole and start <= offset and offset + length < start + prod(shape):
        return start
    raise NotSupported(
        "as_strided beyond a tensor detached from a view, or on one transposed in place",
        "clone() it first",
    )


def _as_dtype(base, dtype):
    """All elements of a storage, in the dtype of a view of it."""
    if base.dtype.is_complex and not dtype.is_complex:
        return view_as_real(base.view(-1))
    if dtype.is_complex and not base.dtype.is_complex:
        return view_as_complex(base.view(-1, 2))
    return base.view(-1).view(dtype)


# ---- the same tensor seen otherwise ------------------------------------------------------------


def _shares(self) -> bool:
    """Whether another handle reads the storage of a tensor that is no view."""
    if self._storage is None or self._base is not None:
        return False
    return self._storage.__class__ is not views.Storage or references.holders(self, "_storage") > 1


def _reshow(self, out, shared):
    """Let a tensor itself become the view ``out`` of it; what shares its storage stays as it is."""
    storage, old = self._storage, self._value
    geometry = views.geometry(out)
    views.turned.count += 1
    self._value = out._value
    if modes.grad:
        self._node, self._index = out._node, out._index
    if self._base is not None or self._detached or shared:
        self._detached = self._base is None
        self._chain, self._geometry = out._chain, geometry
        storage.version += 1
        self._seen = storage.version
        return self
    epoch_of(old).line = user_line()
    self._storage, self._version_count = None, storage.version + 1
    self._value.epoch = None
    plain = geometry == (views.contiguous_strides(shape_of(out)), 0)
    self._geometry = None if plain else geometry
    return self


def become(tensor, result):
    """Let a tensor that shares its storage with none be another one, of any shape."""
    dispatch.check_inplace(tensor)
    storage, old = tensor._storage, tensor._value
    if tensor._base is not None or (storage is not None and _shares(tensor)):
        raise NotSupported(
            "changing the shape, inside vmap, of a tensor that shares its storage", "clone() it"
        )
    version = tensor._version_count if storage is None else storage.version
    tensor._value = result.clone()._value
    if modes.grad:
        tensor._node, tensor._index = result._node, result._index
    epoch_of(old).line = user_line()
    tensor._storage, tensor._geometry, tensor._version_count = None, None, version + 1


def _in_place(name, form):
    def reshaped(self, *args, **kwargs):
        dispatch.check_inplace(self)
        if self._sparse:
            return dispatch.rebind(self, form(self, *args, **kwargs))
        shared = _shares(self)
        if shared and modes.grad and self.requires_grad and not self._detached:
            raise NotSupported(
                f"{name} on a tensor with history that shares its storage with others",
                f"assign the result of {form.__name__}",
            )
        return _reshow(self, form(self, *args, **kwargs), shared)

    reshaped.__doc__ = f"In-place form of ``{form.__name__}``."
    method(name)(reshaped)


for _name, _form in {
    "t_": t, "transpose_": transpose, "swapaxes_": swapaxes, "swapdims_": swapdims,
    "squeeze_": squeeze, "unsqueeze_": unsqueeze, "as_strided_": as_strided,
}.items():  # fmt: skip
    _in_place(_name, _form)


# ---- copies with one part replaced -------------------------------------------------------------


def _replaced(input, src, name, part):
    """A copy of ``input`` whose view ``part(copy)`` shows ``src``."""
    out = levels.alike(input.clone(), src) if modes.levels else input.clone()
    target = part(out)
    if shape_of(target) != shape_of(src):
        raise RuntimeError(
            f"expected src to have a size equal to the slice of self. src size = "
            f"{list(shape_of(src))}, slice size = {list(shape_of(target))} ({name})"
        )
    target.copy_(src)
    return named(out, "".join(p.title() for p in name.split("_")) + "Backward0")


@function(method=True, out=True)
def select_scatter(input, src, dim, index):
    """A copy with ``src`` in the place of one slice along ``dim``."""
    return _replaced(input, src, "select_scatter", lambda x: select(x, dim, index))


@function(method=True, out=True)
def slice_scatter(input, src, dim=0, start=None, end=None, step=1):
    """A copy with ``src`` in the place of ``input[start:end:step]`` along ``dim``."""
    at = (slice(None),) * wrap_dim(dim, input._value.aval.ndim)
    return _replaced(input, src, "slice_scatter", lambda x: x[(*at, slice(start, end, step))])


@function(method=True, out=True)
def diagonal_scatter(input, src, offset=0, dim1=0, dim2=1):
    """A copy with ``src`` on a diagonal."""
    return _replaced(input, src, "diagonal_scatter", lambda x: diagonal(x, offset, dim1, dim2))


@function(method=True, out=True)
def as_strided_scatter(input, src, size, stride, storage_offset=None):
    """A copy with ``src`` in the place of a strided reading."""
    part = lambda x: as_strided(x, size, stride, storage_offset)  # noqa: E731
    return _replaced(input, src, "as_strided_scatter", part)


@function(method=True, out=True)
def narrow_copy(input, dim, start, length):
    """A copy of ``length`` slices from ``start`` along ``dim``."""
    if dim >= input._value.aval.ndim:
        raise RuntimeError(
            f"narrow_copy(): dim {dim} is out of range for {input._value.aval.ndim} dimensions"
        )
    return named(narrow(input, dim, start, length).clone(), "NarrowCopyBackward0")


@function(method=True)
def unsafe_split(tensor, split_size, dim=0):
    """``split`` whose pieces autograd lets one write to."""
    return _writable(tensor, split(tensor, split_size, dim))


@function(method=True)
def unsafe_chunk(input, chunks, dim=0):
    """``chunk`` whose pieces autograd lets one write to."""
    return _writable(input, chunk(input, chunks, dim))


def _writable(input, parts, label="UnsafeSplitBackward0"):
    for part in parts:
        part._made = input._made
        # The memory is one, but autograd counts each piece's versions, and hears of no other's.
        part._base, part._detached, part._silent = None, True, True
        named(part, label)
    return parts


@method("fill_diagonal_")
def fill_diagonal_(self, fill_value, wrap=False):
    """Put a number on the main diagonal; ``wrap`` starts again below a tall matrix's end."""
    shape = shape_of(self)
    if len(shape) < 2:
        raise RuntimeError("dimensions must larger than 1")
    if len(shape) > 2:
        if len(set(shape)) > 1:
            raise RuntimeError("all dimensions of input must be of equal length")
        every = FUNCTIONS["arange"](shape[0], device=self.device)
        self[(every,) * len(shape)] = fill_value
        return self
    rows, cols = shape
    if not wrap or rows <= cols:
        diagonal(self).fill_(fill_value)
        return self
    for first in range(0, rows, cols + 1):
        diagonal(narrow(self, 0, first, min(cols, rows - first))).fill_(fill_value)
    return self
