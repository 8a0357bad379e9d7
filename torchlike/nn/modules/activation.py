"""Activation layers, and multi-head attention, which PyTorch keeps beside them."""

from __future__ import annotations

import warnings

from torchlike.nn import functional as F
from torchlike.nn import init as _init
from torchlike.nn.modules._fresh import parameter
from torchlike.nn.modules._masks import additive_mask
from torchlike.nn.modules.linear import NonDynamicallyQuantizableLinear
from torchlike.nn.modules.module import Module

__all__ = [
    "CELU",
    "ELU",
    "GELU",
    "GLU",
    "SELU",
    "Hardshrink",
    "Hardsigmoid",
    "Hardswish",
    "Hardtanh",
    "LeakyReLU",
    "LogSigmoid",
    "LogSoftmax",
    "Mish",
    "MultiheadAttention",
    "PReLU",
    "RReLU",
    "ReLU",
    "ReLU6",
    "SiLU",
    "Sigmoid",
    "Softmax",
    "Softmax2d",
    "Softmin",
    "Softplus",
    "Softshrink",
    "Softsign",
    "Tanh",
    "Tanhshrink",
    "Threshold",
]  # fmt: skip


class _Activation(Module):
    """An activation that may overwrite its input."""

    def __init__(self, inplace: bool = False):
        super().__init__()
        self.inplace = inplace

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""

    def _with_inplace(self, text):
        return text + ", inplace=True" if self.inplace else text


class ReLU(_Activation):
    """max(0, x)
    (https://pytorch.org/docs/stable/generated/torch.nn.ReLU.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.relu(input, inplace=self.inplace)


class SiLU(_Activation):
    """x sigmoid(x)
    (https://pytorch.org/docs/stable/generated/torch.nn.SiLU.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.silu(input, inplace=self.inplace)


class Mish(_Activation):
    """x tanh(softplus(x))
    (https://pytorch.org/docs/stable/generated/torch.nn.Mish.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.mish(input, inplace=self.inplace)


class SELU(_Activation):
    """A scaled ELU that normalises itself
    (https://pytorch.org/docs/stable/generated/torch.nn.SELU.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.selu(input, self.inplace)


class Hardswish(_Activation):
    """x relu6(x + 3) / 6
    (https://pytorch.org/docs/stable/generated/torch.nn.Hardswish.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.hardswish(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Hardsigmoid(_Activation):
    """relu6(x + 3) / 6
    (https://pytorch.org/docs/stable/generated/torch.nn.Hardsigmoid.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.hardsigmoid(input, self.inplace)

    def extra_repr(self) -> str:
        return ""


class Sigmoid(Module):
    """1 / (1 + exp(-x))
    (https://pytorch.org/docs/stable/generated/torch.nn.Sigmoid.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return input.sigmoid()


class Tanh(Module):
    """The hyperbolic tangent
    (https://pytorch.org/docs/stable/generated/torch.nn.Tanh.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return input.tanh()


class LogSigmoid(Module):
    """log(sigmoid(x))
    (https://pytorch.org/docs/stable/generated/torch.nn.LogSigmoid.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.logsigmoid(input)


class Softsign(Module):
    """x / (1 + |x|)
    (https://pytorch.org/docs/stable/generated/torch.nn.Softsign.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.softsign(input)


class Tanhshrink(Module):
    """x - tanh(x)
    (https://pytorch.org/docs/stable/generated/torch.nn.Tanhshrink.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.tanhshrink(input)


class Threshold(_Activation):
    """x where x > threshold, else value
    (https://pytorch.org/docs/stable/generated/torch.nn.Threshold.html)."""

    def __init__(self, threshold: float, value: float, inplace: bool = False):
        super().__init__(inplace)
        self.threshold = threshold
        self.value = value

    def forward(self, input):
        """Any shape -> the same."""
        return F.threshold(input, self.threshold, self.value, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"threshold={self.threshold}, value={self.value}")


class RReLU(_Activation):
    """Leaky ReLU with a random slope in training
    (https://pytorch.org/docs/stable/generated/torch.nn.RReLU.html)."""

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3, inplace: bool = False):
        super().__init__(inplace)
        self.lower = lower
        self.upper = upper

    def forward(self, input):
        """Any shape -> the same."""
        return F.rrelu(input, self.lower, self.upper, self.training, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"lower={self.lower}, upper={self.upper}")


class ELU(_Activation):
    """x where x > 0, else alpha (exp(x) - 1)
    (https://pytorch.org/docs/stable/generated/torch.nn.ELU.html)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input):
        """Any shape -> the same."""
        return F.elu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"alpha={self.alpha}")


class CELU(_Activation):
    """x where x > 0, else alpha (exp(x / alpha) - 1)
    (https://pytorch.org/docs/stable/generated/torch.nn.CELU.html)."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False):
        super().__init__(inplace)
        self.alpha = alpha

    def forward(self, input):
        """Any shape -> the same."""
        return F.celu(input, self.alpha, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"alpha={self.alpha}")


class LeakyReLU(_Activation):
    """x where x > 0, else negative_slope x
    (https://pytorch.org/docs/stable/generated/torch.nn.LeakyReLU.html)."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False):
        super().__init__(inplace)
        self.negative_slope = negative_slope

    def forward(self, input):
        """Any shape -> the same."""
        return F.leaky_relu(input, self.negative_slope, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"negative_slope={self.negative_slope}")


class GLU(Module):
    """The first half of a dimension times the sigmoid of the second
    (https://pytorch.org/docs/stable/generated/torch.nn.GLU.html)."""

    def __init__(self, dim: int = -1):
        super().__init__()
        self.dim = dim

    def forward(self, input):
        """Any shape -> the same."""
        return F.glu(input, self.dim)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class GELU(Module):
    """x times the normal distribution function of x
    (https://pytorch.org/docs/stable/generated/torch.nn.GELU.html)."""

    def __init__(self, approximate: str = "none"):
        super().__init__()
        self.approximate = approximate

    def forward(self, input):
        """Any shape -> the same."""
        return F.gelu(input, approximate=self.approximate)

    def extra_repr(self) -> str:
        return f"approximate={self.approximate!r}"


class Hardshrink(Module):
    """x where |x| > lambd, else 0
    (https://pytorch.org/docs/stable/generated/torch.nn.Hardshrink.html)."""

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        """Any shape -> the same."""
        return F.hardshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return f"{self.lambd}"


class Softshrink(Module):
    """x moved towards 0 by lambd
    (https://pytorch.org/docs/stable/generated/torch.nn.Softshrink.html)."""

    def __init__(self, lambd: float = 0.5):
        super().__init__()
        self.lambd = lambd

    def forward(self, input):
        """Any shape -> the same."""
        return F.softshrink(input, self.lambd)

    def extra_repr(self) -> str:
        return str(self.lambd)


class Softplus(Module):
    """log(1 + exp(beta x)) / beta
    (https://pytorch.org/docs/stable/generated/torch.nn.Softplus.html)."""

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        super().__init__()
        self.beta = beta
        self.threshold = threshold

    def forward(self, input):
        """Any shape -> the same."""
        return F.softplus(input, self.beta, self.threshold)

    def extra_repr(self) -> str:
        return f"beta={self.beta}, threshold={self.threshold}"


class Hardtanh(_Activation):
    """x clamped to [min_val, max_val]
    (https://pytorch.org/docs/stable/generated/torch.nn.Hardtanh.html)."""

    def __init__(
        self, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False,
        min_value: float | None = None, max_value: float | None = None,
    ):  # fmt: skip
        super().__init__(inplace)
        for old, given in (("min", min_value), ("max", max_value)):
            if given is not None:
                warnings.warn(
                    f"keyword argument `{old}_value` is deprecated and renamed to `{old}_val`",
                    FutureWarning,
                    stacklevel=2,
                )
        self.min_val = min_val if min_value is None else min_value
        self.max_val = max_val if max_value is None else max_value
        if self.max_val <= self.min_val:
            raise AssertionError(
                f"max_val ({self.max_val}) must be greater than min_val ({self.min_val})"
            )

    def forward(self, input):
        """Any shape -> the same."""
        return F.hardtanh(input, self.min_val, self.max_val, self.inplace)

    def extra_repr(self) -> str:
        return self._with_inplace(f"min_val={self.min_val}, max_val={self.max_val}")


class ReLU6(Hardtanh):
    """x clamped to [0, 6] (https://pytorch.org/docs/stable/generated/torch.nn.ReLU6.html)."""

    def __init__(self, inplace: bool = False):
        super().__init__(0.0, 6.0, inplace)

    def extra_repr(self) -> str:
        return "inplace=True" if self.inplace else ""


class PReLU(Module):
    """x where x > 0, else a learned slope times x
    (https://pytorch.org/docs/stable/generated/torch.nn.PReLU.html)."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, device=None, dtype=None):
        super().__init__()
        self.num_parameters = num_parameters
        self.init = init
        self.weight = parameter(num_parameters, device=device, dtype=dtype)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The slope that the constructor was given."""
        _init.constant_(self.weight, self.init)

    def forward(self, input):
        """Any shape -> the same."""
        return F.prelu(input, self.weight)

    def extra_repr(self) -> str:
        return f"num_parameters={self.num_parameters}"


# ---- over a dimension --------------------------------------------------------------------------


class _OverDim(Module):
    """A normalised exponential over ``dim``."""

    def __init__(self, dim: int | None = None):
        super().__init__()
        self.dim = dim

    def __setstate__(self, state):
        super().__setstate__(state)
        self.__dict__.setdefault("dim", None)

    def extra_repr(self) -> str:
        return f"dim={self.dim}"


class Softmin(_OverDim):
    """softmax(-x) (https://pytorch.org/docs/stable/generated/torch.nn.Softmin.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.softmin(input, self.dim, _stacklevel=5)


class Softmax(_OverDim):
    """exp(x) over its sum (https://pytorch.org/docs/stable/generated/torch.nn.Softmax.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.softmax(input, self.dim, _stacklevel=5)


class LogSoftmax(_OverDim):
    """log(softmax(x)) (https://pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html)."""

    def forward(self, input):
        """Any shape -> the same."""
        return F.log_softmax(input, self.dim, _stacklevel=5)


class Softmax2d(Module):
    """Softmax over the channels of (N, C, H, W) or (C, H, W)
    (https://pytorch.org/docs/stable/generated/torch.nn.Softmax2d.html)."""

    def forward(self, input):
        """(N, C, H, W) -> the same."""
        if input.dim() not in (3, 4):
            raise ValueError(
                f"Softmax2d: expected input to be 3D or 4D, got {input.dim()}D instead"
            )
        return F.softmax(input, -3, _stacklevel=5)


# ---- attention ---------------------------------------------------------------------------------


class MultiheadAttention(Module):
    """Attention of several heads over a query, keys and values
    (https://pytorch.org/docs/stable/generated/torch.nn.MultiheadAttention.html)."""

    def __init__(
        self, embed_dim, num_heads, dropout=0.0, bias=True, add_bias_kv=False,
        add_zero_attn=False, kdim=None, vdim=None, batch_first=False, device=None, dtype=None,
    ):  # fmt: skip
        if embed_dim <= 0 or num_heads <= 0:
            raise ValueError(
                f"embed_dim and num_heads must be greater than 0, got embed_dim={embed_dim} and "
                f"num_heads={num_heads} instead"
            )
        super().__init__()
        self.embed_dim = embed_dim
        self.kdim = embed_dim if kdim is None else kdim
        self.vdim = embed_dim if vdim is None else vdim
        self._qkv_same_embed_dim = self.kdim == embed_dim and self.vdim == embed_dim
        self.num_heads = num_heads
        self.dropout = dropout
        self.batch_first = batch_first
        self.head_dim = embed_dim // num_heads
        if self.head_dim * num_heads != embed_dim:
            raise AssertionError("embed_dim must be divisible by num_heads")
        place = {"device": device, "dtype": dtype}
        sizes = {"q_proj_weight": embed_dim, "k_proj_weight": self.kdim, "v_proj_weight": self.vdim}
        if self._qkv_same_embed_dim:
            self.in_proj_weight = parameter(3 * embed_dim, embed_dim, **place)
            for name in sizes:
                self.register_parameter(name, None)
        else:
            for name, size in sizes.items():
                self.register_parameter(name, parameter(embed_dim, size, **place))
            self.register_parameter("in_proj_weight", None)
        self.register_parameter("in_proj_bias", parameter(3 * embed_dim, **place) if bias else None)
        self.out_proj = NonDynamicallyQuantizableLinear(embed_dim, embed_dim, bias=bias, **place)
        if add_bias_kv:
            self.bias_k = parameter(1, 1, embed_dim, **place)
            self.bias_v = parameter(1, 1, embed_dim, **place)
        else:
            self.bias_k = self.bias_v = None
        self.add_zero_attn = add_zero_attn
        self._reset_parameters()

    def _reset_parameters(self):
        if self._qkv_same_embed_dim:
            _init.xavier_uniform_(self.in_proj_weight)
        else:
            for weight in (self.q_proj_weight, self.k_proj_weight, self.v_proj_weight):
                _init.xavier_uniform_(weight)
        if self.in_proj_bias is not None:
            _init.constant_(self.in_proj_bias, 0.0)
            _init.constant_(self.out_proj.bias, 0.0)
        for bias in (self.bias_k, self.bias_v):
            if bias is not None:
                _init.xavier_normal_(bias)

    def __setstate__(self, state):
        state.setdefault("_qkv_same_embed_dim", True)
        super().__setstate__(state)

    def forward(
        self, query, key, value, key_padding_mask=None, need_weights: bool = True, attn_mask=None,
        average_attn_weights: bool = True, is_causal: bool = False,
    ):  # fmt: skip
        """(L, N, E) queries, (S, N, E) keys and values (N first if ``batch_first``) ->
        (the attended values, the weights or None)."""
        key_padding_mask = additive_mask(
            key_padding_mask, "key_padding_mask", query.dtype, beside=attn_mask
        )
        attn_mask = additive_mask(attn_mask, "attn_mask", query.dtype)
        swap = self.batch_first and query.dim() == 3
        if swap:
            same_key, same_value = query is key, key is value
            query = query.transpose(1, 0)
            key_ = query if same_key else key.transpose(1, 0)
            value = key_ if same_value else value.transpose(1, 0)
            key = key_
        out, weights = F.multi_head_attention_forward(
            query, key, value, self.embed_dim, self.num_heads, self.in_proj_weight,
            self.in_proj_bias, self.bias_k, self.bias_v, self.add_zero_attn, self.dropout,
            self.out_proj.weight, self.out_proj.bias, training=self.training,
            key_padding_mask=key_padding_mask, need_weights=need_weights, attn_mask=attn_mask,
            use_separate_proj_weight=not self._qkv_same_embed_dim,
            q_proj_weight=self.q_proj_weight, k_proj_weight=self.k_proj_weight,
            v_proj_weight=self.v_proj_weight, average_attn_weights=average_attn_weights,
            is_causal=is_causal,
        )  # fmt: skip
        return (out.transpose(1, 0) if swap else out), weights

    def merge_masks(self, attn_mask, key_padding_mask, query):
        """(one mask for both, 1 for a padding mask or 2 for a general one)."""
        if attn_mask is None:
            return key_padding_mask, None if key_padding_mask is None else 1
        batch, length, _ = query.shape
        if attn_mask.dim() == 3:
            merged = attn_mask.view(batch, -1, length, length)
        else:
            merged = attn_mask.view(1, 1, length, length).expand(batch, self.num_heads, -1, -1)
        if key_padding_mask is not None:
            padding = key_padding_mask.view(batch, 1, 1, length)
            merged = merged + padding.expand(-1, self.num_heads, -1, -1)
        return merged, 2
