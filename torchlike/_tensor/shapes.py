"""Shape functions and methods of PyTorch, over the few view ops."""

from __future__ import annotations

from itertools import count
from math import prod

from torchlike._core import dtypes as dt
from torchlike._core.errors import not_a_tensor, warn_once
from torchlike._core.sizes import Size
from torchlike._core.symbolic import is_one, is_whole
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, views
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.forms import function, method
from torchlike._tensor.size_arguments import (
    infer_size,
    is_integer,
    lone_keyword,
    sizes_argument,
    sizes_given,
)
from torchlike._tensor.views import apply_view

_VIEW, _PERMUTE = TABLE["view"], TABLE["permute"]
_SQUEEZE, _UNSQUEEZE = TABLE["squeeze_dims"], TABLE["unsqueeze"]
_EXPAND = TABLE["expand"]


def named(out, label: str):
    """Give the node of a composed view the name that PyTorch's own op has."""
    if out._node is not None:
        out._node.label = label
    return out


_UNSET = object()  # the default of an argument that is needed, under one of two names


def needed_dim(name: str, axis):
    """NumPy's name of ``dim`` where that is not given; raises PyTorch's error without both."""
    if axis is _UNSET:
        raise TypeError(f'{name}() missing 1 required positional arguments: "dim"')
    return axis


def wrap_dim(dim: int, ndim: int) -> int:
    """A dimension counted from the front; raises PyTorch's ``IndexError`` if out of range."""
    if dim.__class__ is not int:
        if not is_integer(dim):
            raise TypeError(f"argument 'dim' must be int, not {type(dim).__name__}")
        dim = dim.__index__()
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})"
        )
    return dim + n if dim < 0 else dim


def shape_of(t) -> tuple:
    """The shape as a plain tuple."""
    try:
        return t._value.aval.shape
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None


# ---- view and reshape --------------------------------------------------------------------------


@method("view")
def view(self, *shape, dtype=None, size=None):
    """A view under another shape or dtype (https://pytorch.org/docs/stable/generated/torch.Tensor.view.html)."""
    if dtype is None and len(shape) == 1 and isinstance(shape[0], (dt.dtype, type)):
        dtype = shape[0]
    if dtype is not None:
        return _view_dtype(self, dt.as_dtype("view", dtype))
    if size is not None:
        shape = (lone_keyword("view", "size", {"size": size}),)
    if not shape:
        raise TypeError("view() received an invalid combination of arguments - got ()")
    a = self._value.aval
    shape = infer_size(sizes_argument(shape, "view"), a.numel)
    if not views.row_major(self):
        strides, _ = views.geometry(self)
        if views.view_strides(a.shape, strides, shape) is None:
            raise RuntimeError(
                "view size is not compatible with input tensor's size and stride (at least one "
                "dimension spans across two contiguous subspaces). Use .reshape(...) instead."
            )
    return apply_view(_VIEW, self, (), (shape,))


def _view_dtype(self, dtype):
    a = self._value.aval
    if dtype is not a.dtype and views.conjugated(self):
        kind = "conjugate view tensors" if a.dtype.is_complex else "tensors with negative bit set"
        raise RuntimeError(
            f"torch.Tensor.view is not supported for {kind} when converting to a different dtype."
        )
    if a.dtype.itemsize != dtype.itemsize:
        if not a.shape:
            names = dt.SCALAR_NAMES[a.dtype], dt.SCALAR_NAMES[dtype]
            raise RuntimeError(
                f"self.dim() cannot be 0 to view {names[0]} as {names[1]} (different element sizes)"
            )
        if a.shape[-1] * a.dtype.itemsize % dtype.itemsize:
            raise _no_view(self, dtype, "size(-1)", a.shape[-1])
        _need_whole_elements(self, dtype)
    return apply_view(TABLE["view_dtype"], self, (), (a.dtype, dtype))


def _no_view(self, dtype, what: str, found: int, must: str | None = None):
    """PyTorch's error for a view in a dtype of another size."""
    kinds = f"{dt.SCALAR_NAMES[self.dtype]} as {dt.SCALAR_NAMES[dtype]}"
    must = must or f"be divisible by {dtype.itemsize // self.dtype.itemsize}"
    return RuntimeError(
        f"self.{what} must {must} to view {kinds} (different element sizes), but got {found}"
    )


def _need_whole_elements(self, dtype) -> None:
    """Raise unless elements of another size lie in the memory of a tensor one beside the other."""
    strides, offset = views.geometry(self)
    if strides[-1] != 1:
        raise _no_view(self, dtype, "stride(-1)", strides[-1], "be 1")
    ratio = dtype.itemsize // self.dtype.itemsize
    if ratio < 2:
        return
    if offset % ratio:
        raise _no_view(self, dtype, "storage_offset()", offset)
    for d, s in enumerate(strides[:-1]):
        if s % ratio:
            raise _no_view(self, dtype, f"stride({d})", s)


@method("view_as")
def view_as(self, other):
    """A view of the shape of ``other``."""
    return view(self, shape_of(other))


@function(method=True, sequence="shape")
def reshape(input, *shape, **named_shape):
    """A view of another shape where strides allow it, else a copy."""
    shape = sizes_given("reshape", "shape", shape, named_shape)
    try:
        a = input._value.aval
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None
    shape = infer_size(shape, a.numel)
    if not views.row_major(input):
        strides, _ = views.geometry(input)
        if views.view_strides(a.shape, strides, shape) is None:
            return apply(_VIEW, (input,), (shape,))
    return apply_view(_VIEW, input, (), (shape,))


@method("reshape_as")
def reshape_as(self, other):
    """Reshape to the shape of ``other``."""
    return reshape(self, shape_of(other))


@function(method=True)
def flatten(input, start_dim: int = 0, end_dim: int = -1):
    """Dimensions from ``start_dim`` to ``end_dim`` as one."""
    shape = shape_of(input)
    start, end = (wrap_dim(d, len(shape) or 1) for d in (start_dim, end_dim))
    if not shape:
        return reshape(input, 1)
    if start > end:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if start == end:
        return input
    return reshape(input, (*shape[:start], prod(shape[start : end + 1]), *shape[end + 1 :]))


@function(method=True)
def ravel(input):
    """All elements in one dimension."""
    return contiguous(input).reshape(-1)


@function(method=True)
def unflatten(input, dim: int, sizes):
    """One dimension as several."""
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("unflatten: the input tensor has no dimensions")
    dim = wrap_dim(dim, len(shape))
    if not isinstance(sizes, (tuple, list)):
        kind = type(sizes).__name__
        raise TypeError(
            f"unflatten(): argument 'sizes' (position 2) must be tuple of ints, not {kind}"
        )
    if not sizes:
        raise RuntimeError("unflatten: sizes must be non-empty")
    sizes = sizes_argument((sizes,), "unflatten", "sizes")
    known = prod(n for n in sizes if n != -1)
    if (-1 not in sizes and known != shape[dim]) or (known and shape[dim] % known):
        raise RuntimeError(
            f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {dim} "
            f"({shape[dim]}) in the input tensor"
        )
    return view(input, *shape[:dim], *infer_size(sizes, shape[dim]), *shape[dim + 1 :])


# ---- order of dimensions -----------------------------------------------------------------------


def _permuted(input, dims, label="PermuteBackward0"):
    return named(apply_view(_PERMUTE, input, (), (dims,)), label)


@function(method=True, sequence="dims")
def permute(input, *dims, **named_dims):
    """Dimensions in another order, as a view."""
    dims = sizes_given("permute", "dims", dims, named_dims)
    try:
        n = input._value.aval.ndim
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None
    if len(dims) != n:
        raise RuntimeError(
            f"permute(sparse_coo): number of dimensions in the tensor input does not match the "
            f"length of the desired ordering of dimensions i.e. input.dim() = {n} is not equal to "
            f"len(dims) = {len(dims)}"
        )
    dims = tuple(wrap_dim(d, n) for d in dims)
    if len(set(dims)) != n:
        raise RuntimeError("permute(): duplicate dims are not allowed.")
    return _permuted(input, dims)


@function(method=True, inplace=False)
def transpose(input, dim0: int, dim1: int):
    """Two dimensions exchanged, as a view."""
    try:
        n = input._value.aval.ndim
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None
    dim0, dim1 = wrap_dim(dim0, n), wrap_dim(dim1, n)
    dims = list(range(n))
    if n:
        dims[dim0], dims[dim1] = dims[dim1], dims[dim0]
    return _permuted(input, tuple(dims), "TransposeBackward0")


@function(method=True)
def swapaxes(input, axis0: int, axis1: int):
    """``transpose`` under numpy's name."""
    return transpose(input, axis0, axis1)


@function(method=True)
def swapdims(input, dim0: int, dim1: int):
    """``transpose`` under another name."""
    return transpose(input, dim0, dim1)


@function(method=True)
def t(input):
    """A matrix transposed; vectors and scalars as they are."""
    try:
        n = input._value.aval.ndim
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None
    if n > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {n}D")
    return _permuted(input, (1, 0) if n == 2 else tuple(range(n)), "TBackward0")


@function(method=True)
def movedim(input, source, destination):
    """Dimensions moved to other places, the rest in order."""
    n = aval_of(input).ndim
    source = (source,) if is_whole(source) else tuple(source)
    destination = (destination,) if is_whole(destination) else tuple(destination)
    if len(source) != len(destination):
        raise RuntimeError(
            f"movedim: Invalid source or destination dims: source ({list(source)} dims) should "
            f"contain the same number of dims as destination ({list(destination)} dims)"
        )
    source = [wrap_dim(d, n) for d in source]
    destination = [wrap_dim(d, n) for d in destination]
    if len(set(source)) != len(source):
        raise RuntimeError(f"movedim: repeated dim in `source` ({source})")
    if len(set(destination)) != len(destination):
        raise RuntimeError(f"movedim: repeated dim in `destination` ({destination})")
    if not n:
        return _permuted(input, ())
    dims = [-1] * n
    for s, d in zip(source, destination, strict=True):
        dims[d] = s
    rest = iter(d for d in range(n) if d not in source)
    return _permuted(input, tuple(next(rest) if d < 0 else d for d in dims))


@function(method=True)
def moveaxis(input, source, destination):
    """``movedim`` under numpy's name."""
    return movedim(input, source, destination)


def _transposed(self):
    ndim = self._value.aval.ndim
    if ndim != 2:
        warn_once(
            "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is "
            "deprecated and it will throw an error in a future release. Consider `x.mT` to "
            "transpose batches of matrices or `x.permute(*torch.arange(x.ndim - 1, -1, -1))` to "
            "reverse the dimensions of a tensor."
            if ndim
            else "Tensor.T is deprecated on 0-D tensors. This function is the identity in these "
            "cases."
        )
    return _permuted(self, tuple(reversed(range(ndim))))


def _matrix_transposed(self):
    n = self._value.aval.ndim
    if not n:
        warn_once(
            "Tensor.mT is deprecated on 0-D tensors. This function is the identity in these cases."
        )
        return self
    if n < 2:
        raise RuntimeError(
            f"tensor.mT is only supported on matrices or batches of matrices. Got {n}-D tensor."
        )
    return transpose(self, -2, -1)


@function(method=True)
def adjoint(input):
    """The conjugate transpose of the last two dimensions; raises if there is but one."""
    n = input._value.aval.ndim
    if n == 1:
        raise RuntimeError(
            f"tensor.adjoint() is only supported on matrices or batches of matrices. Got {n}-D "
            "tensor."
        )
    if not n:
        return input.conj() if input.is_complex() else input
    out = transpose(input, -2, -1)
    return out.conj() if input.is_complex() else out


# ---- dimensions of size one --------------------------------------------------------------------


@function(method=True)
def squeeze(input, dim=None, *, axis=None):
    """Without dimensions of size one, or without the given ones that are."""
    dim = dim if axis is None else axis
    shape = shape_of(input)
    if dim is None:
        dims = tuple(d for d, n in enumerate(shape) if is_one(n))
        label = "SqueezeBackward0"
    else:
        given = dim if isinstance(dim, (tuple, list)) else (dim,)
        given = [wrap_dim(d, len(shape)) for d in given]
        if len(set(given)) < len(given):
            twice = next(d for d in given if given.count(d) > 1)
            raise RuntimeError(f"dim {twice} appears multiple times in the list of dims")
        dims = tuple(sorted(d for d in given if shape and is_one(shape[d])))
        label = "SqueezeBackward1" if is_whole(dim) else "SqueezeBackward2"
    return named(apply_view(_SQUEEZE, input, (), (dims,)), label)


@function(method=True)
def unsqueeze(input, dim: int = _UNSET, *, axis: int = _UNSET):
    """With a dimension of size one put in at ``dim``."""
    if dim is _UNSET:
        dim = needed_dim("unsqueeze", axis)
    try:
        n = input._value.aval.ndim + 1
    except AttributeError as error:
        raise (not_a_tensor(error) or error) from None
    return apply_view(_UNSQUEEZE, input, (), (wrap_dim(dim, n),))


@method("expand")
def expand(self, *sizes, implicit=False, size=None):
    """Broadcast to a shape, -1 for a dimension as it is; a view."""
    named = None if size is None else {"size": size}
    sizes, shape = sizes_given("expand", "size", sizes, named), shape_of(self)
    lead = len(sizes) - len(shape)
    if lead < 0:
        raise RuntimeError(
            f"expand(torch.{dt.SCALAR_NAMES[self.dtype]}Tensor{{{list(shape)}}}, size="
            f"{list(sizes)}): the number of sizes provided ({len(sizes)}) must be greater or equal "
            f"to the number of dimensions in the tensor ({len(shape)})"
        )
    out = []
    for i, n in reversed(list(enumerate(sizes))):  # PyTorch's errors name the last that is wrong
        old = shape[i - lead] if i >= lead else 1
        if n == -1:
            if i < lead:
                raise RuntimeError(
                    f"The expanded size of the tensor ({n}) isn't allowed in a leading, "
                    f"non-existing dimension {i}"
                )
            n = old
        if n != old and old != 1:
            raise RuntimeError(
                f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                f"non-singleton dimension {i}.  Target sizes: {list(sizes)}.  Tensor sizes: "
                f"{list(shape)}"
            )
        out.append(n)
    return apply_view(_EXPAND, self, (), (tuple(reversed(out)),))


@method("expand_as")
def expand_as(self, other):
    """Expand to the shape of ``other``."""
    return expand(self, shape_of(other))


@function(method=True, sequence="size")
def broadcast_to(input, *size, **named):
    """Expand to a shape."""
    return expand(input, sizes_given("broadcast_to", "size", size, named))


@function()
def broadcast_tensors(*tensors):
    """All tensors expanded to their common shape."""
    if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)):
        tensors = tensors[0]
    shape: tuple = ()
    for t in tensors:
        shape = common_shape(shape, shape_of(t))
    return tuple(t if shape_of(t) == shape else expand(t, shape) for t in tensors)


def common_shape(a, b) -> tuple:
    """The common shape of two by broadcasting, with the error of an op on both."""
    ndim = max(len(a), len(b))
    a, b = (1,) * (ndim - len(a)) + tuple(a), (1,) * (ndim - len(b)) + tuple(b)
    for i in range(ndim - 1, -1, -1):
        if a[i] != b[i] and a[i] != 1 and b[i] != 1:
            raise RuntimeError(
                f"The size of tensor a ({a[i]}) must match the size of tensor b ({b[i]}) at "
                f"non-singleton dimension {i}"
            )
    return tuple(n if m == 1 else m for m, n in zip(a, b, strict=True))


@function()
def broadcast_shapes(*shapes):
    """The common shape of several, by broadcasting; raises ``RuntimeError`` if there is none."""
    shapes = [(s,) if is_whole(s) else s for s in shapes]
    for s in shapes:
        if not isinstance(s, (tuple, list)):
            raise RuntimeError(
                f"Input shapes should be of type ints, a tuple of ints, or a list of ints, got {s}"
            )
    out = [1] * max((len(s) for s in shapes), default=0)
    for at, s in enumerate(shapes):
        for i, n in enumerate(reversed(s), 1):
            if n != 1 and out[-i] not in (1, n):
                raise RuntimeError(
                    f"Attempting to broadcast a dimension of length {n} at -{i}! Mismatching "
                    f"argument at index {at} had {s}; but expected shape should be broadcastable "
                    f"to {out}"
                )
            if n < 0:
                raise ValueError("Attempting to broadcast a dimension with negative length!")
            if n != 1:
                out[-i] = n
    return Size(out)


# ---- asking ------------------------------------------------------------------------------------


@method("size")
def size(self, dim=None, *, axis=None):
    """The shape, or the size of one dimension."""
    dim = dim if axis is None else axis
    if dim is None:
        return self.shape
    shape = self._value.aval.shape
    if not shape:
        raise IndexError(f"Dimension specified as {dim} but tensor has no dimensions")
    return shape[wrap_dim(dim, len(shape))]


@method("dim")
def dim(self) -> int:
    """The number of dimensions."""
    return self._value.aval.ndim


@method("ndimension")
def ndimension(self) -> int:
    """The number of dimensions."""
    return self._value.aval.ndim


@function(method=True)
def numel(input) -> int:
    """The number of elements."""
    if not isinstance(input, dispatch._Tensor):
        raise TypeError(
            f"numel(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return input._value.aval.numel


@method("nelement")
def nelement(self) -> int:
    """The number of elements."""
    return self._value.aval.numel


@method("element_size")
def element_size(self) -> int:
    """Bytes of one element."""
    return self._value.aval.dtype.itemsize


@method("stride")
def stride(self, dim=None, *, axis=None):
    """Strides in elements, as PyTorch would report them."""
    dim = dim if axis is None else axis
    strides, _ = views.geometry(self)
    return strides if dim is None else strides[wrap_dim(dim, len(strides))]


@method("storage_offset")
def storage_offset(self) -> int:
    """Offset in elements of the first element within the storage."""
    return views.geometry(self)[1]


@method("is_contiguous")
def is_contiguous(self, memory_format=None) -> bool:
    """Whether the strides are row-major."""
    return views.is_contiguous(shape_of(self), views.geometry(self)[0])


@method("contiguous")
def contiguous(self, *, memory_format=None):
    """Itself if row-major, else a copy."""
    if views.row_major(self):
        return self
    return apply(TABLE["clone"], (self,))


@method("data_ptr")
def data_ptr(self) -> int:
    """A number that is the same for tensors that share a storage, plus the byte offset; 0 for
    tensors without elements."""
    if not self._value.aval.numel or self.device.type == "meta":
        return 0
    storage = views.storage_of(self)
    if storage.identity is None:
        storage.identity = next(_identities) << 40
    return storage.identity + views.geometry(self)[1] * self.element_size()


_identities = count(1)


def _conjugate_transposed(self):
    n = self._value.aval.ndim
    if n == 1:
        raise RuntimeError(
            f"tensor.mH is only supported on matrices or batches of matrices. Got {n}-D tensor."
        )
    return adjoint(self)


def _hermitian(self):
    n = self._value.aval.ndim
    if not n:
        warn_once("Tensor.H is deprecated on 0-D tensors. Consider using x.conj().")
    elif n != 2:
        more = " For batches of matrices, consider using tensor.mH" if n > 2 else ""
        raise RuntimeError(
            f"tensor.H is only supported on matrices (2-D tensors). Got {n}-D tensor.{more}"
        )
    return adjoint(self)


PROPERTIES = {
    "T": _transposed, "mT": _matrix_transposed, "H": _hermitian, "mH": _conjugate_transposed,
}  # fmt: skip
