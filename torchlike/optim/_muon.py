"""Muon."""

from __future__ import annotations

from typing import Any

from torchlike.optim._checks import check_rate
from torchlike.optim.optimizer import Optimizer


class Muon(Optimizer):
    """Orthogonal updates of matrices (https://pytorch.org/docs/stable/generated/torch.optim.Muon.html)."""

    rule = "muon"

    def __init__(
        self, params, lr=1e-3, weight_decay: float = 0.1, momentum: float = 0.95,
        nesterov: bool = True, ns_coefficients=(3.4445, -4.7750, 2.0315), eps: float = 1e-7,
        ns_steps: int = 5, adjust_lr_fn: str | None = None,
    ):  # fmt: skip
        check_rate(lr, "Learning rate should be >= 0 but is: {}")
        if not momentum >= 0.0:
            raise ValueError(f"momentum should be >= 0 but is: {momentum}")
        if not weight_decay >= 0.0:
            raise ValueError(f"weight decay should be >= 0 but is: {weight_decay}")
        if adjust_lr_fn not in (None, "original", "match_rms_adamw"):
            raise ValueError(f"Adjust learning rate function {adjust_lr_fn} is not supported")
        super().__init__(
            params,
            {
                "lr": lr, "weight_decay": weight_decay, "momentum": momentum,
                "nesterov": nesterov, "ns_coefficients": ns_coefficients, "eps": eps,
                "ns_steps": ns_steps, "adjust_lr_fn": adjust_lr_fn,
            },
        )  # fmt: skip
        for group in self.param_groups:
            for p in group["params"]:
                if p.ndim != 2:
                    raise ValueError(
                        "Muon only supports 2D parameters whereas we found a parameter with "
                        f"size: {p.size()}"
                    )

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        if group["ns_steps"] >= 100:
            raise ValueError("Number of steps must be less than 100 for computational efficiency")
        if len(group["ns_coefficients"]) != 3:
            raise ValueError("Coefficients must be a tuple of exactly 3 values")
        return {
            "nesterov": group["nesterov"],
            "ns_coefficients": tuple(group["ns_coefficients"]),
            "ns_steps": group["ns_steps"],
            "eps": group["eps"],
            "adjust_lr_fn": group["adjust_lr_fn"],
        }

    def _step_group(self, group, params, flags, line) -> None:
        if any(p.is_complex() for p in params):
            raise RuntimeError("Muon does not support complex parameters")
        for p in params:
            if p.dim() != 2:
                raise ValueError("Param gradient must be a 2D matrix")
        super()._step_group(group, params, flags, line)
