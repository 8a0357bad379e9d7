"""Arguments of layers, losses, modules and their friends that are wrong, or only look so: what
they give or raise, in PyTorch's words."""

import pytest

import torchlike
from tests.ops.table import torch
from tests.test_idioms import PRELUDE, outcome

HELPERS = """
import numpy as N
F = L.nn.functional
r = lambda *s: L.full(s, 0.5)
z = lambda *s: L.zeros(s, dtype=L.int64)
"""

CASES = [
    # Sizes.
    "L.nn.Linear(3.0, 2)", "L.nn.Linear(3, 2.0)", "L.nn.Linear(-3, 2)", "L.nn.Embedding(3, 2.0)",
    "L.nn.Conv2d(3.0, 4, 2)", "L.nn.Linear('a', 2)", "L.zeros(2.0)", "L.zeros(-1)", "L.rand(True)",
    "L.ones((3, 'a'))", "L.empty((2.5, 3))", "L.randn(3, None)", "L.Tensor(-1)",
    # Names.
    "L.nn.Conv2d(1, 1, 1, nonsense=1)", "L.nn.Softmax(dims=1)", "L.nn.ReLU(1, 2)",
    "L.nn.LazyConv1d()",
    # Dtypes that differ.
    "F.conv1d(r(1, 2, 4).double(), r(1, 2, 2))",
    "F.conv1d(r(1, 2, 4), r(1, 2, 2), r(1).half())", "F.conv1d(r(1, 2, 4).bfloat16(), r(1, 2, 2))",
    "F.batch_norm(r(2, 3), None, None, r(3).double(), training=True)",
    "F.batch_norm(r(2, 3).double(), r(3), r(3))", "F.layer_norm(r(2, 3), (3,), r(3).half())",
    "F.layer_norm(r(2, 3).bfloat16(), (3,), r(3))", "F.group_norm(r(2, 4).double(), 2, r(4))",
    "F.instance_norm(r(2, 3, 4), weight=r(3).double())",
    "F.batch_norm(r(2, 3), r(3).double(), r(3).double(), training=True)",
    "F.bilinear(r(2, 3), r(2, 3), r(1, 3, 3).double())", "F.linear(r(2, 3), r(3, 3).cfloat())",
    "F.scaled_dot_product_attention(r(2, 3), r(2, 3).half(), r(2, 3))",
    # Dtypes for which there is no such layer.
    "F.kl_div(x.long(), x)", "F.kl_div(x.cfloat(), x)", "F.relu6(x.cfloat())", "F.elu(x.cfloat())",
    "F.layer_norm(x.cfloat(), (2,))", "F.huber_loss(x.cfloat(), x)", "F.prelu(x.long(), z(1))",
    "F.cosine_similarity(x.cfloat(), x.cfloat(), 0)", "F.adaptive_avg_pool1d(r(1, 4).cfloat(), 2)",
    "F.margin_ranking_loss(x.cfloat(), x.cfloat(), x)", "F.silu(x.cfloat())", "F.glu(x.cfloat())",
    # Arguments of another class.
    "L.nn.ConvTranspose1d(2, 1, 2, stride=2.0)(r(1, 2, 4))", "F.pad(x, (1.5, 1))",
    "F.pixel_shuffle(r(1, 4, 2, 2), 2.0)", "F.fold(r(1, 12, 9), (4, 4), (2.5, 2))",
    "F.layer_norm(r(2, 3), (3,), eps='a')", "F.cross_entropy(r(3, 4), z(3), ignore_index=2.5)",
    "F.max_pool1d(r(1, 4), N.int64(2), padding=N.int64(1))", "F.pad(x.long(), (1, 1))",
    "F.lp_pool1d(r(1, 4), 2.0, N.int64(2))",
    "L.nn.Linear(3, 2)(N.ones((2, 3)))", "L.nn.LayerNorm(3)(N.ones((2, 3)))", "L.relu(None)",
    "L.nn.Embedding(3, 2)([1])", "F.cross_entropy([1.0], z(1))",
    "F.cross_entropy(r(1, 2), N.ones(1))", "L.nn.Dropout()(None)", "L.nn.LayerNorm(3)(None)",
    "L.matmul({}, x)",
    # Values.
    "F.conv_transpose1d(r(1, 2, 4), r(2, 1, 2), output_padding=-1)",
    "F.conv_transpose1d(r(1, 2, 4), r(2, 1, 2, 2))", "F.cosine_similarity(x, x, 0, -1.0)",
    "F.adaptive_max_pool1d(r(1, 2, 4), 0)", "F.mse_loss(x, x * 0, reduction='elementwise_mean')",
    "F.embedding_bag(z(2, 3), r(4, 2), include_last_offset=True)",
    "list(L.utils.data.DataLoader([1], timeout=1))",
    # Numbers that an integer dtype cannot hold.
    "x.int().masked_fill(x > 0, 1e30)", "x.long().fill_(1e30)", "x.byte().fill_(256)",
    "x.short().__setitem__(0, 1e30)", "x.int().fill_(float('nan'))", "x.byte().fill_(-1)",
    "x.char().masked_fill(x > 0, 300.7)", "x.int().fill_(1.9)",
    # Optimizers.
    "L.optim.Adam([w], betas=(0.9,))", "L.optim.NAdam([w], betas=0.9)",
    "L.optim.AdamW([w], betas=[0.5, 0.6])",
    "(lambda o: (o.add_param_group({'params': [x]}), o.step(lambda: 1)))"
    "(L.optim.LBFGS([w]))",
    # Handles of hooks are of one class; what is scripted shows the classes it came from.
    "[isinstance(h, L.utils.hooks.RemovableHandle) for h in (w.register_hook(print), "
    "w.register_post_accumulate_grad_hook(print), model.register_forward_hook(print), "
    "L.optim.SGD([w], lr=1.0).register_step_pre_hook(print), (w * 2).register_hook(print))]",
    "L.jit.script(L.nn.Sequential(model, L.nn.ReLU()))", "L.jit.trace(model, x)",
    "L.nn.functional.grad is L.nn.grad",
]  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_outcome(code):
    found = [outcome(library, code, PRELUDE + HELPERS)[0] for library in (torchlike, torch)]
    assert found[0] == found[1]


def test_a_wrong_place_of_a_maximum():
    with pytest.raises(RuntimeError, match="invalid max index: 9"):
        torchlike.nn.functional.max_unpool1d(
            torchlike.ones(1, 2, 2), torchlike.tensor([[[0, 9], [1, 2]]]), 2
        ).tolist()
