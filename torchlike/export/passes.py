"""Changes of exported programs: move_to_device_pass."""

from __future__ import annotations

from torchlike._core import devices
from torchlike.export._state import State
from torchlike.export.exported_program import ExportedProgram

__all__ = ["move_to_device_pass"]


def move_to_device_pass(ep: ExportedProgram, location) -> ExportedProgram:
    """The program with its state on another device: one for all, or {from: to}
    (https://pytorch.org/docs/stable/export.html). The program itself runs where its inputs are."""

    def moved(t):
        if isinstance(location, dict):
            target = next(
                (v for k, v in location.items() if devices.canonical(k) is t.device), t.device
            )
        else:
            target = location
        out = t.detach().to(target)
        if t._is_parameter:
            from torchlike.nn.parameter import Parameter

            return Parameter(out, t.requires_grad)
        return out

    state = ep._state
    tensors = {name: moved(t) for name, t in state.tensors.items()}
    moved_state = State.of(tensors, state.targets, state.aliases, state.order)
    return ExportedProgram._of(ep._runner, moved_state, ep._examples, ep._dialect, ep._training)
