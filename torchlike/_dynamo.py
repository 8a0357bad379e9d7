"""torch._dynamo: the names of it that scripts use; the compiler itself is torchlike.compiler."""

from __future__ import annotations

from torchlike._engine.prefix import local
from torchlike.compiler import config as config
from torchlike.compiler import disable as disable
from torchlike.compiler import explain as explain
from torchlike.compiler import is_compiling as is_compiling
from torchlike.compiler import list_backends as list_backends
from torchlike.compiler import reset as reset
from torchlike.compiler._compile import InvalidBackend as InvalidBackend
from torchlike.compiler._compile import known_backend as lookup_backend  # noqa: F401
from torchlike.compiler._compile import registered as _backends

# Scripts set these to keep going where PyTorch's compiler fails; here that is always so.
config.suppress_errors = False


def register_backend(compiler_fn=None, name: str | None = None, tags=()):
    """Give a backend of one's own a name for ``torch.compile(backend=...)``; also a decorator."""
    if compiler_fn is None:
        return lambda fn: register_backend(fn, name, tags)
    _backends[name or compiler_fn.__name__] = compiler_fn
    return compiler_fn


def graph_break(msg: str = "") -> None:
    """Let the function that is being recorded run its Python at every call."""
    if local.capture is not None:
        local.capture.refuse(f"graph_break({msg})")


def mark_dynamic(t, index, **named) -> None:
    """Nothing: another size is recorded by itself, and a size seen before is found again."""


def maybe_mark_dynamic(t, index) -> None:
    """Nothing, as ``mark_dynamic``."""


def mark_static(t, index=None) -> None:
    """Nothing: every size is exact."""


def mark_static_address(t, guard: bool = True) -> None:
    """Nothing: arrays have no addresses that programs know."""
