"""Student's t distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.chi2 import Chi2
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import _nan_where, broadcast_all


class StudentT(Distribution):
    """Student's t distribution of ``df`` degrees of freedom, moved by ``loc`` and ``scale``
    (https://pytorch.org/docs/stable/distributions.html#studentt)."""

    arg_constraints: ClassVar = {
        "df": constraints.positive,
        "loc": constraints.real,
        "scale": constraints.positive,
    }
    support = constraints.real
    has_rsample = True

    def __init__(self, df, loc=0.0, scale=1.0, validate_args=None):
        self.df, self.loc, self.scale = broadcast_all(df, loc, scale)
        self._chi2 = Chi2(self.df)
        super().__init__(self.df.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        names = "df", "loc", "scale"
        chi2 = self._chi2.expand(torch.Size(batch_shape))
        return self._expanded(StudentT, batch_shape, _instance, *names, _chi2=chi2)

    @property
    def mean(self):
        return _nan_where(self.df <= 1, self.loc)

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        is_finite = self.df > 2
        df = torch.where(is_finite, self.df, 3.0)  # elsewhere nothing is divided by zero
        finite = self.scale.pow(2) * df / (df - 2)
        known = torch.where(is_finite, finite, torch.full_like(finite, math.inf))
        return _nan_where(self.df <= 1, known)

    def rsample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        x = torch.randn(shape, dtype=self.df.dtype, device=self.df.device)
        y = x * torch.rsqrt(self._chi2.rsample(sample_shape) / self.df)
        return self.loc + self.scale * y

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        y = (value - self.loc) / self.scale
        normalizer = (
            self.scale.log()
            + 0.5 * self.df.log()
            + 0.5 * math.log(math.pi)
            + torch.lgamma(0.5 * self.df)
            - torch.lgamma(0.5 * (self.df + 1.0))
        )
        return -0.5 * (self.df + 1.0) * torch.log1p(y**2.0 / self.df) - normalizer

    def entropy(self):
        half, more = 0.5 * self.df, 0.5 * (self.df + 1)
        log_beta = torch.lgamma(half) + math.lgamma(0.5) - torch.lgamma(more)
        return (
            self.scale.log()
            + more * (torch.digamma(more) - torch.digamma(half))
            + 0.5 * self.df.log()
            + log_beta
        )
