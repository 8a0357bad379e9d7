"""Every layer against PyTorch's: first weights, state dict, text, results and gradients."""

import copy
import inspect
import pickle
import warnings
from dataclasses import dataclass, field

import numpy as np
import pytest

import torchlike
from torchlike import nn
from torchlike._core.settings import settings

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")


class In:
    """A random input: normal numbers, or integers below ``high``; ``of`` maps the numbers."""

    def __init__(self, *shape, high=None, of=None, grad=True):
        self.shape, self.high, self.of, self.grad = shape, high, of, grad

    def numbers(self, rng):
        if self.high is not None:
            return rng.integers(0, self.high, self.shape)
        x = rng.normal(size=self.shape).astype("float32")
        return x if self.of is None else self.of(x).astype("float32")


@dataclass
class Layer:
    """A layer, how it is made, and what it is called with."""

    name: str
    args: tuple = ()
    kwargs: dict = field(default_factory=dict)
    inputs: tuple = ()
    tol: float = 2e-5
    call: dict = field(default_factory=dict)
    random: bool = False  # results are random in training: compare in evaluation

    def __str__(self):
        parts = [repr(a) for a in self.args] + [f"{k}={v!r}" for k, v in self.kwargs.items()]
        return f"{self.name}({', '.join(parts)})"


def layer(name, *args, x=(), tol=2e-5, call=None, random=False, **kwargs):
    return Layer(name, args, kwargs, tuple(x), tol, call or {}, random)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def log_softmax(x):
    return x - np.log(np.exp(x).sum(1, keepdims=True))


IMAGE, SERIES, VOLUME = In(2, 4, 8, 9), In(2, 4, 9), In(2, 4, 5, 6, 5)
ROWS, PAIR = In(5, 4), (In(5, 4), In(5, 4, grad=False))
SIGNS = In(5, of=lambda x: np.where(x > 0, 1, -1), grad=False)
CLASSES = In(5, high=4)

LAYERS = [
    # ---- linear ----
    layer("Identity", 3, x=[ROWS]),
    layer("Linear", 4, 6, x=[ROWS]),
    layer("Linear", 4, 6, bias=False, x=[In(4)]),
    layer("Linear", 4, 0, x=[ROWS]),
    layer("Bilinear", 4, 3, 5, x=[ROWS, In(5, 3)]),
    layer("LazyLinear", 6, x=[ROWS]),
    # ---- convolutions ----
    layer("Conv1d", 4, 6, 3, x=[SERIES]),
    layer("Conv1d", 4, 6, 3, stride=2, groups=2, bias=False, x=[In(4, 9)]),
    layer("Conv2d", 4, 6, (3, 2), padding=(1, 0), stride=(2, 1), x=[IMAGE]),
    layer("Conv2d", 4, 6, 3, padding="same", dilation=2, x=[IMAGE]),
    layer("Conv2d", 4, 4, 3, padding="valid", groups=4, x=[IMAGE]),
    layer("Conv2d", 4, 6, 3, padding=(1, 2), padding_mode="circular", x=[IMAGE]),
    layer("Conv2d", 4, 6, 2, padding="same", padding_mode="reflect", x=[IMAGE]),
    layer("Conv2d", 4, 6, 3, padding=1, padding_mode="replicate", x=[IMAGE]),
    layer("Conv3d", 4, 2, 3, padding=1, x=[VOLUME]),
    layer("ConvTranspose1d", 4, 6, 3, stride=2, x=[SERIES]),
    layer("ConvTranspose2d", 4, 6, 3, stride=2, padding=1, output_padding=1, x=[IMAGE]),
    layer("ConvTranspose2d", 4, 6, 3, stride=2, groups=2, x=[IMAGE],
          call={"output_size": (18, 19)}),
    layer("ConvTranspose3d", 4, 2, 2, dilation=2, bias=False, x=[VOLUME]),
    layer("LazyConv2d", 6, 3, x=[IMAGE]),
    layer("LazyConvTranspose1d", 6, 3, x=[SERIES]),
    # ---- pooling ----
    layer("MaxPool1d", 3, x=[SERIES]),
    layer("MaxPool2d", 2, ceil_mode=True, x=[IMAGE]),
    layer("MaxPool2d", (3, 2), stride=1, padding=1, return_indices=True, x=[IMAGE]),
    layer("MaxPool3d", 2, x=[VOLUME]),
    layer("AvgPool1d", 3, stride=2, x=[SERIES]),
    layer("AvgPool2d", 3, padding=1, count_include_pad=False, x=[IMAGE]),
    layer("AvgPool2d", 2, divisor_override=3, x=[IMAGE]),
    layer("AvgPool3d", 2, x=[VOLUME]),
    layer("LPPool1d", 2, 3, x=[SERIES], tol=1e-4),
    layer("LPPool2d", 2, 2, stride=1, x=[IMAGE], tol=1e-4),
    layer("AdaptiveAvgPool1d", 4, x=[SERIES]),
    layer("AdaptiveAvgPool2d", (None, 3), x=[IMAGE]),
    layer("AdaptiveAvgPool3d", 2, x=[VOLUME]),
    layer("AdaptiveMaxPool1d", 4, x=[SERIES]),
    layer("AdaptiveMaxPool2d", 3, x=[IMAGE]),
    layer("AdaptiveMaxPool3d", (2, 2, 3), x=[VOLUME]),
    # ---- normalisation ----
    layer("BatchNorm1d", 4, x=[ROWS]),
    layer("BatchNorm1d", 4, affine=False, momentum=None, x=[SERIES]),
    layer("BatchNorm2d", 4, eps=1e-3, momentum=0.3, x=[IMAGE], tol=1e-4),
    layer("BatchNorm3d", 4, track_running_stats=False, x=[VOLUME], tol=1e-4),
    layer("BatchNorm2d", 4, bias=False, x=[IMAGE], tol=1e-4),
    layer("LazyBatchNorm2d", x=[IMAGE], tol=1e-4),
    layer("InstanceNorm1d", 4, x=[SERIES], tol=1e-4),
    layer("InstanceNorm2d", 4, affine=True, track_running_stats=True, x=[IMAGE], tol=1e-4),
    layer("InstanceNorm3d", 4, x=[VOLUME], tol=1e-4),
    layer("InstanceNorm2d", 4, affine=True, x=[In(4, 5, 6)], tol=1e-4),
    layer("LayerNorm", 4, x=[ROWS]),
    layer("LayerNorm", (8, 9), elementwise_affine=False, x=[IMAGE], tol=1e-4),
    layer("LayerNorm", [9], bias=False, x=[IMAGE], tol=1e-4),
    layer("GroupNorm", 2, 4, x=[IMAGE], tol=1e-4),
    layer("GroupNorm", 4, 4, affine=False, x=[SERIES], tol=1e-4),
    layer("RMSNorm", 4, x=[ROWS]),
    layer("RMSNorm", (8, 9), eps=1e-3, elementwise_affine=False, x=[IMAGE]),
    layer("LocalResponseNorm", 3, x=[IMAGE]),
    layer("CrossMapLRN2d", 3, x=[In(2, 4, 8, 9)]),
    layer("CrossMapLRN2d", 4, alpha=0.5, x=[In(2, 6, 2, 3)]),
    # ---- dropout ----
    *(layer(name, 0.3, x=[IMAGE], random=True) for name in
      ("Dropout", "Dropout2d", "AlphaDropout", "FeatureAlphaDropout")),
    layer("Dropout1d", x=[SERIES], random=True),
    layer("Dropout3d", 0.0, True, x=[VOLUME], random=True),
    # ---- embeddings ----
    layer("Embedding", 7, 3, x=[In(2, 5, high=7)]),
    layer("Embedding", 7, 3, padding_idx=-2, x=[In(2, 5, high=7)]),
    layer("EmbeddingBag", 7, 3, x=[In(2, 5, high=7)]),
    layer("EmbeddingBag", 7, 3, mode="sum", padding_idx=1, x=[In(2, 5, high=7)]),
    # ---- activations ----
    *(layer(name, x=[ROWS]) for name in
      ("CELU", "ELU", "GELU", "Hardshrink", "Hardsigmoid", "Hardswish", "Hardtanh", "LeakyReLU",
       "LogSigmoid", "Mish", "PReLU", "ReLU", "ReLU6", "SELU", "SiLU", "Sigmoid", "Softplus",
       "Softshrink", "Softsign", "Tanh", "Tanhshrink")),
    layer("CELU", 0.7, x=[ROWS]),
    layer("ELU", alpha=0.7, x=[ROWS]),
    layer("GELU", "tanh", x=[ROWS]),
    layer("GLU", x=[ROWS]),
    layer("GLU", 0, x=[In(4, 3)]),
    layer("Hardtanh", -0.5, 0.7, x=[ROWS]),
    layer("LeakyReLU", 0.3, x=[ROWS]),
    layer("PReLU", 4, 0.1, x=[ROWS]),
    layer("RReLU", x=[ROWS], random=True),
    layer("Softplus", 2.0, 1.0, x=[ROWS]),
    layer("Threshold", 0.1, 20, x=[ROWS]),
    layer("Softmax", 1, x=[ROWS]),
    layer("Softmin", dim=-1, x=[ROWS]),
    layer("LogSoftmax", 0, x=[ROWS]),
    layer("Softmax2d", x=[IMAGE]),
    # ---- shapes ----
    layer("Flatten", x=[IMAGE]),
    layer("Flatten", 0, 2, x=[IMAGE]),
    layer("Unflatten", 1, (2, 2), x=[IMAGE]),
    layer("PixelShuffle", 2, x=[IMAGE]),
    layer("PixelUnshuffle", 2, x=[In(2, 3, 4, 6)]),
    layer("ChannelShuffle", 2, x=[IMAGE]),
    layer("Unfold", 3, padding=1, x=[IMAGE]),
    layer("Fold", (5, 4), 2, x=[In(2, 12, 12)]),
    layer("Upsample", scale_factor=2, x=[IMAGE]),
    layer("Upsample", (5, 12), mode="bilinear", align_corners=True, x=[IMAGE]),
    layer("UpsamplingNearest2d", scale_factor=2, x=[IMAGE]),
    layer("UpsamplingBilinear2d", (11, 7), x=[IMAGE], tol=1e-4),
    layer("ZeroPad1d", 2, x=[SERIES]),
    layer("ZeroPad2d", (1, 0, 2, 1), x=[IMAGE]),
    layer("ZeroPad3d", 1, x=[VOLUME]),
    layer("ConstantPad1d", (2, 0), 3.5, x=[SERIES]),
    layer("ConstantPad2d", 1, -1.0, x=[IMAGE]),
    layer("ConstantPad3d", 1, 0.5, x=[VOLUME]),
    layer("ReflectionPad1d", 2, x=[SERIES]),
    layer("ReflectionPad2d", (1, 0, 2, 1), x=[IMAGE]),
    layer("ReflectionPad3d", 1, x=[VOLUME]),
    layer("ReplicationPad1d", 2, x=[SERIES]),
    layer("ReplicationPad2d", 2, x=[IMAGE]),
    layer("ReplicationPad3d", 1, x=[VOLUME]),
    layer("CircularPad1d", 2, x=[SERIES]),
    layer("CircularPad2d", (1, 2, 0, 1), x=[IMAGE]),
    layer("CircularPad3d", 1, x=[VOLUME]),
    # ---- distances ----
    layer("CosineSimilarity", x=[ROWS, ROWS]),
    layer("PairwiseDistance", keepdim=True, x=[ROWS, ROWS]),
    # ---- losses ----
    *(layer(name, x=PAIR, **kw)
      for name in ("L1Loss", "MSELoss", "SmoothL1Loss", "HuberLoss")
      for kw in ({}, {"reduction": "sum"}, {"reduction": "none"})),
    layer("SmoothL1Loss", beta=0.5, x=PAIR),
    layer("HuberLoss", delta=0.5, x=PAIR),
    layer("NLLLoss", x=[In(5, 4, of=log_softmax), CLASSES]),
    layer("NLLLoss", ignore_index=1, reduction="sum", x=[In(5, 4, of=log_softmax), CLASSES]),
    layer("CrossEntropyLoss", x=[ROWS, CLASSES]),
    layer("CrossEntropyLoss", label_smoothing=0.1, ignore_index=2, x=[ROWS, CLASSES]),
    layer("BCELoss", x=[In(5, 4, of=sigmoid), In(5, 4, of=sigmoid, grad=False)]),
    layer("BCEWithLogitsLoss", x=[ROWS, In(5, 4, of=sigmoid, grad=False)]),
    layer("PoissonNLLLoss", x=[ROWS, In(5, 4, of=np.abs, grad=False)]),
    layer("GaussianNLLLoss", full=True, x=[*PAIR, In(5, 4, of=lambda x: np.abs(x) + 0.1)]),
    layer("KLDivLoss", reduction="batchmean",
          x=[In(5, 4, of=log_softmax), In(5, 4, of=sigmoid, grad=False)]),
    layer("HingeEmbeddingLoss", x=[In(5), SIGNS]),
    layer("LinearCrossEntropyLoss", 6, 5, x=[In(4, 6), In(4, high=5)]),
    layer("AdaptiveLogSoftmaxWithLoss", 8, 20, [5, 10], x=[In(6, 8), In(6, high=20)]),
    layer("SoftMarginLoss", x=[In(5), SIGNS]),
    layer("MultiLabelSoftMarginLoss", x=[ROWS, In(5, 4, of=lambda x: x > 0, grad=False)]),
    layer("MultiLabelMarginLoss", x=[ROWS, In(5, 4, high=4)]),
    layer("MultiMarginLoss", p=2, margin=0.5, x=[ROWS, CLASSES]),
    layer("CosineEmbeddingLoss", margin=0.2, x=[ROWS, ROWS, SIGNS]),
    layer("MarginRankingLoss", margin=0.2, x=[In(5), In(5), SIGNS]),
    layer("TripletMarginLoss", swap=True, x=[ROWS, ROWS, ROWS]),
    layer("TripletMarginWithDistanceLoss", margin=2.0, x=[ROWS, ROWS, ROWS]),
    # ---- attention ----
    layer("MultiheadAttention", 8, 2, x=[In(5, 3, 8)] * 3),
    layer("MultiheadAttention", 8, 2, batch_first=True, bias=False,
          x=[In(3, 5, 8), *[In(3, 6, 8)] * 2]),
    layer("MultiheadAttention", 8, 2, kdim=4, vdim=6, x=[In(5, 3, 8), In(7, 3, 4), In(7, 3, 6)]),
    layer("MultiheadAttention", 8, 4, add_bias_kv=True, add_zero_attn=True, x=[In(5, 3, 8)] * 3,
          call={"average_attn_weights": False}),
    layer("TransformerEncoderLayer", 8, 2, 16, 0.0, x=[In(5, 3, 8)], tol=2e-4),
    layer("TransformerEncoderLayer", 8, 2, 16, 0.0, activation="gelu", batch_first=True,
          norm_first=True, x=[In(3, 5, 8)], tol=2e-4),
    layer("TransformerDecoderLayer", 8, 2, 16, 0.0, x=[In(5, 3, 8), In(6, 3, 8)], tol=2e-4),
    layer("Transformer", 8, 2, 2, 2, 16, 0.0, x=[In(5, 3, 8), In(6, 3, 8)], tol=5e-4),
]  # fmt: skip


def make(lib, case):
    lib.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # lazy modules, nested tensors
        return getattr(lib.nn, case.name)(*case.args, **case.kwargs)


def inputs(lib, case):
    rng = np.random.default_rng(5)
    out = []
    for spec in case.inputs:
        t = lib.tensor(spec.numbers(rng))
        if spec.grad and t.is_floating_point():
            t.requires_grad_()
        out.append(t)
    return out


def tensors(x):
    if isinstance(x, (tuple, list)):
        return [t for y in x for t in tensors(y)]
    return [] if x is None else [x]


def close(ours, theirs, tol, what):
    assert str(ours.dtype) == str(theirs.dtype), what
    assert tuple(ours.shape) == tuple(theirs.shape), what
    a, b = ours.detach().numpy(), theirs.detach().numpy()
    np.testing.assert_allclose(a, b, rtol=tol, atol=tol, err_msg=what)


def same_state(ours, theirs, tol=0.0):
    mine, his = ours.state_dict(), theirs.state_dict()
    assert list(mine) == list(his)
    assert dict(mine._metadata) == dict(his._metadata)
    for key in his:
        close(mine[key], his[key], tol, key)


def run(lib, case, module):
    """(results, [(name, gradient)]) of a call and its backward."""
    args = inputs(lib, case)
    out = tensors(module(*args, **case.call))
    total = None
    for i, t in enumerate(out):
        if t.requires_grad:
            weights = np.random.default_rng(i).uniform(0.5, 1.5, tuple(t.shape)).astype("float32")
            term = (t * lib.tensor(weights)).sum()
            total = term if total is None else total + term
    if total is not None:
        total.backward()
    grads = [(name, p.grad) for name, p in module.named_parameters()]
    return out, grads + [(f"input {i}", t.grad) for i, t in enumerate(args)]


def compare_run(case, ours, theirs, tol):
    mine, his = run(torchlike, case, ours), run(torch, case, theirs)
    for i, (a, b) in enumerate(zip(mine[0], his[0], strict=True)):
        assert a.requires_grad == b.requires_grad, f"result {i}"
        close(a, b, tol, f"result {i}")
    for (name, a), (_, b) in zip(mine[1], his[1], strict=True):
        assert (a is None) == (b is None), f"gradient of {name}: {a} for {b}"
        if b is not None:
            close(a, b, 10 * tol, f"gradient of {name}")


@pytest.fixture(autouse=True)
def no_global_state():
    yield
    torch.manual_seed(0)
    torchlike.manual_seed(0)


each = pytest.mark.parametrize("case", LAYERS, ids=str)


@each
def test_first_weights_state_and_text(case):
    ours, theirs = make(torchlike, case), make(torch, case)
    assert repr(ours) == repr(theirs)
    if not case.name.startswith("Lazy"):
        same_state(ours, theirs)
    assert [n for n, _ in ours.named_parameters()] == [n for n, _ in theirs.named_parameters()]
    assert [n for n, _ in ours.named_buffers()] == [n for n, _ in theirs.named_buffers()]
    assert type(ours).__module__ == "torchlike" + type(theirs).__module__[5:]


# Op by op only the first row of each layer: the functions behind the options of the others run op
# by op, in all their forms, in the tables of ops.
AT_ONCE = {case.name: case for case in reversed(LAYERS)}.values()


@pytest.mark.parametrize(
    ("case", "immediate"),
    [pytest.param(case, False, id=f"deferred-{case}") for case in LAYERS]
    + [pytest.param(case, True, id=f"immediate-{case}") for case in AT_ONCE],
)
def test_call_and_backward(case, immediate):
    with settings.override(immediate=immediate):
        ours, theirs = make(torchlike, case), make(torch, case)
        if case.name.startswith("Lazy"):
            torchlike.manual_seed(4), torch.manual_seed(4)
        if case.random:
            ours.eval(), theirs.eval()
        compare_run(case, ours, theirs, case.tol)
        same_state(ours, theirs, case.tol)
        assert repr(ours) == repr(theirs)
        assert type(ours).__name__ == type(theirs).__name__


@each
def test_evaluation(case):
    ours, theirs = make(torchlike, case), make(torch, case)
    if case.name.startswith("Lazy"):
        torchlike.manual_seed(4), torch.manual_seed(4)
        ours(*inputs(torchlike, case)), theirs(*inputs(torch, case))
    ours.eval(), theirs.eval()
    with torchlike.no_grad(), torch.no_grad():
        mine = tensors(ours(*inputs(torchlike, case), **case.call))
        his = tensors(theirs(*inputs(torch, case), **case.call))
    for a, b in zip(mine, his, strict=True):
        close(a, b, case.tol, "result")


def test_every_layer_has_a_row():
    rows = {case.name for case in LAYERS}
    later = {  # tested elsewhere, or of the same class as a row
        "Container", "FractionalMaxPool2d", "FractionalMaxPool3d", "LPPool3d", "LazyBatchNorm1d",
        "LazyBatchNorm3d", "LazyConv1d", "LazyConv3d", "LazyConvTranspose2d",
        "LazyConvTranspose3d", "LazyInstanceNorm1d", "LazyInstanceNorm2d", "LazyInstanceNorm3d",
        "LinearCrossEntropyOptions",
        "MaxUnpool1d", "MaxUnpool2d", "MaxUnpool3d", "CTCLoss", "Module", "ModuleDict",
        "ModuleList", "NLLLoss2d", "ParameterDict", "ParameterList", "Sequential",
        "SyncBatchNorm", "TransformerDecoder", "TransformerEncoder",
        "GRU", "GRUCell", "LSTM", "LSTMCell", "RNN", "RNNBase", "RNNCell", "RNNCellBase",
    }  # fmt: skip
    assert {n for n in nn.modules.__all__} - rows - later == set()


@pytest.mark.parametrize("name", sorted({case.name for case in LAYERS}))
def test_signature(name):
    """The constructor takes PyTorch's arguments, in its order and with its defaults."""

    def parameters(lib):
        found = inspect.signature(getattr(lib.nn, name).__init__).parameters.values()
        return [(p.name, p.kind, _plain(p.default)) for p in found]

    assert parameters(torchlike) == parameters(torch)


def _plain(default):
    return default.__name__ if callable(default) else default


@each
def test_copy_and_pickle(case):
    module = make(torchlike, case)
    for other in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(other) == repr(module)
        mine, his = other.state_dict(), module.state_dict()
        assert list(mine) == list(his)
        for key in his if not case.name.startswith("Lazy") else ():
            np.testing.assert_array_equal(mine[key].numpy(), his[key].numpy())
            assert not his[key].numel() or mine[key].data_ptr() != his[key].data_ptr()


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in LAYERS
        if "dtype" in inspect.signature(getattr(nn, c.name)).parameters
        and not c.name.startswith("Lazy")
    ],
    ids=str,
)
def test_device_and_dtype(case):
    """The factory arguments reach every parameter and buffer; meta makes none of them."""
    for kwargs in ({"dtype": "float64"}, {"device": "meta"}, {"dtype": "bfloat16"}):
        made, numbers = [], []
        for lib in (torchlike, torch):
            given = {k: getattr(lib, v) if k == "dtype" else v for k, v in kwargs.items()}
            lib.manual_seed(3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # empty weights, nested tensors
                module = getattr(lib.nn, case.name)(*case.args, **case.kwargs, **given)
            state = module.state_dict()
            made.append(
                [(k, str(v.dtype), str(v.device), tuple(v.shape)) for k, v in state.items()]
            )
            if kwargs.get("dtype") == "float64":
                numbers.append([v.numpy() for v in state.values()])
        assert made[0] == made[1]
        for a, b in zip(*numbers, strict=True) if numbers else ():
            np.testing.assert_array_max_ulp(a, b, 2) if a.dtype.kind == "f" else None


# ---- errors ------------------------------------------------------------------------------------

BAD = [
    layer("Bilinear", 0, 2, 3),
    layer("Conv2d", 4, 6, 3, groups=0),
    layer("Conv2d", 5, 6, 3, groups=2),
    layer("Conv2d", 4, 5, 3, groups=2),
    layer("Conv2d", 4, 6, 3, padding="same", stride=2),
    layer("ConvTranspose2d", 4, 6, 3, padding_mode="reflect"),
    layer("ConvTranspose2d", 4, 6, 3, x=[IMAGE], call={"output_size": (30, 30)}),
    layer("ConvTranspose2d", 4, 6, 3, x=[IMAGE], call={"output_size": (3,)}),
    layer("BatchNorm1d", 4, x=[IMAGE]),
    layer("BatchNorm1d", 4, eps=-1.0, x=[ROWS]),
    layer("BatchNorm2d", 4, x=[ROWS]),
    layer("BatchNorm3d", 4, x=[ROWS]),
    layer("InstanceNorm2d", 3, affine=True, x=[IMAGE]),
    layer("InstanceNorm2d", 3, x=[ROWS]),
    layer("GroupNorm", 3, 4),
    layer("Dropout", 1.5),
    layer("Dropout2d", -0.1),
    layer("Embedding", -1, 3),
    layer("Embedding", 7, 3, padding_idx=7),
    layer("Embedding", 7, 3, padding_idx=-8),
    layer("EmbeddingBag", 7, 3, padding_idx=9),
    layer("Hardtanh", 1.0, -1.0),
    layer("Softmax2d", x=[ROWS]),
    layer("Unflatten", 1, 3),
    layer("Unflatten", 1, (2, 2.0)),
    layer("FractionalMaxPool2d", 3),
    layer("FractionalMaxPool2d", 3, output_size=2, output_ratio=0.5),
    layer("FractionalMaxPool3d", 3, output_ratio=(0.5, 1.5, 0.5)),
    layer("FractionalMaxPool3d", 0, output_size=2),
    layer("CircularPad1d", 2, x=[IMAGE]),
    layer("CircularPad2d", 2, x=[ROWS]),
    layer("HuberLoss", delta="1"),
    layer("MultiMarginLoss", p=3),
    layer("TripletMarginLoss", margin=0),
    layer("TripletMarginWithDistanceLoss", margin=-1),
    layer("MultiheadAttention", 8, 3),
    layer("MultiheadAttention", 0, 3),
    layer("MultiheadAttention", 8, 2, x=[In(5, 3, 8), In(7, 8), In(7, 3, 8)]),
    layer("MultiheadAttention", 8, 2, x=[*[In(5, 3, 8)] * 3, In(5, 3)]),
    layer("MultiheadAttention", 8, 2, x=[*[In(5, 8)] * 3, In(5, 1)]),
    layer("MultiheadAttention", 8, 2, x=[*[In(5, 3, 8)] * 3, None, False, In(5)]),
    layer("TransformerEncoderLayer", 8, 2, activation="tanh"),
    layer("Transformer", 8, 2, 1, 1, 16, x=[In(5, 3, 8), In(6, 4, 8)]),
    layer("Transformer", 8, 2, 1, 1, 16, x=[In(5, 3, 8), In(6, 3, 7)]),
    layer("CrossMapLRN2d", 3, x=[ROWS]),
]  # fmt: skip


@pytest.mark.parametrize("case", BAD, ids=str)
def test_error(case):
    told = []
    for lib in (torch, torchlike):
        with pytest.raises(Exception) as caught:
            module = make(lib, case)
            assert case.inputs, "the constructor did not raise"
            module(*inputs(lib, case), **case.call)
        told.append((caught.type.__name__, str(caught.value)))
    assert told[0] == told[1]


# ---- single layers -----------------------------------------------------------------------------


def test_conv_names_the_choices_in_its_errors():
    with pytest.raises(ValueError, match="Invalid padding string 'full', should be one of"):
        nn.Conv2d(1, 1, 1, padding="full")
    with pytest.raises(ValueError, match="but got padding_mode='wrap'"):
        nn.Conv2d(1, 1, 1, padding_mode="wrap")


def test_embedding_from_pretrained():
    table = torchlike.tensor([[1.0, 2.0], [3.0, 4.0]])
    frozen = nn.Embedding.from_pretrained(table)
    assert not frozen.weight.requires_grad
    assert frozen(torchlike.tensor([1])).tolist() == [[3.0, 4.0]]
    table[1, 0] = 9.0  # the storage is shared
    assert frozen.weight[1, 0].item() == 9.0
    assert nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0).weight.requires_grad
    with pytest.raises(AssertionError, match="2-dimensional"):
        nn.Embedding.from_pretrained(table[0])
    with pytest.raises(AssertionError, match="Shape of weight"):
        nn.Embedding(3, 2, _weight=table)
    bag = nn.EmbeddingBag.from_pretrained(table, mode="sum")
    assert not bag.weight.requires_grad


def test_batch_norm_loads_a_checkpoint_without_the_counter():
    old = nn.BatchNorm1d(3).state_dict()
    del old["num_batches_tracked"], old._metadata
    assert str(nn.BatchNorm1d(3).load_state_dict(old)) == "<All keys matched successfully>"


def test_an_empty_batch_moves_no_statistics():
    for lib in (torchlike, torch):
        layer = lib.nn.BatchNorm1d(3)
        assert tuple(layer(lib.ones(0, 3)).shape) == (0, 3)
        assert layer.running_mean.tolist() == [0, 0, 0] and layer.running_var.tolist() == [1, 1, 1]
        assert layer.num_batches_tracked.item() == 1


def test_class_weights_of_another_dtype():
    told = []
    for lib in (torchlike, torch):
        with pytest.raises(RuntimeError) as caught:
            weight = lib.ones(3, dtype=lib.float16)
            lib.nn.NLLLoss(weight)(lib.zeros(2, 3), lib.tensor([0, 1]))
        told.append(str(caught.value))
    assert told[0] == told[1]


def test_convert_sync_batchnorm():
    net = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Sequential(nn.BatchNorm2d(2)))
    weight = net[1].weight
    out = nn.SyncBatchNorm.convert_sync_batchnorm(net)
    assert out is net and type(net[1]) is nn.SyncBatchNorm and type(net[2][0]) is nn.SyncBatchNorm
    assert net[1].weight is weight
    theirs = torch.nn.SyncBatchNorm(4)
    assert repr(net[1]) == repr(theirs)


@pytest.mark.parametrize("norm", [True, False])
@pytest.mark.parametrize("train", [True, False])
@pytest.mark.parametrize("mask", ["none", "causal", "padding", "ragged", "both", "bool"])
def test_transformer_stacks(norm, train, mask):
    """Masks of all kinds; without grad, padded positions come out as PyTorch's (zero) ones."""
    results = []
    for lib in (torchlike, torch):
        lib.manual_seed(0)
        own = lib.nn.TransformerEncoderLayer(8, 2, 16, 0.0, batch_first=True)
        encoder = lib.nn.TransformerEncoder(own, 2, lib.nn.LayerNorm(8) if norm else None)
        decoder = lib.nn.TransformerDecoder(
            lib.nn.TransformerDecoderLayer(8, 2, 16, 0.0, batch_first=True), 2
        )
        encoder.train(train), decoder.train(train)
        rng = np.random.default_rng(0)
        x = lib.tensor(rng.normal(size=(2, 5, 8)).astype("float32"))
        causal = lib.nn.Transformer.generate_square_subsequent_mask(5)
        padding = np.zeros((2, 5), bool)
        padding[0, 3:] = True
        if mask == "ragged":
            padding[1, 1] = True
        given = {}
        if mask in ("causal", "both"):
            given["mask"] = causal
        if mask == "bool":
            given["mask"] = causal != 0
        if mask in ("padding", "ragged"):
            given["src_key_padding_mask"] = lib.tensor(padding)
        if mask == "both":
            given["src_key_padding_mask"] = lib.zeros(2, 5).masked_fill(
                lib.tensor(padding), float("-inf")
            )
        with lib.set_grad_enabled(train), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # PyTorch's nested tensors are a prototype
            memory = encoder(x, **given)
            results.append([memory, decoder(x, memory, tgt_mask=causal)])
            lib.backends.mha.set_fastpath_enabled(False)
            results[-1].append(encoder(x, **given))
            lib.backends.mha.set_fastpath_enabled(True)
    for a, b in zip(*results, strict=True):
        close(a, b, 2e-4, mask)


def test_encoder_warns_where_pytorch_warns():
    def warned(lib, **kwargs):
        layer = lib.nn.TransformerEncoderLayer(8, 2, 16, **kwargs)
        with warnings.catch_warnings(record=True) as found:
            warnings.simplefilter("always")
            lib.nn.TransformerEncoder(layer, 1)
        return [str(w.message) for w in found]

    for kwargs in ({}, {"norm_first": True}, {"batch_first": True},
                   {"batch_first": True, "bias": False}):  # fmt: skip
        assert warned(torchlike, **kwargs) == warned(torch, **kwargs)


def test_legacy_reduction_warns():
    for args, kept in (((None, False), "none"), ((False, None), "sum"), ((True, True), "mean")):
        with pytest.warns(UserWarning, match="size_average and reduce args") as ours:
            loss = nn.MSELoss(*args)
        assert loss.reduction == kept
        with pytest.warns(UserWarning) as theirs:
            torch.nn.MSELoss(*args)
        assert str(ours[0].message) == str(theirs[0].message)
        assert ours[0].filename == __file__


def test_lazy_modules():
    lazy = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(2))
    assert repr(lazy[0].weight) == "<UninitializedParameter>"
    with pytest.raises(RuntimeError, match="Can't access the shape"):
        _ = lazy[0].weight.shape
    lazy(torchlike.ones(1, 3, 5, 5))
    assert type(lazy[0]) is nn.Conv2d and type(lazy[2]) is nn.Linear
    assert not lazy[0]._forward_pre_hooks
    again = nn.LazyLinear(2)
    again.load_state_dict(lazy[2].state_dict())  # a checkpoint gives the shape too
    assert tuple(again.weight.shape) == (2, 36)
