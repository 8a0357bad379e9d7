"""from_file: a tensor over the bytes of a file."""

from __future__ import annotations

import os

import numpy as np

from torchlike._core import dtypes as dt
from torchlike._tensor.creation import from_host, target_device
from torchlike._tensor.forms import FUNCTIONS, function, method
from torchlike._tensor.storages import legacy_storage


@function()
def from_file(
    filename, shared=None, size=0, *, dtype=None, layout=None, device=None, requires_grad=False,
    pin_memory=False,
):  # fmt: skip
    """``size`` elements from the start of a file; if ``shared``, writes to the tensor go into it
    (https://pytorch.org/docs/stable/generated/torch.from_file.html).

    Raises ``RuntimeError`` if the file cannot be opened, or is too small and not shared.
    """
    d = dtype or dt.get_default_dtype()
    wanted = int(size) * d.itemsize
    path = os.fspath(filename)
    mode = "read-write" if shared else "read-only"
    try:
        if shared:
            with open(path, "ab") as f:
                if f.tell() < wanted:
                    f.truncate(wanted)
        else:
            found = os.stat(path).st_size
            if found < wanted:
                raise RuntimeError(
                    f"file <{path}> size <{found}> is smaller than the required mapping size "
                    f"<{wanted}>"
                )
        if shared and size:
            array = np.memmap(path, d.numpy, "r+", shape=(int(size),)).view(np.ndarray)
            out = FUNCTIONS["from_numpy"](array)
        else:
            array = np.fromfile(path, d.numpy, int(size)) if size else np.empty(0, d.numpy)
            out = from_host(array, target_device(device))
    except OSError as error:
        raise RuntimeError(
            f"unable to open file <{path}> in {mode} mode: {error.strerror} ({error.errno})"
        ) from None
    return out.requires_grad_() if requires_grad else out


@function(method=True)
def slice_inverse(input, src, dim=0, start=None, end=None, step=1):
    """The tensor that ``input`` is a slice of, as a view in the shape of ``src``."""
    return input.as_strided(src.size(), src.stride(), src.storage_offset())


@method("storage_type")
def storage_type(self):
    """The class of the tensor's storage."""
    return legacy_storage(self.dtype)


def _grad_dtype(self):
    """The dtype that the gradient of a leaf has: its own; another is not supported."""
    if not self.is_leaf:
        raise RuntimeError("grad_dtype can only be accessed on leaf tensors.")
    return self.dtype


def _set_grad_dtype(self, dtype):
    from torchlike._core.errors import NotSupported

    if not self.is_leaf:
        raise RuntimeError("grad_dtype can only be set on leaf tensors.")
    if dtype is not self.dtype:
        raise NotSupported(
            f"a gradient of dtype {dtype} for a leaf of {self.dtype}",
            "convert it in a hook: leaf.register_post_accumulate_grad_hook(...)",
        )


grad_dtype = property(_grad_dtype, _set_grad_dtype)
