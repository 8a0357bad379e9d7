"""Adagrad."""

from __future__ import annotations

from typing import Any

from torchlike.optim import sparse_steps
from torchlike.optim._checks import check_fused, check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class Adagrad(Optimizer):
    """Gradients scaled by all that were before (https://pytorch.org/docs/stable/generated/torch.optim.Adagrad.html).

    ``foreach`` and ``fused`` are accepted: every step here is one fused program.
    """

    rule = "adagrad"
    step_sparse = staticmethod(sparse_steps.adagrad)

    def __init__(
        self, params, lr=1e-2, lr_decay: float = 0, weight_decay: float = 0,
        initial_accumulator_value: float = 0, eps: float = 1e-10, foreach=None, *,
        maximize: bool = False, differentiable: bool = False, fused=None,
    ):  # fmt: skip
        check_rate(lr)
        check_range("lr_decay value", lr_decay, 0)
        check_range("weight_decay value", weight_decay, 0)
        check_range("initial_accumulator_value value", initial_accumulator_value, 0)
        check_range("epsilon value", eps, 0)
        super().__init__(
            params,
            {
                "lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay,
                "initial_accumulator_value": initial_accumulator_value, "foreach": foreach,
                "maximize": maximize, "differentiable": differentiable, "fused": fused,
            },
        )  # fmt: skip
        check_fused(fused, differentiable, foreach)
        for group in self.param_groups:  # the states exist before the first step
            self._prepare(group, group["params"], ("sum",))

    def share_memory(self) -> None:
        """Move the sums to shared memory: threads of one process share them as they are."""

    def start(self, group: dict[str, Any], name: str) -> float:
        return self.defaults["initial_accumulator_value"]

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {"weight_decay": bool(group["weight_decay"]), "maximize": group["maximize"]}
