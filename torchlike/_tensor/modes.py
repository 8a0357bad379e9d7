"""Grad mode: the per-thread switches that decide whether calls go on the tape."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import warnings

from torchlike._core.errors import NotTraceable


class _Modes(threading.local):
    def __init__(self):
        self.grad = True
        self.inference = False
        self.host = False  # basic indexing of host data stays on the host (see data fetchers)
        self.module_depth = 0  # how many Module.__call__ are open
        self.anomaly = None  # "nan": backward looks for nan, "quiet": on without looking
        self.levels = ()  # of vmap that are open, outermost first
        self.scopes = ()  # how many levels were open when a derivative began, outermost first
        self.written = []  # tensors that came on the tape by a write in the innermost of these
        self.transforms = 0  # how many transforms of func are open
        self.bodies = 0  # how many functions given to cond, scan and the like are being traced
        self.sealed = 0  # the same and derivatives of compiled calls: nothing outside may change
        self.cast = None  # autocast: (op, operands, statics) -> what is called (see watching.py)
        self.dual = None  # what tells whether edges lead to duals, where these are made
        self.pushing = False  # backward runs for the sake of tangents
        self.mutation = False  # in-place ops may overwrite what was saved for backward
        self.walk = None  # (roots, wanted) of the backward that is running
        self.around = None  # what calls ops in place of ``apply`` (see watching.py)
        self.saving = None  # a function of a call's result: hooks on what its node saves
        self.deriving = None  # told (node, gradients) before backward differentiates it

    def check_unsealed(self, what: str) -> None:
        """Raise ``NotTraceable`` where nothing outside may change."""
        if self.sealed:
            raise NotTraceable(what)


modes = _Modes()

# Held while memory that several tensors show is read, changed and published: threads that write
# different rows of one tensor would lose each other's otherwise.
memory_lock = threading.RLock()
if hasattr(os, "register_at_fork"):  # a fork of a process whose other thread holds it would wait
    os.register_at_fork(
        before=memory_lock.acquire,
        after_in_parent=memory_lock.release,
        after_in_child=memory_lock.release,
    )


class _GradMode:
    """Context manager and decorator that sets grad mode; also wraps generator functions."""

    mode = False

    def __init__(self, orig_func=None):
        self._before = []
        self._function = orig_func
        if orig_func is not None:
            functools.update_wrapper(self, orig_func)

    def __new__(cls, orig_func=None):
        if callable(orig_func) and not isinstance(orig_func, bool):  # used bare: @no_grad
            return cls().__call__(orig_func)
        return super().__new__(cls)

    def __enter__(self):
        self._before.append(modes.grad)
        modes.grad = self.mode

    def __exit__(self, *exc):
        modes.grad = self._before.pop()

    def clone(self):
        """A fresh context of the same mode, so that a decorated function may recurse."""
        return type(self)()

    def __call__(self, function):
        if inspect.isclass(function):
            warnings.warn(
                "Decorating classes is deprecated and will be disabled in future versions. You "
                "should only decorate functions or methods. To preserve the current behavior of "
                "class decoration, you can directly decorate the `__init__` method and nothing "
                "else.",
                FutureWarning, stacklevel=2,
            )  # fmt: skip
        make = self.clone
        if inspect.isgeneratorfunction(function):

            @functools.wraps(function)
            def generator(*args, **kwargs):
                inner = function(*args, **kwargs)
                try:
                    with make():
                        item = next(inner)
                    while True:
                        try:
                            sent = yield item
                        except GeneratorExit:
                            with make():
                                inner.close()
                            raise
                        except BaseException as error:
                            with make():
                                item = inner.throw(error)
                        else:
                            with make():
                                item = inner.send(sent)
                except StopIteration as stop:
                    return stop.value

            return generator

        @functools.wraps(function)
        def wrapped(*args, **kwargs):
            with make():
                return function(*args, **kwargs)

        return wrapped


class no_grad(_GradMode):
    """Nothing inside is recorded for backward (https://pytorch.org/docs/stable/generated/torch.no_grad.html)."""

    mode = False


class enable_grad(_GradMode):
    """Calls inside are recorded for backward, even within ``no_grad``."""

    mode = True

    def __init__(self, orig_func=None):
        super().__init__(orig_func)

    def __new__(cls, orig_func=None):
        return super().__new__(cls, orig_func)


class set_grad_enabled(_GradMode):
    """Set grad mode at once, and for the length of a ``with`` block or a decorated function."""

    def __new__(cls, mode):
        return object.__new__(cls)

    def __init__(self, mode: bool):
        if not isinstance(mode, bool):
            raise TypeError(
                "set_grad_enabled(): argument 'enabled' (position 1) must be bool, not "
                f"{type(mode).__name__}"
            )
        self._before = [modes.grad]
        self.mode = mode
        modes.grad = self.mode

    def __enter__(self):
        modes.grad = self.mode

    def __exit__(self, *exc):
        modes.grad = self._before[0]

    def __call__(self, function):
        modes.grad = self._before[0]
        return super().__call__(function)

    def __repr__(self) -> str:
        return f"torch.autograd.grad_mode.set_grad_enabled(mode={self.mode})"

    def clone(self):
        return type(self)(self.mode)


class inference_mode(_GradMode):
    """``no_grad`` whose results may never enter autograd; ``inference_mode(False)`` undoes it."""

    def __new__(cls, mode=True):
        if callable(mode) and not isinstance(mode, bool):
            return cls()(mode)
        return object.__new__(cls)

    def __init__(self, mode: bool = True):
        self._before = []
        self.mode = mode

    def __enter__(self):
        self._before.append((modes.grad, modes.inference))
        modes.grad, modes.inference = not self.mode, self.mode

    def __exit__(self, *exc):
        modes.grad, modes.inference = self._before.pop()

    def clone(self):
        return type(self)(self.mode)


def is_grad_enabled() -> bool:
    """Whether calls are recorded for backward on this thread."""
    return modes.grad


def is_inference_mode_enabled() -> bool:
    """Whether inference mode is on for this thread."""
    return modes.inference
