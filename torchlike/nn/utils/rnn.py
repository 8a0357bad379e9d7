"""torch.nn.utils.rnn: sequences of different lengths, packed without padding or padded."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from torchlike._core import devices
from torchlike._core.dtypes import int64
from torchlike._core.errors import type_name
from torchlike._tensor import recurrent
from torchlike._tensor.creation import from_host
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor

__all__ = [
    "PackedSequence",
    "PackedSequence_",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class PackedSequence_(NamedTuple):
    """The fields of a ``PackedSequence``."""

    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


def _by_dtype(name: str, dtype: str):
    def cast(self):
        return self.to(dtype=getattr(self.data, dtype)().dtype)

    cast.__name__, cast.__doc__ = name, f"The same with data of dtype {dtype}."
    return cast


class PackedSequence(PackedSequence_):
    """Rows of several sequences, step by step, with no padding
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.PackedSequence.html).

    batch_sizes tells how many sequences still run at each step; sorted_indices how the sequences
    were sorted by length, unsorted_indices the way back.
    """

    def __new__(cls, data, batch_sizes=None, sorted_indices=None, unsorted_indices=None):
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        if batch_sizes is None:
            if not isinstance(data, (list, tuple)) or len(data) != 2:
                raise AssertionError("Expected data to be a list or tuple of length 2")
            data, batch_sizes = data
        elif batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be "
                "created manually. They should be instantiated by functions like pack_sequence and "
                "pack_padded_sequences in nn.utils.rnn. "
                "https://pytorch.org/docs/stable/nn.html#torch.nn.utils.rnn.pack_sequence"
            )
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def _with(self, data, move):
        indices = (None if i is None else move(i) for i in self[2:])
        return type(self)(data, self.batch_sizes, *indices)

    def to(self, *args, **kwargs):
        """The same with ``data`` (and the indices, if it moves) as ``Tensor.to`` gives it."""
        data = self.data.to(*args, **kwargs)
        return self if data is self.data else self._with(data, lambda i: i.to(data.device))

    def cuda(self, *args, **kwargs):
        """The same on a CUDA device."""
        data = self.data.cuda(*args, **kwargs)
        return self if data is self.data else self._with(data, lambda i: i.to(data.device))

    def cpu(self):
        """The same on the CPU."""
        return self.to("cpu")

    def pin_memory(self):
        """The same in pinned memory."""
        return self._with(self.data.pin_memory(), lambda i: i.pin_memory())

    double = _by_dtype("double", "double")
    float = _by_dtype("float", "float")
    half = _by_dtype("half", "half")
    long = _by_dtype("long", "long")
    int = _by_dtype("int", "int")
    short = _by_dtype("short", "short")
    char = _by_dtype("char", "char")
    byte = _by_dtype("byte", "byte")

    @property
    def is_cuda(self) -> bool:
        """Whether ``data`` is on a GPU."""
        return self.data.is_cuda

    def is_pinned(self) -> bool:
        """Whether ``data`` is in pinned memory."""
        return self.data.is_pinned()


def invert_permutation(permutation):
    """The inverse of a permutation, or None for None."""
    if permutation is None:
        return None
    places = FUNCTIONS["arange"](permutation.numel(), device=permutation.device)
    return FUNCTIONS["empty_like"](permutation).scatter_(0, permutation, places)


def pack_padded_sequence(input, lengths, batch_first: bool = False, enforce_sorted: bool = True):
    """A padded batch (T, B, *) as a ``PackedSequence``
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pack_padded_sequence.html)."""
    if isinstance(lengths, Tensor):
        lengths = lengths.to(int64)
        if lengths.ndim != 1 or lengths.device.type != "cpu":
            raise RuntimeError(
                "'lengths' argument should be a 1D CPU int64 tensor, but got "
                f"{lengths.ndim}D {lengths.device} Long tensor"
            )
        lengths = recurrent.host_integers(lengths)
    else:
        lengths = np.array([int(n) for n in lengths], np.int64)
    order = None
    if not enforce_sorted:
        order = np.argsort(-lengths, kind="stable")
        lengths = lengths[order]
    if input.ndim < 2:
        raise IndexError(
            f"Dimension out of range (expected to be in range of [{-input.ndim}, "
            f"{input.ndim - 1}], but got 1)"
        )
    batch, steps = input.shape[:2] if batch_first else (input.shape[1], input.shape[0])
    if not input.numel():
        raise RuntimeError("Cannot pack empty tensors.")
    if len(lengths) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} "
            f"(batch_size={batch})"
        )
    if lengths.min() <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' "
            "that is <= 0"
        )
    if (lengths[1:] > lengths[:-1]).any():
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True. You "
            "can pass `enforce_sorted=False` to pack_padded_sequence and/or pack_sequence to "
            "sidestep this requirement if you do not need ONNX exportability."
        )
    if lengths[0] > steps:  # PyTorch reads beyond the end of its input
        raise RuntimeError(f"a length of {lengths[0]} is longer than the padded input: {steps}")
    sizes = (np.arange(lengths[0])[:, None] < lengths).sum(1)
    data = recurrent.pack(input, sizes, batch_first, order)
    indices = None if order is None else (order, np.argsort(order))
    if indices is not None:
        indices = [from_host(i, input._value.aval.device) for i in indices]
    return PackedSequence(data, from_host(sizes, devices.CPU), *(indices or ()))


def pad_packed_sequence(
    sequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
):
    """(the padded batch, its lengths) of a ``PackedSequence``, in the order it was packed from."""
    steps = sequence.batch_sizes.shape[0]
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                "Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    sizes = recurrent.host_integers(sequence.batch_sizes)
    padded = recurrent.unpack(sequence.data, sizes, batch_first, padding_value, steps)
    lengths, unsorted = recurrent.lengths_of(sizes), sequence.unsorted_indices
    if unsorted is not None:
        padded = padded.index_select(0 if batch_first else 1, unsorted)
        lengths = lengths[recurrent.host_integers(unsorted)]
    return padded, from_host(lengths.copy(), devices.CPU)


def pad_sequence(
    sequences, batch_first: bool = False, padding_value: float = 0.0, padding_side: str = "right"
):
    """Tensors (L, *) as one batch (T, B, *) or (B, T, *), padded to the longest
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.rnn.pad_sequence.html)."""
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            "pad_sequence: Expected iterable for input sequences, but got arg of type: "
            f"{type(sequences)}"
        )
    if batch_first.__class__ is not bool:
        raise TypeError(
            "pad_sequence(): argument 'batch_first' (position 2) must be bool, not "
            f"{type_name(batch_first)}"
        )
    sequences = tuple(sequences)
    if not sequences:
        raise RuntimeError("received an empty list of sequences")
    if padding_side not in ("left", "right"):
        raise RuntimeError(
            f"Expected padding_side to be one of left or right, but got {padding_side}."
        )
    for i, s in enumerate(sequences):
        if not isinstance(s, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {_kind(s)}")
    first = sequences[0]
    longest = max(s.shape[0] for s in sequences)
    rest, padded = tuple(first.shape[1:]), []
    for s in sequences:
        missing = longest - s.shape[0]
        if tuple(s.shape[1:]) != rest:
            s = s.expand(s.shape[0], *rest)
        if missing:
            fill = FUNCTIONS["full"](
                (missing, *rest), padding_value, dtype=first.dtype, device=first.device
            )
            s = s.to(first.dtype)
            s = FUNCTIONS["cat"]((fill, s) if padding_side == "left" else (s, fill))
        padded.append(s.to(first.dtype))
    return FUNCTIONS["stack"](padded, 0 if batch_first else 1)


def _kind(x) -> str:
    return type(x).__name__


def unpad_sequence(padded_sequences, lengths, batch_first: bool = False):
    """The tensors of a padded batch, each cut to its length."""
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    counts = recurrent.host_integers(lengths).tolist()
    if len(counts) != batch.shape[0]:
        raise ValueError("padded_sequences and lengths differ in their number of sequences")
    steps = batch.shape[1]
    return [s[: max(0, min(n, steps))].clone() for s, n in zip(batch.unbind(0), counts)]


def pack_sequence(sequences, enforce_sorted: bool = True):
    """Tensors (L, *) as a ``PackedSequence``."""
    lengths = [s.shape[0] for s in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences):
    """The tensors of a ``PackedSequence``, in the order it was packed from."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
