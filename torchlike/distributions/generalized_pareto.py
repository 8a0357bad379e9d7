"""The generalized Pareto distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import _nan_where, broadcast_all


class GeneralizedPareto(Distribution):
    """Excesses over ``loc``, of tail index ``concentration``
    (https://pytorch.org/docs/stable/distributions.html#generalizedpareto)."""

    arg_constraints: ClassVar = {
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True

    def __init__(self, loc, scale, concentration, validate_args=None):
        self.loc, self.scale, self.concentration = broadcast_all(loc, scale, concentration)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        names = "loc", "scale", "concentration"
        return self._expanded(GeneralizedPareto, batch_shape, _instance, *names)

    def rsample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device))

    def _z(self, x):
        return (x - self.loc) / self.scale

    def _by_tail(self, exponential, heavy):
        """``exponential`` where the tail index is 0, else ``heavy(index)``."""
        zero = torch.isclose(self.concentration, torch.zeros_like(self.concentration))
        index = torch.where(zero, torch.ones_like(self.concentration), self.concentration)
        return torch.where(zero, exponential, heavy(index))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        z = self._z(value)

        def heavy(index):
            power = 1 / index + torch.ones_like(z)
            return torch.where(power == 0, power, power * torch.log1p(index * z))

        return -self.scale.log() - self._by_tail(z, heavy)

    def log_survival_function(self, value):
        """The logarithm of the probability of more than ``value``."""
        if self._validate_args:
            self._validate_sample(value)
        z = self._z(value)
        return self._by_tail(-z, lambda index: -torch.log1p(index * z) / index)

    def log_cdf(self, value):
        """The logarithm of ``cdf``."""
        return torch.log1p(-torch.exp(self.log_survival_function(value)))

    def cdf(self, value):
        return torch.exp(self.log_cdf(value))

    def icdf(self, value):
        log_rest = torch.log1p(-value)
        return self._by_tail(
            self.loc - self.scale * log_rest,
            lambda index: self.loc + self.scale / index * torch.expm1(-index * log_rest),
        )

    @property
    def mean(self):
        xi = self.concentration
        return _nan_where(xi >= 1, self.loc + self.scale / (1 - xi))

    @property
    def variance(self):
        xi = self.concentration
        return _nan_where(xi >= 0.5, self.scale**2 / ((1 - xi) ** 2 * (1 - 2 * xi)))

    def entropy(self):
        return torch.log(self.scale) + self.concentration + 1

    @property
    def mode(self):
        return self.loc

    @constraints.dependent_property(is_discrete=False, event_dim=0)
    def support(self):
        """loc to infinity, or to where a negative tail index ends it."""
        xi = self.concentration
        end = torch.where(xi < 0, self.loc - self.scale / xi, math.inf)
        return constraints.interval(self.loc, end)
