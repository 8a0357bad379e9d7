"""Elementwise primitives, and conversions between dtypes."""

from __future__ import annotations

from functools import reduce

import numpy as np

from torchlike._engine.primitives.registry import (
    BUILDERS,
    ELEMENTWISE,
    F32,
    HALF,
    Unsupported,
    builder,
)


def elementwise(name, fn, *, half=True, ints=None, refuse=""):
    """One numpy function; in half precision around float32, for integers ``ints`` if given."""

    def build(params, ins, outs):
        d = np.dtype(ins[0].dtype)
        if d.kind in refuse:
            raise Unsupported(name)
        if ints is not None and d.kind in "iu":
            return ints
        if half and (d.name in HALF or d.name.startswith("float8")):
            out = np.dtype(outs[0].dtype)
            return lambda *xs: fn(*[x.astype(F32) for x in xs]).astype(out)
        return fn

    BUILDERS[name] = build
    ELEMENTWISE.add(name)


def _divide_integers(x, y):
    q = np.floor_divide(x, y)
    rest = x - q * y
    q = q + ((rest != 0) & ((x < 0) != (y < 0)))
    q = q.astype(x.dtype)
    return np.where(y == 0, np.array(-1).astype(x.dtype), q)


def _rest_of_integers(x, y):
    return np.where(y == 0, x, np.fmod(x, y))


def _sign(x):
    return np.where(x == 0, x, np.sign(x))


def _power(x, y):
    return np.power(x, y.astype(x.dtype) if y.dtype != x.dtype else y)


def _logistic(x):
    return 1 / (1 + np.exp(-x))


def _shift_left(x, n):
    width = x.dtype.itemsize * 8
    fits = n.astype(np.uint64) < width
    return np.where(fits, np.left_shift(x, np.where(fits, n, n.dtype.type(0))), x.dtype.type(0))


def _shift_right(x, n):
    width = x.dtype.itemsize * 8
    top = n.dtype.type(width - 1)
    fits = n.astype(np.uint64) < width
    shifted = np.right_shift(x, np.where(fits, n, top))
    return shifted if x.dtype.kind == "i" else np.where(fits, shifted, x.dtype.type(0))


def _shift_right_logical(x, n):
    if x.dtype.kind == "u":
        return _shift_right(x, n)
    unsigned = np.dtype(f"u{x.dtype.itemsize}")
    return _shift_right(np.asarray(x).view(unsigned), n.astype(unsigned)).view(x.dtype)


def _special(name):
    def call(*xs):
        import scipy.special  # slow to import, and rarely needed

        out = getattr(scipy.special, name)(*xs)
        return out if out.dtype == xs[0].dtype else out.astype(xs[0].dtype)

    return call


def _lgamma(x):
    return np.where(np.isinf(x), np.abs(x), _special("gammaln")(x))


def _make_complex(x, y):
    out = np.empty(np.broadcast_shapes(x.shape, y.shape), np.result_type(x.dtype, np.complex64))
    out.real, out.imag = x, y
    return out


def _half_away(x):
    whole = np.trunc(x)
    return np.where(np.abs(x - whole) >= 0.5, whole + np.sign(x), whole).astype(x.dtype)


for _name, _fn in {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative,
    "eq": np.equal, "ne": np.not_equal, "is_finite": np.isfinite, "real": np.real,
    "imag": np.imag, "complex": _make_complex, "conj": np.conj, "nextafter": np.nextafter,
    "and": np.bitwise_and, "or": np.bitwise_or, "xor": np.bitwise_xor, "not": np.invert,
    "square": np.square, "copy": lambda x: x, "copy_p": lambda x: x,
    "stop_gradient": lambda x: x,
}.items():  # fmt: skip
    elementwise(_name, _fn, half=False)
for _name, _fn in {
    "lt": np.less, "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal,
    "max": np.maximum, "min": np.minimum,
}.items():  # fmt: skip
    elementwise(_name, _fn, half=False, refuse="c")
for _name, _fn in {
    "exp": np.exp, "exp2": np.exp2, "log": np.log, "log2": np.log2, "log1p": np.log1p,
    "expm1": np.expm1, "tanh": np.tanh, "sin": np.sin, "cos": np.cos, "tan": np.tan,
    "asin": np.arcsin, "acos": np.arccos, "atan": np.arctan, "sinh": np.sinh, "cosh": np.cosh,
    "asinh": np.arcsinh,
    "acosh": np.arccosh, "atanh": np.arctanh, "sqrt": np.sqrt, "abs": np.abs,
    "rsqrt": lambda x: 1 / np.sqrt(x), "logistic": _logistic, "pow": _power,
}.items():  # fmt: skip
    elementwise(_name, _fn)
for _name, _fn in {
    "cbrt": np.cbrt, "atan2": np.arctan2, "floor": np.floor, "ceil": np.ceil,
    "erf": _special("erf"), "erfc": _special("erfc"), "erf_inv": _special("erfinv"),
    "lgamma": _lgamma, "digamma": _special("psi"), "zeta": _special("zeta"),
    "igamma": _special("gammainc"), "igammac": _special("gammaincc"),
    "bessel_i0e": _special("i0e"), "bessel_i1e": _special("i1e"),
}.items():  # fmt: skip
    elementwise(_name, _fn, refuse="c")
elementwise("sign", _sign)
# Of jax 0.12 and later.
elementwise("one_minus_square", lambda x: (1 + x) * (1 - x))
elementwise("polynomial", lambda x, *factors: reduce(lambda y, c: y * x + c, reversed(factors)))
elementwise("div", np.true_divide, half=False, ints=_divide_integers)
elementwise("rem", np.fmod, ints=_rest_of_integers)
elementwise("shift_left", _shift_left, half=False)
elementwise("shift_right_arithmetic", _shift_right, half=False, refuse="u")
elementwise("shift_right_logical", _shift_right_logical, half=False)
elementwise("population_count", lambda x: np.bitwise_count(x).astype(x.dtype), half=False)
elementwise(
    "clamp", lambda low, x, high: np.minimum(np.maximum(low, x), high), half=False, refuse="c"
)
ELEMENTWISE.update(("convert_element_type", "integer_pow", "round", "select_n"))


@builder("round")
def _round(params, ins, outs):
    nearest_even = int(params["rounding_method"]) == 1
    return np.rint if nearest_even else _half_away


@builder("reduce_precision")
def _reduce_precision(params, ins, outs):
    bits = params["exponent_bits"], params["mantissa_bits"]
    own = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}
    if own.get(np.dtype(ins[0].dtype).name) != bits:
        raise Unsupported("reduce_precision")
    return lambda x: x


@builder("integer_pow")
def _integer_pow(params, ins, outs):
    n, d = params["y"], np.dtype(ins[0].dtype)
    if n == 2:
        return lambda x: x * x
    if n < 0 and d.kind not in "fcV":
        raise Unsupported("integer_pow")

    def power(x):
        out, base, k = None, x, abs(n)
        while k:
            if k & 1:
                out = base if out is None else out * base
            base, k = base * base, k >> 1
        out = np.ones_like(x) if out is None else out
        return 1 / out if n < 0 else out

    if d.name in HALF:
        return lambda x: power(x.astype(F32)).astype(d)
    return power


@builder("select_n")
def _select(params, ins, outs):
    if np.dtype(ins[0].dtype).kind == "b":
        if len(ins) == 2:
            return lambda which, x: x
        return lambda which, no, yes: np.where(which, yes, no)

    def choose(which, *cases):
        out = cases[-1]
        for n in range(len(cases) - 2, -1, -1):
            out = np.where(which <= n, cases[n], out)
        return out

    return choose


@builder("convert_element_type")
def _convert(params, ins, outs):
    source, target = np.dtype(ins[0].dtype), np.dtype(params["new_dtype"])
    if source == target:
        return lambda x: x
    if target.kind == "b":
        return lambda x: x != 0
    if source.kind == "c" and target.kind != "c":
        return lambda x: x.real.astype(target)
    real = source.kind == "f" or source.kind == "V"
    if real and target.kind in "iu":
        low, high = float(np.iinfo(target).min), float(np.iinfo(target).max) + 1
        if target.kind == "u":
            low = -1.0
        wide = np.float64 if source.name == "float64" else np.float32
        top, bottom = np.iinfo(target).max, np.iinfo(target).min

        def convert(x):
            x = x.astype(wide)
            inside = (x > low if low == -1.0 else x >= low) & (x < high)
            if inside.all():
                return x.astype(target)
            safe = np.where(inside, x, 0).astype(target)
            edge = np.where(x >= high, target.type(top), target.type(bottom))
            return np.where(inside, safe, np.where(x != x, target.type(0), edge))

        return convert
    return lambda x: x.astype(target)


@builder("bitcast_convert_type")
def _bitcast(params, ins, outs):
    source, target = np.dtype(ins[0].dtype), np.dtype(params["new_dtype"])
    if "b" in (source.kind, target.kind):
        raise Unsupported("bitcast of bool")
    shape = outs[0].shape

    def cast(x):
        x = np.array(x, order="C", ndmin=1)
        return x.view(target).reshape(shape)

    return cast
