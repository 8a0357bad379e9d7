"""Kullback-Leibler divergences by the two distributions' classes."""

from __future__ import annotations

import warnings

from torchlike.distributions.distribution import Distribution

__all__ = ["kl_divergence", "register_kl"]

_REGISTRY: dict = {}  # (class of p, class of q) -> function of the two
_FOUND: dict = {}  # the same for classes that were asked for


def register_kl(type_p, type_q):
    """Decorator: register a function (p, q) -> KL(p || q) for two classes and their subclasses
    (https://pytorch.org/docs/stable/distributions.html#torch.distributions.kl.register_kl)."""
    if not isinstance(type_p, type) and issubclass(type_p, Distribution):
        raise TypeError(f"Expected type_p to be a Distribution subclass but got {type_p}")
    if not isinstance(type_q, type) and issubclass(type_q, Distribution):
        raise TypeError(f"Expected type_q to be a Distribution subclass but got {type_q}")

    def decorator(fun):
        _REGISTRY[type_p, type_q] = fun
        _FOUND.clear()
        return fun

    return decorator


def _dispatch_kl(type_p, type_q):
    """The most specific function for two classes, or NotImplemented."""
    orders = {kind: kind.__mro__.index for kind in (type_p, type_q)}
    matches = [
        (p, q) for p, q in _REGISTRY if issubclass(type_p, p) and issubclass(type_q, q)
    ]  # fmt: skip
    if not matches:
        return NotImplemented
    # Nearest by p, then by q, and the other way round: they should agree.
    left = min(matches, key=lambda m: (orders[type_p](m[0]), orders[type_q](m[1])))
    right = min(matches, key=lambda m: (orders[type_q](m[1]), orders[type_p](m[0])))
    if _REGISTRY[left] is not _REGISTRY[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). "
            f"Please register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _REGISTRY[left]


def kl_divergence(p, q):
    """KL(p || q), of the batch's shape
    (https://pytorch.org/docs/stable/distributions.html#torch.distributions.kl.kl_divergence)."""
    kinds = type(p), type(q)
    found = _FOUND.get(kinds)
    if found is None:
        found = _FOUND[kinds] = _dispatch_kl(*kinds)
    if found is NotImplemented:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {p.__class__.__name__} and q type "
            f"{q.__class__.__name__}"
        )
    return found(p, q)
