"""The typed constructors of torch.sparse, as programs of before 2020 have them."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._tensor.sparse.creation import legacy


class _Kind(type):
    """``isinstance(x, torch.sparse.FloatTensor)`` asks for layout and dtype."""

    def __instancecheck__(cls, x):
        return getattr(x, "is_sparse", False) and x.dtype is cls.dtype


class _Typed(metaclass=_Kind):
    """``torch.sparse.FloatTensor(indices, values, size)``, or of sizes alone: nothing specified."""

    dtype = None

    def __new__(cls, *args, device=None):
        return legacy("torch.sparse.SparseTensor", *args, dtype=cls.dtype, device=device)


def _typed(name, dtype):
    return type(_Typed)(name, (_Typed,), {"dtype": dtype, "__doc__": _Typed.__doc__})


BFloat16Tensor = _typed("BFloat16Tensor", dt.bfloat16)
ByteTensor = _typed("ByteTensor", dt.uint8)
CharTensor = _typed("CharTensor", dt.int8)
DoubleTensor = _typed("DoubleTensor", dt.float64)
FloatTensor = _typed("FloatTensor", dt.float32)
HalfTensor = _typed("HalfTensor", dt.float16)
IntTensor = _typed("IntTensor", dt.int32)
LongTensor = _typed("LongTensor", dt.int64)
ShortTensor = _typed("ShortTensor", dt.int16)
