"""Losses over class numbers of ``torch.nn.functional``: nll, cross entropy, connectionist."""

from __future__ import annotations

import numpy as np

from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.indexing import host_bounds
from torchlike._tensor.products import need_tensor
from torchlike.nn.functional.reduction import reduction_of

_NLL, _HARD, _SOFT = TABLE["nll_loss"], TABLE["cross_entropy"], TABLE["cross_entropy_soft"]


def _in_range(input, target, ignore_index: int) -> bool:
    """Whether the host knows all classes to exist; raises ``IndexError`` if it knows of one not."""
    bounds = host_bounds(target)
    if bounds is None:
        return False
    shape = input._value.aval.shape
    classes = shape[1] if len(shape) > 1 else shape[0] if shape else 1
    low, high = bounds
    if low < 0 or high >= classes:
        host = np.asarray(dispatch.value_of(target).array).reshape(-1)
        bad = host[(host != ignore_index) & ((host < 0) | (host >= classes))]
        if bad.size and host.dtype.kind in "iu":
            raise IndexError(f"Target {bad[0]} is out of bounds.")
    return True


def nll_loss(
    input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None,
    reduction: str = "mean",
):  # fmt: skip
    """-input[class] (https://pytorch.org/docs/stable/generated/torch.nn.functional.nll_loss.html)."""
    reduction = reduction_of(reduction, size_average, reduce)
    a, b = input._value.aval, target._value.aval
    checked = b.shape == (*a.shape[:1], *a.shape[2:]) and _in_range(input, target, ignore_index)
    return apply(_NLL, (input, target, weight), (ignore_index, reduction, checked))


def cross_entropy(
    input, target, weight=None, size_average=None, ignore_index: int = -100, reduce=None,
    reduction: str = "mean", label_smoothing: float = 0.0,
):  # fmt: skip
    """Cross entropy of logits with class numbers, or with probabilities of the input's shape."""
    reduction = reduction_of(reduction, size_average, reduce)
    for i, x in enumerate((input, target)):
        if not isinstance(x, dispatch._Tensor):
            need_tensor("cross_entropy_loss", ("input", "target")[i], i + 1, x)
    if not label_smoothing > 0:
        label_smoothing = 0.0
    a, b = input._value.aval, target._value.aval
    if a.shape == b.shape:
        if ignore_index >= 0:
            raise RuntimeError("ignore_index is not supported for floating point target")
        return apply(_SOFT, (input, target, weight), (reduction, label_smoothing))
    checked = False
    if b.ndim == max(a.ndim - 1, 0):
        checked = _in_range(input, target, ignore_index)
    statics = (ignore_index, reduction, label_smoothing, checked)
    return apply(_HARD, (input, target, weight), statics)
