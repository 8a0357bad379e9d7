"""The Weibull distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.exponential import Exponential
from torchlike.distributions.transformed_distribution import TransformedDistribution
from torchlike.distributions.transforms import AffineTransform, PowerTransform
from torchlike.distributions.utils import EULER, broadcast_all


class Weibull(TransformedDistribution):
    """scale * X ** (1 / concentration) for a standard exponential X
    (https://pytorch.org/docs/stable/distributions.html#weibull)."""

    arg_constraints: ClassVar = {
        "scale": constraints.positive,
        "concentration": constraints.positive,
    }
    support = constraints.positive

    def __init__(self, scale, concentration, validate_args=None):
        self.scale, self.concentration = broadcast_all(scale, concentration)
        self.concentration_reciprocal = self.concentration.reciprocal()
        base = Exponential(torch.ones_like(self.scale), validate_args=validate_args)
        super().__init__(base, self._parts(), validate_args=validate_args)

    def _parts(self) -> list:
        power = PowerTransform(exponent=self.concentration_reciprocal)
        return [power, AffineTransform(loc=0, scale=self.scale)]

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(Weibull, _instance)
        new.scale = self.scale.expand(batch_shape)
        new.concentration = self.concentration.expand(batch_shape)
        new.concentration_reciprocal = new.concentration.reciprocal()
        base = self.base_dist.expand(batch_shape)
        TransformedDistribution.__init__(new, base, new._parts(), validate_args=False)
        new._validate_args = self._validate_args
        return new

    @property
    def mean(self):
        return self.scale * torch.exp(torch.lgamma(1 + self.concentration_reciprocal))

    @property
    def mode(self):
        power = self.concentration_reciprocal
        return self.scale * ((self.concentration - 1) / self.concentration) ** power

    @property
    def variance(self):
        power = self.concentration_reciprocal
        square = torch.exp(torch.lgamma(1 + 2 * power))
        return self.scale.pow(2) * (square - torch.exp(2 * torch.lgamma(1 + power)))

    def entropy(self):
        power = self.concentration_reciprocal
        return EULER * (1 - power) + torch.log(self.scale * power) + 1
