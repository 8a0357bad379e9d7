"""Steps of optimizers on sparse gradients: SGD, Adagrad and SparseAdam have them, others refuse."""

from __future__ import annotations

from math import prod

import numpy as np

from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply, rebind
from torchlike._tensor.modes import no_grad
from torchlike._tensor.sparse.parts import need_coo, parts_of, values_of


def refusal(optimizer) -> RuntimeError:
    """PyTorch's error of an optimizer that takes no sparse gradients."""
    name = type(optimizer).__name__
    if name in ("Adam", "AdamW"):
        return RuntimeError(
            "Adam does not support sparse gradients, please consider SparseAdam instead"
        )
    return RuntimeError(f"{name} does not support sparse gradients")


@no_grad()
def sgd(p, grad, state, group) -> None:
    """One step of SGD; the momentum of a parameter with sparse gradients is sparse."""
    if group["weight_decay"]:
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if group["maximize"]:
        grad = -grad
    momentum = group["momentum"]
    if momentum:
        grad = grad.coalesce()
        buffer = state.get("momentum_buffer")
        if buffer is None or not buffer._sparse:
            buffer = grad.clone() if buffer is None else buffer * momentum + grad
        else:
            buffer = buffer * momentum + grad * (1 - group["dampening"])
        state["momentum_buffer"] = buffer
        grad = grad + buffer * momentum if group["nesterov"] else buffer
    pattern = parts_of(grad)
    table = (prod(pattern.size[: pattern.sparse_dim]), *pattern.dense)
    (rows,) = pattern.tensors("keys", lambda: (pattern.keys(),))
    _record("sparse_sgd", (p,), table, (values_of(grad.detach()), rows, float(group["lr"])))


def _by_row(p, grad):
    """(table, values, rows, group): a gradient for a table of the parameter's positions."""
    need_coo("step", grad)
    pattern = parts_of(grad)
    keys = pattern.keys()
    unique, group = np.unique(keys, return_inverse=True)
    count = prod(pattern.size[: pattern.sparse_dim])
    rows = np.full(len(keys), count, np.int64)
    rows[: len(unique)] = unique
    table = (count, *pattern.dense)
    values = values_of(grad.detach())
    device = p.device
    return table, values, from_host(rows, device), from_host(group.reshape(-1), device)


def _record(name, changed, table, operands, statics=()) -> None:
    """Record an op on the rows of tables, and rebind the tensors that it changes."""
    tables = [x if x.shape == table else x.detach().reshape(table) for x in changed]
    out = apply(TABLE[name], (*tables, *operands), statics)
    del tables  # nobody sees the old ones any more: the program may overwrite them
    for x, new in zip(changed, out if isinstance(out, tuple) else (out,), strict=True):
        rebind(x, new if x.shape == table else new.reshape(x.shape))


def _step(name, p, states, grad, numbers, maximize) -> None:
    table, *operands = _by_row(p, grad)
    _record(name, (p, *states), table, (*operands, *numbers), (maximize,))


@no_grad()
def adagrad(p, grad, state, group) -> None:
    """One step of Adagrad on the rows that the gradient names."""
    if group["weight_decay"]:
        raise RuntimeError("weight_decay option is not compatible with sparse gradients")
    state["step"] += 1  # it leaves those that share its memory
    step = state["step"]
    rate = float(group["lr"])
    if group["lr_decay"]:
        rate /= 1 + (float(step) - 1) * group["lr_decay"]
    _step("sparse_adagrad", p, (state["sum"],), grad, (rate, float(group["eps"])),
          group["maximize"])  # fmt: skip


@no_grad()
def sparse_adam(p, grad, state, group) -> None:
    """One step of SparseAdam on the rows that the gradient names."""
    if not state:
        state["step"] = 0
        state["exp_avg"] = dispatch.apply(TABLE["zeros_like"], (p.detach(),), (None,))
        state["exp_avg_sq"] = dispatch.apply(TABLE["zeros_like"], (p.detach(),), (None,))
    state["step"] += 1
    if not grad._nnz():
        return
    (beta1, beta2), step = group["betas"], state["step"]
    corrected = (1 - beta2**step) ** 0.5 / (1 - beta1**step)
    numbers = (float(group["lr"]) * corrected, 1.0 - beta1, 1.0 - beta2, float(group["eps"]))
    states = (state["exp_avg"], state["exp_avg_sq"])
    _step("sparse_adam", p, states, grad, numbers, group["maximize"])
