"""Stand-ins for names that PyTorch has and torchlike has not: they fail when used, not before."""

from __future__ import annotations

import difflib
import types
from importlib import resources

from torchlike._core.errors import NotSupported

_names: dict[str, frozenset[str]] = {}


def known_names() -> dict[str, frozenset[str]]:
    """The public names of each module of PyTorch 2.13 and torchvision 0.28 (``names*.txt``)."""
    if not _names:
        for file in ("names.txt", "names_torchvision.txt"):
            text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
            for line in text.splitlines():
                module, _, names = line.partition(":")
                _names[module] = frozenset(names.split())
    return _names


class StandIn:
    """Something of PyTorch's that torchlike has not; any use of it raises ``NotSupported``.

    It may be imported, passed around, asked for attributes, inherited from and compared with
    ``isinstance``, so that a program that never uses it runs.
    """

    def __init__(self, name: str, instead: str = ""):
        self.__dict__.update(__name__=name, __qualname__=name, _instead=instead)

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(name)
        return StandIn(f"{self.__name__}.{name}", self._instead)

    def __call__(self, *args, **kwargs):
        raise NotSupported(self.__name__, self._instead)

    def __mro_entries__(self, bases):
        return (_unusable(self.__name__, self._instead),)

    def __getitem__(self, item) -> StandIn:
        return self  # in annotations

    def __or__(self, other) -> StandIn:
        return self

    __ror__ = __or__

    def __instancecheck__(self, instance) -> bool:
        return False

    def __subclasscheck__(self, subclass) -> bool:
        return False

    def __repr__(self):
        return f"<{self.__name__}: not supported by torchlike>"


def _unusable(name: str, instead: str) -> type:
    """A base class whose instances cannot be made."""

    def __init__(self, *args, **kwargs):
        raise NotSupported(name, instead)

    return type(name.rpartition(".")[2], (), {"__init__": __init__})


def nearest(name: str, available) -> str:
    """The way out of a name that is missing: what looks most like it."""
    close = difflib.get_close_matches(name, [n for n in available if n[0] != "_"], 1, 0.75)
    return f"the nearest name there is: {close[0]}" if close else ""


class StandInModule(types.ModuleType):
    """A module of PyTorch's that torchlike has not."""

    __path__: list[str] = []  # noqa: RUF012  (a package, so that its own modules are looked for)

    def __getattr__(self, name: str) -> StandIn:
        if name.startswith("__"):
            raise AttributeError(f"module '{self.__name__}' has no attribute '{name}'")
        return StandIn(f"{self.__name__}.{name}")
