"""The base classes of data pipes: datasets whose methods make further ones (``pipe.map(f)``)."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from torchlike.utils.data.dataset import Dataset, IterableDataset

Item = TypeVar("Item")
Out = TypeVar("Out", covariant=True)


def _functional(pipe, name: str):
    made = type(pipe).functions.get(name)
    if made is None:
        raise AttributeError(f"'{type(pipe).__name__}' object has no attribute '{name}'")
    return functools.partial(made, pipe)


class _Registry:
    """What both kinds share: the functional forms, and that a pipe pickles like any object."""

    functions: dict[str, Callable] = {}  # noqa: RUF012  (each kind has its own)

    def __getattr__(self, name: str):
        if name.startswith("__"):
            raise AttributeError(name)
        return _functional(self, name)

    @classmethod
    def register_function(cls, function_name: str, function: Callable) -> None:
        """Give all pipes a method."""
        cls.functions[function_name] = function

    @classmethod
    def register_datapipe_as_function(
        cls, function_name: str, cls_to_register: Callable, enable_df_api_tracing: bool = False
    ) -> None:
        """Give all pipes a method that makes one of a class; raises if the name is taken."""
        if function_name in cls.functions:
            raise Exception(
                f"Unable to add DataPipe function name {function_name} as it is already taken"
            )
        cls.functions[function_name] = cls_to_register

    def __repr__(self):
        return type(self).__qualname__

    __str__ = __repr__


class IterDataPipe(_Registry, IterableDataset[Out]):
    """An iterable data pipe (https://pytorch.org/docs/stable/data.html#torch.utils.data.IterDataPipe).

    Iterating again begins anew; ``reset``, if a class has it, is called first.
    """

    functions: dict[str, Callable] = {}  # noqa: RUF012

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        iterate = cls.__dict__.get("__iter__")
        if iterate is not None and not getattr(iterate, "_resets", False):

            @functools.wraps(iterate)
            def __iter__(self):
                self.reset()
                return iterate(self)

            __iter__._resets = True
            cls.__iter__ = __iter__

    def __getitem__(self, index) -> Out:
        raise NotImplementedError("an IterDataPipe has no samples by index")

    def __iter__(self) -> Iterator[Out]:
        return self

    def reset(self) -> None:
        """Forget what an earlier iteration has left."""


class DFIterDataPipe(IterDataPipe):
    """An iterable data pipe of data frames."""

    def _is_dfpipe(self) -> bool:
        return True


class MapDataPipe(_Registry, Dataset[Out]):
    """A data pipe with samples by key (https://pytorch.org/docs/stable/data.html#torch.utils.data.MapDataPipe)."""

    functions: dict[str, Callable] = {}  # noqa: RUF012


class DataChunk(list[Item]):
    """A batch that a data pipe yields: a list that says how it prints."""

    def __init__(self, items: Iterable[Item]) -> None:
        items = list(items)
        super().__init__(items)
        self.items = items

    def as_str(self, indent: str = "") -> str:
        """The items as text."""
        return indent + "[" + ", ".join(str(item) for item in iter(self)) + "]"

    def __iter__(self) -> Iterator[Item]:
        yield from super().__iter__()

    def raw_iterator(self) -> Iterator[Any]:
        """The items themselves."""
        yield from self.items
