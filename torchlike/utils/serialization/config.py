"""torch.utils.serialization.config: ``load`` and ``save``, the settings of files
(https://pytorch.org/docs/stable/notes/serialization.html#utils-serialization-config)."""

from __future__ import annotations

import contextlib
import sys
from types import ModuleType

from torchlike._serialization.options import current, set_default_mmap_options


class _Section:
    """Settings by their names; each is kept under a name of its own in the options of files."""

    __slots__ = ("_names", "_title")

    def __init__(self, title: str, **names: str):
        object.__setattr__(self, "_title", title)
        object.__setattr__(self, "_names", names)

    def __getattr__(self, name):
        return getattr(current, self._place(name))

    def __setattr__(self, name, value):
        place = self._place(name)
        if name == "mmap_flags":
            set_default_mmap_options(value)  # raises for what is not there
        setattr(current, place, value)

    def __dir__(self):
        return list(self._names)

    def _place(self, name):
        if name not in self._names:
            raise AttributeError(f"{__name__}.{self._title}.{name} does not exist")
        return self._names[name]


load = _Section(
    "load", mmap="maps", endianness="endianness", mmap_flags="mmap",
    calculate_storage_offsets="offsets",
)  # fmt: skip
save = _Section(
    "save", compute_crc32="crc32", use_pinned_memory_for_d2h="pinned", storage_alignment="alignment"
)


@contextlib.contextmanager
def patch(arg1=None, arg2=None, **kwargs):
    """Other settings for a ``with`` block or a decorated function: ``patch("load.mmap", True)`` or
    ``patch({"load.mmap": True})``."""
    new = dict(arg1) if isinstance(arg1, dict) else {} if arg1 is None else {arg1: arg2}
    new |= kwargs
    places = {name: _section(name) for name in new}
    before = {name: getattr(*place) for name, place in places.items()}
    try:
        for name, (section, key) in places.items():
            setattr(section, key, new[name])
        yield
    finally:
        for name, (section, key) in places.items():
            setattr(section, key, before[name])


def _section(name: str):
    title, _, key = name.partition(".")
    section = {"load": load, "save": save}.get(title)
    if section is None or not key:
        raise AttributeError(f"{__name__}.{name} does not exist")
    section._place(key)
    return section, key


def get_config_copy() -> dict:
    """All settings by their full names."""
    return {
        f"{section._title}.{name}": getattr(section, name)
        for section in (load, save)
        for name in dir(section)
    }


class _Config(ModuleType):
    """The module itself: it has two sections, and takes no further setting."""

    def __setattr__(self, name, value):
        if not name.startswith("__"):
            raise AttributeError(f"{__name__}.{name} does not exist")
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Config
