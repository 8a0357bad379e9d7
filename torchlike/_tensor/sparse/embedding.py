"""Look-ups whose gradient is sparse: embeddings, bags of them, gather; uncoalesced."""

from __future__ import annotations

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._ops.table import TABLE
from torchlike._tensor import selection
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.function import Function
from torchlike._tensor.sparse.parts import Coo, build, coo, named

_EMBEDDING = TABLE["embedding"]


class _Embedding(Function):
    """weight[input]; the gradient of the table is COO with one sparse dimension."""

    @staticmethod
    def forward(ctx, weight, input, padding, scaled, checked):
        ctx.save_for_backward(input)
        ctx.padding, ctx.scaled = padding, scaled
        ctx.size = tuple(weight.shape)
        return apply(_EMBEDDING, (weight, input), (padding, False, checked))

    @staticmethod
    def backward(ctx, grad):
        if ctx.scaled:
            raise RuntimeError(
                "embedding_backward: scale_grad_by_freq not supported with sparse gradients"
            )
        (input,) = ctx.saved_tensors
        index = input.reshape(-1)
        values = grad.reshape(index.shape[0], ctx.size[1])
        if ctx.padding >= 0:
            kept = np.flatnonzero(index._host() != ctx.padding)
            kept = from_host(kept, values.device)
            index, values = index[kept], values[kept]
        # The gradient outlives the caller's buffer of indices, which may be written to next.
        index = index.to(dt.int64).unsqueeze(0).clone()
        return build(Coo(index, values.detach(), ctx.size, False), values), *[None] * 4


def embedding(input, weight, padding: int, scale_grad_by_freq: bool, checked: bool):
    """``nn.functional.embedding`` with ``sparse=True``."""
    rows = _Embedding.apply(weight, input, padding, scale_grad_by_freq, checked)
    return named(rows, "EmbeddingBackward0")


def embedding_bag(input, weight, offsets, per_sample_weights, scale_grad_by_freq, mode,
                  include_last_offset, padding, checked):  # fmt: skip
    """``nn.functional.embedding_bag`` with ``sparse=True``: the rows, then the bags of them."""
    rows = _Embedding.apply(weight, input.reshape(-1), padding, scale_grad_by_freq, checked)
    statics = mode, include_last_offset, padding, checked
    return bags_of_rows(rows, input, offsets, per_sample_weights, *statics)


def bags_of_rows(rows, input, offsets, per_sample_weights, mode, include_last_offset, padding,
                 checked):  # fmt: skip
    """Bags of rows that have been looked up, whose gradient is then that of the look-up."""
    count = rows.shape[0]
    places = FUNCTIONS["arange"](count, device=rows.device)
    if padding >= 0:  # what is padded is the row behind the others
        places = FUNCTIONS["where"](input.reshape(-1) == padding, count, places)
        blank = rows.new_zeros((1, rows.shape[1]))
        rows, padding = FUNCTIONS["cat"]((rows, blank)), count
    places = places.reshape(input.shape)
    statics = (mode, include_last_offset, padding, checked)
    return apply(TABLE["embedding_bag"], (rows, places, offsets, per_sample_weights), statics)


class _Gather(Function):
    """gather whose gradient is COO: one element for each that was read."""

    @staticmethod
    def forward(ctx, input, index, dim, checked):
        ctx.save_for_backward(index)
        ctx.dim, ctx.size = dim, tuple(input.shape)
        return apply(TABLE["gather_dim"], (input, index), (dim, checked))

    @staticmethod
    def backward(ctx, grad):
        (index,), values = ctx.saved_tensors, grad.reshape(-1)
        index = index._host()
        found = np.indices(index.shape or (1,)).reshape(max(index.ndim, 1), -1)
        found[ctx.dim] = index.reshape(-1)
        if not ctx.size:
            found = found[:0]
        return coo(found, values, ctx.size, False), None, None, None


def gather(input, index, dim: int, checked: bool):
    """``torch.gather`` with ``sparse_grad=True``."""
    return named(_Gather.apply(input, index, dim, checked), "GatherBackward0")


selection._sparse_gather = gather
