"""Running a program as Python would: its arguments, its ``__main__``, its exit."""

from __future__ import annotations

import functools
import importlib.machinery
import io
import multiprocessing
import multiprocessing.spawn
import pkgutil
import runpy
import sys
import types
from pathlib import Path

from torchlike._core.devices import map_cuda
from torchlike._runner.finder import install
from torchlike._runner.objects import watch_for
from torchlike._runner.tracebacks import shorten


class CannotStart(Exception):
    """What is asked for is no program."""


def prepare(device: str | None = None) -> None:
    """Let ``import torch`` find torchlike, and ``cuda`` mean another kind of device if one is
    given, in this process and in those that ``multiprocessing`` spawns from it.

    Raises ``RuntimeError`` if PyTorch has been imported already or the machine has no such device,
    and ``ValueError`` for another word than "cpu", "cuda" and "tpu".
    """
    if device is not None:
        map_cuda(device)
    install()
    _reach_spawned(device)


def run(first: str, rest: list[str]) -> None:
    """Run a script, ``-m`` a module, ``-c`` a text or ``-`` the standard input, as ``__main__``.

    ``sys.argv`` and ``sys.path`` are as Python itself would set them; ``rest`` are the program's
    own arguments, after the module's name or the text. Raises ``CannotStart`` for a missing file.
    """
    shorten()
    if first == "-m":
        sys.argv = rest
        _first_on_path(str(Path.cwd()))
        runpy.run_module(rest[0], run_name="__main__", alter_sys=True)
    elif first == "-c":
        sys.argv = ["-c", *rest[1:]]
        _first_on_path("")
        _execute(rest[0], "<string>")
    elif first == "-":
        sys.argv = ["-", *rest]
        _first_on_path("")
        _execute(sys.stdin.buffer.read(), "<stdin>")
    else:
        path = Path(first)
        if not path.exists():
            raise CannotStart(f"can't open file '{first}'")
        sys.argv = [first, *rest]
        _first_on_path(str(path.resolve().parent))
        if path.suffix == ".pyc" or pkgutil.get_importer(first) is not None:
            runpy.run_path(first, run_name="__main__")  # compiled, a folder or an archive
        else:
            with io.open_code(str(path.absolute())) as file:
                source = file.read()
            file = str(path.absolute())  # as Python itself gives it, in tracebacks too
            _execute(source, file, importlib.machinery.SourceFileLoader("__main__", file))


def _first_on_path(folder: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = folder


def _execute(source: str | bytes, file: str, loader=None) -> None:
    """Run a text as the module ``__main__``, which stays there: pickle and exit handlers look."""
    main = types.ModuleType("__main__")
    main.__dict__["__builtins__"] = __builtins__
    if loader is not None:
        main.__file__, main.__loader__, main.__cached__ = file, loader, None
    sys.modules["__main__"] = main
    watch_for(source.encode(errors="replace") if isinstance(source, str) else source)
    exec(compile(source, file, "exec", dont_inherit=True), main.__dict__)


# ---- processes that the program spawns ---------------------------------------------------------


class _Prepare:
    """Prepares the process that unpickles it."""

    def __init__(self, device: str | None):
        self.device = device

    def __reduce__(self):
        return prepare, (self.device,)


def _reach_spawned(device: str | None) -> None:
    """Let a spawned process be prepared before it reads the program's main module."""
    plain = multiprocessing.spawn.get_preparation_data
    plain = getattr(plain, "__wrapped__", plain)

    @functools.wraps(plain)
    def with_runner(name):
        # First, as what follows may name classes of modules that import torch.
        return {"torchlike": _Prepare(device), **plain(name)}

    multiprocessing.spawn.get_preparation_data = with_runner
    multiprocessing.set_forkserver_preload([])  # its server would import torch before that
