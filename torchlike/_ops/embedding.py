"""Rows of a table by number: embeddings, bags of embeddings, one-hot codes."""

from __future__ import annotations

from math import prod

import jax
import jax.numpy as jnp

from torchlike._core import dtypes as dt
from torchlike._ops.clipping import vector_norm
from torchlike._ops.table import report_bad_index, torch_dtype
from torchlike._ops.windows import layer, widen


def _check_indices(input, weight, who="embedding", name="indices"):
    d = torch_dtype(input)
    if d is not dt.int64 and d is not dt.int32:
        raise RuntimeError(
            f"Expected tensor for argument #1 '{name}' to have one of the following scalar types: "
            f"Long, Int; but got torch.{dt.SCALAR_NAMES[d]}Tensor instead (while checking "
            f"arguments for {who})"
        )
    if weight.ndim != 2:
        raise RuntimeError("'weight' must be 2-D")


def _embedding_vjp(c, g):
    index, s = c.operands[1], c.statics
    rows, width = c.shapes[0].shape
    flat = index.reshape(-1)
    g = g.reshape(prod(index.shape), width)
    if s["scale_grad_by_freq"]:
        count = jnp.zeros(rows, g.dtype).at[flat].add(1, mode="drop")
        g = g / count.at[flat].get(mode="clip")[:, None]
    if s["padding_idx"] >= 0:
        g = jnp.where((flat == s["padding_idx"])[:, None], 0, g)
    return jnp.zeros((rows, width), g.dtype).at[flat].add(g, mode="drop"), None


@layer("embedding", checks=True, vjp=_embedding_vjp, needs={"weight": ("input",)})
def embedding(weight, input, padding_idx: int, scale_grad_by_freq: bool, checked: bool):
    """weight[input]; the row ``padding_idx`` gets no gradient."""
    _check_indices(input, weight)
    if not checked:
        report_bad_index(input, weight.shape[0])
    return weight.at[input].get(mode="clip")


@layer("embedding_renorm", differentiable=False)
def embedding_renorm(weight, input, max_norm: float, norm_type: float):
    """The table with the rows that ``input`` names scaled down to ``max_norm``."""
    norm = jax.vmap(lambda row: vector_norm(row, norm_type))(weight)
    named = jnp.zeros(weight.shape[0], bool).at[input.reshape(-1)].set(True, mode="drop")
    factor = jnp.where(named & (norm > max_norm), max_norm / (norm + 1e-7), 1)
    return weight * factor[:, None].astype(weight.dtype)


@layer("embedding_bag", checks=True)
def embedding_bag(
    weight, input, offsets=None, per_sample_weights=None, *, mode: str, include_last_offset: bool,
    padding_idx: int, checked: bool,
):  # fmt: skip
    """Sums, means or maxima of the rows of each bag; bags start at ``offsets``, or are rows."""
    _check_indices(input, weight, "embedding_bag")
    if offsets is not None:
        _check_indices(offsets, weight, "embedding_bag", "offsets")
    if per_sample_weights is not None and per_sample_weights.dtype != weight.dtype:
        kinds = [dt.SCALAR_NAMES[torch_dtype(x)] for x in (weight, per_sample_weights)]
        raise RuntimeError(
            "Expected tensor for argument #1 'weight' to have the same type as tensor for argument "
            f"#1 'per_sample_weights'; but type torch.{kinds[0]}Tensor does not equal "
            f"torch.{kinds[1]}Tensor (while checking arguments for embedding_bag)"
        )
    if not checked:
        report_bad_index(input, weight.shape[0])
        if offsets is not None:
            report_bad_index(offsets[:1], 1)
            if include_last_offset or offsets.size:
                report_bad_index(offsets[-1:], input.size + 1)
    flat = input.reshape(-1)
    if offsets is None:
        bags = input.shape[0]
        bag = jnp.repeat(jnp.arange(bags), input.shape[1], total_repeat_length=flat.size)
    else:
        starts = offsets[:-1] if include_last_offset else offsets
        bags = starts.shape[0]
        bag = jnp.searchsorted(starts, jnp.arange(flat.size, dtype=starts.dtype), side="right") - 1
    live = flat != padding_idx
    # PyTorch's kernels part here: the fast ones end the last bag at the last offset, the others,
    # which know of maxima, paddings and float64, at the end of the input.
    fast = mode != "max" and padding_idx < 0 and weight.dtype != jnp.float64
    if include_last_offset and fast:
        live &= jnp.arange(flat.size) < offsets[-1]
    rows = weight.at[flat].get(mode="clip")
    if per_sample_weights is not None:
        rows = rows * per_sample_weights.reshape(-1, 1)
    bag = jnp.where(live, bag, bags)
    rows = widen(rows)
    count = jax.ops.segment_sum(live.astype(rows.dtype), bag, bags + 1)[:bags, None]
    if mode == "max":
        best = jax.ops.segment_max(rows, bag, bags + 1)[:bags]
        return jnp.where(count > 0, best, 0).astype(weight.dtype)
    total = jax.ops.segment_sum(rows, bag, bags + 1)[:bags]
    total = total / jnp.maximum(count, 1) if mode == "mean" else total
    return total.astype(weight.dtype)


@layer("one_hot", differentiable=False, checks=True)
def one_hot(input, num_classes: int, checked: bool):
    """1 at the number of the class, else 0."""
    if torch_dtype(input) is not dt.int64:
        raise RuntimeError("one_hot is only applicable to index tensor of type LongTensor.")
    if not checked:
        report_bad_index(input, num_classes)
    return (input[..., None] == jnp.arange(num_classes)).astype(jnp.int64)
