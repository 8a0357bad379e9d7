"""Ready-made parametrizations: orthogonal matrices, weight and spectral normalisation."""

from __future__ import annotations

import enum

from torchlike import linalg
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import no_grad
from torchlike._tensor.queries import finfo
from torchlike._tensor.tensor import Tensor
from torchlike.nn import functional as F
from torchlike.nn.modules.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from torchlike.nn.modules.module import Module
from torchlike.nn.utils.parametrize import register_parametrization

__all__ = ["orthogonal", "spectral_norm", "weight_norm"]


def _named(module, name):
    """The tensor of that name; raises PyTorch's ``ValueError`` if there is none."""
    weight = getattr(module, name, None)
    if not isinstance(weight, Tensor):
        raise ValueError(f"Module '{module}' has no parameter or buffer with name '{name}'")
    return weight


# ---- orthogonal matrices -----------------------------------------------------------------------


def _is_orthogonal(q) -> bool:
    n, k = q.size(-2), q.size(-1)
    identity = FUNCTIONS["eye"](k, dtype=q.dtype, device=q.device)
    return FUNCTIONS["allclose"](q.mH @ q, identity, atol=10 * n * finfo(q.dtype).eps)


def _orthogonalised(a):
    """The orthogonal factor of ``a``, for a triangular one of positive diagonal."""
    x, tau = FUNCTIONS["geqrf"](a)
    q = linalg.householder_product(x, tau)
    return q * x.diagonal(dim1=-2, dim2=-1).sgn().unsqueeze(-2)


class _OrthMaps(enum.Enum):
    matrix_exp = enum.auto()
    cayley = enum.auto()
    householder = enum.auto()


class _Orthogonal(Module):
    """A matrix with orthonormal columns (rows, if it is wide) from any one of its shape."""

    base: Tensor

    def __init__(self, weight, orthogonal_map: _OrthMaps, *, use_trivialization=True):
        super().__init__()
        if weight.is_complex() and orthogonal_map is _OrthMaps.householder:
            raise ValueError("The householder parametrization does not support complex tensors.")
        self.shape = weight.shape
        self.orthogonal_map = orthogonal_map
        if use_trivialization:
            self.register_buffer("base", None)

    def forward(self, x):
        """(*, n, k) -> (*, n, k)."""
        wide = x.size(-2) < x.size(-1)
        x = x.mT if wide else x
        q = self._householder(x) if self._is_householder() else self._from_skew(x)
        if hasattr(self, "base"):
            q = self.base @ q
        return q.mT if wide else q

    def _is_householder(self):
        return self.orthogonal_map is _OrthMaps.householder

    def _householder(self, x):
        a = x.tril(diagonal=-1)
        q = linalg.householder_product(a, 2.0 / (1.0 + (a * a).sum(dim=-2)))
        return q * x.diagonal(dim1=-2, dim2=-1).int().unsqueeze(-2)  # its signs: 1 or -1

    def _from_skew(self, x):
        n, k = x.size(-2), x.size(-1)
        x = x.tril()
        if n != k:
            rest = x.new_zeros(n, n - k).expand(*x.shape[:-2], -1, -1)
            x = FUNCTIONS["cat"]([x, rest], dim=-1)
        skew = x - x.mH
        if self.orthogonal_map is _OrthMaps.matrix_exp:
            q = FUNCTIONS["matrix_exp"](skew)
        else:  # (I + A / 2) (I - A / 2)^-1
            identity = FUNCTIONS["eye"](n, dtype=skew.dtype, device=skew.device)
            q = linalg.solve(identity - 0.5 * skew, identity + 0.5 * skew)
        return q if n == k else q[..., :k]

    def right_inverse(self, q):
        """A matrix that maps to ``q``; with trivialization ``q`` is made the base first."""
        if q.shape != self.shape:
            raise ValueError(
                f"Expected a matrix or batch of matrices of shape {self.shape}. "
                f"Got a tensor of shape {q.shape}."
            )
        given = q
        wide = q.size(-2) < q.size(-1)
        q = q.mT if wide else q
        n, k = q.size(-2), q.size(-1)
        if not hasattr(self, "base"):
            if not self._is_householder():
                raise NotImplementedError(
                    "It is not possible to assign to the matrix exponential or the Cayley "
                    "parametrizations when use_trivialization=False."
                )
            a, tau = FUNCTIONS["geqrf"](q)
            diagonal = a.diagonal(dim1=-2, dim2=-1)
            diagonal.sign_()
            diagonal[tau == 0.0] *= -1  # no reflection there: the sign is the other one
            return a.mT if wide else a
        if n != k:
            more = FUNCTIONS["randn"](*q.size()[:-2], n, n - k, dtype=q.dtype, device=q.device)
            q = _orthogonalised(FUNCTIONS["cat"]([q, more], dim=-1))
        else:
            q = q.clone() if _is_orthogonal(q) else _orthogonalised(q)
        self.base = q
        # The diagonal of -1 is the identity to Householder's map and to the others nothing skew.
        out = FUNCTIONS["zeros_like"](given)
        out.diagonal(dim1=-2, dim2=-1).fill_(-1.0)
        return out


def orthogonal(
    module: Module, name: str = "weight", orthogonal_map: str | None = None, *,
    use_trivialization: bool = True,
) -> Module:  # fmt: skip
    """Keep a matrix, or a batch of them, orthogonal (unitary if complex)
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.orthogonal.html).

    ``orthogonal_map`` is ``"matrix_exp"``, ``"cayley"`` or ``"householder"``.
    """
    weight = _named(module, name)
    if weight.ndim < 2:
        raise ValueError(
            f"Expected a matrix or batch of matrices. Got a tensor of {weight.ndim} dimensions."
        )
    if orthogonal_map is None:
        square = weight.size(-2) == weight.size(-1)
        orthogonal_map = "matrix_exp" if square or weight.is_complex() else "householder"
    chosen = _OrthMaps.__members__.get(orthogonal_map)
    if chosen is None:
        raise ValueError(
            'orthogonal_map has to be one of "matrix_exp", "cayley", "householder". '
            f"Got: {orthogonal_map}"
        )
    made = _Orthogonal(weight, chosen, use_trivialization=use_trivialization)
    return register_parametrization(module, name, made, unsafe=True)


# ---- normalised weights ------------------------------------------------------------------------


def _norm_except(v, dim: int):
    """The norms of the slices along ``dim``, shaped to divide ``v``; of all of it for -1."""
    if dim == -1:
        return v.norm(2)
    if not -v.dim() <= dim < v.dim():
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-v.dim()}, {v.dim() - 1}], but "
            f"got {dim})"
        )
    dim = dim + v.dim() if dim < 0 else dim
    rest = tuple(d for d in range(v.dim()) if d != dim)
    if not rest:
        return v.abs()
    return linalg.vector_norm(v, 2, dim=rest, keepdim=True)


class _WeightNorm(Module):
    """A direction times a magnitude."""

    def __init__(self, dim: int | None = 0):
        super().__init__()
        self.dim = -1 if dim is None else dim

    def forward(self, weight_g, weight_v):
        """Magnitudes and a tensor -> the tensor, its slices of these magnitudes."""
        return weight_v * (weight_g / _norm_except(weight_v, self.dim))

    def right_inverse(self, weight):
        """The magnitudes, and the tensor itself as the direction."""
        return _norm_except(weight, self.dim), weight


def weight_norm(module: Module, name: str = "weight", dim: int = 0):
    """Learn a weight's magnitude (``original0``) and direction (``original1``) apart
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.weight_norm.html)."""
    register_parametrization(module, name, _WeightNorm(dim), unsafe=True)

    def rename(state_dict, prefix, *rest):
        """Take over what ``nn.utils.weight_norm`` saved."""
        old = [f"{prefix}{name}_{kind}" for kind in "gv"]
        if all(key in state_dict for key in old):
            for i, key in enumerate(old):
                state_dict[f"{prefix}parametrizations.{name}.original{i}"] = state_dict.pop(key)

    module._register_load_state_dict_pre_hook(rename)
    return module


class _SpectralNorm(Module):
    """A matrix over its largest singular value, which power iteration estimates."""

    def __init__(self, weight, n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12):
        super().__init__()
        ndim = weight.ndim
        if not -ndim <= dim < ndim:
            raise IndexError(
                "Dimension out of range (expected to be in range of "
                f"[-{ndim}, {ndim - 1}] but got {dim})"
            )
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.dim = dim if dim >= 0 else dim + ndim
        self.eps = eps
        if ndim > 1:
            self.n_power_iterations = n_power_iterations
            matrix = self._as_matrix(weight)
            for name, size in zip(("_u", "_v"), matrix.shape, strict=True):
                start = matrix.new_empty(size).detach().normal_(0, 1)
                self.register_buffer(name, F.normalize(start, dim=0, eps=self.eps))
            self._iterate(matrix, 15)

    def _as_matrix(self, weight):
        if self.dim != 0:
            rest = (d for d in range(weight.dim()) if d != self.dim)
            weight = weight.permute(self.dim, *rest)
        return weight.flatten(1) if weight.dim() > 1 else weight

    def _iterate(self, matrix, count: int) -> None:
        """Turn ``_u`` and ``_v`` towards the largest singular value's vectors, in place."""
        with no_grad():
            for _ in range(count):
                self._u.copy_(F.normalize(matrix.mv(self._v), dim=0, eps=self.eps))
                self._v.copy_(F.normalize(matrix.mH.mv(self._u), dim=0, eps=self.eps))

    def forward(self, weight):
        """The weight normalised; in training after ``n_power_iterations`` iterations."""
        if weight.ndim == 1:
            return F.normalize(weight, dim=0, eps=self.eps)
        matrix = self._as_matrix(weight)
        if self.training:
            self._iterate(matrix, self.n_power_iterations)
        u, v = self._u.clone(), self._v.clone()  # the next call changes them
        return weight / FUNCTIONS["vdot"](u, matrix.mv(v))

    def right_inverse(self, value):
        """The value: what it is assigned is normalised at the next look."""
        return value


def _default_dim(module) -> int:
    """The dimension of a module's weight that counts its outputs."""
    return 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
) -> Module:  # fmt: skip
    """Divide a weight by the largest singular value of the matrix with rows along ``dim``
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.parametrizations.spectral_norm.html)."""
    weight = _named(module, name)
    dim = _default_dim(module) if dim is None else dim
    return register_parametrization(
        module, name, _SpectralNorm(weight, n_power_iterations, dim, eps)
    )
