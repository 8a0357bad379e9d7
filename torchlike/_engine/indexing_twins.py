"""NumPy twins and shape rules of reads and writes by index tensors, a mask's positions among them.

A mask selects another number of elements each time: without a rule each count would be traced.
"""

from __future__ import annotations

from itertools import pairwise

from torchlike._core import dtypes as dt
from torchlike._engine.inference import shape_rule
from torchlike._engine.twins import twin_of

_INTEGERS = frozenset((dt.int64, dt.int32))


def _found(x, dims, indices) -> tuple | None:
    """The shape of ``x[..., indices, ...]``, None if it is not plainly valid."""
    shape = indices[0].shape if indices else ()
    if any(i.shape != shape or i.dtype not in _INTEGERS for i in indices):
        return None
    rest = [n for d, n in enumerate(x.shape) if d not in dims]
    lead = dims[0] if dims and all(b == a + 1 for a, b in pairwise(dims)) else 0
    return (*rest[:lead], *shape, *rest[lead:])


@shape_rule("index")
def _index_shape(statics, in_avals):
    (dims, _), (x, *indices) = statics, in_avals
    found = _found(x, dims, indices)
    return None if found is None else [(found, x.dtype)]


@shape_rule("index_put")
def _index_put_shape(statics, in_avals):
    (dims, _, accumulate), (x, values, *indices) = statics, in_avals
    if accumulate or values.dtype is not x.dtype:
        return None
    return [(x.shape, x.dtype)] if values.shape in ((), _found(x, dims, indices)) else None


def _place(dims, ndim: int):
    """What NumPy is indexed by, from the indices at these dimensions."""
    start = [slice(None)] * ndim

    def place(indices):
        at = start.copy()
        for d, index in zip(dims, indices, strict=True):
            at[d] = index
        return tuple(at)

    return place


@twin_of("index")
def _index(statics, in_avals, avals):
    dims, checked = statics
    if not checked or _index_shape(statics, in_avals) is None:
        return None
    place = _place(dims, in_avals[0].ndim)
    return lambda x, *indices: (x[place(indices)],)


@twin_of("index_put")
def _index_put(statics, in_avals, avals):
    dims, checked, _ = statics
    if not checked or _index_put_shape(statics, in_avals) is None:
        return None
    place = _place(dims, in_avals[0].ndim)

    def index_put(x, values, *indices):
        x = x.copy()
        x[place(indices)] = values
        return (x,)

    return index_put
