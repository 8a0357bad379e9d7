"""The continuous Bernoulli distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.chances import Chances, name_of_given
from torchlike.distributions.exp_family import ExponentialFamily
from torchlike.distributions.utils import broadcast_all, clamp_probs
from torchlike.nn.functional import binary_cross_entropy_with_logits


class ContinuousBernoulli(Chances, ExponentialFamily):
    """The distribution over [0, 1] of density proportional to probs ** x (1 - probs) ** (1 - x)
    (https://pytorch.org/docs/stable/distributions.html#continuousbernoulli).

    About one half, within ``lims``, where the formulas divide 0 by 0, Taylor's series take over
    (Loaiza-Ganem and Cunningham, 2019).
    """

    arg_constraints: ClassVar = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.unit_interval
    _mean_carrier_measure = 0
    has_rsample = True

    def __init__(self, probs=None, logits=None, lims=(0.499, 0.501), validate_args=None):
        given = name_of_given(probs, logits)
        (value,) = broadcast_all(probs if logits is None else logits)
        if logits is None:
            # Checked before it is clamped; PyTorch does so only if asked to.
            if validate_args and not self.arg_constraints["probs"].check(value).all():
                raise ValueError("The parameter probs has invalid values")
            value = clamp_probs(value)
        self._keep(given, value)
        self._lims = lims
        super().__init__(value.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return self._expanded(
            ContinuousBernoulli, batch_shape, _instance, *self._names(),
            _given=self._given, _lims=self._lims,
        )  # fmt: skip

    def _outside_unstable_region(self):
        return (self.probs <= self._lims[0]) | (self.probs > self._lims[1])

    def _cut_probs(self):
        low = torch.full_like(self.probs, self._lims[0])
        return torch.where(self._outside_unstable_region(), self.probs, low)

    def _chosen(self, exact, series):
        return torch.where(self._outside_unstable_region(), exact, series)

    def _cont_bern_log_norm(self):
        """The logarithm of the density's normalizing factor."""
        cut = self._cut_probs()
        lower = torch.where(cut <= 0.5, cut, torch.zeros_like(cut))
        upper = torch.where(cut >= 0.5, cut, torch.ones_like(cut))
        numerator = torch.log(torch.abs(torch.log1p(-cut) - torch.log(cut)))
        denominator = torch.where(
            cut <= 0.5, torch.log1p(-2.0 * lower), torch.log(2.0 * upper - 1.0)
        )
        x = self.probs - 0.5
        series = math.log(2.0) + (4.0 / 3.0 + 104.0 / 45.0 * x**2) * x**2
        return self._chosen(numerator - denominator, series)

    @property
    def mean(self):
        cut = self._cut_probs()
        exact = cut / (2.0 * cut - 1.0) + 1.0 / (torch.log1p(-cut) - torch.log(cut))
        x = self.probs - 0.5
        return self._chosen(exact, 0.5 + (1.0 / 3.0 + 16.0 / 45.0 * x**2) * x)

    @property
    def stddev(self):
        return torch.sqrt(self.variance)

    @property
    def variance(self):
        cut = self._cut_probs()
        exact = cut * (cut - 1.0) / (1.0 - 2.0 * cut) ** 2
        exact = exact + 1.0 / (torch.log1p(-cut) - torch.log(cut)) ** 2
        x = (self.probs - 0.5) ** 2
        return self._chosen(exact, 1.0 / 12.0 - (1.0 / 15.0 - 128.0 / 945.0 * x) * x)

    def sample(self, sample_shape=NO_SHAPE):
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        return self.icdf(torch.rand(shape, dtype=self.probs.dtype, device=self.probs.device))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        likelihood = -binary_cross_entropy_with_logits(logits, value, reduction="none")
        return likelihood + self._cont_bern_log_norm()

    def cdf(self, value):
        if self._validate_args:
            self._validate_sample(value)
        cut = self._cut_probs()
        inside = torch.pow(cut, value) * torch.pow(1.0 - cut, 1.0 - value) + cut - 1.0
        inside = self._chosen(inside / (2.0 * cut - 1.0), value)
        return torch.where(value <= 0.0, 0.0, torch.where(value >= 1.0, 1.0, inside))

    def icdf(self, value):
        cut = self._cut_probs()
        exact = torch.log1p(-cut + value * (2.0 * cut - 1.0)) - torch.log1p(-cut)
        return self._chosen(exact / (torch.log(cut) - torch.log1p(-cut)), value)

    def entropy(self):
        no, yes = torch.log1p(-self.probs), torch.log(self.probs)
        return self.mean * (no - yes) - self._cont_bern_log_norm() - no

    @property
    def _natural_params(self):
        return (self.logits,)

    def _log_normalizer(self, x):
        low, high = self._lims[0] - 0.5, self._lims[1] - 0.5
        outside = (x <= low) | (x > high)
        cut = torch.where(outside, x, torch.full_like(x, low))
        exact = torch.log(torch.abs(torch.special.expm1(cut))) - torch.log(torch.abs(cut))
        series = 0.5 * x + x**2 / 24.0 - x**4 / 2880.0
        return torch.where(outside, exact, series)
