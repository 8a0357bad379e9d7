"""The marks and small functions of torch.jit: what TorchScript's compiler reads runs as it is."""

from __future__ import annotations

import contextlib
import inspect
import typing

from torchlike.futures import Future

_isinstance = isinstance


def script_if_tracing(fn):
    """``fn`` itself: it is not frozen by tracing."""
    return fn


def script_method(fn):
    """``fn`` itself."""
    return fn


# ---- marks on functions ------------------------------------------------------------------------


def export(fn):
    """``fn`` itself: every method of a module can be called."""
    return fn


def unused(fn):
    """``fn`` itself."""
    return fn


def ignore(drop=False, **kwargs):
    """``fn`` itself, as a decorator with or without arguments."""
    if callable(drop):
        return drop
    if not _isinstance(drop, bool):
        raise RuntimeError(
            f"Argument to @torch.jit.ignore must be a bool or a function but got {drop}"
        )
    return lambda fn: fn


def interface(obj):
    """The class itself; raises ``RuntimeError`` for anything else."""
    if not inspect.isclass(obj):
        raise RuntimeError("interface must be applied to a class")
    return obj


def annotate(the_type, the_value):
    """The value itself."""
    return the_value


def isinstance(obj, target_type) -> bool:
    """``isinstance`` that looks into ``list[int]``, ``dict[str, int]``, ``Optional`` and unions."""
    if _isinstance(target_type, tuple):
        return any(isinstance(obj, t) for t in target_type)
    origin, inner = typing.get_origin(target_type), typing.get_args(target_type)
    if origin is None:
        return obj is None if target_type is None else _isinstance(obj, target_type)
    if not _isinstance(origin, type) or origin.__name__ in ("Union", "UnionType"):
        return any(isinstance(obj, t) for t in inner)
    if not _isinstance(obj, origin):
        return False
    if origin is dict:
        return all(isinstance(k, inner[0]) and isinstance(v, inner[1]) for k, v in obj.items())
    if origin is tuple:
        if len(inner) == 2 and inner[1] is Ellipsis:
            return all(isinstance(x, inner[0]) for x in obj)
        return len(obj) == len(inner) and all(map(isinstance, obj, inner))
    return all(isinstance(x, inner[0]) for x in obj)


# ---- running -----------------------------------------------------------------------------------


def fork(func, *args, **kwargs) -> Future:
    """A finished Future of ``func(*args, **kwargs)``, which runs now."""
    out = Future()
    try:
        out.set_result(func(*args, **kwargs))
    except Exception as error:
        out.set_exception(error)
    return out


def wait(future: Future):
    """The value of a Future that ``fork`` gave."""
    return future.wait()


@contextlib.contextmanager
def optimized_execution(should_optimize: bool):
    """A block that changes nothing."""
    yield


class strict_fusion:
    """A block that changes nothing: XLA fuses what can be fused."""

    def __init__(self) -> None:
        pass

    def __enter__(self):
        pass

    def __exit__(self, *exc):
        pass


_strategy: list = [("STATIC", 2), ("DYNAMIC", 10)]


def set_fusion_strategy(strategy: list[tuple[str, int]]):
    """Keeps the strategy, which steers nothing here; returns the one before."""
    before, _strategy[:] = list(_strategy), strategy
    return before


_onednn = [False]


def enable_onednn_fusion(enabled: bool) -> None:
    """Keeps the flag, which steers nothing here."""
    _onednn[0] = bool(enabled)


def onednn_fusion_enabled() -> bool:
    """The flag that ``enable_onednn_fusion`` set."""
    return _onednn[0]
