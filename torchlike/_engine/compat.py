"""The one place that touches JAX's private parts, each with a public way behind it."""

from __future__ import annotations

import functools

import jax

try:
    from jax._src import config as _config
    from jax._src import core as _core

    _x64 = _config.enable_x64
    _x64.set_local(_x64.get_local())
    _clean = _core.trace_state_clean
    _clean()
except (ImportError, AttributeError, TypeError):
    _x64 = None


def _in_program_scope(function, *args):
    with jax.core.eval_context(), jax.enable_x64(True):
        return function(*args)


def _in_program_scope_fast(function, *args):
    # 0.5 us instead of 3. No context manager: Ctrl-C could fall between its entry and its block
    # and leave 64-bit types on; here every point after the setting is inside the try.
    if not _clean():
        return _in_program_scope(function, *args)
    before = _x64.get_local()
    try:
        _x64.set_local(True)
        return function(*args)
    finally:
        _x64.set_local(before)


try:
    _precision = _config.default_matmul_precision
    _precision.value  # noqa: B018  (the public setting does not know of ``with`` blocks)
except (NameError, AttributeError):
    _precision = None

try:
    from jax._src.xla_bridge import backends_are_initialized as _backends
except ImportError:
    _backends = None

# Calls a function with 64-bit types on and no transformation in the way: how programs are traced
# and run.
in_program_scope = _in_program_scope if _x64 is None else _in_program_scope_fast


def callable_of(compiled):
    """What a ``jax.stages.Compiled`` calls: written in C++, with no bytecode around the call."""
    try:
        return compiled._executable.create_cpp_call(compiled._params) or compiled
    except (AttributeError, TypeError):
        return compiled


def matmul_precision() -> str:
    """The precision of products that is set, also by a ``with`` block; "" where none is."""
    found = jax.config.jax_default_matmul_precision if _precision is None else _precision.value
    return found or ""


def has_started() -> bool:
    """Whether this process, or one that it was forked from, has started XLA with its threads."""
    return _backends is None or _backends()


@functools.cache
def prompt_device():
    """The device of a second client of the CPU that runs programs on the calling thread; None where
    JAX gives none."""
    try:
        from jax._src.lib import xla_client

        return xla_client.make_cpu_client(asynchronous=False).devices()[0]
    except (ImportError, AttributeError, TypeError, RuntimeError):
        return None
