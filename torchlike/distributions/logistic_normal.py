"""The logistic-normal distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.normal import Normal
from torchlike.distributions.transformed_distribution import TransformedDistribution
from torchlike.distributions.transforms import StickBreakingTransform


class LogisticNormal(TransformedDistribution):
    """A normal vector carried to the simplex by breaking a stick
    (https://pytorch.org/docs/stable/distributions.html#logisticnormal)."""

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc, scale, validate_args=None):
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand(torch.Size((1,)))
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return super().expand(batch_shape, self._get_checked_instance(LogisticNormal, _instance))

    @property
    def loc(self):
        """The mean of the normal vector."""
        return self.base_dist.base_dist.loc

    @property
    def scale(self):
        """The standard deviations of the normal vector."""
        return self.base_dist.base_dist.scale
