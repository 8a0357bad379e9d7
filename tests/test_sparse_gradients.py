"""Gradients of sparse tensors and optimizers that take sparse gradients, against PyTorch's."""

import numpy as np
import pytest
import torch

import torchlike
from tests.test_sparse import Case, assert_same

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")


# ---- gradients ---------------------------------------------------------------------------------

GRADIENTS = {
    "to_dense": lambda x: (x.s.to_dense() * x.d.detach()).sum(),
    "to_dense of csr": lambda x: (x.c.to_dense() * x.d.detach()).sum(),
    "to_dense of uncoalesced": lambda x: (x.u.to_dense() * x.d.detach()).sum(),
    "unmasked": lambda x: (x.s.to_dense(masked_grad=False) * x.d.detach()).sum(),
    "twice": lambda x: x.s.to_dense().sum() + (x.s.to_dense() * x.d.detach()).sum(),
    "values": lambda x: x.s.values().pow(2).sum(),
    "values of csr": lambda x: x.c.values().pow(2).sum(),
    "coalesced values": lambda x: x.u.coalesce().values().pow(2).sum(),
    "constructor": lambda x: (
        x.m.sparse_coo_tensor(x.i, x.v, (4, 3)).to_dense() * x.d.detach()
    ).sum(),
    "constructor of csr": lambda x: (
        x.m.sparse_csr_tensor([0, 1, 3, 3, 4], [2, 0, 2, 1], x.v, (4, 3)).to_dense() * x.d.detach()
    ).sum(),
    "constructor with doubles": lambda x: (
        x.m.sparse_coo_tensor([[0, 0, 1, 3], [2, 2, 0, 1]], x.v, (4, 3)).coalesce().values().pow(2)
    ).sum(),
    "mask of sparse": lambda x: (
        x.s.sparse_mask(x.m.sparse_coo_tensor([[0, 0, 3], [0, 2, 2]], [1.0, 2, 3], (4, 3)))
        .to_dense() * x.d.detach()
    ).sum(),
    "number": lambda x: (x.s * 3 / 2).to_dense().sum(),
    "neg": lambda x: (-x.s).to_dense().sum(),
    "abs": lambda x: x.s.abs().to_dense().sum(),
    "double": lambda x: x.s.double().to_dense().sum(),
    "clone": lambda x: x.s.clone().to_dense().sum(),
    "sparse + sparse": lambda x: ((x.s + x.s * 2).to_dense() * x.d.detach()).sum(),
    "dense + sparse": lambda x: ((x.d + x.s) * x.d.detach()).sum(),
    "sparse * sparse": lambda x: (x.s * x.s).to_dense().sum(),
    "sum": lambda x: x.s.sum(),
    "sparse.sum": lambda x: x.m.sparse.sum(x.s) * 2,
    "sparse.sum along": lambda x: (
        x.m.sparse.sum(x.s, 0).to_dense() * x.m.tensor([1.0, 2, 3])
    ).sum(),
    "mm": lambda x: (x.s @ x.e).pow(2).sum(),
    "mm of csr": lambda x: (x.c @ x.e).pow(2).sum(),
    "mm of made": lambda x: (
        x.m.sparse_coo_tensor(x.i, x.v, (4, 3)) @ x.e
    ).pow(2).sum(),
    "mv": lambda x: (x.s @ x.e[:, 0]).pow(2).sum(),
    "sparse.mm": lambda x: x.m.sparse.mm(x.s, x.e).pow(2).sum(),
    "sparse.mm of csr": lambda x: x.m.sparse.mm(x.c, x.e).pow(2).sum(),
    "sparse.mm mean": lambda x: x.m.sparse.mm(x.c, x.e, "mean").pow(2).sum(),
    "sparse.mm amax": lambda x: x.m.sparse.mm(x.c, x.e, "amax").pow(2).sum(),
    "sparse.addmm": lambda x: x.m.sparse.addmm(x.m.ones(4, 2), x.s, x.e, alpha=2).pow(2).sum(),
    "sampled_addmm": lambda x: x.m.sparse.sampled_addmm(
        x.c, x.d, x.m.ones(3, 3), beta=2.0
    ).to_dense().pow(2).sum(),
    "softmax": lambda x: x.m.sparse.softmax(x.s, 1).to_dense().pow(2).sum(),
    "log_softmax": lambda x: (x.m.sparse.log_softmax(x.s, 0).to_dense() * x.d.detach()).sum(),
    "to_sparse": lambda x: x.d.to_sparse().values().pow(2).sum(),
    "to_sparse_csr": lambda x: x.d.to_sparse_csr().to_dense().pow(2).sum(),
    "sparse_mask": lambda x: x.d.sparse_mask(x.s.detach()).to_dense().pow(2).sum(),
    "transpose": lambda x: (x.s.t().to_dense() * x.d.detach().t()).sum(),
    "coo to csr": lambda x: (x.s.to_sparse_csr().to_dense() * x.d.detach()).sum(),
    "csr to coo": lambda x: (x.c.to_sparse_coo().to_dense() * x.d.detach()).sum(),
    "csr to csc": lambda x: (x.c.to_sparse_csc().to_dense() * x.d.detach()).sum(),
    "gather": lambda x: (
        x.d.gather(1, x.m.tensor([[0, 0], [1, 2]]), sparse_grad=True) * x.e[:2].detach()
    ).sum(),
    "embedding": lambda x: x.m.nn.functional.embedding(
        x.m.tensor([[0, 2], [2, 3]]), x.d, sparse=True
    ).pow(2).sum(),
    "embedding with padding": lambda x: x.m.nn.functional.embedding(
        x.m.tensor([[0, 2], [2, 3]]), x.d, padding_idx=2, sparse=True
    ).pow(2).sum(),
    "two embeddings": lambda x: sum(
        x.m.nn.functional.embedding(x.m.tensor(i), x.d, sparse=True).pow(2).sum()
        for i in ([0, 2, 2], [1, 2])
    ),
    "embedding and the whole table": lambda x: x.m.nn.functional.embedding(
        x.m.tensor([0, 2, 2]), x.d, sparse=True
    ).sum() + x.d.pow(2).sum(),
}  # fmt: skip
GRADIENTS |= {
    f"bag {mode} {kw}": lambda x, mode=mode, kw=kw: x.m.nn.functional.embedding_bag(
        x.m.tensor([0, 2, 2, 3, 1]), x.d,
        x.m.tensor([0, 2, 5] if kw == "include_last_offset" else [0, 2]), mode=mode, sparse=True,
        **({kw: 2 if kw == "padding_idx" else True} if kw else {}),
    ).pow(2).sum()
    for mode in ("sum", "mean") for kw in ("", "padding_idx", "include_last_offset")
}  # fmt: skip
# What arrives is specified everywhere, and no gradient is cut to the pattern of an operand.
UNCUT = {
    "number": lambda x: x.s * 3 / 2 + x.u * 2 - x.s.clone(),
    "number of csr": lambda x: x.c * 3 + x.c.neg() + x.c.clone(),
    "dtype": lambda x: x.s.double(),
    "unary": lambda x: x.s.abs() + x.s.frac() + x.s.round() + x.s.deg2rad() + x.s**3,
    "sparse * sparse": lambda x: x.s * x.k.float() * x.u,
    "csr * csr": lambda x: x.c * x.m.eye(4, 3).to_sparse_csr(),
    "sparse * dense": lambda x: x.s * x.d.detach(),
    "sparse @ sparse": lambda x: x.s @ x.k.float().t() @ x.u,
    "transposed": lambda x: (x.s.t() * 2 + x.u.t()).t(),
    "coalesced": lambda x: x.u.coalesce(),
    "coo to csr": lambda x: x.s.to_sparse_csr(),
    "csr to coo": lambda x: x.c.to_sparse_coo(),
    "dense to sparse": lambda x: (x.d - 1).to_sparse(),
    "stack": lambda x: x.m.stack([x.s, x.u]),
    "in place": lambda x: x.s.clone().mul_(2).add_(x.u),
    "mm": lambda x: ((x.s * 2) @ x.e).to_sparse(),
}
GRADIENTS |= {
    f"uncut {name}": lambda x, program=program: (
        lambda y: (y.to_dense(masked_grad=False) * x.m.arange(float(y.numel())).view(y.shape)).sum()
    )(program(x))
    for name, program in UNCUT.items()
}  # fmt: skip
LEAVES = ("s", "u", "c", "b", "d", "e", "v")


@pytest.mark.parametrize("name", GRADIENTS)
def test_gradient(name):
    cases = []
    for m in (torch, torchlike):
        x = Case(m, grad=True)
        GRADIENTS[name](x).backward()
        cases.append(x)
    expected, actual = cases
    found = 0
    for leaf in LEAVES:
        a, b = getattr(expected, leaf).grad, getattr(actual, leaf).grad
        assert (a is None) == (b is None), leaf
        if a is not None:
            assert_same(a, b, exact=False)
            found += 1
    assert found


def test_gradients_where_pytorch_has_none():
    """The dense program gives them: of slices, joined tensors, sine, a norm."""
    programs = {
        "sin": lambda x, y: y(x.sin()),
        "select": lambda x, y: y(x[1]),
        "cat": lambda x, y: y(torchlike.cat([x, x * 2])),
        "norm": lambda x, y: x.norm(),
        "index_select": lambda x, y: y(x.index_select(0, torchlike.tensor([1, 1]))),
    }
    for name, program in programs.items():
        x = Case(torchlike, grad=True)
        program(x.s, lambda t: t.to_dense().pow(2).sum()).backward()
        d = x.s.detach().to_dense().requires_grad_()
        program(d, lambda t: t.pow(2).sum()).backward()
        expected = d.grad.sparse_mask(x.s.detach()).to_dense()
        np.testing.assert_allclose(
            x.s.grad.to_dense().numpy(), expected.numpy(), 1e-5, err_msg=name
        )


def test_second_derivatives():
    """Of a product in its values and its dense factor: the dense program's."""
    found = []
    for matrix in (
        lambda v: torchlike.sparse_coo_tensor([[0, 1, 1], [1, 0, 0]], v, (2, 2)),
        lambda v: torchlike.zeros(2, 2).index_put(
            (torchlike.tensor([0, 1, 1]), torchlike.tensor([1, 0, 0])), v, accumulate=True
        ),
    ):
        v = torchlike.tensor([1.0, 2, -1]).requires_grad_()
        e = torchlike.tensor([[1.0, 2], [3, -1]]).requires_grad_()
        y = torchlike.sparse.mm(matrix(v**2), e).pow(3).sum()
        first = torchlike.autograd.grad(y, (v, e), create_graph=True)
        total = (first[0] * torchlike.arange(3.0)).sum() + (first[1] * e.detach()).sum()
        found.append(torchlike.autograd.grad(total, (v, e)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5)


def test_gradcheck_of_sparse_functions():
    check = torchlike.sparse.as_sparse_gradcheck(torchlike.autograd.gradcheck)
    a = torchlike.tensor([[0.0, 1], [2, 3]]).double().to_sparse_coo().requires_grad_()
    assert check(lambda x: x * 2, (a,), masked=True)
    assert check(lambda x: x @ torchlike.tensor([[1.0, 2], [3, 4]]).double(), (a,))
    with pytest.raises(RuntimeError, match="acobian"):
        check(lambda x: Wrong.apply(x.to_dense()), (a,), masked=True)
    plain = torchlike.autograd.gradcheck
    with pytest.raises(NotImplementedError, match="as_sparse_gradcheck"):
        plain(lambda x: x.to_dense(), (a,))
    d = a.detach().to_dense().requires_grad_()
    assert plain(lambda d: a.detach() @ d, (d,), masked=True)


class Wrong(torchlike.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, g):
        return g * 3


def test_hooks_and_grad_see_sparse_gradients():
    for m in (torch, torchlike):
        w, seen = m.nn.Parameter(m.ones(5, 3)), []
        w.register_hook(lambda g, seen=seen: seen.append(str(g.layout)))
        out = m.nn.functional.embedding(m.tensor([1, 1, 2]), w, sparse=True)
        (g,) = m.autograd.grad(out.sum(), w)
        assert (str(g.layout), g._nnz(), tuple(g.shape)) == ("torch.sparse_coo", 3, (5, 3))
        m.nn.functional.embedding(m.tensor([1, 1, 2]), w, sparse=True).sum().backward()
        assert seen == ["torch.sparse_coo"] * 2
        m.optim.SGD([w], lr=0.1).zero_grad(set_to_none=False)
        assert w.grad._nnz() == 0


def test_anomaly_detection_looks_into_sparse_gradients():
    w = torchlike.nn.Parameter(torchlike.zeros(3, 2))
    with torchlike.autograd.detect_anomaly():
        torchlike.nn.functional.embedding(torchlike.tensor([1]), w, sparse=True).sum().backward()
        assert w.grad.is_sparse
        with pytest.raises(RuntimeError, match="nan values"):
            out = torchlike.nn.functional.embedding(torchlike.tensor([1]), w, sparse=True)
            out.backward(torchlike.full((1, 2), float("nan")))


def test_a_table_that_is_computed_gets_the_same_gradient():
    """Behind an op of dense tensors the gradient goes on as a dense one."""
    grads = []
    for m in (torch, torchlike):
        w = m.arange(15.0).reshape(5, 3).requires_grad_()
        m.nn.functional.embedding(m.tensor([1, 1, 2]), w * 2, sparse=True).pow(2).sum().backward()
        grads.append(w.grad.to_dense().numpy())
    np.testing.assert_allclose(grads[1], grads[0])


# ---- optimizers --------------------------------------------------------------------------------

OPTIMIZERS = {
    "SGD": ("SGD", {}, True),
    "SGD momentum": ("SGD", {"momentum": 0.9}, True),
    "SGD dampening": ("SGD", {"momentum": 0.9, "dampening": 0.5}, True),
    "SGD nesterov": ("SGD", {"momentum": 0.9, "nesterov": True, "maximize": True}, False),
    "Adagrad": ("Adagrad", {}, True),
    "Adagrad decay": ("Adagrad", {
        "lr_decay": 0.1, "initial_accumulator_value": 0.3, "maximize": True}, True),
    "SparseAdam": ("SparseAdam", {}, False),
    "SparseAdam options": ("SparseAdam", {
        "maximize": True, "eps": 1e-3, "betas": (0.5, 0.6)}, False),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_optimizers(name):
    kind, options, with_dense = OPTIMIZERS[name]
    results = []
    for m in (torch, torchlike):
        w = m.nn.Parameter(m.arange(15.0).reshape(5, 3) / 7)
        b = m.nn.Parameter(m.ones(3))
        opt = getattr(m.optim, kind)([w, b] if with_dense else [w], lr=0.1, **options)
        for k in range(3):
            opt.zero_grad()
            out = m.nn.functional.embedding(m.tensor([[0, 2, 2], [4, k, 0]]), w, sparse=True)
            ((out + b if with_dense else out) ** 2).sum().backward()
            if k == 1:
                m.nn.functional.embedding(m.tensor([0]), w, sparse=True).sum().backward()
            opt.step()
        state = {k: v.to_dense() if hasattr(v, "to_dense") else v for k, v in opt.state[w].items()}
        results.append((w, b, state))
    expected, actual = results
    assert_same(expected[:2], actual[:2])
    assert expected[2].keys() == actual[2].keys()
    for key, value in expected[2].items():
        assert_same(value, actual[2][key])


def test_sparse_momentum_keeps_its_layout():
    w = torchlike.nn.Parameter(torchlike.ones(4, 2))
    opt = torchlike.optim.SGD([w], lr=0.1, momentum=0.9)
    for row in range(3):
        opt.zero_grad()
        torchlike.nn.functional.embedding(torchlike.tensor([row]), w, sparse=True).sum().backward()
        opt.step()
    buffer = opt.state[w]["momentum_buffer"]
    assert buffer.is_sparse
    assert buffer._nnz() == 3


@pytest.mark.parametrize("start", ["to_sparse", "to_sparse_csr"])
@pytest.mark.parametrize("way", ["to_sparse", "to_sparse_csr", "to_sparse_csc"])
def test_a_tensor_that_specifies_nothing_stays_on_the_tape(start, way):
    found = []
    for lib in (torch, torchlike):
        x = getattr(lib.zeros(2, 3), start)().requires_grad_()
        out = getattr(x, way)()
        out.to_dense().sum().backward()
        found.append((out.requires_grad, out._nnz(), x.grad.to_dense().tolist()))
    assert found[1] == found[0]
