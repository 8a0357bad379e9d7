"""Shape rules: what they say of a call is what tracing the op says."""

import pytest

import torchlike as torch
import torchlike.nn.functional as F
from torchlike._engine import inference

from .shape_rules import said_as_traced

OURS = [
    name for name, rule in inference.shape_rules.items() if rule.__module__.endswith("known_shapes")
] + ["index", "index_put"]


def attend(*shape, mask=None, dtype=torch.float32, keys=None, width=None, **given):
    keys, width = keys or shape[-2], width or shape[-1]
    q = torch.randn(shape).to(dtype)
    k = torch.randn(*shape[:-2], keys, shape[-1]).to(dtype)
    v = torch.randn(*shape[:-2], keys, width).to(dtype)
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, **given)


def written():
    x = torch.zeros(3, 1, 4)
    x[1][0][2] = 1
    x.transpose(0, 2)[1:, 0] += 2
    x.unbind()[0].diagonal()[0] = 3


def indexed(*shapes):
    x, at = torch.zeros(2, 3, 4), [torch.zeros(s, dtype=torch.int64) for s in shapes]
    for place in ((at[0], at[1]), (at[0], slice(None), at[1]), (slice(1), *at)):
        read = x[place]
        x[place] = read + 1
        x[place] = 2.0


def losses(x, y):
    for reduction in ("none", "mean", "sum"):
        for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss):
            loss(x, y, reduction=reduction)
        p = x.sigmoid()
        F.binary_cross_entropy(p, y.sigmoid(), reduction=reduction)
        F.binary_cross_entropy_with_logits(x, y, reduction=reduction)


def classes(*shape, dtype=torch.float32):
    x = torch.randn(shape).to(dtype)
    y = torch.zeros(shape[0], *shape[2:], dtype=torch.int64)
    weight = torch.rand(shape[1]).to(dtype)
    for reduction in ("none", "mean", "sum"):
        for w in (None, weight):
            F.nll_loss(x, y, w, reduction=reduction)
            F.cross_entropy(x, y, w, reduction=reduction, label_smoothing=0.1)


def clipped(*dtypes, norm=2.0):
    params = [torch.zeros(2, 3, dtype=d).requires_grad_() for d in dtypes]
    for p in params:
        p.grad = torch.ones_like(p)
    torch.nn.utils.clip_grad_norm_(params, 1.0, norm, foreach=True)
    torch.nn.utils.clip_grad_value_(params, 0.5)


CALLS = [
    lambda: torch.arange(5), lambda: torch.arange(1.5, 7, 0.5, dtype=torch.float64),
    lambda: torch.arange(0), lambda: torch.full((2, 0), 3.0), lambda: torch.full((), True),
    lambda: torch.full((3,), 2, dtype=torch.bfloat16),
    lambda: torch.ones(4, 5).triu(1), lambda: torch.ones(2, 3, 3, dtype=torch.bool).tril(),
    lambda: torch.ones(0, 3).tril(-1),
    lambda: clipped(torch.float32, torch.float32), lambda: clipped(torch.float16),
    lambda: clipped(torch.float32, torch.float64), lambda: clipped(torch.float64, norm=1),
    lambda: classes(4, 3), lambda: classes(2, 3, 5), lambda: classes(2, 3, 4, 4),
    lambda: classes(4, 3, dtype=torch.bfloat16), lambda: classes(4, 3, dtype=torch.float64),
    lambda: losses(torch.randn(3, 4), torch.randn(3, 4)),
    lambda: losses(torch.randn(3), torch.randn(3)), lambda: losses(torch.ones(()), torch.ones(())),
    lambda: losses(torch.randn(0, 2), torch.randn(0, 2)),
    lambda: losses(torch.randn(3).half(), torch.randn(3).half()),
    written, lambda: attend(2, 3, 5, 4, dropout_p=0.5),
    lambda: attend(2, 3, 5, 4), lambda: attend(5, 4), lambda: attend(2, 5, 4, keys=7, width=3),
    lambda: attend(2, 5, 4, is_causal=True), lambda: attend(2, 3, 5, 4, dtype=torch.bfloat16),
    lambda: attend(2, 3, 5, 4, mask=torch.ones(5, 5, dtype=torch.bool)),
    lambda: attend(2, 3, 5, 4, mask=torch.zeros(3, 1, 5)), lambda: attend(0, 3, 5, 4),
    lambda: torch.randn(3, 4).max(1), lambda: torch.randn(3, 4).min(-2, keepdim=True),
    lambda: torch.arange(6).max(0), lambda: torch.ones(2, 2, dtype=torch.bool).min(0),
    lambda: torch.ones(0, 2).max(1),
    lambda: indexed((2, 1), (3,)), lambda: indexed((5,), (5,)), lambda: indexed((2, 0), (1,)),
]  # fmt: skip


def test_rules_agree_with_tracing(monkeypatch):
    def silent(name, in_avals):
        assert name not in ("scaled_dot_product_attention", "index") or 0 in in_avals[1].shape

    assert len(OURS) > 10
    said_as_traced(monkeypatch, OURS, CALLS, silent)


@pytest.mark.parametrize(
    "call, error",
    [
        (lambda: torch.ones(3).triu(), RuntimeError),
        (lambda: F.cross_entropy(torch.ones(2, 3), torch.zeros(3, dtype=torch.int64)), ValueError),
        (lambda: F.nll_loss(torch.ones(2, 3), torch.zeros(2)), RuntimeError),
        (lambda: F.huber_loss(torch.ones(2), torch.ones(2), delta=-1.0), RuntimeError),
        (lambda: attend(2, 5, 4, mask=torch.zeros(3, 5, 5)), RuntimeError),
        (lambda: torch.ones(2, 0).max(1), IndexError),
    ],
)
def test_what_is_not_valid_is_left_to_the_op(call, error):
    with pytest.raises(error):
        call()
