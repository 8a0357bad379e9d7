"""Which expressions are surely tensors, and which method names only tensors have."""

from __future__ import annotations

import io
import pathlib

import jax
import numpy as np

from torchlike._tensor.tensor import Tensor
from torchlike.nn import Module
from torchlike.optim import Optimizer

# What returns one tensor whatever its arguments are, as a function of torch or as a method.
_BOTH = """
    abs acos acosh add addbmm addcdiv addcmul addmm addmv addr all amax amin angle any argmax
    argmin argsort as_strided asin asinh atan atan2 atanh baddbmm bernoulli bincount bitwise_and
    bitwise_not bitwise_or bitwise_xor bmm ceil cholesky clamp clamp_max clamp_min clip
    clone conj cos cosh count_nonzero cross cumprod cumsum detach diag diag_embed diagonal diff
    digamma dist div divide dot eq erf erfc erfinv exp exp2 expm1 fix flatten flip fliplr flipud
    floor floor_divide fmax fmin fmod frac gather ge gt heaviside histc hypot imag index_add
    index_copy index_fill index_select inner inverse isclose isfinite isinf isnan isneginf
    isposinf kron ldexp le lerp lgamma log log10 log1p log2 logaddexp logcumsumexp logical_and
    logical_not logical_or logical_xor logit logsumexp lt masked_fill masked_scatter
    masked_select matmul matrix_exp matrix_power maximum mean minimum mm moveaxis movedim mul
    multinomial multiply mv mvlgamma nan_to_num nanmean nanquantile nansum narrow ne neg norm
    outer permute pinverse polygamma pow prod quantile rad2deg ravel real reciprocal relu
    remainder renorm repeat_interleave reshape roll rot90 round rsqrt scatter scatter_add select
    sgn sigmoid sign signbit sin sinc sinh softmax log_softmax sqrt square squeeze std sub
    subtract sum swapaxes swapdims t take take_along_dim tan tanh tile trace transpose tril triu
    true_divide trunc unflatten unsqueeze var vdot xlogy
"""
_FUNCTIONS = """
    arange as_tensor asarray blackman_window bucketize cat cdist column_stack complex concat
    concatenate cosine_similarity dstack einsum empty empty_like empty_strided eye from_numpy full
    full_like hstack linspace logspace normal ones ones_like polar rand rand_like randint
    randint_like randn randn_like randperm scalar_tensor stack tensor tensordot tril_indices
    triu_indices vander view_as_complex view_as_real vstack zeros zeros_like
"""
_METHODS = """
    bfloat16 bool byte contiguous copy_ cpu cuda detach_ double expand expand_as exponential_
    fill_ float half int log_normal_ long masked_fill_ mul_ add_ sub_ div_ clamp_ new_empty
    new_full new_ones new_tensor new_zeros normal_ random_ repeat requires_grad_ reshape_as
    scatter_ scatter_add_ short squeeze_ t_ to to_dense type_as unfold uniform_ unsqueeze_ view
    view_as zero_
"""
_LOSSES_AND_LAYERS = """
    relu gelu silu elu selu leaky_relu softplus softmax log_softmax dropout linear conv1d conv2d
    conv3d conv_transpose1d conv_transpose2d conv_transpose3d avg_pool1d avg_pool2d avg_pool3d
    adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d batch_norm layer_norm group_norm
    instance_norm embedding one_hot pad interpolate normalize cosine_similarity cross_entropy
    nll_loss mse_loss l1_loss smooth_l1_loss huber_loss binary_cross_entropy kl_div
    binary_cross_entropy_with_logits scaled_dot_product_attention unfold fold pixel_shuffle glu
    sigmoid tanh hardtanh hardswish hardsigmoid mish relu6 logsigmoid grid_sample affine_grid
"""
_LAYERS = """
    Linear Bilinear Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d
    BatchNorm1d BatchNorm2d BatchNorm3d LayerNorm GroupNorm InstanceNorm1d InstanceNorm2d RMSNorm
    Embedding EmbeddingBag Dropout Dropout1d Dropout2d ReLU ReLU6 GELU SiLU ELU SELU LeakyReLU
    PReLU Sigmoid Tanh Softmax LogSoftmax Softplus Hardswish Hardsigmoid Mish GLU AvgPool1d
    AvgPool2d AvgPool3d AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d ZeroPad2d
    ReflectionPad2d ReplicationPad2d Upsample PixelShuffle PixelUnshuffle Unfold Fold Flatten
    CrossEntropyLoss NLLLoss MSELoss L1Loss SmoothL1Loss HuberLoss BCELoss BCEWithLogitsLoss
    KLDivLoss CTCLoss TripletMarginLoss CosineEmbeddingLoss CosineSimilarity
"""

_CLASSES = """
    Tensor FloatTensor DoubleTensor LongTensor IntTensor BoolTensor HalfTensor ByteTensor
    nn.Parameter nn.parameter.Parameter
"""
CLASSES = frozenset(f"torch.{name}" for name in _CLASSES.split())  # as annotations
FUNCTIONS = frozenset(
    [f"torch.{name}" for name in (_BOTH + _FUNCTIONS + _CLASSES).split()]
    + [f"torch.nn.functional.{name}" for name in _LOSSES_AND_LAYERS.split()]
)
METHODS = frozenset((_BOTH + _METHODS).split())
ATTRIBUTES = frozenset(["T", "mT", "H", "mH", "data", "grad", "real", "imag"])
LAYERS = frozenset(f"torch.nn.{name}" for name in _LAYERS.split())

# Methods of data frames and of other well-known classes that need not be installed here.
_ELSEWHERE = """
    add apply apply_ div eq equals expand expand_as ge gt hist inverse le lt map map_ median mode
    mod mul ne nunique pow quantile sub to unique values log exp sqrt select where isnan isin
    rename names cov index_select normal_ split chunk cross detach double float half bool int
    cuda cpu is_shared share_memory_ share_memory type_as unfold flatten gather scatter narrow
    inner outer roll sinh cosh tile trunc stride tanh negative positive logit bernoulli
    multinomial masked_select sigmoid softmax relu erf norm
"""


def only_tensors() -> frozenset[str]:
    """Names of methods that hardly anything but a tensor has."""
    others = (
        str, bytes, list, dict, set, tuple, int, float, complex, np.ndarray, np.generic,
        io.TextIOBase, pathlib.Path, jax.Array, Module, Optimizer,
    )  # fmt: skip
    taken = {name for other in others for name in dir(other)} | {*_ELSEWHERE.split()}
    return frozenset(n for n in dir(Tensor) if n[0] != "_" and len(n) > 2) - taken
