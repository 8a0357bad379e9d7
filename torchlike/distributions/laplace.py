"""The Laplace distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike._tensor import gamma as draws
from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import broadcast_all


class Laplace(Distribution):
    """The Laplace distribution, whose density falls off as exp(-|x - loc| / scale)
    (https://pytorch.org/docs/stable/distributions.html#laplace)."""

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        self.loc, self.scale = broadcast_all(loc, scale)
        super().__init__(self.loc.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return self._expanded(Laplace, batch_shape, _instance, "loc", "scale")

    @property
    def mean(self):
        return self.loc

    @property
    def mode(self):
        return self.loc

    @property
    def variance(self):
        return 2 * self.scale.pow(2)

    @property
    def stddev(self):
        return 2**0.5 * self.scale

    def rsample(self, sample_shape=NO_SHAPE):
        shape, dtype = self._extended_shape(sample_shape), self.loc.dtype
        # Above -1, where log1p(-|u|) would be infinite.
        u = draws.uniform(shape, torch.finfo(dtype).eps - 1, 1.0, dtype, self.loc.device)
        return self.loc - self.scale * u.sign() * torch.log1p(-u.abs())

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return -torch.log(2 * self.scale) - torch.abs(value - self.loc) / self.scale

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        distance = value - self.loc
        return 0.5 - 0.5 * distance.sign() * torch.expm1(-distance.abs() / self.scale)

    def icdf(self, value):
        term = value - 0.5
        return self.loc - self.scale * term.sign() * torch.log1p(-2 * term.abs())

    def entropy(self):
        return 1 + math.log(2) + torch.log(self.scale)
