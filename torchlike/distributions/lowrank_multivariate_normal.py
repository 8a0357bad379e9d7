"""The multivariate normal distribution with a covariance of low rank and a diagonal."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.multivariate_normal import (
    _batch_mahalanobis,
    _batch_mv,
    _half_log_det,
)
from torchlike.distributions.utils import LOG_2PI, lazy_property

__all__ = ["LowRankMultivariateNormal"]


def _with_identity(product):
    """The Cholesky factor of the identity plus a positive semidefinite matrix."""
    n = product.shape[-1]
    return torch.linalg.cholesky(product + torch.eye(n, dtype=product.dtype, device=product.device))


def _batch_capacitance_tril(w, d):
    """The Cholesky factor of I + W' D^-1 W, for W (..., n, m) and D (..., n)."""
    return _with_identity(torch.matmul(w.mT / d.unsqueeze(-2), w))


def _batch_lowrank_logdet(w, d, capacitance_tril):
    """log det(W W' + D), by the matrix determinant lemma."""
    return 2 * _half_log_det(capacitance_tril) + d.log().sum(-1)


def _batch_lowrank_mahalanobis(w, d, x, capacitance_tril):
    """x' (W W' + D)^-1 x, by the Woodbury identity."""
    projected = _batch_mv(w.mT / d.unsqueeze(-2), x)
    return (x.pow(2) / d).sum(-1) - _batch_mahalanobis(capacitance_tril, projected)


class LowRankMultivariateNormal(Distribution):
    """Normal vectors of mean ``loc`` (..., n) with covariance W W' + D, where W is ``cov_factor``
    (..., n, m) and D the diagonal ``cov_diag`` (..., n)
    (https://pytorch.org/docs/stable/distributions.html#lowrankmultivariatenormal)."""

    arg_constraints: ClassVar = {
        "loc": constraints.real_vector,
        "cov_factor": constraints.independent(constraints.real, 2),
        "cov_diag": constraints.independent(constraints.positive, 1),
    }
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, loc, cov_factor, cov_diag, validate_args=None):
        if loc.dim() < 1:
            raise ValueError("loc must be at least one-dimensional.")
        event_shape = loc.shape[-1:]
        if cov_factor.dim() < 2:
            raise ValueError(
                "cov_factor must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if cov_factor.shape[-2:-1] != event_shape:
            raise ValueError(
                f"cov_factor must be a batch of matrices with shape {event_shape[0]} x m"
            )
        if cov_diag.shape[-1:] != event_shape:
            raise ValueError(f"cov_diag must be a batch of vectors with shape {event_shape}")
        shapes = loc.shape[:-1], cov_factor.shape[:-2], cov_diag.shape[:-1]
        try:
            batch_shape = torch.broadcast_shapes(*shapes)
        except RuntimeError as error:
            raise ValueError(
                f"Incompatible batch shapes: loc {loc.shape}, cov_factor {cov_factor.shape}, "
                f"cov_diag {cov_diag.shape}"
            ) from error
        self.loc = loc.expand(batch_shape + event_shape)
        self.cov_diag = cov_diag.expand(batch_shape + event_shape)
        self.cov_factor = cov_factor.expand(batch_shape + cov_factor.shape[-2:])
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag = cov_factor, cov_diag
        self._capacitance_tril = _batch_capacitance_tril(cov_factor, cov_diag)

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        vector = batch_shape + self.event_shape
        return self._expanded(
            LowRankMultivariateNormal, batch_shape, _instance,
            loc=self.loc.expand(vector), cov_diag=self.cov_diag.expand(vector),
            cov_factor=self.cov_factor.expand(vector + self.cov_factor.shape[-1:]),
            _unbroadcasted_cov_factor=self._unbroadcasted_cov_factor,
            _unbroadcasted_cov_diag=self._unbroadcasted_cov_diag,
            _capacitance_tril=self._capacitance_tril,
        )  # fmt: skip

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @lazy_property
    def variance(self):
        """The covariance's diagonal, (..., n)."""
        squares = self._unbroadcasted_cov_factor.pow(2).sum(-1) + self._unbroadcasted_cov_diag
        return squares.expand(self._batch_shape + self._event_shape)

    def _full(self, matrix):
        return matrix.expand(self._batch_shape + self._event_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The lower Cholesky factor of the covariance, (..., n, n)."""
        # W W' + D = sqrt(D) (I + V V') sqrt(D) with V = W / sqrt(D).
        root = self._unbroadcasted_cov_diag.sqrt().unsqueeze(-1)
        v = self._unbroadcasted_cov_factor / root
        return self._full(root * _with_identity(torch.matmul(v, v.mT)))

    @lazy_property
    def covariance_matrix(self):
        """The covariance, (..., n, n)."""
        w = self._unbroadcasted_cov_factor
        return self._full(torch.matmul(w, w.mT) + torch.diag_embed(self._unbroadcasted_cov_diag))

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance, (..., n, n)."""
        d = self._unbroadcasted_cov_diag
        scaled = self._unbroadcasted_cov_factor.mT / d.unsqueeze(-2)
        a = torch.linalg.solve_triangular(self._capacitance_tril, scaled, upper=False)
        return self._full(torch.diag_embed(d.reciprocal()) - torch.matmul(a.mT, a))

    def rsample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        like = {"dtype": self.loc.dtype, "device": self.loc.device}
        factors = torch.randn(shape[:-1] + self.cov_factor.shape[-1:], **like)
        noise = torch.randn(shape, **like)
        return (
            self.loc
            + _batch_mv(self._unbroadcasted_cov_factor, factors)
            + self._unbroadcasted_cov_diag.sqrt() * noise
        )

    def _log_det(self):
        return _batch_lowrank_logdet(
            self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag, self._capacitance_tril
        )

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        distance = _batch_lowrank_mahalanobis(
            self._unbroadcasted_cov_factor, self._unbroadcasted_cov_diag, value - self.loc,
            self._capacitance_tril,
        )  # fmt: skip
        return -0.5 * (self._event_shape[0] * LOG_2PI + self._log_det() + distance)

    def entropy(self):
        entropy = 0.5 * (self._event_shape[0] * (1.0 + LOG_2PI) + self._log_det())
        return entropy.expand(self._batch_shape)
