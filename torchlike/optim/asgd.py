"""ASGD."""

from __future__ import annotations

from typing import Any

from torchlike._core import dtypes as dt
from torchlike._engine.values import aval
from torchlike.optim._checks import check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class ASGD(Optimizer):
    """Averaged stochastic gradient descent (https://pytorch.org/docs/stable/generated/torch.optim.ASGD.html).

    ``foreach`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "asgd"

    def __init__(
        self, params, lr=1e-2, lambd: float = 1e-4, alpha: float = 0.75, t0: float = 1e6,
        weight_decay: float = 0, foreach=None, maximize: bool = False,
        differentiable: bool = False, capturable: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        check_range("weight_decay value", weight_decay, 0)
        super().__init__(
            params,
            {
                "lr": lr, "lambd": lambd, "alpha": alpha, "t0": t0, "weight_decay": weight_decay,
                "foreach": foreach, "maximize": maximize, "differentiable": differentiable,
                "capturable": capturable,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"weight_decay": bool(group["weight_decay"]), "maximize": group["maximize"]}

    def start(self, group: dict[str, Any], name: str) -> float:
        return {"eta": float(group["lr"]), "mu": 1.0, "ax": 0.0}[name]

    def state_aval(self, p, name: str):
        like = p._value.aval
        return like if name == "ax" else aval((), dt.float32, like.device)
