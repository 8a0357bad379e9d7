"""What libraries need of torchvision: its small functions and classes, on torchlike's tensors."""

from __future__ import annotations

import torchlike
from torchlike._core.later import later as _later

__version__ = f"0.28.0+torchlike.{torchlike.__version__}"
_backend = "PIL"


def get_image_backend() -> str:
    """The package that opens images."""
    return _backend


def set_image_backend(backend: str) -> None:
    """Choose it; raises ``ValueError`` for any but ``"PIL"``."""
    if backend != "PIL":
        raise ValueError(f"Invalid backend '{backend}'. Options are 'PIL'")


def disable_beta_transforms_warning() -> None:
    """Nothing: there is no such warning."""


__getattr__, __dir__ = _later(
    __name__, ("datasets", "io", "models", "ops", "transforms", "tv_tensors", "utils")
)
