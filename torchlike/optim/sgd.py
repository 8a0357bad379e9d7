"""SGD."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlike.optim import sparse_steps
from torchlike.optim._checks import check_fused, check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class SGD(Optimizer):
    """Stochastic gradient descent with momentum (https://pytorch.org/docs/stable/generated/torch.optim.SGD.html).

    ``foreach`` and ``fused`` are accepted: every step here is one fused program.
    """

    rule = "sgd"
    later: ClassVar[dict[str, Any]] = {**Optimizer.later, "nesterov": False, "fused": False}
    step_sparse = staticmethod(sparse_steps.sgd)

    def __init__(
        self, params, lr=1e-3, momentum: float = 0, dampening: float = 0,
        weight_decay: float = 0, nesterov: bool = False, *, maximize: bool = False,
        foreach=None, differentiable: bool = False, fused=None,
    ):  # fmt: skip
        check_rate(0.0 if lr.__class__ is float and lr != lr else lr)  # nan is no error here
        check_range("momentum value", momentum, 0)
        check_range("weight_decay value", weight_decay, 0)
        if nesterov and (momentum <= 0 or dampening != 0):
            raise ValueError("Nesterov momentum requires a momentum and zero dampening")
        super().__init__(
            params,
            {
                "lr": lr, "momentum": momentum, "dampening": dampening,
                "weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize,
                "foreach": foreach, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        check_fused(fused, differentiable, foreach)

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        special = group["dampening"] or group["differentiable"]  # the first step is another one
        return {
            "momentum": bool(group["momentum"]),
            "nesterov": group["nesterov"],
            "weight_decay": bool(group["weight_decay"]),
            "maximize": group["maximize"],
            "first": False if group["momentum"] and special else None,
        }
