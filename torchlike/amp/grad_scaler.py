"""GradScaler: keeps small gradients of half precision from becoming zero."""

from __future__ import annotations

import enum
import inspect
import warnings
from collections import defaultdict
from collections.abc import Iterable

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import no_grad
from torchlike._tensor.tensor import Tensor

__all__ = ["GradScaler", "OptState"]

_full, _where, _isfinite = FUNCTIONS["full"], FUNCTIONS["where"], FUNCTIONS["isfinite"]
_BAD_SCALE = (
    "new_scale should be a float or a 1-element torch.cuda.FloatTensor or torch.FloatTensor with "
    "requires_grad=False."
)


class OptState(enum.Enum):
    """Where an optimizer is between two calls of ``update``."""

    READY = 0
    UNSCALED = 1
    STEPPED = 2


def _fresh() -> dict:
    return {"stage": OptState.READY, "found_inf_per_device": {}}


def _require(condition, text: str) -> None:
    if not condition:
        raise AssertionError(text)


class GradScaler:
    """Multiplies losses by a factor and divides gradients by it, skips steps with inf or nan, and
    adapts the factor (https://pytorch.org/docs/stable/amp.html#gradient-scaling).

    ``step`` reads one number back to the host, as PyTorch's does.
    """

    def __init__(
        self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
        backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True,
    ) -> None:  # fmt: skip
        self._device = device
        if enabled and device == "cuda" and not devices.device_count("cuda"):
            warnings.warn(
                "torch.cuda.amp.GradScaler is enabled, but CUDA is not available.  Disabling.",
                stacklevel=2,
            )
            enabled = False
        self._enabled = enabled
        if not enabled:
            return
        _require(growth_factor > 1.0, "The growth factor must be > 1.0.")
        _require(backoff_factor < 1.0, "The backoff factor must be < 1.0.")
        self._init_scale = init_scale
        self._scale: Tensor | None = None
        self._growth_factor, self._backoff_factor = growth_factor, backoff_factor
        self._growth_interval = growth_interval
        self._init_growth_tracker = 0
        self._growth_tracker: Tensor | None = None
        self._per_optimizer_states: dict = defaultdict(_fresh)

    def _check_scale_growth_tracker(self, funcname: str) -> tuple:
        fix = (
            "This may indicate your script did not use scaler.scale(loss or outputs) earlier in "
            "the iteration."
        )
        _require(self._scale is not None, f"Attempted {funcname} but _scale is None.  {fix}")
        _require(
            self._growth_tracker is not None,
            f"Attempted {funcname} but _growth_tracker is None.  {fix}",
        )
        return self._scale, self._growth_tracker

    def _lazy_init_scale_growth_tracker(self, dev) -> None:
        self._scale = _full((), self._init_scale, dtype=dt.float32, device=dev)
        self._growth_tracker = _full((), self._init_growth_tracker, dtype=dt.int32, device=dev)

    def scale(self, outputs):
        """A tensor, or each tensor of lists and tuples, times the factor."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            if self._scale is None:
                self._lazy_init_scale_growth_tracker(outputs.device)
            return outputs * self._scale.to(outputs.device)
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(x) for x in outputs])
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _unscale_grads_(self, optimizer, inv_scale, found_inf, allow_fp16: bool) -> dict:
        """Divide the gradients in place; per device, 1.0 if one of them is inf or nan."""
        bad: dict = {}
        with no_grad():
            for group in optimizer.param_groups:
                for param in group["params"]:
                    grad = param.grad
                    if grad is None:
                        continue
                    if not allow_fp16 and grad.dtype is dt.float16:
                        raise ValueError("Attempting to unscale FP16 gradients.")
                    if grad.is_sparse:
                        if grad.dtype is dt.float16:
                            grad = param.grad = grad.coalesce()
                        grad = grad._values()
                    bad.setdefault(grad.device, []).append(_isfinite(grad).all())
                    grad.mul_(inv_scale.to(grad.device, grad.dtype))
            found = {}
            for device, flags in bad.items():
                fine = flags[0] if len(flags) == 1 else FUNCTIONS["stack"](flags).all()
                found[device] = (~fine).to(dt.float32) + found_inf.to(device)
        return found

    def unscale_(self, optimizer) -> None:
        """Divide the gradients of an optimizer's parameters by the factor, in place, before
        ``step`` does it: for clipping; at most once between two calls of ``update``."""
        if not self._enabled:
            return
        self._check_scale_growth_tracker("unscale_")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.UNSCALED:
            raise RuntimeError(
                "unscale_() has already been called on this optimizer since the last update()."
            )
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        inverse = self._scale.double().reciprocal().float()
        found = _full((), 0.0, dtype=dt.float32, device=self._scale.device)
        state["found_inf_per_device"] = self._unscale_grads_(optimizer, inverse, found, False)
        state["stage"] = OptState.UNSCALED

    def _maybe_opt_step(self, optimizer, optimizer_state, *args, **kwargs):
        found = optimizer_state["found_inf_per_device"].values()
        decide = getattr(optimizer, "_step_unless", None)
        alone = decide is not None and not args and not kwargs and len(found) == 1
        if alone and decide(next(iter(found)) > 0):
            return None
        if not sum(v.item() for v in found):
            return optimizer.step(*args, **kwargs)
        return None

    def step(self, optimizer, *args, **kwargs):
        """Divide the gradients if ``unscale_`` has not, and call ``optimizer.step`` unless one of
        them is inf or nan; returns what it returns."""
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_scale_growth_tracker("step")
        state = self._per_optimizer_states[id(optimizer)]
        if state["stage"] is OptState.STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if getattr(optimizer, "_step_supports_amp_scaling", False):
            result = self._scaling_step(optimizer, state, args, kwargs)
        else:
            if state["stage"] is OptState.READY:
                self.unscale_(optimizer)
            _require(
                state["found_inf_per_device"], "No inf checks were recorded for this optimizer."
            )
            result = self._maybe_opt_step(optimizer, state, *args, **kwargs)
        state["stage"] = OptState.STEPPED
        return result

    def _scaling_step(self, optimizer, state, args, kwargs):
        """A step of an optimizer that divides and checks by itself (a user's own)."""
        if "grad_scaler" in inspect.signature(optimizer.step).parameters:
            return optimizer.step(*args, **kwargs, grad_scaler=self)
        if state["stage"] is OptState.READY:
            self._check_inf_per_device(optimizer)
        found = state["found_inf_per_device"].values()
        unscaled = state["stage"] is OptState.UNSCALED
        optimizer.grad_scale = None if unscaled else self._scale
        optimizer.found_inf = sum(x.to(self._scale.device) for x in found)
        result = optimizer.step(*args, **kwargs)
        del optimizer.grad_scale, optimizer.found_inf
        return result

    def update(self, new_scale=None) -> None:
        """Adapt the factor after the steps of an iteration, or set it."""
        if not self._enabled:
            return
        scale, tracker = self._check_scale_growth_tracker("update")
        with no_grad():
            if new_scale is not None:
                self._set_scale(new_scale)
            else:
                found = [
                    x.to(scale.device)
                    for state in self._per_optimizer_states.values()
                    for x in state["found_inf_per_device"].values()
                ]
                _require(found, "No inf checks were recorded prior to update.")
                self._adapt(scale, tracker, sum(found[1:], found[0]) > 0)
        self._per_optimizer_states.clear()

    def _adapt(self, scale, tracker, bad) -> None:
        grown = tracker + 1 == self._growth_interval
        larger = scale * self._growth_factor
        better = _where(grown & _isfinite(larger), larger, scale)
        scale.copy_(_where(bad, scale * self._backoff_factor, better))
        tracker.copy_(_where(bad | grown, 0, tracker + 1))

    def _set_scale(self, new_scale) -> None:
        if isinstance(new_scale, float):
            self._scale.fill_(new_scale)
            return
        _require(
            isinstance(new_scale, Tensor) and new_scale.dtype is dt.float32
            and new_scale.numel() == 1 and not new_scale.requires_grad,
            _BAD_SCALE,
        )  # fmt: skip
        self._scale.copy_(new_scale)

    def _get_scale_async(self):
        return self._scale

    def get_scale(self) -> float:
        """The factor, 1.0 if disabled; waits for the device."""
        if not self._enabled:
            return 1.0
        return self._init_scale if self._scale is None else self._scale.item()

    def get_growth_factor(self) -> float:
        """What the factor is multiplied by after ``growth_interval`` good steps."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set ``get_growth_factor``."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the factor is multiplied by after a step with inf or nan."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set ``get_backoff_factor``."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many good steps in a row let the factor grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set ``get_growth_interval``."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        if not self._enabled:
            return 0
        tracker = self._growth_tracker
        return self._init_growth_tracker if tracker is None else tracker.item()

    def is_enabled(self) -> bool:
        """Whether it does anything."""
        return self._enabled

    def state_dict(self) -> dict:
        """Factor, growth settings and the count of good steps; empty if disabled."""
        if not self._enabled:
            return {}
        return {
            "scale": self.get_scale(),
            "growth_factor": self._growth_factor,
            "backoff_factor": self._backoff_factor,
            "growth_interval": self._growth_interval,
            "_growth_tracker": self._get_growth_tracker(),
        }

    def load_state_dict(self, state_dict: dict) -> None:
        """Continue from what ``state_dict`` gave."""
        if not self._enabled:
            return
        if len(state_dict) == 0:
            raise RuntimeError(
                "The source state dict is empty, possibly because it was saved from a disabled "
                "instance of GradScaler."
            )
        self._init_scale = state_dict["scale"]
        self._growth_factor = state_dict["growth_factor"]
        self._backoff_factor = state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._init_growth_tracker = state_dict["_growth_tracker"]
        if self._scale is not None:
            self._scale.fill_(self._init_scale)
        if self._growth_tracker is not None:
            self._growth_tracker.fill_(self._init_growth_tracker)

    def __getstate__(self) -> dict:
        state = self.__dict__.copy()
        if self._enabled:
            _require(
                len(self._per_optimizer_states) == 0,
                "A GradScaler instance may only be pickled at the beginning of an iteration, or at "
                "the end after scaler.update().",
            )
            state["_init_scale"] = self.get_scale()
            state["_init_growth_tracker"] = self._get_growth_tracker()
            state["_scale"] = state["_growth_tracker"] = None
        return state

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)

    def _check_inf_per_device(self, optimizer) -> dict:
        scale, _ = self._check_scale_growth_tracker("_check_inf_per_device")
        one = _full((), 1.0, dtype=dt.float32, device=scale.device)
        zero = _full((), 0.0, dtype=dt.float32, device=scale.device)
        found = self._unscale_grads_(optimizer, one, zero, True)
        self._per_optimizer_states[id(optimizer)]["found_inf_per_device"] = found
        return found

    def _found_inf_per_device(self, optimizer) -> dict:
        return self._per_optimizer_states[id(optimizer)]["found_inf_per_device"]
