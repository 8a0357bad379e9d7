"""Embeddings and one-hot codes of ``torch.nn.functional``."""

from __future__ import annotations

import warnings

import numpy as np

from torchlike._core.dtypes import SCALAR_NAMES, int64
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of, value_of
from torchlike._tensor.indexing import at_hand, host_bounds
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.products import need_tensor
from torchlike._tensor.size_arguments import integer
from torchlike._tensor.sparse import embedding as sparse_embedding

_EMBEDDING, _RENORM = TABLE["embedding"], TABLE["embedding_renorm"]
_BAG, _ONE_HOT = TABLE["embedding_bag"], TABLE["one_hot"]


def _in_range(input, rows: int, bags: bool = False) -> bool:
    bounds = host_bounds(input) if not input.dtype.is_floating_point else None
    if bounds is None:
        return False
    if bounds[1] >= bounds[0] and not (bounds[0] >= 0 and bounds[1] < rows):
        if not bags:
            raise IndexError("index out of range in self")
        found = bounds[0] if bounds[0] < 0 else bounds[1]
        raise RuntimeError(
            f"embedding_bag: Expected idx >= 0 && idx < num_embeddings but found idx to be {found}"
        )
    return True


def _padding(padding_idx, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx + rows if padding_idx < 0 else padding_idx


def _bags(offsets, count: int, include_last_offset: bool) -> bool:
    """Whether the starts of bags are known to be good; raises if they are known not to be."""
    if include_last_offset and not offsets._value.aval.numel:
        raise RuntimeError("include_last_offset: number of offset should be at least 1")
    starts = at_hand(value_of(offsets))
    if starts is None:
        return False
    starts = np.asarray(starts)
    if len(starts) and starts[0] != 0:
        raise RuntimeError(
            "offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from "
            f"position 0. However, got {int(starts[0])}"
        )
    if len(starts) and starts[-1] > count:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length {count} but got offsets[-1] of "
            f"{int(starts[-1])}"
        )
    return True


def _renorm(weight, input, max_norm, norm_type) -> None:
    with no_grad():
        new = apply(_RENORM, (weight, input), (float(max_norm), float(norm_type)))
        dispatch.rebind(weight, new)


def embedding(
    input, weight, padding_idx: int | None = None, max_norm: float | None = None,
    norm_type: float = 2.0, scale_grad_by_freq: bool = False, sparse: bool = False,
):  # fmt: skip
    """weight[input]; ``max_norm`` scales the rows that are used down in place."""
    if not isinstance(input, dispatch._Tensor):
        need_tensor("embedding", "indices", 2, input)
    rows = weight._value.aval.shape[0] if weight._value.aval.ndim else 1
    padding = _padding(padding_idx, rows)
    checked = _in_range(input, rows)
    if max_norm is not None:
        _renorm(weight, input, max_norm, norm_type)
    if sparse and modes.grad and weight.requires_grad:
        return sparse_embedding.embedding(input, weight, padding, scale_grad_by_freq, checked)
    return apply(_EMBEDDING, (weight, input), (padding, scale_grad_by_freq, checked))


def embedding_bag(
    input, weight, offsets=None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights=None, include_last_offset: bool = False, padding_idx: int | None = None,
):  # fmt: skip
    """Sums, means or maxima of bags of rows of ``weight``."""
    if weight.dtype is int64 and input.is_floating_point():
        warnings.warn(
            "Argument order of nn.functional.embedding_bag was changed. Usage "
            "`embedding_bag(weight, input, ...)` is deprecated, and should now be "
            "`embedding_bag(input, weight, ...)`.",
            stacklevel=2,
        )
        input, weight = weight, input
    if scale_grad_by_freq and mode == "max":
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if sparse and mode == "max":
        raise ValueError("max mode does not support sparse weights")
    ndim = aval_of(input).ndim
    if ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch "
                f"of fixed length sequences. However, found offsets of type {type(offsets)}"
            )
    elif ndim == 1:
        if offsets is None:
            raise ValueError("offsets has to be a 1D Tensor but got None")
        if offsets.dim() != 1:
            raise ValueError("offsets has to be a 1D Tensor")
    else:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {ndim}")
    if per_sample_weights is not None:
        if mode != "sum":
            raise NotImplementedError(
                "embedding_bag: per_sample_weights was not None. per_sample_weights is only "
                f"supported for mode='sum' (got mode='{mode}'). Please open a feature request on "
                "GitHub."
            )
        if per_sample_weights.shape != input.shape:
            raise ValueError(
                f"embedding_bag: If per_sample_weights ({tuple(per_sample_weights.shape)}) is not "
                f"None, then it must have the same shape as the input ({tuple(input.shape)})"
            )
    if weight._value.aval.ndim != 2:
        raise ValueError(
            f"weight has to be a 2D Tensor, but got Tensor of dimension {weight._value.aval.ndim}"
        )
    if not weight.dtype.is_floating_point:
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have one of the following scalar types: "
            f"Half, BFloat16, Float, Double; but got torch.{SCALAR_NAMES[weight.dtype]}Tensor "
            "instead (while checking arguments for embedding_bag)"
        )
    rows = weight._value.aval.shape[0]
    if padding_idx is not None and not -rows <= padding_idx < rows:
        raise RuntimeError(
            f"padding_idx must be within the number of embeddings, -{rows} through {rows - 1}, "
            f"but got {padding_idx}"
        )
    padding = _padding(padding_idx, rows)
    checked = _in_range(input, rows, bags=True)
    include_last_offset = bool(include_last_offset) and ndim == 1
    if offsets is not None:
        checked &= _bags(offsets, input._value.aval.numel, include_last_offset)
    if max_norm is not None:
        _renorm(weight, input, max_norm, norm_type)
    statics = (mode, include_last_offset, padding, checked)
    if sparse and modes.grad and weight.requires_grad:
        given = offsets, per_sample_weights, scale_grad_by_freq
        return sparse_embedding.embedding_bag(input, weight, *given, *statics)
    if scale_grad_by_freq and modes.grad and weight.requires_grad:
        found = apply(_EMBEDDING, (weight, input.reshape(-1)), (padding, True, checked))
        return sparse_embedding.bags_of_rows(found, input, offsets, per_sample_weights, *statics)
    return apply(_BAG, (weight, input, offsets, per_sample_weights), statics)


def one_hot(input, num_classes: int = -1):
    """1 at the number of the class, else 0; without ``num_classes`` it needs the largest number."""
    num_classes = integer("one_hot", "num_classes", 2, num_classes)
    if num_classes == -1:
        if input.dtype.is_floating_point:
            raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
        if not input._value.aval.numel:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(input._host().max()) + 1
    elif num_classes < 1 and input._value.aval.numel == 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    bounds = None if input.dtype.is_floating_point else host_bounds(input)
    if bounds is not None and bounds[1] >= bounds[0]:
        if bounds[0] < 0:
            raise RuntimeError("Class values must be non-negative.")
        if bounds[1] >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return apply(_ONE_HOT, (input,), (num_classes, bounds is not None))
