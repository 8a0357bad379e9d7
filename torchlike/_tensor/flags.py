"""Switches of ``torch`` that are kept and reported, and arithmetic on sizes.

XLA runs a program the same way each time and multiplies float32 on a CPU in full precision, so
what these switches ask for holds, or permits what is not needed.
"""

from __future__ import annotations

import math
import warnings

from torchlike._core import dtypes as dt
from torchlike._core import errors
from torchlike._core.devices import set_default_device
from torchlike._core.errors import warn_once
from torchlike._tensor.forms import FUNCTIONS, function
from torchlike._tensor.modes import modes
from torchlike._tensor.queries import get_num_threads


class _Flags:
    """The values that are set."""

    matmul = "highest"
    deterministic = warn_only = on_cuda = False
    interop = None


# ---- switches ----------------------------------------------------------------------------------


@function()
def set_float32_matmul_precision(precision: str) -> None:
    """Permit faster products of float32 matrices: "highest", "high" or "medium"."""
    if precision in ("highest", "high", "medium"):
        _Flags.matmul = precision
        return
    warnings.warn(
        f"{precision} is not one of 'highest', 'high', or 'medium'; the current "
        "setFloat32MatmulPrecision call has no effect.",
        stacklevel=2,
    )


@function()
def get_float32_matmul_precision() -> str:
    """What ``set_float32_matmul_precision`` was given."""
    return _Flags.matmul


@function()
def is_anomaly_enabled() -> bool:
    """Whether ``autograd.detect_anomaly`` is on."""
    return modes.anomaly is not None


@function()
def is_anomaly_check_nan_enabled() -> bool:
    """Whether it looks for nan."""
    return modes.anomaly != "quiet"


@function()
def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Ask for the same numbers in each run."""
    if not isinstance(mode, bool):
        raise TypeError(
            "_set_deterministic_algorithms(): argument 'mode' (position 1) must be bool, not "
            f"{type(mode).__name__}"
        )
    if not isinstance(warn_only, bool):
        raise TypeError(
            "_set_deterministic_algorithms(): argument 'warn_only' must be bool, not "
            f"{type(warn_only).__name__}"
        )
    _Flags.deterministic, _Flags.warn_only = mode, warn_only


def alert_not_deterministic(name: str) -> None:
    """Raise or warn, as was asked for, where PyTorch's result depends on the order of threads."""
    if not _Flags.deterministic:
        return
    if _Flags.warn_only:
        warnings.warn(
            f"{name} does not have a deterministic implementation, but you set "
            "'torch.use_deterministic_algorithms(True, warn_only=True)'. You can file an issue at "
            "https://github.com/pytorch/pytorch/issues to help us prioritize adding deterministic "
            "support for this operation.",
            stacklevel=3,
        )
        return
    raise RuntimeError(
        f"{name} does not have a deterministic implementation, but you set "
        "'torch.use_deterministic_algorithms(True)'. You can turn off determinism just for this "
        "operation, or you can use the 'warn_only=True' option, if that's acceptable for your "
        "application. You can also file an issue at https://github.com/pytorch/pytorch/issues to "
        "help us prioritize adding deterministic support for this operation."
    )


@function()
def are_deterministic_algorithms_enabled() -> bool:
    """Whether ``use_deterministic_algorithms`` is on."""
    return _Flags.deterministic


@function()
def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """Whether what is not deterministic would only warn."""
    return _Flags.warn_only


_DEBUG = ("default", "warn", "error")


@function()
def set_deterministic_debug_mode(debug_mode) -> None:
    """``use_deterministic_algorithms`` by a number or a word: default, warn or error."""
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG:
            raise RuntimeError(
                "invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got "
                f"{debug_mode}"
            )
        debug_mode = _DEBUG.index(debug_mode)
    elif not isinstance(debug_mode, int):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(
            f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}"
        )
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


@function()
def get_deterministic_debug_mode() -> int:
    """0, 1 (warn) or 2 (error)."""
    return (2 - _Flags.warn_only) if _Flags.deterministic else 0


@function()
def set_warn_always(b: bool, /) -> None:
    """Ask for warnings each time; Python's own filters decide here."""
    errors.always = bool(b)


@function()
def is_warn_always_enabled() -> bool:
    """What ``set_warn_always`` was given."""
    return errors.always


@function()
def set_flush_denormal(mode: bool) -> bool:
    """False: XLA decides about denormal numbers, and cannot be asked."""
    return False


@function()
def set_num_interop_threads(n: int, /) -> None:
    """Accepted: XLA sizes its pool when the process starts."""
    if n < 1:
        raise RuntimeError("set_num_interop_threads expects a positive integer")
    _Flags.interop = n


@function()
def get_num_interop_threads() -> int:
    """What was set, or the number of cores."""
    return _Flags.interop or get_num_threads()


@function()
def set_default_tensor_type(t, /) -> None:
    """Set the default dtype, and device, to those of a legacy type or of its name."""
    warn_once(
        "torch.set_default_tensor_type() is deprecated as of PyTorch 2.1, please use "
        "torch.set_default_dtype() and torch.set_default_device() as alternatives."
    )
    name = t if isinstance(t, str) else f"{t.__module__}.{t.__name__}" if _is_type(t) else ""
    short = name.rpartition(".")[2]
    found = FUNCTIONS.get(short)
    if not _is_type(found):
        raise TypeError("invalid type object: only floating-point types are supported as the "
                        "default type")  # fmt: skip
    if found.dtype.category != dt.FLOATING:
        raise TypeError("only floating-point types are supported as the default type")
    if ".cuda." in name:
        found.need_cuda()
    dt.set_default_dtype(found.dtype)
    if ".cuda." in name or _Flags.on_cuda:
        _Flags.on_cuda = ".cuda." in name
        set_default_device("cuda" if _Flags.on_cuda else None)


def _is_type(t) -> bool:
    return isinstance(t, type) and isinstance(getattr(t, "dtype", None), dt.dtype)


# ---- sizes: plain numbers here -----------------------------------------------------------------


@function()
def sym_float(a):
    """float(a)."""
    return float(a)


@function()
def sym_int(a):
    """a without its fraction."""
    return math.trunc(a)


def _extreme(pick):
    def extreme(a, b):
        found = pick(a, b)
        return float(found) if isinstance(a, float) or isinstance(b, float) else found

    extreme.__name__ = f"sym_{pick.__name__}"
    extreme.__doc__ = f"The {pick.__name__} of two numbers, a float if one of them is."
    return function(extreme.__name__)(extreme)


sym_max, sym_min = _extreme(max), _extreme(min)


@function()
def sym_not(a):
    """not a."""
    return not a


@function()
def sym_sqrt(a):
    """The square root."""
    return math.sqrt(a)


@function()
def sym_sum(args):
    """The sum of a sequence."""
    return sum(args)


@function()
def sym_ite(b, t, f):
    """t if b, else f."""
    return t if b else f


@function()
def sym_fresh_size(expr):
    """The number itself."""
    return int(expr)
