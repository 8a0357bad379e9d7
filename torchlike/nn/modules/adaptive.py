"""The adaptive softmax: rare classes in clusters with smaller projections."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor
from torchlike.nn import functional as F
from torchlike.nn.modules.container import ModuleList, Sequential
from torchlike.nn.modules.linear import Linear
from torchlike.nn.modules.module import Module

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-softmax over very many classes, sorted by frequency, and its loss
    (https://pytorch.org/docs/stable/generated/torch.nn.AdaptiveLogSoftmaxWithLoss.html).

    Classes below ``cutoffs[0]`` are in the head, each further interval is a cluster of the tail
    with a projection to in_features / div_value**(i + 1).
    """

    in_features: int
    n_classes: int
    cutoffs: list[int]
    div_value: float
    head_bias: bool

    def __init__(
        self, in_features: int, n_classes: int, cutoffs: Sequence[int], div_value: float = 4.0,
        head_bias: bool = False, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        cutoffs = list(cutoffs)
        if not cutoffs:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if (
            cutoffs != sorted(set(cutoffs))
            or cutoffs[0] <= 0
            or cutoffs[-1] > n_classes - 1
            or any(int(c) != c for c in cutoffs)
        ):
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing "
                "order, where each value is between 1 and n_classes-1"
            )
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*cutoffs, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = cutoffs[0]
        self.n_clusters = len(cutoffs)
        self.head_size = self.shortlist_size + self.n_clusters
        place = {"device": device, "dtype": dtype}
        self.head = Linear(in_features, self.head_size, bias=head_bias, **place)
        self.tail = ModuleList()
        for i, (start, stop) in enumerate(pairwise(self.cutoffs)):
            width = int(in_features // div_value ** (i + 1))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **place),
                    Linear(width, stop - start, bias=False, **place),
                )
            )

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for into, out_of in self.tail:
            into.reset_parameters()
            out_of.reset_parameters()

    def forward(self, input_: Tensor, target_: Tensor) -> _ASMoutput:
        """(N, in_features), (N) -> the targets' log-probabilities (N) and minus their mean."""
        self._check(input_, target_)
        batched = target_.dim() > 0
        x = input_ if batched else input_.unsqueeze(0)
        # On the host: which rows go to which cluster decides about shapes.
        target = target_.detach().cpu().numpy().reshape(-1)
        if target.size and not (target.min() >= 0 and target.max() < self.n_classes):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min()}, {target.max()}] were found. "
            )
        out = x.new_zeros(target.size)
        in_head = target.copy()
        for i, (start, stop) in enumerate(pairwise(self.cutoffs)):
            rows = np.flatnonzero((target >= start) & (target < stop))
            if rows.size:
                in_head[rows] = self.shortlist_size + i
                out = self._add_cluster(out, x, i, rows, target[rows] - start)
        head = F.log_softmax(self.head(x), dim=1)
        out = out + head.gather(1, from_host(in_head[:, None], x.device)).squeeze(1)
        loss = (-out).mean()
        return _ASMoutput(out if batched else out.squeeze(0), loss)

    def _check(self, x, target):
        if target.dim() > 1:
            raise RuntimeError("0D or 1D target tensor expected, multi-target not supported")
        if target.dim() == 1 and x.shape[0] != target.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if x.dim() != target.dim() + 1:
            raise RuntimeError(
                f"{target.dim()}D target tensor expects {target.dim() + 1}D input tensors, but "
                "found inputs with size",
                x.size(),
            )

    def _add_cluster(self, out, x, i, rows, classes):
        """``out`` with the log-probabilities within a cluster added at its rows.

        The number of rows is rounded up to a power of two, as every other one is a new program;
        the rows in excess add zero.
        """
        count = rows.size
        padded = min(len(x), 1 << (count - 1).bit_length())
        rows = from_host(np.resize(rows, padded), x.device)
        classes = from_host(np.resize(classes, padded)[:, None], x.device)
        logs = F.log_softmax(self.tail[i](x.index_select(0, rows)), dim=1)
        logs = logs.gather(1, classes).squeeze(1)
        if padded > count:
            real = from_host(np.arange(padded) < count, x.device)
            logs = FUNCTIONS["where"](real, logs, 0.0)
        return out.index_add(0, rows, logs)

    def _full_log_prob(self, x, head_output):
        head = F.log_softmax(head_output, dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            at = self.shortlist_size + i
            parts.append(F.log_softmax(cluster(x), dim=1) + head[:, at : at + 1])
        return FUNCTIONS["cat"](parts, dim=1)

    def log_prob(self, input: Tensor) -> Tensor:
        """(N, in_features) -> the log-probabilities of all classes (N, n_classes)."""
        return self._full_log_prob(input, self.head(input))

    def predict(self, input: Tensor) -> Tensor:
        """(N, in_features) -> the most probable class of each row (N)."""
        head_output = self.head(input)
        best = head_output.argmax(dim=1)
        anywhere = self._full_log_prob(input, head_output).argmax(dim=1)
        return FUNCTIONS["where"](best < self.shortlist_size, best, anywhere)
