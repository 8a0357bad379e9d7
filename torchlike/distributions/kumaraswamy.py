"""The Kumaraswamy distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.transformed_distribution import TransformedDistribution
from torchlike.distributions.transforms import AffineTransform, PowerTransform
from torchlike.distributions.uniform import Uniform
from torchlike.distributions.utils import EULER, _nan_where, broadcast_all


class Kumaraswamy(TransformedDistribution):
    """The distribution over (0, 1) with cdf 1 - (1 - x ** c1) ** c0
    (https://pytorch.org/docs/stable/distributions.html#kumaraswamy)."""

    arg_constraints: ClassVar = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        self.concentration1, self.concentration0 = broadcast_all(concentration1, concentration0)
        zeros, ones = (torch.full_like(self.concentration0, x) for x in (0, 1))
        transforms = [
            PowerTransform(exponent=self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(exponent=self.concentration1.reciprocal()),
        ]
        base = Uniform(zeros, ones, validate_args=validate_args)
        super().__init__(base, transforms, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Kumaraswamy, _instance)
        new.concentration1 = self.concentration1.expand(batch_shape)
        new.concentration0 = self.concentration0.expand(batch_shape)
        return super().expand(batch_shape, _instance=new)

    def _moment(self, n: int):
        a, b = self.concentration1, self.concentration0
        power = 1 + n / a
        return b * torch.exp(power.lgamma() + b.lgamma() - (power + b).lgamma())

    @property
    def mean(self):
        return self._moment(1)

    @property
    def mode(self):
        # ((a - 1) / (a b - 1)) ** (1 / a) where a, b >= 1; PyTorch's formula gives nan everywhere.
        a, b = self.concentration1, self.concentration0
        return _nan_where((a < 1) | (b < 1), ((a - 1) / (a * b - 1)) ** a.reciprocal())

    @property
    def variance(self):
        return self._moment(2) - torch.pow(self.mean, 2)

    def entropy(self):
        a, b = self.concentration1, self.concentration0
        harmonic = torch.digamma(b + 1) + EULER
        spread = (1 - b.reciprocal()) + (1 - a.reciprocal()) * harmonic
        return spread - torch.log(a) - torch.log(b)
