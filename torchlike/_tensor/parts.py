"""Parts of tensors as views: slices, pieces, diagonals, windows, real and imaginary parts."""

from __future__ import annotations

from itertools import pairwise

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._core.symbolic import is_whole, whole
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, views
from torchlike._tensor.forms import METHODS, function, method
from torchlike._tensor.modes import modes
from torchlike._tensor.shapes import named, shape_of, wrap_dim
from torchlike._tensor.size_arguments import integer, lone_keyword
from torchlike._tensor.views import apply_view

_INDEX, _SPLIT, _UNBIND = TABLE["index_basic"], TABLE["split_sizes"], TABLE["unbind"]
_DIAGONAL, _UNFOLD = TABLE["diagonal"], TABLE["unfold"]


@function(method=True)
def narrow(input, dim: int, start, length: int):
    """``length`` elements from ``start`` along ``dim``, as a view."""
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("narrow() cannot be applied to a 0-dim tensor.")
    dim = wrap_dim(dim, len(shape))
    if isinstance(start, dispatch._Tensor) and (start.ndim or start.dtype.category != dt.INTEGRAL):
        raise RuntimeError("start must be an 0-dim integral Tensor.")
    start, n = integer("narrow", "start", 2, start, True), shape[dim]
    length = integer("narrow", "length", 3, length, True)
    if length < 0:
        raise RuntimeError("narrow(): length must be non-negative.")
    if not -n <= start <= n:
        raise IndexError(
            f"start out of range (expected to be in range of [-{n}, {n}], but got {start})"
        )
    start = start + n if start < 0 else start
    if start + length > n:
        raise RuntimeError(f"start ({start}) + length ({length}) exceeds dimension size ({n}).")
    spec = tuple(("slice", length, 1) if d == dim else ("all",) for d in range(len(shape)))
    return named(apply_view(_INDEX, input, (start,), (spec,)), "SliceBackward0")


@function(method=True)
def select(input, dim: int, index: int):
    """One slice along ``dim``, without it, as a view."""
    shape = shape_of(input)
    if not shape:
        raise IndexError("select() cannot be applied to a 0-dim tensor.")
    dim, index = wrap_dim(dim, len(shape)), integer("select", "index", 2, index, True)
    n = shape[dim]
    if not -n <= index < n:
        raise IndexError(
            f"select(): index {index} out of range for tensor of size {list(shape)} at dimension "
            f"{dim}"
        )
    spec = tuple(("int",) if d == dim else ("all",) for d in range(len(shape)))
    number = index + n if index < 0 else index
    return named(apply_view(_INDEX, input, (number,), (spec,)), "SelectBackward0")


@function(method=True, numpy=False)
def split(tensor, split_size_or_sections, dim: int = 0):
    """Pieces of a given size, or of given sizes, along ``dim``; views."""
    sections = split_size_or_sections
    shape = shape_of(tensor)
    dim = wrap_dim(dim, len(shape))
    if not shape:
        raise RuntimeError("split expects at least a 1-dimensional tensor")
    n = shape[dim]
    if isinstance(sections, dispatch._Tensor) and not sections.ndim:
        sections = whole(sections)
    if is_whole(sections):
        if sections < 0:
            raise RuntimeError(
                f"split expects split_size be non-negative, but got split_size={sections}"
            )
        if sections == 0 and n:
            raise RuntimeError(
                f"split_size can only be 0 if dimension size is 0, but got dimension size of {n}"
            )
        sizes = [sections] * (n // sections if sections else 1)
        if sections and (n % sections or not n):
            sizes.append(n % sections)
    else:
        if not isinstance(sections, (tuple, list, dispatch._Tensor)):
            raise TypeError(
                "split_with_sizes(): argument 'split_sizes' (position 2) must be tuple of ints, "
                f"not {type(sections).__name__}"
            )
        sizes = list(sections)
        if any(s < 0 for s in sizes):
            raise RuntimeError(
                "split_with_sizes expects split_sizes have only non-negative entries, but got "
                f"split_sizes={sizes}"
            )
        if sum(sizes) != n:
            raise RuntimeError(
                f"split_with_sizes expects split_sizes to sum exactly to {n} (input tensor's size "
                f"at dimension {dim}), but got split_sizes={sizes}"
            )
    if not sizes:
        return ()
    out = apply_view(_SPLIT, tensor, (), (tuple(sizes), dim))
    label = "SplitBackward0" if is_whole(sections) else "SplitWithSizesBackward0"
    return _several(out, label)


def _several(out, label):
    """The views that one call gives, as a tuple: autograd may not write through them."""
    out = out if isinstance(out, tuple) else (out,)
    for part in out:
        named(part, label)
        if modes.grad:
            part._made = "several"
    return out


@method("split_with_sizes")
def split_with_sizes(self, split_sizes, dim: int = 0):
    """Pieces of given sizes along ``dim``."""
    return split(self, tuple(split_sizes), dim)


@function(method=True)
def chunk(input, chunks: int, dim: int = 0, *, axis: int | None = None):
    """At most ``chunks`` pieces of equal size along ``dim``, the last one smaller."""
    dim = dim if axis is None else axis
    chunks = integer("chunk", "chunks", 1, chunks)
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    shape = shape_of(input)
    if not shape:
        raise RuntimeError("chunk expects at least a 1-dimensional tensor")
    n = shape[wrap_dim(dim, len(shape))]
    size = -(-n // chunks)
    return split(input, size, dim) if size else split(input, [0] * chunks, dim)


@function(method=True)
def tensor_split(input, indices_or_sections=None, dim: int = 0, **other_name):
    """Pieces as numpy's ``array_split`` cuts them."""
    cut = indices_or_sections
    if other_name:
        name = "sections" if "sections" in other_name else "indices"
        cut = lone_keyword("tensor_split", name, other_name)
    if not (is_whole(cut) or isinstance(cut, (tuple, list, dispatch._Tensor))):
        raise TypeError(
            "tensor_split() received an invalid combination of arguments - got (Tensor, "
            f"{type(cut).__name__})"
        )
    shape = shape_of(input)
    if not shape:
        raise RuntimeError(
            "tensor_split expected at least a 1-dimensional tensor, but got a tensor with 0 dims"
        )
    dim = wrap_dim(dim, len(shape))
    n = shape[dim]
    if isinstance(cut, dispatch._Tensor):
        if cut.dtype is not dt.int64:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to have dtype of long, but got "
                f"{dt.SCALAR_NAMES[cut.dtype]}"
            )
        if cut.ndim > 1:
            raise RuntimeError(
                "tensor_split expected tensor_indices_or_sections to be a zero-dimensional or "
                f"one-dimensional tensor, but got a tensor with {cut.ndim} dims"
            )
        cut = cut.tolist()
    if is_whole(cut):
        if cut <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {cut}")
        out = split(input, [n // cut + (i < n % cut) for i in range(cut)], dim)
        for part in out:  # slices to PyTorch, which may be written through
            named(part, "SliceBackward0")
            if modes.grad:
                part._made = input._made
        return out
    edges = [0] + [min(max(i + n if i < 0 else i, 0), n) for i in cut] + [n]
    return tuple(narrow(input, dim, a, max(b - a, 0)) for a, b in pairwise(edges))


@function(method=True)
def unbind(input, dim: int = 0, *, axis: int | None = None):
    """The slices along ``dim``, without it; views."""
    dim = dim if axis is None else axis
    shape = shape_of(input)
    if not shape:
        raise IndexError("Dimension specified as 0 but tensor has no dimensions")
    dim = wrap_dim(dim, len(shape))
    if shape[dim] == 0:
        return ()
    return _several(apply_view(_UNBIND, input, (), (dim,)), "UnbindBackward0")


@function(method=True)
def diagonal(input, offset: int = 0, dim1: int = 0, dim2: int = 1):
    """The diagonal of the plane of two dimensions, as a view."""
    n, offset = dispatch.aval_of(input).ndim, integer("diagonal", "offset", 1, offset)
    dim1, dim2 = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply_view(_DIAGONAL, input, (), (offset, dim1, dim2))


@method("unfold")
def unfold(self, dimension: int, size: int, step: int):
    """Windows of ``size`` every ``step`` along a dimension, as a new last one; a view."""
    shape = shape_of(self)
    dim = wrap_dim(dimension, len(shape))
    n = shape[dim] if shape else 1
    if size < 0:
        raise RuntimeError(f"size is {size} but must be >= 0")
    if size > n:
        raise RuntimeError(f"maximum size for tensor at dimension {dim} is {n} but size is {size}")
    if step <= 0:
        raise RuntimeError(f"step is {step} but must be > 0")
    return apply_view(_UNFOLD, self, (), (dim, size, step))


# ---- complex -----------------------------------------------------------------------------------


@function()
def view_as_real(input):
    """Real and imaginary parts as a last dimension of size two; a view."""
    if not dispatch.aval_of(input).dtype.is_complex:
        raise RuntimeError("view_as_real is only supported for complex tensors")
    if views.conjugated(input):
        raise RuntimeError(
            "view_as_real doesn't work on unresolved conjugated tensors.  To resolve the conjugate "
            "tensor so you can view it as real, use self.resolve_conj(); however, be warned that "
            "the resulting tensor will NOT alias the original."
        )
    return apply_view(TABLE["view_as_real"], input)


@function()
def view_as_complex(input):
    """A last dimension of size two as complex numbers; a view."""
    a = dispatch.aval_of(input)
    if not a.dtype.is_floating_point:
        raise RuntimeError(
            f"view_as_complex is only supported for half, float and double tensors, but got a "
            f"tensor of scalar type: {a.dtype}"
        )
    if a.dtype.itemsize < 4:
        raise NotSupported("complex numbers of two halves", "convert with .float() first")
    if not a.shape or a.shape[-1] != 2:
        raise RuntimeError("Tensor must have a last dimension of size 2")
    strides, offset = views.geometry(input)
    if strides[-1] != 1:
        raise RuntimeError("Tensor must have a last dimension with stride 1")
    if any(s % 2 for n, s in zip(a.shape[:-1], strides, strict=False)):
        raise RuntimeError("Tensor must have a stride divisible by 2 for all but last dimension")
    if offset % 2:
        raise RuntimeError("Tensor must have a storage_offset divisible by 2")
    return apply_view(TABLE["view_as_complex"], input)


@function("real")
def real(input):
    """The real parts; a view."""
    return apply_view(TABLE["real"], input) if dispatch.aval_of(input).dtype.is_complex else input


@function("imag")
def imag(input):
    """The imaginary parts of a complex tensor; a view."""
    if not dispatch.aval_of(input).dtype.is_complex:
        raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
    return apply_view(TABLE["imag"], input)


def _set_part(name, part):
    def assign(self, value):
        METHODS["copy_"](part(self), value)

    assign.__name__ = name
    return assign


SETTERS = {"real": _set_part("real", real), "imag": _set_part("imag", imag)}
