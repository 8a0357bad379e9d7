"""The beta distribution."""

from __future__ import annotations

from numbers import Real
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.dirichlet import Dirichlet
from torchlike.distributions.exp_family import ExponentialFamily
from torchlike.distributions.utils import broadcast_all


class Beta(ExponentialFamily):
    """The beta distribution over (0, 1), of mean c1 / (c1 + c0)
    (https://pytorch.org/docs/stable/distributions.html#beta)."""

    arg_constraints: ClassVar = {
        "concentration1": constraints.positive,
        "concentration0": constraints.positive,
    }
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, concentration1, concentration0, validate_args=None):
        both = torch.stack(broadcast_all(concentration1, concentration0), -1)
        self._dirichlet = Dirichlet(both, validate_args=validate_args)
        super().__init__(self._dirichlet._batch_shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        expanded = self._dirichlet.expand(torch.Size(batch_shape))
        return self._expanded(Beta, batch_shape, _instance, _dirichlet=expanded)

    @property
    def concentration1(self):
        """The exponent of x, plus 1."""
        return self._of(0)

    @property
    def concentration0(self):
        """The exponent of 1 - x, plus 1."""
        return self._of(1)

    def _of(self, at: int):
        return self._dirichlet.concentration[..., at]

    @property
    def mean(self):
        return self.concentration1 / (self.concentration1 + self.concentration0)

    @property
    def mode(self):
        return self._dirichlet.mode[..., 0]

    @property
    def variance(self):
        total = self.concentration1 + self.concentration0
        return self.concentration1 * self.concentration0 / (total.pow(2) * (total + 1))

    def rsample(self, sample_shape=()):
        return self._dirichlet.rsample(sample_shape).select(-1, 0)

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        if isinstance(value, Real):
            value = torch.as_tensor(value, dtype=torch.get_default_dtype())
        return self._dirichlet.log_prob(torch.stack([value, 1.0 - value], -1))

    def entropy(self):
        return self._dirichlet.entropy()

    @property
    def _natural_params(self):
        return self.concentration1, self.concentration0

    def _log_normalizer(self, x, y):
        return torch.lgamma(x) + torch.lgamma(y) - torch.lgamma(x + y)
