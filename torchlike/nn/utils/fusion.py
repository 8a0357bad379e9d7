"""Batch normalisation folded into the convolution or linear layer before it, for evaluation."""

from __future__ import annotations

import copy

from torchlike._tensor.forms import FUNCTIONS
from torchlike.nn.parameter import Parameter

__all__ = [
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
]


def _fused(w, b, mean, var, eps, scale, shift, lead: int):
    """Weight and bias times the normalisation's factor, along dimension ``lead`` of the weight."""
    b_dtype = w.dtype if b is None else b.dtype
    b = FUNCTIONS["zeros_like"](mean) if b is None else b
    factor = (var + eps).rsqrt()
    factor = factor if scale is None else scale * factor
    shape = [1] * w.dim()
    shape[lead] = -1
    fused_w = (w * factor.reshape(shape)).to(dtype=w.dtype)
    fused_b = (b - mean) * factor
    fused_b = (fused_b if shift is None else fused_b + shift).to(dtype=b_dtype)
    return Parameter(fused_w, w.requires_grad), Parameter(fused_b, b.requires_grad)


def _fuse(layer, bn, fused_of):
    """A copy of the layer with fused parameters."""
    if layer.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    layer = copy.deepcopy(layer)
    if bn.running_mean is None or bn.running_var is None:
        raise AssertionError("bn.running_mean and bn.running_var must not be None")
    layer.weight, layer.bias = fused_of(
        layer.weight, layer.bias, bn.running_mean, bn.running_var, bn.eps, bn.weight, bn.bias
    )
    return layer


def fuse_conv_bn_eval(conv, bn, transpose: bool = False):
    """A convolution that does what ``conv`` and then ``bn`` do, both in evaluation mode
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_eval.html)."""

    def fused_of(*tensors):
        return fuse_conv_bn_weights(*tensors, transpose)

    return _fuse(conv, bn, fused_of)


def fuse_conv_bn_weights(
    conv_w, conv_b, bn_rm, bn_rv, bn_eps: float, bn_w, bn_b, transpose: bool = False
):
    """(weight, bias) of a convolution with a batch normalisation's statistics folded in
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.fuse_conv_bn_weights.html)."""
    lead = 1 if transpose else 0
    return _fused(conv_w, conv_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, lead)


def fuse_linear_bn_eval(linear, bn):
    """A linear layer that does what ``linear`` and then ``bn`` do, both in evaluation mode
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_eval.html)."""
    if linear.training or bn.training:
        raise AssertionError("Fusion only for eval!")
    if bn.num_features not in (1, linear.out_features):
        raise AssertionError(
            "To fuse, linear.out_features == bn.num_features or bn.num_features == 1, got "
            f"linear.out_features={linear.out_features} and bn.num_features={bn.num_features}"
        )
    return _fuse(linear, bn, fuse_linear_bn_weights)


def fuse_linear_bn_weights(linear_w, linear_b, bn_rm, bn_rv, bn_eps: float, bn_w, bn_b):
    """(weight, bias) of a linear layer with a batch normalisation's statistics folded in
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.fuse_linear_bn_weights.html)."""
    return _fused(linear_w, linear_b, bn_rm, bn_rv, bn_eps, bn_w, bn_b, 0)
