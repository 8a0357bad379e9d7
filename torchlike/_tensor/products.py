"""Frontends of products: matmul by rank, outer, einsum, tensordot, chains, cross."""

from __future__ import annotations

from itertools import pairwise

from torchlike._core import dtypes as dt
from torchlike._core.errors import type_name, warn_once
from torchlike._ops.einsum import letter, parse
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import apply, aval_of, into
from torchlike._tensor.forms import FUNCTIONS, alias, function
from torchlike._tensor.shapes import named, wrap_dim

_MM, _MV, _DOT, _MATMUL = (TABLE[name] for name in ("mm", "mv", "dot", "matmul"))


def need_tensor(op: str, name: str, position: int, x) -> None:
    """Raise PyTorch's ``TypeError`` unless ``x`` is a tensor."""
    if not isinstance(x, dispatch._Tensor):
        raise TypeError(
            f"{op}(): argument '{name}' (position {position}) must be Tensor, not {type_name(x)}"
        )


def readable(x) -> bool:
    """Whether the numbers of an argument can be read here: a tensor of the CPU, not traced."""
    return isinstance(x, dispatch._Tensor) and x.device.type == "cpu" and not x._value.is_traced()


def check_tolerances(name, **given) -> None:
    """Raise PyTorch's error for a complex tensor among the tolerances of a rank."""
    for argument, x in given.items():
        if hasattr(x, "is_complex") and x.is_complex():
            raise RuntimeError(
                f"torch.linalg.{name}: {argument} tensor of complex type is not supported. Got "
                f"{dt.SCALAR_NAMES[x.dtype]}"
            )


def need_tensors(op: str, name: str, xs) -> tuple:
    """A sequence of tensors as a tuple; raises PyTorch's ``TypeError`` for anything else."""
    if isinstance(xs, dispatch._Tensor) or not isinstance(xs, (tuple, list)):
        raise TypeError(
            f"{op}(): argument '{name}' (position 1) must be tuple of Tensors, not "
            f"{type(xs).__name__}"
        )
    for i, x in enumerate(xs):
        if not isinstance(x, dispatch._Tensor):
            raise TypeError(
                f"expected Tensor as element {i} in argument 0, but got {type(x).__name__}"
            )
    return tuple(xs)


@function(method=True)
def matmul(input, other, *, out=None):
    """The matrix product (https://pytorch.org/docs/stable/generated/torch.matmul.html)."""
    need_tensor("matmul", "input", 1, input)
    need_tensor("matmul", "other", 2, other)
    m, n = input._value.aval.ndim, other._value.aval.ndim
    if m == 2:
        op = _MM if n == 2 else _MV if n == 1 else _MATMUL
    else:
        op = _DOT if m == 1 and n == 1 else _MATMUL
    return into(out, apply(op, (input, other)), exact=True)


@function(method=True)
def outer(input, vec2, *, out=None):
    """Every element of one vector times every element of another."""
    for x, name in ((input, "self"), (vec2, "vec2")):
        need_tensor("outer", name, 1, x)
        if x._value.aval.ndim != 1:
            raise RuntimeError(
                f"outer: Expected 1-D argument {name}, but got {x._value.aval.ndim}-D"
            )
    return into(out, apply(TABLE["outer"], (input, vec2)))


class einsum_order:  # two switches, set through torch.backends.opt_einsum
    """In which order einsum multiplies: a good one is looked for, or from left to right."""

    enabled = True
    strategy = "auto"


@function()
def einsum(*args):
    """Sums of products by an equation (https://pytorch.org/docs/stable/generated/torch.einsum.html)."""
    if not args:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    if isinstance(args[0], str):
        equation, operands = args[0], args[1:]
        if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
            operands = tuple(operands[0])
    else:
        equation, operands = _from_sublists(args)
    if not operands:
        raise ValueError("einsum(): must specify the equation string and at least one operand")
    for i, x in enumerate(operands):
        need_tensor("einsum", "operands", i + 2, x)
    if len(operands) == 1:
        shown = _rearranged(equation, operands[0])
        if shown is not None:
            return shown
    order = einsum_order
    return apply(
        TABLE["einsum"], tuple(operands), (equation, order.strategy if order.enabled else "left")
    )


def _rearranged(equation: str, x):
    """A view of one operand whose dimensions are put in order and its diagonals taken; None where
    something is summed, or the op has an error to raise."""
    (term,), result = parse(equation, [x.ndim])
    if set(term) - set(result):
        return None
    for label in set(term):
        while term.count(label) > 1:
            i = term.index(label)
            j = term.index(label, i + 1)
            if x.shape[i] != x.shape[j]:
                return None
            x = FUNCTIONS["diagonal"](x, 0, i, j)
            term = [*term[:i], *term[i + 1 : j], *term[j + 1 :], label]
    out = FUNCTIONS["permute"](x, [term.index(label) for label in result])
    return named(out, "PermuteBackward0")


def _from_sublists(args):
    terms = [_term(sublist) for sublist in args[1::2]]
    equation = ",".join(terms)
    if len(args) % 2:
        equation += "->" + _term(args[-1])
    return equation, args[:-1:2] if len(args) % 2 else args[::2]


def _term(sublist) -> str:
    text = ""
    for label in sublist:
        if label is Ellipsis:
            text += "..."
        elif isinstance(label, int) and 0 <= label < 52:
            text += letter(label)
        else:
            raise ValueError(
                f"einsum(): operand subscript {label!r} is not within the valid range [0, 52)"
            )
    return text


@function()
def tensordot(a, b, dims=2, out=None):
    """The product over ``dims`` last and first dimensions, or over given pairs of dimensions."""
    need_tensor("tensordot", "a", 1, a)
    need_tensor("tensordot", "b", 2, b)
    m, n = a._value.aval.ndim, b._value.aval.ndim
    if isinstance(dims, dispatch._Tensor):
        dims = dims.tolist() if dims.numel() > 1 else dims.item()
    if isinstance(dims, (tuple, list)):
        if len(dims) != 2:
            raise RuntimeError("tensordot expects dims to be a pair of lists of dimensions")
        dims_a, dims_b = ((d,) if isinstance(d, int) else tuple(d) for d in dims)
    else:
        if dims < 0:
            raise RuntimeError(f"tensordot expects dims >= 0, but got dims={dims}")
        if dims > min(m, n):
            raise RuntimeError(f"tensordot expects dims < ndim_a or ndim_b, but got dims={dims}")
        dims_a, dims_b = tuple(range(-dims, 0)), tuple(range(dims))
    if len(dims_a) != len(dims_b):
        raise RuntimeError("both dimension lists should have same length")
    dims_a = tuple(wrap_dim(d, m) for d in dims_a)
    dims_b = tuple(wrap_dim(d, n) for d in dims_b)
    for dims in (dims_a, dims_b):
        for i, d in enumerate(dims):
            if d in dims[:i]:
                raise RuntimeError(f"dim {d} appears multiple times in the list of dims")
    return into(
        out, apply(TABLE["tensordot"], (a, b), (dims_a, dims_b)),
        dispatch.CONTRACTED_OUT,
    )  # fmt: skip


CHAIN_OUT = "multi_dot(): expected out tensor to have dtype {c_want} but got {c_got}"


@function()
def chain_matmul(*matrices, out=None):
    """The product of several matrices, in the order that costs least."""
    warn_once(
        "torch.chain_matmul is deprecated and will be removed in a future PyTorch release. Use "
        "torch.linalg.multi_dot instead, which accepts a list of two or more tensors."
    )
    if len(matrices) == 1 and isinstance(matrices[0], (tuple, list)):
        matrices = tuple(matrices[0])
    if not matrices:
        raise RuntimeError("chain_matmul(): Expected one or more matrices")
    for i, x in enumerate(matrices):
        need_tensor("chain_matmul", "matrices", i + 1, x)
        if x.ndim != 2:
            raise RuntimeError(f"Tensor dimension is {x.ndim}, expected 2 instead.")
    for i, (x, y) in enumerate(pairwise(matrices)):
        if x.shape[1] != y.shape[0]:
            raise RuntimeError(
                f"multi_dot(): tensors {i} and {i + 1} with shapes {list(x.shape)} and "
                f"{list(y.shape)} cannot be multiplied"
            )
    if len(matrices) == 1:
        return matrices[0] if out is None else out.resize_(matrices[0].shape).copy_(matrices[0])
    return into(out, multiply_chain(matrices), CHAIN_OUT)


def multiply_chain(matrices):
    """The product of matrices that fit, parenthesised for the fewest multiplications."""
    sizes = [matrices[0].shape[0], *(x.shape[1] for x in matrices)]
    n = len(matrices)
    best: dict = {(i, i + 1): (0, i) for i in range(n)}
    for length in range(2, n + 1):
        for i in range(n - length + 1):
            j = i + length
            best[i, j] = min(
                (best[i, k][0] + best[k, j][0] + sizes[i] * sizes[k] * sizes[j], k)
                for k in range(i + 1, j)
            )

    def build(i, j):
        if j - i == 1:
            return matrices[i]
        k = best[i, j][1]
        return apply(_MM, (build(i, k), build(k, j)))

    return build(0, n)


@function(method=True)
def cross(input, other, dim=None, *, out=None):
    """The cross product along ``dim``, by default the first dimension of size three."""
    need_tensor("cross", "input", 1, input)
    need_tensor("cross", "other", 2, other)
    m, n = input._value.aval.ndim, other._value.aval.ndim
    if m != n:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    if dim is None:
        warn_once(
            "Using torch.cross without specifying the dim arg is deprecated.\nPlease either pass "
            "the dim explicitly or simply use torch.linalg.cross.\nThe default value of dim will "
            "change to agree with that of linalg.cross in a future release."
        )
        dim = next((d for d, k in enumerate(input._value.aval.shape) if k == 3), None)
        if dim is None:
            raise RuntimeError("no dimension of size 3 in input")
    return into(out, apply(TABLE["cross_dim"], (input, other), (wrap_dim(dim, m),)), exact=True)


_COMPUTE_MODES = (
    "use_mm_for_euclid_dist_if_necessary",
    "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)


@function()
def cdist(x1, x2, p=2.0, compute_mode="use_mm_for_euclid_dist_if_necessary"):
    """The p-norm distances between the rows of two batches of matrices."""
    for x, name in ((x1, "X1"), (x2, "X2")):
        if aval_of(x).ndim < 2:
            raise RuntimeError(
                f"cdist only supports at least 2D tensors, {name} got: {x._value.aval.ndim}D"
            )
    a, b = x1._value.aval.shape, x2._value.aval.shape
    if a[-1] != b[-1]:
        raise RuntimeError(
            f"X1 and X2 must have the same number of columns. X1: {a[-1]} X2: {b[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist only supports non-negative p values")
    for x, name in ((x1, "X1"), (x2, "X2")):
        if not x.is_floating_point():
            raise RuntimeError(
                f"cdist only supports floating-point dtypes, {name} got: {dt.SCALAR_NAMES[x.dtype]}"
            )
    if compute_mode not in _COMPUTE_MODES:
        raise ValueError(f"{compute_mode} is not a valid value for compute_mode")
    return apply(TABLE["cdist_p"], (x1, x2), (float(p),))


alias("ger", "outer")
_ = FUNCTIONS
