"""torch.utils._contextlib: the base of contexts that are decorators, too."""

from __future__ import annotations

import functools
import inspect
import warnings


def context_decorator(ctx, func):
    """``func`` that runs within a fresh context at each call; ``ctx`` is one or makes one."""
    make = ctx if callable(ctx) and not hasattr(ctx, "__enter__") else ctx.clone
    if inspect.isgeneratorfunction(func):
        return _around_generator(make, func)

    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        with make():
            return func(*args, **kwargs)

    return wrapped


def _around_generator(make, func):
    @functools.wraps(func)
    def wrapped(*args, **kwargs):
        inner = func(*args, **kwargs)
        resume, given = inner.send, None
        while True:
            try:
                with make():  # only while the generator itself runs
                    item = resume(given)
            except StopIteration as stop:
                return stop.value
            try:
                resume, given = inner.send, (yield item)
            except GeneratorExit:
                inner.close()
                raise
            except BaseException as error:
                resume, given = inner.throw, error

    return wrapped


class _DecoratorContextManager:
    """A context that also decorates functions; a subclass with arguments has its own ``clone``."""

    def __call__(self, orig_func):
        if inspect.isclass(orig_func):
            warnings.warn(
                "Decorating classes is deprecated: decorate its __init__ method and nothing else.",
                FutureWarning,
                stacklevel=2,
            )
            orig_func.__init__ = self(orig_func.__init__)
            return orig_func
        return context_decorator(self.clone, orig_func)

    def __enter__(self):
        raise NotImplementedError

    def __exit__(self, exc_type, exc_value, traceback):
        raise NotImplementedError

    def clone(self):
        """A fresh context of the same arguments."""
        return type(self)()


class _NoParamDecoratorContextManager(_DecoratorContextManager):
    """One that may decorate without being called first."""

    def __new__(cls, orig_func=None):
        """The context; the decorated function if one is given."""
        made = super().__new__(cls)
        return made if orig_func is None else made(orig_func)
