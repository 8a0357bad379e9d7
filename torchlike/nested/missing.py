"""The names of torch.nested, which raise: sequences stay a list, or are padded."""

from __future__ import annotations

from torchlike._core.errors import NotSupported
from torchlike._tensor.layouts import strided


def _refuse(name: str):
    raise NotSupported(
        f"nested.{name}: there are no nested (jagged) tensors",
        "pad with torch.nn.utils.rnn.pad_sequence, or keep a list of tensors",
    )


def nested_tensor(
    tensor_list, *, dtype=None, layout=None, device=None, requires_grad=False, pin_memory=False
):
    """Not supported: raises ``NotSupported``."""
    _refuse("nested_tensor")


def as_nested_tensor(ts, dtype=None, device=None, layout=None):
    """Not supported: raises ``NotSupported``."""
    _refuse("as_nested_tensor")


def nested_tensor_from_jagged(
    values, offsets=None, lengths=None, jagged_dim=None, min_seqlen=None, max_seqlen=None
):
    """Not supported: raises ``NotSupported``."""
    _refuse("nested_tensor_from_jagged")


def to_padded_tensor(input, padding, output_size=None, out=None):
    """Not supported: raises ``NotSupported``."""
    _refuse("to_padded_tensor")


def narrow(tensor, dim: int, start, length, layout=strided):
    """Not supported: raises ``NotSupported``."""
    _refuse("narrow")


def masked_select(tensor, mask):
    """Not supported: raises ``NotSupported``."""
    _refuse("masked_select")
