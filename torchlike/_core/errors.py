"""Errors of our own and the way from a frame to the user's line."""

from __future__ import annotations

import os
import sys

PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


class DeviceMismatch(RuntimeError):
    """Operands of one call are on different devices."""


class NotSupported(NotImplementedError):
    """Something PyTorch has and torchlike has not: names it and the way out."""

    def __init__(self, what: str, instead: str = ""):
        super().__init__(f"torchlike does not support {what}" + (f"; {instead}" if instead else ""))


class BadIndex(IndexError, RuntimeError):
    """An index out of range: PyTorch raises the one type for some ops and the other for others."""


def user_frame():
    """The innermost frame outside this package, or the outermost one there is."""
    frame = sys._getframe(1)
    while frame.f_code.co_filename.startswith(PACKAGE):
        back = frame.f_back
        if back is None:
            return frame
        frame = back
    return frame


def user_line() -> str:
    """``file:line`` of the innermost frame outside this package."""
    frame = user_frame()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"
