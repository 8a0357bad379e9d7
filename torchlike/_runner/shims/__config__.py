"""What this build is made of (https://pytorch.org/docs/stable/config_mod.html)."""

from __future__ import annotations

import jax
import jaxlib

from torchlike._tensor.queries import get_num_threads
from torchlike.version import __version__


def show() -> str:
    """The versions of the parts, and the devices' platform, a line each."""
    lines = [
        f"Version: {__version__}", f"JAX {jax.__version__}", f"jaxlib {jaxlib.__version__}",
        f"Platform: {jax.default_backend()}",
    ]  # fmt: skip
    return "\n".join(["torchlike, built with:", *(f"  - {line}" for line in lines), ""])


def parallel_info() -> str:
    """How many threads XLA's CPU client may use."""
    return f"ATen/Parallel:\n\tat::get_num_threads() : {get_num_threads()}\n"
