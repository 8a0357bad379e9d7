"""The multinomial distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.binomial import Binomial
from torchlike.distributions.categorical import Categorical
from torchlike.distributions.chances import OfCategorical
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import broadcast_all


class Multinomial(OfCategorical, Distribution):
    """How often each of K categories comes in ``total_count`` draws
    (https://pytorch.org/docs/stable/distributions.html#multinomial)."""

    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}

    def __init__(self, total_count=1, probs=None, logits=None, validate_args=None):
        if not isinstance(total_count, int):
            raise NotImplementedError("inhomogeneous total_count is not supported")
        self.total_count = total_count
        self._categorical = Categorical(probs=probs, logits=logits)
        self._binomial = Binomial(total_count=total_count, probs=self.probs)
        shapes = self._categorical.batch_shape, self._categorical.param_shape[-1:]
        super().__init__(*shapes, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        return self._expanded(
            Multinomial, batch_shape, _instance,
            _categorical=self._categorical.expand(batch_shape), total_count=self.total_count,
            _binomial=self._binomial.expand(batch_shape + self.event_shape),
        )  # fmt: skip

    @constraints.dependent_property(is_discrete=True, event_dim=1)
    def support(self):
        """Counts that sum to total_count at most."""
        return constraints.multinomial(self.total_count)

    @property
    def mean(self):
        return self.probs * self.total_count

    @property
    def variance(self):
        return self.total_count * self.probs * (1 - self.probs)

    def sample(self, sample_shape=NO_SHAPE):
        sample_shape = torch.Size(sample_shape)
        draws = self._categorical.sample(torch.Size((self.total_count,)) + sample_shape)
        draws = draws.permute(*range(1, draws.dim()), 0)  # (..., total_count)
        shape = self._extended_shape(sample_shape)
        counts = torch.zeros(shape, dtype=self.probs.dtype, device=self.probs.device)
        return counts.scatter_add(-1, draws, torch.ones_like(draws).type_as(counts))

    def entropy(self):
        n = torch.tensor(self.total_count, device=self._param.device)
        by_draw = n * self._categorical.entropy() - torch.lgamma(n + 1)
        counts = self._binomial.enumerate_support(expand=False)[1:]
        chances = torch.exp(self._binomial.log_prob(counts))
        return by_draw + (chances * torch.lgamma(counts + 1)).sum([0, -1])

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        ways = torch.lgamma(value.sum(-1) + 1) - torch.lgamma(value + 1).sum(-1)
        never = (value == 0) & (logits == -math.inf)
        return ways + (torch.where(never, 0.0, logits) * value).sum(-1)
