"""Garbage collection, put off while modules are imported."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def put_off() -> Iterator[None]:
    """No garbage collection inside: what modules make is there to stay.

    Looking through it again and again takes 0.08 of the 0.55 s that ``import torchlike`` takes.
    Afterwards it counts as old, so that the next collection does not start with it either.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # else the program keeps something frozen
            gc.freeze()
            gc.unfreeze()
        gc.enable()
