"""Batches on their way to a device: every tensor in them, whatever they are made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchlike._tensor.tensor import Tensor
from torchlike.utils.data.collate import like_mapping, like_sequence


def moved(batch, device):
    """The batch with its tensors on a device; JAX starts the transfer and does not wait for it.

    Objects of one's own that have a method ``to``, as modules and packed sequences have, are asked
    to move themselves; what else is no container stays as it is.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if isinstance(batch, (str, bytes)):
        return batch
    if isinstance(batch, Mapping):
        return like_mapping(batch, {key: moved(value, device) for key, value in batch.items()})
    if isinstance(batch, tuple):
        items = [moved(item, device) for item in batch]
        return type(batch)(*items) if hasattr(batch, "_fields") else type(batch)(items)
    if isinstance(batch, Sequence):
        return like_sequence(batch, [moved(item, device) for item in batch])
    return batch.to(device) if callable(getattr(batch, "to", None)) else batch
