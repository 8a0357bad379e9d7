"""Pointwise functions whose calls PyTorch resolves by hand: division, powers, choice, rounding."""

from __future__ import annotations

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NONZERO, warn_once
from torchlike._ops.arithmetic import CLOSED_POWERS
from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.dispatch import TENSORS, apply
from torchlike._tensor.forms import FUNCTIONS, METHODS, alias, function, method
from torchlike._tensor.host_data import check_limit
from torchlike._tensor.shapes import named
from torchlike._tensor.views import apply_view, conjugated

_DIVIDE, _POW, _CLOSED = TABLE["true_divide"], TABLE["pow"], TABLE["pow_constant"]
_INTEGRAL = dt.INTEGRAL


def written(out, result, *operands):
    """The result, or ``out`` after the result went into it."""
    return result if out is None else dispatch.copy_out(out, result, beside=operands)


def is_tensor(x) -> bool:
    """Whether an argument is one of our tensors."""
    return x.__class__ in TENSORS or isinstance(x, dispatch._Tensor)


# ---- division ----------------------------------------------------------------------------------


def _division(name, a, b):
    """The op for a division that may be one of integers: by zero it raises, at once by a number
    and at the next value that is looked at by a tensor; on accelerators it gives some number."""
    if is_tensor(b):
        aval = b._value.aval
        if aval.dtype.category <= _INTEGRAL and aval.device is devices.CPU:
            kind = (
                a._value.aval.dtype.category if is_tensor(a) else dt.scalar_dtype(type(a)).category
            )
            if kind <= _INTEGRAL:
                return TABLE[name + NONZERO]
    elif (b.__class__ is int or b.__class__ is bool) and b == 0:
        kind = a._value.aval.dtype.category if is_tensor(a) else dt.scalar_dtype(type(a)).category
        if kind == dt.INTEGRAL or (kind == dt.BOOL and b.__class__ is int):
            raise RuntimeError("ZeroDivisionError")
    return TABLE[name]


@function(method=True, inplace=True)
def div(input, other, *, rounding_mode=None, out=None):
    """The quotient, as it is or rounded by ``"floor"`` or ``"trunc"``
    (https://pytorch.org/docs/stable/generated/torch.div.html)."""
    if rounding_mode is None:
        result = apply(_DIVIDE, (input, other))
        return result if out is None else written(out, result, input, other)
    if rounding_mode not in ("floor", "trunc"):
        raise RuntimeError(
            "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found "
            f"'{rounding_mode}'"
        )
    op = _division(f"div_{rounding_mode}", input, other)
    return written(out, apply(op, (input, other)), input, other)


@function(method=True, inplace=True)
def true_divide(input, other, *, out=None):
    """The quotient, floating also for integers."""
    return written(out, apply(_DIVIDE, (input, other)), input, other)


def _checking_zero(name):
    def divide(input, other, *, out=None):
        return written(out, apply(_division(name, input, other), (input, other)), input, other)

    divide.__name__ = name
    divide.__doc__ = TABLE[name].fn.__doc__ or f"{name}, elementwise."
    return divide


for _name in ("floor_divide", "remainder", "fmod"):
    function(_name, method=True, inplace=True)(_checking_zero(_name))


# ---- powers ------------------------------------------------------------------------------------


@function("pow", method=True, inplace=True)
def pow_(input, exponent, *, out=None):
    """input ** exponent; small constant exponents become multiplications
    (https://pytorch.org/docs/stable/generated/torch.pow.html)."""
    kind = exponent.__class__
    if (kind is int or kind is float or kind is bool) and is_tensor(input):
        category = input._value.aval.dtype.category
        if exponent in CLOSED_POWERS and (
            category > _INTEGRAL
            or (category == _INTEGRAL and kind is not float and exponent >= 0)
            or kind is bool
        ):
            return written(out, apply(_CLOSED, (input,), (exponent,)), input)
        if kind is int and exponent < 0 and category <= _INTEGRAL:
            raise RuntimeError("Integers to negative integer powers are not allowed.")
    if kind is complex and exponent == 0 and is_tensor(input):
        ones = apply(_CLOSED, (input,), (0,))  # of zero, too, unlike the power of two tensors
        return written(out, ones * (1 + 0j), input)
    return written(out, apply(_POW, (input, exponent)), input, exponent)


@function(method=True, inplace=True)
def square(input, *, out=None):
    """input * input."""
    if not is_tensor(input):
        raise TypeError(
            f"square(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}"
        )
    return pow_(input, 2, out=out)


def _as_double(x):
    wide = dt.complex128 if _is_complex(x) else dt.float64
    if is_tensor(x):
        return x.to(wide)
    return complex(x) if wide is dt.complex128 else float(x)


def _is_complex(x):
    return x.is_complex() if is_tensor(x) else isinstance(x, complex)


@function(method=True)
def float_power(input, exponent, *, out=None):
    """input ** exponent in double precision."""
    if not is_tensor(input) and not is_tensor(exponent):
        raise TypeError("float_power(): argument 'input' (position 1) must be Tensor")
    base, power = _as_double(input), _as_double(exponent)
    if not is_tensor(base):
        base = FUNCTIONS["tensor"](
            base, dtype=dt.complex128 if isinstance(base, complex) else dt.float64
        )
    return dispatch.into(
        out, pow_(base, power),
        "the output given to float_power has dtype {got} but the operation's result requires "
        "dtype {want}",
    )  # fmt: skip


@method("float_power_")
def float_power_(self, exponent):
    """In-place form of ``float_power``; the tensor must be double."""
    dispatch.check_inplace(self)
    wide = dt.complex128 if _is_complex(self) or _is_complex(exponent) else dt.float64
    if self.dtype is not wide:
        raise RuntimeError(
            f"the base given to float_power_ has dtype {dt.SCALAR_NAMES[self.dtype]} but the "
            f"operation's result requires dtype {dt.SCALAR_NAMES[wide]}"
        )
    return METHODS["pow_"](self, _as_double(exponent))


@function(method=True, inplace=True)
def ldexp(input, other, *, out=None):
    """input * 2 ** other."""
    for i, (name, x) in enumerate((("input", input), ("other", other)), 1):
        if not is_tensor(x):
            raise TypeError(
                f"ldexp(): argument '{name}' (position {i}) must be Tensor, not {type(x).__name__}"
            )
    if input.is_floating_point() and other.dtype is dt.bool_:
        raise NotImplementedError("\"ldexp_cpu_exp\" not implemented for 'Bool'")
    if input.is_floating_point() and other.dtype.category == dt.INTEGRAL:
        # In two steps, as 2 ** other may be beyond what the result's dtype holds.
        half = other >> 1
        first, second = (pow_(2.0, x.to(input.dtype)) for x in (half, other - half))
        return written(out, named(input * first * second, "LdexpBackward0"), input)
    return written(out, named(input * pow_(2.0, other), "LdexpBackward0"), input)


# ---- signs -------------------------------------------------------------------------------------


@function(method=True)
def positive(input):
    """The tensor itself; raises for bool."""
    if input.dtype is dt.bool_:
        raise RuntimeError("The `+` operator, on a bool tensor is not supported.")
    return input


@function("abs")
def abs(input, *, out=None):
    """Sizes, of complex numbers as well (https://pytorch.org/docs/stable/generated/torch.abs.html)."""
    result = apply(TABLE["abs"], (input,))
    if out is None:
        return result
    if not input.is_complex():
        return dispatch.copy_out(out, result, "Found dtype {got} but expected {want}", (), (input,))
    if is_tensor(out) and out.is_complex() and out.dtype is not input.dtype:
        raise RuntimeError(
            f"Found dtype {dt.SCALAR_NAMES[out.dtype]} but expected {dt.SCALAR_NAMES[input.dtype]}"
        )
    return written(out, result, input)


@method("abs_")
def abs_(self):
    """In-place form of ``abs``; not for complex tensors."""
    if self.is_complex():
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    return dispatch.apply_inplace(TABLE["abs"], (self,))


@method("__invert__")
def invert(self):
    """``~``: bits or truth values flipped."""
    if self.dtype.category > dt.INTEGRAL:
        raise TypeError(
            "~ (operator.invert) is only implemented on integer and Boolean-type tensors"
        )
    return apply(TABLE["bitwise_not"], (self,))


# ---- comparison of whole tensors ---------------------------------------------------------------


@function(method=True)
def isclose(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False):
    """Whether elements are equal up to ``atol + rtol * |other|``."""
    if is_tensor(input) and is_tensor(other) and input.dtype is not other.dtype:
        raise RuntimeError(
            f"{dt.SCALAR_NAMES[input.dtype]} did not match {dt.SCALAR_NAMES[other.dtype]}"
        )
    if rtol < 0 or atol < 0:
        name, value = ("rtol", rtol) if rtol < 0 else ("atol", atol)
        raise RuntimeError(f"{name} must be greater than or equal to zero, but got {value}")
    return apply(TABLE["isclose"], (input, other), (float(rtol), float(atol), equal_nan))


@function(method=True)
def allclose(input, other, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False):
    """Whether all elements are close."""
    return bool(isclose(input, other, rtol, atol, equal_nan).all())


@function(method=True)
def equal(input, other) -> bool:
    """Whether two tensors have the same shape and elements."""
    for i, (name, x) in enumerate((("input", input), ("other", other)), 1):
        if not is_tensor(x):
            raise TypeError(
                f"equal(): argument '{name}' (position {i}) must be Tensor, not {type(x).__name__}"
            )
    if input.device is not other.device:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, "
            f"{input.device} and {other.device}!"
        )
    if input._value.aval.shape != other._value.aval.shape:
        return False
    return bool((input == other).all())


@function(method=True)
def is_nonzero(input) -> bool:
    """Whether the only element is not zero."""
    if input.numel() != 1:
        kind = "no values" if input.numel() == 0 else "more than one value"
        raise RuntimeError(f"Boolean value of Tensor with {kind} is ambiguous")
    return bool(input)


@function(method=True)
def is_same_size(input, other) -> bool:
    """Whether two tensors have the same shape."""
    return input._value.aval.shape == other._value.aval.shape


# ---- choice ------------------------------------------------------------------------------------


@function()
def where(condition, input=None, other=None, *, out=None):
    """``input`` where the condition holds, ``other`` elsewhere; alone, the indices where it holds
    (https://pytorch.org/docs/stable/generated/torch.where.html)."""
    if input is None and other is None:
        return FUNCTIONS["nonzero"](condition, as_tuple=True)
    if input is None or other is None:
        raise TypeError(
            "where() received an invalid combination of arguments: one of 'input' and 'other' is "
            "missing"
        )
    if not is_tensor(condition):
        raise TypeError(
            "where(): argument 'condition' (position 1) must be Tensor, not "
            f"{type(condition).__name__}"
        )
    if condition.dtype is not dt.bool_ and condition.dtype is not dt.uint8:
        raise RuntimeError(
            "where expected condition to be a boolean tensor, but got a tensor with dtype "
            f"{dt.SCALAR_NAMES[condition.dtype]}"
        )
    if condition.dtype is dt.uint8:
        warn_once(
            "where received a uint8 condition tensor. This behavior is deprecated and will be "
            "removed in a future version of PyTorch. Use a boolean condition instead."
        )
    for i, x in enumerate((input, other)):
        if x is None:
            raise TypeError(
                f"where(): argument '{('input', 'other')[i]}' (position {i + 2}) must be Tensor, "
                "not NoneType"
            )
    for number, tensor in ((input, other), (other, input)):
        if not is_tensor(number) and is_tensor(tensor) and tensor.dtype not in dt.HALF:
            check_limit(number, tensor)
    return written(out, apply(TABLE["where"], (condition, input, other)), condition, input, other)


@method("where")
def where_method(self, condition, other):
    """The tensor where the condition holds, ``other`` elsewhere."""
    return where(condition, self, other)


# ---- of an order -------------------------------------------------------------------------------


@function()
def polygamma(n, input, *, out=None):
    """The n-th derivative of digamma."""
    if is_tensor(n):
        raise TypeError("polygamma(): argument 'n' (position 1) must be int, not Tensor")
    return written(out, apply(TABLE["polygamma_of_order"], (input,), (n,)), input)


@method("polygamma", inplace=True)
def polygamma_method(self, n):
    """The n-th derivative of digamma."""
    return polygamma(n, self)


# ---- complex -----------------------------------------------------------------------------------


@function(method=True)
def conj(input):
    """The complex conjugate, a view; a real tensor itself."""
    return (
        apply_view(TABLE["conj_view"], input) if dispatch.aval_of(input).dtype.is_complex else input
    )


@function()
def conj_physical(input, *, out=None):
    """The complex conjugate, a copy; a real tensor itself."""
    if out is None and not input.is_complex():
        return input
    return dispatch.into(out, apply(TABLE["conj_physical"], (input,)), True)


@method("conj_physical")
def _conj_physical(self):
    """``torch.conj_physical``."""
    return conj_physical(self)


@function(method=True)
def resolve_conj(input):
    """The tensor itself, or a copy of it if it is the conjugate of what its storage holds."""
    return input.clone() if is_conj(input) else input


@function(method=True)
def resolve_neg(input):
    """The tensor itself, or a copy of it if it is the negative of what its storage holds."""
    return input.clone() if is_neg(input) else input


@function(method=True)
def is_conj(input) -> bool:
    """Whether a tensor shows the conjugates of the complex numbers in its storage."""
    return dispatch.aval_of(input).dtype.is_complex and conjugated(input)


@function(method=True)
def is_neg(input) -> bool:
    """Whether a tensor shows the negatives of what is in its storage: imaginary parts of
    conjugates."""
    return not dispatch.aval_of(input).dtype.is_complex and conjugated(input)


# ---- in-place functions ------------------------------------------------------------------------


@function()
def fill(input, value):
    """A copy of the tensor, filled with one number."""
    return input.clone().fill_(value)


@function("fill_")
def fill_(input, value):
    """``Tensor.fill_``."""
    return input.fill_(value)


@function("zero_")
def zero_(input):
    """``Tensor.zero_``."""
    return input.zero_()


# ---- second names ------------------------------------------------------------------------------

for _new, _old in {
    "absolute": "abs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin", "arcsinh": "asinh",
    "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "clip": "clamp", "divide": "div",
    "fix": "trunc", "greater": "gt", "greater_equal": "ge", "less": "lt", "less_equal": "le",
    "multiply": "mul", "negative": "neg", "not_equal": "ne", "subtract": "sub",
}.items():  # fmt: skip
    alias(_new, _old)

# PyTorch also has the in-place forms of these as functions.
for _name in (
    "abs", "absolute", "acos", "acosh", "arccos", "arccosh", "arcsin", "arcsinh", "arctan",
    "arctanh",
    "asin", "asinh", "atan", "atanh", "ceil", "clamp", "clamp_max", "clamp_min", "clip",
    "conj_physical", "cos", "cosh", "deg2rad", "erf", "erfc", "exp", "exp2", "expm1", "fix",
    "floor",
    "frac", "gcd", "i0", "lcm", "ldexp", "log", "log10", "log1p", "log2", "logit", "nan_to_num",
    "neg",
    "negative", "rad2deg", "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sin", "sinc", "sinh",
    "sqrt", "square", "tan", "tanh", "trunc", "xlogy",
):  # fmt: skip
    FUNCTIONS[_name + "_"] = METHODS[_name + "_"]
