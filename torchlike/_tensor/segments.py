"""Frontends of segment reductions, hashes and fixed-size searches."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, into, value_of
from torchlike._tensor.forms import function
from torchlike._tensor.shapes import shape_of, wrap_dim
from torchlike._tensor.tensor import Tensor

_REDUCTIONS = {
    "sum": "sum", "mean": "mean", "prod": "prod", "max": "max", "min": "min", "amax": "max",
    "amin": "min",
}  # fmt: skip


@function()
def segment_reduce(data, reduce, *, lengths=None, indices=None, offsets=None, axis=0,
                   unsafe=False, initial=None, out=None):  # fmt: skip
    """Each run of elements along an axis reduced to one; runs by lengths, or by their edges."""
    if reduce not in _REDUCTIONS:
        raise RuntimeError(
            f"reduce argument must be either sum, prod, mean, amax or amin, got {reduce}"
        )
    if indices is not None:
        raise NotSupported("segment_reduce(indices=)", "use index_reduce()")
    if lengths is None and offsets is None:
        raise RuntimeError("segment_reduce(): Either lengths or offsets must be defined.")
    axis = wrap_dim(axis, data._value.aval.ndim)
    given, name = (lengths, "lengths") if offsets is None else (offsets, "offsets")
    if not isinstance(given, Tensor):
        raise TypeError(
            f"segment_reduce(): argument '{name}' must be Tensor, not {type(given).__name__}"
        )
    if given.ndim - 1 != axis:
        raise RuntimeError(
            f"segment_reduce(): Expected axis to be the last dimension of {name} but got {axis}."
        )
    if given.dtype.category != 1:
        raise NotImplementedError(
            f'"_segment_reduce_{name}_cpu_kernel1" not implemented for '
            f"'{dt.SCALAR_NAMES[given.dtype]}'"
        )
    if offsets is None and not unsafe:
        _check_lengths(lengths, shape_of(data)[axis])
    if isinstance(initial, str):
        raise TypeError("segment_reduce(): argument 'initial' must be Number, not str")
    initial = None if initial is None else float(initial)
    statics = (_REDUCTIONS[reduce], axis, initial, offsets is not None)
    return into(out, apply(TABLE["segment_reduce"], (data, given), statics))


def _check_lengths(lengths, size):
    if value_of(lengths).is_traced():
        return
    host = lengths._host()
    if (host < 0).any():
        raise RuntimeError("lengths contains negative value!")
    if (host.sum(-1) != size).any():
        raise RuntimeError(
            "segment_reduce(): Expected all rows of lengths along axis to sum to "
            "data.size(lengths.dim()-1) when !unsafe."
        )


@function(method=True)
def nonzero_static(input, *, size, fill_value=-1, out=None):
    """Indices of the first ``size`` elements that are not zero; rows beyond them are filled."""
    return into(out, apply(TABLE["nonzero_static"], (input,), (int(size), int(fill_value))), True)


@function(method=True)
def hash_tensor(input, dim=(), *, keepdim=False, mode=0, out=None):
    """The exclusive or of the elements' bits along dimensions, or of all."""
    if mode != 0:
        raise RuntimeError(f"Unknown hash_tensor mode: {mode}")
    shape = shape_of(input)
    given = (dim,) if isinstance(dim, int) else tuple(dim)
    if not given and not input.numel():
        raise RuntimeError(
            "hash_tensor: Expected reduction dim to be specified for input.numel() == 0. Specify "
            "the reduction dim with the 'dim' argument."
        )
    dims = tuple(wrap_dim(d, len(shape)) for d in given) if shape else ()
    dims = dims or tuple(range(len(shape)))
    wrong = "Expected result to be of dtype uint64, but got {got}"
    return into(out, apply(TABLE["hash_tensor"], (input,), (dims, keepdim)), wrong)
