"""Forks of a process that has run programs: there NumPy computes, or an error is raised.

A fork inherits XLA's locks and not its threads: a program would wait for them forever.
"""

from __future__ import annotations

import contextlib
import math
import os
from typing import NoReturn

import jax

from torchlike._core.settings import settings
from torchlike._engine import flush
from torchlike._engine.compat import has_started
from torchlike._engine.programs import Program


def leave_xla() -> None:
    """From here on run what is recorded by NumPy, whatever it takes, and refuse what it cannot."""
    settings.small_on_host = settings.host = True
    settings.immediate = settings.always_compile = False
    flush._SMALL = math.inf
    flush.clear_programs()  # with all that was settled by them: NumPy is to be asked for each
    Program.arguments = flush.run_single = _refuse  # type: ignore[assignment]


def _refuse(*args) -> NoReturn:
    raise RuntimeError(
        "this op needs XLA, which does not work in a fork of a process that has used it: start the "
        "process by multiprocessing.get_context('spawn') or 'forkserver', or leave out a "
        "DataLoader's multiprocessing_context='fork'"
    )


def _before() -> None:
    """What is being computed is waited for: nobody would finish it in the fork."""
    if has_started():
        for array in jax.live_arrays("cpu"):
            with contextlib.suppress(RuntimeError):  # it failed: whoever reads it is told
                array.block_until_ready()


def _in_child() -> None:
    if has_started():
        leave_xla()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before, after_in_child=_in_child)
