"""RMSprop."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlike.optim._checks import check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class RMSprop(Optimizer):
    """Gradients scaled by a moving root mean square (https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "rmsprop"
    later: ClassVar[dict[str, Any]] = {**Optimizer.later, "momentum": 0, "centered": False}

    def __init__(
        self, params, lr=1e-2, alpha: float = 0.99, eps: float = 1e-8, weight_decay: float = 0,
        momentum: float = 0, centered: bool = False, capturable: bool = False, foreach=None,
        maximize: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check_range("epsilon value", eps, 0)
        check_range("momentum value", momentum, 0)
        check_range("weight_decay value", weight_decay, 0)
        check_range("alpha value", alpha, 0)
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered,
                "weight_decay": weight_decay, "capturable": capturable, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "momentum": group["momentum"] > 0,
            "centered": group["centered"],
            "weight_decay": bool(group["weight_decay"]),
            "maximize": group["maximize"],
        }
