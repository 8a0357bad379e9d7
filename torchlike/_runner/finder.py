"""The import hook: ``torch`` and what is under it resolve to torchlike, in this process only."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.util
import logging
import sys
import types

import torchlike
from torchlike._runner import neighbours
from torchlike._runner.objects import watch_modules
from torchlike._runner.shims.torch_version import __version__
from torchlike._runner.stand_in import StandIn, StandInModule, known_names, nearest
from torchlike._tensor.forms import FUNCTIONS

# Where the modules of a package are looked for: torchlike's own, then what only the runner needs.
SHIMS = "torchlike._runner.shims"
_HOMES = {
    "torch": ("torchlike", SHIMS),
    "torchvision": ("torchlike._runner.torchvision",),
    "torchaudio": ("torchlike._runner.torchaudio",),
    "functorch": ("torchlike._runner.functorch",),
}
# Modules of torchlike that are PyTorch's although their names begin with an underscore.
_THEIRS = ("__future__", "_higher_order_ops")


class Torch(types.ModuleType):
    """The module ``torch``: torchlike's names, PyTorch's version, and stand-ins for the rest."""

    __path__: list[str] = []  # noqa: RUF012  (its modules come from Finder)

    def __init__(self):
        super().__init__("torch", torchlike.__doc__)
        names = {k: v for k, v in vars(torchlike).items() if not k.startswith("_")}
        self.__dict__.update(names, torch=self)
        self.__file__ = torchlike.__file__  # some look beside it, or print it
        self.__version__ = __version__
        _adopt_submodules(torchlike, "torch")
        self.version = _module_of_version(str(self.__version__))

    def __getattr__(self, name: str):
        return missing(torchlike, "torch", name)

    def __dir__(self):
        return sorted({*vars(self), *dir(torchlike)})


def _module_of_version(text: str) -> types.ModuleType:
    """``torch.version``: as torchlike's own, but for the number."""
    module = types.ModuleType("torch.version", torchlike.version.__doc__)
    names = {k: v for k, v in vars(torchlike.version).items() if not k.startswith("_")}
    module.__dict__.update(names, __version__=text)
    _give_stand_ins(module, "torch.version")
    sys.modules["torch.version"] = module
    return module


def missing(module, shown: str, name: str):
    """An attribute that a module has not got yet: one of its modules, a stand-in, or an error."""
    if not name.startswith("__") or name in ("__config__", "__future__"):
        private = name.startswith("_")
        if private:
            functions = importlib.import_module(f"{SHIMS}.functions")
            found = getattr(functions, name, None) or FUNCTIONS.get(name)
        else:
            found = getattr(module, name, None)
        if found is not None:
            return _adopt(found, f"{shown}.{name}")
        if f"{shown}.{name}" in known_names() or (private and Finder.has(f"{shown}.{name}")):
            return importlib.import_module(f"{shown}.{name}")
        if name in known_names().get(shown, ()):
            return StandIn(f"{shown}.{name}", nearest(name, vars(module)))
    raise AttributeError(f"module '{shown}' has no attribute '{name}'")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Answers ``import torch.x`` with the module ``torchlike.x``, or with a stand-in for it."""

    def find_spec(self, name, path=None, target=None):
        """The spec of a module under ``torch``; None for all others."""
        if name in neighbours.PATCHES:
            return neighbours.find_spec(name, path)
        if name.partition(".")[0] not in _HOMES:
            return None
        if name == "torch" or self._ours(name) or name in known_names():
            return importlib.util.spec_from_loader(name, self, is_package=True)
        return None

    @staticmethod
    def find_distributions(context=None):
        """What ``importlib.metadata`` says of the packages whose names these are."""
        from torchlike._runner.metadata import distributions

        return distributions(context)

    @classmethod
    def has(cls, name: str) -> bool:
        """Whether a module of PyTorch's is here, and no stand-in."""
        return cls._ours(name) is not None

    @staticmethod
    def _ours(name: str) -> str | None:
        root, _, rest = name.partition(".")
        private = rest.startswith("_") and rest.partition(".")[0] not in _THEIRS
        for home in _HOMES[root]:
            if private and home == "torchlike":
                continue  # a private module of ours is none of PyTorch's, whatever its name
            ours = f"{home}.{rest}" if rest else home
            try:
                if importlib.util.find_spec(ours) is not None:
                    return ours
            except ModuleNotFoundError:
                pass
        return None

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
        parent = spec.name.rpartition(".")[0]
        if parent not in ("", "torch"):  # what it imported stands beside it by now
            _adopt_submodules(sys.modules[parent], parent)
        return module

    def exec_module(self, module):
        """Nothing to run; takes back what the import system wrote over the module's own spec."""
        spec = self._specs.pop(module.__spec__.name, None)
        if spec is not None:
            module.__spec__ = spec

    def __init__(self):
        self._specs: dict = {}


def _shim(shown: str) -> types.ModuleType:
    """What the runner has beside torchlike's own module of a name; an empty one if nothing."""
    try:
        return importlib.import_module(SHIMS + shown.removeprefix("torch"))
    except ModuleNotFoundError:
        return types.ModuleType(shown)


def _adopt(value, shown: str):
    """What was found as an attribute; a module of ours is a module of PyTorch's from then on."""
    if not isinstance(value, types.ModuleType) or shown in sys.modules:
        return value
    root, _, rest = shown.partition(".")
    if value.__name__ in [f"{home}.{rest}" for home in _HOMES[root]]:
        sys.modules[shown] = value
        vars(value).setdefault("__path__", [])  # so that modules under it are looked for
        _give_stand_ins(value, shown)
    return value


def _adopt_submodules(module, shown: str) -> None:
    for name, value in list(vars(module).items()):
        if isinstance(value, types.ModuleType) and not name.startswith("_"):
            _adopt(value, f"{shown}.{name}")
    for name in vars(module).get("_shadowed", ()):  # modules that are not found by their names
        _adopt(sys.modules[f"{module.__name__}.{name}"], f"{shown}.{name}")


def _give_stand_ins(module, shown: str) -> None:
    """Let ``from torch.x import y`` find a stand-in for a y that is missing."""
    names, own = known_names().get(shown, frozenset()), vars(module).get("__getattr__")
    _adopt_submodules(module, shown)

    def __getattr__(name: str):
        if own is not None:
            try:
                found = own(name)
            except AttributeError:
                pass
            else:
                _adopt_submodules(module, shown)  # it may have brought others with it
                return _adopt(found, f"{shown}.{name}")
        if not name.endswith("__"):
            found = vars(_shim(shown)).get(name)
            if found is not None:
                return found
        private = name.startswith("_") and not name.startswith("__")
        if f"{shown}.{name}" in known_names() or (private and Finder.has(f"{shown}.{name}")):
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
    from torchlike import Tensor
    from torchlike.nn.parameter import Parameter

    # Code for arrays of several libraries asks which module an array's class is from.
    Tensor.__module__, Parameter.__module__ = "torch", "torch.nn.parameter"
    quiet = logging.getLogger("jax")  # its notes are no part of what a PyTorch program logs
    if quiet.level == logging.NOTSET:
        quiet.setLevel(logging.WARNING)
    neighbours.patch_loaded()
    watch_modules()
