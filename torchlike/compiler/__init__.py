"""torch.compiler and what the engine tells of itself."""

from torchlike._engine.flush import clear_caches as clear_caches
from torchlike._engine.flush import flush as flush
from torchlike._engine.stats import stats as _stats

__all__ = ["clear_caches", "clear_stats", "flush", "reset", "stats"]


def stats() -> dict:
    """What the engine did since the last ``clear_stats``: ops, programs, compiles, syncs, flushes.

    ``flushes`` counts, for each line of the user's code, the flushes that it forced and why.
    """
    return _stats.as_dict()


def clear_stats() -> None:
    """Set every counter of ``stats`` to zero."""
    _stats.clear()


def reset() -> None:
    """Forget all programs and recorded prefixes."""
    clear_caches()
