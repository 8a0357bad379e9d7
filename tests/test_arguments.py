"""Arguments of layers, losses, modules and their friends that are wrong, or only look so: what
they give or raise, in PyTorch's words."""

import re

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
    "L.linalg.det(r(2, 2).half())", "L.linalg.qr(r(2, 2).bfloat16())",
    "L.linalg.svd(r(2, 2).half())", "L.linalg.solve(r(2, 2).half(), r(2).half())",
    "L.linalg.eig(r(2, 2).half())", "L.linalg.cholesky(r(2, 2).half())",
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


# Where the words may differ: PyTorch's lists of overloads, positions of what is given by name.
CLASSES = [
    # Statics of another class, whatever was called before.
    *(f"L.argmax(r(2, 3), dim=1, keepdim={k})" for k in ("True", "1", "'a'", "0.0", "N.bool_(1)")),
    *(f"L.cumsum(r(2, 3), {d})" for d in ("1.0", "None", "'a'", "N.float64(1)", "N.int64(1)")),
    "F.pad(x, (1, 2.0))", "F.grid_sample(r(1, 1, 2, 2), r(1, 2, 2, 2), align_corners=1)",
    "L.std(x, keepdim=1, dim=0)", "F.avg_pool1d(r(1, 4), 2, ceil_mode=None)",
    "L.polygamma(1.5, x)", "L.sort(x, descending=1)", "L.cross(r(2, 3), r(2, 3), dim=1.0)",
    # A dimension under two names, and names that there are not.
    "L.mean(r(2, 3), dim=1, axis=0)", "r(2, 3).sum(1, axis=0)", "L.cumsum(x, dim=0, axis=0)",
    "r(2, 3).permute(dim=(1, 0))", "L.rand(2, sise=3)", "x.clone().uniform_(of=1)", "x.float(1)",
    "x.reshape(2, sizes=1)", "x.contiguous(L.contiguous_format)",
    # What is no tensor.
    *(f"L.{call}" for call in (
        "permute([1.0], (0,))", "reshape(N.ones(2), (2,))", "transpose(None, 0, 1)", "t('a')",
        "gather([1.0], 0, z(1))", "diagonal(3)", "unsqueeze(2.0, 0)", "roll(N.ones(3), 1)",
        "nn.functional.pad([1.0], (1, 1))", "index_select(x, 0, [1])", "scatter(3, 0, z(1), x)",
        "take_along_dim([1.0], z(1))", "broadcast_to(N.ones(1), (2,))",
        "real(N.ones(1))", "imag(1j)", "conj(None)", "resolve_neg([1])", "cdist(r(2, 2), [1.0])",
    )),
    # Numbers that do not fit in any program, and arrays that fit in no memory.
    "x + 10**20", "x.clone().add_(10**20)", "x.add(x, alpha=10**20)", "L.zeros(2**62)",
    "L.zeros(1).expand(2**61) + 1", "L.full((2**40, 2**40), 1.0)", "L.diagflat(x, 2**62)",
    # Numbers of sums of products.
    *(f"L.{op}(r(2, 2), r(2, 2), r(2, 2), {name}={value})" for op, name in (
        ("addmm", "alpha"), ("addcmul", "value"),
    ) for value in ("1j", "'a'")),
    # Draws, and switches.
    "L.zeros(2, requires_grad=1)", "L.tensor([1.0], requires_grad=0.5)", "w[0].copy_(3.5)",
    "(L.manual_seed(0), x.clone().normal_(L.tensor(0.5)))[1]",
    "(L.manual_seed(0), x.clone().exponential_(L.tensor(1.0)))[1]",
    "L.multinomial(x, 1, 1)", "x.clone().exponential_('a')", "N.int64(1) in x",
    "(lambda y: (y.__setitem__(0, N.int64(3)), y))(x.clone())", "x.clone().copy_(N.float32(2))",
    "L.zeros(1).expand(3).copy_(3.5)", "L.zeros(1).expand(3).fill_(3.5)",
    # Places to write to.
    *(f"L.{call}, out={out})" for call in ("add(x, x", "matmul(x, x", "diag(x") for out in (
        "x.double()", "x.new_empty(0, device='meta')", "'a'", "x.long()",
    )),
    # Values at the edges of what is meant.
    "L.take_along_dim(L.eye(3), L.tensor([[-1], [5], [0]]), 1)", "L.logit(L.tensor([0.2, 0.9]), 1)",
    "F.instance_norm(r(1, 2, 3), L.zeros(2), None)", "F.hardtanh(x, float('nan'), 1.0)",
    "F.soft_margin_loss(x, x.double())", "F.margin_ranking_loss(x, x + 1, L.ones(2).byte())",
    "F.margin_ranking_loss(x, x, x > 0)", "L.histogram(w, 2).bin_edges.requires_grad",
    "L.scatter(w, 0, z(1), 2.0, reduce='multiply').requires_grad",
]  # fmt: skip


@pytest.mark.parametrize("code", CLASSES)
def test_class(code):
    found = [outcome(library, code, PRELUDE + HELPERS)[0] for library in (torchlike, torch)]
    ours, theirs = (text.split("Error: ")[0] for text in found)
    assert ours == theirs
    for name in re.findall(r"argument '(\w+)'", found[1]):
        assert f"'{name}'" in found[0]


HALF_DONE = [
    # What is written in two steps is not written in one of them.
    ("(L.empty(0), L.empty(0))", "L.median(L.ones(2, 2), 0, out=made)"),
    ("(L.empty(0), L.empty(0))", "L.frexp(L.ones(2), out=made)"),
    ("(L.zeros(2), L.ones(3))", "L.nn.functional.instance_norm(L.ones(1, 2, 3), *made)"),
    ("(L.zeros(2), L.ones(2).int())",
     "L.native_batch_norm(L.ones(3, 2), None, None, *made, True, 0.1, 1e-5)"),
    ("(L.ones(2),)", "made[0].add_(10**20)"),
    ("(L.ones(2),)", "made[0].normal_([])"),
    *(
        ("(L.ones(2, requires_grad=True), L.ones(1, requires_grad=True))",
         "(lambda o: (made[0].sum().backward(), o.step(), made[1].sum().backward(), o.step(), "
         f"{bad}, o.step()))(L.optim.Adam([made[0]], lr=1.0))")
        for bad in (
            "o.param_groups[0].update(betas=(0.9,))", "o.param_groups[0].update(betas=(0, 0, 0))",
            "o.param_groups[0].update(lr='a')",
            "o.load_state_dict({**o.state_dict(), 'state': {0: {'step': L.tensor(1.0), "
            "'exp_avg': L.ones(7), 'exp_avg_sq': L.ones(7)}}})",
        )
    ),
    ("(L.ones(2),)", "made[0].exponential_('a')"),
]  # fmt: skip


@pytest.mark.parametrize(("made", "call"), HALF_DONE)
def test_an_error_leaves_things_as_they_were(made, call):
    found = []
    for library in (torchlike, torch):
        scope = {"L": library}
        library.manual_seed(0)
        scope["made"] = eval(made, scope)
        with pytest.raises((RuntimeError, OverflowError, TypeError, ValueError)):
            eval(call, scope)
        found.append([(t.tolist(), t._version) for t in scope["made"]])
        found[-1].append(library.get_rng_state().tolist()[:32])
    assert found[0] == found[1]
