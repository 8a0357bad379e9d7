"""Linear maps, convolutions and folds of ``torch.nn.functional``."""

from __future__ import annotations

from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, copy_out

_LINEAR, _BILINEAR = TABLE["linear"], TABLE["bilinear"]
_CONV, _TRANSPOSED = TABLE["convolution"], TABLE["conv_transpose"]


def linear(input, weight, bias=None, *, out=None):
    """input @ weight.T + bias (https://pytorch.org/docs/stable/generated/torch.nn.functional.linear.html)."""
    result = apply(_LINEAR, (input, weight, bias))
    return result if out is None else copy_out(out, result, True)


def bilinear(input1, input2, weight, bias=None):
    """y_k = input1 W_k input2 + b_k."""
    return apply(_BILINEAR, (input1, input2, weight, bias))


def conv1d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """Cross-correlation of (N, C, L) with (out, C / groups, kernel)."""
    return apply(_CONV, (input, weight, bias), (stride, padding, dilation, groups, 1))


def conv2d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """Cross-correlation of (N, C, H, W) with (out, C / groups, kH, kW)."""
    return apply(_CONV, (input, weight, bias), (stride, padding, dilation, groups, 2))


def conv3d(input, weight, bias=None, stride=1, padding=0, dilation=1, groups: int = 1):
    """Cross-correlation of (N, C, D, H, W) with (out, C / groups, kD, kH, kW)."""
    return apply(_CONV, (input, weight, bias), (stride, padding, dilation, groups, 3))


def _transposed(rank):
    def conv_transpose(
        input, weight, bias=None, stride=1, padding=0, output_padding=0, groups: int = 1, dilation=1
    ):
        statics = (stride, padding, output_padding, groups, dilation, rank)
        return apply(_TRANSPOSED, (input, weight, bias), statics)

    conv_transpose.__name__ = conv_transpose.__qualname__ = f"conv_transpose{rank}d"
    conv_transpose.__doc__ = f"The transpose of ``conv{rank}d``; weight is (in, out / groups, ...)."
    return conv_transpose


conv_transpose1d, conv_transpose2d, conv_transpose3d = map(_transposed, (1, 2, 3))


def unfold(input, kernel_size, dilation=1, padding=0, stride=1):
    """Sliding blocks as columns: (N, C, H, W) -> (N, C * block, blocks)."""
    return apply(TABLE["im2col"], (input,), (kernel_size, dilation, padding, stride))


def fold(input, output_size, kernel_size, dilation=1, padding=0, stride=1):
    """Columns summed back to where their blocks lie."""
    statics = (output_size, kernel_size, dilation, padding, stride)
    return apply(TABLE["col2im"], (input,), statics)
