"""Stand-ins for names that PyTorch has and torchlike has not: they fail when used, not before."""

from __future__ import annotations

import difflib
import types
from importlib import resources

from torchlike._core.errors import NotSupported

_names: dict[str, frozenset[str]] = {}
# Modules that libraries import at the top of their files though they are private, or miss on some
# machines: as modules that torchlike has not, they give a stand-in for any name.
_BORROWED = (
    "torch.distributed._composable", "torch.distributed._composable.fsdp",
    "torch.distributed._functional_collectives", "torch.distributed._shard",
    "torch.distributed._shard.sharded_tensor", "torch.distributed._tensor",
    "torch.distributed._tensor.api", "torch.distributed._tensor.experimental",
    "torch.distributed._tensor.placement_types", "torch.distributed.algorithms._checkpoint",
    "torch.distributed.algorithms._checkpoint.checkpoint_wrapper",
    "torch.distributed.elastic", "torch.distributed.elastic.agent",
    "torch.distributed.elastic.agent.server", "torch.distributed.elastic.agent.server.api",
    "torch.distributed.elastic.multiprocessing", "torch.distributed.elastic.multiprocessing.errors",
    "torch.distributed.elastic.rendezvous", "torch.distributed.fsdp._common_utils",
    "torch.distributed.fsdp._runtime_utils", "torch.distributed.fsdp._traversal_utils",
    "torch.distributed.tensor._dtensor_spec", "torch.distributed.tensor._utils",
    "torch.distributed.tensor.experimental._attention",
)  # fmt: skip


def known_names() -> dict[str, frozenset[str]]:
    """The public names of each module of PyTorch 2.13, torchvision 0.28 and torchaudio 2.11
    (``names*.txt``)."""
    if not _names:
        for file in ("names.txt", "names_torchvision.txt", "names_torchaudio.txt"):
            text = resources.files(__package__).joinpath(file).read_text(encoding="utf-8")
            for line in text.splitlines():
                module, _, names = line.partition(":")
                _names[module] = frozenset(names.split())
        _names.update({module: _names.get(module, frozenset()) for module in _BORROWED})
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
