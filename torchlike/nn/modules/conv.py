"""Convolutions and transposed convolutions over one, two and three dimensions."""

from __future__ import annotations

import math

from torchlike._tensor.modes import no_grad
from torchlike.nn import functional as F
from torchlike.nn import init
from torchlike.nn.modules._fresh import parameter
from torchlike.nn.modules.lazy import LazyModuleMixin
from torchlike.nn.modules.linear import _uniform_bias
from torchlike.nn.modules.module import Module
from torchlike.nn.modules.utils import _ntuple
from torchlike.nn.parameter import UninitializedParameter

__all__ = [
    "Conv1d",
    "Conv2d",
    "Conv3d",
    "ConvTranspose1d",
    "ConvTranspose2d",
    "ConvTranspose3d",
    "LazyConv1d",
    "LazyConv2d",
    "LazyConv3d",
    "LazyConvTranspose1d",
    "LazyConvTranspose2d",
    "LazyConvTranspose3d",
]
_PADDING_MODES = ("zeros", "reflect", "replicate", "circular")


class _ConvNd(Module):
    """What all convolutions share: checks, parameters, their initialisation and the repr."""

    _dims = 0  # how many spatial dimensions

    def __init__(
        self, in_channels, out_channels, kernel_size, stride, padding, dilation, transposed,
        output_padding, groups, bias, padding_mode, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        if groups <= 0:
            raise ValueError("groups must be a positive integer")
        if in_channels % groups:
            raise ValueError("in_channels must be divisible by groups")
        if out_channels % groups:
            raise ValueError("out_channels must be divisible by groups")
        if isinstance(padding, str):
            if padding not in ("same", "valid"):
                raise ValueError(
                    f"Invalid padding string {padding!r}, should be one of {{'same', 'valid'}}"
                )
            if padding == "same" and any(s != 1 for s in stride):
                raise ValueError("padding='same' is not supported for strided convolutions")
        if padding_mode not in _PADDING_MODES:
            raise ValueError(
                f"padding_mode must be one of {set(_PADDING_MODES)}, but got "
                f"padding_mode='{padding_mode}'"
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding
        self.dilation = dilation
        self.transposed = transposed
        self.output_padding = output_padding
        self.groups = groups
        self.padding_mode = padding_mode
        self._reversed_padding_repeated_twice = self._pad_argument()
        self.weight = parameter(*self._weight_shape(), device=device, dtype=dtype)
        if bias:
            self.bias = parameter(out_channels, device=device, dtype=dtype)
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def _weight_shape(self):
        pair = self.out_channels, self.in_channels // self.groups
        if self.transposed:
            pair = self.in_channels, self.out_channels // self.groups
        return (*pair, *self.kernel_size)

    def _pad_argument(self):
        """The padding as ``F.pad`` takes it: last dimension first, each with both sides."""
        if self.padding == "valid":
            return [0, 0] * len(self.kernel_size)
        out = []
        if self.padding == "same":
            for d, k in zip(reversed(self.dilation), reversed(self.kernel_size), strict=True):
                total = d * (k - 1)
                out += [total // 2, total - total // 2]
            return out
        return tuple(n for n in reversed(self.padding) for _ in range(2))

    def reset_parameters(self) -> None:
        """Draw the weight, then the bias, from U(-1/sqrt(fan in), 1/sqrt(fan in))."""
        with no_grad():
            init.kaiming_uniform_(self.weight, a=math.sqrt(5))
            if self.bias is not None:
                _uniform_bias(self)

    def extra_repr(self) -> str:
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding != (0,) * len(self.padding):
            text += f", padding={self.padding}"
        if self.dilation != (1,) * len(self.dilation):
            text += f", dilation={self.dilation}"
        if self.output_padding != (0,) * len(self.output_padding):
            text += f", output_padding={self.output_padding}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        if self.bias is None:
            text += ", bias=False"
        if self.padding_mode != "zeros":
            text += f", padding_mode={self.padding_mode}"
        return text

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("padding_mode", "zeros")


class _Conv(_ConvNd):
    """A convolution: the constructor of all three."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0, dilation=1,
        groups: int = 1, bias: bool = True, padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        each = _ntuple(self._dims)
        super().__init__(
            in_channels, out_channels, each(kernel_size), each(stride),
            padding if isinstance(padding, str) else each(padding), each(dilation), False, each(0),
            groups, bias, padding_mode, device=device, dtype=dtype,
        )  # fmt: skip

    def forward(self, input):
        """(N, C_in, ...) or (C_in, ...) -> the same with C_out channels."""
        return self._conv_forward(input, *self._weight_and_bias())

    def _padded(self, input):
        """(input, padding left to the convolution)."""
        if self.padding_mode == "zeros":
            return input, self.padding
        mode, padding = self.padding_mode, self._reversed_padding_repeated_twice
        return F.pad(input, padding, mode=mode), (0,) * self._dims


class Conv1d(_Conv):
    """Convolution over one dimension (https://pytorch.org/docs/stable/generated/torch.nn.Conv1d.html).

    weight is (out_channels, in_channels // groups, kernel).
    """

    _dims = 1

    def _conv_forward(self, input, weight, bias):
        input, padding = self._padded(input)
        return F.conv1d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv2d(_Conv):
    """Convolution over two dimensions (https://pytorch.org/docs/stable/generated/torch.nn.Conv2d.html).

    weight is (out_channels, in_channels // groups, height, width).
    """

    _dims = 2

    def _conv_forward(self, input, weight, bias):
        input, padding = self._padded(input)
        return F.conv2d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


class Conv3d(_Conv):
    """Convolution over three dimensions (https://pytorch.org/docs/stable/generated/torch.nn.Conv3d.html).

    weight is (out_channels, in_channels // groups, depth, height, width).
    """

    _dims = 3

    def _conv_forward(self, input, weight, bias):
        input, padding = self._padded(input)
        return F.conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)


# ---- transposed --------------------------------------------------------------------------------


class _ConvTransposeNd(_ConvNd):
    """A transposed convolution: the constructor of all three, and the output size."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size, stride=1, padding=0,
        output_padding=0, groups: int = 1, bias: bool = True, dilation=1,
        padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        if padding_mode != "zeros":
            raise ValueError(f'Only "zeros" padding mode is supported for {type(self).__name__}')
        each = _ntuple(self._dims)
        super().__init__(
            in_channels, out_channels, each(kernel_size), each(stride), each(padding),
            each(dilation), True, each(output_padding), groups, bias, padding_mode, device=device,
            dtype=dtype,
        )  # fmt: skip

    def forward(self, input, output_size=None):
        """(N, C_in, ...) or (C_in, ...) -> the same with C_out channels, of ``output_size``."""
        if self.padding_mode != "zeros":
            raise ValueError(f"Only `zeros` padding mode is supported for {type(self).__name__}")
        return self._transposed(
            input, self.weight, self.bias, self.stride, self.padding,
            self._output_padding(input, output_size), self.groups, self.dilation,
        )  # fmt: skip

    def _output_padding(self, input, output_size):
        """What to add at the end of each dimension so that the result has the wanted size."""
        if output_size is None:
            return self.output_padding
        n = self._dims
        lead = 2 if input.dim() == n + 2 else 1
        wanted = list(output_size)
        if len(wanted) == lead + n:
            wanted = wanted[lead:]
        if len(wanted) != n:
            raise ValueError(
                f"ConvTranspose{n}D: for {input.dim()}D input, output_size must have {n} or "
                f"{lead + n} elements (got {len(wanted)})"
            )
        sizes = tuple(input.shape)[lead:]
        low = [
            (size - 1) * s - 2 * p + d * (k - 1) + 1
            for size, s, p, d, k in zip(
                sizes, self.stride, self.padding, self.dilation, self.kernel_size, strict=True
            )
        ]
        high = [m + s - 1 for m, s in zip(low, self.stride, strict=True)]
        if any(not a <= w <= b for a, w, b in zip(low, wanted, high, strict=True)):
            raise ValueError(
                f"requested an output size of {output_size}, but valid sizes range from {low} to "
                f"{high} (for an input of {input.shape[2:]})"
            )
        return tuple(w - a for w, a in zip(wanted, low, strict=True))


class ConvTranspose1d(_ConvTransposeNd):
    """Transposed convolution over one dimension
    (https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose1d.html)."""

    _dims = 1
    _transposed = staticmethod(F.conv_transpose1d)


class ConvTranspose2d(_ConvTransposeNd):
    """Transposed convolution over two dimensions
    (https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose2d.html)."""

    _dims = 2
    _transposed = staticmethod(F.conv_transpose2d)


class ConvTranspose3d(_ConvTransposeNd):
    """Transposed convolution over three dimensions
    (https://pytorch.org/docs/stable/generated/torch.nn.ConvTranspose3d.html)."""

    _dims = 3
    _transposed = staticmethod(F.conv_transpose3d)


# ---- lazy --------------------------------------------------------------------------------------


class _LazyConvNd(LazyModuleMixin):
    """A convolution that learns ``in_channels`` from its first input."""

    def _make_lazy(self, out_channels, bias, device, dtype):
        self.weight = UninitializedParameter(device=device, dtype=dtype)
        self.out_channels = out_channels
        if bias:
            self.bias = UninitializedParameter(device=device, dtype=dtype)

    def reset_parameters(self) -> None:
        """Nothing until the sizes are known."""
        if not self.has_uninitialized_params() and self.in_channels != 0:
            super().reset_parameters()

    def initialize_parameters(self, input, *args, **kwargs) -> None:
        """Make the parameters for this input."""
        if not self.has_uninitialized_params():
            return
        n = self._dims
        if input.dim() not in (n + 1, n + 2):
            raise RuntimeError(
                f"Expected {n + 1}D (unbatched) or {n + 2}D (batched) input to "
                f"{type(self).__name__}, but got input of size: {input.shape}"
            )
        self.in_channels = input.shape[input.dim() - n - 1]
        if self.in_channels % self.groups:
            raise ValueError("in_channels must be divisible by groups")
        self.weight.materialize(self._weight_shape())
        if self.bias is not None:
            self.bias.materialize((self.out_channels,))
        self.reset_parameters()


class _LazyConv(_LazyConvNd):
    def __init__(
        self, out_channels: int, kernel_size, stride=1, padding=0, dilation=1, groups: int = 1,
        bias: bool = True, padding_mode: str = "zeros", device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, dilation, groups, False, padding_mode, device,
            dtype,
        )  # fmt: skip
        self._make_lazy(out_channels, bias, device, dtype)


class _LazyConvTranspose(_LazyConvNd):
    def __init__(
        self, out_channels: int, kernel_size, stride=1, padding=0, output_padding=0,
        groups: int = 1, bias: bool = True, dilation=1, padding_mode: str = "zeros", device=None,
        dtype=None,
    ):  # fmt: skip
        super().__init__(
            0, 0, kernel_size, stride, padding, output_padding, groups, False, dilation,
            padding_mode, device, dtype,
        )  # fmt: skip
        self._make_lazy(out_channels, bias, device, dtype)


class LazyConv1d(_LazyConv, Conv1d):
    """A ``Conv1d`` that learns ``in_channels`` from its first input."""

    cls_to_become = Conv1d


class LazyConv2d(_LazyConv, Conv2d):
    """A ``Conv2d`` that learns ``in_channels`` from its first input."""

    cls_to_become = Conv2d


class LazyConv3d(_LazyConv, Conv3d):
    """A ``Conv3d`` that learns ``in_channels`` from its first input."""

    cls_to_become = Conv3d


class LazyConvTranspose1d(_LazyConvTranspose, ConvTranspose1d):
    """A ``ConvTranspose1d`` that learns ``in_channels`` from its first input."""

    cls_to_become = ConvTranspose1d


class LazyConvTranspose2d(_LazyConvTranspose, ConvTranspose2d):
    """A ``ConvTranspose2d`` that learns ``in_channels`` from its first input."""

    cls_to_become = ConvTranspose2d


class LazyConvTranspose3d(_LazyConvTranspose, ConvTranspose3d):
    """A ``ConvTranspose3d`` that learns ``in_channels`` from its first input."""

    cls_to_become = ConvTranspose3d
