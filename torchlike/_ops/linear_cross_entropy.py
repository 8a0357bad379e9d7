"""The cross entropy of a linear map, some rows at a time: all logits never exist at once."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from torchlike._ops import loops
from torchlike._ops.loss import _check_target, _check_weight
from torchlike._ops.matmul import contract
from torchlike._ops.table import report_bad_index
from torchlike._ops.windows import layer, reduce_loss, require_floating, widen


@layer("linear_cross_entropy", checks=True)
def linear_cross_entropy(
    input, linear_weight, target, linear_bias=None, weight=None, *, ignore_index: int,
    reduction: str, rows: int, checked: bool,
):  # fmt: skip
    """cross_entropy of input @ linear_weight.T, ``rows`` of the input at a time.

    Each part's logits are computed again for the gradient instead of being kept.
    """
    count, classes = input.shape[0], linear_weight.shape[0]
    _check_target(jax.ShapeDtypeStruct((count, classes), input.dtype), target)
    _check_weight(weight, classes)
    require_floating(input, "log_softmax_lastdim_kernel_impl")
    valid = target != ignore_index
    if not checked:
        report_bad_index(jnp.where(valid, target, 0), classes)
    index = jnp.where(valid, target, 0).astype(jnp.int32)
    own = valid.astype(widen(input).dtype)
    if weight is not None:
        own = own * widen(weight)[index]

    @jax.checkpoint
    def losses(part):
        x, classes_of = part
        logits = contract(x, linear_weight, (1,), (1,))
        logits = widen(logits if linear_bias is None else logits + linear_bias)
        picked = jnp.take_along_axis(logits, classes_of[:, None], 1)[:, 0]
        return jax.nn.logsumexp(logits, axis=1) - picked

    parts = -(-count // rows)
    missing = parts * rows - count
    x = jnp.pad(input, ((0, missing), (0, 0))).reshape(parts, rows, -1)
    at = jnp.pad(index, (0, missing)).reshape(parts, rows)
    loss = loops.map(losses, (x, at)).reshape(-1)[:count]
    loss = jnp.where(valid, loss * own, 0)
    if reduction == "mean":
        return (loss.sum() / own.sum()).astype(input.dtype)
    return reduce_loss(loss, reduction).astype(input.dtype)
