"""Frontends of PyTorch's older functions of linear algebra, at top level and on Tensor."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import warn_once
from torchlike._ops.table import TABLE
from torchlike._tensor import linear_algebra as la
from torchlike._tensor.dispatch import apply, into
from torchlike._tensor.forms import FUNCTIONS, function
from torchlike._tensor.products import need_tensor, readable


@function(method=True)
def det(input):
    """The determinant (https://pytorch.org/docs/stable/generated/torch.det.html)."""
    need_tensor("det", "input", 1, input)
    return la.det(input)


@function(method=True)
def slogdet(input, *, out=None):
    """Sign and logarithm of the determinant (https://pytorch.org/docs/stable/generated/torch.slogdet.html)."""
    need_tensor("slogdet", "input", 1, input)
    return la._named("slogdet", la.slogdet(input), out)


@function(method=True)
def inverse(input, *, out=None):
    """The inverse (https://pytorch.org/docs/stable/generated/torch.inverse.html)."""
    need_tensor("inverse", "input", 1, input)
    return la.inv(input, out=out)


@function(method=True)
def pinverse(input, rcond=1e-15):
    """The pseudo-inverse (https://pytorch.org/docs/stable/generated/torch.pinverse.html)."""
    need_tensor("pinverse", "input", 1, input)
    return la.pinv(input, rcond)


@function(method=True)
def matrix_exp(input):
    """The matrix exponential (https://pytorch.org/docs/stable/generated/torch.matrix_exp.html)."""
    need_tensor("matrix_exp", "input", 1, input)
    return la.matrix_exp(input)


@function(method=True)
def matrix_power(input, n: int, *, out=None):
    """An integer power (https://pytorch.org/docs/stable/generated/torch.matrix_power.html)."""
    need_tensor("matrix_power", "input", 1, input)
    return la.matrix_power(input, n, out=out)


@function(method=True)
def cholesky(input, upper: bool = False, *, out=None):
    """The Cholesky factor (https://pytorch.org/docs/stable/generated/torch.cholesky.html)."""
    need_tensor("cholesky", "input", 1, input)
    _deprecated("cholesky", "torch.linalg.cholesky")
    return into(out, la._cholesky(input, upper, "cholesky"))


@function(method=True)
def qr(input, some: bool = True, *, out=None):
    """Q and R (https://pytorch.org/docs/stable/generated/torch.qr.html)."""
    need_tensor("qr", "input", 1, input)
    _deprecated("qr", "torch.linalg.qr")
    result = apply(TABLE["linalg_qr"], (input,), ("reduced" if some else "complete",))
    return la._named("qr", result, out)


@function(method=True)
def svd(input, some: bool = True, compute_uv: bool = True, *, out=None):
    """The singular value decomposition, with V (https://pytorch.org/docs/stable/generated/torch.svd.html)."""
    need_tensor("svd", "input", 1, input)
    if input.ndim < 2:
        raise RuntimeError("linalg.svd: The input tensor A must have at least 2 dimensions.")
    if compute_uv:
        u, s, vh = apply(TABLE["linalg_svd"], (input,), (not some,))
        return la._named("svd", (u, s, FUNCTIONS["adjoint"](vh)), out)
    *batch, m, n = input.shape
    u, v = (
        FUNCTIONS["zeros"]((*batch, k, k), dtype=input.dtype, device=input.device) for k in (m, n)
    )
    return la._named("svd", (u, la.svdvals(input), v), out)


@function(method=True)
def orgqr(input, input2, *, out=None):
    """Products of reflections, as ``linalg.householder_product``."""
    return la.householder_product(input, input2, out=out)


@function(method=True)
def lu(A, pivot: bool = True, get_infos: bool = False, out=None):
    """Packed LU factors (https://pytorch.org/docs/stable/generated/torch.lu.html)."""
    need_tensor("lu", "A", 1, A)
    _deprecated("lu", "torch.linalg.lu_factor / torch.linalg.lu_factor_ex")
    result = apply(TABLE["linalg_lu_factor_ex"], (A,), (pivot, False))
    return la._named("_lu_with_info", result, out) if get_infos else into(out, result[:2])


@function()
def lu_unpack(
    LU_data, LU_pivots, unpack_data: bool = True, unpack_pivots: bool = True, *, out=None
):
    """P, L and U of packed factors (https://pytorch.org/docs/stable/generated/torch.lu_unpack.html)."""
    need_tensor("lu_unpack", "LU_data", 1, LU_data)
    need_tensor("lu_unpack", "LU_pivots", 2, LU_pivots)
    if unpack_pivots and readable(LU_pivots) and LU_pivots.dtype is dt.int32 and LU_pivots.numel():
        host = LU_pivots._host()
        if host.min() < 1 or host.max() > LU_data.shape[-2]:
            raise RuntimeError(
                "pivots passed to lu_unpack must be between 1 and LU.size(-2) inclusive.Did you "
                "properly pass the result of lu_factor?"
            )
    statics = (unpack_data, unpack_pivots)
    result = apply(TABLE["lu_unpack_parts"], (LU_data, LU_pivots), statics)
    return la._named("lu_unpack", (result[0].detach(), *result[1:]), out)


@function(method=True)
def lu_solve(input, LU_data, LU_pivots, *, out=None):
    """The solution from LU factors (https://pytorch.org/docs/stable/generated/torch.lu_solve.html)."""
    for i, (x, name) in enumerate(
        ((input, "input"), (LU_data, "LU_data"), (LU_pivots, "LU_pivots"))
    ):
        need_tensor("lu_solve", name, i + 1, x)
    _deprecated("lu_solve", "torch.linalg.lu_solve")
    return la.lu_solve(LU_data, LU_pivots, input, out=out)


def _deprecated(name: str, instead: str) -> None:
    warn_once(
        f"torch.{name} is deprecated in favor of {instead} and will be removed in a future PyTorch "
        "release."
    )


# ---- low rank ----------------------------------------------------------------------------------


def _basis(A, q, niter, M):
    """An orthonormal basis of what A - M maps random vectors to, by power iterations."""
    mm, adjoint = FUNCTIONS["matmul"], FUNCTIONS["adjoint"]

    def forward(x):
        return mm(A, x) if M is None else mm(A, x) - mm(M, x)

    def back(x):
        return mm(adjoint(A), x) if M is None else mm(adjoint(A), x) - mm(adjoint(M), x)

    start = FUNCTIONS["randn"](A.shape[-1], q, dtype=A.dtype, device=A.device)
    x = la.qr(forward(start)).Q
    for _ in range(niter):
        x = la.qr(back(x)).Q
        x = la.qr(forward(x)).Q
    return x


@function()
def svd_lowrank(A, q=6, niter=2, M=None):
    """A randomized SVD of low rank (https://pytorch.org/docs/stable/generated/torch.svd_lowrank.html)."""
    need_tensor("svd_lowrank", "A", 1, A)
    q = 6 if q is None else q
    mm, adjoint = FUNCTIONS["matmul"], FUNCTIONS["adjoint"]
    wide = A.shape[-2] < A.shape[-1]
    if M is not None:
        M = M.expand(*A.shape)
    if wide:
        A, M = adjoint(A), None if M is None else adjoint(M)
    basis = _basis(A, q, niter, M)
    small = mm(adjoint(basis), A if M is None else A - M)
    u, s, vh = la.svd(small, full_matrices=False)
    u, v = mm(basis, u), adjoint(vh)
    return (v, s, u) if wide else (u, s, v)


@function()
def pca_lowrank(A, q=None, center: bool = True, niter: int = 2):
    """A randomized PCA of low rank (https://pytorch.org/docs/stable/generated/torch.pca_lowrank.html)."""
    need_tensor("pca_lowrank", "A", 1, A)
    m, n = A.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if A.dtype.category < dt.FLOATING:
        raise ValueError(f"input is expected to be float or complex tensor, got {A.dtype}")
    return svd_lowrank(A - A.mean(-2, keepdim=True) if center else A, q, niter)


# ---- removed -----------------------------------------------------------------------------------


def _removed(name, instead):
    def gone(*args, **kwargs):
        raise RuntimeError(
            "This function was deprecated since version 1.9 and is now removed. Please use "
            f"torch.linalg.{instead} instead of torch.{name}."
        )

    gone.__name__ = gone.__qualname__ = name
    gone.__doc__ = f"Removed from PyTorch; use ``linalg.{instead}``."
    return gone


for _name, _instead in {
    "eig": "eig", "symeig": "eigh", "lstsq": "lstsq", "solve": "solve",
}.items():  # fmt: skip
    function(_name, method=True)(_removed(_name, _instead))
function("matrix_rank")(_removed("matrix_rank", "matrix_rank"))
