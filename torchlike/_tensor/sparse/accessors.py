"""What a sparse tensor tells of itself, and the methods that replace its parts."""

from __future__ import annotations

from math import prod

from torchlike._core.errors import NotSupported
from torchlike._tensor import dispatch, layouts
from torchlike._tensor.creation import check_size
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.forms import FUNCTIONS, METHODS, function, method
from torchlike._tensor.sparse import parts
from torchlike._tensor.sparse.arithmetic import ZERO_PRESERVING
from torchlike._tensor.sparse.creation import cleared, empty, legacy
from torchlike._tensor.sparse.parts import (
    LAYOUT_NAMES,
    ROWS,
    Compressed,
    Coo,
    derived,
    is_coo,
    named,
    need_coo,
    parts_of,
    values_of,
    wrap,
)

# ---- parts -------------------------------------------------------------------------------------


@method("indices")
def indices(self):
    """The coordinates (sparse dimensions, nnz) of a coalesced COO tensor."""
    need_coo("indices", self)
    if not parts_of(self).coalesced:
        raise RuntimeError(
            "Cannot get indices on an uncoalesced tensor, please call .coalesce() first"
        )
    return parts_of(self).indices


@method("values")
def values(self):
    """The values of a sparse tensor, on the tape; a COO tensor must be coalesced."""
    if not self._sparse:
        raise RuntimeError("values expected sparse tensor layout but got Strided")
    if not parts_of(self).coalesced:
        raise RuntimeError(
            "Cannot get values on an uncoalesced tensor, please call .coalesce() first"
        )
    return named(values_of(self), "ValuesBackward0")


@method("_indices")
def raw_indices(self):
    """The coordinates as they are."""
    need_coo("_indices", self)
    return parts_of(self).indices


@method("_values")
def raw_values(self):
    """The values as they are, off the tape."""
    need_coo("_values", self)
    return parts_of(self).values


def _compressed(name, by_rows, slot):
    kind = "row" if by_rows else "column"

    def accessor(self):
        pattern = parts_of(self) if self._sparse else None
        if pattern.__class__ is not Compressed or (pattern.layout in ROWS) is not by_rows:
            raise RuntimeError(
                f"{name} expected sparse {kind} compressed tensor layout but got "
                f"{LAYOUT_NAMES[self.layout]}"
            )
        return getattr(pattern, slot)

    accessor.__name__ = name
    accessor.__doc__ = f"The {name} of a tensor compressed along its {kind}s."
    method(name)(accessor)


for _name, _by_rows, _slot in (
    ("crow_indices", True, "compressed"), ("col_indices", True, "plain"),
    ("ccol_indices", False, "compressed"), ("row_indices", False, "plain"),
):  # fmt: skip
    _compressed(_name, _by_rows, _slot)


def _copying(name, public):
    read = METHODS[name]

    def copy(input, *, out=None):
        found = read(input).clone()
        return found if out is None else dispatch.copy_out(out, found)

    copy.__name__ = public
    copy.__doc__ = f"A copy of what ``Tensor.{name}()`` gives."
    function(public)(copy)


for _name in (
    "indices", "values", "crow_indices", "col_indices", "ccol_indices", "row_indices",
):  # fmt: skip
    _copying(_name, f"{_name}_copy")
for _name in ("_indices", "_values"):
    _copying(_name, f"{_name}_copy")


# ---- questions ---------------------------------------------------------------------------------


@method("is_coalesced")
def is_coalesced(self) -> bool:
    """Whether a COO tensor is known to specify each position once and in order."""
    need_coo("is_coalesced", self)
    return parts_of(self).coalesced


@method("sparse_dim")
def sparse_dim(self) -> int:
    """How many dimensions have indices; 0 for a dense tensor."""
    return parts_of(self).sparse_dim if self._sparse else 0


@method("dense_dim")
def dense_dim(self) -> int:
    """How many dimensions the values have beyond those with indices."""
    return len(parts_of(self).dense) if self._sparse else self.ndim


@method("_nnz")
def nnz(self) -> int:
    """How many elements (or blocks) are specified, in each matrix of a batch."""
    if not self._sparse:
        raise parts.refuse("_nnz", (self,))
    return parts_of(self).nnz


@method("to_padded_tensor")
def to_padded_tensor(self, padding, output_size=None):
    """Raise ``NotSupported``: there are no nested tensors, whose method this is."""
    raise NotSupported(
        "to_padded_tensor: there are no nested (jagged) tensors",
        "pad with torch.nn.utils.rnn.pad_sequence",
    )


# ---- changes in place --------------------------------------------------------------------------


def become(self, other):
    """Let a sparse tensor show the parts of another one."""
    self._value = other._value
    self._version_count += 1
    return self


@method("_coalesced_")
def coalesced_(self, coalesced: bool):
    """Claim that the tensor is coalesced, or not."""
    need_coo("_coalesced_", self)
    parts_of(self).coalesced = bool(coalesced)
    return self


def _check_resize(self, size, sparse_dim, dense_dim):
    need_coo("sparse_resize_", self)
    size = check_size((tuple(size),))
    if len(size) != sparse_dim + dense_dim:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, "
            f"sparse_dim = {sparse_dim}, dense_dim = {dense_dim}"
        )
    return size


@method("sparse_resize_")
def sparse_resize_(self, size, sparse_dim: int, dense_dim: int):
    """Another size and split of the dimensions; with elements no dimension may shrink
    (https://pytorch.org/docs/stable/generated/torch.Tensor.sparse_resize_.html)."""
    size = _check_resize(self, size, sparse_dim, dense_dim)
    pattern = parts_of(self)
    dense = size[sparse_dim:]
    if not pattern.nnz:
        return become(self, _hollow(self, size, sparse_dim))
    for name, new, old in (
        ("sparse", sparse_dim, pattern.sparse_dim), ("dense", dense_dim, len(pattern.dense)),
    ):  # fmt: skip
        if new != old:
            raise RuntimeError(
                f"changing the number of {name} dimensions (from {old} to {new}) on a non-empty "
                "sparse tensor is not supported. To change the number of dimensions, clear the "
                "tensor first with sparse_resize_and_clear_"
            )
    for name, new, old in (
        ("sparse", size[:sparse_dim], pattern.size[:sparse_dim]), ("dense", dense, pattern.dense),
    ):  # fmt: skip
        if any(a < b for a, b in zip(new, old, strict=True)):
            raise RuntimeError(
                f"shrinking the size of {name} dimensions (from {list(old)} to {list(new)}) on a "
                "non-empty sparse tensor is not supported."
            )
    values = pattern.values
    if dense != pattern.dense:
        wide = values.new_zeros((pattern.nnz, *dense))
        wide[tuple(slice(n) for n in values.shape)] = values
        values = wide
    return become(self, wrap(Coo(pattern.indices, values, size, pattern.coalesced)))


def _hollow(self, size, sparse_dim):
    return empty(size, self.layout, self.dtype, self.device, dense=len(size) - sparse_dim)


@method("sparse_resize_and_clear_")
def sparse_resize_and_clear_(self, size, sparse_dim: int, dense_dim: int):
    """Another size and split of the dimensions, with nothing specified
    (https://pytorch.org/docs/stable/generated/torch.Tensor.sparse_resize_and_clear_.html)."""
    size = _check_resize(self, size, sparse_dim, dense_dim)
    return become(self, _hollow(self, size, sparse_dim))


@function(method=False)
def resize_as_sparse_(input, the_template):
    """Give a sparse tensor the size of another."""
    if not the_template._sparse:
        raise RuntimeError("resize_as_sparse_: template must be sparse")
    pattern = parts_of(the_template)
    if input._sparse and not is_coo(input):
        if input.layout is not the_template.layout:
            raise RuntimeError(
                "resize_as_sparse_compressed_tensor_: self and src must have the same layout, but "
                f"got: self ({LAYOUT_NAMES[input.layout]}) and source "
                f"({LAYOUT_NAMES[the_template.layout]})"
            )
        own, wanted = parts_of(input).values.reshape(-1), prod(pattern.values_shape)
        own = FUNCTIONS["cat"]((own[:wanted], own.new_zeros(max(wanted - own.numel(), 0))))
        return become(input, wrap(pattern.holding(own.reshape(pattern.values_shape))))
    need_coo("resize_as_sparse_", input)
    return sparse_resize_(input, pattern.size, pattern.sparse_dim, len(pattern.dense))


METHODS["resize_as_sparse_"] = resize_as_sparse_


# ---- methods that a sparse tensor has of its own -----------------------------------------------


def _method(name):
    def put(fn):
        setattr(parts.SparseTensor, name, fn)
        return fn

    return put


@_method("detach")
def detach(self):
    """The same indices and values, off the tape."""
    return wrap(parts_of(self))


@_method("detach_")
def detach_(self):
    """Take this tensor itself off the tape."""
    self._node, self._index, self._requires_grad = None, 0, False
    return self


@_method("to")
def to(self, *args, device=None, dtype=None, non_blocking=False, copy=False, memory_format=None,
       other=None):  # fmt: skip
    """Another dtype or device; itself if it has both already."""
    from torchlike._tensor.methods import _parse_to

    device, dtype = _parse_to(args if other is None else (other, *args), device, dtype)
    found = parts_of(self).values
    moved = found.to(device=device, dtype=dtype)
    pattern = parts_of(self)
    if moved is found or (moved.dtype is self.dtype and moved.device is self.device):
        return self.clone() if copy else self
    if moved.device is not self.device:
        pattern = (
            Coo(pattern.indices.to(device), moved.detach(), pattern.size, pattern.coalesced)
            if is_coo(self)
            else Compressed(
                pattern.layout, pattern.compressed.to(device), pattern.plain.to(device),
                moved.detach(), pattern.size, pattern.block,
            )
        )  # fmt: skip

    def run(self):
        return parts.build(pattern, values_of(self).to(device=device, dtype=dtype))

    here = self.device
    return derived("ToCopyBackward0", run, lambda grad, needs: grad.to(here), self)


def _check_copied_coo(x, src):
    if not src._sparse:
        raise RuntimeError(
            "copy_() between dense and sparse Tensors is not implemented! Found self type = "
            f"{x.type()} and src type = {src.type()}"
        )
    if not is_coo(src):
        raise RuntimeError(
            "copy_sparse_compressed_ expected sparse compressed tensor layout but got Sparse"
        )
    if x.shape != src.shape:  # it may grow, as with sparse_resize_
        pattern = parts_of(src)
        sparse_resize_(wrap(parts_of(x)), src.shape, pattern.sparse_dim, len(pattern.dense))


def _check_copied_compressed(x, src):
    if x.layout is not src.layout:
        raise RuntimeError(
            "torch.copy_: copy of sparse compressed tensors having different layouts is not "
            f"supported. self layout is {LAYOUT_NAMES[x.layout]} and src layout is "
            f"{LAYOUT_NAMES[src.layout]}"
        )
    p, q = parts_of(x), parts_of(src)
    if p.nnz != q.nnz:
        raise RuntimeError(
            "torch.copy_: only sparse compressed tensors with the same number of specified "
            "elements are supported."
        )
    if x.shape != src.shape:
        raise RuntimeError(
            "torch.copy_: expected shapes of self and src to match, but they are "
            f"{list(x.shape)} and {list(src.shape)}"
        )
    if p.block != q.block:
        raise RuntimeError(
            "torch.copy_: copy of sparse compressed tensors having different block sizes is not "
            f"supported. self and src block sizes are {list(p.block)} and {list(q.block)}"
        )


@_method("copy_")
def copy_(self, src, non_blocking=False):
    """Overwrite with another sparse tensor of the same layout."""
    if is_coo(self):
        _check_copied_coo(self, src)
    else:
        _check_copied_compressed(self, src)
    dispatch.check_inplace(self)
    return dispatch.rebind(self, src.to(dtype=self.dtype, device=self.device).clone())


@_method("zero_")
def zero_(self):
    """Specify nothing any more: all zeros."""
    dispatch.check_inplace(self)
    return become(self, cleared(self))


@_method("type")
def type_(self, dtype=None, non_blocking=False):
    """The legacy type name, or the tensor as another dtype."""
    if dtype is not None:
        return self.to(dtype)
    if not is_coo(self):
        raise RuntimeError(f"Unimplemented backend {parts.backend((self,))}")
    name = dispatch._Tensor.type(parts_of(self).values)
    return name.replace("torch.", "torch.sparse.", 1).replace("sparse.cuda.", "cuda.sparse.")


@_method("numpy")
def numpy(self, *, force: bool = False):
    """Raise ``TypeError``: numpy has no sparse arrays."""
    raise TypeError(
        f"can't convert {LAYOUT_NAMES[self.layout]} layout tensor to numpy. Use "
        "Tensor.to_dense() first."
    )


@_method("__array__")
def array(self, dtype=None, copy=None):
    """Raise ``TypeError``: numpy has no sparse arrays."""
    return self.numpy()


def _no_storage(name):
    def refuse(self, *args, **kwargs):
        raise RuntimeError("Cannot access data pointer of Tensor that doesn't have storage")

    refuse.__name__ = name
    refuse.__doc__ = "Raise ``RuntimeError``: a sparse tensor has no storage of its own."
    _method(name)(refuse)


for _name in ("tolist", "data_ptr", "storage", "untyped_storage"):
    _no_storage(_name)


def _coalesced_in_place(name, known):
    change = METHODS[name]

    def changed(self, *args, **kwargs):
        if is_coo(self) and not parts_of(self).coalesced:
            raise RuntimeError(f"{known}_ requires coalesced input")
        return change(self, *args, **kwargs)

    changed.__name__ = name
    changed.__doc__ = change.__doc__
    _method(name)(changed)


_ALIASES = {
    "absolute": "abs", "arcsin": "asin", "arcsinh": "asinh", "arctan": "atan", "arctanh": "atanh",
    "fix": "trunc",
}  # fmt: skip
for _name in ZERO_PRESERVING:
    if f"{_name}_" in METHODS:
        _coalesced_in_place(f"{_name}_", _name)
for _name, _known in _ALIASES.items():
    _coalesced_in_place(f"{_name}_", _known)


@_method("contiguous")
def contiguous(self, memory_format=None):
    """Raise ``RuntimeError``: memory formats are for dense tensors."""
    raise RuntimeError("unsupported memory format option Contiguous")


@_method("is_contiguous")
def is_contiguous(self, memory_format=None) -> bool:
    """Always False."""
    return False


@_method("stride")
def stride(self, dim=None):
    """Zeros: a sparse tensor has no strides."""
    return (0,) * self.ndim if dim is None else 0


@_method("storage_offset")
def storage_offset(self) -> int:
    """Always 0."""
    return 0


def _reshaping(name, text):
    def refuse(self, *args, **kwargs):
        raise RuntimeError(text)

    refuse.__name__ = name
    refuse.__doc__ = "Raise ``RuntimeError``: not for sparse tensors."
    _method(name)(refuse)


for _name in ("reshape", "flatten", "reshape_as"):
    _reshaping(_name, "reshape is not implemented for sparse tensors")
for _name in ("expand", "expand_as"):
    _reshaping(_name, "expand is unsupported for Sparse tensors")


@_method("__setitem__")
def setitem(self, index, value):
    """Raise ``TypeError``: elements of a sparse tensor cannot be assigned."""
    raise TypeError("Cannot assign to a sparse tensor")


@_method("dim_order")
def dim_order(self, *, ambiguity_check=False):
    """Raise ``AttributeError``: a sparse tensor has no order in memory."""
    raise AttributeError(
        "Can't get dim order on sparse type. Use Tensor.to_dense() to convert to a dense tensor "
        "first."
    )


@_method("item")
def item(self):
    """The only element as a Python number."""
    if self.numel() != 1:
        raise RuntimeError(f"a Tensor with {self.numel()} elements cannot be converted to Scalar")
    return self.to_dense().item()


def _new_filled(name):
    dense = METHODS[name]

    def new(self, *size, layout=None, **options):
        if layout is layouts.strided:
            return dense(parts_of(self).values, *size, **options)
        size = options.pop("size", size)
        size = size[0] if len(size) == 1 and isinstance(size[0], (tuple, list)) else size
        return empty(
            size, self.layout, options.get("dtype") or self.dtype,
            options.get("device") or self.device, options.get("requires_grad", False),
        )  # fmt: skip

    new.__name__ = name
    new.__doc__ = dense.__doc__
    _method(name)(new)


for _name in ("new_zeros", "new_empty"):
    _new_filled(_name)


def _new_of_numbers(name):
    dense = METHODS[name]

    def new(self, *size, layout=None, **options):
        if layout is not layouts.strided:
            raise parts.refuse("fill_", (self,))
        return dense(parts_of(self).values, *size, **options)

    new.__name__ = name
    new.__doc__ = dense.__doc__
    _method(name)(new)


for _name in ("new_ones", "new_full"):
    _new_of_numbers(_name)


@_method("new")
def new(self, *args, device=None, **parts):
    """The legacy constructor with this tensor's layout, dtype and device."""
    if not is_coo(self):
        raise RuntimeError("torch.Tensor.new() is not for tensors of a compressed layout")
    device = device or self.device
    return legacy("SparseTensor.new", *args, dtype=self.dtype, device=device, **parts)


@_method("__deepcopy__")
def deepcopy(self, memo):
    """A copy of the indices and values, with the gradient."""
    import copy

    if id(self) in memo:
        return memo[id(self)]
    if not self.is_leaf:
        raise RuntimeError(
            "Only Tensors created explicitly by the user (graph leaves) support the deepcopy "
            "protocol at the moment."
        )
    out = memo[id(self)] = _copied(self)
    out._requires_grad = self._requires_grad
    if self._grad is not None:
        out._grad = copy.deepcopy(self._grad, memo)
    return out


def _copied(x):
    pattern = parts_of(x)
    return wrap(pattern.holding(dispatch.wrap(value_of(pattern.values)).clone()))


@_method("__reduce_ex__")
def reduce(self, protocol):
    """What pickle keeps: the parts as tensors."""
    pattern = parts_of(self)
    if is_coo(self):
        args = ("sparse_coo", pattern.indices, None, pattern.values, pattern.size)
    else:
        args = (
            pattern.layout._name, pattern.compressed, pattern.plain, pattern.values, pattern.size,
        )  # fmt: skip
    return rebuild, (*args, pattern.coalesced, self._requires_grad)


def rebuild(layout: str, first, second, values, size, coalesced: bool, requires_grad: bool):
    """A sparse tensor from what pickle has kept."""
    if layout == "sparse_coo":
        out = FUNCTIONS["sparse_coo_tensor"](first, values, size, is_coalesced=coalesced)
    else:
        out = FUNCTIONS[f"{layout}_tensor"](first, second, values, size)
    return out.requires_grad_() if requires_grad else out


@_method("__repr__")
def show(self, *, tensor_contents=None):
    """The text that PyTorch prints."""
    from torchlike._tensor.sparse.show import text

    return text(self)
