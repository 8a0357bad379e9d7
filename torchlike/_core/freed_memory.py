"""What the C library does with freed memory: by default it hands large blocks back at once.

An array of some megabytes then costs fresh pages each time, and the first touch of a page takes
longer than most ops on it: forward and backward of a depthwise convolution of 16 x 64 x 56 x 56
take 18 ms, and 11 where freed blocks are kept.
"""

from __future__ import annotations

import ctypes
import os
import sys

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # glibc's numbers for mallopt()
KEPT = 1 << 30  # bytes at the top of the heap, and of a block that the heap may hold


def keep(environ=os.environ) -> bool:
    """Let glibc keep up to 1 GiB that is free; False where it is another library, or where the
    environment sets glibc's allocator (https://man7.org/linux/man-pages/man3/mallopt.3.html), or
    TORCHLIKE_KEEP_MEMORY=0 asks for its defaults."""
    if environ.get("TORCHLIKE_KEEP_MEMORY", "1") in ("", "0", "false"):
        return False
    if any(name.startswith("MALLOC_") for name in environ) or "glibc.malloc" in environ.get(
        "GLIBC_TUNABLES", ""
    ):
        return False
    if not sys.platform.startswith("linux"):
        return False
    library = ctypes.CDLL(None)
    if not hasattr(library, "gnu_get_libc_version"):
        return False
    return bool(library.mallopt(_MMAP_THRESHOLD, KEPT) and library.mallopt(_TRIM_THRESHOLD, KEPT))
