"""The Bernoulli distribution."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.chances import Chances, name_of_given
from torchlike.distributions.exp_family import ExponentialFamily
from torchlike.distributions.utils import _nan_where, broadcast_all
from torchlike.nn.functional import binary_cross_entropy_with_logits


class Bernoulli(Chances, ExponentialFamily):
    """1 with probability ``probs`` (log odds ``logits``), else 0
    (https://pytorch.org/docs/stable/distributions.html#bernoulli)."""

    arg_constraints: ClassVar = {"probs": constraints.unit_interval, "logits": constraints.real}
    support = constraints.boolean
    has_enumerate_support = True
    _mean_carrier_measure = 0

    def __init__(self, probs=None, logits=None, validate_args=None):
        given = name_of_given(probs, logits)
        self._keep(given, *broadcast_all(probs if logits is None else logits))
        super().__init__(self._param.size(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        names = self._names()
        return self._expanded(Bernoulli, batch_shape, _instance, *names, _given=self._given)

    @property
    def mean(self):
        return self.probs

    @property
    def mode(self):
        return _nan_where(self.probs == 0.5, (self.probs >= 0.5).to(self.probs))

    @property
    def variance(self):
        return self.probs * (1 - self.probs)

    def sample(self, sample_shape=NO_SHAPE):
        shape = self._extended_shape(sample_shape)
        with torch.no_grad():
            return torch.bernoulli(self.probs.expand(shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        return -binary_cross_entropy_with_logits(logits, value, reduction="none")

    def entropy(self):
        return binary_cross_entropy_with_logits(self.logits, self.probs, reduction="none")

    def enumerate_support(self, expand=True):
        values = torch.arange(2, dtype=self._param.dtype, device=self._param.device)
        return along_first(values, self._batch_shape, expand)

    @property
    def _natural_params(self):
        return (torch.logit(self.probs),)

    def _log_normalizer(self, x):
        return torch.log1p(torch.exp(x))


def along_first(values, batch_shape, expand: bool):
    """Values along a new first dimension before the batch's, expanded to it or of size 1."""
    values = values.view((-1,) + (1,) * len(batch_shape))
    return values.expand((-1,) + tuple(batch_shape)) if expand else values
