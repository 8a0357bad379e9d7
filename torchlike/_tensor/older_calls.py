"""PyTorch's oldest calls of sums of products: ``x.add_(alpha, other)``, numbers before tensors."""

from __future__ import annotations

from torchlike._core import errors
from torchlike._core.errors import warn
from torchlike._tensor import dispatch

# op -> the keyword that the leading number of its old call has now
LEADING = {"add": "alpha", "sub": "alpha", "addcmul": "value", "addcdiv": "value"} | dict.fromkeys(
    ("addmm", "addmv", "addr", "addbmm", "baddbmm"), "beta"
)
_warned: list[str] = []  # PyTorch speaks of the first such call of a process


def operands(op) -> list[str]:
    """The names of an op's positional parameters: its tensors."""
    return [p.name for p in op.params if p.kind is not p.KEYWORD_ONLY]


def rearranged(function, form: str, op, given: tuple):
    """Today's arguments for the positional ones of an old call: (tensors, numbers by name).

    Raises ``TypeError`` where they are in none of the old orders, as for any argument too many.
    """
    places = _places(LEADING[op.name], form, len(operands(op)), len(given))
    numbers = {name: given[i] for i, name in places.items()}
    tensors = [x for i, x in enumerate(given) if i not in places]
    only = tensors[:1] if LEADING[op.name] != "beta" else tensors  # the others may be numbers
    if not (
        places
        and all(isinstance(x, dispatch._Tensor) for x in only)
        and not any(isinstance(x, dispatch._Tensor) for x in numbers.values())
    ):
        raise TypeError(
            f"{function.__qualname__}() takes {len(operands(op))} positional arguments but "
            f"{len(given)} were given"
        )
    others = ", ".join(f"Tensor {name}" for name in operands(op)[1:])
    old = ", ".join(f"Number {name}" for name in numbers)
    now = ", ".join(f"Number {name} = 1" for name in numbers)
    call = function.__name__
    if errors.always or not _warned:
        _warned.append(call)
        warn(
            f"This overload of {call} is deprecated:\n\t{call}({old}, {others})\nConsider using "
            f"one of the following signatures instead:\n\t{call}({others}, *, {now})"
        )
    return tensors, numbers


def _places(leading: str, form: str, needed: int, count: int) -> dict[int, str]:
    """Which positions of an old call are numbers, and their names; none where nothing fits."""
    if leading != "beta":
        orders = {1: {1: leading}}
    elif form == "function":  # beta, input, alpha, ...
        orders = {1: {0: "beta"}, 2: {0: "beta", 2: "alpha"}}
    else:  # input.addmm(beta, alpha, ...)
        orders = {1: {1: "beta"}, 2: {1: "beta", 2: "alpha"}}
    return orders.get(count - needed, {})
