"""The categorical distribution."""

from __future__ import annotations

import math
from typing import ClassVar

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.bernoulli import along_first
from torchlike.distributions.chances import name_of_given
from torchlike.distributions.distribution import Distribution
from torchlike.distributions.utils import lazy_property, logits_to_probs, probs_to_logits


class Categorical(Distribution):
    """One of K categories, with weights ``probs`` (..., K) or unnormalized log ``logits``
    (https://pytorch.org/docs/stable/distributions.html#categorical)."""

    arg_constraints: ClassVar = {"probs": constraints.simplex, "logits": constraints.real_vector}
    has_enumerate_support = True

    def __init__(self, probs=None, logits=None, validate_args=None):
        self._given = name_of_given(probs, logits)
        value = probs if logits is None else logits
        if value.dim() < 1:
            raise ValueError(f"`{self._given}` parameter must be at least one-dimensional.")
        if logits is None:
            self.probs = probs / probs.sum(-1, keepdim=True)
        else:
            self.logits = logits - logits.logsumexp(dim=-1, keepdim=True)
        self._num_events = value.size(-1)
        super().__init__(value.shape[:-1], validate_args=validate_args)

    def expand(self, batch_shape, _instance=None):
        shape = torch.Size(batch_shape) + torch.Size((self._num_events,))
        known = {
            name: self.__dict__[name].expand(shape)
            for name in ("probs", "logits")
            if name in self.__dict__
        }
        return self._expanded(
            Categorical, batch_shape, _instance,
            _given=self._given, _num_events=self._num_events, **known,
        )  # fmt: skip

    @constraints.dependent_property(is_discrete=True, event_dim=0)
    def support(self):
        """0 to K - 1."""
        return constraints.integer_interval(0, self._num_events - 1)

    @lazy_property
    def logits(self):
        """The log probabilities, (..., K)."""
        return probs_to_logits(self.probs)

    @lazy_property
    def probs(self):
        """The probabilities, (..., K)."""
        return logits_to_probs(self.logits)

    @property
    def _param(self):
        return getattr(self, self._given)

    @property
    def param_shape(self):
        """The shape of the given parameter."""
        return self._param.size()

    def _new(self, *args, **kwargs):
        return self._param.new(*args, **kwargs)

    @property
    def mean(self):
        return self._nans()

    @property
    def mode(self):
        return self.probs.argmax(dim=-1)

    @property
    def variance(self):
        return self._nans()

    def _nans(self):
        probs = self.probs
        shape = self._extended_shape()
        return torch.full(shape, math.nan, dtype=probs.dtype, device=probs.device)

    def sample(self, sample_shape=NO_SHAPE):
        sample_shape = torch.Size(sample_shape)
        rows = self.probs.detach().reshape(-1, self._num_events)
        drawn = torch.multinomial(rows, sample_shape.numel(), True).T
        return drawn.reshape(self._extended_shape(sample_shape))

    def log_prob(self, value):
        if self._validate_args:
            self._validate_sample(value)
        value, log_pmf = torch.broadcast_tensors(value.long().unsqueeze(-1), self.logits)
        return log_pmf.gather(-1, value[..., :1]).squeeze(-1)

    def entropy(self):
        logits = torch.clamp(self.logits, min=torch.finfo(self.logits.dtype).min)
        return -(logits * self.probs).sum(-1)

    def enumerate_support(self, expand=True):
        values = torch.arange(self._num_events, dtype=torch.int64, device=self._param.device)
        return along_first(values, self._batch_shape, expand)
