"""The few settings of the library: read once from the environment, changed at run time by name."""

from __future__ import annotations

import os
from contextlib import contextmanager


class Settings:
    """Process-wide switches; each can be set from the environment as ``TORCHLIKE_<NAME>``.

    immediate: run every op at once as a program of its own (debugging; the reference in tests).
    always_compile: compile every new segment at once, even where keys keep changing, and let its
        failure be raised rather than run op by op (the programs under test).
    host: let NumPy run what is too small, or not yet seen often enough, to pay a compile.
    small_on_host: never compile what is small enough for NumPy (data workers, which live briefly).
    max_ops: ops after which a segment is flushed.
    max_bytes: bytes of results after which a segment is flushed.
    max_prefixes: nodes of the prefix tree kept before the least recently used are dropped.
    max_programs: compiled programs kept before the least recently used are dropped.
    """

    __slots__ = (
        "always_compile",
        "host",
        "immediate",
        "max_bytes",
        "max_ops",
        "max_prefixes",
        "max_programs",
        "small_on_host",
    )

    def __init__(self):
        read = os.environ.get
        self.immediate = read("TORCHLIKE_IMMEDIATE", "0") not in ("", "0", "false")
        self.always_compile = False
        self.host = read("TORCHLIKE_HOST", "1") not in ("", "0", "false")
        self.small_on_host = False
        self.max_ops = int(read("TORCHLIKE_MAX_OPS", "1000"))
        self.max_bytes = int(read("TORCHLIKE_MAX_BYTES", str(1 << 31)))
        self.max_prefixes = int(read("TORCHLIKE_MAX_PREFIXES", "200000"))
        self.max_programs = int(read("TORCHLIKE_MAX_PROGRAMS", "2000"))

    @contextmanager
    def override(self, **values):
        """Set several settings for the length of a ``with`` block."""
        before = {name: getattr(self, name) for name in values}
        try:
            for name, value in values.items():
                setattr(self, name, value)
            yield self
        finally:
            for name, value in before.items():
                setattr(self, name, value)


settings = Settings()
