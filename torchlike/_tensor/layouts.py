"""Layouts and memory formats: names that PyTorch code passes; every tensor here is strided."""

from __future__ import annotations


class layout:
    """A memory layout, e.g. ``torch.strided``."""

    def __init__(self, name: str):
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"

    def __reduce__(self):
        return _named, (self._name,)  # also what copy.copy and deepcopy go by


class memory_format(layout):
    """A memory format, e.g. ``torch.channels_last``; XLA chooses the real one."""


def _named(name: str) -> layout:
    """The one layout or memory format of a name: programs compare them with ``is``."""
    return globals()[name]


strided = layout("strided")
sparse_coo = layout("sparse_coo")
sparse_csr = layout("sparse_csr")
sparse_csc = layout("sparse_csc")
sparse_bsr = layout("sparse_bsr")
sparse_bsc = layout("sparse_bsc")
jagged = layout("jagged")
contiguous_format = memory_format("contiguous_format")
preserve_format = memory_format("preserve_format")
channels_last = memory_format("channels_last")
channels_last_3d = memory_format("channels_last_3d")
