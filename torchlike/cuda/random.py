"""torch.cuda's generators: one for each GPU, a seed and an offset."""

from __future__ import annotations

from collections.abc import Iterable

from torchlike._core import devices as _devices
from torchlike._tensor.generators import generator_of as _generator_of
from torchlike._tensor.tensor import Tensor
from torchlike.cuda._gpu import gpu

__all__ = [
    "get_rng_state", "get_rng_state_all", "initial_seed", "manual_seed", "manual_seed_all", "seed",
    "seed_all", "set_rng_state", "set_rng_state_all",
]  # fmt: skip


def _generator(device=None):
    return _generator_of(gpu(device), None)


def _all() -> range:
    return range(_devices.device_count("cuda"))


def get_rng_state(device: int | str | _devices.device = "cuda") -> Tensor:
    """The state of a GPU's generator, a uint8 tensor of shape (16,); raises without a GPU."""
    return _generator(device).get_state()


def get_rng_state_all() -> list[Tensor]:
    """The states of all GPUs' generators."""
    return [get_rng_state(i) for i in _all()]


def set_rng_state(new_state: Tensor, device: int | str | _devices.device = "cuda") -> None:
    """Set the state of a GPU's generator; harmless where there is none."""
    if _all():
        _generator(device).set_state(new_state)


def set_rng_state_all(new_states: Iterable[Tensor]) -> None:
    """Set the states of all GPUs' generators."""
    for i, state in enumerate(new_states):
        set_rng_state(state, i)


def manual_seed(seed: int) -> None:
    """Seed the current GPU's generator; harmless where there is none."""
    if _all():
        _generator().manual_seed(int(seed))


def manual_seed_all(seed: int) -> None:
    """Seed the generators of all GPUs; harmless where there is none."""
    for i in _all():
        _generator(i).manual_seed(int(seed))


def seed() -> None:
    """Seed the current GPU's generator from the operating system."""
    if _all():
        _generator().seed()


def seed_all() -> None:
    """Seed the generators of all GPUs from the operating system, alike."""
    for n, i in enumerate(_all()):
        number = _generator(i).seed() if not n else number  # noqa: F821  (set in the first turn)
        _generator(i).manual_seed(number)


def initial_seed() -> int:
    """The seed of the current GPU's generator; raises without a GPU."""
    return _generator().initial_seed()
