"""The formulas: how many floating-point operations one of PyTorch's kernels takes.

A formula gets the kernel's arguments, shapes where PyTorch would get tensors, and ``out_shape``.
A multiplication and an addition count as two.
"""

from __future__ import annotations

from math import prod

from torchlike.utils._kernels import Kernel


def _mm(a, b, *args, out_shape=None, **kwargs) -> int:
    (m, k), (_, n) = a, b
    return 2 * m * k * n


def _addmm(added, a, b, *args, out_shape=None, **kwargs) -> int:
    return _mm(a, b)


def _bmm(a, b, *args, out_shape=None, **kwargs) -> int:
    (batch, m, k), n = a, b[2]
    return 2 * batch * m * k * n


def _baddbmm(added, a, b, *args, out_shape=None, **kwargs) -> int:
    return _bmm(a, b)


def _slid(x, weight, out, transposed: bool) -> int:
    """Each element of the smaller of x and out meets each weight of its place once."""
    return 2 * x[0] * prod((x if transposed else out)[2:]) * prod(weight)


def _convolution(
    x, weight, bias, stride, padding, dilation, transposed, *args, out_shape=None, **kwargs
) -> int:
    return _slid(x, weight, out_shape, transposed)


def _convolution_backward(
    grad, x, weight, bias, stride, padding, dilation, transposed, output_padding, groups,
    output_mask, out_shape=None,
) -> int:  # fmt: skip
    total = 0
    if output_mask[0]:
        total += _slid(grad, weight, x, not transposed)
    if output_mask[1]:  # as PyTorch counts it: all channels meet, whatever the groups
        places = (x if transposed else grad)[2:]
        total += 2 * x[0] * x[1] * grad[1] * prod(places) * prod(weight[2:])
    return total


def _attention(q, k, v, *args, out_shape=None, **kwargs) -> int:
    (*heads, rows, depth), columns = q, k[-2]
    return 2 * prod(heads) * rows * columns * (depth + v[-1])


def _attention_backward(grad, q, k, v, *args, out_shape=None, **kwargs) -> int:
    """The scores once more, and two products for each of the two on the way forward."""
    (*heads, rows, depth), columns = q, k[-2]
    return 2 * prod(heads) * rows * columns * (3 * depth + 2 * v[-1])


FORMULAS = {
    "aten.mm": _mm,
    "aten.addmm": _addmm,
    "aten.bmm": _bmm,
    "aten.baddbmm": _baddbmm,
    "aten.convolution": _convolution,
    "aten.convolution_backward": _convolution_backward,
    "aten._scaled_dot_product_flash_attention": _attention,
    "aten._scaled_dot_product_flash_attention_backward": _attention_backward,
}


def flops_of(kernel: Kernel, formulas=FORMULAS) -> int:
    """The operations of one kernel."""
    return formulas[kernel.name](*kernel.args, out_shape=kernel.shape, **kernel.kwargs)
