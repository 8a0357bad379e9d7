"""Divergences between multivariate normal distributions, with full and low-rank covariances."""

from __future__ import annotations

from torchlike.distributions._torch import torch
from torchlike.distributions.kl.registry import register_kl
from torchlike.distributions.lowrank_multivariate_normal import (
    LowRankMultivariateNormal,
    _batch_lowrank_logdet,
    _batch_lowrank_mahalanobis,
)
from torchlike.distributions.multivariate_normal import (
    MultivariateNormal,
    _batch_mahalanobis,
    _half_log_det,
)


def _trace_of_square(x):
    """The trace of X X', for X (..., n, m)."""
    return x.pow(2).flatten(-2).sum(-1)


def _need_same_event(p, q, kind: str) -> None:
    if p.event_shape != q.event_shape:
        raise ValueError(
            f"KL-divergence between two {kind} with different event shapes cannot be computed"
        )


def _log_det(d):
    if isinstance(d, LowRankMultivariateNormal):
        return _batch_lowrank_logdet(
            d._unbroadcasted_cov_factor, d._unbroadcasted_cov_diag, d._capacitance_tril
        )
    return 2 * _half_log_det(d._unbroadcasted_scale_tril)


def _roots(p):
    """Matrices X (..., n, m) whose X X' add up to the covariance."""
    if isinstance(p, LowRankMultivariateNormal):
        return p._unbroadcasted_cov_factor, torch.diag_embed(p._unbroadcasted_cov_diag.sqrt())
    return (p._unbroadcasted_scale_tril,)


@register_kl(MultivariateNormal, LowRankMultivariateNormal)
@register_kl(LowRankMultivariateNormal, LowRankMultivariateNormal)
def _kl_to_lowrank(p, q):
    _need_same_event(p, q, "(Low Rank) Multivariate Normals")
    w, d = q._unbroadcasted_cov_factor, q._unbroadcasted_cov_diag
    distance = _batch_lowrank_mahalanobis(w, d, q.loc - p.loc, q._capacitance_tril)
    # The inverse of W W' + D is D^-1 - A' A.
    a = torch.linalg.solve_triangular(q._capacitance_tril, w.mT / d.unsqueeze(-2), upper=False)
    trace = sum(
        _trace_of_square(x * d.rsqrt().unsqueeze(-1)) - _trace_of_square(a.matmul(x))
        for x in _roots(p)
    )
    return 0.5 * (_log_det(q) - _log_det(p) + distance + trace - p.event_shape[0])


@register_kl(LowRankMultivariateNormal, MultivariateNormal)
@register_kl(MultivariateNormal, MultivariateNormal)
def _kl_to_full(p, q):
    _need_same_event(p, q, "Multivariate Normals")
    lower = q._unbroadcasted_scale_tril
    distance = _batch_mahalanobis(lower, q.loc - p.loc)
    trace = sum(
        _trace_of_square(torch.linalg.solve_triangular(lower, x, upper=False)) for x in _roots(p)
    )
    return 0.5 * (_log_det(q) - _log_det(p) + distance + trace - p.event_shape[0])
