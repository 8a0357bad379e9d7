"""torch.nn.grad: gradients of convolutions by their input and by their kernel
(https://pytorch.org/docs/stable/nn.html)."""

from __future__ import annotations

from torchlike import autograd
from torchlike._ops.table import TABLE
from torchlike._tensor.creation import zeros
from torchlike._tensor.dispatch import apply
from torchlike._tensor.modes import enable_grad, modes


def _gradient(rank, by, input, weight, grad_output, *geometry):
    """The gradient by one of the two; it can itself be differentiated by the others."""
    given = weight if by is input else input
    again = modes.grad and (given.requires_grad or grad_output.requires_grad)
    with enable_grad():
        out = apply(TABLE["convolution"], (input, weight, None), (*geometry, rank))
        return autograd.grad(out, by, grad_output, create_graph=again)[0]


def _blank(size, like):
    return zeros(tuple(size), dtype=like.dtype, device=like.device, requires_grad=True)


def _by_input(rank, input_size, weight, grad_output, *geometry):
    input = _blank(input_size, weight)
    return _gradient(rank, input, input, weight, grad_output, *geometry)


def _by_weight(rank, input, weight_size, grad_output, *geometry):
    weight = _blank(weight_size, input)
    return _gradient(rank, weight, input, weight, grad_output, *geometry)


def conv1d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv1d`` by its input, of shape ``input_size``."""
    return _by_input(1, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv1d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv1d`` by its kernel, of shape ``weight_size``."""
    return _by_weight(1, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv2d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv2d`` by its input, of shape ``input_size``."""
    return _by_input(2, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv2d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv2d`` by its kernel, of shape ``weight_size``."""
    return _by_weight(2, input, weight_size, grad_output, stride, padding, dilation, groups)


def conv3d_input(input_size, weight, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv3d`` by its input, of shape ``input_size``."""
    return _by_input(3, input_size, weight, grad_output, stride, padding, dilation, groups)


def conv3d_weight(input, weight_size, grad_output, stride=1, padding=0, dilation=1, groups=1):
    """The gradient of ``conv3d`` by its kernel, of shape ``weight_size``."""
    return _by_weight(3, input, weight_size, grad_output, stride, padding, dilation, groups)
