"""Normalisation over features rather than over the batch."""

from __future__ import annotations

import numbers

import numpy as np

from torchlike._tensor.creation import from_host
from torchlike.nn import functional as F
from torchlike.nn import init
from torchlike.nn.modules._fresh import parameter
from torchlike.nn.modules.module import Module

__all__ = ["CrossMapLRN2d", "GroupNorm", "LayerNorm", "LocalResponseNorm", "RMSNorm"]


class LocalResponseNorm(Module):
    """Divides by what happens in neighbouring channels
    (https://pytorch.org/docs/stable/generated/torch.nn.LocalResponseNorm.html)."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0):
        super().__init__()
        self.size = size
        self.alpha = alpha
        self.beta = beta
        self.k = k

    def forward(self, input):
        """(N, C, ...) -> the same."""
        return F.local_response_norm(input, self.size, self.alpha, self.beta, self.k)

    def extra_repr(self) -> str:
        return f"{self.size}, alpha={self.alpha}, beta={self.beta}, k={self.k}"


class CrossMapLRN2d(LocalResponseNorm):
    """``LocalResponseNorm`` of (N, C, H, W) as old torch had it: the first channel stays in the
    windows of all later ones."""

    def __init__(self, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1):
        super().__init__(size, alpha, beta, k)

    def forward(self, input):
        """(N, C, H, W) -> the same."""
        if input.dim() != 4:
            raise ValueError(f"CrossMapLRN2d: Expected input to be 4D, got {input.dim()}D instead.")
        channels, reach = input.size(1), int((self.size - 1) / 2)
        distance = np.subtract.outer(np.arange(channels), np.arange(channels))
        window = abs(distance) <= reach
        window[:, 0] |= distance[:, 0] > 0
        # PyTorch's gradient goes another way: through windows of full size, aside by a channel and
        # without that first one.
        first = -int(self.size - (self.size - 1) / 2)
        through = (distance >= first) & (distance < first + self.size)
        numbers = input.dtype.numpy
        aside = from_host(window.astype(numbers) - through.astype(numbers), input.device)
        through = from_host(through.astype(numbers), input.device)
        own = (input * input).flatten(2)
        squares = (through @ own + aside @ own.detach()).view_as(input)
        return input * (squares * (self.alpha / self.size) + self.k) ** -self.beta


def _affine(module, shape, weight, bias, device, dtype):
    """Register weight and bias, or None in their places."""
    for name, wanted in (("weight", weight), ("bias", bias)):
        param = parameter(*shape, device=device, dtype=dtype) if wanted else None
        module.register_parameter(name, param)


class _ShapedNorm(Module):
    """A norm over the last dimensions."""

    def __init__(self, normalized_shape, eps, elementwise_affine):
        super().__init__()
        if isinstance(normalized_shape, numbers.Integral):
            normalized_shape = (normalized_shape,)
        self.normalized_shape = tuple(normalized_shape)
        self.eps = eps
        self.elementwise_affine = elementwise_affine

    def extra_repr(self) -> str:
        return (
            f"{self.normalized_shape}, eps={self.eps}, elementwise_affine={self.elementwise_affine}"
        )


class LayerNorm(_ShapedNorm):
    """Zero mean and unit variance over the last dimensions
    (https://pytorch.org/docs/stable/generated/torch.nn.LayerNorm.html)."""

    def __init__(
        self, normalized_shape, eps: float = 1e-5, elementwise_affine: bool = True,
        bias: bool = True, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine)
        affine = elementwise_affine
        _affine(self, self.normalized_shape, affine, affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.elementwise_affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input):
        """(*, normalized_shape) -> the same."""
        weight, bias = self._weight_and_bias()
        return F.layer_norm(input, self.normalized_shape, weight, bias, self.eps)

    def extra_repr(self) -> str:
        return f"{super().extra_repr()}, bias={self.bias is not None}"


class RMSNorm(_ShapedNorm):
    """Divides by the root mean square over the last dimensions
    (https://pytorch.org/docs/stable/generated/torch.nn.RMSNorm.html)."""

    def __init__(
        self, normalized_shape, eps: float | None = None, elementwise_affine: bool = True,
        device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(normalized_shape, eps, elementwise_affine)
        param = None
        if elementwise_affine:
            param = parameter(*self.normalized_shape, device=device, dtype=dtype)
        self.register_parameter("weight", param)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1."""
        if self.elementwise_affine:
            init.ones_(self.weight)

    def forward(self, x):
        """(*, normalized_shape) -> the same."""
        return F.rms_norm(x, self.normalized_shape, self.weight, self.eps)


class GroupNorm(Module):
    """Zero mean and unit variance within groups of channels
    (https://pytorch.org/docs/stable/generated/torch.nn.GroupNorm.html)."""

    def __init__(
        self, num_groups: int, num_channels: int, eps: float = 1e-5, affine: bool = True,
        device=None, dtype=None, *, bias: bool = True,
    ):  # fmt: skip
        super().__init__()
        if num_channels % num_groups:
            raise ValueError(
                f"num_channels ({num_channels}) must be divisible by num_groups ({num_groups})"
            )
        self.num_groups = num_groups
        self.num_channels = num_channels
        self.eps = eps
        self.affine = affine
        _affine(self, (num_channels,), affine, affine and bias, device, dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Weight 1, bias 0."""
        if self.affine:
            init.ones_(self.weight)
            if self.bias is not None:
                init.zeros_(self.bias)

    def forward(self, input):
        """(N, C, ...) -> the same."""
        return F.group_norm(input, self.num_groups, *self._weight_and_bias(), self.eps)

    def extra_repr(self) -> str:
        return (
            f"{self.num_groups}, {self.num_channels}, eps={self.eps}, affine={self.affine}, "
            f"bias={self.bias is not None}"
        )
