"""torch.Size: the shape of a tensor, a tuple that prints and slices as PyTorch's."""

from __future__ import annotations

from math import prod
from operator import index as whole

from torchlike._core.symbolic import SymInt


class _SizeType(type):
    """Checks what a ``Size`` is made of when the class is called; tensors' shapes need no check."""

    def __call__(cls, iterable=(), /):
        sizes = tuple(iterable)
        for at, n in enumerate(sizes):
            if n.__class__ is not int:
                sizes = (*sizes[:at], _whole(at, n), *sizes[at + 1 :])
        return type.__call__(cls, sizes)


class Size(tuple, metaclass=_SizeType):
    """A shape: a tuple of ints with ``numel()`` (https://pytorch.org/docs/stable/size.html).

    Raises ``TypeError`` for elements that are no whole numbers.
    """

    __slots__ = ()

    def numel(self) -> int:
        """The number of elements of a tensor of this shape."""
        return prod(self)

    def __repr__(self) -> str:
        return f"torch.Size([{', '.join(map(str, self))}])"

    __str__ = __repr__

    def __getitem__(self, index):
        item = tuple.__getitem__(self, index)
        return of_shape(item) if isinstance(index, slice) else item

    def __add__(self, other):
        if not isinstance(other, tuple):
            return NotImplemented
        return Size(tuple.__add__(self, other))

    def __radd__(self, other):
        return Size(tuple(other) + tuple(self))

    def __mul__(self, count):
        return of_shape(tuple.__mul__(self, count))

    __rmul__ = __mul__

    def __reduce__(self):
        return Size, (tuple(self),)


def _whole(at: int, n):
    if isinstance(n, SymInt):  # an open size of an exported program
        return n
    try:
        return whole(n)
    except TypeError:
        raise TypeError(
            f"torch.Size() takes an iterable of 'int' (item {at} is '{type(n).__name__}')"
        ) from None


of_shape = type.__call__.__get__(Size)  # for what is known to be one, as fast as a plain call
