"""Copies of a module on several accelerators."""

from __future__ import annotations

from torchlike.nn.parallel.comm import _accelerator

__all__ = ["replicate"]


def replicate(network, devices, detach: bool = False):
    """A copy of a module for each accelerator; unless ``detach``, gradients of the copies come back
    to the module's parameters
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.replicate.html)."""
    tensors = [*network.parameters(), *network.buffers()]
    places = [d if isinstance(d, int) else _accelerator(d) for d in devices]
    if any(t.device.type == "cpu" for t in tensors):
        raise AssertionError("Broadcast function not implemented for CPU tensors")
    return [_copy(network, _accelerator(d), detach, {}) for d in places]


def _copy(module, device, detach, made):
    if id(module) in made:
        return made[id(module)]
    copy = made[id(module)] = module._replicate_for_data_parallel()
    state = copy.__dict__
    for name, param in module._parameters.items():
        moved = param
        if param is not None:  # no leaf any more, so no parameter: an attribute of the copy
            moved = (param.detach() if detach else param).to(device)
        state[name] = moved
    for name, buffer in module._buffers.items():
        state["_buffers"][name] = None if buffer is None else buffer.detach().to(device)
    for name, child in module._modules.items():
        state["_modules"][name] = None if child is None else _copy(child, device, detach, made)
    return copy
