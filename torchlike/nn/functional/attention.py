"""Attention of ``torch.nn.functional``."""

from __future__ import annotations

import enum
import math
import warnings

from torchlike._core.dtypes import bool_
from torchlike._ops.table import TABLE
from torchlike._tensor import random
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.nn.functional.activation import softmax
from torchlike.nn.functional.dropout import dropout
from torchlike.nn.functional.layers import linear
from torchlike.nn.functional.vision import pad

_SDPA = TABLE["scaled_dot_product_attention"]


class SDPBackend(enum.Enum):
    """A kernel of ``scaled_dot_product_attention``
    (https://pytorch.org/docs/stable/generated/torch.nn.attention.SDPBackend.html)."""

    ERROR = -1
    MATH = 0
    FLASH_ATTENTION = 1
    EFFICIENT_ATTENTION = 2
    CUDNN_ATTENTION = 3
    OVERRIDEABLE = 4

    def __int__(self):
        return self.value

    __index__ = __int__


SDPBackend.__module__ = "torchlike.nn.attention"
_ON_CPU = frozenset((SDPBackend.MATH, SDPBackend.FLASH_ATTENTION))
_ON_GPU = _ON_CPU | {SDPBackend.EFFICIENT_ATTENTION, SDPBackend.CUDNN_ATTENTION}
allowed: frozenset | None = None  # by ``nn.attention.sdpa_kernel``; None: all


def _check_backends(device) -> None:
    if allowed.isdisjoint(_ON_CPU if device.type == "cpu" else _ON_GPU):
        raise RuntimeError(
            "No viable backend for scaled_dot_product_attention was found. This is likely due to "
            "turning off both the math kernel and the fused kernels."
        )


def _check_fused(operands, attn_mask, dropout_p) -> None:
    """Raise where only fused kernels are allowed, and PyTorch's for the CPU do not fit."""
    masked = attn_mask is not None and attn_mask.requires_grad
    if masked or dropout_p or not _both_masks(*operands):
        raise RuntimeError("No available kernel.  Aborting execution.")


def _both_masks(query, key, value, enable_gqa) -> bool:
    """Whether PyTorch takes its kernel that applies a mask and ``is_causal`` together."""
    q, k, v = (x._value.aval.shape for x in (query, key, value))
    return (
        len(q) == len(k) == len(v) == 4
        and q[0] == k[0] == v[0]
        and q[3] == k[3] == v[3]
        and (enable_gqa or q[1] == k[1] == v[1])
    )


def scaled_dot_product_attention(
    query, key, value, attn_mask=None, dropout_p: float = 0.0, is_causal: bool = False,
    *, scale: float | None = None, enable_gqa: bool = False,
):  # fmt: skip
    """softmax(Q K^T * scale + mask) V (https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_dot_product_attention.html)."""
    if allowed is not None:
        _check_backends(query.device)
        if SDPBackend.MATH not in allowed and query.device.type == "cpu":
            _check_fused((query, key, value, enable_gqa), attn_mask, dropout_p)
    if not 0.0 <= dropout_p <= 1.0:
        raise RuntimeError(f"dropout probability has to be between 0 and 1, but got {dropout_p}")
    if is_causal and hasattr(attn_mask, "variant"):
        raise ValueError("CausalBias should not be used with causal=True")
    if (
        is_causal and attn_mask is not None
        and (attn_mask.requires_grad or dropout_p or not _both_masks(query, key, value, enable_gqa))
    ):  # fmt: skip
        raise RuntimeError(
            "_scaled_dot_product_attention: Explicit attn_mask should not be set when "
            "is_causal=True"
        )
    dropped, keep = None, 1.0
    if dropout_p > 0:
        a = query._value.aval
        shape = (*a.shape[:-1], key._value.aval.shape[-2])
        keep = float(1 - dropout_p)
        if keep <= 0:
            dropped, keep = FUNCTIONS["zeros"](shape, dtype=a.dtype, device=a.device), 1.0
        else:
            dropped = random.bernoulli_mask(shape, keep, a.dtype, a.device)
    operands = (query, key, value, attn_mask, dropped, keep)
    return apply(_SDPA, operands, (is_causal, scale, enable_gqa))


def _as_float_mask(mask, name: str, dtype):
    """A mask to add: where a bool mask is set, -inf."""
    if mask is None:
        return None
    if mask.dtype.is_floating_point:
        return mask
    if mask.dtype is not bool_:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    zeros = FUNCTIONS["zeros"](mask._value.aval.shape, dtype=dtype, device=mask.device)
    return zeros.masked_fill_(mask, -math.inf)


def _project(query, key, value, w, b):
    """The packed projection where query, key and value are not all one tensor."""
    width = w._value.aval.shape[1]
    biases = (None, None, None) if b is None else (b[:width], b[width : 2 * width], b[2 * width :])
    weights = w[:width], w[width : 2 * width], w[2 * width :]
    return tuple(linear(x, wi, bi) for x, wi, bi in zip((query, key, value), weights, biases))


# ---- what attention written after PyTorch's imports --------------------------------------------


def _in_projection_packed(q, k, v, w, b=None) -> tuple:
    """Query, key and value times their thirds of one weight."""
    return _project(q, k, v, w, b)


def _in_projection(q, k, v, w_q, w_k, w_v, b_q=None, b_k=None, b_v=None) -> tuple:
    """Query, key and value times a weight each, to the query's width."""
    width = q.size(-1)
    for name, x, w, b in (("query", q, w_q, b_q), ("key", k, w_k, b_k), ("value", v, w_v, b_v)):
        if w.shape != (width, x.size(-1)):
            raise AssertionError(
                f"expecting {name} weights shape of {(width, x.size(-1))}, but got {w.shape}"
            )
        if b is not None and b.shape != (width,):
            raise AssertionError(f"expecting {name} bias shape of {(width,)}, but got {b.shape}")
    return linear(q, w_q, b_q), linear(k, w_k, b_k), linear(v, w_v, b_v)


def _none_or_dtype(input):
    if input is not None and not isinstance(input, Tensor):
        raise RuntimeError("input to _none_or_dtype() must be None or torch.Tensor")
    return None if input is None else input.dtype


def _canonical_mask(mask, mask_name, other_type, other_name, target_type, check_other=True):
    """A mask to add to the scores; warns where it is of another kind than the other mask."""
    if mask is not None and check_other and other_type not in (None, mask.dtype):
        warnings.warn(
            f"Support for mismatched {mask_name} and {other_name} is deprecated. Use same type for "
            "both instead.",
            stacklevel=2,
        )
    return _as_float_mask(mask, mask_name, target_type)


# ---- heads -------------------------------------------------------------------------------------


def _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads) -> None:
    """Raise for what does not go with a query that is batched, or with one that is not."""
    n = query._value.aval.ndim
    kind = "batched (3-D)" if n == 3 else "unbatched (2-D)"
    ranks = key._value.aval.ndim, value._value.aval.ndim
    if ranks != (n, n):
        raise AssertionError(
            f"For {kind} `query`, expected `key` and `value` to be {n}-D but found "
            f"{ranks[0]}-D and {ranks[1]}-D tensors respectively"
        )
    masks = ("key_padding_mask", key_padding_mask, (n - 1,)), ("attn_mask", attn_mask, (2, 3))
    for name, mask, allowed in masks:
        if mask is not None and mask._value.aval.ndim not in allowed:
            wanted = ", 2-D or 3-D" if len(allowed) == 2 else f" or {n - 1}-D"
            raise AssertionError(
                f"For {kind} `query`, expected `{name}` to be `None`{wanted} but found "
                f"{mask._value.aval.ndim}-D tensor instead"
            )
    if n == 2 and attn_mask is not None and attn_mask.dim() == 3:
        wanted = num_heads, query.shape[0], key.shape[0]
        if attn_mask.shape != wanted:
            raise AssertionError(
                f"Expected `attn_mask` shape to be {wanted} but got {attn_mask.shape}"
            )


def _check_static(name, static, batch, head) -> None:
    """Raise for a fixed key or value that is not (batch * heads, length, width of a head)."""
    for dim, wanted in ((0, batch), (2, head)):
        if static is not None and static.size(dim) != wanted:
            raise AssertionError(
                f"expecting {name}.size({dim}) of {wanted}, but got {static.size(dim)}"
            )


def multi_head_attention_forward(
    query, key, value, embed_dim_to_check: int, num_heads: int, in_proj_weight, in_proj_bias,
    bias_k, bias_v, add_zero_attn: bool, dropout_p: float, out_proj_weight, out_proj_bias,
    training: bool = True, key_padding_mask=None, need_weights: bool = True, attn_mask=None,
    use_separate_proj_weight: bool = False, q_proj_weight=None, k_proj_weight=None,
    v_proj_weight=None, static_k=None, static_v=None, average_attn_weights: bool = True,
    is_causal: bool = False,
):  # fmt: skip
    """Attention of several heads with its projections; tensors are (length, batch, width)."""
    if is_causal and attn_mask is None:
        raise RuntimeError(
            "Need attn_mask if specifying the is_causal hint. You may use the Transformer module "
            "method `generate_square_subsequent_mask` to create this mask."
        )
    batched = query._value.aval.ndim == 3
    if query._value.aval.ndim not in (2, 3):
        raise AssertionError(
            "query should be unbatched 2D or batched 3D tensor but received "
            f"{query._value.aval.ndim}-D query tensor"
        )
    _check_ranks(query, key, value, key_padding_mask, attn_mask, num_heads)
    if not batched:
        same = query is key, key is value
        query = query.unsqueeze(1)
        key = query if same[0] else key.unsqueeze(1)
        value = key if same[1] else value.unsqueeze(1)
        if key_padding_mask is not None:
            key_padding_mask = key_padding_mask.unsqueeze(0)
    length, batch, width = query._value.aval.shape
    source = key._value.aval.shape[0]
    if width != embed_dim_to_check:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, but got {width}"
        )
    head = width // num_heads
    if head * num_heads != width:
        raise AssertionError(f"embed_dim {width} not divisible by num_heads {num_heads}")
    dtype, split = query.dtype, False  # whether q, k, v have their heads apart already
    if use_separate_proj_weight:
        if key.shape[:2] != value.shape[:2]:
            raise AssertionError(
                f"key's sequence and batch dims {key.shape[:2]} do not match value's "
                f"{value.shape[:2]}"
            )
        weights = q_proj_weight, k_proj_weight, v_proj_weight
        for name, w in zip("qkv", weights, strict=True):
            if w is None:
                raise AssertionError(
                    f"use_separate_proj_weight is True but {name}_proj_weight is None"
                )
        biases = (None,) * 3 if in_proj_bias is None else in_proj_bias.chunk(3)
        q, k, v = (linear(x, w, b) for x, w, b in zip((query, key, value), weights, biases))
    else:
        if key._value.aval.shape != value._value.aval.shape:
            raise AssertionError(f"key shape {key.shape} does not match value shape {value.shape}")
        extended = not (bias_k is bias_v is static_k is static_v is None)
        if query is key and key is value and not extended:
            # Self-attention: one product, and one way to the heads for all three.
            packed = linear(query, in_proj_weight, in_proj_bias)
            packed = packed.view(length, batch, 3, num_heads, head).permute(2, 1, 3, 0, 4)
            q, k, v = packed.unbind(0)
            split = True
        else:
            q, k, v = _project(query, key, value, in_proj_weight, in_proj_bias)
    # ---- masks
    # The hint is taken for the mask where nothing else is masked; it reaches to the new keys, too.
    hinted = is_causal and key_padding_mask is None and not need_weights
    attn_mask = None if hinted else _as_float_mask(attn_mask, "attn_mask", dtype)
    key_padding_mask = _as_float_mask(key_padding_mask, "key_padding_mask", dtype)
    if attn_mask is not None:
        shape = attn_mask._value.aval.shape
        if len(shape) == 2:
            if shape != (length, source):
                raise RuntimeError(
                    f"The shape of the 2D attn_mask is torch.Size({list(shape)}), but should be "
                    f"{(length, source)}."
                )
            attn_mask = attn_mask.unsqueeze(0)
        elif len(shape) == 3:
            if shape != (batch * num_heads, length, source):
                raise RuntimeError(
                    f"The shape of the 3D attn_mask is torch.Size({list(shape)}), but should be "
                    f"{(batch * num_heads, length, source)}."
                )
        else:
            raise RuntimeError(f"attn_mask's dimension {len(shape)} is not supported")
    if bias_k is not None and bias_v is not None:
        for static, name in ((static_k, "key"), (static_v, "value")):
            if static is not None:
                raise AssertionError(f"bias cannot be added to static {name}.")
        k = FUNCTIONS["cat"]([k, bias_k.repeat(1, batch, 1)])
        v = FUNCTIONS["cat"]([v, bias_v.repeat(1, batch, 1)])
        attn_mask = None if attn_mask is None else pad(attn_mask, (0, 1))
        key_padding_mask = None if key_padding_mask is None else pad(key_padding_mask, (0, 1))
    elif (bias_k is None) is not (bias_v is None):
        given, absent = ("bias_k", "bias_v") if bias_v is None else ("bias_v", "bias_k")
        raise AssertionError(f"{given} is set but {absent} is None")
    _check_static("static_k", static_k, batch * num_heads, head)
    _check_static("static_v", static_v, batch * num_heads, head)
    # ---- heads: (length, batch, width) -> (batch, heads, length, head)
    if not split:
        q, k, v = (
            x.reshape(x.shape[0], batch, num_heads, head).permute(1, 2, 0, 3)
            if static is None
            else static.reshape(batch, num_heads, static.shape[1], head)
            for x, static in ((q, None), (k, static_k), (v, static_v))
        )
    if add_zero_attn:
        k, v = pad(k, (0, 0, 0, 1)), pad(v, (0, 0, 0, 1))
        attn_mask = None if attn_mask is None else pad(attn_mask, (0, 1))
        key_padding_mask = None if key_padding_mask is None else pad(key_padding_mask, (0, 1))
    source = k._value.aval.shape[2]
    mask = None
    if attn_mask is not None:
        lead = attn_mask._value.aval.shape[0]
        first = (1, 1) if lead == 1 else (batch, num_heads)
        mask = attn_mask.reshape(*first, length, source)
    if key_padding_mask is not None:
        found = key_padding_mask._value.aval.shape
        for dim, (size, wanted) in enumerate(zip(found, (batch, source), strict=True)):
            if size != wanted:
                raise AssertionError(
                    f"Expected key_padded_mask.shape[{dim}] to be {wanted}, but got {size}"
                )
        padding = key_padding_mask.reshape(batch, 1, 1, source)
        mask = padding if mask is None else mask + padding
    # ---- attention
    dropout_p = dropout_p if training else 0.0
    if need_weights:
        scores = (q * math.sqrt(1.0 / head)) @ k.transpose(-2, -1)
        weights = softmax(scores if mask is None else scores + mask, -1)
        if dropout_p > 0:
            weights = dropout(weights, dropout_p)
        out = weights @ v
    else:
        weights = None
        out = scaled_dot_product_attention(q, k, v, mask, dropout_p, hinted)
    out = out.permute(2, 0, 1, 3).reshape(length, batch, width)
    out = linear(out, out_proj_weight, out_proj_bias)
    if weights is not None and average_attn_weights:
        weights = weights.mean(dim=1)
    if not batched:
        out = out.squeeze(1)
        weights = None if weights is None else weights.squeeze(0)
    return out, weights
