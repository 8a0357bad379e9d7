"""torch._subclasses.fake_tensor: PyTorch's tensors without data; none here is one."""

from torchlike._core.errors import NotSupported


class FakeTensor:
    """A tensor without data; there are none here."""


class FakeTensorMode:
    """Raises ``NotSupported``: ``device="meta"`` has shapes without data."""

    def __init__(self, *args, **kwargs):
        raise NotSupported("FakeTensorMode", 'make the tensors with device="meta"')


def is_fake(x) -> bool:
    """False: no tensor is one."""
    return False
