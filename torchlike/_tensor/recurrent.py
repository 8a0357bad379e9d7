"""Recurrent networks as functions: torch.lstm, gru, rnn_tanh, rnn_relu, their cells, packing."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from torchlike._ops.table import TABLE
from torchlike._tensor import dispatch, joining, random
from torchlike._tensor.creation import from_host
from torchlike._tensor.dispatch import apply
from torchlike._tensor.forms import function
from torchlike._tensor.host_reads import host_data
from torchlike._tensor.modes import modes
from torchlike._tensor.shapes import named

_LAYER, _ROWS, _DROPOUT = TABLE["rnn_layer"], TABLE["pack_rows"], TABLE["dropout"]


# ---- packing -----------------------------------------------------------------------------------


def host_integers(x) -> np.ndarray:
    """The integers of a tensor on the CPU, as numpy."""
    data = host_data(x)
    return np.asarray(x.detach().cpu().numpy() if data is None else data)


@lru_cache(maxsize=256)
def _layout(sizes: bytes, steps: int, batch_first: bool, order: bytes | None):
    """(index, inverse, lengths): where the packed rows lie in a padded batch, and back.

    The arrays are kept, so that a batch of lengths that comes again is on its device already.
    """
    sizes = np.frombuffer(sizes, np.int64)
    batch = int(sizes[0])
    step, at = np.nonzero(np.arange(batch) < sizes[:, None])
    column = at if order is None else np.frombuffer(order, np.int64)[at]
    index = column * steps + step if batch_first else step * batch + column
    inverse = np.full(steps * batch, -1, np.int64)
    inverse[index] = np.arange(len(index))
    return index.astype(np.int64), inverse, (np.arange(batch) < sizes[:, None]).sum(0)


def _moved(input, index, inverse, padding=0.0):
    device = input._value.aval.device
    return apply(_ROWS, (input, from_host(index, device), from_host(inverse, device), padding))


def pack(input, sizes: np.ndarray, batch_first: bool = False, order: np.ndarray | None = None):
    """A padded batch as packed rows; ``order`` sorts its sequences by length."""
    steps = input.shape[1 if batch_first else 0]
    key = None if order is None else order.tobytes()
    index, inverse, _ = _layout(sizes.tobytes(), steps, batch_first, key)
    return _moved(input.flatten(0, 1), index, inverse)


def unpack(data, sizes: np.ndarray, batch_first: bool, padding, steps: int):
    """Packed rows as a padded batch."""
    index, inverse, _ = _layout(sizes.tobytes(), steps, batch_first, None)
    batch = int(sizes[0])
    lead = (batch, steps) if batch_first else (steps, batch)
    return _moved(data, inverse, index, padding).view(*lead, *data.shape[1:])


def lengths_of(sizes: np.ndarray) -> np.ndarray:
    """The lengths of sequences with these batch sizes, longest first."""
    return _layout(sizes.tobytes(), len(sizes), False, None)[2]


# ---- layers ------------------------------------------------------------------------------------


def _wants_gradient(tensors) -> bool:
    return modes.grad and any(t is not None and t.requires_grad for t in tensors)


def _dropped(x, p: float):
    a = x._value.aval
    mask = None if p == 1 else random.bernoulli_mask(a.shape, 1 - p, a.dtype, a.device)
    return apply(_DROPOUT, (x, mask, float(1 - p)))


def run(
    mode: str, input, sizes, states, params, has_biases: bool, num_layers: int, dropout: float,
    train: bool, bidirectional: bool, batch_first: bool,
):  # fmt: skip
    """(output, h[, c]) of a stack of layers.

    ``sizes`` are the batch sizes of packed rows (numpy) or None; ``states`` is (h,) or (h, c), each
    (layers * directions, batch, width), or None for zeros.
    """
    directions = 2 if bidirectional else 1
    count = num_layers * directions
    per = 4 if has_biases else 2
    if mode == "LSTM" and len(params) == (per + 1) * count:
        per += 1
    if len(params) != per * count:
        raise RuntimeError("got an incorrect number of RNN parameters")
    if any(state._value.aval.shape[0] < count for state in states or ()):
        raise RuntimeError("Expected more hidden states in stacked_rnn")
    keep = not mode.startswith("RNN") and _wants_gradient([input, *(states or ()), *params])
    lengths = None
    x = input
    if sizes is not None:
        lengths = from_host(lengths_of(sizes), input._value.aval.device)
        x = unpack(input, sizes, False, 0.0, len(sizes))
    elif batch_first:
        x = input.transpose(0, 1)
    if not x._value.aval.shape[0]:
        raise RuntimeError("Expected sequence length to be larger than 0 in RNN")
    first = [None] * count, [None] * count
    if states is not None:
        first = [state.unbind(0) for state in states] + [[None] * count]
    last: list = [[], []]
    for level in range(num_layers):
        outs = []
        for direction in range(directions):
            k = level * directions + direction
            w_ih, w_hh, *others = params[k * per : (k + 1) * per]
            b_ih, b_hh = others[:2] if has_biases else (None, None)
            w_hr = others[-1] if per % 2 else None
            operands = x, w_ih, w_hh, first[0][k], first[1][k], b_ih, b_hh, w_hr, lengths
            out, *ends = apply(_LAYER, operands, (mode, direction == 1, keep))
            outs.append(out)
            for found, end in zip(last, ends[: 2 if mode == "LSTM" else 1]):
                found.append(end)
        x = outs[0] if len(outs) == 1 else joining.cat(outs, -1)
        if dropout and train and level < num_layers - 1:
            # PyTorch draws for the packed rows only.
            x = x if sizes is None else pack(x, sizes)
            x = _dropped(x, dropout)
            x = x if sizes is None else unpack(x, sizes, False, 0.0, len(sizes))
    if sizes is not None:
        x = named(pack(x, sizes), "CatBackward0")
    elif batch_first:
        label = "TransposeBackward0" if mode == "LSTM" else "TransposeBackward1"
        x = named(x.transpose(0, 1), label)
    ends = [
        named(e[0].unsqueeze(0), "StackBackward0") if len(e) == 1 else joining.stack(e)
        for e in last
        if e
    ]
    return (x, *ends)


_DENSE = ("input", "hx", "params", "has_biases", "num_layers", "dropout", "train",
          "bidirectional", "batch_first")  # fmt: skip
_PACKED = ("data", "batch_sizes", *_DENSE[1:-1])


def _is_packed(mode, args, named) -> bool:
    if "data" in named or "batch_sizes" in named:
        return True
    second = args[1:2] if mode == "LSTM" else args[2:3]
    return bool(second) and isinstance(second[0], dispatch._Tensor)


def _network(name: str, mode: str):
    def network(*args, **named):
        packed = _is_packed(mode, args, named)
        names = _PACKED if packed else _DENSE
        given = {**dict(zip(names, args)), **named}
        missing = [n for n in names if n not in given]
        if missing or len(given) > len(names) or len(args) > len(names):
            raise TypeError(
                f"{name}() received an invalid combination of arguments; expected "
                f"({', '.join(names)})"
            )
        x, sizes, hx, *rest = [given[n] for n in names] if packed else (
            given["input"], None, *[given[n] for n in names[1:]])  # fmt: skip
        params, has_biases, num_layers, dropout, train, bidirectional = rest[:6]
        batch_first = False if packed else rest[6]
        if mode != "LSTM":
            states = (hx,)
        else:
            states = tuple(hx)
            if len(states) != 2:
                raise RuntimeError("lstm expects two hidden states")
        sizes = None if sizes is None else host_integers(sizes)
        return run(
            mode, x, sizes, states, list(params), has_biases, num_layers, dropout, train,
            bidirectional, batch_first,
        )  # fmt: skip

    network.__name__ = network.__qualname__ = name
    network.__doc__ = (
        f"{name}(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, "
        "batch_first), or with packed data: (data, batch_sizes, hx, params, ...)."
    )
    function(name)(network)


for _name, _mode in (("lstm", "LSTM"), ("gru", "GRU"), ("rnn_tanh", "RNN_TANH"),
                     ("rnn_relu", "RNN_RELU")):  # fmt: skip
    _network(_name, _mode)


# ---- cells -------------------------------------------------------------------------------------


@function()
def lstm_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of an LSTM: (B, I), ((B, H), (B, H)) -> (h, c)."""
    if len(hx) != 2:
        raise RuntimeError("lstm_cell expects two hidden states")
    return apply(TABLE["lstm_cell"], (input, w_ih, w_hh, hx[0], hx[1], b_ih, b_hh))


@function()
def gru_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """One step of a GRU: (B, I), (B, H) -> (B, H)."""
    return apply(TABLE["gru_cell"], (input, w_ih, w_hh, hx, b_ih, b_hh))


@function()
def rnn_tanh_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """tanh(W_ih x + b_ih + W_hh h + b_hh)."""
    return apply(TABLE["rnn_tanh_cell"], (input, w_ih, w_hh, hx, b_ih, b_hh))


@function()
def rnn_relu_cell(input, hx, w_ih, w_hh, b_ih=None, b_hh=None):
    """relu(W_ih x + b_ih + W_hh h + b_hh)."""
    return apply(TABLE["rnn_relu_cell"], (input, w_ih, w_hh, hx, b_ih, b_hh))
