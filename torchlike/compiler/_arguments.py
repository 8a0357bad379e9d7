"""Arguments of a call, taken apart: what is compared, and the tensors in the order found."""

from __future__ import annotations

import dataclasses

import numpy as np

from torchlike._tensor import views
from torchlike._tensor.dispatch import TENSORS
from torchlike._tensor.tensor import Tensor

_MAX_CONTENT = 1 << 16
_TENSOR = "tensor"


class Same:
    """Stands for an object that is compared by identity."""

    __slots__ = ("object",)

    def __init__(self, obj):
        self.object = obj

    def __eq__(self, other):
        return isinstance(other, Same) and other.object is self.object

    def __hash__(self):
        return id(self.object)


class Flat:
    """The arguments of one call.

    spec      containers, numbers and texts as nested tuples, equal for calls that are alike
    tensors   the tensors, in order
    objects   other objects, which are looked into like what the function itself can reach
    """

    __slots__ = ("objects", "spec", "tensors")

    def __init__(self, args: tuple, kwargs: dict):
        self.tensors: list[Tensor] = []
        self.objects: list = []
        put = self._put
        spec = [put(x) for x in args]
        if kwargs:
            spec.append(tuple([(name, put(x)) for name, x in kwargs.items()]))
        self.spec = tuple(spec)

    def _put(self, x):
        kind = x.__class__
        if kind in TENSORS or isinstance(x, Tensor):
            self.tensors.append(x)
            notes = [k for k in x.__dict__ if k[0] != "_"]
            return (_TENSOR, *[(k, self._put(getattr(x, k))) for k in notes]) if notes else _TENSOR
        if kind is int or kind is str or kind is bool or x is None or kind is bytes:
            return kind, x
        if kind is float or kind is complex:
            return kind, repr(x)
        if isinstance(x, tuple | list):
            return kind, tuple([self._put(y) for y in x])
        if kind is dict or (isinstance(x, dict) and not getattr(x, "__dict__", None)):
            return kind, tuple(x), tuple([self._put(y) for y in x.values()])
        if dataclasses.is_dataclass(x) and not isinstance(x, type) and hasattr(x, "__dict__"):
            own = vars(x)
            if "_modules" not in own:  # a module may be a dataclass too
                return kind, tuple(own), tuple([self._put(y) for y in own.values()])
        if isinstance(x, np.ndarray) and x.dtype != object and x.nbytes <= _MAX_CONTENT:
            return kind, x.shape, x.dtype.str, x.tobytes()
        if isinstance(x, np.generic):
            return kind, x.tobytes()
        self.objects.append(x)
        return Same(x)

    def states(self) -> tuple:
        """What is compared of the tensors: shape, dtype, device, class, whether they need grad."""
        out = []
        for t in self.tensors:
            storage = t._storage
            if storage is not None and t._seen != storage.version:
                t._sync()
            out += (
                t._value.aval, t.__class__, t._requires_grad, t._node is None, storage is None,
                t._hooks, t._after_hooks, t._grad is None,
                None if storage is None and t._geometry is None else views.geometry(t),
            )  # fmt: skip
        return tuple(out)

    def alias(self, lasting: dict) -> tuple:
        """Which tensors are one, or share memory, among these and those that last."""
        out = []
        by_id: dict = {}
        for i, t in enumerate(self.tensors):
            out.append(by_id.setdefault(id(t), i))
            out.append(lasting.get(id(t)))
            if t._storage is not None:
                out.append(by_id.setdefault(id(t._storage), i))
                out.append(lasting.get(id(t._storage)))
        return tuple(out)
