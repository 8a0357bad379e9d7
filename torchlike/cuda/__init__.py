"""torch.cuda: the device-independent part, answered by JAX."""

from __future__ import annotations

from torchlike._core import devices as _devices
from torchlike._engine.flush import flush as _flush
from torchlike._tensor.random import Generator as _Generator
from torchlike._tensor.random import generator_of as _generator_of

__all__ = [
    "current_device", "device_count", "empty_cache", "get_device_name", "init", "initial_seed",
    "is_available", "is_initialized", "manual_seed", "manual_seed_all", "set_device",
    "synchronize",
]  # fmt: skip


def is_available() -> bool:
    """Whether JAX sees a GPU."""
    return device_count() > 0


def device_count() -> int:
    """How many GPUs JAX sees."""
    return _devices.device_count("cuda")


def current_device() -> int:
    """The index that ``cuda`` without an index means: 0."""
    _devices.jax_device(_devices.device("cuda", 0))
    return 0


def set_device(device) -> None:
    """Accepted for device 0; another default index is not supported."""
    index = device if isinstance(device, int) else _devices.device(device).index or 0
    _devices.jax_device(_devices.device("cuda", index))
    if index:
        from torchlike._core.errors import NotSupported

        raise NotSupported("cuda.set_device(n) for n > 0", "name the device: tensor.to('cuda:1')")


def get_device_name(device=None) -> str:
    """The GPU's name as JAX reports it."""
    d = _devices.device("cuda", 0) if device is None else _devices.canonical(device)
    return _devices.jax_device(d).device_kind


def synchronize(device=None) -> None:
    """Wait until everything recorded on this thread has run."""
    import jax

    _flush(why="synchronize")
    jax.effects_barrier()


def empty_cache() -> None:
    """Nothing to do: XLA's allocator keeps and reuses its memory."""


def init() -> None:
    """Nothing to do: JAX starts a device when it is first used."""


def is_initialized() -> bool:
    """Whether a GPU can be used."""
    return is_available()


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator; harmless where there is none."""
    if is_available():
        _generator_of(_devices.device("cuda", 0), None).manual_seed(seed)


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs; harmless where there is none."""
    for index in range(device_count()):
        _generator_of(_devices.device("cuda", index), None).manual_seed(seed)


def initial_seed() -> int:
    """The seed of the current GPU's generator."""
    return _generator_of(_devices.device("cuda", 0), None).initial_seed()


_ = _Generator
