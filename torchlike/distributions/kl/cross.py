"""Divergences between distributions of different families."""

from __future__ import annotations

import math

from torchlike.distributions._torch import torch
from torchlike.distributions.bernoulli import Bernoulli
from torchlike.distributions.beta import Beta
from torchlike.distributions.binomial import Binomial
from torchlike.distributions.continuous_bernoulli import ContinuousBernoulli
from torchlike.distributions.exponential import Exponential
from torchlike.distributions.gamma import Gamma
from torchlike.distributions.gumbel import Gumbel
from torchlike.distributions.kl.registry import register_kl
from torchlike.distributions.kl.same import inf_where
from torchlike.distributions.laplace import Laplace
from torchlike.distributions.normal import Normal
from torchlike.distributions.pareto import Pareto
from torchlike.distributions.poisson import Poisson
from torchlike.distributions.uniform import Uniform
from torchlike.distributions.utils import EULER, LOG_2PI

# ---- p has values where q has none --------------------------------------------------------------


def _infinite(p, q):
    return torch.full_like(p.mean, math.inf)


_BOUNDED = Beta, ContinuousBernoulli, Uniform
for _p, _others in {
    Beta: (Pareto,),
    ContinuousBernoulli: (Pareto,),
    Exponential: (*_BOUNDED, Pareto),
    Gamma: (*_BOUNDED, Pareto),
    Gumbel: (*_BOUNDED, Exponential, Gamma, Pareto),
    Laplace: (*_BOUNDED, Exponential, Gamma, Pareto),
    Normal: (*_BOUNDED, Exponential, Gamma, Pareto),
    Pareto: _BOUNDED,
    Poisson: (Bernoulli, Binomial),
}.items():
    for _q in _others:
        register_kl(_p, _q)(_infinite)


# ---- E_p[-log q] for families that need no more than moments of p -------------------------------


def _to_normal(p, q, mean, variance):
    """E_p[-log q] for a normal q."""
    spread = (variance + (mean - q.loc).pow(2)) / (2 * q.scale.pow(2))
    return spread + q.scale.log() + 0.5 * LOG_2PI


def _to_exponential(q, mean):
    """E_p[-log q] for an exponential q and a positive p."""
    return q.rate * mean - q.rate.log()


def _to_gamma(q, mean, mean_log):
    """E_p[-log q] for a gamma q and a positive p."""
    normalizer = q.concentration.lgamma() - q.concentration * q.rate.log()
    return normalizer + (1 - q.concentration) * mean_log + q.rate * mean


def _to_continuous_bernoulli(q, mean):
    """E_p[-log q] for a continuous Bernoulli q and a p within [0, 1]."""
    return -mean * q.logits - torch.log1p(-q.probs) - q._cont_bern_log_norm()


@register_kl(Bernoulli, Poisson)
def _kl_bernoulli_poisson(p, q):
    return -p.entropy() - (p.probs * q.rate.log() - q.rate)


@register_kl(Beta, ContinuousBernoulli)
def _kl_beta_continuous_bernoulli(p, q):
    return -p.entropy() + _to_continuous_bernoulli(q, p.mean)


@register_kl(Beta, Exponential)
@register_kl(ContinuousBernoulli, Exponential)
@register_kl(Gamma, Exponential)
def _kl_to_exponential(p, q):
    return -p.entropy() + _to_exponential(q, p.mean)


@register_kl(Beta, Gamma)
def _kl_beta_gamma(p, q):
    total = p.concentration1 + p.concentration0
    mean_log = p.concentration1.digamma() - total.digamma()
    return -p.entropy() + _to_gamma(q, p.mean, mean_log)


@register_kl(Beta, Normal)
@register_kl(ContinuousBernoulli, Normal)
@register_kl(Exponential, Normal)
@register_kl(Gamma, Normal)
@register_kl(Laplace, Normal)
@register_kl(Uniform, Normal)
@register_kl(Gumbel, Normal)
def _kl_to_normal(p, q):
    return -p.entropy() + _to_normal(p, q, p.mean, p.variance)


@register_kl(Beta, Uniform)
def _kl_beta_uniform(p, q):
    return inf_where((q.low > 0) | (q.high < 1), -p.entropy() + (q.high - q.low).log())


@register_kl(ContinuousBernoulli, Uniform)
def _kl_continuous_bernoulli_uniform(p, q):
    # PyTorch's bounds: infinite unless [0, 1] lies within (low, high).
    return inf_where((q.low >= 0) | (q.high <= 1), -p.entropy() + (q.high - q.low).log())


# ---- exponential, gamma, Gumbel, normal ----------------------------------------------------------


@register_kl(Exponential, Gamma)
def _kl_exponential_gamma(p, q):
    return -p.entropy() + _to_gamma(q, p.mean, -EULER - p.rate.log())


def _to_gumbel(q, mean, mean_exp):
    """E_p[-log q] for a Gumbel q; ``mean_exp`` is E[exp(-(x - loc) / scale)]."""
    return q.scale.log() + (mean - q.loc) / q.scale + mean_exp


@register_kl(Exponential, Gumbel)
def _kl_exponential_gumbel(p, q):
    scaled = p.rate * q.scale
    return -p.entropy() + _to_gumbel(q, p.mean, torch.exp(q.loc / q.scale) * scaled / (scaled + 1))


@register_kl(Gamma, Gumbel)
def _kl_gamma_gumbel(p, q):
    scaled = p.rate * q.scale
    shrunk = (1 + scaled.reciprocal()).pow(-p.concentration)
    return -p.entropy() + _to_gumbel(q, p.mean, torch.exp(q.loc / q.scale) * shrunk)


@register_kl(Normal, Gumbel)
def _kl_normal_gumbel(p, q):
    shift, ratio = (q.loc - p.loc) / q.scale, (p.scale / q.scale).pow(2)
    return -p.entropy() + _to_gumbel(q, p.mean, torch.exp(shift + 0.5 * ratio))


@register_kl(Normal, Laplace)
def _kl_normal_laplace(p, q):
    distance = p.loc - q.loc
    scaled = distance / p.scale
    # The mean of a folded normal.
    folded = math.sqrt(2 / math.pi) * p.scale * torch.exp(-0.5 * scaled.pow(2))
    folded = folded + distance * torch.erf(math.sqrt(0.5) * scaled)
    return -p.entropy() + torch.log(2 * q.scale) + folded / q.scale


# ---- Pareto --------------------------------------------------------------------------------------


@register_kl(Pareto, Exponential)
def _kl_pareto_exponential(p, q):
    mean = p.alpha * p.scale / (p.alpha - 1)
    return inf_where(p.alpha <= 1, -p.entropy() + _to_exponential(q, mean))


@register_kl(Pareto, Gamma)
def _kl_pareto_gamma(p, q):
    mean = p.alpha * p.scale / (p.alpha - 1)
    mean_log = p.scale.log() + p.alpha.reciprocal()
    return inf_where(p.alpha <= 1, -p.entropy() + _to_gamma(q, mean, mean_log))


@register_kl(Pareto, Normal)
def _kl_pareto_normal(p, q):
    part = p.scale / (p.alpha - 1)
    variance = p.alpha * part.pow(2) / (p.alpha - 2)
    value = -p.entropy() + _to_normal(p, q, p.alpha * part, variance)
    return inf_where(p.alpha <= 2, value)


# ---- uniform -------------------------------------------------------------------------------------


def _mean_log(low, high):
    """The mean of log x over [low, high]; 0 log 0 is 0."""
    return (torch.xlogy(high, high) - torch.xlogy(low, low)) / (high - low) - 1


@register_kl(Uniform, Beta)
def _kl_uniform_beta(p, q):
    a, b = q.concentration1, q.concentration0
    normalizer = a.lgamma() + b.lgamma() - (a + b).lgamma()
    of_x, of_rest = _mean_log(p.low, p.high), _mean_log(1 - p.high, 1 - p.low)
    value = normalizer - (a - 1) * of_x - (b - 1) * of_rest - p.entropy()
    return inf_where((p.high > 1) | (p.low < 0), value)


@register_kl(Uniform, ContinuousBernoulli)
def _kl_uniform_continuous_bernoulli(p, q):
    # PyTorch's bounds: infinite unless [low, high] lies within (0, 1).
    value = -p.entropy() + _to_continuous_bernoulli(q, p.mean)
    return inf_where((p.high >= 1) | (p.low <= 0), value)


@register_kl(Uniform, Exponential)
def _kl_uniform_exponential(p, q):
    return inf_where(p.low < 0, -p.entropy() + _to_exponential(q, p.mean))


@register_kl(Uniform, Gamma)
def _kl_uniform_gamma(p, q):
    value = -p.entropy() + _to_gamma(q, p.mean, _mean_log(p.low, p.high))
    return inf_where(p.low < 0, value)


@register_kl(Uniform, Gumbel)
def _kl_uniform_gumbel(p, q):
    high, low = (p.high - q.loc) / q.scale, (p.low - q.loc) / q.scale
    mean_exp = q.scale / (p.high - p.low) * (torch.exp(-low) - torch.exp(-high))
    return -p.entropy() + _to_gumbel(q, p.mean, mean_exp)


@register_kl(Uniform, Pareto)
def _kl_uniform_pareto(p, q):
    of_q = (q.alpha + 1) * _mean_log(p.low, p.high) - q.alpha.log() - q.alpha * q.scale.log()
    return inf_where(p.low < q.scale, of_q - p.entropy())
