"""torch.nn.utils: parametrizations, pruning, clipping, fusion, and parameters as vectors."""

from torchlike._core.later import later as _later
from torchlike.nn.utils import rnn as rnn
from torchlike.nn.utils.clip_grad import (
    clip_grad_norm,
    clip_grad_norm_,
    clip_grad_value_,
    clip_grads_with_norm_,
    get_total_norm,
)
from torchlike.nn.utils.convert_parameters import parameters_to_vector, vector_to_parameters
from torchlike.nn.utils.spectral_norm import remove_spectral_norm, spectral_norm
from torchlike.nn.utils.weight_norm import remove_weight_norm, weight_norm

__all__ = [
    "clip_grad_norm",
    "clip_grad_norm_",
    "clip_grad_value_",
    "clip_grads_with_norm_",
    "convert_conv2d_weight_memory_format",
    "convert_conv3d_weight_memory_format",
    "fuse_conv_bn_eval",
    "fuse_conv_bn_weights",
    "fuse_linear_bn_eval",
    "fuse_linear_bn_weights",
    "get_total_norm",
    "parameters_to_vector",
    "parametrizations",
    "parametrize",
    "remove_spectral_norm",
    "remove_weight_norm",
    "rnn",
    "skip_init",
    "spectral_norm",
    "stateless",
    "vector_to_parameters",
    "weight_norm",
]

__getattr__, __dir__ = _later(
    "torchlike.nn.utils",
    ("fusion", "init", "memory_format", "parametrizations", "parametrize", "prune", "stateless"),
    {
        "convert_conv2d_weight_memory_format": "memory_format",
        "convert_conv3d_weight_memory_format": "memory_format",
        "fuse_conv_bn_eval": "fusion", "fuse_conv_bn_weights": "fusion",
        "fuse_linear_bn_eval": "fusion", "fuse_linear_bn_weights": "fusion",
        "skip_init": "init",
    },
)  # fmt: skip
