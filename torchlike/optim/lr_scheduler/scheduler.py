"""LRScheduler: what all schedules share, and how they read and write the rates of groups."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any

from torchlike._core.errors import warn
from torchlike._engine.captures import replayable
from torchlike._tensor.tensor import Tensor
from torchlike.optim.optimizer import Optimizer

EPOCH_DEPRECATION_WARNING = (
    "The epoch parameter in `scheduler.step()` was not necessary and is being deprecated where "
    "possible. Please use `scheduler.step()` to step the scheduler. During the deprecation, if "
    "epoch is different from None, the closed form is used instead of the new chainable form, "
    "where available. Please open an issue if you are unable to replicate your use case: "
    "https://github.com/pytorch/pytorch/issues/new/choose."
)
_HOW_TO = (
    "See more details at https://pytorch.org/docs/stable/optim.html#how-to-adjust-learning-rate"
)


def copied(value):
    """A number as it is, a tensor as a clone: what is handed out cannot change a group."""
    return value.clone() if isinstance(value, Tensor) else value


def group_values(optimizer: Optimizer, key: str) -> list:
    """The value of one option in each parameter group, copied."""
    return [copied(group[key]) for group in optimizer.param_groups]


def set_group_value(group: dict[str, Any], key: str, value) -> None:
    """Set an option of a group; a tensor that holds it stays the same tensor."""
    held = group[key]
    if not isinstance(held, Tensor):
        group[key] = value
    elif isinstance(value, Tensor):
        held.fill_(value.detach().reshape(()))
    else:
        held.fill_(value)


def per_group(name: str, optimizer: Optimizer, value) -> list:
    """One value for each parameter group, from one for all or a list."""
    count = len(optimizer.param_groups)
    if not isinstance(value, (list, tuple)):
        value = [value] * count
    elif len(value) != count:
        raise ValueError(
            f"{name} must have the same length as optimizer.param_groups. {name} has "
            f"{len(value)} values, param_groups has {count}."
        )
    return [copied(x) for x in value]


def check_optimizer(optimizer) -> None:
    """Raise ``TypeError`` for anything else than an optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{type(optimizer).__name__} is not an Optimizer")


def warn_epoch() -> None:
    """Warn of ``step(epoch)``, as PyTorch does."""
    warn(EPOCH_DEPRECATION_WARNING)


def only_in_step(get_lr: Callable) -> Callable:
    """Let ``get_lr`` warn when it is called by anybody but ``step``."""

    @functools.wraps(get_lr)
    def checked(self):
        if not self._get_lr_called_within_step:
            warn(
                "To get the last learning rate computed by the scheduler, please use "
                "`get_last_lr()`.",
            )
        return get_lr(self)

    return checked


def _track_steps(optimizer: Optimizer) -> None:
    """Let the optimizer remember that it has stepped: wrong call orders are told from it."""
    if hasattr(optimizer.step, "_wrapped_by_lr_sched"):
        return
    function = optimizer.step.__func__
    owner = weakref.ref(optimizer)

    @functools.wraps(function)
    def step(*args, **kwargs):
        self = owner()
        self._opt_called = True
        return function(self, *args, **kwargs)

    step._wrapped_by_lr_sched = True
    optimizer.step = step


class LRScheduler:
    """Base of all schedules (https://pytorch.org/docs/stable/generated/torch.optim.lr_scheduler.LRScheduler.html).

    A subclass gives the next learning rates in ``get_lr``, mostly from the present ones, so that
    schedules can be chained; ``_get_closed_form_lr``, where it exists, serves ``step(epoch)``.
    """

    _get_lr_called_within_step = False
    _is_initial = False

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1):
        check_optimizer(optimizer)
        self.optimizer = optimizer
        for i, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", copied(group["lr"]))
            elif "initial_lr" not in group:
                raise KeyError(
                    f"param 'initial_lr' is not specified in param_groups[{i}] when resuming "
                    "scheduler with last_epoch >= 0.\n"
                    "This typically happens when:\n"
                    "1. You're trying to resume training from a checkpoint but haven't properly "
                    "loaded the optimizer state\n"
                    "2. You're using last_epoch >= 0 for a fresh training run (not recommended)"
                )
        self.base_lrs = group_values(optimizer, "initial_lr")
        self.last_epoch = last_epoch
        _track_steps(optimizer)
        self._initial_step()

    def _initial_step(self) -> None:
        """The step from epoch -1 to 0 that sets the first learning rates."""
        self._step_count = 0
        self._is_initial = True
        try:
            self.step()
        finally:
            self._is_initial = False

    def state_dict(self) -> dict[str, Any]:
        """All that the schedule knows, but for the optimizer."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over what ``state_dict`` gave."""
        self.__dict__.update(state_dict)

    def get_last_lr(self) -> list:
        """The learning rates that the last step set, one for each group."""
        return self._last_lr

    def get_lr(self) -> list:
        """The learning rates of ``last_epoch``, one for each group."""
        raise NotImplementedError

    @replayable
    def step(self, epoch: int | None = None) -> None:
        """Set the learning rates of the next epoch."""
        if self._step_count == 1:
            if not hasattr(self.optimizer.step, "_wrapped_by_lr_sched"):
                warn(
                    "Seems like `optimizer.step()` has been overridden after learning rate "
                    "scheduler initialization. Please, make sure to call `optimizer.step()` "
                    f"before `lr_scheduler.step()`. {_HOW_TO}",
                )
            elif not getattr(self.optimizer, "_opt_called", False):
                warn(
                    "Detected call of `lr_scheduler.step()` before `optimizer.step()`. In PyTorch "
                    "1.1.0 and later, you should call them in the opposite order: "
                    "`optimizer.step()` before `lr_scheduler.step()`.  Failure to do this will "
                    "result in PyTorch skipping the first value of the learning rate schedule. "
                    f"{_HOW_TO}",
                )
        self._step_count += 1
        if epoch is not None:
            warn_epoch()
        self._update_lr(epoch)

    def _update_lr(self, epoch: int | None = None) -> None:
        closed = None
        if epoch is None:
            self.last_epoch += 1
        else:
            self.last_epoch = epoch
            closed = getattr(self, "_get_closed_form_lr", None)
        self._set_lrs(closed or self.get_lr)

    def _set_lrs(self, compute: Callable[[], list]) -> None:
        """Compute the learning rates and write them into the groups."""
        self._get_lr_called_within_step = True
        try:
            rates = compute()
        finally:
            self._get_lr_called_within_step = False
        for group, rate in zip(self.optimizer.param_groups, rates, strict=True):
            set_group_value(group, "lr", rate)
        self._last_lr = group_values(self.optimizer, "lr")

    # ---- for get_lr ----------------------------------------------------------------------------

    def _unchanged(self) -> list:
        return group_values(self.optimizer, "lr")

    def _times(self, factor: float) -> list:
        return [group["lr"] * factor for group in self.optimizer.param_groups]


class _LRScheduler(LRScheduler):
    """The base's name before PyTorch 2."""
