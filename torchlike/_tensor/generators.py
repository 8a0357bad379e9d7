"""Generators: streams of random numbers, the default ones of each device, and their seeds.

On the CPU a generator is PyTorch's own stream (``_core/streams.py``), on accelerators a seed and an
offset that enter programs at run time.
"""

from __future__ import annotations

import contextlib
import threading

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotTraceable
from torchlike._core.streams import HostStream
from torchlike._engine.prefix import local
from torchlike._tensor import dispatch
from torchlike._tensor.creation import from_host
from torchlike._tensor.modes import modes

DEFAULT_SEED = 67280421310721


class Generator:
    """A stream of random numbers (https://pytorch.org/docs/stable/generated/torch.Generator.html)."""

    def __init__(self, device="cpu"):
        self.device = devices.canonical(device)
        if self.device is devices.META:
            raise RuntimeError("META device type not an accelerator.")
        if self.device is not devices.CPU:
            devices.jax_device(self.device)  # raises if the machine has none
        self.stream = HostStream(DEFAULT_SEED) if self.device is devices.CPU else None
        self._seed, self._offset = DEFAULT_SEED, 0
        self._lock = threading.Lock()

    def manual_seed(self, seed: int) -> Generator:
        """Start the stream of this seed."""
        seed = int(seed)
        if local.capture is not None:
            local.capture.refuse("a generator is seeded")
        return self._start(seed)

    def _start(self, seed: int) -> Generator:
        if self.stream is not None:
            self.stream.manual_seed(seed)
        self._seed, self._offset = seed & (2**64 - 1), 0
        return self

    def seed(self) -> int:
        """Seed from the operating system; returns the seed."""
        seed = int.from_bytes(np.random.SeedSequence().entropy.to_bytes(16, "little")[:7], "little")
        self.manual_seed(seed)
        return seed

    def initial_seed(self) -> int:
        """The seed the stream was started with."""
        if local.capture is not None:
            local.capture.refuse("a generator's seed is read")
        return self._first_seed()

    def _first_seed(self) -> int:
        return self._seed if self.stream is None else self.stream.initial_seed()

    def get_state(self):
        """The state as a uint8 tensor, on the CPU in PyTorch's own layout."""
        if local.capture is not None:
            local.capture.refuse("a generator's state is read")
        if self.stream is not None:
            return from_host(np.array(self.stream.get_state()), devices.CPU)
        return from_host(
            np.array([self._seed, self._offset], np.uint64).view(np.uint8), devices.CPU
        )

    def set_state(self, new_state) -> Generator:
        """Continue from a state that ``get_state`` gave."""
        if not isinstance(new_state, dispatch._Tensor):
            raise TypeError(f"expected a torch.ByteTensor, but got {type(new_state).__name__}")
        if new_state.dtype is not dt.uint8:
            raise TypeError("RNG state must be a torch.ByteTensor")
        host = np.array(new_state._host())
        if local.capture is not None:
            local.capture.refuse("a generator's state is set")
        if self.stream is not None:
            self.stream.set_state(host)
        else:
            self._seed, self._offset = (int(x) for x in host.view(np.uint64))
        return self

    def clone_state(self) -> Generator:
        """An independent generator in the same state."""
        return Generator(self.device).set_state(self.get_state())

    def next_numbers(self) -> tuple[int, int]:
        """(seed, offset) of the next draw on an accelerator, as int64."""
        with self._lock:
            offset, self._offset = self._offset, self._offset + 1
        seed = self._seed
        return (seed - 2**64 if seed >= 2**63 else seed), offset

    def __reduce__(self):
        return _rebuild_generator, (str(self.device), np.array(self.get_state()._host()))

    def __repr__(self):
        return f"<torch._C.Generator object at {id(self):#x}>"


def _rebuild_generator(device, state):
    return Generator(device).set_state(from_host(state, devices.CPU))


default_generator = Generator()
_generators = {devices.CPU: default_generator}


def generator_of(
    device: devices.device, generator: Generator | None, noted: bool = False
) -> Generator:
    """The generator of a draw: the given one, or the device's own.

    ``noted``: a compiled function that is being recorded is told how to draw again.
    """
    if modes.bodies:
        raise NotTraceable("drawing random numbers")
    if local.capture is not None and not noted:
        local.capture.refuse("random numbers are drawn that depend on values")
    if generator is None:
        found = _generators.get(device)
        if found is None:
            found = _generators.setdefault(
                device, Generator(device)._start(default_generator._first_seed())
            )
        return found
    if generator.device.type != device.type and device.type != "meta":
        raise RuntimeError(
            f"Expected a '{device.type}' device type for generator but found "
            f"'{generator.device.type}'"
        )
    return generator


def manual_seed(seed: int) -> Generator:
    """Seed the generators of all devices; returns the CPU's."""
    seed = int(seed)
    default_generator.manual_seed(seed)
    for generator in _generators.values():
        generator.manual_seed(seed)
    return default_generator


def seed() -> int:
    """Seed all generators from the operating system."""
    value = default_generator.seed()
    manual_seed(value)
    return value


def initial_seed() -> int:
    """The seed of the CPU's default generator."""
    return default_generator.initial_seed()


def get_rng_state():
    """The state of the CPU's default generator, in PyTorch's layout."""
    return default_generator.get_state()


def set_rng_state(new_state) -> None:
    """Set the state of the CPU's default generator."""
    default_generator.set_state(new_state)


def thread_safe_generator():
    """None: no thread has a generator of its own."""


@contextlib.contextmanager
def fork_rng(
    devices=None,
    enabled: bool = True,
    _caller="fork_rng",
    _devices_kw="devices",
    device_type=None,
):
    """Restore the generators' states at the end of the block."""
    if not enabled:
        yield
        return
    states = {d: g.get_state() for d, g in _generators.items()}
    try:
        yield
    finally:
        for d, state in states.items():
            _generators[d].set_state(state)
