"""Whether constructors check what they are given, and gradcheck for functions of sparse tensors."""

from __future__ import annotations

import functools

import numpy as np

from torchlike._tensor.sparse import creation
from torchlike._tensor.sparse.conversion import pattern_of
from torchlike._tensor.sparse.parts import build, coalesced, parts_of, read, values_of
from torchlike._tensor.tensor import Tensor


class check_sparse_tensor_invariants:
    """A switch, context and decorator: constructors of sparse tensors check their arguments
    (https://pytorch.org/docs/stable/generated/torch.sparse.check_sparse_tensor_invariants.html)."""

    def __init__(self, enable: bool = True):
        self.state, self.before = enable, None

    @staticmethod
    def is_enabled() -> bool:
        """Whether the checks are on."""
        return creation.check[0]

    @staticmethod
    def enable() -> None:
        """Turn the checks on."""
        creation.check[0] = True

    @staticmethod
    def disable() -> None:
        """Turn the checks off."""
        creation.check[0] = False

    def __enter__(self):
        if self.before is not None:
            raise RuntimeError(
                "This context manager instance is already activated. Use a different context "
                "manager instance for context nesting."
            )
        self.before = creation.check[0]
        creation.check[0] = self.state

    def __exit__(self, *exc):
        creation.check[0], self.before = self.before, None

    def __call__(self, fn):
        @functools.wraps(fn)
        def checked(*args, **kwargs):
            with type(self)(self.state):
                return fn(*args, **kwargs)

        return checked


def _everywhere(x):
    """The pattern of a tensor's layout in which every element is specified."""
    pattern = parts_of(x)
    sizes = pattern.size[: len(pattern.coordinates())]
    found = np.indices(sizes).reshape(len(sizes), -1)
    out = pattern_of(found, pattern.size, x.layout, getattr(pattern, "block", ()), x.device)
    out.values = pattern.values
    return out


def as_sparse_gradcheck(gradcheck):
    """A gradcheck that takes sparse inputs: it varies their values, or with ``masked=False`` (the
    default) all elements (https://pytorch.org/docs/stable/generated/torch.sparse.as_sparse_gradcheck.html).
    """

    @functools.wraps(gradcheck)
    def checked(func, inputs, **options):
        masked = options.pop("masked", False)
        inputs = inputs if isinstance(inputs, (tuple, list)) else (inputs,)
        patterns, given = [], []
        for x in inputs:
            if not isinstance(x, Tensor) or not x._sparse or not x.requires_grad:
                patterns.append(None)
                given.append(x)
                continue
            x = coalesced(x.detach())
            pattern = parts_of(x) if masked else _everywhere(x)
            values = values_of(x) if masked else read(x, pattern)
            patterns.append(pattern)
            given.append(values.detach().clone().requires_grad_())

        def dense(*values):
            args = [v if p is None else build(p, v) for v, p in zip(values, patterns, strict=True)]
            out = func(*args)
            many = isinstance(out, (tuple, list))
            out = [
                o.to_dense() if isinstance(o, Tensor) and o._sparse else o
                for o in (out if many else (out,))
            ]
            return tuple(out) if many else out[0]

        return gradcheck(dense, tuple(given), **options)

    return checked
