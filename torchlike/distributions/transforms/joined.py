"""Transforms of pieces: along a dimension by lengths, or slice by slice."""

from __future__ import annotations

from torchlike.distributions import constraints
from torchlike.distributions._torch import torch
from torchlike.distributions.transforms.base import Transform
from torchlike.distributions.utils import _sum_rightmost, lazy_property

__all__ = ["CatTransform", "StackTransform"]


def _only_transforms(tseq, cache_size: int) -> list:
    if not all(isinstance(t, Transform) for t in tseq):
        raise AssertionError("All elements of tseq must be Transform instances")
    return [t.with_cache(cache_size) for t in tseq] if cache_size else list(tseq)


def _need_dim(dim: int, x) -> None:
    if not -x.dim() <= dim < x.dim():
        raise AssertionError(f"dim {dim} out of range for tensor with {x.dim()} dimensions")


class CatTransform(Transform):
    """Transforms of pieces of given lengths along a dimension
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    def __init__(self, tseq, dim: int = 0, lengths=None, cache_size: int = 0) -> None:
        tseq = _only_transforms(tseq, cache_size)
        super().__init__(cache_size=cache_size)
        self.transforms = tseq
        self.lengths = [1] * len(tseq) if lengths is None else list(lengths)
        if len(self.lengths) != len(tseq):
            raise AssertionError(
                f"lengths ({len(self.lengths)}) must match transforms ({len(tseq)})"
            )
        self.dim = dim

    @lazy_property
    def event_dim(self) -> int:
        """The largest number of event dimensions of a piece."""
        return max(t.event_dim for t in self.transforms)

    @lazy_property
    def length(self) -> int:
        """The length of all pieces together."""
        return sum(self.lengths)

    def with_cache(self, cache_size: int = 1):
        if self._cache_size == cache_size:
            return self
        return CatTransform(self.transforms, self.dim, self.lengths, cache_size)

    def _pieces(self, x, name: str):
        """(transform, piece of x) in order."""
        _need_dim(self.dim, x)
        if x.size(self.dim) != self.length:
            raise AssertionError(
                f"{name}.size({self.dim}) = {x.size(self.dim)} must equal length {self.length}"
            )
        return zip(self.transforms, x.split(self.lengths, self.dim), strict=True)

    def _call(self, x):
        return torch.cat([t(piece) for t, piece in self._pieces(x, "x")], dim=self.dim)

    def _inverse(self, y):
        return torch.cat([t.inv(piece) for t, piece in self._pieces(y, "y")], dim=self.dim)

    def log_abs_det_jacobian(self, x, y):
        terms = []
        for (t, a), (_, b) in zip(self._pieces(x, "x"), self._pieces(y, "y"), strict=True):
            term = t.log_abs_det_jacobian(a, b)
            if t.event_dim < self.event_dim:
                term = _sum_rightmost(term, self.event_dim - t.event_dim)
            terms.append(term)
        dim = self.dim
        if dim >= 0:
            dim -= x.dim()
        dim += self.event_dim
        return torch.cat(terms, dim=dim) if dim < 0 else sum(terms)

    @property
    def bijective(self) -> bool:
        """Whether all pieces are bijective."""
        return all(t.bijective for t in self.transforms)

    @property
    def domain(self):
        """The pieces' domains."""
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @property
    def codomain(self):
        """The pieces' codomains."""
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)


class StackTransform(Transform):
    """A transform for each slice along a dimension
    (https://pytorch.org/docs/stable/distributions.html#module-torch.distributions.transforms)."""

    def __init__(self, tseq, dim: int = 0, cache_size: int = 0) -> None:
        tseq = _only_transforms(tseq, cache_size)
        super().__init__(cache_size=cache_size)
        self.transforms, self.dim = tseq, dim

    def with_cache(self, cache_size: int = 1):
        if self._cache_size == cache_size:
            return self
        return StackTransform(self.transforms, self.dim, cache_size)

    def _pairs(self, x, name: str):
        """(transform, slice of x) in order."""
        _need_dim(self.dim, x)
        if x.size(self.dim) != len(self.transforms):
            raise AssertionError(
                f"{name}.size({self.dim}) = {x.size(self.dim)} must equal len(transforms) "
                f"{len(self.transforms)}"
            )
        return zip(self.transforms, x.unbind(self.dim), strict=True)

    def _call(self, x):
        return torch.stack([t(a) for t, a in self._pairs(x, "x")], dim=self.dim)

    def _inverse(self, y):
        return torch.stack([t.inv(b) for t, b in self._pairs(y, "y")], dim=self.dim)

    def log_abs_det_jacobian(self, x, y):
        pairs = zip(self._pairs(x, "x"), self._pairs(y, "y"), strict=True)
        terms = [t.log_abs_det_jacobian(a, b) for (t, a), (_, b) in pairs]
        return torch.stack(terms, dim=self.dim)

    @property
    def bijective(self) -> bool:
        """Whether all slices are bijective."""
        return all(t.bijective for t in self.transforms)

    @property
    def domain(self):
        """The slices' domains."""
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @property
    def codomain(self):
        """The slices' codomains."""
        return constraints.stack([t.codomain for t in self.transforms], self.dim)
