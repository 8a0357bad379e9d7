"""The relaxed one-hot categorical distribution, on the simplex and as logarithms."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.categorical import Categorical
from torchlike.distributions.chances import OfCategorical
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.transformed_distribution import TransformedDistribution
from torchlike.distributions.transforms import ExpTransform
from torchlike.distributions.utils import broadcast_all, clamp_probs

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(OfCategorical, Distribution):
    """The logarithms of ``RelaxedOneHotCategorical``
    (https://pytorch.org/docs/stable/distributions.html#relaxedonehotcategorical)."""

    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        shapes = self._categorical.batch_shape, self._categorical.param_shape[-1:]
        super().__init__(*shapes, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        return self._expanded(
            ExpRelaxedCategorical, batch_shape, _instance, temperature=self.temperature,
            _categorical=self._categorical.expand(torch.Size(batch_shape)),
        )  # fmt: skip

    def rsample(self, sample_shape=NO_SHAPE):
        shape, logits = self._extended_shape(sample_shape), self.logits
        u = clamp_probs(torch.rand(shape, dtype=logits.dtype, device=logits.device))
        gumbels = -((-(u.log())).log())
        scores = (logits + gumbels) / self.temperature
        return scores - scores.logsumexp(dim=-1, keepdim=True)

    def log_prob(self, value):
        k = self._categorical._num_events
        if self._validate_args:
            self._validate_sample(value)
        logits, value = broadcast_all(self.logits, value)
        log_scale = (
            torch.full_like(self.temperature, float(k)).lgamma()
            - self.temperature.log().mul(-(k - 1))
        )  # fmt: skip
        score = logits - value.mul(self.temperature)
        score = (score - score.logsumexp(dim=-1, keepdim=True)).sum(-1)
        return score + log_scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """A one-hot vector relaxed onto the simplex, with a gradient; sharp at low ``temperature``
    (https://pytorch.org/docs/stable/distributions.html#relaxedonehotcategorical)."""

    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, temperature, probs=None, logits=None, validate_args=None):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        new = self._get_checked_instance(RelaxedOneHotCategorical, _instance)
        return super().expand(batch_shape, new)

    @property
    def temperature(self):
        """How far from one-hot the vectors are."""
        return self.base_dist.temperature

    @property
    def logits(self):
        """The log probabilities, (..., K)."""
        return self.base_dist.logits

    @property
    def probs(self):
        """The probabilities, (..., K)."""
        return self.base_dist.probs
