"""Rows of gather and scatter, and index expressions read and written on both sides."""

import random

import numpy as np
import pytest

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, to_numpy, torch

M, V, X = T((3, 4)), T((4,)), T((2, 3, 4))
INT = T((3, 4), "int64")
MASK = np.array([[1, 0, 1, 0], [0, 0, 0, 0], [1, 1, 1, 0]], bool)
ALL = ("method", "inplace")


def at(*rows, dtype="int64"):
    return np.array(rows, dtype)


ROWS = [
    Row(
        "gather",
        [
            S(M, 1, at([0, 2], [1, 1], [3, 0])),
            S(M, 0, at([0, 2, 1, 0])),
            S(M, -1, at([0], [3])),
            S(T(), 0, np.array(0)),
            S(T(), 0, at(0, 0)),
            S(M, 1, at(dtype="int64").reshape(0, 2)),
            S(X, 1, at([[0, 2]], [[1, 1]])),
            S(INT, dim=1, index=at([0, 0, 0, 0], [3, 3, 3, 3])),
            S(M, 1, at([0, 2], [1, 1], dtype="int32")),
        ],
        forms=("method", "out"),
        errors=[
            S(M, 1, at(0, 1)),
            S(M, 0, at([0, 0, 0, 0, 0])),
            S(M, 1, at([5])),
            S(M, 1, at([-1])),
            S(M, 1, M),
            S(M, 1, at([0], dtype="int16")),
            S(M, 3, at([0])),
            S(M, 0, 1),
        ],
    ),
    Row(
        "scatter",
        [
            S(M, 1, at([0, 2], [1, 0], [3, 0]), T((3, 2))),
            S(M, 1, at([0], [3]), 2.5),
            S(M, 1, at([0], [3]), value=1),
            S(T(), 0, at(0), T((1,))),
            S(INT, 1, at([0], [3]), 7),
            S(M, -1, at([0, 2]), T((1, 2))),
        ],
        forms=ALL,
        errors=[
            S(M, 1, at([5]), 1.0),
            S(M, 1, at([0], [0]), T((1, 1))),
            S(M, 1, at([0]), T((1, 1), "float64")),
            S(M, 1, at([0], [0], [0], [0]), T((4, 1))),
            S(M, 1, at(0), T((2, 1))),
            S(M, 1, M, T((3, 4))),
            S(M, 1, at([0]), T((1, 1)), reduce="zz"),
            S(M, 1, at([0])),
        ],
    ),
    # PyTorch has no gradient for a source larger than the index.
    Row(
        "scatter",
        [
            S(M, 0, at([0, 2, 1, 0]), T((2, 5))),
            S(M, -1, at([0, 2]), T((1, 3))),
            S(M, 0, at().reshape(0, 4), T((3, 4))),
        ],
        grad=False,
        forms=ALL,
    ),
    Row("scatter_add", [S(M, 0, at([0, 2, 1, 0]), T((2, 5)))], grad=False, forms=ALL),
    Row(
        "scatter",
        [
            S(M, 1, at([0, 0], [1, 0]), T((3, 2)), reduce="add"),
            S(M, 1, at([0, 0], [1, 0]), T((3, 2)), reduce="multiply"),
            S(M, 1, at([0, 2], [1, 0]), 3, reduce="add"),
        ],
        grad=False,
        forms=ALL,
    ),
    Row(
        "scatter_add",
        [
            S(M, 1, at([0, 0], [1, 1], [3, 0]), T((3, 2))),
            S(INT, 1, at([1, 1], [2, 2]), T((2, 2), "int64")),
        ],
        forms=ALL,
        errors=[
            S(M, 1, at([0], [0]), T((1, 1))),
            S(M, 1, at([0]), T((1, 1), "float64")),
            S(M, 1, at([9]), T((1, 1))),
        ],
    ),
    Row(
        "scatter_reduce",
        [
            S(M, 1, at([0, 0], [1, 1], [3, 0]), T((3, 2)), r, include_self=i)
            for r in ("sum", "mean", "prod", "amax", "amin")
            for i in (True, False)
        ]
        + [
            S(INT, 1, at([0, 0], [1, 1], [3, 0]), T((3, 2), "int64"), r)
            for r in ("sum", "mean", "prod", "amax")
        ],
        forms=ALL,
        second=False,
        errors=[S(M, 1, at([0]), T((1, 1)), "zz"), S(M, 1, at([0]), T((1, 1), "float64"), "sum")],
    ),
    Row(
        "index_select",
        [
            S(M, 0, at(0, 2)),
            S(M, 1, at(3, 3, 0)),
            S(M, -1, at()),
            S(T(), 0, at(0)),
            S(V, 0, np.array(1)),
            S(X, dim=1, index=at(2, 0, dtype="int32")),
        ],
        forms=("method", "out"),
        errors=[S(M, 0, at(5)), S(M, 0, at(-1)), S(M, 0, at([0])), S(M, 0, V), S(M, 2, at(0))],
    ),
    Row(
        "index_add",
        [
            S(M, 0, at(0, 2), T((2, 4))),
            S(M, 1, at(0, 0, 3), T((3, 3))),
            S(M, 0, at(0, 2), T((2, 4)), alpha=2),
            S(INT, 0, at(1), T((1, 4), "int64"), alpha=3),
            S(V, 0, at(1, 1), T((2,))),
        ],
        forms=ALL,
        errors=[
            S(M, 0, at(0), T((1, 5))),
            S(M, 0, at(0, 1), T((1, 4))),
            S(M, 0, at(5), T((1, 4))),
            S(M, 0, at(0), T((1, 4), "float64")),
        ],
    ),
    Row(
        "index_copy",
        [S(M, 0, at(0, 2), T((2, 4))), S(M, 1, at(3, 0), T((3, 2))), S(V, 0, at(1), T((1,)))],
        forms=ALL,
        errors=[
            S(M, 0, at(0), T((1, 5))),
            S(M, 0, at(0, 1), T((1, 4))),
            S(M, 0, at(5), T((1, 4))),
            S(M, 0, at(0), T((1, 4), "float64")),
        ],
    ),
    Row(
        "index_fill",
        [S(M, 0, at(0, 2), 1.5), S(M, 1, at(-1), 2), S(M, 1, at(0, 0), T()), S(INT, 0, at(1), 7)],
        forms=ALL,
        errors=[S(M, 0, at(5), 1.0), S(M, 0, at(0), T((2,)))],
    ),
    Row(
        "index_reduce",
        [
            S(M, 0, at(0, 2, 0), T((3, 4)), r, include_self=i)
            for r in ("mean", "prod", "amax", "amin")
            for i in (True, False)
        ],
        forms=ALL,
        second=False,
        errors=[S(M, 0, at(0), T((1, 4)), "zz")],
    ),
    Row(
        "index_put",
        [
            S(M, (at(0, 2),), T((4,))),
            S(M, (at(0, 2), at(1, 1)), T((2,))),
            S(M, (at(0, 0), at(1, 1)), T((2,)), accumulate=True),
            S(M, (MASK,), T()),
            S(M, (at(-1),), T((4,)), True),
            S(M, [at([0], [1]), at(0, 2)], T((2, 2))),
        ],
        forms=("method",),
        errors=[
            S(M, (at(0),), T((5,))),
            S(M, (at(0),), T((1,), "float64")),
            S(M, (at(5),), T((1,))),
            S(M, (at(0), at(0), at(0)), T((1,))),
            S(M, (at(0, 1), at(0, 1, 2)), T((1,))),
        ],
    ),
    Row(
        "take",
        [S(M, at(0, 11, -1)), S(M, at([0, 1])), S(M, at()), S(T(), at(0))],
        forms=("method", "out"),
        errors=[S(M, at(12)), S(M, V)],
    ),
    Row(
        "Tensor.put",
        [
            S(M, at(0, 11), T((2,))),
            S(M, at([0, 1]), T((2,))),
            S(M, at(3, 3), T((2,)), accumulate=True),
        ],
        errors=[S(M, at(12), T((1,))), S(M, at(0), T((2,))), S(M, at(0), T((1,), "float64"))],
    ),
    Row(
        "take_along_dim",
        [
            S(M, at(0, 11)),
            S(M, at([0], [1], [3]), 1),
            S(M, at([0, 1, 2, 0]), dim=0),
            S(M, at([1, 2]), 1),
        ],
        forms=("method", "out"),
        errors=[S(M, M, 1), S(M, at(0), 1)],
    ),
    Row(
        "masked_select",
        [
            S(M, MASK),
            S(M, MASK[:, :1]),
            S(V, MASK),
            S(M, np.zeros((3, 4), bool)),
            S(T(), np.array(True)),
        ],
        forms=("method",),
        errors=[S(M, M), S(M, np.ones(5, bool))],
    ),
    Row(
        "masked_fill",
        [
            S(M, MASK, 2.0),
            S(M, MASK[0], 1),
            S(V, MASK, 2.0),
            S(M, MASK, T()),
            S(INT, MASK, 2.5),
            S(T((3, 4), "bool"), MASK, 1),
        ],
        forms=ALL,
        errors=[S(M, np.ones(5, bool), 1.0), S(M, M, 1.0), S(M, MASK, T((3,)))],
    ),
    Row(
        "masked_scatter",
        [S(M, MASK, T((5,))), S(M, MASK, T((3, 4))), S(M, MASK[0], T((6,))), S(V, MASK, T((12,)))],
        forms=ALL,
        errors=[S(M, MASK, T((2,))), S(M, MASK, T((5,), "float64")), S(M, M, T((12,)))],
    ),
    Row(
        "unravel_index",
        [S(at(7, 0, 11), (3, 4)), S(at([7]), (12,)), S(at(5), 6)],
        grad=False,
        errors=[S(M, (2, 3)), S(at(1), (-1,))],
    ),
]


@pytest.mark.filterwarnings("ignore:The reduce argument", "ignore:index_reduce.. is in beta")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


# ---- index expressions -------------------------------------------------------------------------

# Each is Python that both sides evaluate, with L for the library and numpy as np.
INDICES = """
0 | -1 | 5 | -9 | slice(None) | slice(1, None) | slice(-2, None) | slice(0, 99)
slice(None, None, 2) | slice(1, 0) | slice(None, None, -1) | slice(None, None, 0) | slice(0, 1.5)
None | ... | () | (None, None) | (0, 0) | (0, slice(1)) | (slice(None), 1) | (..., 0)
(0, ..., 0) | (..., None) | (..., 0, ...) | (..., ..., 0) | (0, 0, 0) | (0, 0, 0, 0) | True
False | (True, 0) | (0, True) | (0, False) | 1.5 | 'a' | {1} | (0, 'a') | [0] | [0, 1] | []
[[0, 1], [1, 0]] | [[[0, 1], [1, 0]]] | [0.5] | [True, False] | [0, [1]] | [slice(0, 1), 1]
range(2) | [None, 0] | [5] | ([0], [1]) | ([0, 1], [0]) | ([0, 1], [0, 1, 2])
([0, 1], slice(None), [0, 1]) | (slice(None), [0, 1]) | (slice(None), [0, 1], [1, 1])
(0, [0, 1]) | ([0, 1], 0) | ([0, 1], slice(None), 0) | (slice(None), [0, 1], None)
(None, [0, 1]) | ([[0], [1]], [0, 1]) | (..., [0, 2]) | ([0, 1], ..., [0, 1])
(slice(None), slice(None), [[0, 1], [2, 3]]) | (slice(0, 1), [0, 2], slice(None, None, 2))
L.tensor(1) | L.tensor(-1) | L.tensor(9) | L.tensor([0, 1]) | L.tensor([-1]) | L.tensor([[0, 1]])
L.tensor(True) | L.tensor(False) | L.tensor([True, False]) | L.tensor([True, False, True])
(L.tensor(1), L.tensor([0, 1])) | L.ones(2, 3) > 0 | L.ones(2, 3, 4) > 0 | L.ones(2, 2) > 0
(slice(None), L.ones(3, 4) > 0) | L.tensor([0.5]) | (slice(None), L.tensor([True, False, True]))
(L.tensor([True, True]), [0, 1]) | (L.tensor([True, True]), L.tensor([0, 1, 2]))
L.zeros(0, dtype=L.int64) | L.tensor([0], dtype=L.int32) | L.tensor([0], dtype=L.int16)
L.tensor([1, 0], dtype=L.uint8) | L.tensor(1, dtype=L.int16) | slice(L.tensor(1), None)
[L.tensor(0), L.tensor(1)] | ([0, L.tensor(1)], slice(None)) | np.array([0, 1])
np.array([[0, 1]]) | np.array(1) | np.int64(1) | np.bool_(True) | np.array([True, False])
np.array([0.5, 1]) | (np.array([0, 1]), np.array([1, 2])) | (slice(None), np.array([0, 1]))
L.tensor([9]) | L.tensor([-3]) | (slice(None), L.tensor([7])) | (None, L.ones(2, 3) > 0, 0)
(L.tensor([0, 1]), True) | L.zeros(2, 3) > 0
"""
EXPRESSIONS = [e.strip() for line in INDICES.strip().splitlines() for e in line.split("|")]


def outcome(run, *args):
    """("ok", result) or ("error", exception)."""
    try:
        return "ok", run(*args)
    except Exception as error:  # any type: it is what is compared
        return "error", error


def agree(ours, theirs, what):
    """Both raise alike, or both give the same numbers."""
    assert ours[0] == theirs[0], f"{what}: {ours} for {theirs}"
    if theirs[0] == "error":
        a, b = type(ours[1]), type(theirs[1])
        assert issubclass(a, b) or issubclass(b, a), f"{what}: {ours[1]!r} for {theirs[1]!r}"
        return
    for a, b in zip(ours[1], theirs[1], strict=True):
        if not isinstance(b, torch.Tensor):
            assert a == b, f"{what}: {a} for {b}"
            continue
        assert str(a.dtype) == str(b.dtype), what
        assert tuple(a.shape) == tuple(b.shape), f"{what}: {a.shape} for {b.shape}"
        np.testing.assert_allclose(to_numpy(a), to_numpy(b), rtol=1e-5, err_msg=what)


def label(t) -> str:
    """The name of the node that made a tensor."""
    return t.grad_fn.name() if t.grad_fn is not None else "none"


def read(L, expression):
    """A read by an index expression, what kind of result it is, and its gradient."""
    x = L.arange(24, dtype=L.float32).reshape(2, 3, 4).requires_grad_()
    out = x[eval(expression, {"L": L, "np": np, "slice": slice})]
    weight = L.arange(out.numel(), dtype=L.float32).reshape(out.shape)
    (out * weight).sum().backward()
    return [out, x.grad, out._base is x, out.is_contiguous(), out.storage_offset(), label(out)]


@pytest.mark.filterwarnings(
    "ignore:Using a non-tuple sequence", "ignore:indexing with dtype torch.uint8"
)
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_read(expression):
    a = outcome(read, torchlike, expression)
    b = outcome(read, torch, expression)
    agree(a, b, f"x[{expression}]")


VALUES = """
5.0 | 2 | True | 1j | L.tensor(3.0) | L.tensor(3) | L.arange(4.0) | L.ones(1, 1, 4) | L.ones(5)
L.ones(3, 4) | L.ones(2, 3, 4) | L.ones(4, dtype=L.float64) | L.ones(1, 2, 3, 4) | L.tensor([7.0])
L.tensor([7.0], dtype=L.float64) | [1.0] | np.ones(4) | None | 'a' | np.float64(2.0) | L.ones(0)
L.tensor(2.0, requires_grad=True) | L.ones(4, requires_grad=True)
"""
VALUE_EXPRESSIONS = [e.strip() for line in VALUES.strip().splitlines() for e in line.split("|")]
TARGETS = [
    "0",
    "slice(1, None)",
    "...",
    "(0, 1)",
    "None",
    "[0]",
    "[0, 1]",
    "L.tensor([True, False])",
    "True",
    "False",
    "(slice(None), [0, 2])",
    "L.ones(2, 3) > 0",
    "(0, 1, 2)",
    "(slice(None), slice(None), slice(None, None, 2))",
    "([0, 1], [0, 1])",
    "slice(0, 0)",
    "L.zeros(2, 3, 4) > 0",
    "(..., [0, 1, 2, 3])",
    "5",
    "[5]",
    "(0, 0, 0, 0)",
]


def write(L, dtype, target, value, grad):
    """A write by an index expression, and the gradients through it."""
    names = {"L": L, "np": np, "slice": slice}
    x = L.arange(24, dtype=getattr(L, dtype)).reshape(2, 3, 4)
    if grad:
        x.requires_grad_()
    y = x * 2 if grad else x
    v = eval(value, names)
    y[eval(target, names)] = v
    out = [y, y._version]
    if y.requires_grad:
        (y * y).sum().backward()
        out += [g for g in (x.grad, getattr(v, "grad", None)) if g is not None]
    return out


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.filterwarnings("ignore:Casting complex", "ignore:The .grad attribute of a Tensor")
def test_write(target):
    for value in VALUE_EXPRESSIONS:
        for dtype, grad in (("float32", False), ("float32", True), ("int64", False)):
            a = outcome(write, torchlike, dtype, target, value, grad)
            b = outcome(write, torch, dtype, target, value, grad)
            agree(a, b, f"{dtype} x[{target}] = {value}, grad={grad}")


# ---- fuzz --------------------------------------------------------------------------------------


def some_item(rng, n):
    """One item of an index over a dimension of size ``n``."""
    kind = rng.choice(
        ["int", "slice", "slice", "none", "ellipsis", "tensor", "tensor", "mask", "list", "zero"]
    )
    if kind == "int":
        return str(rng.randint(-n, n - 1) if rng.random() < 0.95 else n)
    if kind == "slice":
        ends = [rng.choice(["None", str(rng.randint(-n - 1, n + 1))]) for _ in range(2)]
        return f"slice({ends[0]}, {ends[1]}, {rng.choice(['None', '1', '2', '3'])})"
    if kind == "none":
        return "None"
    if kind == "ellipsis":
        return "..."
    low = 0 if rng.random() < 0.5 else -n
    if kind == "tensor":
        shape = rng.choice([(), (1,), (2,), (3,), (2, 1), (2, 3), (0,)])
        size = int(np.prod(shape))
        numbers = [rng.randint(low, n - 1) for _ in range(size)]
        return f"L.tensor({numbers}, dtype=L.int64).reshape({shape})"
    if kind == "mask":
        return f"L.tensor({[rng.random() < 0.5 for _ in range(n)]})"
    if kind == "list":
        return str([rng.randint(low, n - 1) for _ in range(rng.choice([1, 2, 3]))])
    return f"L.tensor({rng.randint(low, n - 1)})"


def some_index(rng, shape):
    items, dim = [], 0
    for _ in range(rng.randint(1, len(shape) + 1)):
        if dim >= len(shape):
            break
        item = some_item(rng, shape[dim])
        if item == "..." and "..." in items:
            continue
        items.append(item)
        if item == "...":
            dim = max(dim, len(shape) - 1)
        elif item != "None":
            dim += 1
    return f"({', '.join(items)},)"


def indexed_program(L, shape, index, twice, how):
    """Read by an index, then write by it in one of several ways, gradients and all."""
    names = {"L": L, "np": np, "slice": slice}
    x = L.arange(float(np.prod(shape))).reshape(shape).requires_grad_()
    y = x * 1.5
    part = y[eval(index, names)]
    out = [part.detach().clone(), part._base is y, part.stride() if part._base is y else None]
    if twice is not None and part.ndim:
        part = part[eval(twice, names)]
        out += [part.detach().clone(), part._base is y]
    if how == "number":
        y[eval(index, names)] = 3.0
    elif how == "self":
        y[eval(index, names)] = y[eval(index, names)] * 2
    elif how == "add":
        y[eval(index, names)] += 1.0
    elif how == "grad":
        v = L.full(tuple(y[eval(index, names)].shape), 2.0).requires_grad_()
        y[eval(index, names)] = v * 3
        (y * y).sum().backward()
        out += [v.grad]
    elif how == "part":
        part.mul_(3.0)
    out += [y.detach().clone(), part.detach().clone(), y._version]
    total = (part * part).sum() + (y * 0.5).sum() if how != "grad" else None
    if total is not None:
        total.backward()
    return [*out, x.grad]


@pytest.mark.parametrize("seed", range(40))
def test_fuzz(seed):
    rng = random.Random(seed)
    for _ in range(6):
        shape = rng.choice([(4,), (3, 4), (2, 3, 4), (2, 1, 3), (2, 3, 2, 2)])
        index = some_index(rng, shape)
        twice = rng.choice([None, "0", "slice(1, None)", "[0]", "(..., -1)"])
        how = rng.choice(["number", "self", "add", "grad", "part"])
        if (how != "number" and "L.tensor([" in index) or (how == "grad" and "[" in index):
            how = (
                "number" if "[" in index else how
            )  # which of two writes to one place wins is not defined
        a = outcome(indexed_program, torchlike, shape, index, twice, how)
        b = outcome(indexed_program, torch, shape, index, twice, how)
        agree(a, b, f"{shape} x[{index}] then [{twice}], {how}")
