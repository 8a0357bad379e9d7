"""Linear algebra against PyTorch: torch.linalg and its older twins at top level."""

from functools import partial

import pytest

import torchlike
from tests.ops.host import check_host
from tests.ops.table import (
    Row,
    S,
    T,
    cases,
    check,
    check_error,
    compare_gradients,
    error_cases,
    gradients,
    same,
    torch,
)
from torchlike._core.settings import settings

A = T((3, 3), "float64")
B = T((2, 3, 3), "float64")
C = T((3, 3), "complex128")
M = T((4, 3), "float64")
W = T((2, 4), "float64")
V = T((3,), "float64")
EMPTY = T((0, 0), "float64")
INTS = T((2, 2), "int64")
INF = float("inf")
PIVOTS = T((3,), "int32", 1, 4, False)

ROWS = [
    Row("linalg.det", [S(B), S(C), S(EMPTY)], errors=[S(M), S(INTS), S(V)]),
    Row("det", [S(A)], forms=("method",), errors=[S(3)]),
    Row("linalg.slogdet", [S(C), S(EMPTY)], errors=[S(M), S(INTS)]),
    Row("slogdet", [S(B)], forms=("method",)),
    Row("logdet", [S(B)], forms=("method",), errors=[S(M), S(INTS)]),
    Row("linalg.inv", [S(A), S(C), S(EMPTY)], forms=("out",), errors=[S(M), S(INTS), S("x")]),
    Row("linalg.inv_ex", [S(A), S(B, check_errors=True)]),
    Row("inverse", [S(A)], forms=("method", "out")),
    Row(
        "linalg.solve",
        [
            S(A, V),
            S(A, T((3, 2), "float64")),
            S(B, T((2, 3), "float64")),
            S(A, T((2, 3), "float64"), left=False),
            S(C, T((3,), "complex128")),
        ],
        forms=("out",),
        errors=[S(M, V), S(A, T((3,))), S(A, M), S(V, V), S(INTS, INTS), S(A, V, left=False)],
    ),
    Row("linalg.solve_ex", [S(A, V)]),
    Row(
        "linalg.solve_triangular",
        [
            S(A, M._replace(shape=(3, 2)), upper=True),
            S(A, M, upper=False, left=False),
            S(C, T((3, 2), "complex128"), upper=False),
        ],
        errors=[S(A, V, upper=True), S(M, A, upper=True), S(A, A)],
    ),
    Row(
        "triangular_solve",
        [
            S(M._replace(shape=(3, 2)), A),
            S(M._replace(shape=(3, 2)), B, False, True),
            S(M._replace(shape=(3, 2)), A, unitriangular=True, transpose=True),
        ],
        errors=[S(V, A), S(A, M), S(M, A), S(T((3, 2)), A)],
    ),
    Row(
        "linalg.pinv",
        [S(M), S(T((3, 4), "complex128")), S(T((0, 3)))],
        errors=[S(V), S(A, rtol=T((), "complex64"))],
    ),
    Row("pinverse", [S(M), S(M, 0.5)], forms=("method",), errors=[S(INTS)]),
    Row(
        "linalg.matrix_rank",
        [S(A), S(B, atol=1.0), S(M, rtol=0.9), S(M, 1.0), S(T((2, 0)))],
        grad=False,
        errors=[S(V), S(INTS)],
    ),
    Row("linalg.lu", [S(M), S(W), S(C)], errors=[S(V), S(INTS), S(A, pivot=False)]),
    Row("linalg.lu_factor", [S(A), S(B)], errors=[S(V)]),
    Row("linalg.lu_factor_ex", [S(A)]),
    Row("lu", [S(A), S(B, get_infos=True)]),
    Row(
        "lu_unpack",
        [S(A, PIVOTS), S(A, PIVOTS, unpack_pivots=False)],
        errors=[S(A, T((3,), "int64")), S(A, T((3,), "int32", 7, 9))],
    ),
    Row(
        "linalg.lu_solve",
        [
            S(A, PIVOTS, M._replace(shape=(3, 2))),
            S(A, PIVOTS, M, left=False),
            S(C, PIVOTS, T((3, 2), "complex128"), adjoint=True),
            S(A, PIVOTS, M, left=False, adjoint=True),
        ],
        errors=[S(A, PIVOTS, M), S(A, T((3,), "int64", 1, 4), A)],
    ),
    Row("lu_solve", [S(M._replace(shape=(3, 2)), A, PIVOTS)], forms=("method",)),
    Row("cholesky_inverse", [S(A), S(A, upper=True)], errors=[S(M), S(V)]),
    # Beside the triangle that is read, PyTorch's first derivative is not zero; second ones differ.
    Row(
        "cholesky_solve",
        [S(A, A), S(C, C, upper=True)],
        second=False,
        errors=[S(V, A), S(M, A), S(T((3, 2)), A)],
    ),
    Row("linalg.qr", [S(M), S(W), S(C)], errors=[S(A, "x")]),
    Row(
        "linalg.qr",
        [S(M, "complete"), S(M, "r"), S(T((3, 0)), "complete")],
        grad=False,
        errors=[S(V), S(INTS)],
    ),
    Row("qr", [S(M), S(A, some=False)], forms=("method",)),
    Row("geqrf", [S(M), S(W)], grad=False, forms=("method",), errors=[S(V)]),
    Row(
        "linalg.householder_product",
        [S(M, V), S(T((4, 3), "complex128"), T((2,), "complex128"))],
        errors=[S(W, V), S(M, T((4,), "float64")), S(M, T((3,))), S(V, V)],
    ),
    Row("orgqr", [S(M, V)], forms=("method",)),
    Row(
        "ormqr",
        [
            S(M, V, T((4, 2), "float64")),
            S(M, V, T((2, 4), "float64"), left=False),
            S(M, V, T((4, 2), "float64"), transpose=True),
        ],
        errors=[S(M, V, A), S(V, V, M), S(M, T((2,), "float64"), T((4, 4), "float64"))],
    ),
    Row("linalg.eigvalsh", [S(B, UPLO="U"), S(C)], second=False, errors=[S(M), S(A, "x")]),
    Row("linalg.svdvals", [S(M), S(C), S(T((0, 3)))], errors=[S(V), S(INTS)]),
    Row("svd", [S(M, compute_uv=False)], grad=False, forms=("method",)),
    Row("linalg.matrix_exp", [S(A), S(C), S(EMPTY)], second=False, errors=[S(M), S(INTS)]),
    Row("matrix_exp", [S(T((2, 2)))], forms=("method",), second=False),
    Row(
        "linalg.matrix_power",
        [S(A, 3), S(B, 0), S(A, -2), S(INTS, 5), S(A, 1)],
        forms=("out",),
        errors=[S(M, 2), S(A, 2.0)],
    ),
    Row("matrix_power", [S(A, 2)], forms=("method",)),
    Row(
        "linalg.multi_dot",
        [S([M, A, T((3, 2), "float64")]), S([V, A, V]), S([V, A])],
        errors=[S([A]), S([M, M]), S([A, V, A]), S(A)],
    ),
    Row("linalg.cross", [S(A, A), S(T((3, 2)), T((3, 1)), dim=0)], errors=[S(A, V), S(W, W)]),
    Row("linalg.diagonal", [S(B), S(B, offset=1, dim1=0)]),
    Row(
        "linalg.vecdot",
        [S(A, V), S(C, C, dim=0), S(V, V)],
        errors=[S(V, T((4,), "float64")), S(V, T((3,))), S(INTS, INTS)],
    ),
    Row(
        "linalg.vander",
        [S(V), S(A, N=4), S(T((3,), "int32")), S(T(), N=3)],
        errors=[S(V, N=1), S(T((3,), "bool"))],
    ),
    Row("linalg.matmul", [S(A, M._replace(shape=(3, 2)))]),
    Row(
        "linalg.ldl_factor",
        [S(T((5, 5), "float64")), S(C, hermitian=True)],
        grad=False,
        errors=[S(M), S(INTS), S(V)],
    ),
    Row("linalg.ldl_factor_ex", [S(T((2, 4, 4), "float64")), S(C)], grad=False),
    Row(
        "linalg.ldl_solve",
        [S(A, PIVOTS, M._replace(shape=(3, 2)))],
        grad=False,
        errors=[S(M, PIVOTS, A), S(A, PIVOTS, M)],
    ),
    Row("linalg.tensorinv", [S(T((4, 2, 2), "float64"), ind=1)], errors=[S(W), S(A, ind=0)]),
    Row(
        "linalg.tensorsolve",
        [S(T((2, 3, 6), "float64"), W._replace(shape=(2, 3))), S(B._replace(shape=(3, 1, 3)), V)],
        errors=[S(M, V)],
    ),
    Row(
        "linalg.vector_norm",
        [S(A), S(A, 1, dim=0), S(A, INF, [0, 1], True), S(T((3,)), dtype="torch.float64"), S(C, 3)],
        errors=[S(INTS), S(A, "fro")],
    ),
    Row(
        "linalg.matrix_norm",
        [
            S(A), S(B, 1), S(B, -1, (0, 1)), S(B, INF, keepdim=True), S(A, "nuc"), S(B, 2, (2, 0)),
            S(M, -2, keepdim=True), S(C, "fro"), S(T((3, 3)), 1, dtype="torch.float64"),
        ],
        forms=("out",),
        second=False,
        errors=[S(A, 3), S(A, "x"), S(A, 2, (0, 0)), S(A, 2, (0, 1, 2)), S(V), S(INTS)],
    ),
    Row(
        "linalg.norm",
        [S(A), S(V, 1), S(A, "fro"), S(B, dim=0), S(B, "nuc", (0, 2)), S(A, INF), S(B, 2, 1, True)],
        second=False,
        errors=[S(B, 2), S(B, 2, (0, 1, 2)), S(V, "fro"), S(A, "fro", 0), S(INTS)],
    ),
    Row("norm", [S(A, "nuc"), S(B, "nuc", (0, 1))], second=False, forms=("method",)),
    Row("nuclear_norm", [S(A), S(A, True), S(B, (0, 2))], second=False),
    Row("frobenius_norm", [S(A, dim=(0, 1)), S(A, 0)]),
    Row(
        "linalg.cond",
        [S(A), S(A, -2), S(EMPTY), S(M, 2)],
        second=False,
        errors=[S(M, "fro"), S(A, 3), S(V)],
    ),
    Row("linalg.cond", [S(A, "fro"), S(B, 1), S(A, -INF)], grad=False),
]  # fmt: skip


@pytest.mark.filterwarnings(
    "ignore:torch.*is deprecated", "ignore:The.*is deprecated", "ignore:at::"
)
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample):
    check(row, sample, immediate=False)


@pytest.mark.filterwarnings(
    "ignore:torch.*is deprecated", "ignore:The.*is deprecated", "ignore:at::"
)
@pytest.mark.parametrize(("row", "sample"), cases(ROWS[::3], 1))
def test_op_at_once(row, sample):
    check(row, sample, immediate=True)


@pytest.mark.filterwarnings(
    "ignore:torch.*is deprecated", "ignore:The.*is deprecated", "ignore:at::"
)
@pytest.mark.parametrize(("row", "sample"), cases([row for i, row in enumerate(ROWS) if i % 3], 1))
def test_numpy_and_xla_agree(row, sample):
    check_host(row, sample)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


# ---- results that are unique only up to signs and phases, and special matrices -----------------


def definite(lib, a):
    """A positive-definite matrix."""
    return a @ a.mH + lib.eye(a.shape[-1], dtype=a.dtype)


def projections(v):
    """What an eigenvector is whatever its phase: each column's outer product with itself."""
    columns = v.mT
    return columns.unsqueeze(-1) * columns.conj().unsqueeze(-2)


def eigenpairs(lib, a, eig):
    values, v = eig(a)
    return values, projections(v)


def singular_triples(lib, a, **kwargs):
    u, s, vh = lib.linalg.svd(a, **kwargs)
    k = s.shape[-1]
    return s, u[..., :, :k].mT.unsqueeze(-1) * vh[..., :k, :].unsqueeze(-2)


COMPOSED = {
    "cholesky": (lambda lib, a: lib.linalg.cholesky(definite(lib, a)), [A, B, C]),
    "upper": (lambda lib, a: lib.linalg.cholesky(definite(lib, a), upper=True), [A, C]),
    "cholesky_ex": (lambda lib, a: lib.linalg.cholesky_ex(definite(lib, a)), [A]),
    "older": (lambda lib, a: lib.cholesky(definite(lib, a)), [A]),
    "triangle": (lambda lib, a: lib.linalg.cholesky(a * 0.1 + lib.eye(3) * 2), [A]),
    "eigh": (lambda lib, a: eigenpairs(lib, definite(lib, a), lib.linalg.eigh), [A, B, C]),
    "eig": (lambda lib, a: eigenpairs(lib, definite(lib, a), lib.linalg.eig), [A, C]),
    "eigvals": (lambda lib, a: lib.linalg.eigvals(a).abs().sort().values, [A, C]),
    "svd": (singular_triples, [A, M, W, C]),
    "thin svd": (partial(singular_triples, full_matrices=False), [M, W, T((4, 3), "complex128")]),
    "older svd": (lambda lib, a: lib.svd(a).V.abs(), [M]),
    "hermitian pinv": (lambda lib, a: lib.linalg.pinv(a + a.mH, hermitian=True), [A, C]),
    "infinite eigvals": (lambda lib, a: lib.linalg.eigvals(a.detach() / 0), [A]),
    "mixed addr": (lambda lib, a: lib.addr(a.detach(), a.detach()[0].float(), lib.arange(3)), [A]),
    "coarse lstsq": (lambda lib, a: lib.linalg.lstsq(a, a, 1.0, driver="gelsd")[0], [M]),
    "singular det": (lambda lib, a: lib.linalg.det(a * 0), [A]),
}


@pytest.mark.filterwarnings(
    "ignore:torch.*is deprecated", "ignore:The.*is deprecated", "ignore:at::"
)
@pytest.mark.parametrize("name", COMPOSED)
def test_composed(name):
    function, operands = COMPOSED[name]
    with settings.override(immediate=False, always_compile=True):
        for operand in operands:
            sample = S(operand)
            mine = gradients(torchlike, partial(function, torchlike), sample, 3, False)
            theirs = gradients(torch, partial(function, torch), sample, 3, False)
            same(mine[0], theirs[0], 1e-6, name)
            compare_gradients(mine[1], theirs[1], 1e-5, f"{name}: gradient")


@pytest.mark.parametrize("driver", [None, "gels", "gelsd", "gelss"])
def test_lstsq(driver):
    for operand, right in ((M, T((4, 2), "float64")), (M, T((4,), "float64")), (W, W)):
        sample = S(operand, right, driver=driver)
        mine = gradients(torchlike, torchlike.linalg.lstsq, sample, 1, False)
        theirs = gradients(torch, torch.linalg.lstsq, sample, 1, False)
        same(mine[0], theirs[0], 1e-6, "lstsq")


@pytest.mark.parametrize(
    "call",
    [
        lambda lib: lib.linalg.inv(lib.zeros(2, 2)),
        lambda lib: lib.linalg.inv(lib.stack([lib.eye(2), lib.ones(2, 2)])),
        lambda lib: lib.linalg.inv_ex(lib.zeros(2, 2), check_errors=True),
        lambda lib: lib.linalg.solve(lib.zeros(2, 2), lib.ones(2)),
        lambda lib: lib.linalg.solve(lib.zeros(3, 2, 2), lib.ones(2, 1)),
        lambda lib: lib.linalg.cholesky(lib.eye(3) - 2 * lib.ones(3, 3).triu(1).tril(1).mT),
        lambda lib: lib.linalg.cholesky(lib.stack([lib.eye(2), -lib.eye(2)])),
        lambda lib: lib.cholesky(-lib.eye(2)),
        lambda lib: lib.linalg.cholesky_ex(-lib.eye(2), check_errors=True),
        lambda lib: lib.linalg.tensorinv(lib.zeros(4, 2, 2), ind=1),
        lambda lib: lib.linalg.lu_factor(lib.zeros(2, 2)),
        lambda lib: lib.vmap(lib.linalg.inv)(lib.stack([lib.eye(2), lib.zeros(2, 2)])),
        lambda lib: lib.vmap(lib.vmap(lib.cholesky))(-lib.eye(2).expand(2, 3, 2, 2)),
        lambda lib: lib.vmap(lambda x: lib.linalg.solve(lib.zeros(2, 2), x))(lib.ones(3, 2)),
        lambda lib: lib.linalg.eigh(lib.ones(2, 3)),
        lambda lib: lib.linalg.cross(lib.ones(3), lib.ones(3).long()),
        lambda lib: lib.einsum("ij,jk", lib.ones(2, 2), lib.ones(2, 2).double()),
        lambda lib: lib.linalg.ldl_solve(lib.eye(2), lib.ones(2), lib.ones(2, 1)),
        lambda lib: lib.cov(lib.ones(2, 2), fweights=lib.tensor([0, 0])),
    ],
)
@pytest.mark.filterwarnings("ignore:torch.*is deprecated")
def test_refusals_in_pytorchs_words(call):
    with pytest.raises(RuntimeError) as theirs:
        call(torch)
    with pytest.raises(RuntimeError) as ours:
        call(torchlike)
    assert str(ours.value) == str(theirs.value)
    failed = isinstance(theirs.value, torch.linalg.LinAlgError)
    assert isinstance(ours.value, torchlike.linalg.LinAlgError) == failed


def test_info_instead_of_an_error():
    found = torchlike.linalg.cholesky_ex(torchlike.tensor([[1.0, 2.0], [2.0, 1.0]]))
    assert found.info.item() == 2
    assert torchlike.linalg.inv_ex(torchlike.zeros(2, 2)).info.item() == 1
    assert torchlike.linalg.solve_ex(torchlike.zeros(2, 2), torchlike.ones(2)).info.item() == 1


def test_low_rank():
    a = torchlike.randn(8, 3) @ torchlike.randn(3, 5)
    u, s, v = torchlike.svd_lowrank(a, q=4)
    assert torchlike.allclose(u @ torchlike.diag(s) @ v.mT, a, atol=1e-4)
    _, centred, _ = torchlike.pca_lowrank(a, q=3)
    exact = torchlike.linalg.svdvals(a - a.mean(0))[:3]
    assert torchlike.allclose(centred, exact, atol=1e-4)
