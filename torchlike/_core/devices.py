"""torch.device and the map from PyTorch's device names to JAX's; asks JAX when one is used."""

from __future__ import annotations

import functools
import threading
from typing import ClassVar

KINDS = ("cpu", "cuda", "tpu", "meta", "mps", "xpu", "xla")
_HAS_INDEX = {"cuda", "tpu", "xpu", "mps", "xla"}
# JAX's platform for each of our kinds; meta has none.
_PLATFORM = {"cpu": "cpu", "cuda": "gpu", "tpu": "tpu"}
_KIND = {platform: kind for kind, platform in _PLATFORM.items()}  # as long as cuda means GPUs


class device:
    """A place for tensors: ``device("cuda:1")``, ``device("cpu")``; also a context for new tensors.

    Raises ``RuntimeError`` for a string that names no device
    (https://pytorch.org/docs/stable/tensor_attributes.html#torch-device).
    """

    __slots__ = ("_entered", "index", "type")
    _interned: ClassVar[dict] = {}

    def __new__(cls, type, index=None):
        if isinstance(type, device):
            return type
        if isinstance(type, int) and not isinstance(type, bool):
            type, index = _accelerator(), type
        if not isinstance(type, str):
            raise TypeError(
                f"device(): argument 'type' must be a string, device or int, got {type!r}"
            )
        if index is not None and not isinstance(index, int):
            raise TypeError(
                "device(): argument 'index' (position 2) must be int, not "
                f"{index.__class__.__name__}"
            )
        if index is not None and index < 0:
            raise RuntimeError("Device index must not be negative")
        if not type:
            raise RuntimeError("Device string must not be empty")
        kind = type
        if ":" in type:
            if index is not None:
                raise RuntimeError(
                    f"type (string) must not include an index because index was passed "
                    f"explicitly: {type}"
                )
            kind, _, text = type.partition(":")
            if not text.isdigit() or (text[0] == "0" and text != "0"):
                raise RuntimeError(f"Invalid device string: '{type}'")
            index = int(text)
        if kind not in KINDS:
            raise RuntimeError(
                f"Expected one of {', '.join(KINDS)} device type at start of device string: {type}"
            )
        self = cls._interned.get((kind, index))
        if self is None:
            self = object.__new__(cls)
            for name, x in {"type": kind, "index": index, "_entered": []}.items():
                object.__setattr__(self, name, x)
            self = cls._interned.setdefault((kind, index), self)
        return self

    def __init__(self, type, index=None):
        pass

    def __setattr__(self, name, value):
        if name in ("type", "index"):  # one object stands for all that name the same place
            raise AttributeError(f"attribute '{name}' of 'torch.device' objects is not writable")
        raise AttributeError(f"'torch.device' object has no attribute '{name}'")

    def __repr__(self) -> str:
        if self.index is None:
            return f"device(type='{self.type}')"
        return f"device(type='{self.type}', index={self.index})"

    def __str__(self) -> str:
        return self.type if self.index is None else f"{self.type}:{self.index}"

    def __reduce__(self):
        return device, (self.type, self.index)

    def __copy__(self):
        return self

    def __deepcopy__(self, memo):
        return self

    def __enter__(self):
        self._entered.append(_local.device)
        _local.device = self
        return self

    def __exit__(self, *exc):
        _local.device = self._entered.pop()


_device = device  # where a parameter has its name


class _Local(threading.local):
    device = None  # of the innermost ``with``: an attribute that is there costs a tenth to ask for


_local = _Local()
_global_default: device | None = None
CPU = device("cpu")
META = device("meta")


def _accelerator() -> str:
    for kind in ("cuda", "tpu"):
        if device_count(kind):
            return kind
    return "cuda"


def get_default_device() -> device:
    """The device of new tensors that name none: innermost ``with device(...)``, then the global."""
    return _local.device or _global_default or CPU


def set_default_device(device) -> None:
    """Set the device of new tensors; ``None`` resets it to the CPU."""
    global _global_default
    _global_default = None if device is None else _device(device)


_current: dict[str, int] = {}  # which index a kind of device without one means; 0 if not set


def set_current(d: device) -> None:
    """Let the kind of a device, without an index, mean this one."""
    _current[d.type] = d.index


def canonical(d) -> device:
    """A device as tensors carry it: accelerators always with an index."""
    d = device(d)
    if d.index is None and d.type in _HAS_INDEX:
        return device(d.type, _current.get(d.type, 0))
    if d.type == "cpu" and d.index is not None:
        return CPU
    return d


def device_count(kind: str) -> int:
    """How many devices of this kind JAX sees; 0 where the platform is absent."""
    platform = _PLATFORM.get(kind)
    if platform is None:
        return 0
    import jax

    try:
        return len(jax.devices(platform))
    except RuntimeError:
        return 0


def map_cuda(kind: str) -> None:
    """Let ``cuda`` mean the devices of another kind: "cpu", "tpu", or "cuda" for GPUs again.

    Tensors there say ``cuda`` as before. Raises ``ValueError`` for another word and
    ``RuntimeError`` where the machine has no such device; for before the first tensor.
    """
    if kind not in _KIND.values():
        raise ValueError(f"{kind!r} is none of {', '.join(_PLATFORM)}")
    import jax

    platform = next(p for p, k in _KIND.items() if k == kind)
    try:
        jax.devices(platform)
    except RuntimeError:
        present = {_KIND.get(d.platform, d.platform) for d in [*jax.devices(), *jax.devices("cpu")]}
        raise RuntimeError(
            f"JAX finds no {kind} on this machine; it has: {', '.join(sorted(present))}"
        ) from None
    _PLATFORM["cuda"] = platform
    _JAX_DEVICES.clear()


def jax_device(d: device):
    """The JAX device behind ``d``; raises PyTorch's error type where the machine has none."""
    import jax

    found = _JAX_DEVICES.get(d)
    if found is not None:
        return found
    platform = _PLATFORM.get(d.type)
    if platform is None:
        raise NotImplementedError(f"device '{d}': JAX has no such platform; use cpu, cuda or tpu")
    try:
        devices = jax.devices(platform)
    except RuntimeError:
        if d.type == "cuda":
            raise AssertionError(
                "Torch not compiled with CUDA enabled (JAX finds no GPU: install jax[cuda12], "
                "or use device='cpu')"
            ) from None
        raise RuntimeError(f"device '{d}': JAX finds no {d.type} on this machine") from None
    index = _current.get(d.type, 0) if d.index is None else d.index
    if index >= len(devices):
        raise RuntimeError(
            f"CUDA error: invalid device ordinal: '{d}' asked for, {len(devices)} present"
        )
    if d.index is None:  # which one it means may change
        return devices[index]
    return _JAX_DEVICES.setdefault(d, devices[index])


_JAX_DEVICES: dict = {}


@functools.cache
def host_place():
    """JAX's device of the CPU where JAX computes on another one unless it is told; else None."""
    import jax

    host = jax.devices("cpu")[0]
    return None if (jax.config.jax_default_device or jax.devices()[0]) == host else host


def from_jax_device(d) -> device:
    """Our device for a JAX device."""
    if d.platform == "cpu":
        return CPU
    kind = "cuda" if d.platform == _PLATFORM["cuda"] else _KIND.get(d.platform, "cuda")
    return device(kind, d.local_hardware_id or 0)
