"""torch._dynamo.config: ``torchlike.compiler.config``, and what else programs set there."""

import sys
from contextlib import contextmanager

from torchlike.compiler import config


@contextmanager
def patch(arg1=None, arg2=None, **changes):
    """Other settings within a ``with`` block or a decorated function."""
    if isinstance(arg1, dict):
        changes = {**arg1, **changes}
    elif arg1 is not None:
        changes = {arg1: arg2, **changes}
    before = {name: getattr(config, name, None) for name in changes}
    vars(config).update(changes)
    try:
        yield
    finally:
        vars(config).update(before)


# Settings of PyTorch's tracer that nothing here reads.
for _name, _value in {
    "patch": patch, "optimize_ddp": True, "inline_inbuilt_nn_modules": True,
}.items():  # fmt: skip
    vars(config).setdefault(_name, _value)
sys.modules[__name__] = config
