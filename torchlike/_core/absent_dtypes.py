"""PyTorch's dtypes that no JAX array can have: names to compare with; a tensor of one raises."""

from __future__ import annotations

from torchlike._core.dtypes import COMPLEX, INTEGRAL, dtype, float16
from torchlike._core.errors import NotSupported


class AbsentDtype(dtype):
    """A dtype without arrays: whatever would make one raises ``NotSupported``."""

    __slots__ = ("_instead",)

    def __init__(self, name: str, itemsize: int, category: int, instead: str):
        self.name, self.itemsize, self.category = name, itemsize, category
        self._instead = instead

    @property
    def numpy(self):
        """Raises ``NotSupported``."""
        raise NotSupported(f"tensors of dtype {self!r}", self._instead)

    @property
    def is_signed(self) -> bool:
        """Whether it holds negative numbers."""
        return self.name in ("complex32", "qint8", "qint32")

    def to_real(self) -> dtype:
        """float16 for complex32."""
        return float16 if self.category == COMPLEX else self

    def __reduce__(self):
        return _named, (self.name,)


def _named(name: str) -> dtype:
    return BY_NAME[name]


_FAKE = "use fake_quantize_per_tensor_affine, which rounds to the same numbers in a floating dtype"
BY_NAME = {
    "complex32": AbsentDtype("complex32", 4, COMPLEX, "use torch.complex64"),
    **{
        name: AbsentDtype(name, size, INTEGRAL, _FAKE)
        for name, size in {
            "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
        }.items()
    },
}  # fmt: skip
AbsentDtype.__module__ = "torchlike"
ALIASES = {"chalf": BY_NAME["complex32"]}


class qscheme:
    """How a quantized tensor is quantized; a name only, as there are no such tensors here."""

    def __init__(self, name: str = ""):
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self):
        return _scheme, (self._name,)


def _scheme(name: str) -> qscheme:
    return SCHEMES[name]


qscheme.__module__ = "torchlike"
SCHEMES = {
    name: qscheme(name)
    for name in (
        "per_tensor_affine", "per_channel_affine", "per_channel_affine_float_qparams",
        "per_tensor_symmetric", "per_channel_symmetric",
    )
}  # fmt: skip
