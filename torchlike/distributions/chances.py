"""Distributions given by either ``probs`` or ``logits``: one is kept, the other comes from it."""

from __future__ import annotations

from torchlike.distributions.utils import lazy_property, logits_to_probs, probs_to_logits


def name_of_given(probs, logits) -> str:
    """``"probs"`` or ``"logits"``, whichever is given; it must be exactly one."""
    if (probs is None) == (logits is None):
        raise ValueError("Either `probs` or `logits` must be specified, but not both.")
    return "logits" if probs is None else "probs"


class Chances:
    """The parameters of two outcomes: the probability of one of them, or its log odds."""

    def _keep(self, given: str, value) -> None:
        """Keep the given parameter under its name."""
        self._given = given
        setattr(self, given, value)

    def _names(self) -> list[str]:
        """The parameters that are known already: they are expanded, not computed again."""
        return [name for name in ("probs", "logits") if name in self.__dict__]

    @lazy_property
    def logits(self):
        """The log odds."""
        return probs_to_logits(self.probs, is_binary=True)

    @lazy_property
    def probs(self):
        """The probability."""
        return logits_to_probs(self.logits, is_binary=True)

    @property
    def _param(self):
        return getattr(self, self._given)

    @property
    def param_shape(self):
        """The shape of the given parameter."""
        return self._param.size()

    def _new(self, *args, **kwargs):
        return self._param.new(*args, **kwargs)


class OfCategorical:
    """The parameters of several outcomes, kept by a ``Categorical`` under ``_categorical``."""

    @property
    def _param(self):
        return self._categorical._param

    @property
    def probs(self):
        """The probabilities, (..., outcomes)."""
        return self._categorical.probs

    @property
    def logits(self):
        """The log probabilities, (..., outcomes)."""
        return self._categorical.logits

    @property
    def param_shape(self):
        """The shape of the given parameter."""
        return self._categorical.param_shape

    def _new(self, *args, **kwargs):
        return self._categorical._new(*args, **kwargs)
