"""Rprop."""

from __future__ import annotations

from typing import Any

from torchlike.optim._checks import check_rate
from torchlike.optim.optimizer import Optimizer


class Rprop(Optimizer):
    """Resilient propagation: signs only (https://pytorch.org/docs/stable/generated/torch.optim.Rprop.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "rprop"

    def __init__(
        self, params, lr=1e-2, etas=(0.5, 1.2), step_sizes=(1e-6, 50), *,
        capturable: bool = False, foreach=None, maximize: bool = False,
        differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        if not 0.0 < etas[0] < 1.0 < etas[1]:
            raise ValueError(f"Invalid eta values: {etas[0]}, {etas[1]}")
        super().__init__(
            params,
            {
                "lr": lr, "etas": etas, "step_sizes": step_sizes, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "capturable": capturable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"maximize": group["maximize"]}

    def scalars(self, group: dict[str, Any]) -> list:
        (smaller, larger), (least, most) = group["etas"], group["step_sizes"]
        return [smaller, larger, least, most]

    def start(self, group: dict[str, Any], name: str) -> float:
        return float(group["lr"]) if name == "step_size" else 0.0
