"""torch._tensor_str: the print options, and the text of a tensor's values."""

from __future__ import annotations

from torchlike._tensor import printing

PRINT_OPTS = printing._options


def _tensor_str(self, indent: int) -> str:
    """The values of a tensor in brackets, its second line and later ones indented."""
    return printing.format_values(self.detach()._host(), self.dtype.name, indent=indent)


def _add_suffixes(tensor_str: str, suffixes, indent: int, force_newline: bool) -> str:
    """A text in ``tensor(`` with what follows it, broken where a line would be too long."""
    if force_newline and suffixes:
        return f"{tensor_str},\n{' ' * indent}{', '.join(suffixes)})"
    return printing._join_suffixes(tensor_str, suffixes, indent)
