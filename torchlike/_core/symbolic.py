"""torch.SymInt and its kin: sizes that an exported program leaves open, while it is traced.

Outside of ``torch.export`` every size is a Python number. Inside, a size that was asked to be
dynamic is a ``SymInt``: arithmetic keeps it open, a comparison is decided by what is known of it,
or else by the example and then noted as a condition of the program, and whatever needs the number
itself makes the program hold for this number only, or raises where that was not allowed.
"""

from __future__ import annotations

import operator
import os
import sys
import threading

import numpy as np

from torchlike._core.errors import PACKAGE, NotSupported

_NUMBERS = (int, float)


class _Tracing(threading.local):
    """Per thread: what decides on open sizes while a program is traced for export, else None."""

    scope = None


tracing = _Tracing()


class _Symbolic:
    __slots__ = ()

    def __init__(self, node):
        raise NotSupported(
            f"making a torch.{type(self).__name__}", "torch.export.Dim marks a size as open"
        )


# Where strides are worked out: whether a size is 1 or more changes no number there.
_LAYOUT = os.path.join(PACKAGE, "_tensor", "views.py")


def _asker() -> str:
    """Whose code compares, two calls up: the "user"'s, "ours", or the "layout"'s."""
    name = sys._getframe(2).f_code.co_filename
    if not name.startswith(PACKAGE):
        return "user"
    return "layout" if name == _LAYOUT else "ours"


def _expr(x):
    """What stands for a number in an expression; None for what is no whole number."""
    if x.__class__ is int or x.__class__ is bool:
        return int(x)
    if isinstance(x, SymInt):
        return x.expr
    if isinstance(x, int):
        return int(x)
    return None


class SymInt(_Symbolic):
    """A size that an exported program leaves open.

    expr is an expression of JAX in the names of open sizes; scope decides what depends on them
    (``torchlike.export._symbols.Symbols``).
    """

    __slots__ = ("expr", "scope")
    __array_priority__ = 2000

    def _new(self, expr):
        return symint(expr, self.scope)

    # ---- arithmetic ----------------------------------------------------------------------------

    def __add__(self, other):
        return _arithmetic(self, other, lambda a, b: a + b)

    def __radd__(self, other):
        return _arithmetic(self, other, lambda a, b: b + a)

    def __sub__(self, other):
        return _arithmetic(self, other, lambda a, b: a - b)

    def __rsub__(self, other):
        return _arithmetic(self, other, lambda a, b: b - a)

    def __mul__(self, other):
        return _arithmetic(self, other, lambda a, b: a * b)

    def __rmul__(self, other):
        return _arithmetic(self, other, lambda a, b: b * a)

    def __floordiv__(self, other):
        return _arithmetic(self, other, lambda a, b: a // b)

    def __rfloordiv__(self, other):
        return _arithmetic(self, other, lambda a, b: b // a)

    def __mod__(self, other):
        return _arithmetic(self, other, lambda a, b: a % b)

    def __rmod__(self, other):
        return _arithmetic(self, other, lambda a, b: b % a)

    def __divmod__(self, other):
        return self // other, self % other

    def __truediv__(self, other):
        return _float_of(self) / other if _is_number(other) else NotImplemented

    def __rtruediv__(self, other):
        return other / _float_of(self) if _is_number(other) else NotImplemented

    def __pow__(self, other):
        if other.__class__ is int and other >= 0:
            out = 1
            for _ in range(other):
                out = out * self
            return out
        return _float_of(self) ** other if _is_number(other) else NotImplemented

    def __rpow__(self, other):
        return other ** _float_of(self) if _is_number(other) else NotImplemented

    def __neg__(self):
        return self._new(-self.expr)

    def __pos__(self):
        return self

    def __abs__(self):
        return self if self >= 0 else -self

    # ---- comparison ----------------------------------------------------------------------------

    def __eq__(self, other):
        other = _expr(other)
        if other is None:
            return NotImplemented
        return self.scope.equal(self.expr, other, _asker())

    def __ne__(self, other):
        other = _expr(other)
        if other is None:
            return NotImplemented
        return not self.scope.equal(self.expr, other, _asker())

    def __ge__(self, other):
        bound = _expr(other)
        if bound is None:
            return _float_of(self) >= other if _is_number(other) else NotImplemented
        return self.scope.at_least(self.expr, bound, _asker())

    def __lt__(self, other):
        bound = _expr(other)
        if bound is None:
            return _float_of(self) < other if _is_number(other) else NotImplemented
        return not self.scope.at_least(self.expr, bound, _asker())

    def __le__(self, other):
        bound = _expr(other)
        if bound is None:
            return _float_of(self) <= other if _is_number(other) else NotImplemented
        return self.scope.at_least(bound, self.expr, _asker())

    def __gt__(self, other):
        bound = _expr(other)
        if bound is None:
            return _float_of(self) > other if _is_number(other) else NotImplemented
        return not self.scope.at_least(bound, self.expr, _asker())

    def __hash__(self):
        return hash(("SymInt", self.expr))

    # ---- what needs the number itself ----------------------------------------------------------

    def __bool__(self):
        return not self.scope.equal(self.expr, 0, _asker())

    def __index__(self):
        return self.scope.number(self.expr)

    __int__ = __index__

    def __float__(self):
        return float(self.scope.number(self.expr))

    __round__ = __trunc__ = __floor__ = __ceil__ = __pos__

    # ---- asking --------------------------------------------------------------------------------

    def is_integer(self) -> bool:
        """True."""
        return True

    @property
    def node(self):
        """The expression; PyTorch's own nodes there are none of."""
        return self.expr

    def __repr__(self):
        return str(self.expr)

    def __deepcopy__(self, memo):
        return self

    def __reduce__(self):
        raise NotSupported("pickling an open size", "int(size) makes it a number")


class SymFloat(_Symbolic):
    """A number computed from open sizes, such as ``x.shape[0] / 2``: array is a 0-d JAX array."""

    __slots__ = ("array", "scope")
    __array_priority__ = 2000

    def _with(self, other, function):
        if isinstance(other, SymInt):
            other = _float_of(other)
        if isinstance(other, SymFloat):
            other = other.array
        elif not isinstance(other, _NUMBERS):
            return NotImplemented
        out = object.__new__(SymFloat)
        out.array, out.scope = function(self.array, other), self.scope
        return out

    def __add__(self, other):
        return self._with(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other):
        return self._with(other, lambda a, b: a - b)

    def __rsub__(self, other):
        return self._with(other, lambda a, b: b - a)

    def __mul__(self, other):
        return self._with(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __truediv__(self, other):
        return self._with(other, lambda a, b: a / b)

    def __rtruediv__(self, other):
        return self._with(other, lambda a, b: b / a)

    def __pow__(self, other):
        return self._with(other, lambda a, b: a**b)

    def __rpow__(self, other):
        return self._with(other, lambda a, b: b**a)

    def __neg__(self):
        return self._with(-1.0, lambda a, b: a * b)

    def _refuse(self, *args):
        self.scope.refuse("a number computed from open sizes is needed as a Python number")

    __float__ = __int__ = __bool__ = __index__ = __trunc__ = __round__ = __floor__ = _refuse
    __ceil__ = __eq__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self):
        return "SymFloat"


class SymBool(_Symbolic):
    """A bool that is not known yet: there are none, comparisons are decided at once."""


def _is_number(x) -> bool:
    return isinstance(x, (*_NUMBERS, SymInt, SymFloat))


def _arithmetic(a: SymInt, b, function):
    other = _expr(b)
    if other is not None:
        return symint(function(a.expr, other), a.scope)
    if isinstance(b, (float, SymFloat)):
        return function(_float_of(a), b)
    return NotImplemented


def _float_of(x: SymInt) -> SymFloat:
    out = object.__new__(SymFloat)
    out.array, out.scope = x.scope.as_float(x.expr), x.scope
    return out


def symint(expr, scope):
    """A SymInt of an expression; a constant one is a plain number."""
    if expr.__class__ is int:
        return expr
    out = object.__new__(SymInt)
    out.expr, out.scope = expr, scope
    return out


def whole(n) -> int:
    """``operator.index(n)``, but an open size as it is."""
    return n if n.__class__ is SymInt else operator.index(n)


def is_whole(n) -> bool:
    """Whether a number is an integer: Python's, NumPy's, or an open size."""
    return isinstance(n, (int, SymInt, np.integer))


def is_one(n) -> bool:
    """Whether a size is 1, where another answer means another number of dimensions."""
    return n.scope.is_one(n.expr) if n.__class__ is SymInt else n == 1


def opened(statics):
    """Static arguments with the expressions of the open sizes in them; whether there are any."""
    if statics.__class__ is SymInt:
        return statics.expr, True
    if statics.__class__ is not tuple:
        return statics, False
    parts = [opened(x) for x in statics]
    if not any(found for _, found in parts):
        return statics, False
    return tuple([x for x, _ in parts]), True


for _class in (SymInt, SymFloat, SymBool):
    _class.__module__ = "torchlike"
