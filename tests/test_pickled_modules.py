"""Whole modules and optimizers in files: written by PyTorch and run here, and the reverse."""

import io
import warnings

import numpy as np
import pytest

import torchlike as tl

torch = pytest.importorskip("torch")

LAYERS = {  # name: (the layer, the shape of its input or None)
    "linear": (lambda n: n.Linear(4, 3), (2, 4)),
    "convolutions": (
        lambda n: n.Sequential(
            n.Conv2d(3, 4, 3), n.BatchNorm2d(4), n.ReLU(True), n.MaxPool2d(2), n.Flatten()
        ),
        (2, 3, 8, 8),
    ),
    "transposed": (lambda n: n.ConvTranspose1d(2, 3, 3, stride=2), (1, 2, 5)),
    "circular": (lambda n: n.Conv1d(2, 4, 3, padding="same", padding_mode="circular"), (1, 2, 8)),
    "lstm": (lambda n: n.LSTM(4, 5, 2, batch_first=True, bidirectional=True), (2, 3, 4)),
    "gru": (lambda n: n.GRU(4, 5), (2, 3, 4)),
    "cell": (lambda n: n.RNNCell(4, 5, nonlinearity="relu"), (2, 4)),
    "encoder": (
        lambda n: n.TransformerEncoder(n.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2),
        (2, 3, 8),
    ),
    "norms": (lambda n: n.Sequential(n.LayerNorm(4), n.RMSNorm(4), n.GroupNorm(2, 2)), (3, 2, 4)),
    "activations": (lambda n: n.Sequential(n.GELU(), n.PReLU(), n.Hardswish(), n.GLU()), (2, 4)),
    "pools": (lambda n: n.Sequential(n.AvgPool2d(2), n.AdaptiveMaxPool2d(1)), (1, 2, 8, 8)),
    "upsampling": (lambda n: n.Upsample(scale_factor=2, mode="bilinear"), (1, 2, 4, 4)),
    "weight norm": (lambda n: n.utils.weight_norm(n.Linear(4, 3)), (2, 4)),
    "spectral norm": (lambda n: n.utils.spectral_norm(n.Linear(4, 3)), (2, 4)),
    "embedding": (lambda n: n.Embedding(5, 3, padding_idx=0), None),
    "containers": (lambda n: n.ModuleDict({"a": n.ModuleList([n.Linear(2, 2)])}), None),
    "parameters": (lambda n: n.ParameterList([n.Parameter(n.Linear(2, 1).weight.data)]), None),
    "attention": (lambda n: n.MultiheadAttention(8, 2), None),
    "transformer": (lambda n: n.Transformer(8, 2, 1, 1, 16), None),
    "losses": (lambda n: n.Sequential(n.CrossEntropyLoss(label_smoothing=0.1), n.CTCLoss()), None),
    "lazy": (lambda n: n.LazyLinear(3), None),
}


def passed(obj, source, target):
    file = io.BytesIO()
    source.save(obj, file)
    file.seek(0)
    return target.load(file, weights_only=False)


def numbers(m, state):
    lazy = m.nn.parameter.UninitializedParameter
    return {k: v.numpy() for k, v in state.items() if not isinstance(v, lazy)}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("ways", [(torch, tl), (tl, torch)], ids=["from torch", "to torch"])
def test_layers(name, ways):
    source, target = ways
    make, shape = LAYERS[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated ones are in old files, too
        source.manual_seed(0)
        before = make(source.nn).eval()
    after = passed(before, source, target)
    assert type(after).__module__.split(".")[0] == target.__name__
    assert repr(after) == repr(before)
    wanted, found = (numbers(m, x.state_dict()) for m, x in ((source, before), (target, after)))
    assert wanted.keys() == found.keys()
    assert all(np.array_equal(wanted[k], found[k]) for k in wanted)
    if shape is None:
        return
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    results = [model(m.from_numpy(x.copy())) for m, model in ((source, before), (target, after))]
    results = [r[0] if isinstance(r, tuple) else r for r in results]
    wanted, found = (r.detach().numpy() for r in results)
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", ["SGD", "AdamW", "Adagrad", "RMSprop"])
@pytest.mark.parametrize("ways", [(torch, tl), (tl, torch)], ids=["from torch", "to torch"])
def test_training_goes_on(name, ways):
    source, target = ways

    def step(m, parts):
        parts["optimizer"].zero_grad()
        parts["model"](m.ones(2, 3)).pow(2).sum().backward()
        parts["optimizer"].step()
        parts["schedule"].step()

    source.manual_seed(0)
    model = source.nn.Linear(3, 2)
    optimizer = getattr(source.optim, name)(model.parameters(), lr=0.1)
    schedule = source.optim.lr_scheduler.StepLR(optimizer, 2)
    before = {"model": model, "optimizer": optimizer, "schedule": schedule}
    step(source, before)
    after = passed(before, source, target)
    step(source, before)
    step(target, after)
    wanted, found = (p["model"].weight.detach().numpy() for p in (before, after))
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    assert after["schedule"].get_last_lr() == before["schedule"].get_last_lr()
