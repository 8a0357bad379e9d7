"""``torch.storage``: the classes of the memory behind tensors."""

from torchlike._tensor.storages import TypedStorage, UntypedStorage

__all__ = ["TypedStorage", "UntypedStorage"]
