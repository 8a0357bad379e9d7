"""Embeddings and one-hot codes of ``torch.nn.functional``."""

from __future__ import annotations

from torchlike._core.errors import NotSupported
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply
from torchlike._tensor.indexing import host_bounds
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.products import need_tensor
from torchlike._tensor.sparse import embedding as sparse_embedding

_EMBEDDING, _RENORM = TABLE["embedding"], TABLE["embedding_renorm"]
_BAG, _ONE_HOT = TABLE["embedding_bag"], TABLE["one_hot"]


def _in_range(input, rows: int) -> bool:
    bounds = host_bounds(input) if not input.dtype.is_floating_point else None
    if bounds is None:
        return False
    if bounds[1] >= bounds[0] and not (bounds[0] >= 0 and bounds[1] < rows):
        raise IndexError("index out of range in self")
    return True


def _padding(padding_idx, rows: int) -> int:
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError("Padding_idx must be within num_embeddings")
    return padding_idx + rows if padding_idx < 0 else padding_idx


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
    return apply(_EMBEDDING, (weight, input), (padding, bool(scale_grad_by_freq), checked))


def embedding_bag(
    input, weight, offsets=None, max_norm: float | None = None, norm_type: float = 2,
    scale_grad_by_freq: bool = False, mode: str = "mean", sparse: bool = False,
    per_sample_weights=None, include_last_offset: bool = False, padding_idx: int | None = None,
):  # fmt: skip
    """Sums, means or maxima of bags of rows of ``weight``."""
    if scale_grad_by_freq:
        raise NotSupported("scale_grad_by_freq of embedding bags", "use embedding() and a mean")
    if mode not in ("sum", "mean", "max"):
        raise ValueError("mode has to be one of sum, mean or max")
    if sparse and mode == "max":
        raise ValueError("max mode does not support sparse weights")
    ndim = input._value.aval.ndim
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
    rows = weight._value.aval.shape[0]
    padding = _padding(padding_idx, rows)
    checked = _in_range(input, rows)
    if max_norm is not None:
        _renorm(weight, input, max_norm, norm_type)
    statics = (mode, bool(include_last_offset) and ndim == 1, padding, checked)
    if sparse and modes.grad and weight.requires_grad:
        return sparse_embedding.embedding_bag(input, weight, offsets, per_sample_weights, *statics)
    return apply(_BAG, (weight, input, offsets, per_sample_weights), statics)


def one_hot(tensor, num_classes: int = -1):
    """1 at the number of the class, else 0; without ``num_classes`` it needs the largest number."""
    if num_classes == -1:
        if tensor.dtype.is_floating_point:
            raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
        if not tensor._value.aval.numel:
            raise RuntimeError("Can not infer total number of classes from empty tensor.")
        num_classes = int(tensor._host().max()) + 1
    elif num_classes < 1 and tensor._value.aval.numel == 0:
        raise RuntimeError("Can not infer total number of classes from empty tensor.")
    bounds = None if tensor.dtype.is_floating_point else host_bounds(tensor)
    if bounds is not None and bounds[1] >= bounds[0]:
        if bounds[0] < 0:
            raise RuntimeError("Class values must be non-negative.")
        if bounds[1] >= num_classes:
            raise RuntimeError("Class values must be smaller than num_classes.")
    return apply(_ONE_HOT, (tensor,), (num_classes, bounds is not None))
