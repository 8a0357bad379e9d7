"""torch._logging: which of PyTorch's compiler's notes are written."""

from torchlike._core.errors import warn_once


def set_logs(**names) -> None:
    """Warns: there are no such notes here."""
    warn_once(
        "torch._logging.set_logs(): PyTorch's compiler is not here, and its logs are not written; "
        "torchlike.compiler.stats() tells what was recorded and compiled, and which line did it."
    )
