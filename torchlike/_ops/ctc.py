"""Connectionist temporal classification: the sum over all alignments, by dynamic programming."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._ops import loops
from torchlike._ops.table import Dim, report_bad_index, torch_dtype
from torchlike._ops.windows import layer


def _extended(targets, wanted, blank, longest):
    """(batch, 2 * longest + 1): blanks with the targets between them."""
    batch = wanted.shape[0]
    if targets.ndim == 1:
        starts = jnp.cumsum(wanted) - wanted
        at = starts[:, None] + jnp.arange(longest)
        live = jnp.arange(longest) < wanted[:, None]
        targets = targets.at[jnp.where(live, at, 0)].get(mode="fill", fill_value=blank)
    else:
        live = jnp.arange(longest) < wanted[:, None]
        targets = targets[:, :longest]
    labels = jnp.full((batch, 2 * longest + 1), blank, jnp.int64)
    return labels.at[:, 1::2].set(jnp.where(live, targets, blank).astype(jnp.int64)), live, targets


def _log_sum(*terms):
    """log(sum(exp)) of arrays, with gradient 0 where all are -inf."""
    best = terms[0]
    for t in terms[1:]:
        best = jnp.maximum(best, t)
    best = lax.stop_gradient(jnp.where(jnp.isneginf(best), 0, best))
    total = sum(jnp.exp(t - best) for t in terms)
    empty = total == 0
    return jnp.where(empty, -jnp.inf, jnp.log(jnp.where(empty, 1, total)) + best)


def _ctc_vjp(c, g):
    """PyTorch's rule takes log_probs for the logits that ``log_softmax`` made them of."""
    log_probs, targets, input_lengths, target_lengths = c.operands
    s, x = c.statics, log_probs
    lone = x.ndim == 2
    if lone:
        x, targets = x[:, None], targets.reshape(1, -1)
    g = jnp.broadcast_to(g, target_lengths.shape)
    if s["reduction"] == "mean":
        g = g / jnp.maximum(target_lengths, 1).astype(g.dtype) / max(target_lengths.shape[0], 1)
    labels, _, _ = _extended(targets, target_lengths, s["blank"], s["longest"])
    likelihood = lambda v: _negative_log_likelihood(v, labels, input_lengths, target_lengths)  # noqa: E731
    loss, pull = jax.vjp(likelihood, x)
    (occupied,) = pull(jnp.ones_like(loss))
    infinite = jnp.isinf(loss)[:, None]
    lost = 0 if s["zero_infinity"] else jnp.nan
    out = g[:, None] * jnp.where(infinite, lost, jnp.exp(x) + occupied)
    heard = jnp.arange(x.shape[0])[:, None] < input_lengths
    out = jnp.where(heard[:, :, None], out, 0)
    return (out[:, 0] if lone else out), None, None, None


_NODES = {"none": "CtcLossBackward0", "mean": "MeanBackward0", "sum": "SumBackward0"}


@layer("ctc_loss", checks=True, vjp=_ctc_vjp, grad_name=lambda c: _NODES[c.reduction])
def ctc_loss(
    log_probs, targets, input_lengths, target_lengths, blank: Dim, reduction: str,
    zero_infinity: bool, longest: int, checked: bool,
):  # fmt: skip
    """Negative log likelihood of the targets under all their alignments with the input."""
    d = torch_dtype(log_probs)
    if d is not dt.float32 and d is not dt.float64:
        raise NotImplementedError(f"\"ctc_loss_cpu\" not implemented for '{dt.SCALAR_NAMES[d]}'")
    x = log_probs
    lone = x.ndim == 2
    if lone:
        x, targets = x[:, None], targets.reshape(1, -1)
    labels, live, shown = _extended(targets, target_lengths, blank, longest)
    if not checked:
        report_bad_index(jnp.where(live, shown, 0), x.shape[2])
    loss = _negative_log_likelihood(x, labels, input_lengths, target_lengths)
    if zero_infinity:
        loss = jnp.where(jnp.isinf(loss), 0, loss)
    if reduction == "mean":
        loss = (loss / jnp.maximum(target_lengths, 1).astype(loss.dtype)).mean()
    elif reduction == "sum":
        loss = loss.sum()
    elif lone:
        loss = loss[0]
    return loss


def _negative_log_likelihood(x, labels, input_lengths, target_lengths):
    steps, batch, _ = x.shape
    width = labels.shape[1]
    low = jnp.full((batch, 1), -jnp.inf, x.dtype)
    # A label may follow the label before the last blank unless both are the same.
    apart = jnp.concatenate([jnp.zeros((batch, 2), bool), labels[:, 2:] != labels[:, :-2]], 1)
    spoken = jnp.take_along_axis(x, jnp.broadcast_to(labels, (steps, *labels.shape)), 2)
    place = jnp.arange(width)
    start = jnp.where(place < jnp.where(target_lengths > 0, 2, 1)[:, None], 0.0, -jnp.inf)
    first = start.astype(x.dtype) + spoken[0] if steps else start.astype(x.dtype)

    def step(alpha, now):
        t, said = now
        before = jnp.concatenate([low, alpha[:, :-1]], 1)
        skipped = jnp.concatenate([low, low, alpha[:, :-2]], 1)[:, :width]
        skipped = jnp.where(apart[:, :width], skipped, -jnp.inf)
        new = _log_sum(alpha, before, skipped) + said
        return jnp.where((t < input_lengths)[:, None], new, alpha), None

    alpha, _ = loops.scan(step, first, (jnp.arange(1, max(steps, 1)), spoken[1:]))
    ends = 2 * target_lengths[:, None]
    last = jnp.take_along_axis(alpha, ends, 1)[:, 0]
    before = jnp.take_along_axis(alpha, jnp.maximum(ends - 1, 0), 1)[:, 0]
    before = jnp.where(target_lengths > 0, before, -jnp.inf)
    found = -_log_sum(last, before)
    # Without any input only the empty target can be said.
    silent = jnp.where(target_lengths == 0, 0.0, jnp.inf).astype(x.dtype)
    return jnp.where(input_lengths == 0, silent, found)
