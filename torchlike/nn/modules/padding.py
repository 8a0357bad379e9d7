"""Padding layers: constants, reflections, repetitions and wraps around the edges."""

from __future__ import annotations

from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module
from torchlike.nn.modules.utils import _ntuple

__all__ = [
    "CircularPad1d", "CircularPad2d", "CircularPad3d", "ConstantPad1d", "ConstantPad2d",
    "ConstantPad3d", "ReflectionPad1d", "ReflectionPad2d", "ReflectionPad3d", "ReplicationPad1d",
    "ReplicationPad2d", "ReplicationPad3d", "ZeroPad1d", "ZeroPad2d", "ZeroPad3d",
]  # fmt: skip


class _Pad(Module):
    """Padding of the last ``_dims`` dimensions; ``padding`` is one number or one for each side."""

    _dims = 0
    _mode = "constant"

    def __init__(self, padding):
        super().__init__()
        self.padding = _ntuple(2 * self._dims)(padding)

    def forward(self, input):
        """(*, sizes) -> (*, sizes with their padding)."""
        return F.pad(input, self.padding, self._mode)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class _ConstantPad(_Pad):
    """Padding by a number."""

    def __init__(self, padding, value: float):
        super().__init__(padding)
        self.value = value

    def forward(self, input):
        """(*, sizes) -> (*, sizes with their padding)."""
        return F.pad(input, self.padding, "constant", self.value)

    def extra_repr(self) -> str:
        return f"padding={self.padding}, value={self.value}"


class _CircularPad(_Pad):
    """Padding by what stands at the other end."""

    _mode = "circular"

    def forward(self, input):
        """(*, sizes) -> (*, sizes with their padding)."""
        n = self._dims
        if input.dim() not in (n + 1, n + 2):
            raise ValueError(f"expected {n + 1}D or {n + 2}D input (got {input.dim()}D input)")
        return super().forward(input)


class CircularPad1d(_CircularPad):
    """Pads the last dimension by what stands at the other end
    (https://pytorch.org/docs/stable/generated/torch.nn.CircularPad1d.html)."""

    _dims = 1


class CircularPad2d(_CircularPad):
    """Pads the last two dimensions by what stands at the other end
    (https://pytorch.org/docs/stable/generated/torch.nn.CircularPad2d.html)."""

    _dims = 2


class CircularPad3d(_CircularPad):
    """Pads the last three dimensions by what stands at the other end
    (https://pytorch.org/docs/stable/generated/torch.nn.CircularPad3d.html)."""

    _dims = 3


class ConstantPad1d(_ConstantPad):
    """Pads the last dimension by a number
    (https://pytorch.org/docs/stable/generated/torch.nn.ConstantPad1d.html)."""

    _dims = 1


class ConstantPad2d(_ConstantPad):
    """Pads the last two dimensions by a number
    (https://pytorch.org/docs/stable/generated/torch.nn.ConstantPad2d.html)."""

    _dims = 2


class ConstantPad3d(_ConstantPad):
    """Pads the last three dimensions by a number
    (https://pytorch.org/docs/stable/generated/torch.nn.ConstantPad3d.html)."""

    _dims = 3


class ReflectionPad1d(_Pad):
    """Pads the last dimension by its mirror image
    (https://pytorch.org/docs/stable/generated/torch.nn.ReflectionPad1d.html)."""

    _dims = 1
    _mode = "reflect"


class ReflectionPad2d(_Pad):
    """Pads the last two dimensions by their mirror image
    (https://pytorch.org/docs/stable/generated/torch.nn.ReflectionPad2d.html)."""

    _dims = 2
    _mode = "reflect"


class ReflectionPad3d(_Pad):
    """Pads the last three dimensions by their mirror image
    (https://pytorch.org/docs/stable/generated/torch.nn.ReflectionPad3d.html)."""

    _dims = 3
    _mode = "reflect"


class ReplicationPad1d(_Pad):
    """Pads the last dimension by its edges
    (https://pytorch.org/docs/stable/generated/torch.nn.ReplicationPad1d.html)."""

    _dims = 1
    _mode = "replicate"


class ReplicationPad2d(_Pad):
    """Pads the last two dimensions by their edges
    (https://pytorch.org/docs/stable/generated/torch.nn.ReplicationPad2d.html)."""

    _dims = 2
    _mode = "replicate"


class ReplicationPad3d(_Pad):
    """Pads the last three dimensions by their edges
    (https://pytorch.org/docs/stable/generated/torch.nn.ReplicationPad3d.html)."""

    _dims = 3
    _mode = "replicate"


class ZeroPad1d(ConstantPad1d):
    """Pads the last dimension by zeros
    (https://pytorch.org/docs/stable/generated/torch.nn.ZeroPad1d.html)."""

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad2d(ConstantPad2d):
    """Pads the last two dimensions by zeros
    (https://pytorch.org/docs/stable/generated/torch.nn.ZeroPad2d.html)."""

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"


class ZeroPad3d(ConstantPad3d):
    """Pads the last three dimensions by zeros
    (https://pytorch.org/docs/stable/generated/torch.nn.ZeroPad3d.html)."""

    def __init__(self, padding):
        super().__init__(padding, 0.0)

    def extra_repr(self) -> str:
        return f"{self.padding}"
