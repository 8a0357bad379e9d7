"""Random ops: which they are, and what can be asked of a result that is random."""

from __future__ import annotations

import itertools
import re

import numpy as np

from . import compare as C
from .outcomes import Fail, same_tree

# Values cannot be compared one by one. A sample of such an op is treated as random only where
# PyTorch itself answers differently under different seeds (dropout with training=False is not).
RANDOM = {
    "cauchy",
    "exponential",
    "geometric",
    "log_normal",
    "normal.in_place",
    "uniform",
    "nn.functional.fractional_max_pool2d",
    "nn.functional.fractional_max_pool3d",
    "nn.functional.rrelu",
    "nn.functional.scaled_dot_product_attention",
    "nn.functional.multi_head_attention_forward",
    "randn",
    "randn_like",
    "rand_like",
    "randint",
    "randint_like",
    "multinomial",
    "normal",
    "normal.number_mean",
    "bernoulli",
    "nn.functional.dropout",
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.alpha_dropout",
    "nn.functional.feature_alpha_dropout.with_train",
    "nn.functional.feature_alpha_dropout.without_train",
    "svd_lowrank",
    "pca_lowrank",
}
# dropout of whole channels: that many independent draws only
CHANNELWISE = {
    "nn.functional.dropout2d",
    "nn.functional.dropout3d",
    "nn.functional.feature_alpha_dropout.with_train",
    "nn.functional.feature_alpha_dropout.without_train",
}
# a random element is one of two values (masked or not)
TWO_VALUED = re.compile("dropout|bernoulli", re.I)
# random algorithm, but the canonical form of the result is not random
RANDOM_ALGORITHM = {"svd_lowrank", "pca_lowrank"}


def _linear(x, out, w, g):
    """out = mask * x elementwise, whatever the mask: then g = w * mask."""
    if np.allclose(g * x, w * out, rtol=1e-4, atol=1e-4):
        return None
    return "gradient does not belong to the random mask of the forward"


def _routed(x, out, w, g):
    """out picks elements of x: g holds every weight once, where it was picked."""
    allowed = 1e-2 * max(1, abs(w * out).sum())
    if abs(g.sum() - w.sum()) > 1e-3 or abs((g * x).sum() - (w * out).sum()) > allowed:
        return "gradient does not belong to the elements picked by the forward"
    return None


# what must hold between a random result and its gradient
RANDOM_GRAD = {
    "nn.functional.dropout": _linear,
    "nn.functional.dropout2d": _linear,
    "nn.functional.dropout3d": _linear,
    "nn.functional.rrelu": _linear,
    "nn.functional.fractional_max_pool2d": _routed,
    "nn.functional.fractional_max_pool3d": _routed,
}

DRAWS = 32


def leaves_of(tree):
    """The tensors of a tree, in order."""
    if tree.kind == "tensor":
        yield tree
    elif tree.kind in ("seq", "dict"):
        for k in tree.kids:
            yield from leaves_of(k)


def _pool(trees):
    """The numbers of the first tensor of each draw."""
    vals = []
    for tr in trees:
        for lf in itertools.islice(leaves_of(tr), 1):
            a = lf.arr
            a = a.real if np.iscomplexobj(a) else a
            vals.append(a.astype(np.float64).ravel())
    v = np.concatenate(vals) if vals else np.zeros(0)
    return v[np.isfinite(v)]


def ks(a, b):
    """The statistic of Kolmogorov and Smirnov: how far two distributions are apart."""
    a, b = np.sort(a), np.sort(b)
    grid = np.concatenate([a, b])
    fa = np.searchsorted(a, grid, side="right") / len(a)
    fb = np.searchsorted(b, grid, side="right") / len(b)
    return float(np.max(np.abs(fa - fb)))


def two_valued(o_draws, t_draws):
    """Elements for which PyTorch drew exactly two values, both several times: we may only draw
    those."""

    def stack(draws, i):
        return np.stack([list(leaves_of(d))[i].arr for d in draws]).reshape(len(draws), -1)

    for i in range(len(list(leaves_of(o_draws[0])))):
        try:
            o, t = stack(o_draws, i), stack(t_draws, i)
        except (ValueError, IndexError):
            continue  # shapes vary
        for j in range(o.shape[1]):
            vals, counts = np.unique(o[:, j], return_counts=True)
            if len(vals) != 2 or counts.min() < 4 or not np.all(np.isfinite(vals)):
                continue
            if np.issubdtype(vals.dtype, np.bool_):
                continue
            near = np.abs(t[:, j][:, None] - vals[None]) <= 1e-5 + 1e-4 * np.abs(vals)
            if not near.any(1).all():
                got = t[:, j][~near.any(1)][0]
                return f"random element is {got}, PyTorch only draws {vals[0]} or {vals[1]}"
    return None


def check_random(op, sample, run_o, run_t, first_o, flags):
    """A random result: structure, dtypes, shapes; the same under the same
    seed; where the oracle's elements take just two values (dropout), no third
    one; and the same distribution (two-sample Kolmogorov-Smirnov test over
    DRAWS seeds, p < 1e-6) where there are enough numbers to tell."""
    t = run_t(0)
    res = C.compare(first_o, t, values=False)
    if not res.ok:
        raise Fail(f"{res.mismatch.cls}: {res.mismatch}")
    # NumPy runs the first call and a program the later ones; their roundings differ, and attention
    # with large scores makes much of it. Another draw is far off.
    if not C.compare(t, run_t(0), scale=1000).ok:
        raise Fail("random result not reproduced under the same manual_seed")
    o_draws = [run_o(s) for s in range(DRAWS)]
    t_draws = [t] + [run_t(s) for s in range(1, DRAWS)]
    if all(same_tree(t, d) for d in t_draws[1:]):
        raise Fail(f"not random: same result under {DRAWS} seeds")
    po, pt = _pool(o_draws), _pool(t_draws)
    if len(po) and not len(pt):
        raise Fail("random result is not finite")
    wrong = TWO_VALUED.search(op.name) and two_valued(o_draws, t_draws)
    if wrong:
        raise Fail(wrong)
    # numbers that are drawn together count once
    shared = 1
    shape = next(leaves_of(first_o)).shape
    if op.full_name in CHANNELWISE and len(shape) > 2:
        shared = int(np.prod(shape[1:])) or 1
    if op.full_name.startswith("nn.functional.fractional") or "attention" in op.name:
        shared = max(1, len(po) // DRAWS)
    ne_o, ne_t = len(po) / shared, len(pt) / shared
    if ne_o >= 48 and ne_t >= 48:
        d = ks(po, pt)
        crit = 2.69 * np.sqrt((ne_o + ne_t) / (ne_o * ne_t))
        if d > crit:
            raise Fail(
                "fail:value", f"random result has another distribution (KS {d:.2f} > {crit:.2f})"
            )
    else:
        flags.add("weak")
