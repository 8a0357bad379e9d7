"""NAdam."""

from __future__ import annotations

from typing import Any

from torchlike._core import dtypes as dt
from torchlike._engine.values import aval
from torchlike.optim._checks import check_betas, check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class NAdam(Optimizer):
    """Adam with Nesterov momentum (https://pytorch.org/docs/stable/generated/torch.optim.NAdam.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "nadam"

    def __init__(
        self, params, lr=2e-3, betas=(0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        momentum_decay: float = 4e-3, decoupled_weight_decay: bool = False, *, foreach=None,
        maximize: bool = False, capturable: bool = False, differentiable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check_range("epsilon value", eps, 0)
        check_betas(betas)
        check_range("weight_decay value", weight_decay, 0)
        check_range("momentum_decay value", momentum_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "momentum_decay": momentum_decay,
                "decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize,
                "foreach": foreach, "capturable": capturable, "differentiable": differentiable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "decoupled": group["decoupled_weight_decay"],
            "weight_decay": bool(group["weight_decay"]),
            "maximize": group["maximize"],
        }

    def scalars(self, group: dict[str, Any]) -> list:
        options = group["eps"], group["weight_decay"], group["momentum_decay"]
        beta1, beta2 = group["betas"]
        return [group["lr"], beta1, beta2, *options]

    def start(self, group: dict[str, Any], name: str) -> float:
        return 1.0 if name == "mu_product" else 0.0

    def state_aval(self, p, name: str):
        like = p._value.aval
        return aval((), dt.float32, like.device) if name == "mu_product" else like
