"""What the C library is asked to keep: when, when not, and that it then faults in fewer pages."""

import subprocess
import sys
from pathlib import Path

import pytest

from torchlike._core import freed_memory

GLIBC = sys.platform.startswith("linux") and hasattr(
    freed_memory.ctypes.CDLL(None), "gnu_get_libc_version"
)
# More than glibc learns to keep by itself, on the thread whose heap may grow that far.
PROGRAM = """
import ctypes
import resource
import torchlike
library = ctypes.CDLL(None)
library.malloc.restype = ctypes.c_void_p
library.malloc.argtypes = [ctypes.c_size_t]
library.free.argtypes = [ctypes.c_void_p]
library.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
for n in range(6):
    if n == 1:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    block = library.malloc(40_000_000)
    library.memset(block, 1, 40_000_000)
    library.free(block)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.parametrize(
    "environ",
    [
        {"TORCHLIKE_KEEP_MEMORY": "0"},
        {"MALLOC_ARENA_MAX": "1"},
        {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"},
    ],
    ids=lambda environ: next(iter(environ)),
)
def test_what_the_environment_sets_stays(environ):
    assert not freed_memory.keep(environ)


@pytest.mark.skipif(not GLIBC, reason="the C library is not glibc")
def test_blocks_are_used_again():
    def faults(keep: str) -> int:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={"TORCHLIKE_KEEP_MEMORY": keep},
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return int(done.stdout)

    assert faults("1") < faults("0") / 4
