"""torch.backends: how a program sets a switch outside of a ``with`` block."""

from contextlib import nullcontext


def __allow_nonbracketed_mutation():
    """A context in which switches may be set, as they always may."""
    return nullcontext()
