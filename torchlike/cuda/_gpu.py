"""Device arguments of torch.cuda: which GPU they mean."""

from __future__ import annotations

from torchlike._core import devices as _devices


def gpu(device=None) -> _devices.device:
    """A device argument as a GPU: None is the current one; raises where there is none."""
    if device is None:
        device = "cuda"
    if isinstance(device, int):
        device = _devices.device("cuda", device)
    d = _devices.canonical(device)
    if d.type != "cuda":
        raise ValueError(f"Expected a cuda device, but got: {d}")
    _devices.jax_device(d)
    return d
