"""Collating: a list of samples as one batch, container by container, as PyTorch does it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.creation import as_tensor, tensor
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.host_reads import host_data, wrap_host
from torchlike._tensor.tensor import Tensor
from torchlike.utils.data.channel import BIG

_BAD_TYPE = (
    "default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {}"
)


def default_collate(batch):
    """Stack tensors and numbers of all samples, keeping their containers (https://pytorch.org/docs/stable/data.html#torch.utils.data.default_collate)."""
    return collate(batch, collate_fn_map=default_collate_fn_map)


def default_convert(data):
    """Numpy arrays within a sample as tensors (https://pytorch.org/docs/stable/data.html#torch.utils.data.default_convert)."""
    kind = type(data)
    if isinstance(data, Tensor):
        return data
    if kind.__module__ == "numpy" and kind.__name__ not in ("str_", "string_"):
        if kind is np.ndarray and _holds_no_numbers(data.dtype):
            return data
        return as_tensor(data)
    if isinstance(data, Mapping):
        return like_mapping(data, {key: default_convert(data[key]) for key in data})
    if isinstance(data, tuple):
        items = [default_convert(item) for item in data]
        return kind(*items) if hasattr(data, "_fields") else items
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return like_sequence(data, [default_convert(item) for item in data])
    return data


def collate(batch, *, collate_fn_map: dict[type | tuple[type, ...], Callable] | None = None):
    """Collate by the type of the first sample; functions for types of one's own go first."""
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        function = collate_fn_map.get(kind)
        if function is None:
            function = next((f for t, f in collate_fn_map.items() if isinstance(first, t)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        columns = {
            key: collate([sample[key] for sample in batch], collate_fn_map=collate_fn_map)
            for key in first
        }
        return like_mapping(first, columns)
    if isinstance(first, tuple) and hasattr(first, "_fields"):
        columns = zip(*batch, strict=False)
        return kind(*[collate(column, collate_fn_map=collate_fn_map) for column in columns])
    if isinstance(first, Sequence):
        if any(len(sample) != len(first) for sample in batch):
            raise RuntimeError("each element in list of batch should be of equal size")
        columns = [
            collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)
        ]
        return columns if isinstance(first, tuple) else like_sequence(first, columns)
    raise TypeError(_BAD_TYPE.format(kind))


# A container may carry more than its items: copy it and replace them, or else make one of its
# type; one that can do neither (range) becomes a plain one.


def like_mapping(original: Mapping, items: dict):
    """A mapping like another, with these items."""
    try:
        if not isinstance(original, MutableMapping):
            return type(original)(items)
        clone = copy.copy(original)
        clone.update(items)
        return clone
    except TypeError:
        return items


def like_sequence(original: Sequence, items: list):
    """A sequence like another, with these items."""
    try:
        if not isinstance(original, MutableSequence):
            return type(original)(items)
        clone = copy.copy(original)
        for i, item in enumerate(items):
            clone[i] = item
        return clone
    except TypeError:
        return items


def _holds_no_numbers(dtype: np.dtype) -> bool:
    return dtype.kind in "SaUO"


_allocate: Callable[[int], np.ndarray] | None = None


def allocate_by(function: Callable[[int], np.ndarray]) -> None:
    """In a worker: big batches are stacked where they can be sent from without another copy."""
    global _allocate
    _allocate = function


# ---- leaves ------------------------------------------------------------------------------------


def collate_tensor_fn(batch, *, collate_fn_map=None):
    """Tensors, stacked: by numpy where all are at hand, otherwise by the recorded op."""
    aval = batch[0]._value.aval
    if batch[0]._sparse:
        raise RuntimeError(
            "Batches of sparse tensors are not currently supported by the default collate_fn; "
            "please provide a custom collate_fn to handle them appropriately."
        )
    arrays = []
    for t in batch:
        array = host_data(t) if isinstance(t, Tensor) else None
        if array is None or t._value.aval is not aval:
            return FUNCTIONS["stack"](list(batch), 0)
        arrays.append(array)
    return _stacked(arrays, aval.dtype)


def _stacked(arrays, dtype):
    """Arrays of one shape and dtype as a tensor with one more dimension."""
    size = arrays[0].nbytes * len(arrays)
    if _allocate is not None and size >= BIG:
        stacked = _allocate(size).view(arrays[0].dtype).reshape(len(arrays), *arrays[0].shape)
        return wrap_host(np.stack(arrays, out=stacked), dtype)
    return wrap_host(np.array(arrays, dtype.numpy), dtype)  # for small ones faster than stack


def collate_numpy_array_fn(batch, *, collate_fn_map=None):
    """Numpy arrays, stacked."""
    dtype = batch[0].dtype
    if _holds_no_numbers(dtype):
        raise TypeError(_BAD_TYPE.format(dtype))
    known, shape = dt.BY_NUMPY.get(dtype), batch[0].shape
    own = collate_fn_map is None or collate_fn_map.get(Tensor) is not collate_tensor_fn
    if known is None or own or any(a.dtype != dtype or a.shape != shape for a in batch):
        return collate([as_tensor(array) for array in batch], collate_fn_map=collate_fn_map)
    return _stacked(batch, known)


def collate_numpy_scalar_fn(batch, *, collate_fn_map=None):
    """Numpy's numbers, as a tensor of their type."""
    return as_tensor(batch)


def collate_float_fn(batch, *, collate_fn_map=None):
    """Python floats, in double precision."""
    return tensor(batch, dtype=dt.float64)


def collate_int_fn(batch, *, collate_fn_map=None):
    """Python ints and bools."""
    return tensor(batch)


def collate_str_fn(batch, *, collate_fn_map=None):
    """Text, as it is."""
    return batch


default_collate_fn_map: dict[type | tuple[type, ...], Callable] = {
    Tensor: collate_tensor_fn,
    np.ndarray: collate_numpy_array_fn,
    (np.bool_, np.number, np.object_): collate_numpy_scalar_fn,
    float: collate_float_fn,
    int: collate_int_fn,
    str: collate_str_fn,
    bytes: collate_str_fn,
}
