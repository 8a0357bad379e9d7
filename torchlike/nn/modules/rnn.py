"""Recurrent layers and cells."""

from __future__ import annotations

import math
import numbers
import warnings

from torchlike._tensor import recurrent
from torchlike._tensor.modes import modes
from torchlike._tensor.recurrent import (
    gru_cell,
    host_integers,
    lstm_cell,
    rnn_relu_cell,
    rnn_tanh_cell,
)
from torchlike.nn import init
from torchlike.nn.modules._fresh import parameter
from torchlike.nn.modules.module import Module
from torchlike.nn.utils.rnn import PackedSequence

__all__ = ["GRU", "LSTM", "RNN", "GRUCell", "LSTMCell", "RNNBase", "RNNCell", "RNNCellBase"]

_GATES = {"LSTM": 4, "GRU": 3, "RNN_TANH": 1, "RNN_RELU": 1}


def _check_bool(name, value):
    if not isinstance(value, bool):
        raise TypeError(f"{name} should be of type bool, got: {type(value).__name__}")


def _check_size(name, value):
    if not isinstance(value, int):
        raise TypeError(f"{name} should be of type int, got: {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be greater than zero")


def _names(layer: int, reverse: bool, bias: bool, projected: bool) -> list[str]:
    """The parameters of one direction of a layer, in PyTorch's order."""
    kinds = ["weight_ih", "weight_hh", *(["bias_ih", "bias_hh"] if bias else ())]
    if projected:
        kinds.append("weight_hr")
    return [f"{kind}_l{layer}{'_reverse' if reverse else ''}" for kind in kinds]


class RNNBase(Module):
    """What RNN, LSTM and GRU share
    (https://pytorch.org/docs/stable/generated/torch.nn.RNNBase.html).

    Layer k has weight_ih_lk (gates * hidden, inputs), weight_hh_lk (gates * hidden, hidden),
    bias_ih_lk, bias_hh_lk, with proj_size weight_hr_lk (proj, hidden); ``_reverse`` is appended
    for the other direction.
    """

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int = 1, bias: bool = True,
        batch_first: bool = False, dropout: float = 0.0, bidirectional: bool = False,
        proj_size: int = 0, device=None, dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        is_number = isinstance(dropout, numbers.Number) and not isinstance(dropout, bool)
        if not is_number or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an "
                "element being zeroed"
            )
        if dropout > 0 and num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero "
                f"dropout expects num_layers greater than 1, but got dropout={dropout} and "
                f"num_layers={num_layers}",
                stacklevel=2,
            )
        _check_bool("bias", bias)
        _check_bool("batch_first", batch_first)
        _check_size("input_size", input_size)
        _check_size("hidden_size", hidden_size)
        if num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if proj_size < 0:
            raise ValueError(
                "proj_size should be a positive integer or zero to disable projections"
            )
        if proj_size >= hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if mode not in _GATES:
            raise ValueError("Unrecognized RNN mode: " + mode)
        rows, width = _GATES[mode] * hidden_size, proj_size or hidden_size
        directions = 2 if bidirectional else 1
        self._all_weights = []
        for layer in range(num_layers):
            inputs = width * directions if layer else input_size
            shapes = {"weight_ih": (rows, inputs), "weight_hh": (rows, width), "bias_ih": (rows,),
                      "bias_hh": (rows,), "weight_hr": (proj_size, hidden_size)}  # fmt: skip
            for reverse in range(directions):
                names = _names(layer, bool(reverse), bias, proj_size > 0)
                for name in names:
                    shape = shapes[name.split("_l")[0]]
                    self.register_parameter(name, parameter(*shape, device=device, dtype=dtype))
                self._all_weights.append(names)
        self._flat_weights_names = [name for names in self._all_weights for name in names]
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def __getstate__(self):
        return {**super().__getstate__(), "_flat_weights": self._flat_weights}  # for PyTorch

    def __setstate__(self, state):
        state = dict(state)
        state.setdefault("proj_size", 0)
        names = state.pop("all_weights", None) or state.get("_all_weights")
        for derived in ("_flat_weights", "_flat_weight_refs"):
            state.pop(derived, None)
        if not names or not isinstance(names[0][0], str):  # a pickle of an older version
            names = [
                _names(layer, bool(reverse), state["bias"], state["proj_size"] > 0)
                for layer in range(state["num_layers"])
                for reverse in range(2 if state["bidirectional"] else 1)
            ]
        state["_all_weights"] = names
        state["_flat_weights_names"] = [name for group in names for name in group]
        super().__setstate__(state)

    def flatten_parameters(self) -> None:
        """Nothing: here programs take the weights where they are (PyTorch packs them for cuDNN)."""

    @property
    def _flat_weights(self):
        own = self._parameters
        return [own[n] if n in own else getattr(self, n) for n in self._flat_weights_names]

    @property
    def all_weights(self):
        """The parameters, a list for each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    # ---- checks ----

    def check_input(self, input, batch_sizes) -> None:
        """Raise PyTorch's errors unless the input fits."""
        weight = getattr(self, self._flat_weights_names[0])
        if input.dtype != weight.dtype and modes.cast is None:  # autocast makes them one
            raise ValueError(
                f"RNN input dtype ({input.dtype}) does not match weight dtype ({weight.dtype}). "
                f"Convert input: input.to({weight.dtype}), or convert model: "
                f"model.to({input.dtype})"
            )
        expected = 3 if batch_sizes is None else 2
        if input.dim() != expected:
            raise RuntimeError(f"input must have {expected} dimensions, got {input.dim()}")
        if self.input_size != input.shape[-1]:
            raise RuntimeError(
                "input.size(-1) must be equal to input_size. Expected "
                f"{self.input_size}, got {input.shape[-1]}"
            )

    def _expected_size(self, input, batch_sizes, width):
        if batch_sizes is not None:
            batch = int(host_integers(batch_sizes)[0])
        else:
            batch = input.shape[0 if self.batch_first else 1]
        return self.num_layers * (2 if self.bidirectional else 1), batch, width

    def get_expected_hidden_size(self, input, batch_sizes):
        """(layers * directions, batch, width) of the hidden state."""
        return self._expected_size(input, batch_sizes, self.proj_size or self.hidden_size)

    def check_hidden_size(
        self, hx, expected_hidden_size, msg: str = "Expected hidden size {}, got {}"
    ) -> None:
        """Raise unless a state has the size expected."""
        if tuple(hx.shape) != tuple(expected_hidden_size):
            raise RuntimeError(msg.format(tuple(expected_hidden_size), list(hx.shape)))

    def check_forward_args(self, input, hidden, batch_sizes) -> None:
        """Raise PyTorch's errors unless input and state fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(hidden, self.get_expected_hidden_size(input, batch_sizes))

    def permute_hidden(self, hx, permutation):
        """The state with its sequences in another order."""
        return hx if permutation is None else hx.index_select(1, permutation)

    # ---- the call ----

    def _check_state_rank(self, hx, rank: int) -> None:
        if hx.dim() != rank:
            kind = "batched 3-D" if rank == 3 else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx should also be {rank}-D but got {hx.dim()}-D tensor"
            )

    def _each(self, hx, change):
        """A change of every tensor of the state."""
        return change(hx)

    def _run(self, input, hx):
        """(output, (h,) or (h, c)) of tensors or packed sequences, batched or not."""
        packed = isinstance(input, PackedSequence)
        sizes = order = back = None
        batched, first = True, 0 if self.batch_first else 1
        if packed:
            input, sizes, order, back = input
            if hx is not None:
                hx = self.permute_hidden(hx, order)
        else:
            rank = input.dim()
            if rank not in (2, 3):
                plain = self.mode.startswith("RNN")
                raise ValueError(
                    f"{'RNN' if plain else self.mode}: Expected input to be 2D or 3D, got "
                    f"{rank}D {'tensor ' if plain else ''}instead"
                )
            batched = rank == 3
            if not batched:
                input = input.unsqueeze(first)
            if hx is not None:
                self._check_state_rank(hx, rank)
                hx = hx if batched else self._each(hx, lambda t: t.unsqueeze(1))
        if hx is None:
            self.check_input(input, sizes)
            states = None
        else:
            self.check_forward_args(input, hx, sizes)
            states = tuple(hx) if self.mode == "LSTM" else (hx,)
        out, *ends = recurrent.run(
            self.mode, input, None if sizes is None else host_integers(sizes), states,
            self._flat_weights, self.bias, self.num_layers, self.dropout, self.training,
            self.bidirectional, self.batch_first and not packed,
        )  # fmt: skip
        hidden = tuple(ends) if self.mode == "LSTM" else ends[0]
        if packed:
            return PackedSequence(out, sizes, order, back), self.permute_hidden(hidden, back)
        if not batched:
            out, hidden = out.squeeze(first), self._each(hidden, lambda t: t.squeeze(1))
        return out, hidden

    def extra_repr(self) -> str:
        parts = [f"{self.input_size}, {self.hidden_size}"]
        plain = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False,
                 "dropout": 0, "bidirectional": False}  # fmt: skip
        parts += [f"{n}={getattr(self, n)}" for n, v in plain.items() if getattr(self, n) != v]
        return ", ".join(parts)


def _no_projection(kwargs):
    if "proj_size" in kwargs:
        raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")


class RNN(RNNBase):
    """h' = tanh or relu of W_ih x + b_ih + W_hh h + b_hh, over a sequence
    (https://pytorch.org/docs/stable/generated/torch.nn.RNN.html)."""

    def __init__(self, *args, **kwargs):
        _no_projection(kwargs)
        if len(args) > 3:
            nonlinearity, args = args[3], args[:3] + args[4:]
        else:
            nonlinearity = kwargs.pop("nonlinearity", "tanh")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(
                f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'."
            )
        super().__init__("RNN_" + nonlinearity.upper(), *args, **kwargs)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """(T, B, I) or (T, I) or packed, (layers, B, H) -> (output, h)."""
        return self._run(input, hx)


class GRU(RNNBase):
    """A gated recurrent unit over a sequence
    (https://pytorch.org/docs/stable/generated/torch.nn.GRU.html)."""

    def __init__(self, *args, **kwargs):
        _no_projection(kwargs)
        super().__init__("GRU", *args, **kwargs)

    def forward(self, input, hx=None):
        """(T, B, I) or (T, I) or packed, (layers, B, H) -> (output, h)."""
        return self._run(input, hx)


class LSTM(RNNBase):
    """A long short-term memory over a sequence
    (https://pytorch.org/docs/stable/generated/torch.nn.LSTM.html)."""

    def __init__(self, *args, **kwargs):
        super().__init__("LSTM", *args, **kwargs)

    def get_expected_cell_size(self, input, batch_sizes):
        """(layers * directions, batch, hidden_size) of the cell state."""
        return self._expected_size(input, batch_sizes, self.hidden_size)

    def check_forward_args(self, input, hidden, batch_sizes) -> None:
        """Raise PyTorch's errors unless input and both states fit."""
        self.check_input(input, batch_sizes)
        self.check_hidden_size(
            hidden[0],
            self.get_expected_hidden_size(input, batch_sizes),
            "Expected hidden[0] size {}, got {}",
        )
        self.check_hidden_size(
            hidden[1],
            self.get_expected_cell_size(input, batch_sizes),
            "Expected hidden[1] size {}, got {}",
        )

    def permute_hidden(self, hx, permutation):
        """Both states with their sequences in another order."""
        if permutation is None:
            return hx
        return hx[0].index_select(1, permutation), hx[1].index_select(1, permutation)

    def _check_state_rank(self, hx, rank: int) -> None:
        if hx[0].dim() != rank or hx[1].dim() != rank:
            kind = "batched 3-D" if rank == 3 else "unbatched 2-D"
            raise RuntimeError(
                f"For {kind} input, hx and cx should also be {rank}-D but got "
                f"({hx[0].dim()}-D, {hx[1].dim()}-D) tensors"
            )

    def _each(self, hx, change):
        return change(hx[0]), change(hx[1])

    def forward(self, input, hx=None):
        """(T, B, I) or (T, I) or packed, (h, c) -> (output, (h, c))."""
        return self._run(input, hx)


# ---- cells -------------------------------------------------------------------------------------


class RNNCellBase(Module):
    """What the cells share: weight_ih, weight_hh and two biases."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool, num_chunks: int, device=None,
        dtype=None,
    ):  # fmt: skip
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows, place = num_chunks * hidden_size, {"device": device, "dtype": dtype}
        self.weight_ih = parameter(rows, input_size, **place)
        self.weight_hh = parameter(rows, hidden_size, **place)
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, parameter(rows, **place) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw every parameter from U(-1/sqrt(hidden_size), 1/sqrt(hidden_size))."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for weight in self.parameters():
            init.uniform_(weight, -bound, bound)

    def _weights(self):
        return self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh

    def _check_ranks(self, input, states) -> None:
        name = type(self).__name__
        if input.dim() not in (1, 2):
            raise ValueError(f"{name}: Expected input to be 1D or 2D, got {input.dim()}D instead")
        for i, state in enumerate(states):
            if state is not None and state.dim() not in (1, 2):
                what = f"hx[{i}]" if len(states) == 2 else "hidden"
                raise ValueError(
                    f"{name}: Expected {what} to be 1D or 2D, got {state.dim()}D instead"
                )

    def _step(self, function, input, hx):
        """The new state of a cell with one state, batched or not."""
        self._check_ranks(input, (hx,))
        if input.dim() == 2:
            return function(input, hx, *self._weights())
        hx = None if hx is None else hx.unsqueeze(0)
        return function(input.unsqueeze(0), hx, *self._weights()).squeeze(0)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            text += f", nonlinearity={self.nonlinearity}"
        return text


class RNNCell(RNNCellBase):
    """h' = tanh or relu of W_ih x + b_ih + W_hh h + b_hh
    (https://pytorch.org/docs/stable/generated/torch.nn.RNNCell.html)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, nonlinearity: str = "tanh",
        device=None, dtype=None,
    ):  # fmt: skip
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input, hx=None):
        """(B, I), (B, H) -> (B, H); or without B."""
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        function = rnn_tanh_cell if self.nonlinearity == "tanh" else rnn_relu_cell
        return self._step(function, input, hx)


class LSTMCell(RNNCellBase):
    """One step of an LSTM (https://pytorch.org/docs/stable/generated/torch.nn.LSTMCell.html)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input, hx=None):
        """(B, I), ((B, H), (B, H)) -> (h, c); or without B."""
        states = (None, None) if hx is None else (hx[0], hx[1])
        self._check_ranks(input, states)
        if input.dim() == 2:
            return lstm_cell(input, states, *self._weights())
        states = [s if s is None else s.unsqueeze(0) for s in states]
        h, c = lstm_cell(input.unsqueeze(0), states, *self._weights())
        return h.squeeze(0), c.squeeze(0)


class GRUCell(RNNCellBase):
    """One step of a GRU (https://pytorch.org/docs/stable/generated/torch.nn.GRUCell.html)."""

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device=None, dtype=None
    ):
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input, hx=None):
        """(B, I), (B, H) -> (B, H); or without B."""
        return self._step(gru_cell, input, hx)
