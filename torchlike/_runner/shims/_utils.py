"""torch._utils: helpers that libraries borrow."""

from __future__ import annotations

import torchlike as torch


def _flatten_dense_tensors(tensors):
    """One vector of all elements of tensors of one dtype."""
    return torch.cat([t.reshape(-1) for t in tensors]) if len(tensors) else torch.empty(0)


def _unflatten_dense_tensors(flat, tensors) -> tuple:
    """Views of a vector in the shapes of tensors."""
    pieces = torch.split(flat, [t.numel() for t in tensors])
    return tuple(p.view(t.shape) for p, t in zip(pieces, tensors, strict=True))


def _element_size(dtype) -> int:
    """Bytes of one element."""
    return dtype.itemsize


def _get_device_index(device, optional: bool = False, allow_cpu: bool = False) -> int:
    """The number of a GPU given as a number, a name or a device.

    Raises ``ValueError`` for another device, or for none unless ``optional``.
    """
    if isinstance(device, int):
        return device
    if isinstance(device, str):
        device = torch.device(device)
    if isinstance(device, torch.device):
        if allow_cpu and device.type == "cpu":
            return -1
        if device.type == "cpu":
            raise ValueError(f"Expected a non cpu device, but got: {device}")
        if device.index is not None:
            return device.index
    if optional:
        return torch.cuda.current_device() if torch.cuda.is_available() else 0
    raise ValueError(
        f"Expected a torch.device with a specified index or an integer, but got:{device}"
    )


def _get_available_device_type() -> str | None:
    """The kind of accelerator there is; None without one."""
    return "cuda" if torch.cuda.is_available() else None


class ExceptionWrapper:
    """An exception of a worker, to be raised in another thread or process."""

    def __init__(self, exc_info=None, where: str = "in background"):
        import sys
        import traceback

        exc_info = sys.exc_info() if exc_info is None else exc_info
        self.exc_type, self.where = exc_info[0], where
        self.exc_msg = "".join(traceback.format_exception(*exc_info))

    def reraise(self):
        """Raise one of its type whose message holds the first one's traceback."""
        text = f"Caught {self.exc_type.__name__} {self.where}.\nOriginal {self.exc_msg}"
        try:
            error = self.exc_type(text)
        except Exception:  # its constructor wants something else
            error = RuntimeError(text)
        raise error


def _rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks, *_):
    """A tensor over a storage."""
    out = torch.empty(0, dtype=storage.dtype, device=storage.device)
    with torch.no_grad():
        out.set_(storage, storage_offset, size, stride)
    return out.requires_grad_(requires_grad)


def _rebuild_parameter(data, requires_grad, backward_hooks):
    """A parameter of a tensor's data."""
    return torch.nn.Parameter(data, requires_grad)


def _get_device_module(device_type: str):
    """The module of a kind of device, such as ``torch.cuda``; raises ``RuntimeError`` if none."""
    found = getattr(torch, device_type, None)
    if found is None:
        raise RuntimeError(
            f"Device '{device_type}' does not have a corresponding module registered as "
            f"'torch.{device_type}'."
        )
    return found
