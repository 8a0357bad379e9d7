"""What writing for TensorBoard needs, imported when something is written."""

from __future__ import annotations

import importlib


def tensorboardx(part: str = ""):
    """tensorboardX, or one of its modules; ``ImportError`` with the way out if it is missing."""
    try:
        return importlib.import_module(f"tensorboardX.{part}" if part else "tensorboardX")
    except ModuleNotFoundError as error:
        raise ImportError(
            "torch.utils.tensorboard needs tensorboardX: pip install 'torchlike[tensorboard]'"
        ) from error


def pillow():
    """The module ``PIL.Image``; ``ImportError`` with the way out if it is missing."""
    try:
        return importlib.import_module("PIL.Image")
    except ModuleNotFoundError as error:
        raise ImportError(
            "images in torch.utils.tensorboard need Pillow: pip install 'torchlike[tensorboard]'"
        ) from error
