"""torch.cuda: GPUs as JAX sees them; without one, what PyTorch says on a machine without one."""

from __future__ import annotations

from torchlike._core import devices as _devices
from torchlike._tensor.legacy import tensor_types as _tensor_types
from torchlike._tensor.queues import OutOfMemoryError as OutOfMemoryError
from torchlike._tensor.queues import wait_for as _wait_for
from torchlike._tensor.tensor import Tensor as _Tensor
from torchlike.cuda import amp as amp
from torchlike.cuda import memory as memory
from torchlike.cuda import random as random
from torchlike.cuda import streams as streams
from torchlike.cuda._gpu import gpu as _gpu
from torchlike.cuda.memory import empty_cache as empty_cache
from torchlike.cuda.memory import get_per_process_memory_fraction as get_per_process_memory_fraction
from torchlike.cuda.memory import max_memory_allocated as max_memory_allocated
from torchlike.cuda.memory import max_memory_cached as max_memory_cached
from torchlike.cuda.memory import max_memory_reserved as max_memory_reserved
from torchlike.cuda.memory import mem_get_info as mem_get_info
from torchlike.cuda.memory import memory_allocated as memory_allocated
from torchlike.cuda.memory import memory_cached as memory_cached
from torchlike.cuda.memory import memory_reserved as memory_reserved
from torchlike.cuda.memory import memory_snapshot as memory_snapshot
from torchlike.cuda.memory import memory_stats as memory_stats
from torchlike.cuda.memory import memory_summary as memory_summary
from torchlike.cuda.memory import reset_accumulated_memory_stats as reset_accumulated_memory_stats
from torchlike.cuda.memory import reset_max_memory_allocated as reset_max_memory_allocated
from torchlike.cuda.memory import reset_max_memory_cached as reset_max_memory_cached
from torchlike.cuda.memory import reset_peak_memory_stats as reset_peak_memory_stats
from torchlike.cuda.memory import set_per_process_memory_fraction as set_per_process_memory_fraction
from torchlike.cuda.random import get_rng_state as get_rng_state
from torchlike.cuda.random import get_rng_state_all as get_rng_state_all
from torchlike.cuda.random import initial_seed as initial_seed
from torchlike.cuda.random import manual_seed as manual_seed
from torchlike.cuda.random import manual_seed_all as manual_seed_all
from torchlike.cuda.random import seed as seed
from torchlike.cuda.random import seed_all as seed_all
from torchlike.cuda.random import set_rng_state as set_rng_state
from torchlike.cuda.random import set_rng_state_all as set_rng_state_all
from torchlike.cuda.streams import Event as Event
from torchlike.cuda.streams import Stream as Stream
from torchlike.cuda.streams import StreamContext as StreamContext
from torchlike.cuda.streams import current_stream as current_stream
from torchlike.cuda.streams import default_stream as default_stream
from torchlike.cuda.streams import set_stream as set_stream
from torchlike.cuda.streams import stream as stream

__all__ = [
    "Event", "OutOfMemoryError", "Stream", "StreamContext", "can_device_access_peer",
    "current_device", "current_stream", "default_stream", "device", "device_count", "device_of",
    "empty_cache", "get_arch_list", "get_device_capability", "get_device_name",
    "get_device_properties", "get_per_process_memory_fraction", "get_rng_state",
    "get_rng_state_all", "has_half", "has_magma", "init", "initial_seed", "ipc_collect",
    "is_available", "is_bf16_supported", "is_current_stream_capturing", "is_initialized",
    "is_tf32_supported", "manual_seed", "manual_seed_all", "max_memory_allocated",
    "max_memory_cached", "max_memory_reserved", "mem_get_info", "memory_allocated",
    "memory_cached", "memory_reserved", "memory_snapshot", "memory_stats", "memory_summary",
    "reset_accumulated_memory_stats", "reset_max_memory_allocated", "reset_max_memory_cached",
    "reset_peak_memory_stats", "seed", "seed_all", "set_device",
    "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream",
    "stream", "synchronize",
]  # fmt: skip

_types = _tensor_types(True)  # FloatTensor and its kin
globals().update(_types)
__all__ += sorted(_types)

has_half = True
has_magma = False


def is_available() -> bool:
    """Whether JAX sees a GPU."""
    return device_count() > 0


def device_count() -> int:
    """How many GPUs JAX sees."""
    return _devices.device_count("cuda")


def is_initialized() -> bool:
    """Whether a GPU can be used."""
    return is_available()


def __getattr__(name: str):
    if name == "_initialized":  # private, but what reversible layers and checkpoints read
        return is_initialized()
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def init() -> None:
    """Raises ``AssertionError`` without a GPU; JAX starts one when it is first used."""
    _gpu()


def current_device() -> int:
    """The index that ``cuda`` without an index means."""
    return _gpu().index


def set_device(device: _devices.device | str | int | None) -> None:
    """Let ``cuda`` without an index mean this GPU; negative numbers change nothing."""
    if isinstance(device, int) and device < 0:
        return
    _devices.set_current(_gpu(device))


class device:
    """A block in which ``cuda`` without an index means another GPU; -1 changes nothing
    (https://pytorch.org/docs/stable/generated/torch.cuda.device.html)."""

    def __init__(self, device):
        if isinstance(device, (str, _devices.device)):
            device = _devices.device(device).index or 0
        self.idx = device
        self.prev_idx = -1

    def __enter__(self):
        if self.idx >= 0:
            if not is_available():
                raise RuntimeError("PyTorch was compiled without CUDA support: JAX finds no GPU")
            self.prev_idx = current_device()
            set_device(self.idx)

    def __exit__(self, *exc):
        if self.prev_idx >= 0:
            set_device(self.prev_idx)


class device_of(device):
    """A block in which ``cuda`` means the GPU of a tensor; another tensor changes nothing."""

    def __init__(self, obj: _Tensor):
        super().__init__(obj.device.index if obj.device.type == "cuda" else -1)


def synchronize(device=None) -> None:
    """Run what is recorded on this thread and wait until the GPU has done it; raises
    ``AssertionError`` without a GPU."""
    _wait_for(_gpu(device))


def ipc_collect() -> None:
    """Nothing to do: processes share no GPU memory here; raises without a GPU."""
    _gpu()


# ---- what a GPU is -----------------------------------------------------------------------------


class _CudaDeviceProperties:
    """What JAX tells of a GPU, under PyTorch's names."""

    def __init__(self, d: _devices.device):
        found = _devices.jax_device(d)
        major, _, minor = str(getattr(found, "compute_capability", "0.0")).partition(".")
        self.name = found.device_kind
        self.major, self.minor = int(major), int(minor or 0)
        self.total_memory = (found.memory_stats() or {}).get("bytes_limit", 0)
        self.multi_processor_count = getattr(found, "core_count", 0)
        self.is_integrated = self.is_multi_gpu_board = 0
        self.warp_size = 32

    def __repr__(self):
        return (
            f"_CudaDeviceProperties(name='{self.name}', major={self.major}, minor={self.minor}, "
            f"total_memory={self.total_memory // 2**20}MB, "
            f"multi_processor_count={self.multi_processor_count})"
        )


def get_device_properties(device=None) -> _CudaDeviceProperties:
    """Name, capability, multiprocessors and the memory that XLA may use; raises without a GPU."""
    return _CudaDeviceProperties(_gpu(device))


def get_device_name(device=None) -> str:
    """The GPU's name as JAX reports it."""
    return get_device_properties(device).name


def get_device_capability(device=None) -> tuple[int, int]:
    """(major, minor) compute capability of a GPU; raises without one."""
    found = get_device_properties(device)
    return found.major, found.minor


def is_bf16_supported(including_emulation: bool = True) -> bool:
    """Whether there is a GPU: XLA computes in bfloat16 on all, and emulates it on old ones."""
    if not is_available():
        return False
    return including_emulation or get_device_capability()[0] >= 8


def is_tf32_supported() -> bool:
    """Whether the current GPU has TF32 units."""
    return is_available() and get_device_capability()[0] >= 8


def get_arch_list() -> list[str]:
    """The architectures that there are kernels for: XLA compiles for those that are present."""
    found = [get_device_capability(i) for i in range(device_count())]
    return sorted({f"sm_{major}{minor}" for major, minor in found})


def can_device_access_peer(device, peer_device) -> bool:
    """Whether one GPU can read another's memory: JAX copies through the host if it must."""
    return _gpu(device) != _gpu(peer_device)


def is_current_stream_capturing() -> bool:
    """False: XLA makes its own graphs."""
    return False
