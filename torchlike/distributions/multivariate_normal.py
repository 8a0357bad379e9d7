"""The multivariate normal distribution, and the matrix products and solves it shares."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import LOG_2PI, lazy_property

__all__ = ["MultivariateNormal"]


def _batch_mv(matrices, vectors):
    """Matrices (..., n, m) times vectors (..., m)."""
    return torch.matmul(matrices, vectors.unsqueeze(-1)).squeeze(-1)


def _batch_mahalanobis(lower, x):
    """x' M^-1 x for M = L L', with L of shape B + (n, n) and x of shape S + B' + (n,).

    B' is what B broadcasts to. The sample dimensions S become columns of one right-hand side, so
    that no factor is copied for each sample.
    """
    n, batch = x.shape[-1], lower.shape[:-2]
    full = torch.broadcast_shapes(batch, x.shape[:-1])
    x = x.expand(full + (n,))
    samples = len(full) - len(batch)
    batch = full[samples:]
    columns = x.reshape((-1,) + tuple(batch) + (n,)).movedim(0, -1)  # B', n, prod(S)
    solved = torch.linalg.solve_triangular(
        lower.expand(tuple(batch) + (n, n)), columns, upper=False
    )
    return solved.pow(2).sum(-2).movedim(-1, 0).reshape(full)


def _precision_to_scale_tril(precision):
    """The lower Cholesky factor of the inverse, from the factor of the matrix turned round."""
    turned = torch.linalg.cholesky(torch.flip(precision, (-2, -1)))
    upper = torch.transpose(torch.flip(turned, (-2, -1)), -2, -1)
    eye = torch.eye(precision.shape[-1], dtype=precision.dtype, device=precision.device)
    return torch.linalg.solve_triangular(upper, eye, upper=False)


def _half_log_det(lower):
    """Half the logarithm of the determinant of L L'."""
    return lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)


class MultivariateNormal(Distribution):
    """Normal vectors of mean ``loc`` (..., n), with one of covariance, precision or ``scale_tril``
    (https://pytorch.org/docs/stable/distributions.html#multivariatenormal)."""

    arg_constraints: ClassVar = {
        "loc": constraints.real_vector,
        "covariance_matrix": constraints.positive_definite,
        "precision_matrix": constraints.positive_definite,
        "scale_tril": constraints.lower_cholesky,
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(
        self, loc, covariance_matrix=None, precision_matrix=None, scale_tril=None,
        validate_args=None,
    ):  # fmt: skip
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        name, matrix = _only_matrix(covariance_matrix, scale_tril, precision_matrix)
        if matrix.dim() < 2:
            shown = "scale_tril matrix" if name == "scale_tril" else name
            raise ValueError(
                f"{shown} must be at least two-dimensional, with optional leading batch dimensions"
            )
        batch_shape = torch.broadcast_shapes(matrix.shape[:-2], loc.shape[:-1])
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        self.loc = loc.expand(batch_shape + (-1,))
        super().__init__(batch_shape, self.loc.shape[-1:], validate_args=validate_args)
        if name == "covariance_matrix":
            self._unbroadcasted_scale_tril = torch.linalg.cholesky(matrix)
        elif name == "precision_matrix":
            self._unbroadcasted_scale_tril = _precision_to_scale_tril(matrix)
        else:
            self._unbroadcasted_scale_tril = scale_tril

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        return self._expanded(
            MultivariateNormal, batch_shape, _instance,
            loc=self.loc.expand(batch_shape + self.event_shape),
            _unbroadcasted_scale_tril=self._unbroadcasted_scale_tril,
            **_expanded_matrices(self, batch_shape),
        )  # fmt: skip

    def _full(self, matrix):
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The lower Cholesky factor of the covariance, (..., n, n)."""
        return self._full(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self):
        """The covariance, (..., n, n)."""
        lower = self._unbroadcasted_scale_tril
        return self._full(torch.matmul(lower, lower.mT))

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance, (..., n, n)."""
        return self._full(torch.cholesky_inverse(self._unbroadcasted_scale_tril))

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        squares = self._unbroadcasted_scale_tril.pow(2).sum(-1)
        return squares.expand(self._batch_shape + self._event_shape)

    def rsample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        eps = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return self.loc + _batch_mv(self._unbroadcasted_scale_tril, eps)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        lower = self._unbroadcasted_scale_tril
        distance = _batch_mahalanobis(lower, value - self.loc)
        return -0.5 * (self._event_shape[0] * LOG_2PI + distance) - _half_log_det(lower)

    def entropy(self):
        half_log_det = _half_log_det(self._unbroadcasted_scale_tril)
        return (0.5 * self._event_shape[0] * (1.0 + LOG_2PI) + half_log_det).expand(
            self._batch_shape
        )


def _only_matrix(covariance_matrix, scale_tril, precision_matrix, error=ValueError):
    """(name, matrix) of the one that is given."""
    given = {
        "covariance_matrix": covariance_matrix,
        "scale_tril": scale_tril,
        "precision_matrix": precision_matrix,
    }
    found = [(name, matrix) for name, matrix in given.items() if matrix is not None]
    if len(found) != 1:
        raise error(
            "Exactly one of covariance_matrix or precision_matrix or scale_tril may be specified."
        )
    return found[0]


def _expanded_matrices(distribution, batch_shape) -> dict:
    """The matrices that an instance knows already, expanded to the batch."""
    n = distribution.event_shape[-1]
    return {
        name: distribution.__dict__[name].expand(tuple(batch_shape) + (n, n))
        for name in ("covariance_matrix", "scale_tril", "precision_matrix")
        if name in distribution.__dict__
    }
