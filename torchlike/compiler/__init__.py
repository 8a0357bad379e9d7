"""torch.compiler, what compile() tells of itself, and what the engine does."""

import os as _os

from torchlike._engine.flush import clear_caches as clear_caches
from torchlike._engine.flush import flush as flush
from torchlike._engine.stats import stats as _stats
from torchlike.compiler import config as config
from torchlike.compiler._artifacts import load_cache_artifacts as load_cache_artifacts
from torchlike.compiler._artifacts import save_cache_artifacts as save_cache_artifacts
from torchlike.compiler._compile import compile as compile
from torchlike.compiler._controls import (
    allow_in_graph,
    assume_constant_result,
    cudagraph_mark_step_begin,
    disable,
    get_default_backend,
    is_compiling,
    is_dynamo_compiling,
    is_exporting,
    keep_portable_guards_unsafe,
    keep_tensor_guards_unsafe,
    list_backends,
    load_compiled_function,
    nested_compile_region,
    persistent_cache,
    reset,
    set_default_backend,
    set_enable_guard_collectives,
    set_stance,
    skip_all_guards_unsafe,
    skip_guard_on_all_nn_modules_unsafe,
    skip_guard_on_globals_unsafe,
    skip_guard_on_inbuilt_nn_modules_unsafe,
    substitute_in_graph,
    wrap_numpy,
)
from torchlike.compiler._explain import explain as explain

__all__ = [
    "allow_in_graph",
    "assume_constant_result",
    "clear_caches",
    "clear_stats",
    "compile",
    "cudagraph_mark_step_begin",
    "disable",
    "explain",
    "flush",
    "get_default_backend",
    "is_compiling",
    "is_dynamo_compiling",
    "is_exporting",
    "keep_portable_guards_unsafe",
    "keep_tensor_guards_unsafe",
    "list_backends",
    "load_cache_artifacts",
    "load_compiled_function",
    "nested_compile_region",
    "persistent_cache",
    "reset",
    "save_cache_artifacts",
    "set_default_backend",
    "set_enable_guard_collectives",
    "set_stance",
    "skip_all_guards_unsafe",
    "skip_guard_on_all_nn_modules_unsafe",
    "skip_guard_on_globals_unsafe",
    "skip_guard_on_inbuilt_nn_modules_unsafe",
    "stats",
    "substitute_in_graph",
    "wrap_numpy",
]


def stats() -> dict:
    """What the engine did since the last ``clear_stats``: ops, programs, compiles, syncs, flushes.

    ``flushes`` counts, for each line of the user's code, the flushes that it forced and why;
    ``replays`` the calls of compiled functions that ran no Python, ``recompiles`` those that had
    to be recorded again.
    """
    return _stats.as_dict()


def clear_stats() -> None:
    """Set every counter of ``stats`` to zero."""
    _stats.clear()


if _os.environ.get("TORCHLIKE_CACHE"):  # nothing else may change JAX's settings at import
    persistent_cache()
