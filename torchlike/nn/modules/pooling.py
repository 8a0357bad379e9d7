"""Pooling layers."""

from __future__ import annotations

from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module
from torchlike.nn.modules.utils import _ntuple

__all__ = [
    "AdaptiveAvgPool1d", "AdaptiveAvgPool2d", "AdaptiveAvgPool3d", "AdaptiveMaxPool1d",
    "AdaptiveMaxPool2d", "AdaptiveMaxPool3d", "AvgPool1d", "AvgPool2d", "AvgPool3d",
    "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool1d", "LPPool2d", "LPPool3d", "MaxPool1d",
    "MaxPool2d", "MaxPool3d", "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d",
]  # fmt: skip


# ---- maxima ------------------------------------------------------------------------------------


class _MaxPoolNd(Module):
    """The constructor of all max pools."""

    def __init__(
        self, kernel_size, stride=None, padding=0, dilation=1, return_indices: bool = False,
        ceil_mode: bool = False,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.dilation = dilation
        self.return_indices = return_indices
        self.ceil_mode = ceil_mode

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.dilation,
            ceil_mode=self.ceil_mode, return_indices=self.return_indices,
        )  # fmt: skip

    def extra_repr(self) -> str:
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class MaxPool1d(_MaxPoolNd):
    """The maximum of each window of (N, C, L)
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool1d.html)."""

    def forward(self, input):
        """(N, C, L) -> (N, C, L_out)."""
        return self._pool(F.max_pool1d, input)


class MaxPool2d(_MaxPoolNd):
    """The maximum of each window of (N, C, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        return self._pool(F.max_pool2d, input)


class MaxPool3d(_MaxPoolNd):
    """The maximum of each window of (N, C, D, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxPool3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, D_out, H_out, W_out)."""
        return self._pool(F.max_pool3d, input)


class _MaxUnpoolNd(Module):
    """The constructor of all max unpools."""

    _dims = 0

    def __init__(self, kernel_size, stride=None, padding=0):
        super().__init__()
        each = _ntuple(self._dims)
        self.kernel_size = each(kernel_size)
        self.stride = each(stride if stride is not None else kernel_size)
        self.padding = each(padding)

    def _unpool(self, unpool, input, indices, output_size):
        return unpool(input, indices, self.kernel_size, self.stride, self.padding, output_size)

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class MaxUnpool1d(_MaxUnpoolNd):
    """Puts maxima back where ``MaxPool1d`` found them
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxUnpool1d.html)."""

    _dims = 1

    def forward(self, input, indices, output_size=None):
        """(N, C, L), indices -> (N, C, L_out)."""
        return self._unpool(F.max_unpool1d, input, indices, output_size)


class MaxUnpool2d(_MaxUnpoolNd):
    """Puts maxima back where ``MaxPool2d`` found them
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxUnpool2d.html)."""

    _dims = 2

    def forward(self, input, indices, output_size=None):
        """(N, C, H, W), indices -> (N, C, H_out, W_out)."""
        return self._unpool(F.max_unpool2d, input, indices, output_size)


class MaxUnpool3d(_MaxUnpoolNd):
    """Puts maxima back where ``MaxPool3d`` found them
    (https://pytorch.org/docs/stable/generated/torch.nn.MaxUnpool3d.html)."""

    _dims = 3

    def forward(self, input, indices, output_size=None):
        """(N, C, D, H, W), indices -> (N, C, D_out, H_out, W_out)."""
        return self._unpool(F.max_unpool3d, input, indices, output_size)


class _FractionalMaxPoolNd(Module):
    """The constructor of both fractional max pools."""

    _dims = 0

    def __init__(
        self, kernel_size, output_size=None, output_ratio=None, return_indices: bool = False,
        _random_samples=None,
    ):  # fmt: skip
        super().__init__()
        each, name = _ntuple(self._dims), type(self).__name__
        self.kernel_size = each(kernel_size)
        if self._dims == 3 and any(k <= 0 for k in self.kernel_size):
            raise ValueError(f"kernel_size must be greater than 0, but got {kernel_size}")
        self.return_indices = return_indices
        self.register_buffer("_random_samples", _random_samples)
        self.output_size = each(output_size) if output_size is not None else None
        self.output_ratio = each(output_ratio) if output_ratio is not None else None
        if output_size is None and output_ratio is None:
            raise ValueError(
                f"{name} requires specifying either an output size, or a pooling ratio"
            )
        if output_size is not None and output_ratio is not None:
            raise ValueError("only one of output_size and output_ratio may be specified")
        if self.output_ratio is not None and not all(0 < r < 1 for r in self.output_ratio):
            raise ValueError(f"output_ratio must be between 0 and 1 (got {output_ratio})")

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.output_size, self.output_ratio, self.return_indices,
            _random_samples=self._random_samples,
        )  # fmt: skip


class FractionalMaxPool2d(_FractionalMaxPoolNd):
    """Max pooling with windows of random steps
    (https://pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool2d.html)."""

    _dims = 2

    def forward(self, input):
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        return self._pool(F.fractional_max_pool2d, input)


class FractionalMaxPool3d(_FractionalMaxPoolNd):
    """Max pooling with windows of random steps
    (https://pytorch.org/docs/stable/generated/torch.nn.FractionalMaxPool3d.html)."""

    _dims = 3

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, D_out, H_out, W_out)."""
        return self._pool(F.fractional_max_pool3d, input)


# ---- means -------------------------------------------------------------------------------------


class _AvgPoolNd(Module):
    """The repr of all average pools."""

    def extra_repr(self) -> str:
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AvgPool1d(_AvgPoolNd):
    """The mean of each window of (N, C, L)
    (https://pytorch.org/docs/stable/generated/torch.nn.AvgPool1d.html)."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
        count_include_pad: bool = True,
    ):  # fmt: skip
        super().__init__()
        single = _ntuple(1)
        self.kernel_size = single(kernel_size)
        self.stride = single(stride if stride is not None else kernel_size)
        self.padding = single(padding)
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad

    def forward(self, input):
        """(N, C, L) -> (N, C, L_out)."""
        return F.avg_pool1d(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad,
        )  # fmt: skip


class _AvgPoolOfImages(_AvgPoolNd):
    """The constructor of the average pools that know ``divisor_override``."""

    def __init__(
        self, kernel_size, stride=None, padding=0, ceil_mode: bool = False,
        count_include_pad: bool = True, divisor_override: int | None = None,
    ):  # fmt: skip
        super().__init__()
        self.kernel_size = kernel_size
        self.stride = stride if stride is not None else kernel_size
        self.padding = padding
        self.ceil_mode = ceil_mode
        self.count_include_pad = count_include_pad
        self.divisor_override = divisor_override

    def _pool(self, pool, input):
        return pool(
            input, self.kernel_size, self.stride, self.padding, self.ceil_mode,
            self.count_include_pad, self.divisor_override,
        )  # fmt: skip


class AvgPool2d(_AvgPoolOfImages):
    """The mean of each window of (N, C, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.AvgPool2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        return self._pool(F.avg_pool2d, input)


class AvgPool3d(_AvgPoolOfImages):
    """The mean of each window of (N, C, D, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.AvgPool3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, D_out, H_out, W_out)."""
        return self._pool(F.avg_pool3d, input)


# ---- powers ------------------------------------------------------------------------------------


class _LPPoolNd(Module):
    """The constructor of all power-average pools."""

    def __init__(self, norm_type: float, kernel_size, stride=None, ceil_mode: bool = False):
        super().__init__()
        self.norm_type = norm_type
        self.kernel_size = kernel_size
        self.stride = stride
        self.ceil_mode = ceil_mode

    def _pool(self, pool, input):
        return pool(input, float(self.norm_type), self.kernel_size, self.stride, self.ceil_mode)

    def extra_repr(self) -> str:
        return (
            f"norm_type={self.norm_type}, kernel_size={self.kernel_size}, stride={self.stride}, "
            f"ceil_mode={self.ceil_mode}"
        )


class LPPool1d(_LPPoolNd):
    """The p-norm of each window of (N, C, L)
    (https://pytorch.org/docs/stable/generated/torch.nn.LPPool1d.html)."""

    def forward(self, input):
        """(N, C, L) -> (N, C, L_out)."""
        return self._pool(F.lp_pool1d, input)


class LPPool2d(_LPPoolNd):
    """The p-norm of each window of (N, C, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.LPPool2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> (N, C, H_out, W_out)."""
        return self._pool(F.lp_pool2d, input)


class LPPool3d(_LPPoolNd):
    """The p-norm of each window of (N, C, D, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.LPPool3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, D_out, H_out, W_out)."""
        return self._pool(F.lp_pool3d, input)


# ---- to a given size ---------------------------------------------------------------------------


class _AdaptiveMaxPoolNd(Module):
    """The constructor of all adaptive max pools."""

    def __init__(self, output_size, return_indices: bool = False):
        super().__init__()
        self.output_size = output_size
        self.return_indices = return_indices

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveMaxPool1d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, L) to a given length
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool1d.html)."""

    def forward(self, input):
        """(N, C, L) -> (N, C, output_size)."""
        return F.adaptive_max_pool1d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool2d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, H, W) to a given size
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> (N, C, *output_size)."""
        return F.adaptive_max_pool2d(input, self.output_size, self.return_indices)


class AdaptiveMaxPool3d(_AdaptiveMaxPoolNd):
    """Max pooling of (N, C, D, H, W) to a given size
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveMaxPool3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, *output_size)."""
        return F.adaptive_max_pool3d(input, self.output_size, self.return_indices)


class _AdaptiveAvgPoolNd(Module):
    """The constructor of all adaptive average pools."""

    def __init__(self, output_size):
        super().__init__()
        self.output_size = output_size

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}"


class AdaptiveAvgPool1d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, L) to a given length
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool1d.html)."""

    def forward(self, input):
        """(N, C, L) -> (N, C, output_size)."""
        return F.adaptive_avg_pool1d(input, self.output_size)


class AdaptiveAvgPool2d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, H, W) to a given size
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> (N, C, *output_size)."""
        return F.adaptive_avg_pool2d(input, self.output_size)


class AdaptiveAvgPool3d(_AdaptiveAvgPoolNd):
    """Average pooling of (N, C, D, H, W) to a given size
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveAvgPool3d.html)."""

    def forward(self, input):
        """(N, C, D, H, W) -> (N, C, *output_size)."""
        return F.adaptive_avg_pool3d(input, self.output_size)
