"""Activations of ``torch.nn.functional``."""

from __future__ import annotations

import warnings

from torchlike._core.dtypes import float64
from torchlike._ops.table import TABLE
from torchlike._tensor.dispatch import apply, apply_inplace, copy_out, value_of
from torchlike._tensor.forms import FUNCTIONS, METHODS
from torchlike._tensor.modes import no_grad

_T = {name: TABLE[name] for name in (
    "relu", "hardtanh", "leaky_relu", "threshold", "hardsigmoid", "hardswish", "hardshrink",
    "softshrink", "elu", "celu", "selu", "gelu", "silu", "mish", "softplus", "log_sigmoid",
    "softsign", "tanhshrink", "glu", "prelu", "rrelu_with_noise", "sigmoid", "tanh",
)}  # fmt: skip
_RELU = _T["relu"]


def _call(op, input, statics, inplace):
    return (apply_inplace if inplace else apply)(op, (input,), statics)


def _written(out, result):
    """The result, or ``out`` with the result in it."""
    return result if out is None else copy_out(out, result, True)


def relu(input, inplace: bool = False):
    """max(0, x)."""
    return apply_inplace(_RELU, (input,)) if inplace else apply(_RELU, (input,))


def relu_(input):
    """In-place ``relu``."""
    return apply_inplace(_T["relu"], (input,))


def relu6(input, inplace: bool = False):
    """min(max(0, x), 6)."""
    return _call(_T["hardtanh"], input, (0.0, 6.0), inplace)


def hardtanh(input, min_val: float = -1.0, max_val: float = 1.0, inplace: bool = False):
    """min(max(min_val, x), max_val)."""
    if min_val > max_val:
        raise ValueError("min_val cannot be greater than max_val")
    return _call(_T["hardtanh"], input, (min_val, max_val), inplace)


def hardtanh_(input, min_val: float = -1.0, max_val: float = 1.0):
    """In-place ``hardtanh``."""
    return hardtanh(input, min_val, max_val, True)


def leaky_relu(input, negative_slope: float = 0.01, inplace: bool = False):
    """x where positive, else negative_slope * x."""
    return _call(_T["leaky_relu"], input, (negative_slope,), inplace)


def leaky_relu_(input, negative_slope: float = 0.01):
    """In-place ``leaky_relu``."""
    return leaky_relu(input, negative_slope, True)


def prelu(input, weight):
    """x where positive, else weight * x, with one weight or one for each channel."""
    return apply(_T["prelu"], (input, weight))


def rrelu(
    input,
    lower: float = 1.0 / 8,
    upper: float = 1.0 / 3,
    training: bool = False,
    inplace: bool = False,
):
    """Leaky relu whose slopes are drawn at random in training, and their mean otherwise."""
    if lower > upper:
        raise RuntimeError("Lower bound should be less than or equal to the upper bound")
    if not training:
        return leaky_relu(input, (lower + upper) / 2, inplace)
    with no_grad():
        noise = _slopes(input, lower, upper)
    call = apply_inplace if inplace else apply
    return call(_T["rrelu_with_noise"], (input, noise))


def _slopes(input, lower, upper):
    """Uniform numbers; on a CPU PyTorch's own stream, which draws for elements that need one."""
    if input.device.type != "cpu" or value_of(input).is_traced():
        return FUNCTIONS["rand_like"](input) * (upper - lower) + lower
    need = input.detach() <= 0
    drawn = FUNCTIONS["rand"](int(need.sum()), dtype=float64) * (upper - lower) + lower
    return FUNCTIONS["ones_like"](input).masked_scatter(need, drawn.to(input.dtype))


def rrelu_(input, lower: float = 1.0 / 8, upper: float = 1.0 / 3, training: bool = False):
    """In-place ``rrelu``."""
    return rrelu(input, lower, upper, training, True)


def threshold(input, threshold: float, value: float, inplace: bool = False):
    """x where above the threshold, else the value."""
    return _call(_T["threshold"], input, (threshold, value), inplace)


def threshold_(input, threshold: float, value: float):
    """In-place ``threshold``."""
    return _call(_T["threshold"], input, (threshold, value), True)


def elu(input, alpha: float = 1.0, inplace: bool = False):
    """x where positive, else alpha * (exp(x) - 1)."""
    return _call(_T["elu"], input, (alpha,), inplace)


def elu_(input, alpha: float = 1.0):
    """In-place ``elu``."""
    return elu(input, alpha, True)


def selu(input, inplace: bool = False):
    """The self-normalizing ``elu``."""
    return _call(_T["selu"], input, (), inplace)


def selu_(input):
    """In-place ``selu``."""
    return selu(input, True)


def celu(input, alpha: float = 1.0, inplace: bool = False):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1))."""
    return _call(_T["celu"], input, (alpha,), inplace)


def celu_(input, alpha: float = 1.0):
    """In-place ``celu``."""
    return celu(input, alpha, True)


def gelu(input, *, approximate: str = "none", out=None):
    """x times the normal distribution function of x."""
    result = apply(_T["gelu"], (input,), (approximate,))
    return result if out is None else copy_out(out, result, True)


def silu(input, inplace: bool = False):
    """x * sigmoid(x)."""
    return _call(_T["silu"], input, (), inplace)


def mish(input, inplace: bool = False):
    """x * tanh(softplus(x))."""
    return _call(_T["mish"], input, (), inplace)


def hardswish(input, inplace: bool = False):
    """x * relu6(x + 3) / 6."""
    return _call(_T["hardswish"], input, (), inplace)


def hardsigmoid(input, inplace: bool = False):
    """relu6(x + 3) / 6."""
    return _call(_T["hardsigmoid"], input, (), inplace)


def softplus(input, beta: float = 1, threshold: float = 20, *, out=None):
    """log(1 + exp(beta * x)) / beta, and x itself above the threshold."""
    return _written(out, apply(_T["softplus"], (input,), (beta, threshold)))


def softsign(input):
    """x / (1 + |x|)."""
    return apply(_T["softsign"], (input,))


def softshrink(input, lambd: float = 0.5, *, out=None):
    """x moved by lambd towards zero, and 0 within."""
    return _written(out, apply(_T["softshrink"], (input,), (lambd,)))


def hardshrink(input, lambd: float = 0.5, *, out=None):
    """x outside [-lambd, lambd], else 0."""
    return _written(out, apply(_T["hardshrink"], (input,), (lambd,)))


def tanhshrink(input):
    """x - tanh(x)."""
    return apply(_T["tanhshrink"], (input,))


def glu(input, dim: int = -1):
    """First half of a dimension times the sigmoid of the second."""
    return apply(_T["glu"], (input,), (dim,))


def logsigmoid(input, *, out=None):
    """log(sigmoid(x))."""
    return _written(out, apply(_T["log_sigmoid"], (input,)))


def sigmoid(input):
    """1 / (1 + exp(-x))."""
    return apply(_T["sigmoid"], (input,))


def tanh(input):
    """The hyperbolic tangent."""
    return apply(_T["tanh"], (input,))


# ---- over a dimension --------------------------------------------------------------------------


def _implicit_dim(name: str, ndim: int, stacklevel: int) -> int:
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include "
        "dim=X as an argument.",
        stacklevel=stacklevel,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(input, dim: int | None = None, _stacklevel: int = 3, dtype=None):
    """exp(x) over its sum along a dimension."""
    if dim is None:
        dim = _implicit_dim("softmax", input._value.aval.ndim, _stacklevel)
    return FUNCTIONS["softmax"](input, dim, dtype=dtype)


def softmin(input, dim: int | None = None, _stacklevel: int = 3, dtype=None):
    """softmax(-x)."""
    if dim is None:
        dim = _implicit_dim("softmin", input._value.aval.ndim, _stacklevel)
    return FUNCTIONS["softmax"](-input, dim, dtype=dtype)


def log_softmax(input, dim: int | None = None, _stacklevel: int = 3, dtype=None):
    """log(softmax(x))."""
    if dim is None:
        dim = _implicit_dim("log_softmax", input._value.aval.ndim, _stacklevel)
    return FUNCTIONS["log_softmax"](input, dim, dtype=dtype)


def gumbel_softmax(logits, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1):
    """A sample of the Gumbel-softmax distribution, discrete in the forward pass if ``hard``."""
    if eps != 1e-10:
        warnings.warn("`eps` parameter is deprecated and has no effect.", stacklevel=2)
    with no_grad():
        gumbels = -METHODS["exponential_"](FUNCTIONS["empty_like"](logits)).log()
    soft = softmax((logits + gumbels) / tau, dim)
    if not hard:
        return soft
    index = soft.max(dim, keepdim=True)[1]
    one = FUNCTIONS["zeros_like"](logits).scatter_(dim, index, 1.0)
    return one - soft.detach() + soft
