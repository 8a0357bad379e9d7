"""What the computing is done with (``torch.__config__``)."""

from __future__ import annotations

import os

import jax
import numpy as np

__all__ = ["parallel_info", "show"]


def show() -> str:
    """The versions of what computes, in words."""
    return f"torchlike on JAX {jax.__version__} (XLA) and NumPy {np.__version__}\n"


def parallel_info() -> str:
    """How many processors there are, in words."""
    return f"Threads are XLA's own, on {os.cpu_count()} processors\n"
