"""The import hook: ``torch`` and what is under it resolve to torchlike, in this process only."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import sys
import types

import torchlike
from torchlike._runner.stand_in import StandIn, StandInModule, known_names, nearest

# What programs compare with: the PyTorch whose names and behaviour these are.
COMPATIBLE = "2.13.0"


class Torch(types.ModuleType):
    """The module ``torch``: torchlike's names, PyTorch's version, and stand-ins for the rest."""

    __path__: list[str] = []  # noqa: RUF012  (its modules come from Finder)

    def __init__(self):
        super().__init__("torch", torchlike.__doc__)
        names = {k: v for k, v in vars(torchlike).items() if not k.startswith("_")}
        self.__dict__.update(names)
        self.__version__ = f"{COMPATIBLE}+torchlike.{torchlike.__version__}"

    def __getattr__(self, name: str):
        return missing(torchlike, "torch", name)

    def __dir__(self):
        return sorted({*vars(self), *dir(torchlike)})


def missing(module, shown: str, name: str):
    """An attribute that a module has not got yet: one of its modules, a stand-in, or an error."""
    if not name.startswith("__"):
        try:
            return getattr(module, name)
        except AttributeError:
            pass
        if f"{shown}.{name}" in known_names():
            return importlib.import_module(f"{shown}.{name}")
        if name in known_names().get(shown, ()):
            return StandIn(f"{shown}.{name}", nearest(name, vars(module)))
    raise AttributeError(f"module '{shown}' has no attribute '{name}'")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers ``import torch.x`` with the module ``torchlike.x``, or with a stand-in for it."""

    def find_spec(self, name, path=None, target=None):
        """The spec of a module under ``torch``; None for all others."""
        if name.partition(".")[0] != "torch":
            return None
        if name == "torch" or self._ours(name) or name in known_names():
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    @staticmethod
    def _ours(name: str) -> str | None:
        ours = "torchlike" + name.removeprefix("torch")
        try:
            found = importlib.util.find_spec(ours)
        except ModuleNotFoundError:
            found = None
        return ours if found is not None else None

    def create_module(self, spec):
        """torchlike's own module, not a second copy of it."""
        if spec.name == "torch":
            return Torch()
        ours = self._ours(spec.name)
        if ours is None:
            return StandInModule(spec.name)
        module = importlib.import_module(ours)
        self._specs[spec.name] = module.__spec__
        _give_stand_ins(module, spec.name)
        return module

    def exec_module(self, module):
        """Nothing to run; takes back what the import system wrote over the module's own spec."""
        spec = self._specs.pop(module.__spec__.name, None)
        if spec is not None:
            module.__spec__ = spec

    def __init__(self):
        self._specs: dict = {}


def _give_stand_ins(module, shown: str) -> None:
    """Let ``from torch.x import y`` find a stand-in for a y that is missing."""
    if "__getattr__" in vars(module):
        return
    names = known_names().get(shown, frozenset())

    def __getattr__(name: str):
        if f"{shown}.{name}" in known_names():
            return importlib.import_module(f"{shown}.{name}")
        if name in names:
            return StandIn(f"{shown}.{name}", nearest(name, vars(module)))
        raise AttributeError(f"module '{shown}' has no attribute '{name}'")

    module.__getattr__ = __getattr__


def install() -> None:
    """Let ``import torch`` in this process find torchlike, even if PyTorch is installed.

    Raises ``RuntimeError`` if PyTorch has been imported already.
    """
    if any(isinstance(f, Finder) for f in sys.meta_path):
        return
    loaded = sys.modules.get("torch")
    if loaded is not None and not isinstance(loaded, Torch):
        raise RuntimeError("torch is imported already: call torchlike.install() before that")
    sys.meta_path.insert(0, Finder())
