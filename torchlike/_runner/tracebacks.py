"""Tracebacks of programs: the user's lines and the modules', not what torchlike is made of."""

from __future__ import annotations

import os
import sys
import types

from torchlike._core.errors import PACKAGE

# How to see everything again; told to those whose traceback was cut.
FULL = "TORCHLIKE_TRACEBACK"
_NOTE = f"(frames inside torchlike and JAX are left out; {FULL}=full shows them)"
_JAX_NOTE = "For simplicity, JAX has removed its internal frames"


def shorten() -> None:
    """Let uncaught errors be printed without the frames of the runner, the engine and JAX.

    They end where PyTorch's would: at the user's line, or at the line of a module or of
    ``nn.functional`` below it.
    """
    if os.environ.get(FULL) != "full":
        sys.excepthook = _print_short


def _print_short(kind, error, trace) -> None:
    cut = clean(error)
    sys.__excepthook__(kind, error, error.__traceback__)
    if cut:
        sys.stderr.write(_NOTE + "\n")


def clean(error: BaseException) -> bool:
    """Take the hidden frames out of an error and of what it came from; whether there were any
    below a line of the user's."""
    cut, seen, todo = False, set(), [error]
    while todo:
        e = todo.pop()
        if e is None or id(e) in seen:
            continue
        seen.add(id(e))
        todo += [e.__cause__, e.__context__]
        e.__traceback__, below = _without(e.__traceback__, isinstance(e, SyntaxError))
        cut |= below
        notes = getattr(e, "__notes__", None)
        if notes:
            notes[:] = [note for note in notes if _JAX_NOTE not in note]
    return cut


def _without(trace, may_vanish: bool):
    shown, below = [], False
    full = trace
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if _is_runner(file):
            if shown:
                shown.append(trace)
        elif _is_inner(file):
            below |= bool(shown)
        else:
            shown.append(trace)
        trace = trace.tb_next
    if not shown:
        return (None if may_vanish else full), False
    out = None
    for t in reversed(shown):
        out = types.TracebackType(out, t.tb_frame, t.tb_lasti, t.tb_lineno)
    return out, below


def _is_runner(file: str) -> bool:
    """Whether a frame only starts the program: they are hidden above the program's own."""
    return file == "<frozen runpy>" or file.startswith((PACKAGE + "__main__", PACKAGE + "_runner"))


def _is_inner(file: str) -> bool:
    if file.startswith(PACKAGE):
        first = file[len(PACKAGE) :].partition(os.sep)[0]
        return first.startswith("_") or first == "forms"  # forms: the generated calls
    jax = sys.modules.get("jax")
    folder = os.path.dirname(getattr(jax, "__file__", None) or "")
    return bool(folder) and file.startswith((folder + os.sep, folder + "lib" + os.sep))
