"""lobpcg: the largest or smallest eigenpairs of symmetric matrices."""

from __future__ import annotations

from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._tensor import linear_algebra as la
from torchlike._tensor.forms import FUNCTIONS, function


@function()
def lobpcg(
    A, k: int | None = None, B=None, X=None, n: int | None = None, iK=None,
    niter: int | None = None, tol: float | None = None, largest: bool | None = None,
    method: str | None = None, tracker=None, ortho_iparams: dict | None = None,
    ortho_fparams: dict | None = None, ortho_bparams: dict | None = None,
):  # fmt: skip
    """(k eigenvalues, eigenvectors in columns) of A x = e B x, A (..., m, m) symmetric, B positive
    definite (https://pytorch.org/docs/stable/generated/torch.lobpcg.html).

    They are computed by a full decomposition, which is exact where PyTorch's iteration stops at
    ``tol`` or after ``niter`` turns; so those, the preconditioner ``iK``, the start ``X`` (but for
    its number of columns), ``n``, ``method`` and the ortho parameters change nothing.

    Raises ``ValueError`` where m < 3 k, as PyTorch does, ``AssertionError`` unless A is square.
    """
    if tracker is not None:
        raise NotSupported("lobpcg with a tracker", "there are no iterations to follow")
    if getattr(A, "is_sparse", False):
        A = A.to_dense()
    if B is not None and getattr(B, "is_sparse", False):
        B = B.to_dense()
    if A.ndim < 2 or A.shape[-1] != A.shape[-2]:
        raise AssertionError(f"A must be square, got shape {A.shape}")
    if B is not None and A.shape != B.shape:
        raise AssertionError(f"A and B must have the same shape, got {A.shape} and {B.shape}")
    if A.dtype not in (dt.float32, dt.float64):
        A = A.to(dt.float32)
    m = A.shape[-1]
    count = (1 if X is None else X.shape[-1]) if k is None else k
    width = count if n is None else n
    width = X.shape[-1] if X is not None else width
    if m < 3 * width:
        raise ValueError(
            f"LOBPCG algorithm is not applicable when the number of A rows (={m}) is smaller than "
            f"3 x the number of requested eigenpairs (={width})"
        )
    if B is None:
        values, vectors = la.eigh(A)
    else:
        values, vectors = _generalized(A, B.to(A.dtype))
    if largest is None or largest:
        values, vectors = values.flip(-1), vectors.flip(-1)
    return values[..., :count], vectors[..., :count]


def _generalized(A, B):
    """A x = e B x with B = L L^T is (L^-1 A L^-T) y = e y with x = L^-T y."""
    L = la.cholesky(B)
    solve = la.solve_triangular
    inner = solve(L, solve(L, A, upper=False).mT, upper=False)
    values, y = la.eigh((inner + inner.mT) / 2)
    return values, solve(L.mT, y, upper=True)


_ = FUNCTIONS
