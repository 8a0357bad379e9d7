"""Constructors of sparse tensors, and the checks of what they are given."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported, type_name
from torchlike._core.sizes import Size
from torchlike._tensor import creation, dispatch, layouts
from torchlike._tensor.creation import from_host, target_device
from torchlike._tensor.forms import FUNCTIONS, function
from torchlike._tensor.sparse.parts import BLOCKED, LAYOUT_NAMES, ROWS, Compressed, Coo, build, wrap

_NAMES = {  # the arguments of the layouts
    layouts.sparse_csr: ("crow", "col"), layouts.sparse_csc: ("ccol", "row"),
    layouts.sparse_bsr: ("crow", "col"), layouts.sparse_bsc: ("ccol", "row"),
}  # fmt: skip
check = [False]  # whether constructors check their arguments, where they are not told


def _as_tensor(data, dtype=None, device=None):
    if isinstance(data, dispatch._Tensor):
        if device is not None or (dtype is not None and dtype is not data.dtype):
            return data.to(device=device, dtype=dtype)
        return data
    return FUNCTIONS["tensor"](data, dtype=dtype, device=device)


def _finish(pattern, values, requires_grad):
    """PyTorch's constructors are on the tape if the values are, and leaves if they shall be."""
    out = build(pattern, values)
    if requires_grad:
        if out.dtype.category < dt.FLOATING:
            raise RuntimeError(
                "Only Tensors of floating point and complex dtype can require gradients"
            )
        out = out.detach().requires_grad_()
    return out


# ---- coordinates -------------------------------------------------------------------------------


@function()
def sparse_coo_tensor(
    indices=None, values=None, size=None, *, dtype=None, device=None, pin_memory=False,
    requires_grad=False, check_invariants=None, is_coalesced=None,
):  # fmt: skip
    """A tensor of values at coordinates: indices (sparse dimensions, nnz), values (nnz, *dense)
    (https://pytorch.org/docs/stable/generated/torch.sparse_coo_tensor.html)."""
    if not isinstance(indices, dispatch._Tensor) and values is None and indices is not None:
        indices, size = None, indices  # sparse_coo_tensor(size)
    if indices is None:
        if size is None:
            raise TypeError("sparse_coo_tensor() received an invalid combination of arguments")
        return empty(size, layouts.sparse_coo, dtype, device, requires_grad)
    values = _as_tensor(values, dtype, device)
    if values._sparse:
        raise RuntimeError(
            "expected values to be a dense tensor, but got values of layout "
            f"{LAYOUT_NAMES[values.layout]}"
        )
    values = values if values.ndim else values.expand(1)
    indices = _as_tensor(indices, dt.int64, values.device)
    shape, given = indices.shape, values.shape
    if indices.ndim != 2:
        raise RuntimeError(f"indices must be sparse_dim x nnz, but got: {list(shape)}")
    if not values.ndim or given[0] != shape[1]:
        raise RuntimeError(
            f"indices and values must have same nnz, but got nnz from indices: {shape[1]}, nnz "
            f"from values: {given[0] if given else 0}"
        )
    if indices.requires_grad:
        raise RuntimeError("indices of a sparse tensor cannot require gradients")
    if size is None:
        host = indices._host()
        low = host.min(1) if host.size else np.zeros(host.shape[0], np.int64)
        for d, n in enumerate(low):
            if n < 0:
                raise RuntimeError(f"found negative index {n} for dim {d}")
        high = host.max(1) if host.size else np.full(host.shape[0], -1)
        size = (*(int(n) + 1 for n in high), *given[1:])
    size = creation.check_size((tuple(size),))
    dense = len(given) - 1
    if len(size) != shape[0] + dense:
        raise RuntimeError(
            f"'len(size) == sparse_dim + dense_dim' is not satisfied: len(size) = {len(size)}, "
            f"sparse_dim = {shape[0]}, dense_dim = {dense}"
        )
    if size[shape[0] :] != tuple(given[1:]):
        raise RuntimeError(
            f"values has incorrect size, expected {[shape[1], *size[shape[0] :]]}, got "
            f"{list(given)}"
        )
    pattern = Coo(indices.detach(), values.detach(), size, bool(is_coalesced))
    if _wanted(check_invariants):
        pattern.coordinates()
        if is_coalesced and (np.diff(pattern.keys()) <= 0).any():
            raise RuntimeError("cannot set is_coalesced to true if indices correspond to "
                               "uncoalesced COO tensor")  # fmt: skip
    return _finish(pattern, values, requires_grad)


def _wanted(check_invariants) -> bool:
    return check[0] if check_invariants is None else bool(check_invariants)


# ---- compressed --------------------------------------------------------------------------------


def _compressed(layout):
    first, second = _NAMES[layout]
    name = f"{layout._name}_tensor"

    def make(
        compressed, plain, values, size=None, *, dtype=None, device=None, pin_memory=False,
        requires_grad=False, check_invariants=None,
    ):  # fmt: skip
        values = _as_tensor(values, dtype, device)
        compressed = _as_tensor(compressed, None, values.device)
        plain = _as_tensor(plain, None, values.device)
        return _make(layout, compressed, plain, values, size, requires_grad, check_invariants)

    scope: dict = {"make": make}
    arguments = (
        "size=None, *, dtype=None, device=None, pin_memory=False, requires_grad=False, "
        "check_invariants=None"
    )
    passed = (
        "size, dtype=dtype, device=device, pin_memory=pin_memory, requires_grad=requires_grad, "
        "check_invariants=check_invariants"
    )
    exec(
        f"def {name}({first}_indices, {second}_indices, values, {arguments}):\n"
        f"    return make({first}_indices, {second}_indices, values, {passed})",
        scope,
    )
    out = scope[name]
    out.__doc__ = (
        f"A tensor of the layout ``torch.{layout._name}``: where each run begins, the other "
        f"indices, and the values (https://pytorch.org/docs/stable/generated/torch.{name}.html)."
    )
    function(name)(out)
    return out


for _layout in _NAMES:
    _compressed(_layout)


@function()
def sparse_compressed_tensor(
    compressed_indices, plain_indices, values, size=None, *, dtype=None, layout=None, device=None,
    pin_memory=False, requires_grad=False, check_invariants=None,
):  # fmt: skip
    """A tensor of one of the compressed layouts
    (https://pytorch.org/docs/stable/generated/torch.sparse_compressed_tensor.html)."""
    if layout not in _NAMES:
        raise RuntimeError(
            "sparse_compressed_tensor expected sparse compressed tensor layout but got "
            f"{'none' if layout is None else layout}"
        )
    return FUNCTIONS[f"{layout._name}_tensor"](
        compressed_indices, plain_indices, values, size, dtype=dtype, device=device,
        requires_grad=requires_grad, check_invariants=check_invariants,
    )  # fmt: skip


def _make(layout, compressed, plain, values, size, requires_grad, check_invariants):
    first, second = (f"{n}_indices" for n in _NAMES[layout])
    lead = compressed.ndim - 1
    if lead < 0 or plain.ndim < 1 or not values.ndim:
        raise RuntimeError(
            f"{first}, {second} and values must have at least one dimension, but got "
            f"{compressed.ndim}, {plain.ndim} and {values.ndim}"
        )
    blocks = 2 if layout in BLOCKED else 0
    if values.ndim < lead + 1 + blocks:
        raise RuntimeError(
            "values must have dimensionality > sum of batch and block dimensionalities "
            f"(={lead} + {blocks}) but got {values.ndim}"
        )
    block = tuple(values.shape[lead + 1 : lead + 1 + blocks])
    if size is None:
        host = plain._host()
        major, minor = compressed.shape[-1] - 1, int(host.max()) + 1 if host.size else 0
        rows, columns = (major, minor) if layout in ROWS else (minor, major)
        if block:
            rows, columns = rows * block[0], columns * block[1]
        size = (*compressed.shape[:-1], rows, columns, *values.shape[lead + 1 + blocks :])
    size = creation.check_size((tuple(size),))
    pattern = Compressed(layout, compressed.detach(), plain.detach(), values.detach(), size, block)
    if _wanted(check_invariants):
        _check(pattern, values, first, second)
    return _finish(pattern, values, requires_grad)


def _check(pattern, values, first, second):
    """Raise PyTorch's errors for indices that do not describe a matrix."""
    c, p = pattern.compressed, pattern.plain
    if c.dtype is not p.dtype:
        raise RuntimeError(
            f"{first} and {second} must have the same dtype, bot got "
            f"{dt.SCALAR_NAMES[c.dtype]} and {dt.SCALAR_NAMES[p.dtype]}, respectively"
        )
    if c.dtype is not dt.int64 and c.dtype is not dt.int32:
        raise RuntimeError(f"{first} and {second} dtype must be Int or Long, but got {c.dtype}")
    lead, size = c.ndim - 1, pattern.size
    if len(size) != lead + 2 + values.ndim - lead - 1 - len(pattern.block):
        raise RuntimeError(
            "tensor dimensionality must be sum of batch, base, and dense dimensionalities "
            f"(={lead} + 2 + {values.ndim - lead - 1 - len(pattern.block)}) but got {len(size)}"
        )
    by_rows = pattern.layout in ROWS
    n, m = size[lead : lead + 2]
    if pattern.block:
        n, m = n // pattern.block[0], m // pattern.block[1]
    count, width = (n, m) if by_rows else (m, n)
    names = ("rows", "ncols", "nrows") if by_rows else ("columns", "nrows", "ncols")
    if c.shape[-1] != count + 1:
        raise RuntimeError(
            f"{first}.shape[-1] must be equal to the number of {names[0]} + 1 (={count + 1}), but "
            f"got {c.shape[-1]}"
        )
    nnz = values.shape[lead]
    if p.shape[-1] != nnz:
        raise RuntimeError(
            f"{second}.shape[-1] must be equal to nnz (={nnz}) as defined by "
            f"values.shape[{lead}], but got {p.shape[-1]}"
        )
    starts, other = c._host(), p._host()
    steps = np.diff(starts, axis=-1)

    def need(holds, text):
        if not holds:
            raise RuntimeError(f"`{text}` is not satisfied.")

    need((starts[..., 0] == 0).all(), f"{first}[..., 0] == 0")
    need((starts[..., -1] == nnz).all(), f"{first}[..., -1] == nnz")
    need(
        ((steps >= 0) & (steps <= width)).all(),
        f"0 <= {first}[..., 1:] - {first}[..., :-1] <= {names[1]}",
    )
    need(((other >= 0) & (other < width)).all(), f"0 <= {second} < {names[1]}")
    rows = zip(starts.reshape(-1, count + 1), other.reshape(-1, nnz), strict=True)
    for row, columns in rows:
        inner = np.ones(nnz, bool)
        inner[row[:-1][row[:-1] < nnz]] = False
        need(
            (np.diff(columns) > 0)[inner[1:]].all(),
            f"{second}[..., {first}[..., i - 1]:{first}[..., i]] for all i = 1, ..., {names[2]} "
            "are sorted and distinct along the last dimension values",
        )


# ---- nothing specified -------------------------------------------------------------------------


def empty(size, layout, dtype=None, device=None, requires_grad=False, block=(), dense=0,
          index_dtype=dt.int64):  # fmt: skip
    """A sparse tensor in which nothing is specified: all zeros; its last ``dense`` dimensions are
    those of the values."""
    size = creation.check_size((tuple(size),))
    dtype = dtype or dt.get_default_dtype()
    device = target_device(device)
    if device.type == "meta":
        raise NotSupported("sparse tensors on the meta device", "use a dense tensor there")
    split = len(size) - dense
    if layout is layouts.sparse_coo:
        indices = from_host(np.zeros((split, 0), np.int64), device)
        values = from_host(np.zeros((0, *size[split:]), dtype.numpy), device)
        out = wrap(Coo(indices, values, size, True))
    elif layout in _NAMES and split >= 2:
        if layout in BLOCKED and not block:
            raise NotSupported(f"zeros(layout={layout})", "use torch.sparse_bsr_tensor")
        batch, (n, m) = size[: split - 2], size[split - 2 : split]
        if block:
            n, m = n // block[0], m // block[1]
        count = n if layout in ROWS else m
        starts = from_host(np.zeros((*batch, count + 1), index_dtype.numpy), device)
        plain = from_host(np.zeros((*batch, 0), index_dtype.numpy), device)
        values = from_host(np.zeros((*batch, 0, *block, *size[split:]), dtype.numpy), device)
        out = wrap(Compressed(layout, starts, plain, values, size, block))
    else:
        raise RuntimeError(
            f"torch.empty: Only batched sparse compressed (non-block) tensors are supported, but "
            f"got size {list(size)}"
        )
    return creation.as_leaf(out, requires_grad)


def cleared(x, dtype=None):
    """A tensor of the layout and structure of a sparse one in which nothing is specified."""
    pattern = x._value.segment
    dense, dtype = len(pattern.dense), dtype or x.dtype
    if pattern.__class__ is Coo:
        return empty(x.shape, x.layout, dtype, x.device, dense=dense)
    kind = pattern.compressed.dtype
    return empty(x.shape, x.layout, dtype, x.device, False, pattern.block, dense, kind)


def legacy(constructor, *args, dtype, device=None, **parts):
    """What the constructors of old make: of indices and values, whose dtype stays, or of sizes."""
    tensor = dispatch._Tensor
    if parts or any(isinstance(a, tensor) for a in args):
        given = dict(zip(("indices", "values", "size"), args, strict=False)) | parts
        kinds = [type_name(a) for a in (*args, *parts.values())]
        indices, values, size = (given.get(k) for k in ("indices", "values", "size"))
        if (
            len(kinds) != len(given) or len(given) < 2
            or not (isinstance(indices, tensor) and isinstance(values, tensor))
            or not isinstance(size, (tuple, list, type(None)))
        ):  # fmt: skip
            raise TypeError(
                f"new() received an invalid combination of arguments - got ({', '.join(kinds)})"
            )
        if indices.dtype is not dt.int64:
            found = dt.SCALAR_NAMES[indices.dtype]
            raise RuntimeError(f"expected scalar type Long but found {found}")
        return sparse_coo_tensor(indices, values, size, device=device)
    if len(args) == 1 and not isinstance(args[0], (int, Size)):
        if isinstance(args[0], (tuple, list)):
            raise TypeError(
                f"{constructor}(sequence) only accepts sizes.  Please use "
                "torch.sparse_coo_tensor() or construct a strided tensor and convert it to sparse "
                "via to_sparse."
            )
        kind = type_name(args[0])
        raise TypeError(f"new() received an invalid combination of arguments - got ({kind})")
    size = args[0] if args and isinstance(args[0], Size) else args or (0,)
    return empty(size, layouts.sparse_coo, dtype, device)


creation._sparse_empty = empty
