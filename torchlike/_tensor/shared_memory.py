"""share_memory_: tensors whose memory other processes read and write
(https://pytorch.org/docs/stable/multiprocessing.html).

The memory is a file without a name that every process maps; to a storage it is one more NumPy array
that somebody else may write (bridge.py). What is sent to a process is the file's descriptor.
"""

from __future__ import annotations

import mmap
import os
import tempfile

import numpy as np

from torchlike._core import devices
from torchlike._core.errors import NotSupported
from torchlike._engine import forks as _forks  # noqa: F401  (it acts when this process forks)
from torchlike._engine.flush import host_array
from torchlike._engine.prefix import local
from torchlike._tensor import bridge, views
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import method
from torchlike._tensor.sparse.parts import SparseTensor
from torchlike._tensor.tensor import Tensor


class Descriptor:
    """An open file's number, closed with the last reference."""

    def __init__(self, number: int):
        self.number = number

    def __del__(self):
        os.close(self.number)


class Memory(mmap.mmap):
    """The mapping, and the file that it maps: that is what travels."""

    file: Descriptor


def map_file(descriptor: int, size: int) -> Memory:
    """The file as memory; takes over the descriptor."""
    file = Descriptor(descriptor)
    memory = Memory(descriptor, size)
    memory.file = file
    return memory


def _new(size: int) -> Memory:
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("torchlike")
    else:
        with tempfile.TemporaryFile() as file:
            descriptor = os.dup(file.fileno())
    os.ftruncate(descriptor, size)
    return map_file(descriptor, size)


def memory_of(tensor) -> np.ndarray | None:
    """The NumPy array whose memory the whole of a tensor's storage is; None if there is none."""
    storage = tensor._storage if _is_plain(tensor) else None
    if not isinstance(storage, bridge.SharedStorage) or storage.filled is not None:
        return None
    return storage.array


def _memory_of(storage) -> Memory | None:
    """The shared memory under a storage; None if no other process sees it."""
    base = storage.array if isinstance(storage, bridge.SharedStorage) else None
    while isinstance(base, np.ndarray):
        base = base.base
    owner = getattr(base, "obj", None)  # of the memoryview that NumPy keeps
    return owner if isinstance(owner, Memory) else None


def _is_plain(tensor) -> bool:
    return not isinstance(tensor, SparseTensor) and tensor.device is devices.CPU


@method("is_shared")
def is_shared(self) -> bool:
    """Whether other processes may see the tensor's memory; on an accelerator always True."""
    if not _is_plain(self):
        return self.device is not devices.CPU
    return _memory_of(views.storage_of(self)) is not None


@method("share_memory_")
def share_memory_(self):
    """Move the tensor's storage to memory that the processes share which it is then sent to, or
    which are forked: what one writes in place shows in all (https://pytorch.org/docs/stable/generated/torch.Tensor.share_memory_.html).

    Each use compares the tensor with that memory, so it suits small models. Raises ``NotSupported``
    for a sparse tensor.
    """
    if isinstance(self, SparseTensor):
        raise NotSupported("sparse tensors in shared memory", "share its indices and its values")
    if local.capture is not None:
        local.capture.refuse("a tensor moves to shared memory")
    storage = views.storage_of(self)
    if not bridge.can_share(storage.value.aval) or _memory_of(storage) is not None:
        return self
    seen = host_array(storage.value)
    bridge.move(storage, np.frombuffer(_new(seen.nbytes), np.uint8).view(seen.dtype))
    teach_pickle()
    return self


# ---- to other processes ------------------------------------------------------------------------


NOT_A_LEAF = (
    "Cowardly refusing to serialize non-leaf tensor which requires_grad, since autograd does not "
    "support crossing process boundaries.  If you just want to transfer the data, call detach() on "
    "the tensor before serializing (e.g., putting it on the queue)."
)
SENT: list[type] = [Tensor]  # the classes that keep their memory; others cross as copies


def teach_pickle() -> None:
    """Let multiprocessing send tensors in shared memory as what they are."""
    from multiprocessing.reduction import ForkingPickler

    for cls in SENT:
        ForkingPickler.register(cls, _reduce)


def _reduce(tensor):
    """How multiprocessing pickles a tensor: as a copy, unless its memory is shared.

    The arguments of a process that is being spawned become shared, as in PyTorch.
    """
    from multiprocessing.context import get_spawning_popen

    if not tensor.is_leaf:
        raise RuntimeError(NOT_A_LEAF)
    if not _is_plain(tensor):
        return tensor.__reduce_ex__(2)
    if get_spawning_popen() is not None:
        share_memory_(tensor)
    memory = _memory_of(views.storage_of(tensor))
    if memory is None:
        return tensor.__reduce_ex__(2)
    from multiprocessing.reduction import DupFd

    a = tensor._value.aval
    window = a.shape, *views.geometry(tensor)
    kind = type(tensor), tensor.requires_grad, dict(tensor.__dict__)
    return _rebuild, (DupFd(memory.file.number), len(memory), a.dtype, window, kind)


def _rebuild(descriptor, size: int, dtype, window, kind):
    """The same memory as a tensor of this process."""
    shape, strides, offset = window
    item = dtype.itemsize
    memory = map_file(descriptor.detach(), size)
    array = np.ndarray(
        shape, dtype.numpy, np.frombuffer(memory, np.uint8), offset * item,
        [s * item for s in strides],
    )  # fmt: skip
    return tensor_over(array, kind)


def tensor_over(array: np.ndarray, kind: tuple):
    """A tensor in the memory of ``array``; kind: (class, requires_grad, attributes)."""
    cls, requires_grad, attributes = kind
    out = from_host(np.array(array), devices.CPU)
    bridge.share(out, array)
    out = out.requires_grad_(requires_grad) if cls is Tensor else cls(out, requires_grad)
    out.__dict__.update(attributes)
    return out
