"""Adamax."""

from __future__ import annotations

from typing import Any

from torchlike.optim._checks import check_betas, check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class Adamax(Optimizer):
    """Adam with the largest gradient as scale (https://pytorch.org/docs/stable/generated/torch.optim.Adamax.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "adamax"

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        foreach=None, *, maximize: bool = False, differentiable: bool = False,
        capturable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check_range("epsilon value", eps, 0)
        check_betas(betas)
        check_range("weight_decay value", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                "capturable": capturable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"weight_decay": bool(group["weight_decay"]), "maximize": group["maximize"]}

    def scalars(self, group: dict[str, Any]) -> list:
        beta1, beta2 = group["betas"]
        return [group["lr"], beta1, beta2, group["eps"], group["weight_decay"]]
