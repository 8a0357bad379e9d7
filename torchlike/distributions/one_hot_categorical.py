"""The categorical distribution of one-hot vectors, and its straight-through estimator."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.categorical import Categorical
from torchlike.distributions.chances import OfCategorical
from torchlike.distributions.distribution import Distribution
from torchlike.nn.functional import one_hot


class OneHotCategorical(OfCategorical, Distribution):
    """One of K categories, as a vector (..., K) with a 1 in its place
    (https://pytorch.org/docs/stable/distributions.html#onehotcategorical)."""

    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.one_hot
    has_enumerate_support = True

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._categorical = Categorical(probs, logits)
        shapes = self._categorical.batch_shape, self._categorical.param_shape[-1:]
        super().__init__(*shapes, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        expanded = self._categorical.expand(torch.Size(batch_shape))
        return self._expanded(OneHotCategorical, batch_shape, _instance, _categorical=expanded)

    @property
    def mean(self):
        return self._categorical.probs

    @property
    def mode(self):
        return self._vectors(self._categorical.mode)

    @property
    def variance(self):
        return self._categorical.probs * (1 - self._categorical.probs)

    def _vectors(self, indices):
        return one_hot(indices, self._categorical._num_events).to(self._categorical.probs)

    def sample(self, sample_shape=NO_SHAPE):
        return self._vectors(self._categorical.sample(torch.Size(sample_shape)))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        return self._categorical.log_prob(value.max(-1)[1])

    def entropy(self):
        return self._categorical.entropy()

    def enumerate_support(self, expand=True):
        n, batch = self.event_shape[0], tuple(self.batch_shape)
        values = torch.eye(n, dtype=self._param.dtype, device=self._param.device)
        values = values.view((n,) + (1,) * len(batch) + (n,))
        return values.expand((n,) + batch + (n,)) if expand else values


class OneHotCategoricalStraightThrough(OneHotCategorical):
    """``OneHotCategorical`` whose samples pass their gradient on to the probabilities
    (https://pytorch.org/docs/stable/distributions.html#onehotcategorical)."""

    has_rsample = True

    def rsample(self, sample_shape=NO_SHAPE):
        probs = self._categorical.probs
        return self.sample(sample_shape) + (probs - probs.detach())
