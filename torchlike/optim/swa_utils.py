"""torch.optim.swa_utils: averages of a model's weights over training, and their learning rate."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._engine.prefix import local
from torchlike._engine.values import Value, aval
from torchlike._tensor import dispatch
from torchlike._tensor.foreach import group_tensors
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.host_reads import host_data
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.nn.modules.batchnorm import _BatchNorm
from torchlike.nn.modules.module import Module
from torchlike.optim.lr_scheduler import LRScheduler
from torchlike.optim.lr_scheduler.scheduler import per_group

__all__ = [
    "SWALR",
    "AveragedModel",
    "get_ema_avg_fn",
    "get_ema_multi_avg_fn",
    "get_swa_avg_fn",
    "get_swa_multi_avg_fn",
    "update_bn",
]


# ---- averages ----------------------------------------------------------------------------------


def get_ema_multi_avg_fn(decay: float = 0.999) -> Callable:
    """Return a function that moves a list of averages towards the present values, in place."""
    _check_decay(decay)

    @no_grad()
    def ema_update(averages, currents, num_averaged) -> None:
        for average, current in zip(averages, currents, strict=True):
            if _can_lerp(average):
                average.lerp_(current, 1 - decay)
            else:
                average.copy_(average * decay + current * (1 - decay))

    return ema_update


def get_swa_multi_avg_fn() -> Callable:
    """Return a function that takes the present values into a list of equal averages, in place."""

    @no_grad()
    def swa_update(averages, currents, num_averaged) -> None:
        count = num_averaged + 1
        for average, current in zip(averages, currents, strict=True):
            if not _can_lerp(average):
                average.add_((current - average) / count)
                continue
            weight = 1 / count
            if isinstance(weight, Tensor):
                weight = weight.to(average.dtype)
            average.lerp_(current, weight)

    return swa_update


def get_ema_avg_fn(decay: float = 0.999) -> Callable:
    """Return a function that gives an average moved towards the present value."""
    _check_decay(decay)

    @no_grad()
    def ema_update(average, current, num_averaged):
        return decay * average + (1 - decay) * current

    return ema_update


def get_swa_avg_fn() -> Callable:
    """Return a function that gives an equal average with the present value taken in."""

    @no_grad()
    def swa_update(average, current, num_averaged):
        return average + (current - average) / (num_averaged + 1)

    return swa_update


def _check_decay(decay: float) -> None:
    if not 0.0 <= decay <= 1.0:
        raise ValueError(
            f"Invalid decay value {decay} provided. Please provide a value in [0,1] range."
        )


def _can_lerp(x: Tensor) -> bool:
    return x.is_floating_point() or x.is_complex()


# ---- the averaged model ------------------------------------------------------------------------


class AveragedModel(Module):
    """A copy of a model whose weights are averages (https://pytorch.org/docs/stable/optim.html#weight-averaging-swa-and-ema).

    ``avg_fn(average, current, count)`` gives a new average; ``multi_avg_fn`` changes a list of them
    in place. Without either, all models weigh the same.
    """

    n_averaged: Tensor

    def __init__(
        self, model: Module, device=None, avg_fn: Callable | None = None,
        multi_avg_fn: Callable | None = None, use_buffers: bool = False,
    ):  # fmt: skip
        super().__init__()
        if avg_fn is not None and multi_avg_fn is not None:
            raise AssertionError("Only one of avg_fn and multi_avg_fn should be provided")
        self.module = deepcopy(model)
        if device is not None:
            self.module = self.module.to(device)
        count = _counter(0)
        self.register_buffer("n_averaged", count if device is None else count.to(device))
        self.avg_fn, self.multi_avg_fn = avg_fn, multi_avg_fn
        self.use_buffers = use_buffers

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)

    @no_grad()
    def update_parameters(self, model: Module) -> None:
        """Take the weights of a model into the averages; the first time, copy them."""
        averages, currents = _weights(self.module, self.use_buffers), []
        for average, current in zip(averages, _weights(model, self.use_buffers), strict=False):
            currents.append(current.to(average.device))
        averages = averages[: len(currents)]
        if local.capture is not None:  # a recording that may ask for no value
            self._update(averages, currents, self.n_averaged == 0)
            self._take_buffers(model)
            self.n_averaged += 1
            return
        data = host_data(self.n_averaged)  # at hand as long as only this method counts
        count = int(self.n_averaged if data is None else data)
        if count == 0:
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
        else:
            self._update(averages, currents)
        self._take_buffers(model)
        if data is None:
            self.n_averaged += 1
        else:
            self.n_averaged.data = _counter(count + 1)

    def _update(self, averages: list, currents: list, is_first: Tensor | None = None) -> None:
        """Put new averages in place of the old ones; where ``is_first``, the current weights."""
        if self.multi_avg_fn is not None:
            for (old, new), _ in group_tensors([averages, currents]).values():
                self.multi_avg_fn(old, new, self.n_averaged.to(old[0].device))
        else:
            avg_fn = self.avg_fn or get_swa_avg_fn()
            for average, current in zip(averages, currents, strict=True):
                average.copy_(avg_fn(average, current, self.n_averaged.to(average.device)))
        if is_first is not None:
            for average, current in zip(averages, currents, strict=True):
                first = is_first.to(average.device)
                average.copy_(FUNCTIONS["where"](first, current.to(average.dtype), average))

    def _take_buffers(self, model: Module) -> None:
        if not self.use_buffers:  # then the buffers are those of the latest model
            for mine, other in zip(self.module.buffers(), model.buffers(), strict=True):
                mine.detach().copy_(other.detach().to(mine.device))


def _counter(count: int) -> Tensor:
    """A count that the host knows: reading it waits for nothing."""
    scalar = aval((), dt.int64, devices.CPU)
    return dispatch.wrap(Value(scalar, np.array(count, np.int64)))


def _weights(module: Module, with_buffers: bool) -> list[Tensor]:
    """All that is averaged, detached."""
    found = [*module.parameters(), *(module.buffers() if with_buffers else ())]
    return [x.detach() for x in found]


@no_grad()
def update_bn(loader, model: Module, device=None) -> None:
    """Compute the statistics of batch normalization anew, in one pass over the data."""
    momenta = {}
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.reset_running_stats()
            momenta[module] = module.momentum
    if not momenta:
        return
    was_training = model.training
    model.train()
    for module in momenta:
        module.momentum = None  # all batches weigh the same
    for batch in loader:
        input = batch[0] if isinstance(batch, (list, tuple)) else batch
        model(input if device is None else input.to(device))
    for module, momentum in momenta.items():
        module.momentum = momentum
    model.train(was_training)


# ---- the learning rate -------------------------------------------------------------------------


class SWALR(LRScheduler):
    """From the present rates to ``swa_lr`` in ``anneal_epochs``, and there it stays."""

    def __init__(
        self, optimizer, swa_lr, anneal_epochs: int = 10, anneal_strategy: str = "cos",
        last_epoch: int = -1,
    ):  # fmt: skip
        for rate, group in zip(
            per_group("swa_lr", optimizer, swa_lr), optimizer.param_groups, strict=True
        ):
            group["swa_lr"] = rate
        if anneal_strategy not in ("cos", "linear"):
            raise ValueError(
                f"anneal_strategy must be one of 'cos' or 'linear', instead got {anneal_strategy}"
            )
        self._set_anneal_func(anneal_strategy)
        if not isinstance(anneal_epochs, int) or anneal_epochs < 0:
            raise ValueError(f"anneal_epochs must be equal or greater than 0, got {anneal_epochs}")
        self.anneal_epochs = anneal_epochs
        super().__init__(optimizer, last_epoch)

    def _set_anneal_func(self, strategy: str) -> None:
        self._anneal_strategy = strategy
        self.anneal_func = _cosine if strategy == "cos" else _linear

    def get_lr(self) -> list:
        """Compute the rates of the next epoch from the present ones."""
        if not self._get_lr_called_within_step:
            warnings.warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
                UserWarning,
                stacklevel=2,
            )
        step = self._step_count - 1
        if self.anneal_epochs == 0:
            step = max(1, step)
        epochs = max(1, self.anneal_epochs)
        before, now = (self.anneal_func(max(0, min(1, k / epochs))) for k in (step - 1, step))
        rates = []
        for group in self.optimizer.param_groups:
            last = group["swa_lr"]
            # Where the way began, from where it is now.
            first = last if before == 1 else (group["lr"] - before * last) / (1 - before)
            rates.append(last * now + first * (1 - now))
        return rates

    def state_dict(self) -> dict[str, Any]:
        hidden = "optimizer", "anneal_func"
        return {key: value for key, value in self.__dict__.items() if key not in hidden}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.__dict__.update(state_dict)
        self._set_anneal_func(self._anneal_strategy)


def _linear(t: float) -> float:
    return t


def _cosine(t: float) -> float:
    return (1 - math.cos(math.pi * t)) / 2
