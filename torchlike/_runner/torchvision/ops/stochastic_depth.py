"""torchvision.ops.stochastic_depth: dropping whole branches (https://arxiv.org/abs/1603.09382)."""

from __future__ import annotations

import torchlike as torch
from torchlike import nn
from torchlike.fx import wrap


def stochastic_depth(input, p: float, mode: str, training: bool = True):
    """``input`` with the whole batch, or whole rows of it, zero with probability ``p``.

    Raises ``ValueError`` for a ``p`` outside 0..1 or a mode but "batch" and "row".
    """
    if not 0 <= p <= 1:
        raise ValueError(f"drop probability has to be between 0 and 1, but got {p}")
    if mode not in ("batch", "row"):
        raise ValueError(f"mode has to be either 'batch' or 'row', but got {mode}")
    if not training or p == 0:
        return input
    rows = input.shape[0] if mode == "row" else 1
    keep = torch.empty(
        (rows, *(1,) * (input.ndim - 1)), dtype=input.dtype, device=input.device
    ).bernoulli_(1 - p)
    if p < 1:
        keep.div_(1 - p)
    return input * keep


wrap("stochastic_depth")


class StochasticDepth(nn.Module):
    """``stochastic_depth`` as a layer."""

    def __init__(self, p: float, mode: str):
        super().__init__()
        self.p, self.mode = p, mode

    def forward(self, input):
        return stochastic_depth(input, self.p, self.mode, self.training)

    def extra_repr(self) -> str:
        return f"p={self.p}, mode={self.mode}"

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.extra_repr()})"
