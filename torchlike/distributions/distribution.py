"""The base of all distributions: shapes, validation, and what a family has to offer."""

from __future__ import annotations

import warnings

from torchlike.distributions import constraints
from torchlike.distributions._torch import NO_SHAPE, torch
from torchlike.distributions.utils import lazy_property
from torchlike.distributions.validation import all_true, satisfied

_Size = torch.Size


class Distribution:
    """A probability distribution over ``batch_shape`` independent events of ``event_shape``
    (https://pytorch.org/docs/stable/distributions.html#distribution)."""

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Turn the validation of arguments and values on or off for new distributions."""
        if value not in (True, False):
            raise ValueError
        Distribution._validate_args = value

    def __init__(self, batch_shape=NO_SHAPE, event_shape=NO_SHAPE, validate_args=None):
        self._batch_shape, self._event_shape = batch_shape, event_shape
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()
        super().__init__()

    def _validate_parameters(self) -> None:
        try:
            named = self.arg_constraints
        except NotImplementedError:
            named = {}
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set "
                "`arg_constraints = {}` or initialize the distribution with `validate_args=False` "
                "to turn off validation.",
                stacklevel=3,
            )
        kind, checks = type(self), []
        for name, constraint in named.items():
            if constraints.is_dependent(constraint):
                continue  # it holds for values that are not known here
            if name not in self.__dict__ and isinstance(getattr(kind, name, None), lazy_property):
                continue  # computed from another parameter, which is checked
            checks.append((name, constraint, getattr(self, name)))
        flags = [
            satisfied(constraint, value, f"parameter {name} of {kind.__name__}")
            for name, constraint, value in checks
        ]
        if all_true(flags):
            return
        for (name, constraint, value), valid in zip(checks, flags, strict=True):
            if not valid:
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape "
                    f"{tuple(value.shape)}) of distribution {self!r} to satisfy the constraint "
                    f"{constraint!r}, but found invalid values:\n{value}"
                )

    def expand(self, batch_shape, _instance=None):
        """The same distribution with its parameters expanded to ``batch_shape``."""
        raise NotImplementedError

    @property
    def batch_shape(self):
        """The shape over which parameters are batched."""
        return self._batch_shape

    @property
    def event_shape(self):
        """The shape of a single event."""
        return self._event_shape

    @property
    def arg_constraints(self) -> dict:
        """The constraint that each parameter satisfies, by name."""
        raise NotImplementedError

    @property
    def support(self):
        """The constraint that every sample satisfies."""
        raise NotImplementedError

    @property
    def mean(self):
        """The mean, of shape batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def mode(self):
        """The mode, of shape batch_shape + event_shape."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self):
        """The variance, of shape batch_shape + event_shape."""
        raise NotImplementedError

    @property
    def stddev(self):
        """The standard deviation, of shape batch_shape + event_shape."""
        return self.variance.sqrt()

    def sample(self, sample_shape=NO_SHAPE):
        """A sample of shape sample_shape + batch_shape + event_shape, without gradient."""
        with torch.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape=NO_SHAPE):
        """A sample with the gradient to the parameters, where the family has one."""
        raise NotImplementedError

    def sample_n(self, n: int):
        """``sample((n,))``; deprecated."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.sample(_Size((n,)))

    def log_prob(self, value):
        """The logarithm of the density or mass at ``value``."""
        raise NotImplementedError

    def cdf(self, value):
        """The probability of at most ``value``."""
        raise NotImplementedError

    def icdf(self, value):
        """The inverse of ``cdf``: the quantile of a probability."""
        raise NotImplementedError

    def enumerate_support(self, expand: bool = True):
        """All values of a discrete distribution along a new first dimension."""
        raise NotImplementedError

    def entropy(self):
        """The entropy in nats, of shape batch_shape."""
        raise NotImplementedError

    def perplexity(self):
        """exp of the entropy, of shape batch_shape."""
        return torch.exp(self.entropy())

    def _extended_shape(self, sample_shape=NO_SHAPE):
        """The shape of a sample: sample_shape + batch_shape + event_shape."""
        return _Size(tuple(sample_shape) + tuple(self._batch_shape) + tuple(self._event_shape))

    def _validate_sample(self, value) -> None:
        """Raise ``ValueError`` unless ``value`` fits the shapes and lies in the support."""
        if not isinstance(value, torch.Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.dim() - len(self._event_shape)
        if tuple(value.shape[max(start, 0) :]) != tuple(self._event_shape) or start < 0:
            raise ValueError(
                "The right-most size of value must match event_shape: "
                f"{value.size()} vs {self._event_shape}."
            )
        expected = _Size(tuple(self._batch_shape) + tuple(self._event_shape))
        for i, j in zip(reversed(value.shape), reversed(expected)):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    "Value is not broadcastable with batch_shape+event_shape: "
                    f"{value.size()} vs {expected}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please "
                "initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not satisfied(support, value, f"value argument of {type(self).__name__}"):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) "
                f"to be within the support ({support!r}) of the distribution {self!r}, but found "
                f"invalid values:\n{value}"
            )

    def _get_checked_instance(self, cls, _instance=None):
        """The instance to expand into: the given one, or a bare one of the same class."""
        if _instance is None and type(self).__init__ is not cls.__init__:
            raise NotImplementedError(
                f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ "
                "method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _expanded(self, cls, batch_shape, instance, *names, event_shape=None, **fields):
        """An instance with the named parameters expanded to ``batch_shape`` and these fields."""
        new = self._get_checked_instance(cls, instance)
        batch_shape = _Size(batch_shape)
        for name in names:
            setattr(new, name, getattr(self, name).expand(batch_shape))
        for name, value in fields.items():
            setattr(new, name, value)
        event_shape = self._event_shape if event_shape is None else event_shape
        Distribution.__init__(new, batch_shape, event_shape, validate_args=False)
        new._validate_args = self._validate_args
        return new

    def __repr__(self) -> str:
        names = [name for name in self.arg_constraints if name in self.__dict__]
        values = [self.__dict__[name] for name in names]
        shown = [f"{v if v.numel() == 1 else v.size()}" for v in values]
        return f"{type(self).__name__}({', '.join(map('{}: {}'.format, names, shown))})"
