"""Questions about types: finfo, iinfo, promotion, what is a tensor."""

from __future__ import annotations

import math
import os

import ml_dtypes
import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor import dispatch


def _dtype(function: str, argument: str, position: int, d):
    """A dtype that an argument must be; raises ``TypeError`` for anything else."""
    if not isinstance(d, dt.dtype):
        raise TypeError(
            f"{function}(): argument '{argument}' (position {position}) must be torch.dtype, not "
            f"{d.__class__.__name__}"
        )
    return d


class _Limits:
    """What is equal if its dtype is."""

    def __eq__(self, other):
        return type(self) is type(other) and self.dtype == other.dtype

    def __hash__(self):
        return hash(self.dtype)


class finfo(_Limits):
    """Limits of a floating dtype (https://pytorch.org/docs/stable/type_info.html)."""

    def __init__(self, type=None):
        d = dt.get_default_dtype() if type is None else _dtype("finfo", "type", 1, type)
        if d.category < dt.FLOATING:
            raise TypeError(
                f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle "
                f"'{d}'"
            )
        info = ml_dtypes.finfo(d.to_real().numpy)
        self.bits = info.bits
        self.min, self.max, self.eps = float(info.min), float(info.max), float(info.eps)
        self.tiny = self.smallest_normal = float(info.smallest_normal)
        self.resolution = float(f"1e-{int(info.nmant * math.log10(2))}")  # its decimal digits
        self.dtype = d.to_real().name

    def __repr__(self) -> str:
        return (
            f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, "
            f"eps={self.eps:g}, smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, "
            f"dtype={self.dtype})"
        )


class iinfo(_Limits):
    """Limits of an integer dtype."""

    def __init__(self, type):
        if _dtype("iinfo", "type", 1, type) is dt.bool_:
            raise TypeError("torch.bool is not supported by torch.iinfo")
        if type.category != dt.INTEGRAL:
            raise TypeError(
                f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'"
            )
        info = np.iinfo(type.numpy)
        self.bits, self.min, self.max = info.bits, int(info.min), int(info.max)
        self.dtype = type.name

    def __repr__(self) -> str:
        return f"iinfo(min={self.min:g}, max={self.max:g}, dtype={self.dtype})"


def is_tensor(obj, /) -> bool:
    """Whether an object is a Tensor."""
    return isinstance(obj, dispatch._Tensor)


def is_storage(obj, /) -> bool:
    """Whether an object is a storage."""
    return type(obj).__module__ == "torchlike.storage"


def can_cast(from_, to) -> bool:
    """Whether PyTorch's promotion lets ``from_`` be cast to ``to``."""
    return dt.can_cast(_dtype("can_cast", "from_", 1, from_), _dtype("can_cast", "to", 2, to))


def result_type(tensor1, tensor2):
    """The dtype of arithmetic between two tensors or numbers."""
    dims, zero, scalars = [], [], []
    for x in (tensor1, tensor2):
        if isinstance(x, dispatch._Tensor):
            (dims if x.ndim else zero).append(x.dtype)
        elif isinstance(x, (bool, int, float, complex)):
            scalars.append(dt.scalar_dtype(type(x)))
        else:
            raise TypeError(
                "result_type() received an invalid combination of arguments - got "
                f"({type(tensor1).__name__}, {type(tensor2).__name__})"
            )
    return dt.result_type(dims, zero, scalars)


def set_default_dtype(d, /) -> None:
    """Set the dtype of new floating tensors; raises ``TypeError`` for one that is not floating."""
    dt.set_default_dtype(d)


def typename(obj, /) -> str:
    """The type's name as PyTorch shows it."""
    if isinstance(obj, dispatch._Tensor):
        return obj.type()
    kind = obj if hasattr(obj, "__qualname__") and hasattr(obj, "__module__") else type(obj)
    return (
        f"{kind.__module__}.{kind.__qualname__}" if kind.__module__ != "builtins" else kind.__name__
    )


def get_num_threads() -> int:
    """The threads XLA's CPU client may use: one a core, or what NPROC says (1 in data workers)."""
    if os.environ.get("NPROC", "").isdigit():
        return int(os.environ["NPROC"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def set_num_threads(n: int, /) -> None:
    """Accepted: XLA sizes its pool when the process starts, from the cores it may run on.

    Raises ``RuntimeError`` for a count below one, as PyTorch does.
    """
    if not isinstance(n, int):
        raise RuntimeError(f"set_num_threads expects an int, but got {type(n).__name__}")
    if n < 1:
        raise RuntimeError("set_num_threads expects a positive integer")
