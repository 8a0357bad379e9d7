"""Linear maps with a loss, and grouped and scaled products, of ``torch.nn.functional``."""

from __future__ import annotations

import enum
import math
import warnings

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply
from torchlike.nn.functional.classification import _in_range, cross_entropy
from torchlike.nn.functional.layers import linear
from torchlike.nn.functional.reduction import reduction_of

_CHUNKED, _GROUPED = TABLE["linear_cross_entropy"], TABLE["grouped_mm"]


class ScalingType(enum.IntEnum):
    """How the operand of a scaled product was scaled."""

    TensorWise = 0
    RowWise = 1
    BlockWise1x16 = 2
    BlockWise1x32 = 3
    BlockWise1x128 = 4
    BlockWise128x128 = 5


class SwizzleType(enum.IntEnum):
    """How the scales of a scaled product lie in memory."""

    NO_SWIZZLE = 0
    SWIZZLE_32_4_4 = 1


# ---- linear_cross_entropy ----------------------------------------------------------------------


def _check(input, weight, bias):
    x, w = tuple(input.shape), tuple(weight.shape)
    if len(x) not in (1, 2):
        raise RuntimeError(f"expected input with dimensionality 1 or 2, got {len(x)}")
    if len(w) < 2:
        raise RuntimeError(f"expected linear_weight with dimensionality at least 2, got {len(w)}")
    if x[-1] != w[-1]:
        raise RuntimeError(
            "expected equal input and linear_weight last dimensions (in_features), got "
            f"{x[-1]} and {w[-1]}, respectively"
        )
    if len(w) > 2 and len(x) == 1:
        raise RuntimeError(
            f"K-dimensional loss defined by linear_weight shape {w} requires batched input, "
            f"(N, {w[-1]}), got unbatched input with shape {x}"
        )
    if bias is not None and tuple(bias.shape) != w[:-1]:
        raise RuntimeError(f"expected linear_bias shape {w[:-1]}, got {tuple(bias.shape)}")


def linear_cross_entropy(
    input, linear_weight, target, *, linear_bias=None, weight=None, reduction: str = "mean",
    ignore_index: int | None = None, label_smoothing: float = 0.0, options=None,
):  # fmt: skip
    """cross_entropy(linear(input, linear_weight, linear_bias), target)
    (https://pytorch.org/docs/stable/generated/torch.nn.functional.linear_cross_entropy.html).

    input is (N, in) or (in), linear_weight (C, ..., in). With ``options`` some rows are computed
    at a time, so that the (N, C) logits never exist.
    """
    _check(input, linear_weight, linear_bias)
    out_shape = tuple(linear_weight.shape[1:-1])
    if ignore_index is not None and target.is_floating_point():
        raise RuntimeError("ignore_index cannot be specified when target contains probabilities")
    ignored = -100 if ignore_index is None else ignore_index
    if options is not None:
        if not label_smoothing and target.dtype is dt.int64 and not out_shape:
            return _by_parts(
                input, linear_weight, target, linear_bias, weight, ignored,
                reduction_of(reduction, None, None), options,
            )  # fmt: skip
        shape = None if linear_bias is None else tuple(linear_bias.shape)
        warnings.warn(
            "linear_cross_entropy: ``options`` ignored; chunked path needs reduction in "
            "{'mean','sum','none'}, label_smoothing == 0, target.dtype == int64, out_features == "
            f"(). Got reduction={reduction!r}, label_smoothing={label_smoothing}, "
            f"target.dtype={target.dtype}, out_features={out_shape}, tracing=False, "
            f"linear_bias.shape={shape}.",
            stacklevel=2,
        )
    if out_shape:
        linear_weight = linear_weight.flatten(0, -2)
        linear_bias = None if linear_bias is None else linear_bias.flatten()
    logits = linear(input, linear_weight, linear_bias)
    if out_shape:
        logits = logits.unflatten(1, (logits.shape[1] // math.prod(out_shape), *out_shape))
    return cross_entropy(
        logits, target, weight, ignore_index=ignored, reduction=reduction,
        label_smoothing=label_smoothing,
    )  # fmt: skip


def _by_parts(input, linear_weight, target, bias, weight, ignored, reduction, options):
    single = input.dim() == 1
    if single:
        input, target = input.unsqueeze(0), target.reshape(1)
    classes, features = linear_weight.shape
    if target.shape == input.shape[:1]:  # what _in_range asks of logits is their class count
        checked = _in_range(linear_weight.detach().t(), target, ignored)
    else:
        checked = False
    rows = options._rows(input.shape[0], features, classes)
    operands = (input, linear_weight, target, bias, weight)
    out = apply(_CHUNKED, operands, (ignored, reduction, rows, checked))
    return out.squeeze(0) if single and reduction == "none" else out


# ---- grouped and scaled products ---------------------------------------------------------------


def grouped_mm(mat_a, mat_b, *, offs=None, bias=None, out_dtype: dt.dtype | None = None):
    """Products of groups that ``offs``, int32 ends of the groups, delimits along the dimension
    that a 2-d operand has for all of them
    (https://pytorch.org/docs/stable/generated/torch.nn.functional.grouped_mm.html).

    (M, K) with (G, K, N): groups of rows; (G, M, K) with (K, N): of columns; two matrices: of the
    contraction, giving (G, M, N); two batches: ``bmm``. Beyond the last end there are zeros.
    """
    if bias is not None:
        raise RuntimeError("Bias not supported yet")
    return apply(_GROUPED, (mat_a, mat_b, offs), (out_dtype,))


_FLOAT8 = (dt.float8_e4m3fn, dt.float8_e5m2)


def _only(x):
    """The one entry of a list of one, as PyTorch takes either."""
    if isinstance(x, (list, tuple)):
        if len(x) != 1:
            raise NotSupported("scaled_mm with two levels of scales", "apply one of them yourself")
        return x[0]
    return x


def scaled_mm(
    mat_a, mat_b, scale_a, scale_recipe_a, scale_b, scale_recipe_b, swizzle_a=None, swizzle_b=None,
    bias=None, output_dtype: dt.dtype | None = dt.bfloat16, contraction_dim=(),
    use_fast_accum: bool = False,
):  # fmt: skip
    """The product of float8 matrices times their scales, one per tensor or one per row of
    ``mat_a`` and column of ``mat_b``; accumulated in float32
    (https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_mm.html)."""
    scales = _only(scale_a), _only(scale_b)
    recipes = _only(scale_recipe_a), _only(scale_recipe_b)
    if any(r > ScalingType.RowWise for r in recipes) or any(
        s is not None and _only(s) for s in (swizzle_a, swizzle_b)
    ):
        raise NotSupported(
            "block-wise or swizzled scales in scaled_mm", "scale the operands and use torch.mm"
        )
    m, n = mat_a.shape[0], mat_b.shape[1]
    wanted = {ScalingType.TensorWise: ((), ()), ScalingType.RowWise: ((m, 1), (1, n))}
    for x, scale, recipe, side in zip((mat_a, mat_b), scales, recipes, (0, 1), strict=True):
        fits = scale.numel() == 1 if recipe == 0 else tuple(scale.shape) == wanted[recipe][side]
        if x.dtype not in _FLOAT8 or scale.dtype is not dt.float32 or not fits:
            raise ValueError(
                "Invalid scaling configuration.\n- For TensorWise scaling, a and b should be "
                "float8, scales should be float and singletons.\n- For RowWise scaling, a and b "
                f"should be float8, scales should be float, scale_a should be ({m}, 1) and scale_b "
                f"should be (1, {n}), and both should be contiguous.\nGot "
                f"mat_{'ab'[side]}.dtype()={x.dtype}, scale_{'ab'[side]}.dtype()={scale.dtype}, "
                f"scale_{'ab'[side]}.size()={list(scale.shape)}"
            )
    a, b = mat_a.to(dt.float32), mat_b.to(dt.float32)
    out = (a @ b) * (scales[0].reshape(-1, 1) * scales[1].reshape(1, -1))
    if bias is not None:
        out = out + bias.to(dt.float32)
    return out.to(mat_a.dtype if output_dtype is None else output_dtype)


def scaled_grouped_mm(
    mat_a, mat_b, scale_a, scale_recipe_a, scale_b, scale_recipe_b, swizzle_a=None, swizzle_b=None,
    bias=None, offs=None, output_dtype: dt.dtype | None = dt.bfloat16, contraction_dim=(),
    use_fast_accum: bool = False,
):  # fmt: skip
    """Raises ``NotSupported``: PyTorch has it on some GPUs only
    (https://pytorch.org/docs/stable/generated/torch.nn.functional.scaled_grouped_mm.html)."""
    raise NotSupported("scaled_grouped_mm", "scale the operands and use nn.functional.grouped_mm")
