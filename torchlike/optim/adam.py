"""Adam and AdamW."""

from __future__ import annotations

from typing import Any, ClassVar

from torchlike._tensor.tensor import Tensor
from torchlike.optim._checks import check_betas, check_fused, check_range, check_rate
from torchlike.optim.optimizer import Optimizer


class Adam(Optimizer):
    """Adaptive moments (https://pytorch.org/docs/stable/generated/torch.optim.Adam.html).

    ``foreach``, ``fused`` and ``capturable`` are accepted: every step here is one fused program.
    """

    rule = "adam"

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps: float = 1e-8, weight_decay: float = 0,
        amsgrad: bool = False, *, foreach=None, maximize: bool = False, capturable: bool = False,
        differentiable: bool = False, fused=None, decoupled_weight_decay: bool = False,
    ):  # fmt: skip
        check_rate(lr)
        if isinstance(lr, Tensor) and foreach and not capturable:
            raise ValueError(
                "lr as a Tensor is not supported for capturable=False and foreach=True"
            )
        check_range("epsilon value", eps, 0)
        check_betas(betas)
        check_range("weight_decay value", weight_decay, 0)
        betas = betas[0], betas[1]
        if not any(all(isinstance(b, kind) for b in betas) for kind in (float, Tensor)):
            raise ValueError("betas must be either both floats or both Tensors")
        for i, beta in enumerate(betas):
            if isinstance(beta, Tensor) and foreach and not capturable:
                raise ValueError(
                    f"betas[{i}] as a Tensor is not supported for capturable=False and foreach=True"
                )
        super().__init__(
            params,
            {
                "lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay,
                "amsgrad": amsgrad, "maximize": maximize, "foreach": foreach,
                "capturable": capturable, "differentiable": differentiable, "fused": fused,
                "decoupled_weight_decay": decoupled_weight_decay,
            },
        )  # fmt: skip
        check_fused(fused, differentiable, foreach)

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        return {
            "decoupled": group["decoupled_weight_decay"],
            "weight_decay": bool(group["weight_decay"]),
            "amsgrad": group["amsgrad"],
            "maximize": group["maximize"],
        }

    def scalars(self, group: dict[str, Any]) -> list:
        beta1, beta2 = group["betas"]
        return [group["lr"], beta1, beta2, group["eps"], group["weight_decay"]]


class AdamW(Adam):
    """Adam with decoupled weight decay (https://pytorch.org/docs/stable/generated/torch.optim.AdamW.html)."""

    later: ClassVar[dict[str, Any]] = {**Optimizer.later, "decoupled_weight_decay": True}

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps: float = 1e-8, weight_decay: float = 1e-2,
        amsgrad: bool = False, *, maximize: bool = False, foreach=None, capturable: bool = False,
        differentiable: bool = False, fused=None,
    ):  # fmt: skip
        super().__init__(
            params, lr, betas, eps, weight_decay, amsgrad, foreach=foreach, maximize=maximize,
            capturable=capturable, differentiable=differentiable, fused=fused,
            decoupled_weight_decay=True,
        )  # fmt: skip
