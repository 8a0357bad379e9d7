"""Sparse tensors against PyTorch's: construction, conversions, arithmetic, products, files."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

import torchlike
from torchlike._core.settings import settings

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")
LAYOUTS = ("sparse_coo", "sparse_csr", "sparse_csc", "sparse_bsr", "sparse_bsc")


# ---- what is compared --------------------------------------------------------------------------


def parts(x):
    """The indices and values of a sparse tensor of either library, as numpy arrays."""
    kind = str(x.layout)
    if kind == "torch.sparse_coo":
        found = (x._indices(), x._values())
    elif kind in ("torch.sparse_csr", "torch.sparse_bsr"):
        found = (x.crow_indices(), x.col_indices(), x.values())
    else:
        found = (x.ccol_indices(), x.row_indices(), x.values())
    return [np.asarray(t.detach().numpy()) for t in found]


def assert_same(expected, actual, exact=True):
    """Equal layout, dtype, shape and values; with ``exact`` equal indices too."""
    if isinstance(expected, (tuple, list)):
        assert len(expected) == len(actual)
        for a, b in zip(expected, actual, strict=True):
            assert_same(a, b, exact)
        return
    if not isinstance(expected, torch.Tensor):
        assert str(expected).replace("torch.", "") == str(actual).replace("torch.", "")
        return
    assert tuple(expected.shape) == tuple(actual.shape)
    assert str(expected.dtype) == str(actual.dtype)
    assert str(expected.layout) == str(actual.layout)
    if expected.layout is not torch.strided and exact:
        for a, b in zip(parts(expected), parts(actual), strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=1e-6)
    expected, actual = expected.detach().to_dense(), actual.detach().to_dense()
    np.testing.assert_allclose(actual.numpy(), expected.numpy(), rtol=1e-5, atol=1e-6)


class Case:
    """The tensors that the programs below take, of one library."""

    def __init__(self, m, grad=False):
        def leaf(t):
            return t.requires_grad_() if grad else t

        self.m = m
        i = m.tensor([[0, 1, 1, 3], [2, 0, 2, 1]])
        self.i, self.v = i, leaf(m.tensor([3.0, -4.0, 5.0, 0.5]))
        self.s = leaf(m.sparse_coo_tensor(i, self.v.detach(), (4, 3), is_coalesced=True))
        twice = m.tensor([[0, 0, 1, 3], [2, 2, 0, 1]])
        self.u = leaf(m.sparse_coo_tensor(twice, self.v.detach(), (4, 3)))
        self.d = leaf(m.arange(12.0).reshape(4, 3) - 4)
        self.e = leaf(m.arange(6.0).reshape(3, 2) / 3 - 1)
        self.c = leaf(self.s.detach().to_sparse_csr())
        self.cc = leaf(self.s.detach().to_sparse_csc())
        self.b = leaf(self.d.detach().to_sparse_bsr((2, 3)))
        self.h = leaf(  # one sparse and one dense dimension
            m.sparse_coo_tensor(m.tensor([[0, 2]]), m.tensor([[1.0, 2], [3, 4]]), (4, 2))
        )
        self.k = m.sparse_coo_tensor(i, m.tensor([1, 0, 3, -2]), (4, 3))


def run(program, m):
    """The result, or the type of the error."""
    return program(Case(m))


# ---- forward -----------------------------------------------------------------------------------

FORWARD = {
    "coo of lists": lambda x: x.m.sparse_coo_tensor([[0, 1], [1, 0]], [1, 2.5]),
    "coo of one number": lambda x: x.m.sparse_coo_tensor([[0], [2]], 1.5, (3, 3)),
    "coo of no size": lambda x: [
        x.m.sparse_coo_tensor(x.m.empty(3, 0), x.m.empty(0, 2, 0)),
        x.m.sparse_coo_tensor([[0, 2]], [1.0, 2.0], is_coalesced=True).is_coalesced(),
    ],
    "coo of size": lambda x: x.m.sparse_coo_tensor(size=(2, 3), dtype=x.m.float64),
    "coo dtype": lambda x: x.m.sparse_coo_tensor(x.i, x.v, (4, 3), dtype=x.m.float16),
    "coo of no elements": lambda x: x.m.sparse_coo_tensor(
        x.m.zeros(2, 0).long(), x.m.zeros(0, 3), (2, 3, 3)
    ),
    "csr": lambda x: x.m.sparse_csr_tensor([0, 1, 3], [2, 0, 2], [1.0, 2, 3]),
    "csr of int32": lambda x: x.m.sparse_csr_tensor(
        x.m.tensor([0, 1, 3]).int(), x.m.tensor([2, 0, 2]).int(), x.v[:3]
    ),
    "csc": lambda x: x.m.sparse_csc_tensor([0, 1, 3], [2, 0, 2], [1.0, 2, 3], (3, 2)),
    "bsr": lambda x: x.m.sparse_bsr_tensor([0, 1, 2], [0, 1], x.m.arange(8.0).reshape(2, 2, 2)),
    "bsc": lambda x: x.m.sparse_bsc_tensor([0, 1, 2], [0, 1], x.m.arange(8.0).reshape(2, 2, 2)),
    "compressed": lambda x: x.m.sparse_compressed_tensor(
        [0, 1, 3], [2, 0, 2], [1.0, 2, 3], layout=x.m.sparse_csr
    ),
    "batched csr": lambda x: x.m.ones(2, 2, 3).to_sparse_csr(),
    "nothing of a layout": lambda x: [
        f(a)
        for a in (x.b, x.d.to_sparse_bsc((4, 1)), x.d.expand(2, 4, 3).to_sparse_bsr((2, 3)), x.h,
                  x.d.unsqueeze(2).expand(4, 3, 2).to_sparse_csc(1), x.c)
        for f in (x.m.zeros_like, lambda a: a.clone().zero_())
    ],
    "numbers in what is specified": lambda x: [
        y for a in (x.b, x.c, x.cc, x.d.expand(2, 4, 3).to_sparse_csr())
        for y in (x.m.ones_like(a), x.m.full_like(a, 3, dtype=x.m.int64), a.clone().fill_(2.5),
                  x.m.angle(a), x.m.empty_like(a).fill_(1))
    ],
    "as another is": lambda x: [
        x.c.clone().resize_as_sparse_(a) for a in (x.c, x.m.eye(2).to_sparse_csr())
    ],
    "one of a batch": lambda x: [
        y for z in (x.d.expand(2, 4, 3).to_sparse_csr(), x.d.expand(2, 4, 3).to_sparse_bsr((2, 3)))
        for y in (z[0], z[-1] * 2, z.select(0, 1).to_dense())
    ],
    "csr with dense dimension": lambda x: x.d.reshape(4, 1, 3).to_sparse_csr(dense_dim=1),
    "zeros of a layout": lambda x: [
        x.m.zeros(2, 3, layout=x.m.sparse_coo), x.m.zeros(2, 3, layout=x.m.sparse_csr),
        x.m.zeros(2, 3, layout=x.m.sparse_csc), x.s.new_zeros(2, 3), x.m.zeros_like(x.s),
        x.m.zeros_like(x.s, layout=x.m.strided), x.m.zeros_like(x.h),
        x.m.zeros_like(x.d, layout=x.m.sparse_csr), x.m.zeros_like(x.s, layout=x.m.sparse_coo),
        x.s.new_empty(2, 3), x.m.zeros(2, 3, out=x.s.clone()),
    ],
    "diagonals": lambda x: [
        x.m.sparse.spdiags(x.m.arange(9).reshape(3, 3), x.m.tensor([0, -1, 2]), (3, 4)),
        x.m.sparse.spdiags(x.m.ones(2, 3), x.m.tensor([0, 1]), (3, 3), layout=x.m.sparse_csr),
        x.m.sparse.spdiags(x.m.ones(3), x.m.tensor(1), (3, 4)),
    ],
    "legacy constructors": lambda x: [
        x.m.sparse.FloatTensor(x.i, x.v, x.m.Size([4, 3])), x.m.sparse.DoubleTensor(2, 3),
        isinstance(x.s, x.m.sparse.FloatTensor), isinstance(x.d, x.m.sparse.FloatTensor),
        x.m.sparse.LongTensor(x.i, x.v), x.s.new(x.i, x.v, x.s.size()), x.s.new(x.i, x.v.double()),
        x.s.new(indices=x.i, values=x.v), x.s.new(), x.s.double().new(2, 3),
        x.s.new(x.m.Size([2, 3])),
    ],
    "to_sparse": lambda x: [
        x.d.to_sparse(), x.d.to_sparse(1), x.d.to_sparse_coo(), x.m.tensor(3.0).to_sparse(),
        x.m.tensor(0.0).to_sparse(), x.m.zeros(3, 4).to_sparse(), (x.d > 2).to_sparse(),
        x.d.to_sparse(layout=x.m.sparse_csr), x.d.to(x.m.complex64).to_sparse(),
        x.m.zeros(0, 3).to_sparse(),
    ],
    "to_dense": lambda x: [
        x.s.to_dense(), x.u.to_dense(), x.c.to_dense(), x.cc.to_dense(), x.b.to_dense(),
        x.h.to_dense(), x.d.to_dense(), x.k.bool().to_dense(),
        x.m.tensor(3.0).to_sparse().to_dense(),
    ],
    "between layouts": lambda x: [
        y for z in (x.s, x.u, x.c, x.cc, x.d) for y in (
            z.to_sparse_csr(), z.to_sparse_csc(), z.to_sparse_bsr((2, 3)), z.to_sparse_bsc((2, 1)),
        )
    ],
    "blocks of one number, dense dimensions": lambda x: [
        x.d.reshape(2, 6).to_sparse_bsr(2), x.d.reshape(2, 6).to_sparse(
            layout=x.m.sparse_bsc, blocksize=2
        ),
        x.d.expand(2, 4, 3).to_sparse(layout=x.m.sparse_coo, dense_dim=1),
        x.d.expand(2, 4, 3).to_sparse(layout=x.m.sparse_bsr, dense_dim=1, blocksize=1),
    ],
    "to coordinates": lambda x: [
        x.c.to_sparse_coo(), x.cc.to_sparse(), x.b.to_sparse_coo(), x.s.to_sparse(2),
    ],
    "coalesce": lambda x: [
        x.u.coalesce(), x.s.coalesce(), x.u.coalesce().indices(), x.u.coalesce().values(),
        x.u._indices(), x.u._values(), x.u.is_coalesced(), x.s.is_coalesced(),
        x.u.coalesce().is_coalesced(), x.s.t().is_coalesced(), x.s.neg().is_coalesced(),
    ],
    "sparse_mask": lambda x: [
        x.d.sparse_mask(x.s), x.d.sparse_mask(x.c), x.d.sparse_mask(x.cc), x.s.sparse_mask(x.s),
        x.s.sparse_mask(x.m.sparse_coo_tensor([[0, 1], [0, 2]], [1.0, 1.0], (4, 3))),
        (x.s * float("inf")).sparse_mask(x.d.to_sparse()),
    ],
    "questions": lambda x: [
        (t.layout, t.is_sparse, t.is_sparse_csr, t.sparse_dim(), t.dense_dim(), t.shape, t.dim(),
         t.numel(), t.dtype, t.requires_grad, t.is_leaf, str(t.device), len(t))
        for t in (x.s, x.u, x.c, x.cc, x.b, x.h, x.d)
    ] + [t._nnz() for t in (x.s, x.u, x.c, x.b, x.h, x.m.ones(2, 2, 3).to_sparse_csr())],
    "compressed parts": lambda x: [
        x.c.crow_indices(), x.c.col_indices(), x.c.values(), x.cc.ccol_indices(),
        x.cc.row_indices(), x.b.values(), x.m.crow_indices_copy(x.c), x.m.values_copy(x.c),
    ],
    "unary": lambda x: [
        getattr(x.m, f)(t) for t in (x.s, x.u, x.c) for f in (
            "abs", "neg", "sin", "tan", "asinh", "atan", "sinh", "tanh", "erf", "expm1", "ceil",
            "floor", "trunc", "round", "frac", "sign", "sgn", "signbit", "isnan", "isinf",
            "deg2rad", "rad2deg", "relu",
        )
    ],
    "dtypes": lambda x: [
        x.s.double(), x.s.int(), x.s.bool(), x.s.to(x.m.complex64), x.c.to(x.m.float64),
        x.k.float(), x.s.type(), x.s.conj(), x.s.to("cpu") is x.s,
    ],
    "numbers": lambda x: [
        x.s * 2, 3 * x.s, x.s / 2, x.k / 2, x.k * 2.5, -x.s, abs(x.s), x.s**2, x.s.pow(2), x.s**-1,
        x.s // 2, x.s.div(2, rounding_mode="trunc"), x.c * 2, x.s * x.m.tensor(2),
        x.s / x.m.tensor(2.0), x.u * 2, x.h * x.m.tensor(2.0).to_sparse(), x.s[0, 0] * x.s,
        x.m.tensor(2.5).to_sparse() * x.k,
    ],
    "sparse and sparse": lambda x: [
        x.s + x.s, x.s - x.s, x.m.add(x.s, x.s, alpha=2), x.s + x.u.coalesce(), x.c + x.c,
        x.s * x.s, x.s * x.u.coalesce(), x.c * x.c, x.h + x.h, x.s + x.k.coalesce(),
    ],
    "dense and sparse": lambda x: [
        x.d + x.s, x.d - x.s, x.m.add(x.d, x.u, alpha=2), x.d + x.c, x.c + x.d, x.d * x.s,
        x.s * x.d, x.c * x.d, x.s * x.m.ones(3), x.m.ones(4, 1) * x.s, x.s * x.m.ones(1, 4, 3),
        x.m.ones(4, 2) + x.h,
    ],
    "sums": lambda x: [
        x.s.sum(), x.u.sum(), x.c.sum(), x.s.sum(0), x.s.sum(1), x.s.sum(0, keepdim=True),
        x.s.sum((0, 1)), x.k.sum(), x.s.sum(dtype=x.m.float64), x.h.sum(0), x.h.sum(1),
        x.c.sum(0, keepdim=True), x.m.sparse.sum(x.s), x.m.sparse.sum(x.u, 0),
        x.m.sparse.sum(x.s, [0, 1]), x.m.sparse.sum(x.s, 1, dtype=x.m.float64),
        x.m.sparse.sum(x.k, 0), x.k.sum(0), x.m.sparse.sum(x.u, []), x.u.sum([]),
        x.m.sparse.sum(x.u.bool(), 0, dtype=x.m.float64), x.m.sparse.sum(x.u.bool(), (0, 1)),
        x.m.sparse.sum(x.h, 1), x.m.sparse.sum(x.h, 0), x.s.norm(), x.s.norm(1), x.k.any(),
    ],
    "views": lambda x: [
        x.s.t(), x.s.T, x.c.t(), x.cc.t(), x.b.t(), x.s.transpose(0, 1), x.s.permute(1, 0),
        x.s.mT, x.s.unsqueeze(0), x.s.unsqueeze(-1), x.h.unsqueeze(1), x.h.unsqueeze(-1),
        x.s.narrow_copy(0, 1, 2), x.s.T.T,
    ],
    "indexing": lambda x: [
        x.s[0], x.s[1, 2], x.s[0, 1], x.s[:, 1], x.s.select(0, -1), x.c[0], x.c[1, 2], x.h[0],
        x.h[1], x.h[:, 1], x.s.unbind()[1], list(x.s)[1], x.s[..., 2],
        x.s.index_select(0, x.m.tensor([1, 1, 0])), x.s.index_select(1, x.m.tensor([0, 2])),
        x.h.index_select(1, x.m.tensor([1])), x.s.index_select(0, x.m.tensor([-1, 0, -3])),
    ],
    "joining": lambda x: [
        x.m.cat([x.s, x.s]), x.m.cat([x.s, x.s], 1), x.m.stack([x.s, x.s]), x.m.cat([x.h, x.h], 1),
        x.m.stack([x.s, x.s], 1),
    ],
    "products": lambda x: [
        x.s @ x.e, x.u @ x.e, x.c @ x.e, x.cc @ x.e, x.e.t() @ x.s.t(), x.e.t() @ x.c.t(),
        x.m.mm(x.s, x.e), x.m.spmm(x.s, x.e), x.m.dsmm(x.s, x.e), x.m.mv(x.s, x.e[:, 0]),
        x.s @ x.e[:, 0], x.s.matmul(x.e), x.m.sparse.mm(x.s, x.e), x.m.sparse.mm(x.c, x.e),
        x.m.sparse.mm(x.e.t(), x.s.t()), x.m.sparse.mm(x.d, x.e),
        x.m.addmm(x.m.ones(4, 2), x.s, x.e, beta=2, alpha=3),
        x.m.sparse.addmm(x.m.ones(4, 2), x.s, x.e, beta=2, alpha=3),
        x.m.nn.functional.linear(x.s, x.e.t(), x.m.ones(2)),
        x.m.nn.functional.linear(x.c, x.e.t()), x.d[:, 0] @ x.s,
        x.m.nn.functional.linear(x.e.t(), x.s), x.m.nn.functional.linear(x.e.t(), x.c),
        x.m.bmm(x.m.stack([x.s, x.s]), x.m.stack([x.e, x.e])),
        x.s.double() @ x.e.double(), x.s.to(x.m.complex64) @ x.e.to(x.m.complex64),
    ],
    "csr times another layout": lambda x: [
        (x.c * a).to_dense() for a in (x.cc * 2, x.s * 3, x.b, x.d.to_sparse_bsc((2, 1)))
    ] + [x.c.clone().mul_(x.s)],
    "csr of csc products": lambda x: [
        x.cc.mT @ x.c, (x.cc @ x.m.ones(3, 2).to_sparse_csc()).layout,
        x.m.addmm(x.m.ones(4, 2).to_sparse_csr(), x.cc, x.m.ones(3, 2).to_sparse_csc()),
    ],
    "sparse products": lambda x: [
        x.s @ x.s.t(), x.m.sparse.mm(x.s, x.s.t()), x.m.smm(x.s, x.e), x.m.hspmm(x.s, x.e),
        x.m.hsmm(x.u, x.e), x.m.sspaddmm(x.m.eye(4)[:, :2].to_sparse(), x.s, x.e, beta=2, alpha=3),
    ],
    "products by reduce": lambda x: [
        x.m.sparse.mm(x.c, x.e, how) for how in ("sum", "mean", "amax", "amin", "max", "min")
    ],
    "sampled_addmm": lambda x: x.m.sparse.sampled_addmm(
        x.c, x.d @ x.e, x.e.t(), beta=0.5, alpha=2.0
    ),
    "softmax": lambda x: [
        f(t, dim) for f in (x.m.sparse.softmax, x.m.sparse.log_softmax)
        for t in (x.s, x.u) for dim in (0, 1)
    ] + [x.m.sparse.softmax(x.h, 1), x.m.sparse.softmax(x.s, 1, dtype=x.m.float64)],
    "in place": lambda x: [
        x.s.clone().mul_(2), x.s.clone().div_(2), x.s.clone().add_(x.s), x.s.clone().sub_(x.s),
        x.s.clone().neg_(), x.s.clone().zero_(), x.h.clone().zero_(), x.s.clone().copy_(x.s * 2),
        x.d.clone().add_(x.s), x.d.clone().mul_(x.s), x.s.clone().log1p_(),
        x.s.clone()._coalesced_(False).is_coalesced(), x.s.clone().t_(), x.u.clone().neg_(),
        x.u.clone().transpose_(0, 1),
        x.s.clone().sparse_resize_((5, 6), 2, 0), x.s.clone().sparse_resize_and_clear_((5,), 1, 0),
        x.m.resize_as_sparse_(x.m.sparse_coo_tensor(size=(2, 2)), x.s),
        x.s.new().resize_as_(x.s), x.s.clone().resize_as_(x.s),
    ],
    "what is coalesced": lambda x: [
        t.is_coalesced() for t in (
            x.cc.to_sparse(), x.b.to_sparse(), x.c.to_sparse(), x.m.cat([x.s, x.s]), x.s[1],
            x.m.stack([x.s, x.s]), x.s.unsqueeze(0), x.s.unsqueeze(2), x.c[1],
            x.s.index_select(0, x.m.tensor([0, 1])), x.s.narrow_copy(0, 0, 2),
            x.s.sum(0, keepdim=True), x.s * x.u, x.u * x.u, x.s * x.s,
        )
    ],
    "batches exchanged": lambda x: [
        t.transpose(i, j) for i, j in ((0, 1), (2, 3), (-1, -2)) for t in (
            x.m.arange(24.0).reshape(2, 3, 2, 2).add(1).to_sparse_csr(),
            x.m.arange(24.0).reshape(2, 3, 2, 2).add(1).to_sparse_bsc((2, 1)),
        )
    ],
    "all dimensions kept": lambda x: [
        x.s.sum((0, 1), keepdim=True), x.c.sum((0, 1), keepdim=True),
        x.m.ones(2, 3, 2).to_sparse_csr(dense_dim=1).select(2, 1), x.u * x.s, x.u * x.u,
    ],
    "copies": lambda x: [
        x.s.clone(), x.c.clone(), x.s.detach(), x.s.data, copy.deepcopy(x.s),
        pickle.loads(pickle.dumps(x.s)), pickle.loads(pickle.dumps(x.cc)),
    ],
}  # fmt: skip
# PyTorch keeps its rows' columns in no order there.
UNORDERED = {
    "sparse and sparse", "sparse products", "coalesce", "csr of csc products",
}  # fmt: skip


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    program = FORWARD[name]
    expected = run(program, torch)
    assert_same(expected, run(program, torchlike), name not in UNORDERED)


@pytest.mark.parametrize("name", ["numbers", "dense and sparse", "products", "softmax", "unary"])
def test_forward_op_by_op(name):
    expected = run(FORWARD[name], torch)
    before, settings.immediate = settings.immediate, True
    try:
        assert_same(expected, run(FORWARD[name], torchlike), name not in UNORDERED)
    finally:
        settings.immediate = before


REPR = {
    "coo": lambda x: x.s,
    "uncoalesced": lambda x: x.u,
    "csr": lambda x: x.c,
    "bsr": lambda x: x.b,
    "hybrid": lambda x: x.h,
    "nothing": lambda x: x.m.sparse_coo_tensor(size=(2, 3)),
    "half": lambda x: x.s.half(),
    "long": lambda x: x.m.eye(60).to_sparse(),
    "requires grad": lambda x: x.s.clone().requires_grad_(),
    "grad_fn": lambda x: x.s.clone().requires_grad_().sin(),
    "converted": lambda x: x.s.clone().requires_grad_().to_sparse_csr(),
}


@pytest.mark.parametrize("name", REPR)
def test_repr(name):
    assert repr(run(REPR[name], torch)) == repr(run(REPR[name], torchlike))


# ---- errors ------------------------------------------------------------------------------------

SAME_TEXT = {
    "coo indices of one dimension": lambda x: x.m.sparse_coo_tensor([0, 1], [1.0, 2]),
    "coo nnz": lambda x: x.m.sparse_coo_tensor([[0, 1]], [1.0, 2, 3]),
    "coo size": lambda x: x.m.sparse_coo_tensor([[0, 1]], [1.0, 2], (3, 3)),
    "coo negative": lambda x: x.m.sparse_coo_tensor([[0, -5], [1, 1]], [1.0, 2]),
    "coo out of range": lambda x: x.m.sparse_coo_tensor(
        [[0, 5], [1, 1]], [1.0, 2], (2, 2), check_invariants=True
    ),
    "coo of integers wants gradients": lambda x: x.m.sparse_coo_tensor(
        x.i, x.i[0], (4, 3), requires_grad=True
    ),
    "csr starts": lambda x: x.m.sparse_csr_tensor(
        [1, 1, 3], [2, 0, 1], [1.0, 2, 3], (2, 3), check_invariants=True
    ),
    "csr end": lambda x: x.m.sparse_csr_tensor(
        [0, 1, 4], [2, 0, 2], [1.0, 2, 3], (2, 3), check_invariants=True
    ),
    "csr columns": lambda x: x.m.sparse_csr_tensor(
        [0, 2, 3], [0, 3, 1], [1.0, 2, 3], (2, 3), check_invariants=True
    ),
    "csr order": lambda x: x.m.sparse_csr_tensor(
        [0, 2, 3], [2, 0, 1], [1.0, 2, 3], (2, 3), check_invariants=True
    ),
    "csr rows": lambda x: x.m.sparse_csr_tensor(
        [0, 1, 3], [2, 0, 2], [1.0, 2, 3], (3, 3), check_invariants=True
    ),
    "compressed without layout": lambda x: x.m.sparse_compressed_tensor([0, 1], [0], [1.0]),
    "indices of uncoalesced": lambda x: x.u.indices(),
    "values of uncoalesced": lambda x: x.u.values(),
    "indices of dense": lambda x: x.d.indices(),
    "indices of csr": lambda x: x.c.indices(),
    "values of dense": lambda x: x.d.values(),
    "crow_indices of coo": lambda x: x.s.crow_indices(),
    "coalesce of dense": lambda x: x.d.coalesce(),
    "is_coalesced of csr": lambda x: x.c.is_coalesced(),
    "as another layout is": lambda x: x.c.clone().resize_as_sparse_(x.cc),
    "too many dense dimensions": lambda x: x.d.to_sparse(layout=x.m.sparse_csr, dense_dim=1),
    "only dense dimensions": lambda x: x.d.to_sparse(layout=x.m.sparse_coo, dense_dim=2),
    "to csr of one sparse dimension": lambda x: x.h.to_sparse_csr(),
    "addmm into csr": lambda x: x.m.addmm(x.c, x.c, x.m.eye(3)),
    "too many sparse dimensions": lambda x: x.d.to_sparse(3),
    "no sparse dimension": lambda x: x.d.to_sparse(0),
    "blocks without size": lambda x: x.d.to_sparse(layout=x.m.sparse_bsr),
    "blocks that do not fit": lambda x: x.d.to_sparse_bsr((3, 2)),
    "unequal batches": lambda x: x.m.tensor([[[1.0, 0]], [[1, 1]]]).to_sparse_csr(),
    "to_dense with dtype": lambda x: x.s.to_dense(dtype=x.m.float64),
    "sparse + dense": lambda x: x.s + x.d,
    "sparse + number": lambda x: x.s + 1,
    "dense + sparse of another shape": lambda x: x.m.ones(3) + x.s,
    "sparse / dense": lambda x: x.s / x.d,
    "product that does not fit": lambda x: x.s @ x.m.ones(2, 2),
    "vector that does not fit": lambda x: x.m.mv(x.s, x.m.ones(2)),
    "product of two dtypes": lambda x: x.m.mm(x.s, x.e.double()),
    "unknown reduce": lambda x: x.m.sparse.mm(x.c, x.e, "foo"),
    "power of zero": lambda x: x.s**0,
    "sum of csr": lambda x: x.c.sum(0),
    "sparse.sum of dense": lambda x: x.m.sparse.sum(x.d),
    "norm along a dimension": lambda x: x.s.norm(2, 0),
    "norm that keeps dimensions": lambda x: x.s.norm(keepdim=True),
    "norm of another dtype": lambda x: x.s.norm(1, dtype=x.m.float64),
    "sum along one twice": lambda x: x.s.sum((0, -2)),
    "abs_ of uncoalesced": lambda x: x.u.abs_(),
    "arcsin_ of uncoalesced": lambda x: x.u.arcsin_(),
    "coo of sparse values": lambda x: x.m.sparse_coo_tensor([[0, 1, 2, 3]], x.v.to_sparse()),
    "index_select beyond": lambda x: x.s.index_select(0, x.m.tensor([-5])),
    "mask of another shape": lambda x: x.m.ones(3, 3).sparse_mask(x.s),
    "numpy": lambda x: x.s.numpy(),
    "numpy of csr": lambda x: x.c.numpy(),
    "contiguous": lambda x: x.s.contiguous(),
    "reshape": lambda x: x.s.reshape(3, 4),
    "expand": lambda x: x.s.expand(2, 4, 3),
    "index": lambda x: x.s[5],
    "cat with dense": lambda x: x.m.cat([x.s, x.d]),
    "cat of shapes": lambda x: x.m.cat([x.s, x.s.t()]),
    "bool": lambda x: bool(x.s),
    "t of a hybrid": lambda x: x.h.t(),
    "duplicate diagonals": lambda x: x.m.sparse.spdiags(x.m.ones(2, 3), x.m.tensor([0, 0]), (3, 3)),
    "resize with elements": lambda x: x.s.sparse_resize_((2, 2), 2, 0),
    "copy_ of dense": lambda x: x.s.clone().copy_(x.d),
    "a batch and rows exchanged": lambda x: x.m.ones(2, 2, 2).to_sparse_csr().transpose(0, 1),
    "copy_ of dense to csr": lambda x: x.c.clone().copy_(x.d),
    "copy_ of another layout": lambda x: x.s.clone().copy_(x.c),
    "copy_ of coordinates": lambda x: x.c.clone().copy_(x.s),
    "copy_ of columns": lambda x: x.c.clone().copy_(x.cc),
    "copy_ of another count": lambda x: x.c.clone().copy_(x.d.to_sparse_csr()),
    "copy_ of a smaller one": lambda x: x.s.clone().copy_(x.m.ones(2, 2).to_sparse()),
    "set an element": lambda x: x.s.clone().__setitem__((0, 0), 1),
    "sparse weight decay": lambda x: step(x.m, x.m.optim.Adagrad, weight_decay=0.1),
    "dense gradients for SparseAdam": lambda x: step(x.m, x.m.optim.SparseAdam, sparse=False),
    "sparse gradients for Adam": lambda x: step(x.m, x.m.optim.Adam),
    "sparse gradients for AdamW": lambda x: step(x.m, x.m.optim.AdamW),
    "sparse gradients for RMSprop": lambda x: step(x.m, x.m.optim.RMSprop),
    "max of sparse bags": lambda x: x.m.nn.functional.embedding_bag(
        x.i, x.m.ones(4, 2), mode="max", sparse=True
    ),
}


def step(m, kind, sparse=True, **options):
    w = m.nn.Parameter(m.ones(5, 3))
    opt = kind([w], lr=0.1, **options)
    m.nn.functional.embedding(m.tensor([0, 2]), w, sparse=sparse).sum().backward()
    opt.step()


def error_of(program, m):
    with pytest.raises(Exception) as caught:
        run(program, m)
    return caught.value


@pytest.mark.parametrize("name", SAME_TEXT)
def test_errors(name):
    expected, actual = error_of(SAME_TEXT[name], torch), error_of(SAME_TEXT[name], torchlike)
    assert isinstance(actual, type(expected))
    assert str(actual) == str(expected).split("\n")[0]


# No dense result may come of an op that has no rule, and no layout be ignored.
REFUSED = {
    name: (lambda x, name=name: getattr(x.s, name)())
    for name in (
        "exp", "cos", "log", "mean", "max", "argmax", "sort", "nonzero", "cumprod_of", "isfinite",
        "unique", "trace", "triu", "squeeze", "prod", "std", "item",
    ) if name != "cumprod_of"
}  # fmt: skip
REFUSED |= {
    "eq": lambda x: x.s == x.s,
    "equal": lambda x: x.m.equal(x.s, x.s),
    "where": lambda x: x.m.where(x.s.bool(), x.s, x.s),
    "softmax": lambda x: x.s.softmax(1),
    "view": lambda x: x.s.view(-1),
    "index by tensor": lambda x: x.s[x.m.tensor([0])],
    "einsum": lambda x: x.m.einsum("ij,jk->ik", x.s, x.e.t().t()) and None,
    "fill_": lambda x: x.s.clone().fill_(1),
    "uniform_": lambda x: x.s.clone().uniform_(),
    "rand_like": lambda x: x.m.rand_like(x.s),
    "ones_like": lambda x: x.m.ones_like(x.s),
    "new_ones": lambda x: x.s.new_ones(2, 2),
    "new_full": lambda x: x.c.new_full((2, 2), 3.0),
    "layout of rand": lambda x: x.m.rand(2, 2, layout=x.m.sparse_coo),
    "layout of randn_like": lambda x: x.m.randn_like(x.d, layout=x.m.sparse_coo),
    "resize_": lambda x: x.s.clone().resize_(2),
    "dot": lambda x: x.m.dot(x.s[0], x.s[0]),
    "linear of sparse": lambda x: x.m.nn.functional.dropout(x.s),
    "data_ptr": lambda x: x.s.data_ptr(),
    "tolist": lambda x: x.s.tolist(),
    "dlpack": lambda x: x.s.__dlpack__(),
    "spsolve": lambda x: x.m.sparse.spsolve(x.c, x.e),
    "layout of ones": lambda x: x.m.ones(2, 2, layout=x.m.sparse_coo),
    "reduce of coo": lambda x: x.m.sparse.mm(x.s, x.e, "mean"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_raises(name):
    assert isinstance(error_of(REFUSED[name], torchlike), (RuntimeError, TypeError, BufferError))


def test_what_is_not_there_says_so():
    with pytest.raises(torchlike.NotSupported, match="pad_sequence"):
        torchlike.nested.nested_tensor([torchlike.ones(2)])
    with pytest.raises(torchlike.NotSupported, match="meta"):
        torchlike.sparse_coo_tensor([[0]], [1.0], (2,), device="meta")
    with pytest.raises(torchlike.NotSupported, match="sparse parameters"):
        torchlike.nn.Parameter(torchlike.eye(2).to_sparse())
    assert str(torchlike.jagged) == "torch.jagged"


# ---- modules, files, transforms ----------------------------------------------------------------


def test_sparse_buffers():
    class Graph(torchlike.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("adj", torchlike.eye(3).to_sparse() * 2)
            self.linear = torchlike.nn.Linear(2, 2)

        def forward(self, x):
            return torchlike.spmm(self.adj, self.linear(x))

    m = Graph()
    x = torchlike.ones(3, 2)
    assert_equal = np.testing.assert_allclose
    assert_equal(m(x).detach().numpy(), 2 * m.linear(x).detach().numpy(), rtol=1e-6)
    assert m.double().adj.dtype is torchlike.float64
    other = copy.deepcopy(m)
    other.adj.mul_(3)
    m.load_state_dict(other.state_dict())
    assert_equal(m.adj.to_dense().numpy(), 6 * np.eye(3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_files(layout):
    """Written by either library, read by the other."""

    def make(m):
        x = m.tensor([[1.0, 0, 2], [0, 0, 3]])
        block = {"blocksize": (1, 3)} if layout[7] == "b" else {}
        return x.to_sparse(layout=getattr(m, layout), **block)

    for writer, reader in ((torch, torchlike), (torchlike, torch), (torchlike, torchlike)):
        file = io.BytesIO()
        writer.save({"x": make(writer)}, file)
        file.seek(0)
        found = reader.load(file)["x"]
        for a, b in zip(parts(make(writer)), parts(found), strict=True):
            np.testing.assert_array_equal(a, b)


def test_files_with_bad_indices_are_refused():
    file = io.BytesIO()
    x = torch.sparse_coo_tensor([[0, 7]], [1.0, 2.0], (3,), check_invariants=False)
    torch.save(x, file)
    file.seek(0)
    with pytest.raises(RuntimeError, match="size is inconsistent with indices"):
        torchlike.load(file)


def test_invariants_are_checked_where_asked():
    switch = torchlike.sparse.check_sparse_tensor_invariants
    assert not switch.is_enabled()
    with switch(), pytest.raises(RuntimeError, match="size is inconsistent"):
        torchlike.sparse_coo_tensor([[5]], [1.0], (2,))

    @switch()
    def make():
        return switch.is_enabled()

    assert make()
    assert not switch.is_enabled()


def test_parts_are_shared():
    """With the tensors it was made of, and with what is written to them later."""

    def look(m):
        i, v = m.tensor([[0, 1], [1, 0]]), m.tensor([1.0, 2.0])
        s = m.sparse_coo_tensor(i, v, (3, 3))
        seen = [s.to_dense().tolist()]
        i[0, 0] = 2
        seen.append((s @ m.eye(3)).tolist())
        v.mul_(2)
        s._values().add_(1)
        seen += [v.tolist(), s.to_dense().tolist()]
        c = s.coalesce().to_sparse_csr()
        c.values().mul_(2)
        return [*seen, c.to_dense().tolist()]

    assert look(torch) == look(torchlike)


def test_indices_out_of_range_raise_when_they_are_used():
    x = torchlike.sparse_coo_tensor([[5], [0]], [1.0], (2, 2))
    with pytest.raises(RuntimeError, match="found index 5"):
        x.to_dense()


def test_transforms():
    adj = Case(torchlike).s
    e = Case(torchlike).e
    dense = adj.to_dense()
    close = np.testing.assert_allclose
    columns = torchlike.func.vmap(lambda c: adj @ c.unsqueeze(1))(e.t())
    close(columns.numpy(), torchlike.func.vmap(lambda c: dense @ c.unsqueeze(1))(e.t()).numpy())
    grad = torchlike.func.grad(lambda e: (adj @ e).pow(2).sum())(e)
    close(grad.numpy(), torchlike.func.grad(lambda e: (dense @ e).pow(2).sum())(e).numpy(), 1e-5)
    v = torchlike.ones(2, 2)
    of_values = torchlike.func.vmap(
        torchlike.func.grad(
            lambda v: (
                (torchlike.sparse_coo_tensor([[0, 1], [1, 0]], v, (2, 2)) @ v[:, None]).pow(2).sum()
            )
        )
    )(v)
    close(of_values.numpy(), np.full((2, 2), 4.0))


def test_a_sparse_step_compiles_once():
    """However many distinct rows a batch names, the program is the same."""
    w = torchlike.nn.Parameter(torchlike.ones(50, 4))
    opt = torchlike.optim.SparseAdam([w], lr=0.1)
    compiles = []
    for k in range(8):
        opt.zero_grad()
        index = torchlike.tensor([0] * k + list(range(8 - k)))
        torchlike.nn.functional.embedding(index, w, sparse=True).pow(2).sum().backward()
        opt.step()
        compiles.append(torchlike.compiler.stats()["compiles"])
    assert compiles[3:] == compiles[3:4] * 5
