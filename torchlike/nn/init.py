"""nn.init: the distributions that layers draw their first weights from.

Numbers are drawn in PyTorch's order, so that a seed gives PyTorch's weights. What is no draw is
written from host memory: a new model records no ops, and its first step is like all later ones.
"""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import no_grad

__all__ = [
    "calculate_gain", "constant", "constant_", "dirac", "dirac_", "eye", "eye_", "kaiming_normal",
    "kaiming_normal_", "kaiming_uniform", "kaiming_uniform_", "normal", "normal_", "ones_",
    "orthogonal", "orthogonal_", "sparse", "sparse_", "trunc_normal_", "uniform", "uniform_",
    "xavier_normal", "xavier_normal_", "xavier_uniform", "xavier_uniform_", "zeros_",
]  # fmt: skip


def _write(tensor, array):
    """Overwrite a tensor with a host array of its shape and dtype."""
    with no_grad():
        return dispatch.rebind(tensor, from_host(array, tensor.device))


def _fill(tensor, value):
    if isinstance(value, dispatch._Tensor):
        with no_grad():
            return tensor.fill_(value)
    return _write(tensor, np.full(tuple(tensor.shape), value, tensor.dtype.numpy))


def _is_meta(tensor) -> bool:
    return tensor.device is devices.META


def calculate_gain(nonlinearity: str, param=None) -> float:
    """The factor that keeps variance through a nonlinearity."""
    gains = {"sigmoid": 1, "tanh": 5.0 / 3, "relu": math.sqrt(2.0), "selu": 3.0 / 4, "linear": 1}
    if nonlinearity in gains:
        return gains[nonlinearity]
    if nonlinearity in {f"conv{t}{n}d" for t in ("", "_transpose") for n in (1, 2, 3)}:
        return 1
    if nonlinearity != "leaky_relu":
        raise ValueError(f"Unsupported nonlinearity {nonlinearity}")
    if param is None:
        param = 0.01
    elif isinstance(param, bool) or not isinstance(param, (int, float)):
        raise ValueError(f"negative_slope {param} not a valid number")
    return math.sqrt(2.0 / (1 + param**2))


def uniform_(tensor, a: float = 0.0, b: float = 1.0, generator=None):
    """Draw from U(a, b)."""
    with no_grad():
        return tensor.uniform_(a, b, generator=generator)


def normal_(tensor, mean: float = 0.0, std: float = 1.0, generator=None):
    """Draw from N(mean, std**2)."""
    with no_grad():
        return tensor.normal_(mean, std, generator=generator)


def constant_(tensor, val: float):
    """Fill with one number."""
    return _fill(tensor, val)


def ones_(tensor):
    """Fill with ones."""
    return _fill(tensor, 1)


def zeros_(tensor):
    """Fill with zeros."""
    return _fill(tensor, 0)


def eye_(tensor):
    """Ones on the diagonal of a matrix."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    return _write(tensor, np.eye(*tensor.shape, dtype=tensor.dtype.numpy))


def dirac_(tensor, groups: int = 1):
    """The identity of a convolution: ones in the middle of the kernels on the diagonal."""
    if tensor.dim() not in (3, 4, 5):
        raise ValueError("Only tensors with 3, 4, or 5 dimensions are supported")
    outs, ins, *kernel = tensor.shape
    if outs % groups:
        raise ValueError("dim 0 must be divisible by groups")
    if _is_meta(tensor):
        return tensor
    array = np.zeros(tuple(tensor.shape), tensor.dtype.numpy)
    middle = tuple(n // 2 for n in kernel)
    each = outs // groups
    for group in range(groups):
        for channel in range(min(each, ins)):
            array[(group * each + channel, channel, *middle)] = 1
    return _write(tensor, array)


# ---- scaled by the number of connections -------------------------------------------------------


def _calculate_fan_in_and_fan_out(tensor) -> tuple[int, int]:
    """Connections into and out of one unit of a weight."""
    if tensor.dim() < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions"
        )
    outs, ins, *kernel = tensor.shape
    return ins * math.prod(kernel), outs * math.prod(kernel)


def _calculate_correct_fan(tensor, mode: str) -> int:
    modes = ["fan_in", "fan_out"]
    if mode.lower() not in modes:
        raise ValueError(f"Mode {mode.lower()} not supported, please use one of {modes}")
    return _calculate_fan_in_and_fan_out(tensor)[modes.index(mode.lower())]


def _xavier_std(tensor, gain):
    fan_in, fan_out = _calculate_fan_in_and_fan_out(tensor)
    return gain * math.sqrt(2.0 / float(fan_in + fan_out))


def xavier_uniform_(tensor, gain: float = 1.0, generator=None):
    """Glorot's uniform distribution (https://proceedings.mlr.press/v9/glorot10a.html)."""
    bound = math.sqrt(3.0) * _xavier_std(tensor, gain)
    return uniform_(tensor, -bound, bound, generator)


def xavier_normal_(tensor, gain: float = 1.0, generator=None):
    """Glorot's normal distribution (https://proceedings.mlr.press/v9/glorot10a.html)."""
    return normal_(tensor, 0.0, _xavier_std(tensor, gain), generator)


def _kaiming_std(tensor, a, mode, nonlinearity):
    """He's standard deviation, or None (with a warning) where there is nothing to draw."""
    if 0 in tensor.shape:
        warnings.warn("Initializing zero-element tensors is a no-op", stacklevel=3)
        return None
    fan = _calculate_correct_fan(tensor, mode)
    return calculate_gain(nonlinearity, a) / math.sqrt(fan)


def kaiming_uniform_(
    tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
):
    """He's uniform distribution (https://arxiv.org/abs/1502.01852)."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    if std is None:
        return tensor
    bound = math.sqrt(3.0) * std
    return uniform_(tensor, -bound, bound, generator)


def kaiming_normal_(
    tensor, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", generator=None
):
    """He's normal distribution (https://arxiv.org/abs/1502.01852)."""
    std = _kaiming_std(tensor, a, mode, nonlinearity)
    return tensor if std is None else normal_(tensor, 0, std, generator)


# ---- by further steps on the host --------------------------------------------------------------


def _draws(tensor, method, *args, generator=None):
    """A function that draws a fresh host array in the shape and dtype of ``tensor``."""

    def draw():
        fresh = from_host(np.zeros(tuple(tensor.shape), tensor.dtype.numpy), tensor.device)
        return np.array(getattr(fresh, method)(*args, generator=generator)._host())

    return draw


def trunc_normal_(
    tensor, mean: float = 0.0, std: float = 1.0, a: float = -2.0, b: float = 2.0, generator=None
):
    """Draw from N(mean, std**2) cut off outside [a, b]."""
    if _is_meta(tensor):
        return tensor
    if mean < a - 2 * std or mean > b + 2 * std:
        warnings.warn(
            "mean is more than 2 std from [a, b] in nn.init.trunc_normal_. The distribution of "
            "values may be incorrect.",
            stacklevel=2,
        )
    inside = _normal_below((b - mean) / std) - _normal_below((a - mean) / std)
    if inside > 0.3:
        array = _redrawn_normal(tensor, mean, std, a, b, generator)
    else:
        array = _rejected_uniform(tensor, mean, std, a, b, generator)
    return _write(tensor, array)


def _normal_below(x: float) -> float:
    return (1.0 + math.erf(x / math.sqrt(2.0))) / 2.0


def _redrawn_normal(tensor, mean, std, a, b, generator):
    """Draw normals until all are inside; what is outside takes its place's next draw."""
    draw = _draws(tensor, "normal_", mean, std, generator=generator)
    low, high = (np.array(x).astype(tensor.dtype.numpy) for x in (a, b))
    array = draw()
    while True:
        outside = (array < low) | (array > high)
        if not outside.any():
            return array
        array = np.where(outside, draw(), array)


def _rejected_uniform(tensor, mean, std, a, b, generator):
    """Draw uniforms and accept each with the normal's density relative to its peak in [a, b]."""
    d = tensor.dtype.numpy
    draw = _draws(tensor, "uniform_", a, b, generator=generator)
    chance = _draws(tensor, "uniform_", generator=generator)
    log_peak = -0.5 * ((max(a, min(mean, b)) - mean) / std) ** 2

    def log_density(x):
        z = ((x - d.type(mean)) / d.type(std)) ** 2
        return z * d.type(-0.5) - d.type(log_peak)

    def rejects(x):
        with np.errstate(divide="ignore"):
            return np.log(chance()).astype(d) > log_density(x)

    array = draw()
    pending = rejects(array)
    while pending.any():
        fresh = draw()
        array = np.where(pending, fresh, array)
        pending = pending & rejects(fresh)
    return array


def orthogonal_(tensor, gain: float = 1, generator=None):
    """A (semi-)orthogonal matrix (https://arxiv.org/abs/1312.6120)."""
    if tensor.dim() < 2:
        raise ValueError("Only tensors with 2 or more dimensions are supported")
    if tensor.numel() == 0 or _is_meta(tensor):
        return tensor
    rows = tensor.shape[0]
    cols = tensor.numel() // rows
    flat = from_host(np.zeros((rows, cols), tensor.dtype.numpy), tensor.device)
    matrix = np.array(flat.normal_(0, 1, generator=generator)._host())
    if tensor.dtype in dt.HALF:
        matrix = matrix.astype(np.float32)
    q, r = np.linalg.qr(matrix.T if rows < cols else matrix)
    q = q * np.sign(np.diag(r))  # makes it unique
    array = (q.T if rows < cols else q).reshape(tuple(tensor.shape)) * gain
    return _write(tensor, np.ascontiguousarray(array.astype(tensor.dtype.numpy)))


def sparse_(tensor, sparsity: float, std: float = 0.01, generator=None):
    """Normal numbers with a fraction of each column set to zero."""
    if tensor.dim() != 2:
        raise ValueError("Only tensors with 2 dimensions are supported")
    if _is_meta(tensor):
        return tensor
    rows, cols = tensor.shape
    zeros = math.ceil(sparsity * rows)
    array = _draws(tensor, "normal_", 0, std, generator=generator)()
    for col in range(cols):
        array[FUNCTIONS["randperm"](rows)._host()[:zeros], col] = 0
    return _write(tensor, array)


# ---- old names ---------------------------------------------------------------------------------


def _deprecated(new):
    old = new.__name__[:-1]

    @functools.wraps(new)
    def wrapped(*args, **kwargs):
        warnings.warn(
            f"`nn.init.{old}` is now deprecated in favor of `nn.init.{old}_`.",
            FutureWarning,
            stacklevel=2,
        )
        return new(*args, **kwargs)

    wrapped.__name__ = wrapped.__qualname__ = old
    wrapped.__doc__ = f"Deprecated name of ``{old}_``."
    return wrapped


uniform = _deprecated(uniform_)
normal = _deprecated(normal_)
constant = _deprecated(constant_)
eye = _deprecated(eye_)
dirac = _deprecated(dirac_)
xavier_uniform = _deprecated(xavier_uniform_)
xavier_normal = _deprecated(xavier_normal_)
kaiming_uniform = _deprecated(kaiming_uniform_)
kaiming_normal = _deprecated(kaiming_normal_)
orthogonal = _deprecated(orthogonal_)
sparse = _deprecated(sparse_)
