"""The legacy tensor types, ``torch.FloatTensor`` and its kin: constructors and type tests."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._tensor import dispatch
from torchlike._tensor.creation import legacy_tensor
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.methods import LegacyType


class _TensorType(LegacyType):
    """A class that makes tensors of its dtype when called, and counts those as its instances."""

    def __instancecheck__(cls, x) -> bool:
        return (
            isinstance(x, dispatch._Tensor)
            and x.dtype is cls.dtype
            and (x.device.type == "cuda") == cls.is_cuda
        )

    def __call__(cls, *args, device=None):
        if device is None and cls.is_cuda:
            device = "cuda"
        return legacy_tensor(dispatch._Tensor, *args, dtype=cls.dtype, device=device)


def tensor_types(is_cuda: bool) -> dict[str, type]:
    """The legacy types by name, of ``torch`` or of ``torch.cuda``."""
    place = "torchlike.cuda" if is_cuda else "torchlike"
    names = {f"{dt.SCALAR_NAMES[d]}Tensor": d for d in _DTYPES}
    return {
        name: _TensorType(
            name, (), {"dtype": d, "is_cuda": is_cuda, "__module__": place,
                       "__doc__": f"Legacy type of tensors of dtype {d!r}."},
        )
        for name, d in names.items()
    }  # fmt: skip


_DTYPES = (
    dt.bool_, dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64, dt.float16, dt.bfloat16, dt.float32,
    dt.float64,
)  # fmt: skip

FUNCTIONS.update(tensor_types(False))
