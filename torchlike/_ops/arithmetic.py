"""Arithmetic ops: sums, products, quotients, remainders and powers of two operands."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax

from torchlike._core import dtypes as dt
from torchlike._core.errors import NONZERO
from torchlike._ops import conventions, loops
from torchlike._ops.derivatives import NO_DERIVATIVE
from torchlike._ops.overloads import by_operand, by_sides, is_tensor
from torchlike._ops.table import (
    FORMS,
    Number,
    binary,
    op,
    report_bad_index,
    torch_dtype,
    unary,
)

_BY_OTHER = {"input": ("other",), "other": ("input", "other")}


def not_implemented(kernel: str, x):
    """PyTorch's error for a dtype that a kernel does not know."""
    return NotImplementedError(
        f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[torch_dtype(x)]}'"
    )


def refuse(kernel: str, x, *categories) -> None:
    """Raise if the dtype is of one of the categories (``dt.BOOL`` to ``dt.COMPLEX``)."""
    if torch_dtype(x).category in categories:
        raise not_implemented(kernel, x)


def is_floating(x) -> bool:
    """Whether an array is real and floating; bfloat16 and float8 included."""
    return jnp.issubdtype(x.dtype, jnp.floating)


# ---- sums and products -------------------------------------------------------------------------


_BOTH = ("input", "other")  # PyTorch adds, subtracts, multiplies and divides two numbers


@op(promotes="result", computes="opmath", linear=True, numbers=_BOTH, forms=FORMS)
def add(input, other, *, alpha: Number = None):
    """input + alpha * other."""
    if input.dtype == bool:
        return input | (other if alpha is None else other & alpha)
    return input + (other if alpha is None else alpha * other)


def _no_bool_subtraction(input, other, alpha=None):
    tensors = [hasattr(x, "shape") and x.dtype is dt.bool_ for x in (input, other)]
    numbers = [x.__class__ is tuple and x[0] is bool for x in (input, other)]
    if all(tensors):
        raise RuntimeError(
            "Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
            "`logical_xor()` operator instead."
        )
    if any(tensors) or any(numbers):
        raise RuntimeError(
            "Subtraction, the `-` operator, with a bool tensor is not supported. If you are trying "
            "to invert a mask, use the `~` or `logical_not()` operator instead."
        )


@op(promotes="result", computes="opmath", linear=True, refuses=_no_bool_subtraction, numbers=_BOTH,
    forms=FORMS)  # fmt: skip
def sub(input, other, *, alpha: Number = None):
    """input - alpha * other."""
    return input - (other if alpha is None else alpha * other)


@op(promotes="result", computes="opmath", linear=True, refuses=_no_bool_subtraction,
    numbers=("other",), forms=("function",),
    grad_name=by_operand("Rsub", "other", 0, 1))  # fmt: skip
def rsub(input, other, *, alpha: Number = None):
    """other - alpha * input."""
    return other - (input if alpha is None else alpha * input)


binary("mul", jnp.multiply, multilinear=True, numbers=_BOTH)


@op(promotes="result", computes="opmath", numbers=(), forms=FORMS,
    needs={"input": (), "tensor1": ("tensor2",), "tensor2": ("tensor1",)})  # fmt: skip
def addcmul(input, tensor1, tensor2, *, value: Number = 1):
    """input + value * tensor1 * tensor2."""
    refuse("addcmul_cpu_out", input, dt.BOOL)
    return input + value * tensor1 * tensor2


def _no_integer_quotient(input, tensor1, tensor2, value):
    if all(hasattr(x, "shape") and x.dtype.category <= dt.INTEGRAL for x in (tensor1, tensor2)):
        raise RuntimeError(
            "Integer division with addcdiv is no longer supported, and in a future  release "
            "addcdiv will perform a true division of tensor1 and tensor2. The historic addcdiv "
            "behavior can be implemented as (input + value * torch.trunc(tensor1 / "
            "tensor2)).to(input.dtype) for integer inputs and as (input + value * tensor1 / "
            "tensor2) for float inputs. The future addcdiv behavior is just the latter "
            "implementation: (input + value * tensor1 / tensor2), for all dtypes."
        )


@op(promotes="result", computes="opmath", numbers=(), forms=FORMS, refuses=_no_integer_quotient,
    needs={"input": (), "tensor1": ("tensor2",), "tensor2": ("tensor1", "tensor2")})  # fmt: skip
def addcdiv(input, tensor1, tensor2, *, value: Number = 1):
    """input + value * tensor1 / tensor2."""
    return input + conventions.quotient(value * tensor1, tensor2)


def _same_dtypes(input, end, weight):
    for name, x in (("end", end), ("weight", weight)):
        if hasattr(x, "shape") and hasattr(input, "shape") and x.dtype is not input.dtype:
            raise RuntimeError(
                f"expected dtype {_C_NAMES.get(input.dtype, input.dtype.name)} for `{name}` but "
                f"got dtype {_C_NAMES.get(x.dtype, x.dtype.name)}"
            )
    if weight.__class__ is tuple and weight[0] is complex and input.dtype in _REAL:
        raise dt.does_not_fit(dt.float64 if input.dtype is dt.float64 else dt.float32)
    if hasattr(input, "shape") and input.dtype.category <= dt.INTEGRAL:
        kernel = "lerp_kernel_tensor" if hasattr(weight, "shape") else "lerp_kernel_scalar"
        raise NotImplementedError(
            f"\"{kernel}\" not implemented for '{dt.SCALAR_NAMES[input.dtype]}'"
        )


_REAL = (dt.float16, dt.bfloat16, dt.float32, dt.float64)
_C_NAMES = {dt.float32: "float", dt.float64: "double", dt.int64: "long int", dt.int32: "int"}


@op(computes="opmath", promotes="result", numbers=("weight",), forms=FORMS, refuses=_same_dtypes,
    grad_name=by_operand("Lerp", "weight", 1, 0),
    needs={"input": ("weight",), "end": ("weight",), "weight": ("input", "end")})  # fmt: skip
def lerp(input, end, weight):
    """input + weight * (end - input), exact at both ends."""
    near = jnp.abs(weight) < 0.5
    span = end - input
    return jnp.where(near, input + weight * span, end - span * (1 - weight))


# ---- quotients ---------------------------------------------------------------------------------

binary(
    "true_divide", conventions.quotient, promotes="float", grad_name="DivBackward0", forms=(),
    needs=_BY_OTHER, numbers=_BOTH,
)  # fmt: skip
unary(
    "reciprocal", lambda x: 1 / x, saves="result", vjp=conventions.reciprocal
)  # fmt: skip


def divide_down(x, y):
    """The quotient rounded down; for floats the integer that ``fmod`` leaves consistent."""
    refuse("div_floor_cpu", x, dt.BOOL, dt.COMPLEX)
    if not is_floating(x):
        return jnp.floor_divide(x, y)
    rest = lax.rem(*jnp.broadcast_arrays(x, y))
    quotient = (x - rest) / y
    quotient = jnp.where((rest != 0) & ((y < 0) != (rest < 0)), quotient - 1, quotient)
    whole = jnp.floor(quotient)
    whole = jnp.where(quotient - whole > 0.5, whole + 1, whole)
    whole = jnp.where(quotient == 0, jnp.copysign(jnp.zeros_like(x), x / y), whole)
    return jnp.where(y == 0, x / y, whole)


def divide_toward_zero(x, y):
    """The quotient rounded toward zero."""
    refuse("div_trunc_cpu", x, dt.BOOL, dt.COMPLEX)
    if is_floating(x):
        return jnp.trunc(conventions.quotient(x, y))
    return lax.div(*jnp.broadcast_arrays(x, y))


binary("floor_divide", divide_down, vjp=NO_DERIVATIVE, numbers=_BOTH, forms=(),
       grad_name="NotImplemented")  # fmt: skip
binary("div_floor", lambda x, y: lax.stop_gradient(divide_down(x, y)), linear=True, numbers=_BOTH,
       grad_name="DivBackward2", forms=())  # fmt: skip
binary("div_trunc", lambda x, y: lax.stop_gradient(divide_toward_zero(x, y)), linear=True,
       numbers=_BOTH, grad_name="DivBackward2", forms=())  # fmt: skip


@op(promotes="result", computes="opmath", forms=(), needs=_BY_OTHER,
    grad_name=by_operand("Remainder", "other", 1, 0))  # fmt: skip
def remainder(input, other):
    """The remainder with the sign of the divisor, as Python's %."""
    refuse("remainder_cpu", input, dt.BOOL, dt.COMPLEX)
    return _modulo(input, other)


def _modulo_value(x, y):
    if not is_floating(x):
        return jnp.remainder(x, y)
    rest = lax.rem(*jnp.broadcast_arrays(x, y))
    return jnp.where((rest != 0) & ((y < 0) != (rest < 0)), rest + y, rest)


_modulo = conventions.with_slopes(
    _modulo_value,
    lambda r, x, y: jnp.ones((), r.dtype),
    lambda r, x, y: -divide_down(x, y),
)


@op(promotes="result", computes="opmath", numbers=("other",), forms=(), needs=_BY_OTHER,
    grad_name=by_operand("Fmod", "other", 1, 0))  # fmt: skip
def fmod(input, other):
    """The remainder with the sign of the dividend, as C's fmod."""
    refuse("fmod_cpu", input, dt.BOOL, dt.COMPLEX)
    return _rest(input, other)


_rest = conventions.with_slopes(
    lambda x, y: lax.rem(*jnp.broadcast_arrays(x, y)),
    lambda r, x, y: jnp.ones((), r.dtype),
    lambda r, x, y: -divide_toward_zero(x, y),
)


def _refusing_zero(fn, kernel):
    """An integer division that reports a divisor of zero, of which XLA would make some number."""

    def divide(input, other):
        refuse(kernel, input, dt.BOOL)
        report_bad_index((other == 0).astype(jnp.int64), 1)
        return fn(input, other)

    return divide


_KERNELS = {"floor_divide": "div_floor_cpu"}
for _name, _fn in {
    "floor_divide": divide_down, "div_floor": divide_down, "div_trunc": divide_toward_zero,
    "remainder": _modulo, "fmod": _rest,
}.items():  # fmt: skip
    binary(
        f"{_name}{NONZERO}", _refusing_zero(_fn, _KERNELS.get(_name, f"{_name}_cpu")),
        checks=True, forms=(), differentiable=False,
        computes=None, numbers=("other",) if _name == "fmod" else None,
        signature=f"{_name}(input, other)",
    )  # fmt: skip


# ---- powers ------------------------------------------------------------------------------------


def _repeated_product(x, y):
    """x ** y for integers; jnp.power looks at no more than the last six bits of the exponent."""

    def step(state):
        result, base, left = state
        return jnp.where(left & 1, result * base, result), base * base, left >> 1

    x, y = jnp.broadcast_arrays(x, y)
    return loops.while_loop(lambda state: (state[2] > 0).any(), step, (jnp.ones_like(x), x, y))[0]


def _integer_power(x, y):
    if torch_dtype(x).is_signed:
        # x ** -n is 0 except for 1 and -1.
        odd = jnp.where(y % 2 == 0, 1, -1).astype(x.dtype)
        inverse = jnp.where(x == 1, 1, jnp.where(x == -1, odd, 0)).astype(x.dtype)
        return jnp.where(y < 0, inverse, _repeated_product(x, jnp.maximum(y, 0)))
    return _repeated_product(x, y)


def _power(x, y):
    if torch_dtype(x).category == dt.INTEGRAL:
        return _integer_power(x, y)
    if jnp.iscomplexobj(x):
        powers = jnp.where((x == 0) & (y.real > 0), jnp.zeros((), x.dtype), jnp.power(x, y))
        of_zero = jnp.where(x == 0, complex("nan+nanj"), 1).astype(x.dtype)  # e ** (0 * log(x))
        return jnp.where(y == 0, of_zero, powers)
    return jnp.power(x, y)


_differentiable_power = conventions.with_slopes(
    _power, conventions.power_by_base, conventions.power_by_exponent
)


def _power_name(c) -> str:
    return "PowBackward2" if not is_tensor(c.input) else f"PowBackward{int(is_tensor(c.exponent))}"


@op("pow", promotes="result", computes="opmath", forms=(),
    grad_name=_power_name)  # fmt: skip
def pow_(input, exponent):
    """input ** exponent."""
    refuse("pow", input, dt.BOOL)
    return _differentiable_power(input, exponent)


@op(promotes="result", computes="opmath", forms=(), grad_name="PowBackward0")
def pow_constant(input, exponent: float):
    """input ** a constant of which a closed form is known."""
    return CLOSED_POWERS[exponent](input)


CLOSED_POWERS = {
    0: jnp.ones_like,
    0.5: jnp.sqrt,
    -0.5: conventions.with_slopes(lambda x: 1 / jnp.sqrt(x), lambda r, x: -0.5 * r / x),
    1: lambda x: x,
    2: lambda x: x * x,
    3: lambda x: x * x * x,
    -1: lambda x: 1 / x,
    -2: conventions.with_slopes(lambda x: 1 / (x * x), lambda r, x: -2 * r / x),
}


# ---- of two operands, floating -----------------------------------------------------------------


@op(promotes="result", computes="opmath", numbers=(), forms=FORMS)
def hypot(input, other):
    """The length of the vector (input, other)."""
    refuse("hypot_cpu", input, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return _hypot(input, other)


_hypot = conventions.with_slopes(jnp.hypot, lambda r, x, y: x / r, lambda r, x, y: y / r)


@op(promotes="result", computes="opmath", numbers=(), forms=("function", "method", "out"))
def logaddexp(input, other):
    """log(exp(input) + exp(other)) without overflow."""
    refuse("logaddexp_cpu", input, dt.BOOL, dt.INTEGRAL)
    if not jnp.iscomplexobj(input):
        return _log_sum(input, other)
    # The larger term keeps its imaginary part, which jnp's would bring into (-pi, pi].
    first = input.real >= other.real
    high, low = jnp.where(first, input, other), jnp.where(first, other, input)
    return high + jnp.log1p(jnp.exp(low - high))


@op(promotes="result", computes="opmath", numbers=(), forms=("function", "method", "out"))
def logaddexp2(input, other):
    """log2(2 ** input + 2 ** other) without overflow."""
    refuse("logaddexp2_cpu", input, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return _log2_sum(input, other)


_log_sum = conventions.with_slopes(jnp.logaddexp, *conventions.LOG_SUM)
_log2_sum = conventions.with_slopes(jnp.logaddexp2, *conventions.LOG2_SUM)


@op(promotes="float", computes="opmath", forms=FORMS, grad_name=by_sides("Xlogy"))
def xlogy(input, other):
    """input * log(other), 0 where the input is 0 and the other no nan."""
    refuse("xlogy_cpu", input, dt.COMPLEX)
    return _xlogy(input, other)


_xlogy = conventions.with_slopes(
    lambda x, y: jnp.where(
        jnp.isnan(y), jnp.asarray(jnp.nan, x.dtype),
        conventions.zero_where(x == 0, x * jnp.log(y)),
    ),
    conventions.xlogy_by_x,
    lambda r, x, y: x / y,
)  # fmt: skip


@op(promotes="float", computes="opmath", numbers=("other",), forms=FORMS,
    grad_name=by_operand("Copysign", "other", 0, 1))  # fmt: skip
def copysign(input, other):
    """The magnitude of the input with the sign of the other."""
    refuse("copysign_cpu", input, dt.COMPLEX)
    return _copysign(input, other)


_copysign = conventions.with_slopes(
    jnp.copysign,
    lambda r, x, y: conventions.zero_where(x == 0, r / jnp.where(x == 0, 1, x)),
    lambda r, x, y: jnp.zeros((), r.dtype),
)


def _next_gradient(c, g):
    """PyTorch's: that of the input, none where nothing moved."""
    return jnp.where(c.operands[0] == c.operands[1], 0, g), jnp.zeros_like(g)


@op(promotes="result", numbers=(), forms=FORMS, vjp=_next_gradient)
def nextafter(input, other):
    """The next floating number after the input, toward the other."""
    refuse("nextafter_cpu", input, dt.BOOL, dt.INTEGRAL, dt.COMPLEX)
    return jnp.nextafter(input, other)


@op(promotes="result", numbers=(), forms=FORMS)
def gcd(input, other):
    """The greatest common divisor."""
    refuse("gcd_cpu", input, dt.BOOL, dt.FLOATING, dt.COMPLEX)
    return jnp.gcd(input, other)


@op(promotes="result", numbers=(), forms=FORMS)
def lcm(input, other):
    """The least common multiple."""
    refuse("lcm_cpu", input, dt.BOOL, dt.FLOATING, dt.COMPLEX)
    return jnp.lcm(input, other)
