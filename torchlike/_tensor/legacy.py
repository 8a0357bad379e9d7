"""The legacy tensor types, ``torch.FloatTensor`` and its kin: constructors and type tests."""

from __future__ import annotations

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor import dispatch
from torchlike._tensor.creation import legacy_tensor
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.layouts import strided
from torchlike._tensor.methods import LegacyType


class _TensorType(LegacyType):
    """A class that makes tensors of its dtype when called, and counts those as its instances."""

    def __new__(cls, name, bases, scope):
        for base in bases:
            raise TypeError(f"type 'torch.{base.__name__}' is not an acceptable base type")
        return super().__new__(cls, name, bases, scope)

    def __instancecheck__(cls, x) -> bool:
        return (
            isinstance(x, dispatch._Tensor)
            and x.dtype is cls.dtype
            and (x.device.type == "cuda") == cls.is_cuda
        )

    def __call__(cls, *args, device=None):
        place = "cpu"
        if cls.is_cuda:
            cls.need_cuda()
            place, device = "cuda", device or "cuda"
        return legacy_tensor(dispatch._Tensor, *args, dtype=cls.dtype, device=device, place=place)

    def need_cuda(cls) -> None:
        """Raise ``TypeError``, as PyTorch does, where there is no such device."""
        if not devices.device_count("cuda"):
            raise TypeError(
                f"type torch.cuda.{cls.__name__} not available. Torch not compiled with CUDA "
                "enabled."
            )


def tensor_types(is_cuda: bool) -> dict[str, type]:
    """The legacy types by name, of ``torch`` or of ``torch.cuda``."""
    place = "torchlike.cuda" if is_cuda else "torchlike"
    names = {f"{dt.SCALAR_NAMES[d]}Tensor": d for d in _DTYPES}
    return {
        name: _TensorType(
            name, (), {"dtype": d, "is_cuda": is_cuda, "layout": strided, "__module__": place,
                       "__doc__": f"Legacy type of tensors of dtype {d!r}."},
        )
        for name, d in names.items()
    }  # fmt: skip


_DTYPES = (
    dt.bool_, dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64, dt.float16, dt.bfloat16, dt.float32,
    dt.float64,
)  # fmt: skip

FUNCTIONS.update(tensor_types(False))
