"""Rows of the pointwise ops, and sweeps over all dtypes that compare value, dtype or refusal."""

import math
import operator

import numpy as np
import pytest
import torch

import torchlike
from tests.ops.table import Row, S, T, cases, check, check_error, error_cases, same
from torchlike._core.settings import settings

M, V, N, E = T((3, 4)), T((4,)), T(), T((2, 0))
P = T((3, 4), low=0.1, high=3.0)  # positive
U = T((3, 4), low=-0.9, high=0.9)
C = T((3, 4), "complex64")
H = T((5,), "bfloat16")
I, J, B = T((3, 4), "int64"), T((4,), "int32"), T((3, 4), "bool")  # noqa: E741
NZ = T((4,), "int64", 1, 9)
ALL = ("method", "inplace", "out")
MAIN = ("method", "out")
nan, inf = math.nan, math.inf
EDGE = np.array([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 1.5, 2.5, -2.5, 7.25, inf, -inf, nan], "float32")
COMPLEX_EDGE = np.array([0j, 1 + 0j, -1 + 0j, 1j, -1j, 0.5 + 2j, -1.5 - 0.25j], "complex64")


def unary(name, *samples, forms=ALL, **kwargs):
    return Row(name, [S(M), *samples, S(E), S(N)], forms=forms, **kwargs)


UNARY = [
    unary("neg", S(C), S(I), S(H)),
    unary("negative", S(I), errors=[S(B)]),
    unary("positive", S(I), forms=("method",), errors=[S(B)]),
    unary("abs", S(C), S(I), S(H), S(np.array([0.0, -0.0, nan, -inf])), errors=[S(B), S(1.0)]),
    unary("absolute", S(I)),
    unary("sign", S(I), S(B), S(np.array([0.0, -0.0, nan, -inf])), errors=[S(C)]),
    unary("sgn", S(C), S(I), S(COMPLEX_EDGE), second=False),
    unary("floor", S(I), S(H), errors=[S(B), S(C)]),
    unary("ceil", S(I), S(EDGE)),
    unary("trunc", S(I), S(EDGE)),
    unary("fix", S(EDGE)),
    unary("frac", S(EDGE[:10]), errors=[S(I)]),
    unary("round", S(EDGE), S(I), S(M, decimals=2), S(T((4,), low=-900, high=900), decimals=-2),
          errors=[S(I, decimals=1), S(B)]),
    unary("square", S(C), S(I), S(B), S(H)),
    Row("sqrt", [S(P), S(C), S(NZ), S(EDGE), S(H._replace(low=0.1))], forms=ALL,
            errors=[S("a"), S(1.0)]),
    Row("rsqrt", [S(P), S(C), S(NZ), S(EDGE)], forms=ALL),
    unary("reciprocal", S(C), S(NZ), S(EDGE)),
    unary("exp", S(C), S(I), S(H), S(EDGE), S(B), errors=[S(1.0), S([1.0]), S(None)]),
    unary("exp2", S(C), S(I), S(EDGE)),
    unary("expm1", S(C), S(I), S(EDGE)),
    Row("log", [S(P), S(C), S(NZ), S(EDGE)], forms=ALL),
    Row("log2", [S(P), S(C), S(NZ), S(EDGE)], forms=ALL),
    Row("log10", [S(P), S(C), S(NZ), S(EDGE)], forms=ALL),
    Row("log1p", [S(P), S(C), S(NZ), S(EDGE)], forms=ALL),
    unary("sin", S(C), S(I), S(EDGE), S(H)),
    unary("cos", S(C), S(I), S(EDGE)),
    unary("tan", S(C), S(I), S(EDGE)),
    Row("asin", [S(U), S(C), S(EDGE)], forms=ALL),
    Row("acos", [S(U), S(C), S(EDGE)], forms=ALL),
    unary("atan", S(C), S(I), S(EDGE)),
    unary("arctan", S(I)),
    unary("sinh", S(C), S(I), S(EDGE)),
    unary("cosh", S(C), S(I), S(EDGE)),
    unary("tanh", S(C), S(I), S(EDGE), S(H)),
    unary("asinh", S(C), S(I), S(np.array([0.5, -3.0, 1e10, inf, nan]))),
    Row("acosh", [S(T((5,), low=1.1, high=4)), S(C._replace(low=0.1)), S(NZ), S(EDGE)], forms=ALL),
    Row("atanh", [S(U), S(C), S(EDGE)], forms=ALL),
    unary("arccos", S(U)),
    unary("sinc", S(I), S(np.array([0.0, 1.0, 0.25]))),
    unary("deg2rad", S(I)),
    unary("rad2deg", S(I), errors=[S(C)]),
    unary("sigmoid", S(C), S(I), S(EDGE), S(H)),
    unary("relu", S(I), S(EDGE), S(H), forms=("method", "inplace"), errors=[S(B)]),
    Row("logit", [S(T((5,), low=0.1, high=0.9)), S(M, 0.2), S(M, eps=0.1), S(EDGE),
                  S(T((5,), low=0.1, high=0.9), None)], forms=ALL),
    unary("erf", S(I), S(EDGE), S(H), errors=[S(C)]),
    unary("erfc", S(I), S(EDGE)),
    Row("erfinv", [S(U), S(np.array([0.0, 1.0, -1.0, 2.0, nan]))], forms=ALL, tol=1e-4),
    Row("lgamma", [S(P), S(M), S(NZ), S(EDGE)], forms=ALL, tol=1e-5),
    Row("digamma", [S(P), S(M), S(NZ), S(EDGE[2:11])], forms=ALL, tol=1e-4),
    Row("polygamma", [S(1, P), S(0, P), S(2, P), S(3, T((3,), "float64", 0.5, 3))], tol=1e-3,
        forms=("out",), errors=[S(-1, P)]),
    Row("Tensor.polygamma", [S(P, 1)], tol=1e-3, forms=("inplace",)),
    Row("mvlgamma", [S(T((3, 4), low=2.0, high=5.0), 3), S(T((3,), low=1.0, high=5.0), p=1)],
        forms=ALL, tol=1e-4, errors=[S(P, 0)]),
    unary("i0", S(I), S(EDGE), tol=1e-4),
    unary("isnan", S(EDGE), S(I), S(C), forms=("method",)),
    unary("isinf", S(EDGE), S(I), S(C), S(B), forms=("method",)),
    unary("isfinite", S(EDGE), S(I), S(C), forms=("method",)),
    unary("isposinf", S(EDGE), S(I), forms=MAIN, errors=[S(C)]),
    unary("isneginf", S(EDGE), S(I), forms=MAIN),
    unary("isreal", S(EDGE), S(COMPLEX_EDGE), forms=("method",)),
    unary("signbit", S(EDGE), S(I), S(B), forms=MAIN, errors=[S(C)]),
    unary("nan_to_num", S(EDGE), S(EDGE, 2.0, 3.0, -4.0), S(EDGE, nan=1.5), S(I),
            S(C._replace(grad=False)),
          S(EDGE.astype("float64"), posinf=9)),
    unary("angle", S(EDGE), S(I), S(C), forms=MAIN),
    unary("conj", S(C), S(I), forms=("method",)),
    unary("conj_physical", S(C), S(I)),
    unary("resolve_conj", S(C), forms=("method",)),
    unary("resolve_neg", S(C), forms=("method",)),
    unary("logical_not", S(I), S(B), S(EDGE), S(C)),
    Row("bitwise_not", [S(I), S(B), S(T((3,), "uint8"))], forms=ALL, errors=[S(M)]),
    unary("frexp", S(np.array([0.0, 1.0, -3.5, 1e-30], "float32")), forms=("method",), second=False,
          errors=[S(I)]),
]  # fmt: skip


def binary(name, *samples, forms=ALL, number=True, **kwargs):
    numbers = [S(M, 2), S(M, -1.5)] if number else []
    return Row(
        name,
        [S(M, V), *numbers, S(N, M), S(T((3, 1)), V), S(E, N), *samples],
        forms=forms,
        **kwargs,
    )


SHAPES = S(T((3,)), T((4,)))
BINARY = [
    binary("add", S(M, 2.5, alpha=3), S(M, V, alpha=-0.5), S(T((3,), "int64"), T((3,), "int32")),
           S(I, 1.5), S(B, B), S(B, 2), S(C, M), S(H, H), S(I, 1.0, alpha=2.5), S(B, B, alpha=True),
           errors=[SHAPES, S(I, I, alpha=1.5), S(I, I, alpha=True), S(M, M, alpha=2j), S(M, "a"),
                   S(M, None), S(M, [1.0])]),
    binary("sub", S(M, V, alpha=2), S(I, 1.5), S(C, M), errors=[S(B, B), S(B, 1), SHAPES]),
    binary("subtract", S(I, 1)),
    binary("rsub", S(I, 2), S(M, 3, alpha=2), forms=(), errors=[S(B, 1)]),
    binary("mul", S(C, M), S(T((3,), "bool"), 2), S(H, H)),
    binary("multiply", S(I, 2)),
    binary("div", S(I, J._replace(low=1, high=9)), S(I, 2), S(M, V, rounding_mode="floor"),
           S(M, 0.3, rounding_mode="trunc"), S(I, NZ, rounding_mode="floor"), S(C, M), S(H, 3),
           S(I, NZ, rounding_mode="trunc"), S(I, -2, rounding_mode="floor"),
           S(M, 2, rounding_mode=None),
           S(EDGE, 0.0, rounding_mode="floor"), S(EDGE, 2.0, rounding_mode="trunc"), S(B, B),
           errors=[S(M, V, rounding_mode="up"), S(I, 0, rounding_mode="floor"), SHAPES, S(M, "a")]),
    binary("divide", S(I, NZ)),
    binary("true_divide", S(I, NZ)),
    binary("floor_divide", S(I, NZ), S(I, -2), S(EDGE, 2.0), S(EDGE, -0.5), S(EDGE, 0.0), S(H, 0.3),
           errors=[S(I, 0), S(B, B), S(C, C)], grad=False),
    binary("remainder", S(I, NZ), S(I, -3), S(EDGE[:10], 2.0), S(EDGE, -0.7), S(H, 2),
           errors=[S(I, 0), S(C, C)]),
    binary("fmod", S(I, NZ), S(I, -3), S(EDGE, 2.0), S(EDGE, -0.7), errors=[S(I, 0)]),
    Row("pow", [S(M, 2), S(P, V), S(P, 0.5), S(P, -0.5), S(M, 3), S(M, 3.0), S(P, -1), S(P, -2),
            S(M, 4),
                S(M, 1), S(M, 0), S(P, 2.7), S(I, 2), S(I, 3), S(I, 5), S(I, 0.5),
                S(T((4,), "int64", -3, 4), T((4,), "int64", -3, 4)), S(B, 2), S(C, 2), S(C, C),
                S(C, 1.5), S(np.array([0.0, 0.0, 2.0, -1.0]), 3), S(H, 2),
                S(T((4,), "float32", 0.5, 2), T((4,), "int64", 0, 4)), S(P, T((), "float64")),
                S(M, 2j)],
        forms=ALL, errors=[S(I, -1), S(I, -2), S(B, B), S(M, "a"), SHAPES]),
    Row("float_power", [S(P, 2), S(P, V), S(NZ, 0.5), S(C, 2), S(P, 2j)], forms=MAIN),
    binary("maximum", S(I, J), S(M, I), S(B, B), S(EDGE, EDGE[::-1].copy()), number=False,
            forms=MAIN,
           errors=[S(C, C), S(M, 1)]),
    binary("minimum", S(I, J), S(np.array([1.0, 2.0]), np.array([1.0, 3.0])), number=False,
            forms=MAIN),
    binary("fmax", S(I, J), S(EDGE, EDGE[::-1].copy()), number=False, forms=MAIN),
    binary("fmin", S(I, J), S(EDGE, EDGE[::-1].copy()), number=False, forms=MAIN),
    binary("atan2", S(I, J), S(EDGE, EDGE[::-1].copy()), number=False, errors=[S(M, 1), S(C, C)]),
    binary("arctan2", number=False),
    binary("hypot", S(T((3,)), T((3,), "float64")), number=False, errors=[S(I, I)]),
    Row("ldexp", [S(M, T((4,), "int64", 0, 5)), S(M, V), S(I, NZ)], forms=ALL, errors=[S(M, 2)]),
    binary("logaddexp", S(EDGE, EDGE), number=False, forms=MAIN, errors=[S(I, I)]),
    binary("logaddexp2", S(EDGE, EDGE), number=False, forms=MAIN, errors=[S(C, C)]),
    Row("xlogy", [S(M, P), S(P, 2.0), S(I, NZ), S(EDGE, 0.0)], forms=ALL),
    binary("copysign", S(I, -1), S(I, J), S(EDGE, -0.0)),
    binary("nextafter", S(EDGE, EDGE[::-1].copy()), number=False, errors=[S(I, I)], grad=False),
    Row("gcd", [S(I, NZ), S(J, NZ), S(T((4,), "uint8"), T((4,), "uint8"))], forms=ALL,
            errors=[S(M, M), S(B, B)]),
    Row("lcm", [S(I, NZ), S(J, NZ)], forms=ALL, errors=[S(M, M)]),
    binary("heaviside", S(I, I), number=False, errors=[S(M, I), S(C, C)], grad=False),
    Row("igamma", [S(P, T((4,), low=0.1, high=3, grad=False))], grad=False, forms=ALL, tol=1e-4),
    Row("igammac", [S(P, T((4,), low=0.1, high=3, grad=False))], grad=False, forms=ALL, tol=1e-4),
    binary("eq", S(I, 1), S(I, 1.5), S(B, True), S(C, C), S(EDGE, EDGE), S(T((3,), "uint8"), -1),
            S(H, 1.5),
           errors=[S(M, "a"), SHAPES]),
    binary("ne", S(I, J), S(EDGE, nan)),
    binary("not_equal", S(I, J)),
    binary("lt", S(I, J), S(EDGE, 1), S(B, B), errors=[S(C, C)]),
    binary("less", S(I, J)),
    binary("le", S(I, J), S(EDGE, 1)),
    binary("less_equal", S(I, J)),
    binary("gt", S(I, J), S(EDGE, 1)),
    binary("greater", S(I, J)),
    binary("ge", S(I, J), S(EDGE, 1)),
    binary("greater_equal", S(I, J)),
    binary("logical_and", S(I, J), S(B, B), S(B, M), S(C, B), number=False, errors=[S(M, 1)]),
    binary("logical_or", S(I, J), S(B, B), number=False),
    binary("logical_xor", S(I, J), S(B, B), S(EDGE, B._replace(shape=())), number=False),
    Row("bitwise_and", [S(I, J), S(B, B), S(I, 5), S(B, I)], forms=ALL,
            errors=[S(M, M), S(I, 1.0)]),
    Row("bitwise_or", [S(I, J), S(B, B), S(I, 5)], forms=ALL, errors=[S(M, 1)]),
    Row("bitwise_xor", [S(I, J), S(B, B), S(I, True)], forms=ALL, errors=[S(C, C)]),
    Row("bitwise_left_shift", [S(I, NZ), S(I, 3), S(T((3,), "uint8"), 9)], forms=ALL,
        errors=[S(M, 1), S(B, B)]),
    Row("bitwise_right_shift", [S(I, NZ), S(I, 3), S(T((3,), "uint8"), 2), S(I, 70)], forms=ALL,
        errors=[S(M, 1)]),
    Row("isclose", [S(M, M), S(EDGE, EDGE), S(EDGE, EDGE, equal_nan=True), S(M, V, 0.5, 0.1),
            S(I, I, 0.1),
                    S(I, I, 0, 0), S(C, C), S(B, B)], forms=("method",),
        errors=[S(M, I), S(M, M, -1.0), S(M, 1.0)]),
    Row("allclose", [S(M, M), S(EDGE, EDGE), S(EDGE, EDGE, equal_nan=True), S(M, M, 100.0)],
            forms=("method",),
        errors=[S(M, I)]),
    Row("equal", [S(M, M), S(EDGE, EDGE), S(M, V), S(NZ, NZ)], forms=("method",), errors=[S(M, 1)]),
]  # fmt: skip

TERNARY = [
    Row("clamp", [S(M, -0.5, 0.5), S(M, min=0.1), S(M, max=0.1), S(M, -1, None), S(I, 0, 5),
            S(I, 0.5),
                  S(M, V), S(M, V, T((3, 1))), S(M, max=V), S(EDGE, -1.0, 1.0), S(M, 1.0, -1.0),
                  S(H, 0, 1),
                  S(I, min=T((), "float32")), S(B, 0, 1), S(EDGE, nan), S(E, 0)],
        forms=ALL, errors=[S(M), S(C, 0, 1), S(M, "a")]),
    Row("clip", [S(M, 0, 1)], forms=ALL),
    Row("clamp_min", [S(M, 0), S(M, V), S(EDGE, 0.5)], forms=ALL),
    Row("clamp_max", [S(M, 0), S(M, V), S(EDGE, 0.5)], forms=ALL),
    Row("lerp", [S(M, M, 0.3), S(M, M, 0.7), S(M, M, V), S(V, M, 2), S(C, C, 0.5), S(H, H, 0.25),
            S(M, N, N)],
        forms=MAIN, errors=[S(M, T((4,), "float64"), 0.5), S(I, I, 1), S(M, M, I), S(M, 1.0, 0.5)]),
    Row("addcmul", [S(M, V, V), S(M, V, T((3, 1)), value=0.5), S(I, I, I, value=2), S(C, C, M),
            S(M, I, I)],
        forms=ALL, errors=[S(M, 1, 2), S(M, V, T((3,))), S(B, B, B)]),
    Row("addcdiv", [S(M, V, P), S(M, V, P, value=-2), S(M, NZ, V)], forms=ALL,
            errors=[S(I, I, NZ), S(M, NZ, NZ)]),
    Row("where", [S(B, M, V), S(B, M, 2.0), S(B, 1, I), S(B, 1, 2), S(B, 1.5, 2), S(B, M, I),
            S(B, M, N), S(B, C, M._replace(grad=False)),
                  S(T((4,), "bool"), N, N), S(B), S(T((), "bool"), M, V), S(B, True, False),
                  S(B, EDGE[:4], 0.0)],
        forms=("out",), errors=[S(I, 1, 2), S(B, M, T((5,))), S(True, M, M), S(B, "a", 1)]),
    Row("Tensor.where", [S(M, B, V), S(M, B, 1.0)]),
    Row("complex", [S(M, V), S(M, M), S(T((3,), "float64"), T((3,), "float64"))], forms=("out",),
        errors=[S(M, T((4,), "float64")), S(I, I), S(M, 1.0)]),
    Row("polar", [S(P, M), S(P, V)], forms=("out",), errors=[S(I, I)]),
]  # fmt: skip

NUMBER_FIRST = [
    Row("add", [S(2, M), S(1, 2)]),
    Row("mul", [S(2, M), S(2.5, I)]),
    Row("div", [S(2, M), S(2, NZ)]),
    Row("div", [S(a, b, rounding_mode=m) for a, b in ((7, 2), (-7, 2.5), (True, 2), (3.0, 0))
        for m in ("trunc", "floor")], errors=[S(3, 0, rounding_mode="floor"),
        S(True, True, rounding_mode="trunc")], grad=False),
    Row("remainder", [S(5, M), S(-5, NZ)], grad=False),  # PyTorch has no derivative here
    Row("floor_divide", [S(2.0, M), S(7, NZ)], grad=False),
    Row("pow", [S(2, M), S(2.5, M), S(2, NZ), S(1, M), S(1 + 1j, M)], forms=("out",)),
    # A second derivative at base 0 is log(0) * 0: nan for PyTorch, 0 here.
    Row("pow", [S(0.0, P), S(0, M)], forms=("out",), second=False),
    Row("float_power", [S(2, M), S(2, I)], forms=("out",)),
    Row("xlogy", [S(2, P), S(0.0, EDGE)], forms=("out",)),
    Row("bitwise_and", [S(7, I)]),
    Row("bitwise_left_shift", [S(1, NZ)]),
    Row("bitwise_right_shift", [S(-300, NZ)]),
]  # fmt: skip

ROWS = UNARY + BINARY + TERNARY + NUMBER_FIRST


@pytest.mark.filterwarnings("ignore:An output with one or more elements was resized")
@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
@pytest.mark.parametrize(("row", "sample"), cases(ROWS))
def test_op(row, sample, immediate):
    check(row, sample, immediate)


@pytest.mark.parametrize(("row", "sample"), error_cases(ROWS))
def test_error(row, sample):
    check_error(row, sample)


# ---- every dtype with every dtype --------------------------------------------------------------

DTYPES = (
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64",
    "complex64", "complex128",
)  # fmt: skip
SCALARS = (True, 2, -3, 1.5, 1 + 2j)
OPERATORS = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "div": operator.truediv,
    "floordiv": operator.floordiv, "mod": operator.mod, "pow": operator.pow, "eq": operator.eq,
    "lt": operator.lt, "and": operator.and_, "or": operator.or_, "lshift": operator.lshift,
    "rshift": operator.rshift,
}  # fmt: skip


def attempt(call, *args):
    """The result, or the exception."""
    try:
        result = call(*args)
        if isinstance(result, torchlike.Tensor):
            result.tolist()  # a divisor of zero is told when somebody looks
        return result
    except (RuntimeError, TypeError) as error:
        return error


def agree(ours, theirs, what):
    """Both raise alike, or both give the same."""
    if "ComplexHalf" in str(theirs) or getattr(theirs, "dtype", None) is torch.complex32:
        return  # float16 with complex: torchlike has no complex32 and gives complex64
    if isinstance(theirs, Exception):
        assert isinstance(ours, Exception), f"{what}: {ours} where PyTorch raises {theirs!r}"
        assert isinstance(ours, type(theirs)) or isinstance(theirs, type(ours)), f"{what}: {ours!r}"
        return
    assert not isinstance(ours, Exception), f"{what}: {ours!r}, PyTorch has {theirs}"
    if theirs.dtype in (torch.float16, torch.bfloat16):
        assert str(ours.dtype) == str(theirs.dtype), f"{what}: {ours.dtype}"
        same(ours.float(), theirs.float(), 1e-2, what)
        return
    # PyTorch divides a complex number by a bfloat16 tensor through a rounded reciprocal.
    same(ours, theirs, 1e-2 if "bfloat16" in what and theirs.is_complex() else 1e-5, what)


def operand(lib, dtype, shape):
    values = [1, 2, 3] if dtype != "bool" else [True, False, True]
    return lib.tensor(values if shape else values[1], dtype=getattr(lib, dtype))


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize(
    ("symbol", "shapes"),
    [(s, (1, 1)) for s in OPERATORS]
    + [(s, shapes) for s in ("add", "mul", "div", "pow", "eq") for shapes in ((1, 0), (0, 1))],
    ids=str,
)
def test_promotion_of_tensors(symbol, shapes):
    fn, results = OPERATORS[symbol], []
    for a in DTYPES:
        for b in DTYPES:
            if symbol in ("floordiv", "mod") and b == "bool" and "int" in a:
                continue  # division by False: PyTorch raises for what the data hold
            pair = [
                attempt(fn, operand(lib, a, shapes[0]), operand(lib, b, shapes[1]))
                for lib in (torchlike, torch)
            ]
            results.append((*pair, f"{a} {symbol} {b}"))
    # Which dtype comes out of a call is decided when it is recorded, for NumPy as for XLA, and the
    # vectors show XLA's own numbers for every pair. So NumPy runs the others: XLA would compile for
    # seconds.
    with settings.override(small_on_host=shapes != (1, 1)):
        for ours, theirs, what in results:
            agree(ours, theirs, what)


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize("reflected", [False, True], ids=["x.s", "s.x"])
@pytest.mark.parametrize("symbol", OPERATORS)
def test_promotion_of_numbers(symbol, reflected):
    fn, results = OPERATORS[symbol], []
    for a in DTYPES:
        for number in SCALARS:
            for shape in (1, 0):
                if reflected and a == "bool" and symbol in ("floordiv", "mod"):
                    continue  # division by False
                pair = [
                    attempt(fn, number, operand(lib, a, shape)) if reflected
                    else attempt(fn, operand(lib, a, shape), number)
                    for lib in (torchlike, torch)
                ]  # fmt: skip
                results.append((*pair, f"{a}{shape} {symbol} {number} (reflected: {reflected})"))
    for ours, theirs, what in results:
        agree(ours, theirs, what)


@pytest.mark.filterwarnings("ignore:ComplexHalf support")
@pytest.mark.parametrize(
    "symbol", ["iadd", "isub", "imul", "itruediv", "ifloordiv", "imod", "ipow", "iand"]
)
def test_inplace_operators(symbol):
    fn = getattr(operator, symbol)
    for a in DTYPES:
        for number in SCALARS:
            pair = []
            for lib in (torchlike, torch):
                x = operand(lib, a, 1)
                pair.append(attempt(fn, x, number))
                if not isinstance(pair[-1], Exception):
                    assert pair[-1] is x
            agree(*pair, f"{a} {symbol} {number}")


UNARY_NAMES = [
    row.name
    for row in UNARY
    if row.name not in ("polygamma", "Tensor.polygamma", "mvlgamma", "frexp")
]


@pytest.mark.parametrize("name", UNARY_NAMES)
def test_unary_in_every_dtype(name):
    results = []
    for dtype in DTYPES:
        pair = [attempt(getattr(lib, name), operand(lib, dtype, 1)) for lib in (torchlike, torch)]
        results.append((*pair, f"{name} of {dtype}"))
    for ours, theirs, what in results:
        agree(ours, theirs, what)


# ---- Python's operators ------------------------------------------------------------------------


def test_operators_with_what_is_no_number():
    x = torchlike.tensor([1.0])
    assert (x == "a") is False
    assert (x != "a") is True
    assert (x == None) is False  # noqa: E711
    for fn in (operator.add, operator.sub, operator.truediv, operator.pow, operator.lt):
        for other in ("a", None, [1], object()):
            with pytest.raises(TypeError):
                fn(x, other)
            with pytest.raises(TypeError):
                fn(other, x)
    with pytest.raises(TypeError):
        operator.invert(x)
    with pytest.raises(TypeError):
        divmod(x, 2)


def test_operators_with_numpy():
    array = np.array([1.0, 2.0], "float32")
    for fn in (operator.add, operator.mul, operator.pow):
        ours = fn(torchlike.tensor([3.0, 4.0]), array)
        same(ours, fn(torch.tensor([3.0, 4.0]), torch.tensor(array)), 1e-6, fn.__name__)
    same(torchlike.tensor([1.0]) * np.float32(2), torch.tensor([1.0]) * np.float32(2), 1e-6, "mul")


@pytest.mark.parametrize("immediate", [False, True], ids=["deferred", "immediate"])
def test_false_times_infinity_is_nan(immediate):
    """Also once compiled: XLA alone makes a choice of the product with a converted bool."""

    def values(lib):
        b, off = lib.tensor([True, False, True]), lib.tensor(False)
        inf = lib.tensor(math.inf)
        results = b / off, b / 0, b * math.inf, b * inf, b.float() * inf, b.float() / off.float()
        return lib.stack([r.to(lib.float32) for r in results])

    expected = values(torch)
    with settings.override(immediate=immediate):
        for _ in range(6):
            same(values(torchlike), expected, 0, "bool products")


def test_constant_exponents_make_no_power():
    """x ** 2 is a product, and its gradient another."""
    ours = torchlike.tensor([0.0, -2.0], requires_grad=True)
    theirs = torch.tensor([0.0, -2.0], requires_grad=True)
    for lib_x in (ours, theirs):
        (lib_x**2).sum().backward()
    same(ours.grad, theirs.grad, 0, "grad")


@pytest.mark.parametrize(
    "name", ["sqrt", "exp", "sigmoid", "tanh", "reciprocal", "tan", "expm1", "relu"]
)
def test_what_saves_its_result_lets_the_operand_change(name):
    for lib in (torchlike, torch):
        x = lib.tensor([0.5, 0.25], requires_grad=True)
        y = x * 1
        z = getattr(lib, name)(y)
        y.add_(1)
        z.sum().backward()
        z = getattr(lib, name)(x * 1)
        z.add_(1)
        with pytest.raises(RuntimeError, match="modified by an"):
            z.sum().backward()


def test_quotient_by_a_constant_lets_the_dividend_change():
    for lib in (torchlike, torch):
        x = lib.tensor([0.5], requires_grad=True) * 1
        c, mask = lib.tensor([2.0]), lib.tensor([True])
        out = x / c + lib.where(mask, x, 0.0) + lib.addcmul(x, c, c) + x.lerp(c, 0.5)
        x.add_(1)
        out.sum().backward()


def test_exponents_and_factors_that_change_compile_nothing():
    x = torchlike.tensor([1.5, 2.5])

    def compiles(n):
        (x**n * n + n / x - x % n).tolist()
        stats = torchlike.compiler.stats()
        return stats["compiles"] + stats["single_compiles"]

    compiles(0.3), compiles(0.7)
    before = compiles(1.7)
    assert compiles(2.2) == compiles(3.4) == before


@pytest.mark.parametrize(
    "name", ["abs_", "sqrt_", "relu_", "clamp_", "fill_", "zero_", "neg_", "round_"]
)
def test_inplace_functions(name):
    args = {"clamp_": (0.0, 1.0), "fill_": (3.0,)}.get(name, ())
    results = []
    for lib in (torchlike, torch):
        x = lib.tensor([0.3, -0.0, 1.7])
        assert getattr(lib, name)(x, *args) is x
        results.append(x)
    same(*results, 1e-6, name)


def test_questions_about_whole_tensors():
    for lib in (torchlike, torch):
        assert lib.is_nonzero(lib.tensor([1])) and not lib.tensor(0.0).is_nonzero()
        assert lib.tensor([1, 2]).is_same_size(lib.tensor([1.5, 2.5]))
        with pytest.raises(RuntimeError):
            lib.is_nonzero(lib.ones(2))


def test_floor_divide_has_no_derivative():
    for lib in (torchlike, torch):
        x = lib.tensor([5.0], requires_grad=True)
        y = x // 2
        assert y.requires_grad
        with pytest.raises(
            RuntimeError, match="derivative for aten::floor_divide is not implemented"
        ):
            y.backward()


@pytest.mark.parametrize(
    "call",
    [lambda lib, x: x.abs(), lambda lib, x: lib.atan2(x, x * 2), lambda lib, x: x.abs().sqrt(),
     lambda lib, x: lib.nn.functional.l1_loss(x, x.detach() * 0, reduction="none")],
    ids=["abs", "atan2", "infinite", "l1_loss"],
)  # fmt: skip
def test_slopes_at_zero(call):
    grads = []
    for lib in (torchlike, torch):
        x = lib.tensor([0.0, -0.0, 2.0, -3.0], requires_grad=True)
        call(lib, x).sum().backward()
        grads.append(x.grad.numpy())
    np.testing.assert_allclose(*grads, rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [lambda lib, x: x.clamp(min=0.5), lambda lib, x: x.clamp(-9.0, -1.5),
     lambda lib, x: x.clamp(lib.ones(4), lib.full((4,), 2.0)), lambda lib, x: x.clamp_max(-2.0),
     lambda lib, x: lib.maximum(x, lib.ones(4)), lambda lib, x: lib.minimum(x, -2 * lib.ones(4)),
     lambda lib, x: lib.fmax(x, lib.ones(4)), lambda lib, x: lib.fmin(x, -2 * lib.ones(4)),
     lambda lib, x: x.clamp(min=lib.finfo(lib.float32).tiny).log().pow(2)],
    ids=["min", "both", "tensors", "max", "maximum", "minimum", "fmax", "fmin", "log"],
)  # fmt: skip
def test_infinite_gradients_stop_at_limits(call):
    """What does not pass is 0, not infinity times 0."""
    grads = []
    for lib in (torchlike, torch):
        x = lib.full((4,), -1.0, requires_grad=True)
        y = call(lib, x)
        y.backward(lib.full_like(y, float("inf")))
        grads.append(x.grad.numpy())
    np.testing.assert_array_equal(*grads)
