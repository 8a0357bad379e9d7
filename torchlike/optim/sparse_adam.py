"""SparseAdam."""

from __future__ import annotations

from torchlike.optim import sparse_steps
from torchlike.optim._checks import check_betas, check_rate
from torchlike.optim.optimizer import Optimizer


class SparseAdam(Optimizer):
    """Adam for sparse gradients (https://pytorch.org/docs/stable/generated/torch.optim.SparseAdam.html).

    Only the rows that a gradient names and their moments move; it comes from embeddings with
    ``sparse=True``. Dense gradients raise ``RuntimeError``.
    """

    def __init__(
        self, params, lr=1e-3, betas=(0.9, 0.999), eps: float = 1e-8, maximize: bool = False
    ):
        check_rate(lr)
        if not lr > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        check_betas(betas)
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        numbered = [
            ([i, k], p)
            for i, group in enumerate(self.param_groups)
            for k, p in enumerate(group["params"])
        ]
        sparse = [at for at, p in numbered if p.is_sparse]
        if sparse:
            raise ValueError(
                f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors"
            )
        of_complex = [at for at, p in numbered if p.is_complex()]
        if of_complex:
            raise ValueError(
                f"Complex params at indices {of_complex}: SparseAdam does not support complex "
                "parameters"
            )

    def flags(self, group):
        return {}

    def _step_group(self, group, params, flags, line) -> None:
        if not all(p.grad._sparse for p in params):
            raise RuntimeError(
                "SparseAdam does not support dense gradients, please consider Adam instead"
            )
        for p in params:
            sparse_steps.sparse_adam(p, p.grad, self.state[p], group)
