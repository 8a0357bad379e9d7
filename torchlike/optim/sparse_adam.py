"""SparseAdam."""

from __future__ import annotations

from torchlike.optim.optimizer import Optimizer, check_betas, check_rate


class SparseAdam(Optimizer):
    """Adam for sparse gradients (https://pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html).

    Gradients are dense in torchlike, so that its step refuses each, as PyTorch's does; embeddings
    with ``sparse=True`` say the same earlier.
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps: float = 1e-8, maximize: bool = False
    ):
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        check_rate(lr)
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        complex_params = [
            [i, k]
            for i, group in enumerate(self.param_groups)
            for k, p in enumerate(group["params"])
            if p.is_complex()
        ]
        if complex_params:
            raise ValueError(
                f"Complex params at indices {complex_params}: SparseAdam does not support complex "
                "parameters"
            )

    def flags(self, group):
        raise RuntimeError(
            "SparseAdam does not support dense gradients, please consider Adam instead"
        )
