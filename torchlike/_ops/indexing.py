"""Gather and scatter: reads and writes by index tensors."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops.join import one_axis
from torchlike._ops.overloads import by_operand
from torchlike._ops.table import Arrays, Dim, Number, Shape, op, report_bad_index, torch_dtype

# ---- one index tensor for each of some dimensions ----------------------------------------------


def scalar_name(x) -> str:
    """The name that PyTorch's errors give a dtype."""
    return dt.SCALAR_NAMES[torch_dtype(x)]


def _at(input, indices, dims, checked):
    """The full index tuple; negative indices count from the end."""
    try:
        jnp.broadcast_shapes(*(i.shape for i in indices))
    except ValueError:
        shapes = ", ".join(str(list(i.shape)) for i in indices)
        raise IndexError(
            f"shape mismatch: indexing tensors could not be broadcast together with shapes {shapes}"
        ) from None
    at = [slice(None)] * input.ndim
    for d, index in zip(dims, indices, strict=True):
        n = input.shape[d]
        if not checked:
            report_bad_index(index, n, -n)
        at[d] = jnp.where(index < 0, index + n, index)
    return tuple(at)


@op("index", checks=True, needs={"input": ("indices",)})
def index(input, indices: Arrays, dims: Shape, checked: bool):
    """input[..., indices, ...], the indices broadcast together."""
    return input.at[_at(input, indices, dims, checked)].get(mode="clip")


def _index_put_gradient(c, g):
    at = _at(g, c.operands[2:], c.statics["dims"], True)
    rest = [None] * (len(c.operands) - 2)
    kept = g if c.statics["accumulate"] else g.at[at].set(0, mode="drop")
    return (kept, g.at[at].get(mode="clip"), *rest)


@op(
    "index_put", checks=True, vjp=_index_put_gradient,
    needs={"input": ("indices",), "values": ("indices",)},
)  # fmt: skip
def index_put(input, values, indices: Arrays, dims: Shape, checked: bool, accumulate: bool):
    """The input with values put (or added) at the indices."""
    place = _at(input, indices, dims, checked)
    at = input.at[place]
    shape = jnp.broadcast_shapes(*(i.shape for i in indices))
    values = fit_values(values, input, shape, dims).astype(input.dtype)
    return added(at, values) if accumulate else at.set(values, mode="drop")


def at_once(change, base, places, values):
    """``values`` added or multiplied (``change``) into places, rounded once in half precision."""
    if torch_dtype(base) not in dt.HALF:
        return change(base.at[places], values)
    wide = base.astype(np.float32)
    return change(wide.at[places], values.astype(np.float32)).astype(base.dtype)


def added(at, values):
    """``values`` added at a place; bools are added as PyTorch does, by "or"."""
    return (at.max if values.dtype == bool else at.add)(values, mode="drop")


def multiplied(at, values):
    """``values`` multiplied into a place; bools by "and"."""
    return (at.min if values.dtype == bool else at.multiply)(values, mode="drop")


def fit_values(values, input, index_shape, dims):
    """Values as they broadcast to the result of indexing; raises PyTorch's error if not."""
    rest = [n for d, n in enumerate(input.shape) if d not in dims]
    beside = all(b == a + 1 for a, b in pairwise(dims))
    lead = dims[0] if dims and beside else 0
    shape = (*rest[:lead], *index_shape, *rest[lead:])
    while values.ndim > len(shape) and values.shape[0] == 1:
        values = values[0]
    fits = values.ndim <= len(shape) and all(
        n in (1, m) for n, m in zip(values.shape[::-1], shape[::-1], strict=False)
    )
    if not fits:
        raise RuntimeError(
            f"shape mismatch: value tensor of shape {list(values.shape)} cannot be broadcast to "
            f"indexing result of shape {list(shape)}"
        )
    return values


@op(
    "masked_fill_value",
    grad_name=by_operand("MaskedFill", "value", 1, 0),
    needs={"input": ("mask",), "value": ("mask",)},
)
def masked_fill_value(input, mask, value):
    """``value`` where the mask is set."""
    _check_mask(input, mask)
    return jnp.where(mask, value.astype(input.dtype), input)


@op(
    "masked_scatter_from",
    grad_name="MaskedScatterBackward0",
    needs={"input": ("mask",), "source": ("mask",)},
)
def masked_scatter_from(input, mask, source):
    """The input with the next element of ``source`` wherever the mask is set."""
    shape = _check_mask(input, mask)
    mask, input = jnp.broadcast_to(mask, shape), jnp.broadcast_to(input, shape)
    if not source.size:
        return input
    at = jnp.cumsum(mask.reshape(-1)) - 1
    found = source.reshape(-1).at[at].get(mode="clip").reshape(shape)
    return jnp.where(mask, found, input)


def _check_mask(input, mask):
    shape = [1] * max(input.ndim, mask.ndim)
    for i in range(1, len(shape) + 1):
        m = mask.shape[-i] if i <= mask.ndim else 1
        n = input.shape[-i] if i <= input.ndim else 1
        if m != n and m != 1 and n != 1:
            raise RuntimeError(
                f"The size of tensor a ({m}) must match the size of tensor b ({n}) at "
                f"non-singleton dimension {len(shape) - i}"
            )
        shape[-i] = n if m == 1 else m
    return tuple(shape)


# ---- along one dimension, an index for every element -------------------------------------------


def _vector(x):
    return x.reshape(1) if x.ndim == 0 else x


def _places(index, dim):
    """The index tuple that moves along ``dim`` and stays in place elsewhere."""
    at = [lax.broadcasted_iota(jnp.int64, index.shape, d) for d in range(index.ndim)]
    at[dim] = index
    return tuple(at)


def _range(index, size, checked):
    if not checked:
        report_bad_index(index, size)


@op("gather_dim", checks=True, grad_name="GatherBackward0", needs={"input": ("index",)})
def gather_dim(input, index, dim: Dim, checked: bool):
    """input[i][index[i, j]]: along ``dim`` the element that the index names."""
    shape, index = index.shape, _vector(index)
    input = _vector(input)
    dim = one_axis(dim, input.ndim)
    if not index.size:
        return jnp.zeros(shape, input.dtype)
    check_gather(index.shape, input.shape, dim)
    _range(index, input.shape[dim], checked)
    limits = [m if d == dim else n for d, (n, m) in enumerate(zip(index.shape, input.shape))]
    part = lax.slice(input, [0] * input.ndim, limits)
    return jnp.take_along_axis(part, index, dim, mode="clip").reshape(shape)


def check_gather(index, shape, dim) -> None:
    """Raise PyTorch's errors for the shape of an index of ``gather``."""
    if len(index) != len(shape):
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for d, (n, m) in enumerate(zip(index, shape, strict=True)):
        if n > m and d != dim:
            raise RuntimeError(
                f"Size does not match at dimension {d} expected index {list(index)} to be no "
                f"larger than self {list(shape)} apart from dimension {dim}"
            )


def check_scatter(index, shape, src, dim) -> None:
    """Raise PyTorch's errors for the shapes of an index and ``src`` (None: a number)."""
    if len(index) != len(shape):
        raise RuntimeError("Index tensor must have the same number of dimensions as self tensor")
    if src is not None and len(src) != len(index):
        raise RuntimeError("Index tensor must have the same number of dimensions as src tensor")
    for d, n in enumerate(index):
        if (n > shape[d] and d != dim) or (src is not None and n > src[d]):
            end = "" if src is None else f" and to be no larger size than src {list(src)}"
            raise RuntimeError(
                f"Expected index {list(index)} to be no larger than self {list(shape)} apart from "
                f"dimension {dim}{end}"
            )


def _scatter_plan(input, index, src, dim, checked):
    """(dim, index, src) of the index's shape, after PyTorch's checks."""
    input, index = _vector(input), _vector(index)
    dim = one_axis(dim, input.ndim)
    if index.size == 0:
        return dim, index, None
    number = src.ndim == 0
    check_scatter(index.shape, input.shape, None if number else src.shape, dim)
    src = jnp.broadcast_to(src, index.shape) if number else src
    if src.dtype != input.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    _range(index, input.shape[dim], checked)
    return dim, index, lax.slice(src, [0] * src.ndim, index.shape)


def _back(g, src_shape, index_shape):
    """The gradient of the part of ``src`` that was used, zero for the rest."""
    if not src_shape:
        return g.sum()
    return jnp.pad(g, [(0, n - m) for n, m in zip(src_shape, index_shape, strict=True)])


def _scatter_gradient(c, g):
    index = _vector(c.operands[1])
    shape = g.shape
    src = c.shapes[2]
    src_shape = getattr(src, "shape", ())
    if not index.size:
        return g, None, jnp.zeros(src_shape, g.dtype)
    g = _vector(g)
    dim = one_axis(c.statics["dim"], g.ndim)
    at = _places(index, dim)
    taken = g.at[at].get(mode="clip")
    how = c.statics["how"]
    kept = g if how == "add" else g.at[at].set(0, mode="drop")
    return kept.reshape(shape), None, _back(taken, src_shape, index.shape)


_BY_INDEX = {"input": ("index",), "src": ("index",)}


@op(
    "scatter_put", checks=True, vjp=_scatter_gradient, needs=_BY_INDEX,
    grad_name=by_operand("Scatter", "src", 0, 1),
)  # fmt: skip
def scatter_put(input, index, src, dim: Dim, checked: bool, how: str):
    """The input with ``src`` put or added (``how``) where the index points along ``dim``."""
    src = src.astype(input.dtype) if src.ndim == 0 else src
    dim, index, src = _scatter_plan(input, index, src, dim, checked)
    if src is None:
        return input
    base, places = _vector(input), _places(index, dim)
    if how == "add":
        return at_once(added, base, places, src).reshape(input.shape)
    return base.at[places].set(src, mode="drop").reshape(input.shape)


@op("scatter_multiply", checks=True, differentiable=False)
def scatter_multiply(input, index, src, dim: Dim, checked: bool):
    """The input multiplied by ``src`` where the index points along ``dim``."""
    src = src.astype(input.dtype) if src.ndim == 0 else src
    dim, index, src = _scatter_plan(input, index, src, dim, checked)
    if src is None:
        return input
    at = _vector(input).at[_places(index, dim)]
    return multiplied(at, src).reshape(input.shape)


# ---- scatter with a reduction ------------------------------------------------------------------


def _neutral(reduce: str, dtype):
    """The number that changes nothing in a reduction."""
    if reduce in ("sum", "mean", "prod"):
        return int(reduce == "prod")
    top = reduce == "amin"
    if dtype == np.bool_:
        return top
    if jnp.issubdtype(dtype, jnp.inexact):
        return jnp.inf if top else -jnp.inf
    return jnp.iinfo(dtype).max if top else jnp.iinfo(dtype).min


def _counts(base, places, index, include):
    ones = jnp.full(base.shape, 1 if include else 0, jnp.int64)
    return ones.at[places].add(jnp.ones(index.shape, jnp.int64), mode="drop")


@op(
    "scatter_reduced", checks=True, saves="both", vjp=lambda c, g: _reduced_gradient(c, g),
    grad_name="ScatterReduceBackward0",
)  # fmt: skip
def scatter_reduced(input, index, src, dim: Dim, checked: bool, reduce: str, include: bool):
    """``src`` reduced into the places that the index names along ``dim``."""
    shape = input.shape
    dim, index, src = _scatter_plan(input, index, src, dim, checked)
    if src is None:
        return input
    base, places = _vector(input), _places(index, dim)
    if not include:
        start = _neutral(reduce, base.dtype)
        base = base.at[places].set(jnp.asarray(start, base.dtype), mode="drop")
    at = base.at[places]
    if reduce == "sum":
        out = at_once(added, base, places, src)
    elif reduce == "prod":
        out = at_once(multiplied, base, places, src)
    elif reduce == "mean":
        total = at_once(added, base, places, src)
        count = jnp.maximum(_counts(base, places, index, include), 1).astype(base.dtype)
        if jnp.issubdtype(base.dtype, jnp.inexact):
            out = total / count
        else:
            out = total // count
    else:
        out = at.max(src, mode="drop") if reduce == "amax" else at.min(src, mode="drop")
    return out.reshape(shape)


def _reduced_gradient(c, g):
    """PyTorch's rules: ties of amax and amin share evenly, products leave their own factor out."""
    input, index, src = c.operands[:3]
    reduce, include = c.statics["reduce"], c.statics["include"]
    shape, src_shape = input.shape, src.shape
    index = _vector(index)
    if not index.size:
        return g, None, jnp.zeros_like(src)
    g, input, result, src = (_vector(x) for x in (g, input, c.result, src))
    dim = one_axis(c.statics["dim"], g.ndim)
    places = _places(index, dim)
    used = lax.slice(src, [0] * src.ndim, index.shape)
    take = lambda x: x.at[places].get(mode="clip")  # noqa: E731
    if reduce == "sum":
        own, other = g, take(g)
    elif reduce == "mean":
        count = jnp.maximum(_counts(g, places, index, include), 1).astype(g.dtype)
        own, other = g / count, take(g / count)
    elif reduce == "prod":
        base = input if include else jnp.ones_like(input).at[places].set(1)
        one = lambda x: jnp.where(x == 0, 1, x)  # noqa: E731
        none = lambda x: jnp.where(x == 0, x, 0)  # noqa: E731
        product = _multiplied(one(base), one(used), places)
        total = none(base).at[places].add(none(used), mode="drop")
        zeros = (
            (base == 0).astype(jnp.int64).at[places].add((used == 0).astype(jnp.int64), mode="drop")
        )

        def without(x, p, z, s):
            """The product without x: p leaves out the zeros, which z counts and s adds up, for the
            sake of the second derivative."""
            z, s = z - (x == 0), s - none(x)
            return p / one(x) * jnp.where(z == 0, 1, jnp.where(z == 1, s, 0))

        own = g * without(base, product, zeros, total)
        other = take(g) * without(used, take(product), take(zeros), take(total))
    else:
        # PyTorch counts an equal element of the input as one more, even where it was left out.
        mine, theirs = (input == result), (used == take(result))
        ties = mine.astype(g.dtype).at[places].add(theirs.astype(g.dtype), mode="drop")
        share = g / jnp.maximum(ties, 1)
        own, other = mine * share, theirs * take(share)
    if not include:
        own = own.at[places].set(0, mode="drop")
    return own.reshape(shape), None, _back(other, src_shape, index.shape).reshape(src_shape)


@jax.custom_jvp
def _multiplied(base, used, places):
    """``base`` times what the places name, of which nothing is zero: JAX has no derivative."""
    return base.at[places].multiply(used, mode="drop")


@_multiplied.defjvp
def _multiplied_tangent(primals, tangents):
    base, used, places = primals
    out = _multiplied(base, used, places)
    return out, out * (tangents[0] / base).at[places].add(tangents[1] / used, mode="drop")


# ---- along one dimension, an index for every slice ---------------------------------------------


def _slices(input, index, dim):
    """The index tuple of whole slices along ``dim``."""
    return (*(slice(None),) * dim, _vector(index))


@op("index_select_dim", checks=True, grad_name="IndexSelectBackward0", needs={"input": ("index",)})
def index_select_dim(input, index, dim: Dim, checked: bool):
    """The slices along ``dim`` that the index names."""
    if index.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    whole = _vector(input)
    _range(index, whole.shape[dim], checked)
    out = whole.at[_slices(whole, index, dim)].get(mode="clip")
    return out.reshape(()) if input.ndim == 0 else out


def _slices_gradient(c, g):
    index, source = c.operands[1], c.shapes[2].shape
    shape, g = g.shape, _vector(g)
    at = _slices(g, index, c.statics["dim"])
    kept = g.at[at].set(0, mode="drop").reshape(shape)
    return kept, None, g.at[at].get(mode="clip").reshape(source)


_BY_SLICE = {"input": ("index",), "source": ("index",)}


@op("index_add_dim", checks=True, grad_name="IndexAddBackward0",
    needs={"input": (), "source": ("index", "alpha"), "alpha": ("index", "source")})  # fmt: skip
def index_add_dim(input, index, source, alpha: Number, dim: Dim, checked: bool):
    """The input with ``alpha * source`` added to the slices that the index names."""
    name = "index_add_()"
    if index.ndim > 1:
        raise IndexError(
            f"{name}: Index is supposed to be a vector, but got dim: {index.ndim} with type: "
            f"{scalar_name(index)} and size: {list(index.shape)}"
        )
    if source.dtype != input.dtype:
        raise RuntimeError(
            f"{name}: self ({scalar_name(input)}) and source ({scalar_name(source)}) must have the "
            "same scalar type"
        )
    count, have = index.size, source.shape[dim] if source.ndim > dim else 1
    if count != have:
        raise RuntimeError(
            f"{name}: Number of indices ({count}) should be equal to source.size(dim): ({have}), "
            f"for dim: {dim}"
        )
    whole, source = _vector(input), _vector(source)
    if source.ndim != whole.ndim or any(
        n != m for d, (n, m) in enumerate(zip(whole.shape, source.shape)) if d != dim
    ):
        raise RuntimeError(
            "source tensor shape must match self tensor shape, excluding the specified dimension. "
            f"Got self.shape = {list(whole.shape)} source.shape = {list(source.shape)}"
        )
    _range(index, whole.shape[dim], checked)
    if alpha is not None:
        source = source & alpha.astype(bool) if source.dtype == bool else alpha * source
    source = source.astype(whole.dtype)
    places = _slices(whole, index, dim)
    if input.ndim < 2:  # PyTorch rounds each sum of numbers, and sums of slices once
        return added(whole.at[places], source).reshape(input.shape)
    return at_once(added, whole, places, source).reshape(input.shape)


@op(
    "index_copy_dim",
    checks=True,
    grad_name="IndexCopyBackward0",
    vjp=_slices_gradient,
    needs=_BY_SLICE,
)
def index_copy_dim(input, index, source, dim: Dim, checked: bool):
    """The input with ``source`` in place of the slices that the index names."""
    if index.ndim > 1:
        raise IndexError(f"index_copy_(): Index should have dimension 1 or 0 (got {index.ndim})")
    if source.dtype != input.dtype:
        raise RuntimeError(
            "index_copy_(): self and source expected to have the same dtype, but got (self) "
            f"{scalar_name(input)} and (source) {scalar_name(source)}"
        )
    whole, source = _vector(input), _vector(source) if index.ndim or not source.ndim else source
    if source.ndim != whole.ndim:
        if index.ndim == 0 and source.ndim == whole.ndim - 1:
            source = jnp.expand_dims(source, dim)
        else:
            raise IndexError(
                "index_copy_(): When source and destination are not scalars, their dimensionality "
                f"must match. Source dimensionality ({source.ndim}), destination dimensionality "
                f"({whole.ndim})"
            )
    if source.shape[dim] != index.size:
        raise IndexError(
            f"index_copy_(): Number of indices ({index.size}) should be equal to source.size(dim) "
            f"({source.shape[dim]})"
        )
    rest = lambda x: [n for d, n in enumerate(x.shape) if d != dim]  # noqa: E731
    if rest(source) != rest(whole):
        raise RuntimeError(
            "index_copy_(): Source/destination tensor must have same slice shapes. Destination "
            f"slice shape: {rest(whole)} at dimension {dim} and source slice shape: {rest(source)} "
            "at dimension 0."
        )
    _range(index, whole.shape[dim], checked)
    return whole.at[_slices(whole, index, dim)].set(source, mode="drop").reshape(input.shape)


@op("index_fill_dim", checks=True, grad_name=by_operand("IndexFill", "value", 1, 0),
    needs={"input": ("index",), "value": ("index",)})  # fmt: skip
def index_fill_dim(input, index, value, dim: Dim, checked: bool):
    """The input with one value in the slices that the index names."""
    if index.ndim > 1:
        raise RuntimeError("Index has to be a vector/scalar")
    whole = _vector(input)
    n = whole.shape[dim]
    if not checked:
        report_bad_index(index, n, -n)
    index = jnp.where(index < 0, index + n, index)
    hit = jnp.zeros(n, bool).at[_vector(index)].set(True, mode="drop")
    hit = hit.reshape((n, *(1,) * (whole.ndim - dim - 1)))
    return jnp.where(hit, value.astype(whole.dtype), whole).reshape(input.shape)


# ---- flat --------------------------------------------------------------------------------------


def _flat_index(input, index, checked):
    n = input.size
    if not checked:
        report_bad_index(index, n, -n)
    return jnp.where(index < 0, index + n, index)


@op("take_flat", checks=True, grad_name="TakeBackward0", needs={"input": ("index",)})
def take_flat(input, index, checked: bool):
    """Elements by their place in row-major order."""
    if not index.size:
        return jnp.zeros(index.shape, input.dtype)
    return input.reshape(-1).at[_flat_index(input, index, checked)].get(mode="clip")


def _put_gradient(c, g):
    index = c.operands[1]
    flat = g.reshape(-1)
    at = _flat_index(g, index, True)
    kept = g if c.statics["accumulate"] else flat.at[at].set(0, mode="drop").reshape(g.shape)
    return kept, None, flat.at[at].get(mode="clip").reshape(c.shapes[2].shape)


@op("put_flat", checks=True, grad_name="PutBackward0", vjp=_put_gradient, needs=_BY_SLICE)
def put_flat(input, index, source, checked: bool, accumulate: bool):
    """The input with elements put or added by their place in row-major order."""
    if source.size != index.size:
        raise IndexError(
            "put_(): Expected source and index to have the same number of elements, but got "
            f"source.numel() = {source.size}, index.numel() = {index.size}"
        )
    if source.dtype != input.dtype:
        raise RuntimeError(
            "put_(): self and source expected to have the same dtype, but got self.dtype = "
            f"{scalar_name(input)} and source.dtype = {scalar_name(source)}"
        )
    if not index.size:
        return input
    at = input.reshape(-1).at[_flat_index(input, index, checked)]
    source = source.reshape(index.shape)
    out = added(at, source) if accumulate else at.set(source, mode="drop")
    return out.reshape(input.shape)
