"""Frontends of gather and scatter: masks, index tensors, and their argument checks."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._core.sizes import Size
from torchlike._ops.indexing import check_gather, check_scatter
from torchlike._ops.table import TABLE, check_broadcast
from torchlike._tensor import dispatch, indexing
from torchlike._tensor.dispatch import apply, aval_of, into
from torchlike._tensor.flags import alert_not_deterministic
from torchlike._tensor.forms import FUNCTIONS, function, method
from torchlike._tensor.host_data import number_held
from torchlike._tensor.products import need_tensor
from torchlike._tensor.searches import without_derivative
from torchlike._tensor.shapes import broadcast_shapes, broadcast_tensors, named, shape_of, wrap_dim
from torchlike._tensor.size_arguments import is_integer

_UNSET = object()
_LONG = (dt.int64, dt.int32)

# ---- masks -------------------------------------------------------------------------------------


def _need_mask(op: str, mask, text: str) -> None:
    need_tensor(op, "mask", 2, mask)
    if mask.dtype is not dt.bool_:
        raise RuntimeError(text)


@function(method=True, inplace=True, check=lambda x, given: dispatch.check_beside(x, given[:1]))
def masked_fill(input, mask, value):
    """``value`` where ``mask`` is True; the mask broadcasts."""
    if not isinstance(mask, dispatch._Tensor) or mask.dtype is not dt.bool_:
        need_tensor("masked_fill", "mask", 2, mask)
        kind = dt.C_NAMES.get(mask.dtype, mask.dtype.name)
        raise RuntimeError(
            f"masked_fill_ only supports boolean masks, but got mask with dtype {kind}"
        )
    if isinstance(value, dispatch._Tensor) and value._value.aval.ndim:
        raise RuntimeError(
            f"masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._value.aval.ndim} dimension(s)."
        )
    tensor = isinstance(value, dispatch._Tensor)
    if not tensor and not isinstance(value, (bool, int, float, complex, np.generic)):
        raise TypeError(
            "masked_fill() received an invalid combination of arguments - got (Tensor, "
            f"{type(value).__name__})"
        )
    is_complex = value.is_complex() if tensor else isinstance(value, complex)
    if is_complex and input.dtype.category < dt.COMPLEX:
        if input.dtype is not dt.bool_:
            raise dt.does_not_fit(input.dtype)
        value = value != 0
    value = number_held(value, input.dtype)
    return apply(TABLE["masked_fill_value"], (input, mask, value))


@function(method=True)
def masked_select(input, mask, *, out=None):
    """The elements where ``mask`` is True, in one dimension; needs the mask's values."""
    _need_mask("masked_select", mask, "masked_select: expected BoolTensor for mask")
    apart = input, mask
    if shape_of(input) != shape_of(mask):
        check_broadcast((input._value.aval, mask._value.aval))
        input, mask = broadcast_tensors(input, mask)
    if not shape_of(mask):
        input, mask = input.reshape(1), mask.reshape(1)
    chosen = named(indexing.getitem(input, mask), "MaskedSelectBackward0")
    return into(out, chosen, True, apart)


@function(method=True, inplace=True, check=None)
def masked_scatter(input, mask, source):
    """The input with the next element of ``source`` wherever ``mask`` is True."""
    need_tensor("masked_scatter", "source", 3, source)
    need_tensor("masked_scatter", "mask", 2, mask)
    if mask.dtype is not dt.bool_:
        raise RuntimeError(
            "masked_scatter_ only supports boolean masks, but got mask with dtype "
            f"{dt.SCALAR_NAMES[mask.dtype]}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            "masked_scatter: expected self and source to have same dtypes but got "
            f"{dt.SCALAR_NAMES[input.dtype]} and {dt.SCALAR_NAMES[source.dtype]}"
        )
    shape = broadcast_shapes(shape_of(input), shape_of(mask))
    if source.numel() < Size(shape).numel():
        count = int(mask.expand(shape)._host().sum())
        if count > source.numel():
            raise RuntimeError("Number of elements of source < number of ones in mask")
    return apply(TABLE["masked_scatter_from"], (input, mask, source))


@function()
def unravel_index(indices, shape):
    """Coordinates in ``shape`` of row-major places."""
    if not isinstance(indices, dispatch._Tensor):
        raise TypeError(f"expected 'indices' to be a tensor, but got {type(indices).__name__}")
    if indices.dtype.category != dt.INTEGRAL:
        raise TypeError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    indices = indices.to(dt.int64)
    if not isinstance(shape, (int, tuple, list)):
        raise TypeError(f"expected 'shape' to be int or sequence of ints, but got {type(shape)}")
    shape = (shape,) if isinstance(shape, int) else tuple(shape)
    for n in shape:
        if not is_integer(n):
            raise TypeError(f"expected 'shape' sequence to only contain ints, but got {type(n)}")
    if any(n < 0 for n in shape):
        raise ValueError(f"'shape' cannot have negative values, but got {shape}")
    out = []
    for n in reversed(shape):
        out.append(indices % n if n else indices)
        indices = FUNCTIONS["floor_divide"](indices, n) if n else indices
    return tuple(reversed(out))


# ---- an index for every element ----------------------------------------------------------------


def _need_index(op: str, index, text: str | None = None, dtypes=_LONG):
    need_tensor(op, "index", 3, index)
    if index.dtype not in dtypes and index._value.aval.numel:
        raise RuntimeError(text or f"{op}(): Expected dtype int32/int64 for index")


def _checked(index, input, dim, check_shapes=None) -> bool:
    """Whether an index without negative numbers is known to be in range."""
    shape = shape_of(input) or (1,)
    try:
        return indexing.check_index(index, shape[dim], dim, negative=False)
    except IndexError as error:
        if check_shapes is None:
            raise
        check_shapes(shape_of(index) or (1,), shape)  # PyTorch complains of them first
        raise RuntimeError(str(error)) from None


def _scatter_shapes(src, dim):
    src = shape_of(src) or None if isinstance(src, dispatch._Tensor) else None
    return lambda index, shape: check_scatter(index, shape, src, dim)


@function(method=True)
def gather(input, dim, index, *, sparse_grad=False, out=None):
    """Along ``dim`` the elements that the index names
    (https://pytorch.org/docs/stable/generated/torch.gather.html)."""
    _need_index("gather", index)
    dim = wrap_dim(dim, input._value.aval.ndim)
    checked = _checked(index, input, dim, lambda index, shape: check_gather(index, shape, dim))
    call = _sparse_gather if sparse_grad and input.requires_grad else _gather
    return into(out, call(input, index, dim, checked), True, (input, index))


_sparse_gather = None  # set by sparse/embedding.py: with a sparse gradient


def _gather(input, index, dim, checked):
    return apply(TABLE["gather_dim"], (input, index), (dim, checked))


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def scatter(input, dim, index, src=_UNSET, *, value=_UNSET, reduce=None):
    """The input with ``src`` put where the index points along ``dim``
    (https://pytorch.org/docs/stable/generated/torch.Tensor.scatter_.html)."""
    src = value if src is _UNSET else src
    if src is _UNSET:
        raise TypeError(
            "scatter() received an invalid combination of arguments - got (Tensor, int, Tensor)"
        )
    _need_index("scatter", index)
    dim = wrap_dim(dim, input._value.aval.ndim)
    if reduce not in (None, "add", "multiply"):
        raise RuntimeError("reduce argument must be either add or multiply.")
    if isinstance(src, complex) and input.dtype.category < dt.COMPLEX:
        raise dt.does_not_fit(input.dtype)
    lone = value is _UNSET and isinstance(src, dispatch._Tensor) and not src.ndim
    if lone and index.numel() and index.ndim > 1:
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    checked = _checked(index, input, dim, _scatter_shapes(src, dim))
    src = number_held(src, input.dtype)
    if reduce == "multiply":
        out = apply(TABLE["scatter_multiply"], (input, index, src), (dim, checked))
        for x in (input, src):
            if isinstance(x, dispatch._Tensor):
                out = without_derivative(x, out, "scatter")
        return out
    how = "add" if reduce else "put"
    return apply(TABLE["scatter_put"], (input, index, src), (dim, checked, how))


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def scatter_add(input, dim, index, src):
    """The input with ``src`` added where the index points along ``dim``."""
    _need_index("scatter_add", index, "scatter(): Expected dtype int32/int64 for index")
    need_tensor("scatter_add", "src", 4, src)
    dim = wrap_dim(dim, input._value.aval.ndim)
    checked = _checked(index, input, dim, _scatter_shapes(src, dim))
    out = apply(TABLE["scatter_put"], (input, index, src), (dim, checked, "add"))
    if out._node is not None:
        out._node.label = "ScatterAddBackward0"
    return out


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def scatter_reduce(input, dim, index, src, reduce, *, include_self=True):
    """``src`` reduced into the places that the index names along ``dim``."""
    _need_index("scatter_reduce", index, "scatter(): Expected dtype int32/int64 for index")
    need_tensor("scatter_reduce", "src", 4, src)
    dim = wrap_dim(dim, input._value.aval.ndim)
    if reduce not in ("sum", "prod", "mean", "amax", "amin"):
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    checked = _checked(index, input, dim, _scatter_shapes(src, dim))
    ordered = reduce in ("amax", "amin") and input.dtype.is_complex
    if index.numel() and (ordered or (reduce == "mean" and input.dtype is dt.bool_)):
        raise NotImplementedError(
            f'"scatter_gather_tensor_cpu_reduce_{reduce}" not implemented for '
            f"'{dt.SCALAR_NAMES[input.dtype]}'"
        )
    statics = (dim, checked, reduce, include_self)
    return apply(TABLE["scatter_reduced"], (input, index, src), statics)


@function(method=True)
def take_along_dim(input, indices, dim=None, *, out=None):
    """``gather`` with broadcasting, as numpy's ``take_along_axis``."""
    need_tensor("take_along_dim", "indices", 2, indices)
    if dim is None:
        return into(out, gather(input.reshape(-1), 0, indices.reshape(-1)), True)
    if indices.dtype is not dt.int64:
        raise RuntimeError(
            "torch.take_along_dim(): dtype of indices should be Long but got "
            f"{dt.SCALAR_NAMES[indices.dtype]}"
        )
    n = input._value.aval.ndim
    if n != indices._value.aval.ndim:
        raise RuntimeError(
            "torch.take_along_dim(): input and indices should have the same number of dimensions, "
            f"but got {n} dimensions for input, and {indices._value.aval.ndim} dimensions for "
            "indices"
        )
    dim = wrap_dim(dim, n)
    a, b = shape_of(input), shape_of(indices)
    common = broadcast_shapes((*a[:dim], 1, *a[dim + 1 :]), (*b[:dim], 1, *b[dim + 1 :]))
    input = input.expand(*common[:dim], a[dim], *common[dim + 1 :])
    indices = indices.expand(*common[:dim], b[dim], *common[dim + 1 :])
    if a[dim]:
        indices = indices.remainder(a[dim])  # PyTorch counts around, here and only here
    return into(out, gather(input, dim, indices), True)


# ---- an index for every slice ------------------------------------------------------------------


@function(method=True)
def index_select(input, dim, index, *, out=None):
    """The slices along ``dim`` that the index names."""
    _need_index("index_select", index, "index_select(): Expected dtype int32 or int64 for index")
    dim = wrap_dim(dim, input._value.aval.ndim)
    checked = input._sparse or _checked(index, input, dim)  # sparse tensors count from the end too
    chosen = apply(TABLE["index_select_dim"], (input, index), (dim, checked))
    text = "index_select(): self and result must have the same scalar type"
    return into(out, chosen, text, apart=(input, index))


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def index_add(input, dim, index, source, *, alpha=None):
    """The input with ``alpha * source`` added to the slices that the index names."""
    _need_index("index_add", index, "index_add_(): Expected dtype int32/int64 for index")
    need_tensor("index_add", "source", 4, source)
    dim = wrap_dim(dim, input._value.aval.ndim)
    checked = _checked(index, input, dim)
    _need_slices(input, dim, source)
    return apply(TABLE["index_add_dim"], (input, index, source, alpha), (dim, checked))


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def index_copy(input, dim, index, source):
    """The input with ``source`` in place of the slices that the index names."""
    _need_index("index_copy", index, "index_copy_(): Expected a long tensor for index", (dt.int64,))
    need_tensor("index_copy", "source", 4, source)
    m, n = input._value.aval.ndim, source._value.aval.ndim
    if m and n and m != n:
        raise IndexError(
            "index_copy_(): When source and destination are not scalars, their dimensionality must "
            f"match. Source dimensionality ({n}), destination dimensionality ({m})"
        )
    dim = wrap_dim(dim, input._value.aval.ndim)
    checked = _checked(index, input, dim)
    return apply(TABLE["index_copy_dim"], (input, index, source), (dim, checked))


@function(method=True, inplace=True, check=lambda x, given: dispatch.check_apart(x, given[1:2]))
def index_fill(input, dim, index, value):
    """The input with one value in the slices that the index names."""
    need_tensor("index_fill", "index", 3, index)
    if index.dtype is not dt.int64 and index._value.aval.numel:
        raise IndexError("index_fill_(): Expected dtype int64 for index.")
    if isinstance(value, dispatch._Tensor) and value._value.aval.ndim:
        raise RuntimeError(
            "index_fill_ only supports a 0-dimensional value tensor, but got tensor with "
            f"{value._value.aval.ndim} dimension(s)."
        )
    if isinstance(value, complex) and input.dtype.category < dt.COMPLEX:
        raise RuntimeError(
            "index_fill_(): Converting complex Scalar to non-complex type is not supported"
        )
    value = number_held(value, input.dtype)
    dim = wrap_dim(dim, input._value.aval.ndim)
    shape = shape_of(input) or (1,)
    checked = indexing.check_index(index, shape[dim], dim)
    return apply(TABLE["index_fill_dim"], (input, index, value), (dim, checked))


def _need_slices(input, dim, source) -> None:
    """Raise ``RuntimeError`` if a source is no row of slices of the input along ``dim``."""
    ours, theirs = shape_of(input), shape_of(source)
    same = len(ours) == len(theirs) and all(
        a == b for d, (a, b) in enumerate(zip(ours, theirs, strict=True)) if d != dim
    )
    if not same:
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(ours)} source.shape = {list(theirs)}"
        )


_REDUCES = {"prod": "prod", "mean": "mean", "amax": "amax", "amin": "amin"}


@function(method=True, inplace=True, out=True, check=dispatch.check_apart)
def index_reduce(input, dim, index, source, reduce, *, include_self=True):
    """``source`` reduced into the slices that the index names."""
    _need_index("index_reduce", index, "index_reduce(): Expected dtype int32/int64 for index")
    if reduce not in _REDUCES:
        raise RuntimeError(
            "index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got "
            f"{reduce}."
        )
    need_tensor("index_reduce", "source", 4, source)
    dim = wrap_dim(dim, input._value.aval.ndim)
    if index.ndim > 1:
        raise IndexError(
            f"index_reduce_(): Index is supposed to be a vector, but got dim: {index.ndim} with "
            f"type: {dt.SCALAR_NAMES[index.dtype]} and size: {list(shape_of(index))}"
        )
    if source.dtype is not input.dtype:
        raise RuntimeError(
            f"index_reduce_(): self ({dt.SCALAR_NAMES[input.dtype]}) and source "
            f"({dt.SCALAR_NAMES[source.dtype]}) must have the same scalar type"
        )
    _need_slices(input, dim, source)
    plain = include_self and input._value.aval.ndim > 1
    if not plain and (input.dtype is dt.bool_ or input.dtype.is_complex) and index.numel():
        kernel = "index_func_" if include_self else "index_reduce_func_exclude_input_init"
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[input.dtype]}'"
        )
    ones = [1] * max(input._value.aval.ndim, 1)
    ones[dim] = index.numel()
    source = source if source._value.aval.ndim else source.reshape(1)
    if source.numel() and source.shape[dim] != index.numel():
        raise RuntimeError(
            f"index_reduce_(): Number of indices ({index.numel()}) should be equal to "
            f"source.size(dim): ({source.shape[dim]}), for dim: {dim}"
        )
    every = index.reshape(ones).expand(source.shape)
    warn_once("index_reduce() is in beta and the API may change at any time.")
    out = scatter_reduce(input, dim, every, source, _REDUCES[reduce], include_self=include_self)
    return named(out, "IndexReduceBackward0")


# ---- index_put, take, put ----------------------------------------------------------------------


def _advanced(input, indices, name):
    """Index tensors as ``indexing`` takes them: one entry for each dimension."""
    if isinstance(indices, dispatch._Tensor) or not isinstance(indices, (tuple, list)):
        raise TypeError(
            f"{name}(): argument 'indices' (position 1) must be tuple of Tensors, not "
            f"{type(indices).__name__}"
        )
    taken = 0
    for item in indices:
        if item is not None:
            need_tensor(name, "indices", 1, item)
            if item.dtype.category > dt.INTEGRAL:
                raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
        taken += 1 if item is None else indexing.dims_of(item)
    n = aval_of(input).ndim
    if taken > n:
        raise IndexError(f"too many indices for tensor of dimension {n} (got {taken})")
    return [*indices, *[None] * (n - taken)]


@function(method=True)
def index_put(input, indices, values, accumulate=False):
    """The input with values put (or added) at the indices."""
    advanced = _advanced(input, indices, "index_put")
    return indexing.put_values(input, advanced, values, accumulate)


@method("index_put_")
def index_put_(self, indices, values, accumulate=False):
    """Put (or add) values at the indices, in place."""
    dispatch.check_inplace(self)
    indexing.put(self, _advanced(self, indices, "index_put_"), values, accumulate)
    return self


FUNCTIONS["index_put_"] = index_put_


@function(method=True)
def take(input, index, *, out=None):
    """Elements by their place in row-major order."""
    need_tensor("take", "index", 2, index)
    if index.dtype is not dt.int64:
        raise RuntimeError(
            f"take(): Expected a long tensor for index, but got {dt.SCALAR_NAMES[index.dtype]}"
        )
    checked = _check_flat(input, index)
    result = apply(TABLE["take_flat"], (input, index), (checked,))
    return into(out, result, True, (input, index))


def _check_flat(input, index) -> bool:
    n, bounds = aval_of(input).numel, indexing.host_bounds(index)
    if bounds is None:
        return False
    for found in bounds:
        if bounds[1] >= bounds[0] and not -n <= found < n:
            raise IndexError(
                f"out of range: tried to access index {found} on a tensor of {n} elements."
            )
    return True


@function(method=True, inplace=True, check=dispatch.check_apart)
def put(input, index, source, accumulate=False):
    """The input with elements put or added by their place in row-major order."""
    need_tensor("put", "index", 2, index)
    need_tensor("put", "source", 3, source)
    if index.dtype is not dt.int64:
        raise RuntimeError(
            f"put_(): Expected a long tensor for index, but got {dt.SCALAR_NAMES[index.dtype]}"
        )
    if not accumulate:
        alert_not_deterministic("put_")
    checked = _check_flat(input, index)
    return apply(TABLE["put_flat"], (input, index, source), (checked, accumulate))
