"""torch.compiler.config: switches of PyTorch's compiler that have a meaning here, or need none.

The limit on recordings of one function is read, and whether to raise there; the others ask for what
is always so: shapes are exact, numbers are guarded, nothing is printed but one report a function.
"""

import contextlib
import sys
import types

job_id = None
recompile_limit = 8
accumulated_recompile_limit = 256
fail_on_recompile_limit_hit = False
verbose = False
force_disable_caches = False
automatic_dynamic_shapes = True
assume_static_by_default = True
dynamic_shapes = True
capture_scalar_outputs = False
capture_dynamic_output_shape_ops = False
allow_unspec_int_on_nn_module = False
enable_cpp_symbolic_shape_guards = True
log_file_name = None
reorderable_logging_functions: set = set()
skip_tensor_guards_with_matching_dict_tags = True
wrap_top_frame = False


def _formerly(name: str) -> property:
    """A switch by its former name."""
    return property(
        lambda self: getattr(self, name), lambda self, value: setattr(self, name, value)
    )


class _Config(types.ModuleType):
    """The module itself: two switches have a second name, and all can be set for a while."""

    cache_size_limit = _formerly("recompile_limit")
    accumulated_cache_size_limit = _formerly("accumulated_recompile_limit")

    @contextlib.contextmanager
    def patch(self, changes: str | dict | None = None, value=None, **named):
        """Set some switches for a ``with`` block or a decorated function: by name and value, as a
        dict or as keywords."""
        changes = {changes: value} if isinstance(changes, str) else {**(changes or {}), **named}
        before = {name: getattr(self, name) for name in changes}
        try:
            for name, new in changes.items():
                setattr(self, name, new)
            yield
        finally:
            for name, old in before.items():
                setattr(self, name, old)


sys.modules[__name__].__class__ = _Config
