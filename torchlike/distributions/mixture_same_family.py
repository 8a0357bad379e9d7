"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.categorical import Categorical
from torchlike.distributions.constraints import MixtureSameFamilyConstraint
from torchlike.distributions.distribution import Distribution

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A component chosen by a ``Categorical`` from the last batch dimension of a distribution
    (https://pytorch.org/docs/stable/distributions.html#mixturesamefamily)."""

    arg_constraints: ClassVar = {}
    has_rsample = False

    def __init__(self, mixture_distribution, component_distribution, validate_args=None):
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of "
                "torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of "
                "torch.distributions.Distribution"
            )
        mixed = mixture_distribution.batch_shape
        batch_shape = component_distribution.batch_shape[:-1]
        for a, b in zip(reversed(mixed), reversed(batch_shape)):
            if a != 1 and b != 1 and a != b:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({mixed}) is not compatible with "
                    f"`component_distribution.batch_shape`({batch_shape})"
                )
        km = mixture_distribution.logits.shape[-1]
        kc = component_distribution.batch_shape[-1]
        if km is not None and kc is not None and km != kc:
            raise ValueError(
                f"`mixture_distribution component` ({km}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({kc})"
            )
        self._num_component = km
        event_shape = component_distribution.event_shape
        self._event_ndims = len(event_shape)
        super().__init__(batch_shape, event_shape, validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        batch_shape = torch.Size(batch_shape)
        components = self._component_distribution.expand(batch_shape + (self._num_component,))
        return self._expanded(
            MixtureSameFamily, batch_shape, _instance,
            _mixture_distribution=self._mixture_distribution.expand(batch_shape),
            _component_distribution=components, _num_component=self._num_component,
            _event_ndims=self._event_ndims,
        )  # fmt: skip

    @constraints.dependent_property
    def support(self):
        """The components' support."""
        return MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self):
        """The distribution of the component's number."""
        return self._mixture_distribution

    @property
    def component_distribution(self):
        """The components, along the last batch dimension."""
        return self._component_distribution

    def _weights(self):
        return self._pad_mixture_dimensions(self.mixture_distribution.probs)

    @property
    def mean(self):
        components = self.component_distribution.mean
        return torch.sum(self._weights() * components, dim=-1 - self._event_ndims)

    @property
    def variance(self):
        # Law of total variance: within the components, and between their means.
        weights, components = self._weights(), self.component_distribution
        between = (components.mean - self._pad(self.mean)).pow(2.0)
        return torch.sum(weights * (components.variance + between), dim=-1 - self._event_ndims)

    def cdf(self, x):
        chances = self.component_distribution.cdf(self._pad(x))
        return torch.sum(chances * self.mixture_distribution.probs, dim=-1)

    def log_prob(self, x):
        if self._validate_args:
            self._validate_sample(x)
        of_components = self.component_distribution.log_prob(self._pad(x))
        weights = torch.log_softmax(self.mixture_distribution.logits, dim=-1)
        return torch.logsumexp(of_components + weights, dim=-1)

    def sample(self, sample_shape=NO_SHAPE):
        with torch.no_grad():
            at = len(sample_shape) + len(self.batch_shape)
            chosen = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            shape = tuple(chosen.shape) + (1,) * (self._event_ndims + 1)
            repeats = (1,) * len(chosen.shape) + (1,) + tuple(self.event_shape)
            chosen = chosen.reshape(shape).repeat(repeats)
            return torch.gather(drawn, at, chosen).squeeze(at)

    def _pad(self, x):
        return x.unsqueeze(-1 - self._event_ndims)

    def _pad_mixture_dimensions(self, x):
        missing = len(self.batch_shape) - len(self.mixture_distribution.batch_shape)
        shape = tuple(x.shape)
        return x.reshape(shape[:-1] + (1,) * missing + shape[-1:] + (1,) * self._event_ndims)

    def __repr__(self):
        return f"MixtureSameFamily(\n  {self.mixture_distribution},\n  " + (
            f"{self.component_distribution})"
        )
