"""What a sparse tensor is made of, and the two steps between it and its values on the tape."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.dtypes import int64 as _INT
from torchlike._core.errors import NotSupported, SparseOperand
from torchlike._engine.values import Parts, Value, aval
from torchlike._tensor import dispatch, layouts
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.function import Function
from torchlike._tensor.tensor import Tensor

LAYOUT_NAMES = {
    layouts.strided: "Strided", layouts.sparse_coo: "Sparse", layouts.sparse_csr: "SparseCsr",
    layouts.sparse_csc: "SparseCsc", layouts.sparse_bsr: "SparseBsr",
    layouts.sparse_bsc: "SparseBsc",
}  # fmt: skip
ROWS = (layouts.sparse_csr, layouts.sparse_bsr)  # compressed along the rows
BLOCKED = (layouts.sparse_bsr, layouts.sparse_bsc)


class _Pattern(Parts):
    """Where the elements of a sparse tensor are, and their values.

    A position is a column of ``coordinates()``: one index for each sparse dimension. ``values``
    has PyTorch's shape; flattened over the positions it is (positions, *dense dimensions). What
    is found out about the positions is kept in ``cache``, which patterns that differ in their
    values only share.
    """

    __slots__ = ("cache", "size", "values")

    def __init__(self, size: tuple, values, cache: dict | None = None):
        self.size, self.values = size, values
        self.cache: dict = {} if cache is None else cache

    def coordinates(self) -> np.ndarray:
        """(sparse dimensions, positions) of int64, on the host; raises if one is out of range."""
        now = [value_of(t) for t in self.indices_tensors()]
        if any(a is not b for a, b in zip(self.cache.setdefault("of", now), now, strict=True)):
            self.cache.clear()  # somebody has written to them since
            self.cache["of"] = now
        found = self.cache.get("coordinates")
        if found is None:
            found = self._find()
            if found.size:
                low, high = found.min(1), found.max(1)
                for d, (a, b, n) in enumerate(zip(low, high, self.size, strict=False)):
                    if a < 0:
                        raise RuntimeError(f"found negative index {a} for dim {d}")
                    if b >= n:
                        raise RuntimeError(
                            f"size is inconsistent with indices: for dim {d}, size is {n} but "
                            f"found index {b}"
                        )
            self.cache["coordinates"] = found
        return found

    def index(self) -> tuple:
        """The coordinates as one tensor for each sparse dimension, where the values are."""
        return self.tensors("index", self.coordinates)

    def tensors(self, name: str, make) -> tuple:
        """Arrays that ``make`` computes on the host, as tensors where the values are; kept."""
        self.coordinates()
        key = name, self.values.device
        found = self.cache.get(key)
        if found is None:
            device = self.values.device
            arrays = [np.ascontiguousarray(array) for array in make()]
            found = self.cache[key] = tuple([from_host(array, device) for array in arrays])
        return found

    def keys(self) -> np.ndarray:
        """One number for each position, in lexicographic order of the coordinates."""
        found = self.coordinates()
        return keys_of(found, self.size[: len(found)])

    def is_like(self, other) -> bool:
        """Whether another pattern has the same positions in the same order."""
        if self.cache is other.cache:
            return True
        return np.array_equal(self.coordinates(), other.coordinates())


class Coo(_Pattern):
    """Coordinates: indices (sparse dimensions, nnz) and values (nnz, *dense dimensions)."""

    __slots__ = ("coalesced", "indices")
    layout = layouts.sparse_coo

    def __init__(self, indices, values, size: tuple, coalesced: bool, cache=None):
        super().__init__(size, values, cache)
        self.indices = indices
        self.coalesced = coalesced or indices._value.aval.shape[1] < 2

    def _find(self):
        return self.indices._host().astype(np.int64, copy=False)

    def indices_tensors(self) -> tuple:
        """The tensors that say where the values are."""
        return (self.indices,)

    def holding(self, values) -> Coo:
        """The same pattern with other values."""
        return Coo(self.indices, values, self.size, self.coalesced, self.cache)

    @property
    def sparse_dim(self) -> int:
        """How many dimensions have indices."""
        return self.indices._value.aval.shape[0]

    @property
    def nnz(self) -> int:
        """How many positions are specified."""
        return self.indices._value.aval.shape[1]

    @property
    def dense(self) -> tuple:
        """The sizes of the dense dimensions."""
        return self.size[self.sparse_dim :]

    @property
    def values_shape(self) -> tuple:
        """The shape of the values."""
        return (self.nnz, *self.dense)


class Compressed(_Pattern):
    """CSR, CSC, BSR or BSC: where each row (column) starts, the other index, and the values."""

    __slots__ = ("block", "compressed", "layout", "plain")

    def __init__(self, layout, compressed, plain, values, size, block: tuple = (), cache=None):
        super().__init__(size, values, cache)
        self.layout, self.compressed, self.plain, self.block = layout, compressed, plain, block

    def _find(self):
        starts = self.compressed._host().astype(np.int64, copy=False)
        other = self.plain._host().astype(np.int64, copy=False)
        batch = starts.shape[:-1]
        counts = np.diff(starts, axis=-1).reshape(int(np.prod(batch)), -1)
        other = other.reshape(len(counts), -1)
        n = other.shape[1]
        major = np.empty_like(other)
        for row, count in zip(major, counts, strict=True):
            row[:] = np.repeat(np.arange(len(count)), count)[:n]
        lead = np.indices(batch).reshape(len(batch), len(counts))
        lead = np.repeat(lead, n, axis=1)
        major, other = major.reshape(-1), other.reshape(-1)
        rows, columns = (major, other) if self.layout in ROWS else (other, major)
        if self.block:
            a, b = self.block
            inside = np.indices((a, b)).reshape(2, -1)
            rows = (rows[:, None] * a + inside[0]).reshape(-1)
            columns = (columns[:, None] * b + inside[1]).reshape(-1)
            lead = np.repeat(lead, a * b, axis=1)
        return np.concatenate([lead, rows[None], columns[None]])

    def indices_tensors(self) -> tuple:
        """The tensors that say where the values are."""
        return self.compressed, self.plain

    def holding(self, values) -> Compressed:
        """The same pattern with other values."""
        return Compressed(
            self.layout, self.compressed, self.plain, values, self.size, self.block, self.cache
        )

    @property
    def batch(self) -> tuple:
        """The sizes of the batch dimensions."""
        return self.compressed._value.aval.shape[:-1]

    @property
    def nnz(self) -> int:
        """How many elements, or blocks, each matrix of a batch specifies."""
        return self.plain._value.aval.shape[-1]

    @property
    def sparse_dim(self) -> int:
        """Rows and columns."""
        return 2

    @property
    def dense(self) -> tuple:
        """The sizes of the dense dimensions."""
        return self.size[len(self.batch) + 2 :]

    @property
    def values_shape(self) -> tuple:
        """The shape of the values."""
        return (*self.batch, self.nnz, *self.block, *self.dense)

    @property
    def coalesced(self) -> bool:
        """Always True: each position is specified once."""
        return True


def keys_of(coordinates: np.ndarray, size) -> np.ndarray:
    """One number for each column of coordinates, in their lexicographic order."""
    out = np.zeros(coordinates.shape[1], np.int64)
    for row, n in zip(coordinates, size, strict=True):
        out = out * n + row
    return out


# ---- the tensor --------------------------------------------------------------------------------


class SparseTensor(Tensor):
    """A tensor of a sparse layout (https://pytorch.org/docs/stable/sparse.html).

    Its Value has no array: its parts stand in the place of a segment, so that whatever asks for
    an array raises, and dispatch looks for a rule of the op.
    """

    _sparse = True
    segment = None  # a gradient on the tape is asked for it, as Values are

    def __new__(cls, *args, **kwargs):
        raise TypeError("a SparseTensor is made by torch.sparse_coo_tensor and its like")

    @property
    def layout(self):
        """``torch.sparse_coo``, ``torch.sparse_csr`` and so on."""
        return self._value.segment.layout

    @property
    def is_sparse(self) -> bool:
        """Whether the layout is ``torch.sparse_coo``."""
        return self._value.segment.__class__ is Coo

    @property
    def is_sparse_csr(self) -> bool:
        """Whether the layout is ``torch.sparse_csr``."""
        return self._value.segment.layout is layouts.sparse_csr

    @property
    def data(self):
        """The same indices and values, off the tape."""
        return self.detach()

    @data.setter
    def data(self, other):
        if not other._sparse:
            raise RuntimeError(
                "attempted to call `variable.set_data(tensor)`, but `variable` and `tensor` have "
                "incompatible tensor type."
            )
        self._value = other._value


SparseTensor.__module__ = "torchlike"


def parts_of(x) -> Coo | Compressed:
    """The parts of a sparse tensor."""
    return x._value.segment


def components(x) -> tuple:
    """The dense tensors that a sparse one is made of: indices, then values."""
    pattern = parts_of(x)
    return (*pattern.indices_tensors(), pattern.values)


def is_coo(x) -> bool:
    """Whether a tensor has the layout ``torch.sparse_coo``."""
    return x._value.segment.__class__ is Coo


def wrap(parts) -> SparseTensor:
    """A sparse tensor of these parts, off the tape."""
    values = parts.values._value.aval
    if values.device.type == "meta":
        raise NotSupported("sparse tensors on the meta device", "use a dense tensor there")
    out = object.__new__(SparseTensor)
    out._value = Value(aval(parts.size, values.dtype, values.device), None, parts)
    return out


def coo(coordinates: np.ndarray, values, size, coalesced: bool) -> SparseTensor:
    """A COO tensor of coordinates on the host; on the tape if its values are."""
    indices = from_host(np.ascontiguousarray(coordinates), values.device)
    pattern = Coo(indices, values, tuple(size), coalesced, {"coordinates": coordinates})
    return build(pattern, values)


# ---- between values and tensor -----------------------------------------------------------------


class _Build(Function):
    """Values put into a pattern."""

    @staticmethod
    def forward(ctx, values, pattern):
        ctx.pattern = pattern
        return wrap(pattern.holding(dispatch.wrap(value_of(values))))

    @staticmethod
    def backward(ctx, grad):
        return read(grad, ctx.pattern), None


class _Values(Function):
    """The values of a sparse tensor; their gradient is sparse, of the same pattern."""

    @staticmethod
    def forward(ctx, x):
        ctx.pattern = parts_of(x)
        return dispatch.wrap(value_of(ctx.pattern.values))

    @staticmethod
    def backward(ctx, grad):
        pattern = ctx.pattern
        if pattern.coalesced:
            return build(pattern, grad)
        # A gradient is a matrix too: a position given twice has it once, and both feel all of it.
        _, first = np.unique(pattern.keys(), return_index=True)
        grad = grad[from_host(first, grad.device)]
        return coo(pattern.coordinates()[:, first], grad, pattern.size, True)


def build(pattern, values, name: str | None = None) -> SparseTensor:
    """A sparse tensor of a pattern and (dense) values of its ``values_shape``."""
    if values._node is None and not values._requires_grad:
        return wrap(pattern.holding(values))
    return named(_Build.apply(values, pattern), name)


class _Derived(Function):
    """A rule with the formula of its derivative; the gradients come and go as they are."""

    @staticmethod
    def forward(ctx, run, formula, saved, *operands):
        ctx.save_for_backward(*[x if isinstance(x, Tensor) else None for x in saved])
        ctx.others = [None if isinstance(x, Tensor) else x for x in saved]
        ctx.formula = formula
        ctx.kinds = [
            (x._value.aval, x._sparse) if isinstance(x, Tensor) else None for x in operands
        ]
        return run(*operands)

    @staticmethod
    def backward(ctx, grad):
        needs = ctx.needs_input_grad[3:]
        saved = zip(ctx.saved_tensors, ctx.others, strict=True)
        found = ctx.formula(grad, needs, *[b if a is None else a for a, b in saved])
        found = found if isinstance(found, tuple) else (found,)
        return (
            None,
            None,
            None,
            *[
                _as(g, kind) if need else None
                for g, need, kind in zip(found, needs, ctx.kinds, strict=True)
            ],
        )


def _as(grad, of):
    """A gradient of an operand's shape and dtype; of a dense operand it may be in coordinates."""
    kind, sparse = of
    if not sparse and grad._sparse and not is_coo(grad):
        grad = grad.to_dense()
    extra = grad.ndim - len(kind.shape)
    wide = [d for d, n in enumerate(kind.shape, extra) if n == 1 != grad.shape[d]]
    if wide:
        grad = grad.sum(wide, keepdim=True)
    if extra:
        grad = grad.sum(tuple(range(extra)))
    if grad.is_complex() and kind.dtype.category is not dt.COMPLEX:
        grad = grad.real
    return grad.to(kind.dtype)


def derived(name: str | None, run, formula, *operands, saved=()):
    """run(*operands), whose gradients are ``formula(grad, needs, *saved)``, summed to their shapes.

    Formulas are PyTorch's own, of sparse tensors: no gradient is cut to the pattern of an operand.
    Behind a tensor that was made of values on the tape every gradient is cut in the end, and so
    the rule is differentiated through the values, which need not become a matrix first.
    """
    tracked = [x for x in operands if isinstance(x, Tensor) and x._sparse and x.requires_grad]
    if all(x._node is not None and x._node.function is _Build for x in tracked):
        return named(run(*operands), name)
    return named(_Derived.apply(run, formula, saved, *operands), name)


def others(a, b) -> tuple:
    """Of two operands those that the other one's derivative needs."""
    first, second = (isinstance(x, Tensor) and x.requires_grad for x in (a, b))
    return a if second else None, b if first or second else None


def values_of(x):
    """The values of a sparse tensor, on the tape if it is."""
    if x._node is None and not x._requires_grad:
        return parts_of(x).values
    return _Values.apply(x)


def flat_values(x):
    """The values as (positions, *dense dimensions)."""
    values, pattern = values_of(x), parts_of(x)
    if pattern.__class__ is Coo:
        return values
    return values.reshape((pattern.coordinates().shape[1], *pattern.dense))


def named(out, name: str | None):
    """Give the node of a composed result PyTorch's name."""
    if name is not None and out._node is not None:
        out._node.label = name
    return out


def read(x, pattern):
    """The elements of a tensor at the positions of a pattern, in the shape of its values.

    Where a sparse ``x`` specifies nothing they are zero.
    """
    if not x._sparse:
        if not pattern.coordinates().shape[0]:  # a scalar
            return x.expand(pattern.values_shape)
        return x[pattern.index()].reshape(pattern.values_shape)
    x = coalesced(x)
    if x.layout is pattern.layout and parts_of(x).is_like(pattern):
        return values_of(x).reshape(pattern.values_shape)
    have, wanted, values = parts_of(x).keys(), pattern.keys(), flat_values(x)
    order = None
    if len(have) > 1 and (np.diff(have) < 0).any():  # columns or blocks first
        order = np.argsort(have, kind="stable")
        have = have[order]
    if not len(have):
        if not values.requires_grad:
            return values.new_zeros(pattern.values_shape)
        nothing = values.sum(0)  # zeros on the tape, as all other values are
        return nothing.expand(len(wanted), *nothing.shape).reshape(pattern.values_shape)
    at = np.minimum(np.searchsorted(have, wanted), len(have) - 1)
    hit = have[at] == wanted
    if order is not None:
        at = order[at]
    out = values[from_host(at, values.device)]
    if not hit.all():
        mask = from_host(hit.reshape(-1, *[1] * (values.ndim - 1)), values.device)
        out = out.masked_fill(~mask, 0)  # times zero, what is infinite would be no number
    return out.reshape(pattern.values_shape)


def coalesced(x):
    """The tensor with each position once, in order; itself if it is so already."""
    if parts_of(x).coalesced:
        return x
    return derived("CoalesceBackward0", _coalesced, lambda grad, needs: grad, x)


def _coalesced(x):
    pattern = parts_of(x)
    keys = pattern.keys()
    unique, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    found = pattern.coordinates()
    if len(unique) == len(keys):
        values = values_of(x)
        if not np.array_equal(first, np.arange(len(keys))):
            values = values[from_host(first, values.device)]
    else:
        values = summed(flat_values(x), inverse.reshape(-1), len(unique))
    return coo(found[:, first], values, pattern.size, True)


def summed(values, group: np.ndarray, count: int):
    """The sums of runs of rows of ``values``: (count, *rest); bools are joined by or."""
    if values.dtype.name == "bool":
        return summed(values.to(_INT), group, count) > 0
    zeros = values.new_zeros((count, *values.shape[1:]))
    return zeros.index_add(0, from_host(group.astype(np.int64), values.device), values)


# ---- refusals ----------------------------------------------------------------------------------


def backend(operands) -> str:
    """PyTorch's name of the backend that the first sparse operand belongs to."""
    x = next((x for x in operands if isinstance(x, Tensor) and x._sparse), None)
    if x is None:
        return "CPU"
    place = "CUDA" if x.device.type == "cuda" else "CPU"
    return ("Sparse" if is_coo(x) else "SparseCsr") + place


def refuse(name: str, operands) -> SparseOperand:
    """The error for an op that takes no sparse tensors."""
    return SparseOperand(
        f"Could not run 'aten::{name}' with arguments from the '{backend(operands)}' backend. "
        "This could be because the operator doesn't exist for this backend. Convert sparse "
        "tensors with to_dense() first."
    )


def need_coo(name: str, x) -> None:
    """Raise PyTorch's error unless a tensor is in coordinates."""
    if not x._sparse or not is_coo(x):
        raise RuntimeError(
            f"{name} expected sparse coordinate tensor layout but got {LAYOUT_NAMES[x.layout]}"
        )
