"""The binomial distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike._tensor import gamma as draws
from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.bernoulli import along_first
from torchlike.distributions.chances import Chances, name_of_given
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import broadcast_all


def _positive_part(x):
    # Half of the gradient passes at 0.
    return (x.clamp(min=0) + x - x.clamp(max=0)) / 2


class Binomial(Chances, Distribution):
    """Successes in ``total_count`` trials of probability ``probs`` (log odds ``logits``)
    (https://pytorch.org/docs/stable/distributions.html#binomial)."""

    arg_constraints: ClassVar = {
        "total_count": constraints.nonnegative_integer,
        "probs": constraints.unit_interval,
        "logits": constraints.real,
    }
    has_enumerate_support = True

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        given = name_of_given(probs, logits)
        self.total_count, value = broadcast_all(total_count, probs if logits is None else logits)
        self.total_count = self.total_count.type_as(value)
        self._keep(given, value)
        super().__init__(value.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        names = ["total_count", *self._names()]
        return self._expanded(Binomial, batch_shape, _instance, *names, _given=self._given)

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        """0 to total_count."""
        return constraints.integer_interval(0, self.total_count)

    @property
    def mean(self):
        return self.total_count * self.probs

    @property
    def mode(self):
        return ((self.total_count + 1) * self.probs).floor().clamp(max=self.total_count)

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        return draws.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        n, logits = self.total_count, self.logits
        ways = (n + 1).lgamma() - (value + 1).lgamma() - (n - value + 1).lgamma()
        # log(1 + exp(logits)), without overflow.
        per_trial = _positive_part(logits) + torch.log1p(torch.exp(-torch.abs(logits)))
        return value * logits + ways - n * per_trial

    def entropy(self):
        values = self._all_values("entropy")
        log_prob = self.log_prob(values)
        return -(torch.exp(log_prob) * log_prob).sum(0)

    def enumerate_support(self, expand=True):
        values = self._all_values("enumerate_support")
        return values.expand((-1,) + tuple(self._batch_shape)) if expand else values

    def _all_values(self, name: str):
        least, most = torch.stack([self.total_count.min(), self.total_count.max()]).tolist()
        if least != most:
            raise NotImplementedError(f"Inhomogeneous total count not supported by `{name}`.")
        values = torch.arange(1 + int(most), dtype=self._param.dtype, device=self._param.device)
        return along_first(values, self._batch_shape, expand=False)
