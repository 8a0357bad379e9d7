"""Losses of regression, probabilities and margins of ``torch.nn.functional``."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._core.errors import type_name, warn
from torchlike._engine.captures import at_hand
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of
from torchlike._tensor.indexing import host_bounds
from torchlike._tensor.modes import modes
from torchlike.nn.functional.reduction import reduction_of


def _warn_sizes(input, target) -> None:
    a, b = input._value.aval.shape, target._value.aval.shape
    if a != b:
        warn(
            f"Using a target size (torch.Size({list(b)})) that is different to the input size "
            f"(torch.Size({list(a)})). This will likely lead to incorrect results due to "
            "broadcasting. Please ensure they have the same size."
        )


def _check_weight(input, weight) -> None:
    if weight is not None and weight._value.aval.shape != input._value.aval.shape:
        raise ValueError("Weights and input must have the same size.")


def _check_tensors(name, **tensors) -> None:
    for i, (label, t) in enumerate(tensors.items()):
        if not isinstance(t, dispatch._Tensor):
            raise TypeError(
                f"{name}(): argument '{label}' (position {i + 1}) must be Tensor, not "
                f"{type_name(t)}"
            )


# ---- regression --------------------------------------------------------------------------------


def mse_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """(input - target)^2."""
    _check_tensors("mse_loss", input=input, target=target)
    _warn_sizes(input, target)
    _check_weight(input, weight)
    reduction = reduction_of(reduction, size_average, reduce)
    return apply(TABLE["mse_loss"], (input, target, weight), (reduction,))


def l1_loss(input, target, size_average=None, reduce=None, reduction: str = "mean", weight=None):
    """|input - target|."""
    _check_tensors("l1_loss", input=input, target=target)
    _warn_sizes(input, target)
    _check_weight(input, weight)
    reduction = reduction_of(reduction, size_average, reduce)
    return apply(TABLE["l1_loss"], (input, target, weight), (reduction,))


def in_dtype_of(out, like):
    """A loss in the floating dtype of one operand, which PyTorch writes it over, not in promoted
    one; under autocast it stays in autocast's."""
    if out.dtype is like.dtype or modes.cast is not None or not like.dtype.is_floating_point:
        return out
    return out.to(like.dtype)


def smooth_l1_loss(
    input, target, size_average=None, reduce=None, reduction: str = "mean", beta: float = 1.0
):
    """Squared below beta, absolute above."""
    _check_tensors("smooth_l1_loss", input=input, target=target)
    _warn_sizes(input, target)
    reduction = reduction_of(reduction, size_average, reduce)
    return apply(TABLE["smooth_l1_loss"], (input, target), (reduction, beta))


def huber_loss(input, target, reduction: str = "mean", delta: float = 1.0, weight=None):
    """Squared up to delta, then delta times absolute."""
    _check_tensors("huber_loss", input=input, target=target)
    _warn_sizes(input, target)
    _check_weight(input, weight)
    out = apply(TABLE["huber_loss"], (input, target, weight), (reduction_of(reduction), delta))
    return in_dtype_of(out, input) if weight is None else out


def poisson_nll_loss(
    input, target, log_input: bool = True, full: bool = False, size_average=None,
    eps: float = 1e-8, reduce=None, reduction: str = "mean",
):  # fmt: skip
    """Negative log likelihood of counts under a Poisson distribution."""
    reduction = reduction_of(reduction, size_average, reduce)
    statics = (log_input, full, eps, reduction)
    return apply(TABLE["poisson_nll_loss"], (input, target), statics)


def gaussian_nll_loss(
    input, target, var, full: bool = False, eps: float = 1e-6, reduction: str = "mean"
):
    """Negative log likelihood under a normal distribution with a variance for each element."""
    if not isinstance(var, dispatch._Tensor):
        if var < 0:
            raise ValueError("var has negative entry/entries")
        from torchlike._tensor.creation import full_like

        var = full_like(input, var)
    else:
        low = host_bounds_float(var)
        if low is not None and low[0] < 0:
            raise ValueError("var has negative entry/entries")
    a, b = aval_of(input).shape, aval_of(var).shape
    if a != b:
        if a[:-1] == b:
            var = var.unsqueeze(-1)
        elif not (len(a) == len(b) and sum(x != y for x, y in zip(a, b)) == 1 and 1 in b):
            raise ValueError("var is of incorrect size")
    if reduction not in ("none", "mean", "sum"):
        raise ValueError(reduction + " is not valid")
    return apply(TABLE["gaussian_nll_loss"], (input, target, var), (bool(full), eps, reduction))


def host_bounds_float(t):
    """(min, max) of a tensor whose numbers the host has at hand, else None."""
    array = at_hand(dispatch.value_of(t))
    if array is None:
        return None
    host = np.asarray(array)
    return (float(host.min()), float(host.max())) if host.size else None


# ---- probabilities -----------------------------------------------------------------------------


def binary_cross_entropy(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"
):
    """Cross entropy of probabilities; nan where they leave [0, 1] and only the device knows."""
    reduction = reduction_of(reduction, size_average, reduce)
    a, b = aval_of(input).shape, aval_of(target).shape
    if a != b:
        raise ValueError(
            f"Using a target size (torch.Size({list(b)})) that is different to the input size "
            f"(torch.Size({list(a)})) is deprecated. Please ensure they have the same size."
        )
    bounds = host_bounds_float(input)
    if bounds is not None and not (bounds[0] >= 0 and bounds[1] <= 1):
        raise RuntimeError("all elements of input should be between 0 and 1")
    if weight is not None:
        weight = weight.expand(a)
    return apply(TABLE["binary_cross_entropy"], (input, target, weight), (reduction,))


def binary_cross_entropy_with_logits(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean",
    pos_weight=None,
):  # fmt: skip
    """Cross entropy of sigmoid(input), without its overflow."""
    reduction = reduction_of(reduction, size_average, reduce)
    a, b = input._value.aval, target._value.aval
    if a.shape != b.shape:
        raise ValueError(
            f"Target size (torch.Size({list(b.shape)})) must be the same as input size "
            f"(torch.Size({list(a.shape)}))"
        )
    if b.dtype.category < 2 or a.dtype.category < 2:
        raise RuntimeError(
            f"result type Float can't be cast to the desired output type "
            f"{'Long' if b.dtype.category else 'Bool'}"
        )
    operands = (input, target, weight, pos_weight)
    loss = apply(TABLE["binary_cross_entropy_with_logits"], operands, (reduction,))
    return in_dtype_of(loss, target)


def kl_div(
    input, target, size_average=None, reduce=None, reduction: str = "mean",
    log_target: bool = False,
):  # fmt: skip
    """target * (log target - input)."""
    if size_average is None and reduce is None:
        if reduction == "mean":
            warn(
                "reduction: 'mean' divides the total loss by both the batch size and the support "
                "size.'batchmean' divides only by the batch size, and aligns with the KL div math "
                "definition.'mean' will be changed to behave the same as 'batchmean' in the next "
                "major release."
            )
        if reduction != "batchmean":
            reduction = reduction_of(reduction)
    else:
        reduction = reduction_of(reduction, size_average, reduce)
    return apply(TABLE["kl_div"], (input, target), (reduction, log_target))


# ---- margins -----------------------------------------------------------------------------------


def hinge_embedding_loss(
    input, target, margin: float = 1.0, size_average=None, reduce=None, reduction: str = "mean"
):
    """x where the target is 1, max(0, margin - x) where it is -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    # PyTorch only compares the target, so that no gradient reaches it.
    loss = apply(TABLE["hinge_embedding_loss"], (input, target.detach()), (margin, reduction))
    return in_dtype_of(loss, input)


def margin_ranking_loss(
    input1, input2, target, margin: float = 0, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """max(0, -target * (input1 - input2) + margin)."""
    reduction = reduction_of(reduction, size_average, reduce)
    if not input1.dim() == input2.dim() == target.dim():
        raise RuntimeError(
            "margin_ranking_loss : All input tensors should have same dimension but got sizes: "
            f"input1: {input1.size()}, input2: {input2.size()}, target: {target.size()} "
        )
    if target.dtype.category < dt.FLOATING:
        target = -(-target).to(input1.dtype)  # negated as itself: not bool, and uint8 wraps
    return apply(TABLE["margin_ranking_loss"], (input1, input2, target), (margin, reduction))


def soft_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean"):
    """log(1 + exp(-target * input))."""
    reduction = reduction_of(reduction, size_average, reduce)
    out = apply(TABLE["soft_margin_loss"], (input, target), (reduction,))
    if out.dtype is input.dtype or modes.cast is not None:
        return out
    return dispatch.fit(input.new_empty(out.shape), out)


def cosine_embedding_loss(
    input1, input2, target, margin: float = 0, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """1 - cos where the target is 1, max(0, cos - margin) where it is -1."""
    reduction = reduction_of(reduction, size_average, reduce)
    a, b, t = (aval_of(x).shape for x in (input1, input2, target))
    if len(t) > 1:
        raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
    if len(t) == 1:
        if len(a) != 2 or len(b) != 2:
            raise RuntimeError(
                "1D target tensor expects 2D input tensors, but found inputs with sizes "
                f"{list(a)} and {list(b)}."
            )
    elif len(a) != 1 or len(b) != 1:
        raise RuntimeError(
            "0D target tensor expects 1D input tensors, but found inputs with sizes "
            f"{list(a)} and {list(b)}."
        )
    operands = input1, input2, target.detach()  # only compared
    return apply(TABLE["cosine_embedding_loss"], operands, (margin, reduction))


def _check_triplet(anchor, positive, negative, margin) -> None:
    if margin <= 0:
        raise ValueError(f"margin must be greater than 0, got {margin}")
    dims = [aval_of(x).ndim for x in (anchor, positive, negative)]
    if len(set(dims)) > 1:
        raise RuntimeError(
            "The anchor, positive, and negative tensors are expected to have the same number of "
            f"dimensions, but got: anchor {dims[0]}D, positive {dims[1]}D, and negative {dims[2]}D "
            "inputs"
        )


def triplet_margin_loss(
    anchor, positive, negative, margin: float = 1.0, p: float = 2, eps: float = 1e-6,
    swap: bool = False, size_average=None, reduce=None, reduction: str = "mean",
):  # fmt: skip
    """max(0, margin + d(anchor, positive) - d(anchor, negative))."""
    reduction = reduction_of(reduction, size_average, reduce)
    _check_triplet(anchor, positive, negative, margin)
    statics = (margin, float(p), eps, swap, reduction)
    return apply(TABLE["triplet_margin_loss"], (anchor, positive, negative), statics)


def triplet_margin_with_distance_loss(
    anchor, positive, negative, *, distance_function=None, margin: float = 1.0,
    swap: bool = False, reduction: str = "mean",
):  # fmt: skip
    """``triplet_margin_loss`` with a distance of the user's own."""
    from torchlike._tensor.forms import FUNCTIONS

    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{reduction} is not a valid value for reduction")
    _check_triplet(anchor, positive, negative, margin)
    distance = distance_function or FUNCTIONS["pairwise_distance"]
    near, far = distance(anchor, positive), distance(anchor, negative)
    if swap:
        far = FUNCTIONS["minimum"](far, distance(positive, negative))
    loss = (margin + near - far).clamp_min(0)
    return loss if reduction == "none" else getattr(loss, reduction)()


def multilabel_margin_loss(input, target, size_average=None, reduce=None, reduction: str = "mean"):
    """Mean over classes of max(0, 1 - (x[wanted] - x[other]))."""
    reduction = reduction_of(reduction, size_average, reduce)
    a, b = aval_of(input).shape, aval_of(target).shape
    if a != b:
        raise RuntimeError(f"inconsistent target size: {list(b)} for input of size: {list(a)}")
    if a[-1:] == (0,):
        raise RuntimeError(
            "Expected non-empty vector or matrix with optional 0-dim batch size, but got: "
            f"{list(a)}"
        )
    bounds = host_bounds(target)
    if bounds is not None and (bounds[0] < -1 or bounds[1] >= (a[-1] if a else 1)):
        raise RuntimeError("argument #2 'target' is out of range")
    _check_numbers(target)
    return apply(TABLE["multilabel_margin_loss"], (input, target), (reduction, bounds is not None))


def _check_numbers(target) -> None:
    """Raise unless a target holds class numbers as PyTorch wants them."""
    if target.dtype is not dt.int64:
        found = dt.SCALAR_NAMES[target.dtype]
        raise RuntimeError(f"expected scalar type Long but found {found}")


def multilabel_soft_margin_loss(
    input, target, weight=None, size_average=None, reduce=None, reduction: str = "mean"
):
    """Mean over classes of the cross entropy of each sigmoid."""
    reduction = reduction_of(reduction, size_average, reduce)
    operands = (input, target, weight)
    return apply(TABLE["multilabel_soft_margin_loss"], operands, (reduction,))


def multi_margin_loss(
    input, target, p: int = 1, margin: float = 1.0, weight=None, size_average=None, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """Mean over the other classes of max(0, margin - x[class] + x)^p."""
    reduction = reduction_of(reduction, size_average, reduce)
    if p != 1 and p != 2:
        raise ValueError("only p == 1 and p == 2 supported")
    if weight is not None and weight.dim() != 1:
        raise ValueError("weight must be one-dimensional")
    a, b = aval_of(input).shape, aval_of(target).shape
    if len(a) > 2 or len(b) > 1 or (b[0] if b else 1) != (a[0] if len(a) == 2 else 1):
        raise RuntimeError(
            f"inconsistent target size, expected {a[0] if a else 1} but got {list(b)}"
        )
    bounds = host_bounds(target)
    if bounds is not None and not (bounds[0] >= 0 and bounds[1] < (a[-1] if a else 1)):
        raise RuntimeError("target out of range")
    _check_numbers(target)
    statics = (int(p), margin, reduction, bounds is not None)
    return apply(TABLE["multi_margin_loss"], (input, target, weight), statics)
