"""Classes with ``__torch_function__`` that are no tensors: they are asked once a program has one.

Which it has is seen in what is loaded, as such a class may be made long before a function meets it.
"""

from __future__ import annotations

import importlib.machinery
from pathlib import Path

from torchlike.overrides import watch_objects

_OWN = str(Path(__file__).parents[1])
_LOADER = importlib.machinery.SourceFileLoader


def watch_for(text: bytes) -> bool:
    """Ask objects from now on if this source or bytecode names the protocol; whether it does."""
    found = b"__torch_function__" in text
    if found:
        watch_objects()
    return found


def watch_modules() -> None:
    """Look for the protocol in all that is imported, until it is found."""
    if "get_data" in vars(_LOADER):
        return  # done already, in this process
    plain = _LOADER.get_data

    def get_data(self, path):
        """The bytes of a file: source, bytecode or data of a package."""
        data = plain(self, path)
        if not str(path).startswith(_OWN) and watch_for(data):
            stop()
        return data

    def stop():
        if vars(_LOADER).get("get_data") is get_data:
            del _LOADER.get_data

    _LOADER.get_data = get_data
