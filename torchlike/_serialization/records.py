"""The words of the file format: what a tensor is on its way into or out of a `.pt` file.

Nothing here knows Tensor: the caller translates, with `describe` for writing and `Makers` for
reading.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np

# ---- dtypes -----------------------------------------------------------------

# PyTorch's dtype name: (its class of storages in files, numpy's dtype). Without a class the
# storage is written as plain bytes, and the dtype beside it.
_DTYPES: dict[str, tuple[str | None, Any]] = {
    "float64": ("DoubleStorage", np.float64),
    "float32": ("FloatStorage", np.float32),
    "float16": ("HalfStorage", np.float16),
    "bfloat16": ("BFloat16Storage", ml_dtypes.bfloat16),
    "int64": ("LongStorage", np.int64),
    "int32": ("IntStorage", np.int32),
    "int16": ("ShortStorage", np.int16),
    "int8": ("CharStorage", np.int8),
    "uint8": ("ByteStorage", np.uint8),
    "bool": ("BoolStorage", np.bool_),
    "complex64": ("ComplexFloatStorage", np.complex64),
    "complex128": ("ComplexDoubleStorage", np.complex128),
    "uint16": (None, np.uint16),
    "uint32": (None, np.uint32),
    "uint64": (None, np.uint64),
    "float8_e4m3fn": (None, ml_dtypes.float8_e4m3fn),
    "float8_e4m3fnuz": (None, ml_dtypes.float8_e4m3fnuz),
    "float8_e5m2": (None, ml_dtypes.float8_e5m2),
    "float8_e5m2fnuz": (None, ml_dtypes.float8_e5m2fnuz),
    "float8_e8m0fnu": (None, ml_dtypes.float8_e8m0fnu),
}
DTYPE_NAMES = tuple(_DTYPES)
STORAGE_CLASSES = {cls: name for name, (cls, _) in _DTYPES.items() if cls is not None}


def numpy_dtype(name: str) -> np.dtype:
    """The numpy dtype whose bytes a storage of PyTorch's dtype `name` holds."""
    if name not in _DTYPES:
        raise RuntimeError(f"torch.{name} in a file is not supported; convert it before saving")
    return np.dtype(_DTYPES[name][1])


def storage_class(dtype_name: str) -> str | None:
    """The class name of storages of this dtype in files; None where there is none."""
    numpy_dtype(dtype_name)
    return _DTYPES[dtype_name][0]


# ---- writing ----------------------------------------------------------------


@dataclass(frozen=True)
class GlobalName:
    """A name that the file refers to: `GlobalName("torch", "float32")`."""

    module: str
    name: str


@dataclass(frozen=True, eq=False)
class Call:
    """An object that loading makes by calling `function(*args)`, as `torch.Size((2, 3))`."""

    function: GlobalName
    args: tuple[Any, ...]


@dataclass(frozen=True, eq=False)
class StorageSource:
    """The storage of a tensor that is written.

    Args:
        key: its identity; storages with equal keys are one, and written once.
        dtype_name: PyTorch's name of the elements' type, as `"float32"`.
        numel: how many elements it has.
        read: gives the elements as a 1-d numpy array; called once, when they are written, and
            the array is let go at once. Any dtype with the right bytes will do.
        location: the device they came from, as `"cpu"` or `"cuda:0"`.
    """

    key: Hashable
    dtype_name: str
    numel: int
    read: Callable[[], np.ndarray]
    location: str = "cpu"

    @property
    def nbytes(self) -> int:
        return self.numel * numpy_dtype(self.dtype_name).itemsize


@dataclass(frozen=True, eq=False)
class TensorRecord:
    """A tensor that is written: a window on a storage."""

    storage: StorageSource
    offset: int
    size: Sequence[int]
    stride: Sequence[int]
    requires_grad: bool = False
    is_parameter: bool = False
    # The tensor's own type where it is not its storage's (`x.view(torch.int32)`).
    dtype_name: str | None = None
    # The class of a tensor that is more than its data, and what it gets for its state.
    kind: Any = None
    state: Any = None


FROM_TYPE = GlobalName("torch._tensor", "_rebuild_from_type_v2")


def dtype_record(name: str) -> GlobalName:
    """How `torch.dtype` is written."""
    return GlobalName("torch", name)


def layout_record(name: str) -> Call:
    """How `torch.layout` is written."""
    return Call(GlobalName("torch.serialization", "_get_layout"), (f"torch.{name}",))


def size_record(sizes: Sequence[int]) -> Call:
    """How `torch.Size` is written."""
    return Call(GlobalName("torch", "Size"), (tuple(int(size) for size in sizes),))


def device_record(kind: str, index: int | None = None) -> Call:
    """How `torch.device` is written."""
    return Call(GlobalName("torch", "device"), (kind,) if index is None else (kind, index))


# ---- reading ----------------------------------------------------------------


@dataclass(eq=False)
class StorageRecord:
    """A storage that was read. Tensors that shared it in the file get the same object."""

    key: str
    dtype_name: str
    array: np.ndarray  # 1-d; writable
    location: str

    @property
    def numel(self) -> int:
        return self.array.size


@dataclass(frozen=True)
class Makers:
    """The functions that turn what a file says into the reader's own objects.

    Args:
        tensor: `(storage, offset, size, stride, requires_grad, hooks) -> tensor`; the window has
            been checked to lie within the storage.
        parameter: `(tensor, requires_grad, hooks) -> parameter`.
        dtype: `("float32") -> dtype`.
        device: `("cuda", 0) -> device`, the index left out where the file has none.
        size: `(tuple of int) -> torch.Size`.
        sparse: `(layout's name, its parts, size, is_coalesced) -> tensor`; None if there are none.
        meta: `(dtype, size, stride, requires_grad) -> tensor` without data; None if there are none.
        classes: what the names of classes of tensors stand for.
        layout: `("strided") -> layout`; None if there are none.
    """

    tensor: Callable[..., Any]
    parameter: Callable[..., Any]
    dtype: Callable[[str], Any]
    device: Callable[..., Any]
    size: Callable[[tuple[int, ...]], Any]
    sparse: Callable[..., Any] | None = None
    meta: Callable[..., Any] | None = None
    classes: Mapping[str, type] = field(default_factory=dict)
    layout: Callable[[str], Any] | None = None


def window_end(offset: int, size: Sequence[int], stride: Sequence[int]) -> int:
    """How many elements a storage needs for this window."""
    if math.prod(size) == 0:
        return 0
    return offset + 1 + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
