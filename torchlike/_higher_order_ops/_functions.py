"""What the control-flow functions share: trees of tensors, and functions of them as bodies."""

from __future__ import annotations

from torchlike._core.errors import NotTraceable
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.bodies import trace
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees


class Recorded:
    """A function of trees of tensors, run once: its body and the structure of what it returned.

    leaves are the results' leaves: avals of tensors, or the numbers that were returned.
    """

    __slots__ = ("at", "leaves", "spec", "traced")

    def __init__(self, function, avals, wants):
        self.at = []  # which leaves are tensors

        def flat(*tensors):
            leaves, self.spec = trees.flatten(function(*tensors))
            self.at = [i for i, x in enumerate(leaves) if isinstance(x, Tensor)]
            self.leaves = leaves
            return [leaves[i] for i in self.at]

        self.traced = trace(flat, avals, wants)
        for i, a in zip(self.at, self.traced.avals, strict=True):
            self.leaves[i] = a

    @property
    def body(self):
        """The body for an op's static argument."""
        return self.traced.body

    @property
    def extra(self) -> list:
        """The operands that the body takes besides its arguments."""
        return self.traced.extra

    def captures_history(self) -> bool:
        """Whether it captured something that requires grad."""
        return modes.grad and any(isinstance(x, Tensor) and x.requires_grad for x in self.extra)

    def restore(self, tensors, constant=True):
        """The tree of the results; those that autograd did not follow are off the tape."""
        leaves = list(self.leaves)
        for i, t, seen in zip(self.at, tensors, self.traced.seen, strict=True):
            leaves[i] = t if seen or not constant else t.detach()
        return trees.unflatten(leaves, self.spec)


def record_loop(function, avals, tensors) -> Recorded:
    """A loop's body: where one of its arguments requires grad, so do all in the next turn."""
    wants = modes.grad and any(t.requires_grad for t in tensors)
    found = Recorded(function, avals, [wants] * len(avals))
    if not wants and found.captures_history():
        found = Recorded(function, avals, [True] * len(avals))
    return found


def call(op: str, operands, statics) -> list:
    """The results of a control-flow op, as a list."""
    out = dispatch.apply(TABLE[op], operands, statics)
    return list(out) if isinstance(out, tuple) else [out]


def avals_of(tensors) -> list:
    """Shapes, dtypes and devices of tensors, of one sample inside vmap."""
    return [dispatch.value_of(t).aval for t in tensors]


def is_readable(*tensors) -> bool:
    """Whether numbers can be read now, so that a Python loop could do the same."""
    return not modes.bodies and not any(dispatch.value_of(t).is_traced() for t in tensors)


def eager(error: NotTraceable, tensors) -> None:
    """Let a Python loop take over where it can; else the error stands."""
    if not is_readable(*tensors):
        raise error


def same_metadata(found, wanted, names: tuple[str, str], what=("shape", "dtype")) -> None:
    """Raise PyTorch's error where two lists of avals differ."""
    left, right = names
    if len(found) != len(wanted):
        raise RuntimeError(
            f"Expected {left} and {right} to have same number of outputs but got lhs:{found} and "
            f"rhs:{wanted}"
        )
    pairs = []
    for i, (a, b) in enumerate(zip(found, wanted, strict=True)):
        texts = [
            f"'{name}: {getattr(a, name)} vs {getattr(b, name)}'"
            for name in what
            if getattr(a, name) != getattr(b, name)
        ]
        if texts:
            pairs.append(f"pair[{i}] differ in {', '.join(texts)}")
    if pairs:
        raise RuntimeError(
            f"Expected {left} and {right} to have same metadata but found:\n" + "\n".join(pairs)
        )


def dimension(dim: int, rank: int) -> int:
    """A dimension counted from the front; raises ``IndexError`` if there is none such."""
    if not -rank <= dim < rank:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-rank}, {rank - 1}], but got "
            f"{dim})"
        )
    return dim % rank
