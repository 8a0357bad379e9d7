"""What the engine did: one record of counters, and the lines that forced a flush."""

from __future__ import annotations


class Stats:
    """Counters since the last clear; see ``torchlike.compiler.stats``."""

    def __init__(self):
        self.clear()

    def flush_lines(self, clear: bool = False) -> dict[str, int]:
        """Flushes by line; the flush policy, which counts them, puts its own function here."""
        return {}

    def clear(self) -> None:
        """Set every counter to zero."""
        self.ops = 0
        self.programs = 0
        self.hits = 0
        self.compiles = 0
        self.loads = 0
        self.compile_seconds = 0.0
        self.single_ops = 0
        self.single_compiles = 0
        self.host_ops = 0
        self.syncs = 0
        self.misses = 0
        self.replays = 0
        self.recompiles = 0
        self.flush_lines(clear=True)

    def as_dict(self) -> dict:
        """The counters as a plain dict."""
        return {
            "ops": self.ops,
            "programs": self.programs,
            "hits": self.hits,
            "compiles": self.compiles,
            "loads": self.loads,
            "compile_seconds": self.compile_seconds,
            "single_ops": self.single_ops,
            "single_compiles": self.single_compiles,
            "host_ops": self.host_ops,
            "syncs": self.syncs,
            "misses": self.misses,
            "replays": self.replays,
            "recompiles": self.recompiles,
            "flushes": self.flush_lines(),
        }


stats = Stats()
