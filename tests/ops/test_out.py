"""``out=`` of the functions that are written by hand, against PyTorch's."""

import pytest

import torchlike
from tests.ops.table import to_numpy, torch

CALLS = {
    "linear": lambda lib, x, **k: lib.nn.functional.linear(x, x[:2], **k),
    "gelu": lambda lib, x, **k: lib.nn.functional.gelu(x, approximate="tanh", **k),
    "softplus": lambda lib, x, **k: lib.nn.functional.softplus(x, **k),
    "softshrink": lambda lib, x, **k: lib.nn.functional.softshrink(x, 0.1, **k),
    "hardshrink": lambda lib, x, **k: lib.nn.functional.hardshrink(x, **k),
    "logsigmoid": lambda lib, x, **k: lib.nn.functional.logsigmoid(x, **k),
    "avg_pool2d": lambda lib, x, **k: lib.nn.functional.avg_pool2d(x[None], 2, **k),
    "avg_pool3d": lambda lib, x, **k: lib.nn.functional.avg_pool3d(x[None, None], (1, 2, 2), **k),
    "torch.hardshrink": lambda lib, x, **k: lib.hardshrink(x, **k),
    "torch.threshold": lambda lib, x, **k: lib.threshold(x, 0.2, -1, **k),
}


def operand(lib):
    return lib.linspace(-1, 1, 16).reshape(4, 4)


@pytest.mark.parametrize("name", CALLS)
def test_out(name):
    call = CALLS[name]
    expected = call(torch, operand(torch), out=torch.empty(0))
    out = torchlike.empty(tuple(expected.shape))
    assert call(torchlike, operand(torchlike), out=out) is out
    assert abs(to_numpy(out) - to_numpy(expected)).max() < 1e-6


@pytest.mark.parametrize("name", [n for n in CALLS if not n.startswith("torch.")])
def test_out_of_another_dtype_is_refused(name):
    for lib in (torch, torchlike):
        shape = tuple(CALLS[name](lib, operand(lib)).shape)
        with pytest.raises(RuntimeError):
            CALLS[name](lib, operand(lib), out=lib.empty(shape, dtype=lib.float64))


@pytest.mark.parametrize("name", ["linear", "gelu", "avg_pool2d"])
def test_out_has_no_gradient(name):
    for lib in (torch, torchlike):
        x = operand(lib).requires_grad_()
        shape = tuple(CALLS[name](lib, x).shape)
        with pytest.raises(RuntimeError, match="automatic differentiation"):
            CALLS[name](lib, x, out=lib.empty(shape))


# What cannot be written where it is not of the result's own dtype; the words are PyTorch's.
EXACT = [
    "L.mm(x, x, out=wide)", "L.tril(x, out=wide)", "L.round(x, out=wide)", "L.neg(x, out=wide)",
    "L.signbit(x, out=wide)", "L.all(x, out=wide)", "L.isposinf(x, out=wide)",
    "L.nan_to_num(x, out=wide)", "L.inner(x, x, out=wide)", "L.tensordot(x, x, 1, out=wide)",
    "L.index_select(x, 0, i, out=wide)", "L.slice_scatter(x, x, out=wide)",
    "L.take_along_dim(x, i[None, :1], 0, out=wide)", "L.renorm(x, 2, 0, 1.0, out=wide)",
    "L.nonzero(x, out=wide)", "L.searchsorted(x[0], x, out=wide)", "L.histc(x, 4, out=wide)",
    "L.float_power(x, 2, out=L.empty(0))", "L.cat([x, x], out=i)", "L.stack([x, x], out=i)",
    "L.linalg.cholesky(x @ x.T + L.eye(4), out=wide)", "L.linalg.solve(L.eye(4), x, out=wide)",
    "L.linalg.eigvalsh(x, out=wide)", "L.linalg.multi_dot([x, x], out=wide)",
    "L.linalg.matrix_norm(x, 1, out=wide)", "L.linalg.vecdot(x, x, out=wide)",
    "L.linalg.det(x, out=wide)", "L.linalg.svdvals(x, out=wide)", "L.msort(x, out=wide)",
    "L.all(x.int(), out=L.empty(0).byte())",
    "L.linalg.solve_triangular(L.eye(4), x, upper=True, out=wide)", "L.median(x, out=wide)",
    "L.fft.irfft(x, out=wide + 0j)", "L.fft.hfft2(x, out=wide + 0j)",
    "L.index_add(x, 0, i, x[:2], out=wide)", "L.hash_tensor(x, out=wide)",
    # and what can
    "L.clamp(x, x, out=wide)", "L.ceil(x, out=L.empty(0))", "L.chain_matmul(x, out=i.int())",
]  # fmt: skip


@pytest.mark.filterwarnings("ignore:An output with one or more", "ignore:torch.chain_matmul")
@pytest.mark.parametrize("call", EXACT)
def test_dtype_of_out(call):
    told = []
    for lib in (torch, torchlike):
        wide = lib.empty(0, dtype=lib.float64)
        names = {"L": lib, "x": operand(lib), "i": lib.tensor([0, 1]), "wide": wide}
        try:
            told.append(to_numpy(eval(call, names)).tolist())
        except (RuntimeError, TypeError) as error:
            told.append((type(error), str(error)))
    assert told[0] == told[1]
