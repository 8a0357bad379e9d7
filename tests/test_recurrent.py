"""Recurrent layers, cells and packed sequences against PyTorch's."""

import copy
import inspect
import pickle
import warnings
from itertools import product

import numpy as np
import pytest

import torchlike
from torchlike._core.settings import settings

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")

BOTH = (torchlike, torch)
NETWORKS = ("RNN", "GRU", "LSTM")
CELLS = ("RNNCell", "GRUCell", "LSTMCell")
ALL = {"num_layers": 2, "bidirectional": True}

# name, constructor arguments after (4, 6), what is special of the call
CASES = [
    *((name, {}, "") for name in NETWORKS),
    *((name, {}, "state") for name in NETWORKS),
    *((name, {**ALL, "batch_first": True, "dropout": 0.4}, "state") for name in NETWORKS),
    *((name, {"num_layers": 2, "bias": False}, "unbatched state") for name in NETWORKS),
    *((name, {**ALL, "dropout": 0.4}, "packed state") for name in NETWORKS),
    *((name, {"batch_first": True}, "packed") for name in NETWORKS),
    ("RNN", {"nonlinearity": "relu", "num_layers": 2}, "state"),
    ("RNN", {"nonlinearity": "relu"}, "packed"),
    ("LSTM", {**ALL, "proj_size": 3}, "state"),
    ("LSTM", {"proj_size": 3, "bias": False}, "unbatched state"),
    ("LSTM", {**ALL, "proj_size": 3}, "packed state"),
    ("LSTM", {"dropout": 1.0, "num_layers": 2}, ""),
    ("GRU", {"dtype": "float64"}, "state"),
    ("LSTM", {"dtype": "float64"}, "unbatched"),
]
each = pytest.mark.parametrize("name, kwargs, call", CASES)


def make(lib, name, *args, **kwargs):
    lib.manual_seed(3)
    if "dtype" in kwargs:
        kwargs["dtype"] = getattr(lib, kwargs["dtype"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # projections do not take PyTorch's faster way
        return getattr(lib.nn, name)(*args, **kwargs)


def random(lib, shape, seed, dtype="float32", grad=True):
    x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
    return lib.tensor(x, requires_grad=grad)


def close(ours, theirs, what="", tol=1e-5):
    assert (ours is None) == (theirs is None), what
    if theirs is not None:
        assert str(ours.dtype) == str(theirs.dtype), what
        assert tuple(ours.shape) == tuple(theirs.shape), what
        a, b = ours.detach().numpy(), theirs.detach().numpy()
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol, err_msg=what)


def flat(x):
    """The tensors of a result, packed sequences included."""
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in flat(y)]
    return [] if x is None else [x]


def weighted(lib, results):
    """A scalar that weighs every number differently."""
    total = 0.0
    for i, t in enumerate(results):
        if t.is_floating_point():
            w = np.random.default_rng(i).uniform(0.5, 1.5, tuple(t.shape)).astype("float32")
            total = total + (t * lib.tensor(w)).sum()
    return total


def run(lib, name, kwargs, call):
    """Results and gradients of a call, by name."""
    module = make(lib, name, 4, 6, **kwargs)
    dtype = kwargs.get("dtype", "float32")
    batch_first, packed = kwargs.get("batch_first", False), "packed" in call
    shape = (3, 5, 4) if batch_first else (5, 3, 4)
    x = random(lib, (5, 4) if "unbatched" in call else shape, 1, dtype)
    inputs, hx = [x], None
    if "state" in call:
        count = kwargs.get("num_layers", 1) * (2 if kwargs.get("bidirectional") else 1)
        widths = [kwargs.get("proj_size") or 6, 6][: 2 if name == "LSTM" else 1]
        lead = (count,) if "unbatched" in call else (count, 3)
        states = [random(lib, (*lead, w), 2 + i, dtype) for i, w in enumerate(widths)]
        inputs += states
        hx = tuple(states) if name == "LSTM" else states[0]
    given = x
    if packed:
        pack = lib.nn.utils.rnn.pack_padded_sequence
        given = pack(x, [2, 5, 3], batch_first, enforce_sorted=False)
    lib.manual_seed(7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        out = module(given, hx)
    results = flat(out)
    weighted(lib, results).backward()
    found = {f"result {i}": t for i, t in enumerate(results)}
    found |= {f"gradient of input {i}": t.grad for i, t in enumerate(inputs)}
    return found | {f"gradient of {n}": p.grad for n, p in module.named_parameters()}


def compare(function, *args, tol=1e-5):
    mine, his = (function(lib, *args) for lib in BOTH)
    assert list(mine) == list(his)
    for key, value in his.items():
        close(mine[key], value, key, tol)


# ---- layers ------------------------------------------------------------------------------------


@each
def test_results_and_gradients(name, kwargs, call):
    compare(run, name, kwargs, call, tol=2e-5)


def test_immediate_mode():
    with settings.override(immediate=True):
        compare(run, "LSTM", {}, "packed", tol=2e-5)


@each
def test_first_weights_and_text(name, kwargs, call):
    ours, theirs = (make(lib, name, 4, 6, **kwargs) for lib in BOTH)
    assert repr(ours) == repr(theirs)
    mine, his = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(his)
    for key in his:
        close(mine[key], his[key], key, 0)
    groups = [[tuple(w.shape) for w in group] for group in ours.all_weights]
    assert groups == [[tuple(w.shape) for w in group] for group in theirs.all_weights]
    assert type(ours).__module__ == "torchlike" + type(theirs).__module__[5:]


@pytest.mark.filterwarnings("ignore:LSTM with projections")  # PyTorch's, of its slower way
@pytest.mark.parametrize(
    "name, more",
    [*product(NETWORKS, [{}, {"bidirectional": True}]), ("LSTM", {"proj_size": 3})], ids=str,
)  # fmt: skip
def test_evaluation_without_gradients(name, more):
    """Dropout rests, and nothing is saved for a backward that cannot come."""

    def call(lib):
        module = make(lib, name, 4, 6, num_layers=2, dropout=0.5, **more).eval()
        with lib.no_grad():
            results = flat(module(random(lib, (5, 3, 4), 1)))
            if not more:
                packed = lib.nn.utils.rnn.pack_sequence([random(lib, (n, 4), n) for n in (7, 4)])
                results += flat(module(packed)[1])
        return {str(i): t for i, t in enumerate(results)}

    compare(call)


@pytest.mark.parametrize("name", NETWORKS)
def test_many_steps_and_features(name):
    """The weights' gradients are computed otherwise from some size on."""

    def call(lib):
        module = make(lib, name, 16, 96)
        (out, _), x = module(random(lib, (64, 16, 16), 1)), random(lib, (16, 96), 2, grad=False)
        (out[-1] * x).sum().backward()
        return {n: p.grad for n, p in module.named_parameters()}

    compare(call, tol=1e-4)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("kwargs", [{}, {"bidirectional": True}])
def test_second_derivative(name, kwargs):
    def call(lib):
        module = make(lib, name, 3, 4, **kwargs)
        x = random(lib, (4, 2, 3), 1)
        (g,) = lib.autograd.grad(weighted(lib, flat(module(x))), x, create_graph=True)
        (g * g).sum().backward()
        return {"g": g, "x": x.grad, **{n: p.grad for n, p in module.named_parameters()}}

    compare(call, tol=3e-5)


def test_a_state_that_goes_on():
    """Truncated backpropagation: the state goes on, detached."""

    def call(lib):
        module, losses = make(lib, "LSTM", 4, 6), {}
        optimizer, state = lib.optim.SGD(module.parameters(), lr=0.5), None
        for i in range(2):
            optimizer.zero_grad()
            out, state = module(random(lib, (5, 3, 4), i, grad=False), state)
            losses[str(i)] = loss = out.pow(2).mean()
            loss.backward()
            optimizer.step()
            state = tuple(s.detach() for s in state)
        return losses

    compare(call)


@pytest.mark.parametrize("name", NETWORKS)
def test_only_the_state_is_used(name):
    """Gradients reach the weights when the loss is of the last state, or of one step."""

    def call(lib, part):
        module = make(lib, name, 4, 6)
        out, state = module(random(lib, (5, 3, 4), 1))
        weighted(lib, flat(state)[:1] if part == "state" else [out[2]]).backward()
        return {n: p.grad for n, p in module.named_parameters()}

    compare(call, "state")
    compare(call, "step")


def test_half_precision_and_no_sequences():
    def call(lib):
        module = make(lib, "LSTM", 4, 6, dtype="bfloat16")
        out, _ = module(random(lib, (5, 3, 4), 1).to(lib.bfloat16))
        assert out.dtype is lib.bfloat16
        empty, (h, c) = (
            make(lib, "GRU", 4, 6)(lib.zeros(2, 0, 4))[0],
            make(lib, "LSTM", 4, 6)(lib.zeros(2, 0, 4))[1],
        )
        return {"out": out.float(), "empty": empty, "h": h, "c": c}

    compare(call, tol=2e-2)  # PyTorch rounds to bfloat16 after each step's product, we at the end


@pytest.mark.parametrize("name", NETWORKS)
def test_copies_and_state_dicts(name, tmp_path):
    ours, theirs = (make(lib, name, 4, 6, num_layers=2) for lib in BOTH)
    torch.nn.init.normal_(theirs.weight_hh_l1)
    file = tmp_path / "weights.pt"
    torch.save(theirs.state_dict(), file)
    ours.load_state_dict(torchlike.load(file))
    x = np.random.default_rng(0).normal(size=(5, 3, 4)).astype("float32")
    expected = theirs(torch.tensor(x))[0]
    for module in (ours, copy.deepcopy(ours), pickle.loads(pickle.dumps(ours))):
        close(module(torchlike.tensor(x))[0], expected)
    twin = copy.deepcopy(ours)
    with torchlike.no_grad():
        twin.weight_hh_l1.zero_()
    close(ours(torchlike.tensor(x))[0], expected)
    assert twin.double()(torchlike.tensor(x).double())[0].dtype is torchlike.float64
    assert ours.flatten_parameters() is None


def test_another_parameter_is_taken():
    module = make(torchlike, "GRU", 4, 6)
    x = random(torchlike, (5, 3, 4), 1, grad=False)
    module.weight_hh_l0 = torchlike.nn.Parameter(torchlike.zeros(18, 6))
    assert module.all_weights[0][1] is module.weight_hh_l0
    module(x)[0].sum().backward()
    assert module.weight_hh_l0.grad is not None


# ---- errors ------------------------------------------------------------------------------------


def error(lib, make_and_call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            make_and_call(lib)
        except Exception as e:
            return type(e).__name__, str(e)
    return None


def zeros(lib, *shapes):
    return tuple(lib.zeros(s) for s in shapes)


X = (5, 2, 3)
BAD = {
    "width": lambda lib: lib.nn.GRU(3, 4)(lib.zeros(5, 2, 7)),
    "rank": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(5)),
    "rank of RNN": lambda lib: lib.nn.RNN(3, 4, nonlinearity="relu")(lib.zeros(5)),
    "dtype": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(X).double()),
    "state size": lambda lib: lib.nn.GRU(3, 4)(lib.zeros(X), lib.zeros(1, 3, 4)),
    "h size": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(X), zeros(lib, (1, 3, 4), (1, 2, 4))),
    "c size": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(X), zeros(lib, (1, 2, 4), (1, 3, 4))),
    "state rank": lambda lib: lib.nn.GRU(3, 4)(lib.zeros(X), lib.zeros(2, 4)),
    "state ranks": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(X), zeros(lib, (2, 4), (2, 4))),
    "unbatched": lambda lib: lib.nn.RNN(3, 4)(lib.zeros(5, 3), lib.zeros(1, 2, 4)),
    "unbatched LSTM": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(5, 3), zeros(lib, X, X)),
    "state dtype": lambda lib: lib.nn.GRU(3, 4)(lib.zeros(X), lib.zeros(1, 2, 4).double()),
    "no steps": lambda lib: lib.nn.LSTM(3, 4)(lib.zeros(0, 2, 3)),
    "no state": lambda lib: lib.nn.RNNBase("LSTM", 3, 4)(lib.zeros(X)),
    "packed width": lambda lib: lib.nn.GRU(3, 4)(
        lib.nn.utils.rnn.pack_sequence([lib.zeros(3, 7), lib.zeros(2, 7)])
    ),
    "packed state": lambda lib: lib.nn.GRU(3, 4)(
        lib.nn.utils.rnn.pack_sequence([lib.zeros(3, 3)]), lib.zeros(1, 2, 4)
    ),
    "nonlinearity": lambda lib: lib.nn.RNN(3, 4, nonlinearity="foo"),
    "projection": lambda lib: lib.nn.GRU(3, 4, proj_size=2),
    "wide projection": lambda lib: lib.nn.LSTM(3, 4, proj_size=4),
    "negative projection": lambda lib: lib.nn.LSTM(3, 4, proj_size=-1),
    "dropout": lambda lib: lib.nn.LSTM(3, 4, dropout=2),
    "dropout kind": lambda lib: lib.nn.LSTM(3, 4, dropout=True),
    "bias": lambda lib: lib.nn.LSTM(3, 4, bias=1),
    "hidden": lambda lib: lib.nn.LSTM(3, 0),
    "input": lambda lib: lib.nn.LSTM(0, 3),
    "layers": lambda lib: lib.nn.LSTM(3, 4, 0),
    "hidden kind": lambda lib: lib.nn.LSTM(3, "a"),
    "mode": lambda lib: lib.nn.RNNBase("FOO", 3, 4),
    "cell width": lambda lib: lib.nn.LSTMCell(3, 4)(lib.zeros(2, 7)),
    "cell rank": lambda lib: lib.nn.GRUCell(3, 4)(lib.zeros(X)),
    "cell state rank": lambda lib: lib.nn.RNNCell(3, 4)(lib.zeros(2, 3), lib.zeros(2, 5, 3)),
    "cell h rank": lambda lib: lib.nn.LSTMCell(3, 4)(lib.zeros(2, 3), zeros(lib, X, (2, 4))),
    "cell batch": lambda lib: lib.nn.RNNCell(3, 4)(lib.zeros(2, 3), lib.zeros(3, 4)),
    "cell hidden": lambda lib: lib.nn.GRUCell(3, 4)(lib.zeros(2, 3), lib.zeros(2, 5)),
    "cell c": lambda lib: lib.nn.LSTMCell(3, 4)(lib.zeros(2, 3), zeros(lib, (2, 4), (3, 4))),
    "cell dtype": lambda lib: lib.nn.GRUCell(3, 4)(lib.zeros(2, 3).double()),
    "cell kind": lambda lib: lib.nn.RNNCell(3, 4, nonlinearity="x")(lib.zeros(2, 3)),
    "pack order": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(X), [3, 5]),
    "pack zero": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(X), [3, 0]),
    "pack batch": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(X), [3]),
    "pack nothing": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(0, 0, 3), []),
    "pack 2-D": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(
        lib.zeros(X), lib.tensor([[5, 3]])
    ),
    "pack 1-D": lambda lib: lib.nn.utils.rnn.pack_padded_sequence(lib.zeros(3), [2, 1]),
    "short total": lambda lib: lib.nn.utils.rnn.pad_packed_sequence(
        lib.nn.utils.rnn.pack_sequence([lib.zeros(3)]), total_length=2
    ),
    "no sequences": lambda lib: lib.nn.utils.rnn.pad_sequence([]),
    "side": lambda lib: lib.nn.utils.rnn.pad_sequence([lib.zeros(3)], padding_side="foo"),
    "numbers": lambda lib: lib.nn.utils.rnn.pad_sequence([1, 2]),
    "one state": lambda lib: lib.lstm(
        lib.zeros(X), zeros(lib, (1, 2, 4)), list(lib.nn.LSTM(3, 4).parameters()),
        True, 1, 0.0, False, False, False,
    ),
    "few weights": lambda lib: lib.gru(
        lib.zeros(X), lib.zeros(1, 2, 4), [lib.zeros(12, 3), lib.zeros(12, 4)],
        True, 1, 0.0, False, False, False,
    ),
    "function width": lambda lib: lib.gru(
        lib.zeros(5, 2, 7), lib.zeros(1, 2, 4), list(lib.nn.GRU(3, 4).parameters()),
        True, 1, 0.0, False, False, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", BAD)
def test_errors(what):
    theirs = error(torch, BAD[what])
    assert theirs is not None
    kind, text = error(torchlike, BAD[what])
    assert (kind, text.replace("torchlike", "torch")) == theirs


def test_dropout_of_one_layer_warns():
    with pytest.warns(UserWarning, match="expects num_layers greater than 1"):
        torchlike.nn.LSTM(3, 4, dropout=0.5)


def test_a_length_beyond_the_input():
    """PyTorch reads what lies behind its input there."""
    with pytest.raises(RuntimeError, match="longer than the padded input"):
        torchlike.nn.utils.rnn.pack_padded_sequence(torchlike.zeros(5, 2, 3), [6, 5])


# ---- cells -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize("batched", [True, False], ids=["batched", "unbatched"])
@pytest.mark.parametrize("with_state", [True, False])
def test_cells(name, batched, with_state):
    def call(lib):
        module = make(lib, name, 4, 6, bias=with_state)
        x = random(lib, (3, 4) if batched else (4,), 1)
        states = [random(lib, (3, 6) if batched else (6,), 2 + i) for i in range(2)]
        hx = None
        if with_state:
            hx = tuple(states) if name == "LSTMCell" else states[0]
        results = flat(module(x, hx))
        weighted(lib, results).backward()
        found = {f"result {i}": t for i, t in enumerate(results)}
        found |= {"x": x.grad, "h": states[0].grad, "c": states[1].grad}
        return found | {n: p.grad for n, p in module.named_parameters()}

    compare(call)
    ours, theirs = (make(lib, name, 4, 6, bias=with_state) for lib in BOTH)
    assert repr(ours) == repr(theirs)
    for (n, a), (m, b) in zip(ours.state_dict().items(), theirs.state_dict().items(), strict=True):
        assert n == m
        close(a, b, n, 0)


def test_a_loop_of_cells():
    def call(lib):
        cell, x = make(lib, "RNNCell", 4, 6, nonlinearity="relu"), random(lib, (5, 3, 4), 1)
        state = None
        for step in x:
            state = cell(step, state)
        state.sum().backward()
        return {"h": state, "x": x.grad, "w": cell.weight_hh.grad}

    compare(call)


# ---- functions ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["rnn_tanh", "rnn_relu", "gru", "lstm"])
@pytest.mark.parametrize("packed", [False, True], ids=["padded", "packed"])
def test_functions(name, packed):
    def call(lib):
        kind = {"gru": "GRU", "lstm": "LSTM"}.get(name, "RNN")
        weights = list(make(lib, kind, 4, 6, **ALL).parameters())
        x, h = random(lib, (5, 3, 4), 1), random(lib, (4, 3, 6), 2)
        hx = (h, h) if name == "lstm" else h
        flags = True, 2, 0.0, True, True
        if packed:
            data, sizes, *_ = lib.nn.utils.rnn.pack_padded_sequence(x, [5, 4, 2])
            results = getattr(lib, name)(data, sizes, hx, weights, *flags)
        else:
            results = getattr(lib, name)(x, hx, weights, *flags, batch_first=False)
        weighted(lib, results).backward()
        found = {str(i): t for i, t in enumerate(results)}
        return found | {"x": x.grad, "h": h.grad, "w": weights[-1].grad}

    compare(call, tol=2e-5)


@pytest.mark.parametrize("name", ["rnn_tanh_cell", "rnn_relu_cell", "gru_cell", "lstm_cell"])
def test_cell_functions(name):
    def call(lib):
        kind = {"gru_cell": "GRUCell", "lstm_cell": "LSTMCell"}.get(name, "RNNCell")
        w_ih, w_hh, *_ = make(lib, kind, 4, 6).parameters()
        x, h = random(lib, (3, 4), 1), random(lib, (3, 6), 2)
        hx = (h, h) if name == "lstm_cell" else h
        return {str(i): t for i, t in enumerate(flat(getattr(lib, name)(x, hx, w_ih, w_hh)))}

    compare(call)


# ---- packed sequences --------------------------------------------------------------------------


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("lengths", [[5, 3, 2], [2, 5, 3], [4, 4, 1]], ids=str)
@pytest.mark.parametrize("as_tensor", [False, True])
def test_pack_and_pad(batch_first, lengths, as_tensor):
    def call(lib):
        rnn = lib.nn.utils.rnn
        x = random(lib, (3, 5, 2, 2) if batch_first else (5, 3, 2, 2), 1)
        given = lib.tensor(lengths) if as_tensor else lengths
        in_order = lengths == sorted(lengths, reverse=True)
        packed = rnn.pack_padded_sequence(x, given, batch_first, enforce_sorted=in_order)
        found = dict(zip(packed._fields, packed, strict=True))
        padded, back = rnn.pad_packed_sequence(packed, not batch_first, -1.0, 6)
        assert back.tolist() == lengths
        weighted(lib, [packed.data, padded]).backward()
        return found | {"padded": padded, "lengths": back, "x": x.grad}

    compare(call)


def test_lists_of_sequences():
    def call(lib):
        rnn = lib.nn.utils.rnn
        rows = [random(lib, (n, 2), n) for n in (3, 1, 4)]
        found = {"left": rnn.pad_sequence(rows, True, -1.0, "left"), "pad": rnn.pad_sequence(rows)}
        packed = rnn.pack_sequence(rows, enforce_sorted=False)
        for i, t in enumerate(rnn.unpack_sequence(packed)):
            found[f"unpacked {i}"] = t
        cut = rnn.unpad_sequence(found["pad"].clone().transpose(0, 1), lib.tensor([3, 1, 4]), True)
        found |= {f"cut {i}": t for i, t in enumerate(cut)}
        weighted(lib, [*found.values(), packed.data]).backward()
        words = rnn.pack_sequence([lib.tensor([1, 2, 3]), lib.tensor([4, 5]), lib.tensor([6])])
        found |= {"words": words.data, "sizes": words.batch_sizes}
        found["mixed"] = rnn.pad_sequence([lib.tensor([1, 2]), lib.tensor([0.5])], False, 7)
        found["inverse"] = rnn.invert_permutation(lib.tensor([2, 0, 1]))
        return found | {f"gradient {i}": r.grad for i, r in enumerate(rows)}

    compare(call)


def test_packed_sequences_are_values():
    rnn = torchlike.nn.utils.rnn
    packed = rnn.pack_sequence([torchlike.ones(1), torchlike.zeros(2)], enforce_sorted=False)
    theirs = torch.nn.utils.rnn.pack_sequence([torch.ones(1), torch.zeros(2)], enforce_sorted=False)
    assert repr(packed) == repr(theirs)
    assert packed._fields == theirs._fields
    assert packed.double().data.dtype is torchlike.float64
    assert packed.to(torchlike.float32) is packed
    assert packed.long().data.tolist() == [0, 1, 0]
    assert not packed.is_cuda
    data, sizes, order, back = packed
    again = rnn.PackedSequence(data, sizes, order)
    assert again.unsorted_indices.tolist() == back.tolist()
    assert rnn.PackedSequence((data, sizes)).sorted_indices is None
    assert rnn.invert_permutation(None) is None
    with pytest.raises(AssertionError, match="tuple of length 2"):
        rnn.PackedSequence(data)


def test_lengths_are_no_part_of_the_program():
    """Batches of one shape and other lengths run the layer that was compiled."""
    module = make(torchlike, "LSTM", 4, 6)
    rnn = torchlike.nn.utils.rnn

    def loss(lengths):
        packed = rnn.pack_padded_sequence(torchlike.ones(5, 3, 4), lengths)
        module.zero_grad()
        value = module(packed)[0].data.sum()
        value.backward()
        return value.item()

    loss([5, 3, 2])
    before = torchlike.compiler.stats()["compiles"]
    loss([5, 4, 1])  # as many rows
    assert torchlike.compiler.stats()["compiles"] == before


@pytest.mark.parametrize("name", [*NETWORKS, *CELLS, "RNNBase", "RNNCellBase"])
def test_signature(name):
    ours, theirs = (inspect.signature(getattr(lib.nn, name).__init__) for lib in BOTH)
    mine, his = ([(p.name, p.kind) for p in s.parameters.values()] for s in (ours, theirs))
    assert mine == his
