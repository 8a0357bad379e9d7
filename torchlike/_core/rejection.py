"""Single samples of PyTorch's CPU Poisson, binomial and gamma, from sources of plain draws.

Poisson: Hoermann's transformed rejection (PTRS), or products of uniforms below rate 10. Binomial:
Hoermann's BTRS, or inversion below mean 10. Gamma: Marsaglia and Tsang. ``narrow`` rounds to the
precision of the arguments' dtype (``float`` or ``numpy.float32``) where PyTorch stays in it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

_ONE_THIRD = float(np.float32(1 / 3))
_SQUEEZE = float(np.float32(0.0331))

# log(k!) minus Stirling's formula, k = 0 .. 9
_STIRLING_ERRORS = (
    0.0810614667953272,
    0.0413406959554092,
    0.0276779256849983,
    0.02079067210376509,
    0.0166446911898211,
    0.0138761288230707,
    0.0118967099458917,
    0.0104112652619720,
    0.00925546218271273,
    0.00833056343336287,
)


def poisson(rate: float, uniform: Callable[[], float]) -> float:
    """A Poisson sample of ``rate``, which is not negative."""
    if rate == 0:
        return 0
    if rate >= 10:
        return _poisson_ptrs(rate, uniform)
    limit = math.exp(-rate)
    count, product = 0, uniform()
    while product > limit:
        count += 1
        product *= uniform()
    return count


def _poisson_ptrs(rate: float, uniform: Callable[[], float]) -> float:
    root, log_rate = math.sqrt(rate), math.log(rate)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    v_r = 0.9277 - 3.6224 / (b - 2)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + rate + 0.43)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        log_ratio = math.log(v) + math.log(inverse_alpha) - math.log(a / (us * us) + b)
        if log_ratio <= -rate + k * log_rate - math.lgamma(k + 1):
            return k


def binomial(count: float, prob: float, uniform: Callable[[], float], narrow: type) -> float:
    """A binomial sample: successes of probability ``prob`` in ``count`` trials."""
    if count <= 0 or prob <= 0:
        return 0
    if prob >= 1:
        return count
    if prob <= 0.5:
        return _binomial_half(count, prob, uniform, narrow)
    if prob > 0.5:
        return count - _binomial_half(count, float(narrow(1 - prob)), uniform, narrow)
    return math.nan


def _binomial_half(count: float, prob: float, uniform: Callable[[], float], narrow: type) -> float:
    mean = float(narrow(count * prob))
    if mean >= 10:
        return _binomial_btrs(count, prob, mean, uniform)
    log_failure = math.log1p(-prob)
    successes, trials = 0, math.ceil(math.log(uniform()) / log_failure)
    while trials <= count:
        successes += 1
        trials += math.ceil(math.log(uniform()) / log_failure)
    return successes


def _binomial_btrs(n: float, p: float, mean: float, uniform: Callable[[], float]) -> float:
    deviation = math.sqrt(mean * (1 - p))
    b = 1.15 + 2.53 * deviation
    a = -0.0873 + 0.0248 * b + 0.01 * p
    c = mean + 0.5
    v_r = 0.92 - 4.2 / b
    odds = p / (1 - p)
    alpha = (2.83 + 5.1 / b) * deviation
    mode = math.floor((n + 1) * p)
    while True:
        u, v = uniform() - 0.5, uniform()
        us = 0.5 - abs(u)
        k = math.floor((2 * a / us + b) * u + c)
        if us >= 0.07 and v <= v_r:
            return k
        if k < 0 or k > n:
            continue
        bound = (
            (mode + 0.5) * math.log((mode + 1) / (odds * (n - mode + 1)))
            + (n + 1) * math.log((n - mode + 1) / (n - k + 1))
            + (k + 0.5) * math.log(odds * (n - k + 1) / (k + 1))
            + _stirling_error(mode)
            + _stirling_error(n - mode)
            - _stirling_error(k)
            - _stirling_error(n - k)
        )
        if math.log(v * alpha / (a / (us * us) + b)) <= bound:
            return k


def _stirling_error(k: float) -> float:
    if k <= 9:
        return _STIRLING_ERRORS[int(k)]
    square = (k + 1) * (k + 1)
    return (1 / 12 - (1 / 360 - 1 / 1260 / square) / square) / (k + 1)


def gamma(
    alpha: float, uniform: Callable[[], float], normal: Callable[[], float], narrow: type
) -> float:
    """A gamma sample of shape ``alpha``, which is not negative, and scale 1."""
    if alpha == 0:
        return 0.0
    scale = 1.0
    if alpha < 1:
        scale = math.pow(1 - uniform(), float(narrow(1 / alpha)))
        alpha = float(narrow(alpha + 1))
    d = float(narrow(alpha - _ONE_THIRD))
    c = 1 / math.sqrt(9 * d)
    while True:
        x = normal()
        y = 1 + c * x
        if y <= 0:
            continue
        v = y * y * y
        u = 1 - uniform()
        square = x * x
        if u < 1 - _SQUEEZE * square * square:
            return scale * d * v
        if math.log(u) < 0.5 * square + d * (1 - v + math.log(v)):
            return scale * d * v
