"""torch.types: names for type annotations."""

from __future__ import annotations

import os
from typing import IO, Union

from torchlike._core import devices as _devices
from torchlike._core.dtypes import dtype as _dtype
from torchlike._core.sizes import Size as _Size
from torchlike._tensor.storages import UntypedStorage as _UntypedStorage

__all__ = ["Device", "FileLike", "Number", "Storage"]

Number = int | float | bool
Device = _devices.device | str | int | None
FileLike = Union[str, os.PathLike[str], IO[bytes]]  # noqa: UP007  (as PyTorch prints it)
Storage = _UntypedStorage
_int, _float, _bool = int, float, bool
_ = _dtype, _Size
