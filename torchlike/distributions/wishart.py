"""The Wishart distribution of covariance matrices."""

from __future__ import annotations

import math
import warnings

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.chi2 import Chi2
from torchlike.distributions.exp_family import ExponentialFamily
from torchlike.distributions.multivariate_normal import (
    _expanded_matrices,
    _half_log_det,
    _only_matrix,
    _precision_to_scale_tril,
)
from torchlike.distributions.utils import _nan_where, lazy_property, vec_to_tril_matrix
from torchlike.distributions.validation import satisfied

__all__ = ["Wishart"]

_LOG_2 = math.log(2)


def _mvdigamma(x, p: int):
    """The derivative of ``mvlgamma``: the sum of digamma(x - i / 2) over i < p."""
    shifts = torch.arange(p, dtype=x.dtype, device=x.device) / 2
    return torch.digamma(x.unsqueeze(-1) - shifts).sum(-1)


class Wishart(ExponentialFamily):
    """Positive definite matrices: sums of ``df`` outer products of normal vectors, for whole
    ``df``; with one of covariance, precision or ``scale_tril`` (..., n, n)
    (https://pytorch.org/docs/stable/distributions.html#wishart)."""

    support = constraints.positive_definite
    has_rsample = True
    _mean_carrier_measure = 0

    @property
    def arg_constraints(self):
        return {
            "covariance_matrix": constraints.positive_definite,
            "precision_matrix": constraints.positive_definite,
            "scale_tril": constraints.lower_cholesky,
            "df": constraints.greater_than(self.event_shape[-1] - 1),
        }

    def __init__(
        self, df, covariance_matrix=None, precision_matrix=None, scale_tril=None,
        validate_args=None,
    ):  # fmt: skip
        name, matrix = _only_matrix(
            covariance_matrix, scale_tril, precision_matrix, error=AssertionError
        )
        if matrix.dim() < 2:
            raise ValueError(
                "scale_tril must be at least two-dimensional, with optional leading batch "
                "dimensions"
            )
        if not isinstance(df, torch.Tensor):
            df = torch.tensor(df, dtype=matrix.dtype, device=matrix.device)
        batch_shape = torch.broadcast_shapes(df.shape, matrix.shape[:-2])
        event_shape = matrix.shape[-2:]
        self.df = df.expand(batch_shape)
        setattr(self, name, matrix.expand(batch_shape + (-1, -1)))
        if not satisfied(constraints.greater_than(event_shape[-1] - 1), self.df):
            raise ValueError(
                f"Value of df={df} expected to be greater than ndim - 1 = {event_shape[-1] - 1}."
            )
        super().__init__(batch_shape, event_shape, validate_args=validate_args)
        if not satisfied(constraints.greater_than_eq(event_shape[-1]), self.df):
            warnings.warn(
                "Low df values detected. Singular samples are highly likely to occur for "
                "ndim - 1 < df < ndim.",
                stacklevel=2,
            )
        if name == "covariance_matrix":
            self._unbroadcasted_scale_tril = torch.linalg.cholesky(matrix)
        elif name == "precision_matrix":
            self._unbroadcasted_scale_tril = _precision_to_scale_tril(matrix)
        else:
            self._unbroadcasted_scale_tril = scale_tril
        self._chi2 = self._chi2_of(self.df)

    def _chi2_of(self, df):
        """The squared diagonal of Bartlett's factor: one degree of freedom less a row."""
        p = self._event_shape[-1]
        return Chi2(df.unsqueeze(-1) - torch.arange(p, dtype=df.dtype, device=df.device))

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        df = self.df.expand(batch_shape)
        return self._expanded(
            Wishart, batch_shape, _instance, df=df, _chi2=self._chi2_of(df),
            _unbroadcasted_scale_tril=self._unbroadcasted_scale_tril.expand(
                batch_shape + self._event_shape
            ),
            **_expanded_matrices(self, batch_shape),
        )  # fmt: skip

    def _full(self, matrix):
        return matrix.expand(self._batch_shape + self._event_shape)

    @lazy_property
    def scale_tril(self):
        """The lower Cholesky factor of the covariance, (..., n, n)."""
        return self._full(self._unbroadcasted_scale_tril)

    @lazy_property
    def covariance_matrix(self):
        """The covariance of the vectors, (..., n, n)."""
        lower = self._unbroadcasted_scale_tril
        return self._full(lower @ lower.mT)

    @lazy_property
    def precision_matrix(self):
        """The inverse of the covariance, (..., n, n)."""
        n = self._event_shape[-1]
        lower = self._unbroadcasted_scale_tril
        eye = torch.eye(n, dtype=lower.dtype, device=lower.device)
        return self._full(torch.cholesky_solve(eye, lower))

    @property
    def mean(self):
        return self.df.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def mode(self):
        factor = self.df - self.covariance_matrix.shape[-1] - 1
        factor = _nan_where(factor <= 0, factor)
        return factor.view(self._batch_shape + (1, 1)) * self.covariance_matrix

    @property
    def variance(self):
        v = self.covariance_matrix
        diagonal = v.diagonal(dim1=-2, dim2=-1)
        outer = diagonal.unsqueeze(-1) * diagonal.unsqueeze(-2)
        return self.df.view(self._batch_shape + (1, 1)) * (v.pow(2) + outer)

    def _bartlett_sampling(self, sample_shape=NO_SHAPE):
        """Samples by Bartlett's decomposition, perhaps singular ones."""
        p = self._event_shape[-1]
        eps = torch.finfo(self.df.dtype).eps
        diagonal = self._chi2.rsample(sample_shape).sqrt().clamp(min=eps)
        shape = tuple(self._extended_shape(sample_shape))
        below = torch.randn(
            (*shape[:-2], p * (p - 1) // 2), dtype=self.df.dtype, device=self.df.device
        )
        noise = diagonal.diag_embed(dim1=-2, dim2=-1) + vec_to_tril_matrix(below, diag=-1)
        factor = self._unbroadcasted_scale_tril @ noise
        return factor @ factor.mT

    def rsample(self, sample_shape=NO_SHAPE, max_try_correction=None):
        """Samples; those that come out singular are drawn again ``max_try_correction`` times."""
        if max_try_correction is None:
            max_try_correction = 3 if self._event_shape[-1] > 2 else 10
        sample_shape = torch.Size(sample_shape)
        with torch.no_grad():
            # PyTorch takes its first, good samples for singular ones and draws all again, so the
            # numbers of its stream that count are the second ones.
            self._bartlett_sampling(sample_shape)
        sample = self._bartlett_sampling(torch.Size((sample_shape.numel(),)))
        singular = self._singular(sample)
        if bool(singular.any()):
            warnings.warn("Singular sample detected.", stacklevel=2)
            for _ in range(max_try_correction):
                again = self._bartlett_sampling(singular[singular].shape)
                sample = sample.index_put(singular.nonzero(as_tuple=True), again)
                singular = self._singular(sample)
                if not bool(singular.any()):
                    break
        return sample.reshape(self._extended_shape(sample_shape))

    def _singular(self, sample):
        """Which samples, of all the batch together, are not positive definite."""
        singular = ~self.support.check(sample.detach())
        if self._batch_shape:
            singular = singular.amax(tuple(range(-len(self._batch_shape), 0)))
        return singular

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        nu, p = self.df, self._event_shape[-1]
        lower = self._unbroadcasted_scale_tril
        trace = torch.cholesky_solve(value, lower).diagonal(dim1=-2, dim2=-1).sum(dim=-1)
        return (
            -nu * (p * _LOG_2 / 2 + _half_log_det(lower))
            - torch.mvlgamma(nu / 2, p=p)
            + (nu - p - 1) / 2 * torch.linalg.slogdet(value).logabsdet
            - trace / 2
        )

    def entropy(self):
        nu, p = self.df, self._event_shape[-1]
        return (
            (p + 1) * (p * _LOG_2 / 2 + _half_log_det(self._unbroadcasted_scale_tril))
            + torch.mvlgamma(nu / 2, p=p)
            - (nu - p - 1) / 2 * _mvdigamma(nu / 2, p=p)
            + nu * p / 2
        )

    @property
    def _natural_params(self):
        p = self._event_shape[-1]
        return -self.precision_matrix / 2, (self.df - p - 1) / 2

    def _log_normalizer(self, x, y):
        p = self._event_shape[-1]
        log_det = torch.linalg.slogdet(-2 * x).logabsdet
        return (y + (p + 1) / 2) * (-log_det + _LOG_2 * p) + torch.mvlgamma(y + (p + 1) / 2, p=p)
