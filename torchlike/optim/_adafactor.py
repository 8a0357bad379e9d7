"""Adafactor."""

from __future__ import annotations

from typing import Any

from torchlike._engine.values import aval
from torchlike.optim._checks import check_rate
from torchlike.optim.optimizer import Optimizer


class Adafactor(Optimizer):
    """Second moments of matrices by row and column (https://pytorch.org/docs/stable/generated/torch.optim.Adafactor.html).

    ``foreach`` is accepted: every step here is one fused program.
    """

    rule = "adafactor"

    def __init__(
        self, params, lr=1e-2, beta2_decay: float = -0.8, eps=(None, 1e-3), d: float = 1.0,
        weight_decay: float = 0.0, *, foreach=None, maximize: bool = False,
    ):  # fmt: skip
        check_rate(lr, "Learning rate should be >= 0 but is: {}")
        if not beta2_decay <= 0.0:
            raise ValueError(f"beta2_decay should be <= 0 but is: {beta2_decay}")
        if eps[0] is not None and not eps[0] >= 0.0:
            raise ValueError(f"epsilon1 should be >= 0 but is: {eps[0]}")
        if not eps[1] >= 0.0:
            raise ValueError(f"epsilon2 should be >= 0 but is: {eps[1]}")
        if not d >= 1.0:
            raise ValueError(f"Clipping threshold d should be >= 1 but is: {d}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight_decay should be >= 0 but is: {weight_decay}")
        super().__init__(
            params,
            {
                "lr": lr, "beta2_decay": beta2_decay, "eps": eps, "d": d,
                "weight_decay": weight_decay, "foreach": foreach, "maximize": maximize,
            },
        )  # fmt: skip

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "weight_decay": bool(group["weight_decay"]),
            "maximize": group["maximize"],
            "eps1": group["eps"][0] is not None,
        }

    def scalars(self, group: dict[str, Any]) -> list:
        smallest, scale = group["eps"]
        options = smallest or 0.0, scale, group["d"], group["weight_decay"]
        return [group["lr"], group["beta2_decay"], *options]

    def _step_group(self, group, params, flags, line) -> None:
        """Step matrices and vectors each with states of their own."""
        if any(p.is_complex() for p in params):
            raise RuntimeError("Adafactor does not support complex parameters")
        for p in params:
            self.__dict__["state"][
                p
            ]  # in the order of the parameters, whichever kind is stepped first
        for factored in (True, False):
            chosen = [p for p in params if (p.dim() > 1) is factored]
            if chosen:
                super()._step_group(group, chosen, {**flags, "factored": factored}, line)

    def state_aval(self, p, name: str):
        like = p._value.aval
        if name == "variance":
            return like
        *outer, rows, columns = like.shape
        shape = (*outer, rows, 1) if name == "row_var" else (*outer, 1, columns)
        return aval(shape, like.dtype, like.device)
