"""Channels in another order."""

from __future__ import annotations

from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module

__all__ = ["ChannelShuffle"]


class ChannelShuffle(Module):
    """Deals channels out over groups
    (https://pytorch.org/docs/stable/generated/torch.nn.ChannelShuffle.html)."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, input):
        """(N, C, ...) -> the same."""
        return F.channel_shuffle(input, self.groups)

    def extra_repr(self) -> str:
        return f"groups={self.groups}"
