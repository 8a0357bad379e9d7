"""Tensors to and from several accelerators."""

from __future__ import annotations

from torchlike._core import devices
from torchlike._tensor.forms import FUNCTIONS

__all__ = ["broadcast", "gather", "reduce_add", "scatter"]


def _accelerator(device) -> devices.device:
    """The accelerator that a number, string or device names; raises where there is none."""
    if not isinstance(device, int):
        found = devices.canonical(device)
        if found.type == "cpu":
            raise ValueError(f"Expected a non cpu device, but got: {found}")
        return found
    if not devices.device_count("cuda") and not devices.device_count("tpu"):
        raise RuntimeError("Cannot access accelerator device when none is available.")
    return devices.canonical(max(device, 0))


def broadcast(tensor, devices=None):
    """A tensor on each of the devices; gradients come back summed
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.comm.broadcast.html)."""
    return tuple(tensor.to(_accelerator(d)) for d in devices)


def reduce_add(inputs, destination=None):
    """The sum of tensors of one shape that are on different accelerators
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.comm.reduce_add.html)."""
    for i, x in enumerate(inputs):
        if x.device.type == "cpu":
            raise AssertionError(
                f"reduce_add expects all inputs to be on GPUs, but input {i} is on CPU"
            )
    place = inputs[0].device if destination is None else _accelerator(destination)
    return sum(x.to(place) for x in inputs)


def scatter(tensor, devices=None, chunk_sizes=None, dim=0):
    """Slices of a tensor along ``dim``, one on each of the devices
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.comm.scatter.html)."""
    places = [_accelerator(d) for d in devices]
    parts = (
        tensor.chunk(len(places), dim) if chunk_sizes is None else tensor.split(chunk_sizes, dim)
    )
    return tuple(x.to(d) for x, d in zip(parts, places, strict=False))


def gather(tensors, dim=0, destination=None):
    """Tensors on different accelerators joined along ``dim`` on one device
    (https://pytorch.org/docs/stable/generated/torch.nn.parallel.comm.gather.html)."""
    if any(x.device.type == "cpu" for x in tensors):
        raise AssertionError("Gather function not implemented for CPU tensors")
    if isinstance(destination, int) or destination is None:
        place = _accelerator(0 if destination is None else destination)
    else:
        place = devices.canonical(destination)
    tensors = [x.unsqueeze(0) if x.dim() == 0 else x for x in tensors]
    return FUNCTIONS["cat"]([x.to(place) for x in tensors], dim=dim)
