"""An optimizer with other parameters and another state, for a while."""

from __future__ import annotations

from collections import defaultdict
from contextlib import contextmanager
from typing import Any

from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.optim.optimizer import Optimizer

_NAME = "swap_in_optimizer_params_and_state"


@contextmanager
def swap_in_optimizer_params_and_state(
    optimizer: Optimizer, swapin_parameters: dict[str, Tensor], swapin_optim_state: dict[str, Any]
):
    """Let an optimizer work on other parameters (in its own parameters' order) with another state
    (a ``state_dict()``); ``RuntimeError`` if they do not fit
    (https://pytorch.org/docs/stable/generated/torch.optim.swap_in_optimizer_params_and_state.html).

    The tensors given are changed in place; nothing else is left of it.
    """
    if not optimizer.state:
        raise RuntimeError(f"{_NAME} requires initialized optimizer state.")
    groups, state = _prepared(optimizer.param_groups, swapin_parameters, swapin_optim_state)
    before = optimizer.param_groups, optimizer.state, optimizer._packs
    given = {p: dict(slot) for p, slot in state.items()}
    optimizer.param_groups, optimizer.state, optimizer._packs = groups, state, {}
    try:
        yield
    finally:
        optimizer.param_groups, optimizer.state, optimizer._packs = before
        for p, slot in given.items():  # step counts are shared while the optimizer has them
            old, new = slot.get("step"), state[p].get("step")
            if isinstance(old, Tensor) and new is not old:
                with no_grad():
                    old.copy_(new)


def _prepared(live, parameters, given):
    """The groups and the state to install."""
    new_groups, new_state = given.get("param_groups"), given.get("state")
    if not isinstance(new_state, dict):
        raise RuntimeError(
            f"{_NAME} requires swapin_optim_state['state'] to be a dict mapping packed parameter "
            f"ids to per-param state dicts, got {type(new_state).__name__}."
        )
    if len(new_groups) != len(live):
        raise RuntimeError(
            "swapin_optim_state has a different number of parameter groups than the live optimizer."
        )
    params = list(parameters.values())
    if len(params) != sum(len(g["params"]) for g in live):
        raise RuntimeError(
            f"{_NAME} requires the explicit parameter state to match optimizer.param_groups "
            "ordering."
        )
    groups, state, at = [], defaultdict(dict), 0
    for i, (own, new) in enumerate(zip(live, new_groups, strict=True)):
        only_new = [name for name in new if name not in own]
        only_own = [name for name in own if name not in new]
        if only_new or only_own:
            raise RuntimeError(
                f"{_NAME} requires optimizer.state_dict()-style param group keys to exactly match "
                f"the live optimizer group keys for group {i}. Keys only in swap-in: {only_new}. "
                f"Keys only in live: {only_own}."
            )
        if len(new["params"]) != len(own["params"]):
            raise RuntimeError(
                f"swapin_optim_state param group {i} has a different number of params than the "
                "live optimizer param group."
            )
        members = params[at : at + len(own["params"])]
        at += len(members)
        groups.append({**{name: new[name] for name in own}, "params": members})
        for number, p in zip(new["params"], members, strict=True):
            if number in new_state:
                state[p] = dict(new_state[number])
    return groups, state
