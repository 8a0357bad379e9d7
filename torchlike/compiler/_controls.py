"""The functions of torch.compiler that steer compilation, and those that need do nothing here."""

from __future__ import annotations

import functools
import os

import jax

from torchlike._core import errors
from torchlike._core.symbolic import tracing
from torchlike._engine.flush import clear_caches
from torchlike._engine.prefix import local
from torchlike._tensor.creation import from_numpy
from torchlike.compiler import _compile
from torchlike.compiler._compile import BACKENDS, EAGER_BACKENDS, all_compiled, known_backend

_STANCES = (
    "default", "eager_then_compile", "aot_eager_then_compile", "force_eager", "eager_on_recompile",
    "fail_on_recompile",
)  # fmt: skip


def reset() -> None:
    """Forget all recordings, programs and prefixes."""
    for compiled in list(all_compiled):
        compiled.reset()
    clear_caches()


def disable(fn=None, recursive: bool = True, *, reason: str | None = None):
    """A function that always runs its Python, and so the compiled functions that call it."""
    if fn is None:
        return functools.partial(disable, recursive=recursive, reason=reason)
    inner = getattr(fn, "_torchdynamo_orig_callable", None)
    if inner is not None:
        fn = inner
    if isinstance(fn, type):
        fn.__init__ = disable(fn.__init__)
        return fn

    def call(*args, **kwargs):
        if local.capture is not None and recursive:
            name = getattr(fn, "__name__", type(fn).__name__)
            local.capture.refuse(f"{name} is not to be compiled{f' ({reason})' if reason else ''}")
        return fn(*args, **kwargs)

    if hasattr(fn, "forward") and hasattr(fn, "_modules"):
        original = fn.forward
        fn.__dict__["forward"] = disable(original)
        return fn
    try:
        functools.update_wrapper(call, fn)
    except (AttributeError, TypeError):
        call.__wrapped__ = fn
    call._torchdynamo_disable = True
    return call


def is_compiling() -> bool:
    """Whether the code that asks is being recorded for ``compile`` or traced for ``export``."""
    return local.capture is not None or tracing.scope is not None


def is_dynamo_compiling() -> bool:
    """The same as ``is_compiling``."""
    return is_compiling()


def is_exporting() -> bool:
    """Whether the code that asks is being traced for ``export``."""
    return tracing.scope is not None


class set_stance:
    """Set what compiled functions do on this thread, at once or for a ``with`` block
    (https://pytorch.org/docs/stable/generated/torch.compiler.set_stance.html)."""

    def __init__(
        self, stance: str = "default", *, skip_guard_eval_unsafe: bool = False, force_backend=None
    ):
        if stance not in _STANCES:
            raise RuntimeError(f"invalid torch.compile stance '{stance}'")
        if skip_guard_eval_unsafe:
            raise errors.NotSupported("skip_guard_eval_unsafe", "guards are always looked at")
        if force_backend not in (None, *BACKENDS):
            raise errors.NotSupported(f"force_backend={force_backend!r}", "XLA compiles")
        self.before, self.name = _compile.stance.name, stance
        _compile.stance.name = stance

    def __enter__(self):
        _compile.stance.name = self.name
        return self

    def __exit__(self, *exc):
        _compile.stance.name = self.before

    def __call__(self, fn):
        _compile.stance.name = self.before
        name = self.name

        @functools.wraps(fn)
        def call(*args, **kwargs):
            with set_stance(name):
                return fn(*args, **kwargs)

        return call


set_stance.__module__ = "torchlike.compiler"


def list_backends(exclude_tags=("debug", "experimental")) -> list[str]:
    """The names that ``backend=`` takes: all mean XLA but the debug ones, which run the Python, and
    those that the user has registered."""
    hidden = "debug" in (exclude_tags or ())
    return sorted((*BACKENDS, *(() if hidden else EAGER_BACKENDS), *_compile.registered))


def get_default_backend() -> str:
    """The backend of ``compile`` if none is given."""
    return _compile.default.backend


def set_default_backend(backend) -> None:
    """Choose the backend of ``compile`` (None: the first one); raises for one that there is not."""
    _compile.default.backend = BACKENDS[0] if backend is None else known_backend(backend)


def cudagraph_mark_step_begin() -> None:
    """Nothing: a program's results are never overwritten by its next run."""


def allow_in_graph(fn):
    """The function itself: all code is recorded."""
    return fn


def nested_compile_region(fn=None, *, options=None, max_reuse_entries: int = 8, reuse_hash_fn=None):
    """The function itself: what repeats is recorded like everything else."""
    return nested_compile_region if fn is None else fn


def substitute_in_graph(
    original_fn, *, can_constant_fold_through: bool = False, skip_signature_check: bool = False
):
    """Decorator that changes nothing: the original function can be recorded."""
    return lambda fn: fn


def assume_constant_result(fn):
    """A function whose result is taken to be the same at every call of a compiled function."""

    @functools.wraps(fn)
    def call(*args, **kwargs):
        capture = local.capture
        if capture is None:
            return fn(*args, **kwargs)
        local.capture = None
        try:
            return fn(*args, **kwargs)
        finally:
            local.capture = capture

    return call


def wrap_numpy(fn):
    """A function of tensors in place of one of NumPy arrays."""

    @functools.wraps(fn)
    def call(*args, **kwargs):
        args = [a.detach().numpy() if hasattr(a, "_requires_grad") else a for a in args]
        out = fn(*args, **kwargs)
        return from_numpy(out) if hasattr(out, "__array_interface__") else out

    return call


def set_enable_guard_collectives(enabled: bool) -> bool:
    """Nothing: there is one process; returns what was set before."""
    return False


def persistent_cache(folder: str | None = None, *, min_compile_seconds: float = 0.0) -> str:
    """Keep compiled programs on disk, so that the next process need not compile them again.

    ``folder`` is made if need be (default: $TORCHLIKE_CACHE, or ~/.cache/torchlike); returns it.
    The environment variable TORCHLIKE_CACHE alone switches the cache on as well.
    """
    folder = folder or os.environ.get("TORCHLIKE_CACHE")
    folder = folder or os.path.join(os.path.expanduser("~"), ".cache", "torchlike")
    os.makedirs(folder, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", min_compile_seconds)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return folder


def load_compiled_function(file, *, f_globals=None, external_data=None):
    """Not there: ``persistent_cache`` finds programs on disk."""
    raise _no_artifacts("load_compiled_function")


def _no_artifacts(name: str) -> errors.NotSupported:
    return errors.NotSupported(
        f"torch.compiler.{name}",
        "torch.compiler.persistent_cache(folder) keeps compiled programs on disk",
    )


def _all_guards(guard_entries) -> list[bool]:
    """Keep every guard: they are cheap, and without them a stale program would run."""
    return [True for _ in guard_entries]


def _guard_filter(name: str):
    def keep(guard_entries):
        return _all_guards(guard_entries)

    keep.__name__ = keep.__qualname__ = name
    keep.__doc__ = _all_guards.__doc__
    return keep


keep_portable_guards_unsafe = _guard_filter("keep_portable_guards_unsafe")
skip_all_guards_unsafe = _guard_filter("skip_all_guards_unsafe")
skip_guard_on_all_nn_modules_unsafe = _guard_filter("skip_guard_on_all_nn_modules_unsafe")
skip_guard_on_globals_unsafe = _guard_filter("skip_guard_on_globals_unsafe")
skip_guard_on_inbuilt_nn_modules_unsafe = _guard_filter("skip_guard_on_inbuilt_nn_modules_unsafe")


def keep_tensor_guards_unsafe(guard_entries, keep_parameters: bool = False) -> list[bool]:
    """Keep every guard: they are cheap, and without them a stale program would run."""
    return _all_guards(guard_entries)
