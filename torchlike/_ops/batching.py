"""Ops over a batch: any op under jax.vmap as an op of its own, and moves of the batch's axis."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from torchlike._ops import table
from torchlike._ops.table import Arrays, Op, evaluate


def batched(op: Op) -> Op:
    """``op`` over the first axis of those operands that the mask names."""
    found = op.vjp_ops.get("vmap")
    if found is None:

        def over_batch(operands: Arrays, given: tuple, mask: tuple):
            return _map(op, operands, given, mask)

        found = Op(
            f"{op.name}_batched", over_batch, promotes="raw", checks=op.checks,
            made_of=("batched", op),
        )  # fmt: skip
        op.vjp_ops["vmap"] = found
    return found


def _map(op: Op, operands, given, mask):
    sizes = []  # (size, rank) for each range check of the op, the same for every sample

    def one(*mapped):
        mapped = iter(mapped)
        full = [next(mapped) if m else x for x, m in zip(operands, mask, strict=True)]
        if getattr(table._reports, "into", None) is None:
            return evaluate(op, full, given), []
        with table.collecting_bad_indices() as found:
            results = evaluate(op, full, given)
        sizes[:] = [(size, rank) for _, size, rank in found]
        return results, [flag for flag, _, _ in found]

    mapped = [x for x, m in zip(operands, mask, strict=True) if m]
    results, flags = jax.vmap(one)(*mapped)
    for flag, (size, rank) in zip(flags, sizes, strict=True):
        first = flag[jnp.argmax(flag[:, 0] > 0), 1]
        table._reports.into.append((jnp.stack([flag[:, 0].sum(), first]), size, rank))
    return results


def _total(x):
    """Sum over the batch."""
    return x.sum(0, dtype=x.dtype)


def _spread(x, size: int):
    """A batch of ``size`` equal samples."""
    return jnp.broadcast_to(x, (size, *x.shape))


def _times(x, size: int):
    """The sum of ``size`` equal samples."""
    return x * jnp.asarray(size, x.dtype)


def _swap(x):
    """The first two axes swapped."""
    return jnp.swapaxes(x, 0, 1)


TOTAL = Op("batch_total", _total, linear=True, made_of=("total",))
SPREAD = Op("batch_spread", _spread, linear=True, made_of=("spread",))
TIMES = Op("batch_times", _times, linear=True, made_of=("times",))
SWAP = Op("batch_swap", _swap, linear=True, made_of=("swap",))
