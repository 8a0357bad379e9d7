"""Frontends of joining, splitting and rearranging: cat, stack, tile, rot90, meshgrid ..."""

from __future__ import annotations

import itertools

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._engine.captures import at_hand
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply, aval_of, into
from torchlike._tensor.forms import FUNCTIONS, alias, function, inplace_of, method
from torchlike._tensor.host_reads import joined
from torchlike._tensor.parts import split, tensor_split
from torchlike._tensor.products import need_tensor, need_tensors
from torchlike._tensor.shapes import (
    named,
    reshape,
    shape_of,
    sizes_argument,
    sizes_given,
    transpose,
    unsqueeze,
    wrap_dim,
)
from torchlike._tensor.size_arguments import integer

_UNSET = object()

# ---- joining -----------------------------------------------------------------------------------


def _put(out, result, apart=()):
    """The joined tensors, or ``out`` that holds them; PyTorch's class of the error of a dtype."""
    if isinstance(out, dispatch._Tensor) and not dt.can_cast(result.dtype, out.dtype):
        raise TypeError(
            "torch.cat(): input types can't be cast to the desired output type "
            f"{dt.SCALAR_NAMES[out.dtype]}"
        )
    return into(out, result, apart=apart)


@function()
def cat(tensors, dim=0, *, out=None, axis=_UNSET):
    """The tensors one after the other along a dimension
    (https://pytorch.org/docs/stable/generated/torch.cat.html)."""
    tensors = need_tensors("cat", "tensors", tensors)
    if not tensors:
        raise ValueError("torch.cat(): expected a non-empty list of Tensors")
    dim = dim if axis is _UNSET else axis
    result = joined(tensors, np.concatenate, dim)
    if result is None:
        result = apply(TABLE["cat"], tensors, (dim,))
    return _put(out, result, tensors)


@function()
def stack(tensors, dim=0, *, out=None, axis=_UNSET):
    """The tensors along a new dimension
    (https://pytorch.org/docs/stable/generated/torch.stack.html)."""
    tensors = need_tensors("stack", "tensors", tensors)
    if not tensors:
        raise RuntimeError("stack expects a non-empty TensorList")
    dim = dim if axis is _UNSET else axis
    result = joined(tensors, np.stack, dim)
    if result is None:
        result = apply(TABLE["stack"], tensors, (dim,))
    return _put(out, result, tensors)


def _several(name, xs):
    """``f(a, b)`` and ``f([a, b])`` alike, as a tuple of tensors."""
    if len(xs) == 1 and isinstance(xs[0], (tuple, list)):
        xs = tuple(xs[0])
    for i, x in enumerate(xs):
        need_tensor(name, "tensors", i + 1, x)
    return tuple(xs)


@function()
def atleast_1d(*tensors):
    """Scalars as vectors of one; other tensors as they are."""
    return _at_least("atleast_1d", tensors, lambda x: reshape(x, 1) if x.ndim == 0 else x)


def _to_2d(x):
    if x.ndim == 0:
        return reshape(x, 1, 1)
    return unsqueeze(x, 0) if x.ndim == 1 else x


@function()
def atleast_2d(*tensors):
    """Scalars and vectors as matrices of one row; other tensors as they are."""
    return _at_least("atleast_2d", tensors, _to_2d)


def _to_3d(x):
    if x.ndim == 0:
        return reshape(x, 1, 1, 1)
    if x.ndim == 1:
        return unsqueeze(unsqueeze(x, 0), 2)
    return unsqueeze(x, 2) if x.ndim == 2 else x


@function()
def atleast_3d(*tensors):
    """Tensors of fewer than three dimensions with dimensions of one added."""
    return _at_least("atleast_3d", tensors, _to_3d)


def _at_least(name, tensors, change):
    several = len(tensors) != 1 or isinstance(tensors[0], (tuple, list))
    out = tuple(change(x) for x in _several(name, tensors))
    return out if several else out[0]


def _stacker(name, change, dim, doc):
    def join(tensors, *, out=None):
        tensors = need_tensors(name, "tensors", tensors)
        if not tensors:
            raise RuntimeError(f"{name} expects a non-empty TensorList")
        tensors = [change(x) for x in tensors]
        return cat(tensors, dim(tensors), out=out)

    join.__name__, join.__doc__ = name, doc
    function(name)(join)


_stacker("hstack", lambda x: reshape(x, 1) if x.ndim == 0 else x,
         lambda xs: 0 if xs[0].ndim == 1 else 1, "Joined column by column.")  # fmt: skip
_stacker("vstack", _to_2d, lambda xs: 0, "Joined row by row.")
_stacker("dstack", _to_3d, lambda xs: 2, "Joined along the third dimension.")
_stacker("column_stack", lambda x: reshape(x, x.numel(), 1) if x.ndim <= 1 else x,
         lambda xs: 1, "Joined column by column, vectors as columns.")  # fmt: skip


@function()
def block_diag(*tensors):
    """A matrix with the given matrices on its diagonal."""
    if not tensors:
        return FUNCTIONS["zeros"](1, 0)
    return apply(TABLE["block_diag"], _several("block_diag", tensors))


# ---- repeating ---------------------------------------------------------------------------------


@method("repeat")
def repeat(self, *counts, repeats=None):
    """Copies side by side, so many along each dimension."""
    named = None if repeats is None else {"repeats": repeats}
    repeats = sizes_given("repeat", "repeats", counts, named)
    if len(repeats) < self._value.aval.ndim:
        raise RuntimeError(
            "Number of dimensions of repeat dims can not be smaller than number of dimensions of "
            "tensor"
        )
    if any(n < 0 for n in repeats):
        raise RuntimeError(f"Trying to create tensor with negative dimension: {list(repeats)}")
    return apply(TABLE["repeat"], (self,), (repeats,))


@function(method=True, sequence="dims")
def tile(input, *counts, **named_counts):
    """``repeat`` with missing leading counts taken as one."""
    dims = sizes_given("tile", "dims", counts, named_counts)
    if not dims and not aval_of(input).ndim:
        return apply(TABLE["repeat"], (input,), ((),))
    return repeat(input, (*[1] * (input._value.aval.ndim - len(dims)), *dims))


@function(method=True)
def repeat_interleave(input, repeats=None, dim=None, *, output_size=None):
    """Every element or slice so many times in a row
    (https://pytorch.org/docs/stable/generated/torch.repeat_interleave.html)."""
    if repeats is None:  # how often each index of a new tensor appears
        if input._value.aval.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        n = input._value.aval.numel
        index = FUNCTIONS["arange"](n, dtype=input.dtype, device=input.device)
        return _repeat_by(index, input, 0, output_size)
    if dim is None:
        input, dim = input.reshape(-1), 0
    dim = wrap_dim(dim, input._value.aval.ndim)
    if not isinstance(repeats, dispatch._Tensor):
        repeats = integer("repeat_interleave", "repeats", 1, repeats, True)
        if repeats < 0:
            raise RuntimeError("Repeats must be non-negative")
        if not input._value.aval.ndim:
            input = input.reshape(1)
        wanted = repeats * shape_of(input)[dim]
        if output_size is not None and output_size != wanted:
            raise RuntimeError(
                "repeat_interleave: Invalid output_size, expected "
                f"{wanted} but got {int(output_size)}"
            )
        return apply(TABLE["repeat_each"], (input,), (repeats, dim))
    return _repeat_by(input, repeats, dim, output_size)


def _repeat_by(input, repeats, dim, total):
    if repeats.dtype not in (dt.int32, dt.int64):
        raise NotImplementedError(
            f"\"repeat_interleave_cpu\" not implemented for '{dt.SCALAR_NAMES[repeats.dtype]}'"
        )
    if repeats.ndim > 1:
        raise RuntimeError("repeats must be 0-dim or 1-dim tensor")
    n, m = shape_of(input)[dim], repeats.numel()
    known = repeats._host() if total is None or at_hand(repeats._value) is not None else None
    if m == 1:
        repeats = repeats.reshape(1).expand(n)
    elif m != n:
        raise RuntimeError(
            "repeats must have the same size as input along dim, but got repeats.size(0) = "
            f"{m} and input.size({dim}) = {n}"
        )
    if known is not None:
        if known.size and known.min() < 0:
            raise RuntimeError("repeats can not be negative")
        found = int(known.sum()) * (n if m == 1 else 1)
        if total is not None and total != found:
            raise RuntimeError("allocated size does not match required size")
        total = found
    return apply(TABLE["repeat_counts"], (input, repeats), (dim, int(total)))


# ---- rearranging -------------------------------------------------------------------------------


@function(method=True, sequence="dims")
def flip(input, *dims, **named_dims):
    """In reverse order along the given dimensions."""
    return apply(TABLE["flip"], (input,), (sizes_given("flip", "dims", dims, named_dims),))


@function(method=True)
def fliplr(input):
    """In reverse order along the second dimension."""
    if aval_of(input).ndim < 2:
        raise RuntimeError("Input must be >= 2-d.")
    return flip(input, 1)


@function(method=True)
def flipud(input):
    """In reverse order along the first dimension."""
    if aval_of(input).ndim < 1:
        raise RuntimeError("Input must be >= 1-d.")
    return flip(input, 0)


@function(method=True)
def rot90(input, k=1, dims=(0, 1)):
    """Turned by 90 degrees ``k`` times in the plane of two dimensions."""
    n, k = aval_of(input).ndim, integer("rot90", "k", 2, k)
    if not isinstance(dims, (tuple, list)):
        kind = type(dims).__name__
        raise TypeError(f"rot90(): argument 'dims' (position 3) must be tuple of ints, not {kind}")
    if len(dims) != 2:
        raise RuntimeError(f"expected total rotation dims == 2, but got dims = {len(dims)}")
    if n < 2:
        raise RuntimeError(f"expected total dims >= 2, but got total dims = {n}")
    first, second = (wrap_dim(d, n) for d in dims)
    if first == second:
        raise RuntimeError(
            f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}"
        )
    if k % 4 == 1:
        out = transpose(flip(input, second), first, second)
    elif k % 4 == 2:
        out = flip(input, first, second)
    elif k % 4 == 3:
        out = transpose(flip(input, first), first, second)
    else:
        out = input.clone()
    return named(out, "Rot90Backward0")


@function(method=True)
def roll(input, shifts, dims=None):
    """Elements moved along dimensions, those pushed out coming in at the other end."""
    shifts = sizes_argument((shifts,))
    dims = () if dims is None else sizes_argument((dims,))
    if not shifts:
        raise RuntimeError("`shifts` required")
    if not dims and len(shifts) == 1:
        rolled = roll(input.reshape(-1), shifts, 0).view(shape_of(input))
        return named(rolled, "RollBackward0")
    if len(shifts) != len(dims):
        raise RuntimeError(
            f"shifts and dimensions must align. shifts: {len(shifts)}, dims:{len(dims)}"
        )
    shape = aval_of(input).shape
    if any(size.__class__ is int and size == 0 for size in shape):  # PyTorch does not look further
        return input.clone()
    if not shape:
        raise IndexError(f"Dimension specified as {dims[0]} but tensor has no dimensions")
    dims = tuple(wrap_dim(d, len(shape)) for d in dims)
    return apply(TABLE["roll_dims"], (input,), (shifts, dims))


@function(method=True)
def diag_embed(input, offset=0, dim1=-2, dim2=-1):
    """The last dimension as a diagonal of the plane of two new dimensions."""
    shape = shape_of(input)
    if not shape:
        wrap_dim(0, 0)
        raise IndexError("Dimension specified as -1 but tensor has no dimensions")
    dim1, dim2 = wrap_dim(dim1, len(shape) + 1), wrap_dim(dim2, len(shape) + 1)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply(TABLE["diag_embed_dims"], (input,), (offset, dim1, dim2))


@function(method=True)
def diag(input, diagonal=0, *, out=None):
    """A matrix with a vector on its diagonal, or a copy of a matrix's diagonal."""
    n = aval_of(input).ndim
    if n not in (1, 2):
        raise RuntimeError(f"diag(): Supports 1D or 2D tensors. Got {n}D")
    if n == 1:
        return into(out, diag_embed(input, diagonal), exact=True)
    return into(out, diagonal_copy(input, diagonal), exact=True)


@function(out=True)
def diagonal_copy(input, offset=0, dim1=0, dim2=1):
    """A copy of the diagonal of the plane of two dimensions."""
    n = aval_of(input).ndim
    dim1, dim2 = wrap_dim(dim1, n), wrap_dim(dim2, n)
    if dim1 == dim2:
        raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
    return apply(TABLE["diagonal_copy"], (input,), (offset, dim1, dim2))


@function(method=True)
def diagflat(input, offset=0):
    """A matrix with all elements of a tensor on its diagonal."""
    return diag(input.reshape(-1), offset)


# ---- grids -------------------------------------------------------------------------------------


@function()
def meshgrid(*tensors, indexing=None):
    """Grids of coordinates from vectors of them; views."""
    tensors = _several("meshgrid", tensors)
    if not tensors:
        raise RuntimeError("meshgrid expects a non-empty TensorList")
    for x in tensors:
        if x.ndim > 1:
            raise RuntimeError(
                f"torch.meshgrid: Expected 0D or 1D tensor in the tensor list but got: {x}"
            )
    if indexing is None:
        warn_once(
            "torch.meshgrid: in an upcoming release, it will be required to pass the indexing "
            "argument."
        )
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(
            f'torch.meshgrid: indexing must be one of "xy" or "ij", but received: {indexing}'
        )
    if len({x.dtype for x in tensors}) > 1:
        raise RuntimeError("torch.meshgrid expects all tensors to have the same dtype")
    swap = indexing == "xy" and len(tensors) > 1
    if swap:
        tensors = (tensors[1], tensors[0], *tensors[2:])
    shape = [x.numel() for x in tensors]
    grids = [
        x.view([-1 if d == i else 1 for d in range(len(shape))]).expand(shape)
        for i, x in enumerate(tensors)
    ]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@function()
def cartesian_prod(*tensors):
    """All tuples of elements of the given vectors, as rows."""
    tensors = _several("cartesian_prod", tensors)
    for x in tensors:
        if x.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(x.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@function()
def combinations(input, r=2, with_replacement=False):
    """All choices of ``r`` elements of a vector, as rows."""
    if input.ndim != 1:
        raise RuntimeError(f"Expect a 1D vector, but got shape {list(input.shape)}")
    if r < 0:
        raise RuntimeError(f"Expect a non-negative number, but got {r}")
    if r == 0:
        return FUNCTIONS["empty"](0, dtype=input.dtype, device=input.device)
    choose = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = np.array(list(choose(range(input.numel()), r)), np.int64).reshape(-1, r)
    return input[from_host(rows, input.device)]


# ---- splitting ---------------------------------------------------------------------------------


def _splitter(name, least, dim_of):
    def cut(input, indices_or_sections):
        n = aval_of(input).ndim
        if n < least:
            raise RuntimeError(
                f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor "
                f"with {n} dimensions!"
            )
        dim = dim_of(n)
        sections = indices_or_sections
        if isinstance(sections, int):
            size = shape_of(input)[dim]
            if sections == 0 or size % sections:
                raise RuntimeError(
                    f"torch.{name} attempted to split along dimension {dim}, but the size of the "
                    f"dimension {size} is not divisible by the split_size {sections}!"
                )
        return tensor_split(input, sections, dim)

    cut.__name__ = name
    cut.__doc__ = f"Pieces along dimension {dim_of(3)}, as numpy's ``{name}`` cuts them."
    function(name, method=True)(cut)


_splitter("hsplit", 1, lambda n: 0 if n == 1 else 1)
_splitter("vsplit", 2, lambda n: 0)
_splitter("dsplit", 3, lambda n: 2)

alias("concat", "cat")
alias("concatenate", "cat")
alias("row_stack", "vstack")
_ = split, inplace_of
