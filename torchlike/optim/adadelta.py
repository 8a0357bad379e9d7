"""Adadelta."""

from __future__ import annotations

from typing import Any

from torchlike.optim._checks import check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class Adadelta(Optimizer):
    """Steps as long as the steps before (https://pytorch.org/docs/stable/generated/torch.optim.Adadelta.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "adadelta"

    def __init__(
        self, params, lr=1.0, rho: float = 0.9, eps: float = 1e-6, weight_decay: float = 0,
        foreach=None, *, capturable: bool = False, maximize: bool = False,
        differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        if not 0.0 <= rho <= 1.0:
            raise ValueError(f"Invalid rho value: {rho}")
        check_range("epsilon value", eps, 0)
        check_range("weight_decay value", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "rho": rho, "eps": eps, "weight_decay": weight_decay,
                "maximize": maximize, "capturable": capturable, "foreach": foreach,
                "differentiable": differentiable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"weight_decay": bool(group["weight_decay"]), "maximize": group["maximize"]}
