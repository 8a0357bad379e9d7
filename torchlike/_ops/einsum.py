"""einsum: PyTorch's equation language over jnp.einsum."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from torchlike._ops.join import common_dtype
from torchlike._ops.matmul import check_same_scalar
from torchlike._ops.table import Arrays, op

ELLIPSIS = 52  # labels from here on are the dimensions behind an ellipsis
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def letter(label: int) -> str:
    """The letter of a label below 52."""
    return _LETTERS[label]


def _labels(text: str, offset: int, who: str) -> list:
    """Labels of one term: numbers below 52, and Ellipsis."""
    out, i = [], 0
    while i < len(text):
        char = text[i]
        if char == " ":
            pass
        elif char == ".":
            if text[i : i + 3] != "...":
                raise RuntimeError(
                    f"einsum(): found '.' for {who} that is not part of any ellipsis"
                )
            if Ellipsis in out:
                raise RuntimeError(
                    f"einsum(): found '.' for {who} for which an ellipsis was already found"
                )
            out.append(Ellipsis)
            i += 2
        elif char in _LETTERS:
            out.append(_LETTERS.index(char))
        else:
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {offset + i} in the equation string, "
                "subscripts must be in [a-zA-Z]"
            )
        i += 1
    return out


def parse(equation: str, ndims) -> tuple[list, list]:
    """(labels of each operand, labels of the result), ellipses written out."""
    left, arrow, right = equation.partition("->")
    offset, terms = 0, []
    for i, text in enumerate(left.split(",")):
        terms.append(_labels(text, offset, f"operand {i}"))
        offset += len(text) + 1
    if len(terms) != len(ndims):
        few = "fewer" if len(ndims) < len(terms) else "more"
        raise RuntimeError(f"einsum(): {few} operands were provided than specified in the equation")
    hidden = 0
    for i, (term, n) in enumerate(zip(terms, ndims, strict=True)):
        named = len(term) - (Ellipsis in term)
        if Ellipsis in term and named <= n:
            hidden = max(hidden, n - named)
        elif named != n:
            given = "but no ellipsis was given" if Ellipsis not in term else ""
            more = (
                f"({named}) does not match the number of dimensions ({n}) for operand {i} and no "
                "ellipsis was given" if given else
                f"({named}) is more than the number of dimensions ({n}) for operand {i}"
            )  # fmt: skip
            raise RuntimeError(f"einsum(): the number of subscripts in the equation {more}")
    dots = [ELLIPSIS + k for k in range(hidden)]
    full = []
    for term, n in zip(terms, ndims, strict=True):
        here = dots[hidden - (n - len(term) + 1) :] if Ellipsis in term else []
        full.append([y for x in term for y in (here if x is Ellipsis else [x])])
    if not arrow:
        counts: dict = {}
        for term in full:
            for x in term:
                counts[x] = counts.get(x, 0) + 1
        return full, dots + sorted(x for x, k in counts.items() if k == 1 and x < ELLIPSIS)
    result = []
    for x in _labels(right, offset + 1, "the output"):
        if x is Ellipsis:
            result += dots
            continue
        if x in result:
            raise RuntimeError(
                f"einsum(): output subscript {letter(x)} appears more than once in the output"
            )
        if not any(x in term for term in full):
            raise RuntimeError(
                f"einsum(): output subscript {letter(x)} does not appear in the equation for any "
                "input operand"
            )
        result.append(x)
    return full, result


def _node(c):
    """One operand is permuted or summed; several are multiplied, or contracted at last by bmm."""
    terms, result = parse(c.equation, [x.ndim for x in c.operands])
    if len(terms) == 1:
        return "SumBackward1" if set(terms[0]) - set(result) else "PermuteBackward0"
    shared = set(terms[-1]) & {label for term in terms[:-1] for label in term}
    return "ViewBackward0" if shared - set(result) else "MulBackward0"


def _sums_one(terms, result, sizes) -> bool:
    """Whether a dimension of one operand alone is summed, and not as part of a product."""
    for i, term in enumerate(terms):
        alone = set(term).difference(result, *terms[:i], *terms[i + 1 :])
        if not alone.isdisjoint(sizes):  # those of size one are not there
            return True
    return False


@op("einsum", multilinear=True, grad_name=_node)
def einsum(operands: Arrays, equation: str, order: str = "auto"):
    """Sums of products over named dimensions; ``order`` says which are multiplied first."""
    terms, result = parse(equation, [x.ndim for x in operands])
    sizes: dict = {}
    for i, (x, term) in enumerate(zip(operands, terms, strict=True)):
        own: dict = {}
        for label, n in zip(term, x.shape, strict=True):
            if own.setdefault(label, n) != n:
                raise RuntimeError(
                    f"einsum(): subscript {letter(label)} is repeated for operand {i} but the "
                    f"sizes don't match, {n} != {own[label]}"
                )
            seen = sizes.get(label, 1)
            if n != 1 and seen not in (1, n):
                name = letter(label) if label < ELLIPSIS else "..."
                raise RuntimeError(
                    f"einsum(): subscript {name} has size {n} for operand {i} which does not "
                    f"broadcast with previously seen size {seen}"
                )
            if n != 1:
                sizes[label] = n
    if len({x.dtype for x in operands}) > 1:
        if len(operands) == 2 and set(terms[1]) - set(result):  # PyTorch multiplies matrices
            check_same_scalar(*operands)
        common = common_dtype(operands)
        operands = [x.astype(common) for x in operands]
    if operands[0].dtype.kind in "biu" and _sums_one(terms, result, sizes):
        operands = [x.astype(np.int64) for x in operands]  # as sum() does
    args = []
    for x, term in zip(operands, terms, strict=True):
        # A dimension of size one broadcasts: leave its label to the operands that have more.
        keep = [k for k, label in enumerate(term) if x.shape[k] == sizes.get(label, 1)]
        args += [x.reshape([x.shape[k] for k in keep]), [term[k] for k in keep]]
    full = operands[0].dtype in (jnp.float32, jnp.complex64)
    if order == "auto" and len(operands) <= 5:
        order = "optimal"
    return jnp.einsum(
        *args, result, optimize=order != "left" and order,
        precision="highest" if full else None,
    )  # fmt: skip
