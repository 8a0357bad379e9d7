"""Decorators for data pipes: their functional form, determinism, and checks of what they yield."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable

from torchlike.utils.data.datapipes.datapipe import IterDataPipe, MapDataPipe


class functional_datapipe:
    """Gives a data pipe class a functional form: ``pipe.name(...)`` is ``Class(pipe, ...)``."""

    def __init__(self, name: str, enable_df_api_tracing=False) -> None:
        self.name = name
        self.enable_df_api_tracing = enable_df_api_tracing

    def __call__(self, cls):
        for base in (IterDataPipe, MapDataPipe):
            if isinstance(cls, type) and issubclass(cls, base):
                base.register_datapipe_as_function(self.name, cls)
                return cls
        raise TypeError("Can only decorate IterDataPipe or MapDataPipe")


_determinism: list[bool] = [False]


class guaranteed_datapipes_determinism:
    """Context in which a data pipe that is marked as non-deterministic cannot be made."""

    def __init__(self) -> None:
        self._before = _determinism[0]
        _determinism[0] = True

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, value, trace) -> None:
        _determinism[0] = self._before


class non_deterministic:
    """Marks an ``IterDataPipe`` as non-deterministic, always or where a function of it says so."""

    def __init__(self, arg: type[IterDataPipe] | Callable[..., bool]) -> None:
        self.cls: type[IterDataPipe] | None = None
        if isinstance(arg, type):
            if not issubclass(arg, IterDataPipe):
                raise TypeError(
                    "Only `IterDataPipe` can be decorated with `non_deterministic`, but "
                    f"{arg.__name__} is found"
                )
            self.cls = arg
        elif callable(arg):
            self.deterministic_fn = arg
        else:
            raise TypeError(f"{arg} can not be decorated by non_deterministic")

    def __call__(self, *args, **kwargs):
        if self.cls is not None:
            if _determinism[0]:
                raise TypeError(
                    f"{self.cls.__name__} is non-deterministic, but you set "
                    "'guaranteed_datapipes_determinism'. You can turn off determinism for this "
                    "DataPipe if that is acceptable for your application"
                )
            return self.cls(*args, **kwargs)
        cls = args[0]
        if not (isinstance(cls, type) and issubclass(cls, IterDataPipe)):
            raise TypeError(f"Only `IterDataPipe` can be decorated, but {cls.__name__} is found")
        self.cls = cls
        return self.deterministic_wrapper_fn

    def deterministic_wrapper_fn(self, *args, **kwargs) -> IterDataPipe:
        """Make one, unless the function says that it is random and that is not wanted."""
        random = self.deterministic_fn(*args, **kwargs)
        if not isinstance(random, bool):
            raise TypeError(
                "deterministic_fn of `non_deterministic` decorator is required to return a boolean "
                f"value, but {type(random)} is found"
            )
        if _determinism[0] and random:
            raise TypeError(
                f"{self.cls.__name__} is non-deterministic with the inputs, but you set "
                "'guaranteed_datapipes_determinism'. You can turn off determinism for this "
                "DataPipe if that is acceptable for your application"
            )
        return self.cls(*args, **kwargs)


def argument_validation(f):
    """Check that data pipes given as arguments are data pipes, as annotated."""
    signature = inspect.signature(f)
    hints = typing.get_type_hints(f)

    @functools.wraps(f)
    def wrapper(*args, **kwargs):
        bound = signature.bind(*args, **kwargs)
        for name, value in bound.arguments.items():
            hint = typing.get_origin(hints.get(name)) or hints.get(name)
            pipe = isinstance(hint, type) and issubclass(hint, (IterDataPipe, MapDataPipe))
            if pipe and not isinstance(value, hint):
                raise TypeError(f"Expected argument '{name}' as a {hint}, but found {type(value)}")
        return f(*args, **kwargs)

    return wrapper


_validation: list[bool] = [True]


class runtime_validation_disabled:
    """Context in which ``runtime_validation`` checks nothing."""

    def __init__(self) -> None:
        self._before = _validation[0]
        _validation[0] = False

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind, value, trace) -> None:
        _validation[0] = self._before


def runtime_validation(f):
    """Check that what an ``__iter__`` yields is of the type that its class is annotated with."""
    if f.__name__ != "__iter__":
        raise TypeError(
            f"Can not decorate function {f.__name__} with 'runtime_validation'. It only supports "
            "'__iter__' of a DataPipe"
        )

    @functools.wraps(f)
    def wrapper(self):
        expected = _type_of(type(self))
        for item in f(self):
            if _validation[0] and not _is_of(item, expected):
                raise RuntimeError(
                    f"Expected an instance as subtype of {expected}, but found {item}({type(item)})"
                )
            yield item

    return wrapper


def _type_of(cls):
    """T of a class that inherits from IterDataPipe[T]; Any if it says nothing."""
    for base in getattr(cls, "__orig_bases__", ()):
        arguments = typing.get_args(base)
        if arguments and not isinstance(arguments[0], typing.TypeVar):
            return arguments[0]
    return typing.Any


def _is_of(item, expected) -> bool:
    if expected is typing.Any:
        return True
    origin, arguments = typing.get_origin(expected), typing.get_args(expected)
    if origin in (typing.Union, types.UnionType):
        return any(_is_of(item, argument) for argument in arguments)
    if origin is tuple:
        if not isinstance(item, tuple):
            return False
        if len(arguments) == 2 and arguments[1] is ...:
            return all(_is_of(part, arguments[0]) for part in item)
        return len(item) == len(arguments) and all(map(_is_of, item, arguments))
    if origin in (list, set, frozenset):
        return isinstance(item, origin) and all(_is_of(part, arguments[0]) for part in item)
    if origin is dict:
        key, value = arguments
        return isinstance(item, dict) and all(
            _is_of(k, key) and _is_of(v, value) for k, v in item.items()
        )
    kind = origin or expected
    return isinstance(item, kind) if isinstance(kind, type) else True
