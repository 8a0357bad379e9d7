"""Programs on a stand-in for a GPU: ``cuda`` is a second device of the host's processor.

``python second_device.py`` runs each program on "cpu" and on "cuda", and prints a line of JSON:
what differed by program. Numbers that are drawn are compared by their means.
"""

from __future__ import annotations

import copy
import io
import json
import os
import traceback
import warnings

os.environ["XLA_FLAGS"] = (
    f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=3"
)

import jax
import numpy as np

import torchlike as t
from torchlike._core import devices
from torchlike._engine.compat import prompt_device
from torchlike._engine.flush import array_of

F, nn = t.nn.functional, t.nn
PROGRAMS: dict = {}


_jax_device, _device_count = devices.jax_device, devices.device_count


def jax_device(d):
    """The host's second device for cuda:0, its third for cuda:1."""
    return jax.devices("cpu")[(d.index or 0) + 1] if d.type == "cuda" else _jax_device(d)


def device_count(kind):
    """Two GPUs, and what else there is."""
    return 2 if kind == "cuda" else _device_count(kind)


def from_jax_device(d):
    """The inverse of ``jax_device``."""
    return devices.device("cuda", d.id - 1) if d.id else devices.CPU


for stand_in in (jax_device, device_count, from_jax_device):
    setattr(devices, stand_in.__name__, stand_in)

# On a machine with a GPU, JAX computes there unless it is told.
jax.config.update("jax_default_device", jax.devices("cpu")[1])


def program(run):
    """Decorator: ``run(device)`` gives the results to compare, in any nest of lists."""
    PROGRAMS[run.__name__] = run
    return run


class Loose:
    """Drawn numbers: another device draws others, of the same mean."""

    def __init__(self, x):
        self.mean = x.double().mean().item()


@program
def moves(d):
    x = t.arange(6.0).reshape(2, 3).to(d)
    back, wide = x.cpu(), x.cpu().to(d, t.float64, non_blocking=True)
    into, out = t.empty(2, 3, device=d).copy_(back), t.zeros(2, 3).copy_(x)
    other = t.zeros_like(x, device="cpu").to(x)
    return [x, back, wide, into, out, other, x.new_tensor([1, 2]), t.as_tensor([1.0], device=d)]


@program
def indices_and_numbers_of_the_cpu(d):
    x, i = t.arange(24.0).reshape(4, 6).to(d), t.tensor([0, 2])
    y = x.clone()
    y[i] = 0
    y[0, 0] = t.tensor(3.0)
    y[y > 20] = -1
    two, rows = t.tensor(2.0), t.tensor([True, False, True, False])
    out = [x[i], x[rows], y, x.index_select(0, i.to(d)), x * two, two * x, x.add(two, alpha=2)]
    return [*out, t.where(x > 3, two, x), x.clamp(max=two), x.mul_(two)]


@program
def two_devices_in_one_call(d):
    try:
        t.ones(2, device=d) + t.ones(2)
    except RuntimeError as error:
        return ["same device" in str(error)]
    return [d == "cpu"]


@program
def files(d):
    t.manual_seed(0)
    file, out = io.BytesIO(), []
    t.save({"net": nn.Linear(3, 2).state_dict(), "x": t.ones(2, device=d)}, file)
    for place in (None, "cpu", "cuda:1", lambda storage, at: storage, {"cuda:0": "cuda:1"}):
        file.seek(0)
        found = t.load(file, map_location=place)
        net = nn.Linear(3, 2).to(d)
        net.load_state_dict(found["net"])
        out += [found["x"], net.weight, net.weight.device.type == d.partition(":")[0]]
    return out


OPTIMIZERS = (
    "Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD"
)


def small_net(d):
    t.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))
    return net.double().to(d), t.arange(40.0).reshape(10, 4).sin().double().to(d)


@program
def optimizers(d):
    """Some steps, their states through a file that is read onto the CPU, some more steps."""
    out = []
    names = (
        "Adadelta Adafactor Adagrad Adam AdamW Adamax ASGD LBFGS Muon NAdam RAdam RMSprop Rprop SGD"
    )
    for name in names.split():
        net, x = small_net(d)
        weights = [p for p in net.parameters() if name != "Muon" or p.ndim == 2]
        make = getattr(t.optim, name)
        optimizer = make(weights, lr=0.01)

        def closure():
            optimizer.zero_grad()  # noqa: B023
            loss = net(x).pow(2).sum()  # noqa: B023
            loss.backward()
            return loss

        for step in range(4):
            if step == 2:
                file = io.BytesIO()
                t.save(optimizer.state_dict(), file)
                file.seek(0)
                optimizer = make(weights, lr=0.01)
                optimizer.load_state_dict(t.load(file, map_location="cpu"))
            optimizer.step(closure) if name == "LBFGS" else (closure(), optimizer.step())
        out += weights
    return out


@program
def draws(d):
    n, two = 20000, t.full((20000,), 2.0, device=d)
    t.manual_seed(1)
    empty = lambda **how: t.empty(n, device=d, **how)  # noqa: E731
    drawn = [
        t.rand(n, device=d), t.randn(n, device=d) + 1, t.randint(5, (n,), device=d),
        t.rand(70, 1000, device=d), empty().exponential_(2.0), empty().geometric_(0.2),
        empty(dtype=t.int64).geometric_(0.2), empty().cauchy_(1, 0.1).clamp(0, 2),
        empty().log_normal_(0.1, 0.2), empty().uniform_(1, 2), empty().normal_(3, 0.1),
        empty().bernoulli_(0.3), t.poisson(two), t.binomial(two * 5, two / 4), t.bernoulli(two / 8),
        t._standard_gamma(two), F.dropout(two, 0.5), t.multinomial(two[:4], n, True),
        F.gumbel_softmax(t.zeros(n, 2, device=d), hard=True)[:, 0], t.rand_like(two),
        t.normal(two, 0.1), t.randperm(n, device=d),
    ]  # fmt: skip
    said = []
    for wrong in (lambda: empty().exponential_(-1), lambda: empty(dtype=t.int32).cauchy_()):
        try:
            wrong()
        except RuntimeError as error:
            said.append(str(error))
    return [*map(Loose, drawn), [x.device.type == d for x in drawn], [x.dtype for x in drawn], said]


@program
def generators(d):
    g = t.Generator(d).manual_seed(3)
    first = t.rand(3, generator=g, device=d)
    state = g.get_state()
    second = t.randn(3, generator=g, device=d)
    again = [t.rand(3, generator=g.manual_seed(3), device=d) == first]
    again += [t.randn(3, generator=g.set_state(state), device=d) == second]
    t.manual_seed(1)
    x = t.rand(2, device=d)
    t.manual_seed(1)
    return [*again, t.rand(2, device=d) == x, t.randperm(5, device=d).sort()[0]]


@program
def compiled(d):
    """One program each: what a call makes itself, and what it draws, is no second device."""
    x = t.arange(4.0).to(d)
    functions = [
        lambda x: x + t.arange(4, device=x.device), lambda x: t.eye(4, device=x.device) @ x,
        lambda x: x * t.tensor(2.0) + 1, lambda x: x[t.tensor([0, 2])], lambda x: x.std(),
        lambda x: x + t.tensor([1.0, 2, 3, 4]).to(x.device), lambda x: 0 * t.rand_like(x),
        lambda x: 0 * F.dropout(x, 0.5), lambda x: x.clamp(max=t.tensor(2.0)),
    ]  # fmt: skip
    out = []
    for function in functions:
        step = t.compile(function, fullgraph=True)
        out += [step(x), step(x), step(x), len(step.compiled.breaks)]
    net, data = small_net(d)
    optimizer, scaler = t.optim.AdamW(net.parameters(), 0.01), t.amp.GradScaler(d, init_scale=8.0)

    @t.compile(fullgraph=True)
    def step(x):
        optimizer.zero_grad()
        loss = F.dropout(net(x), 0.0).pow(2).mean()
        scaler.scale(loss).backward()
        scaler.step(optimizer)
        scaler.update()
        return loss

    return [*out, [step(data).item() for _ in range(4)], *net.state_dict().values()]


def is_placed(x) -> bool:
    """Whether a tensor's array lies where the tensor says."""
    if not isinstance(x, t.Tensor):
        return True
    x.detach()  # a view shows what its base is now
    array = array_of(x._value)
    on_host = isinstance(array, np.ndarray) or array.device == prompt_device()
    return x.device.type == "cpu" if on_host else array.device == devices.jax_device(x.device)


class Masked(nn.Module):
    """A layer with tensors that ``to()`` does not move."""

    def __init__(self):
        super().__init__()
        self.inner, self.mask = nn.Linear(3, 3), t.ones(3, 3).tril()
        self.two = t.tensor(2.0)

    def forward(self, x):
        return self.inner(x) @ self.mask.to(x.device) * self.two


@program
def compiled_on_two_devices(d):
    """One program each: what is moved there, and back, by its Python."""
    held, counter, weight = t.ones(3), t.zeros(()), t.arange(3.0, requires_grad=True)
    t.manual_seed(2)

    def count(x):
        counter.add_(1)
        return x * counter

    def write(x):
        y = x.to(d) * 2
        y += 1
        z = (y * 1).cpu()
        z *= 2
        return y, z, x

    functions = [
        lambda x: x.to(d) * 2 + held.to(d), lambda x: (x.to(d) * 3).cpu() + held, write, count,
        lambda x: (x.to(d) + t.arange(3).to(d), t.arange(3)), lambda x: t.ones(3, device=d) * 2,
        lambda x: x + t.randn(3).to(d).cpu() + t.rand(3), lambda x: x.to(d)[held.long() % 3],
        lambda x: t.func.vmap(lambda row: row.to(d) * 2)(x), lambda x: t.cat([x.to(d), x.to(d)]),
    ]  # fmt: skip
    out, steps = [], []
    for function in functions:
        steps.append(t.compile(function, fullgraph=True))
        out += [steps[-1](t.arange(3.0) + i) for i in range(4)]
        held[0] += 1
    moved, layer = t.compile(lambda x: (x * weight.to(d)).sin().cpu(), fullgraph=True), Masked()
    t.manual_seed(0)
    nn.init.normal_(layer.inner.weight)
    layer = t.compile(layer.to(d), fullgraph=True)
    for _ in range(3):
        x = t.ones(3, device=d, requires_grad=True)
        moved(x).sum().backward()
        layer(t.ones(2, 3, device=d)).sum().backward()
        out += [x.grad, weight.grad.clone(), layer.inner.weight.grad.clone()]
    net, data = small_net(d)
    optimizer = t.optim.AdamW(net.parameters(), 0.01)
    average = {name: p.detach().cpu().clone() for name, p in net.named_parameters()}

    @t.compile(fullgraph=True)
    def step(x):
        optimizer.zero_grad()
        loss = net(x.to(d)).pow(2).mean()
        loss.backward()
        optimizer.step()
        for name, p in net.named_parameters():
            average[name].lerp_(p.detach().cpu(), 0.1)
        return loss.detach().cpu()

    out += [step(data.cpu()) for _ in range(5)]
    said = []
    for _ in range(3):
        try:
            t.compile(lambda x: x + held)(t.ones(3, device=d))
        except RuntimeError as error:
            said.append("same device" in str(error))
    breaks = [len(s.compiled.breaks) for s in (*steps, moved, step)]
    made = [out, counter, *net.parameters(), *average.values()]
    return [made, breaks, said == [d != "cpu"] * len(said)]


@program
def layers(d):
    t.manual_seed(0)
    out = []
    for make in (nn.LSTM, nn.GRU, nn.RNN):
        layer = make(3, 4, 2, batch_first=True, bidirectional=True)
        x = t.arange(30.0).reshape(2, 5, 3).sin()
        layer, x = layer.to(d), x.to(d).requires_grad_()
        y = layer(x)[0]
        y.sum().backward()
        lengths = t.tensor([5, 3])
        packed = nn.utils.rnn.pack_padded_sequence(x.detach(), lengths, batch_first=True)
        out += [y, x.grad, nn.utils.rnn.pad_packed_sequence(layer(packed)[0])[0]]
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).to(d)
    x = t.arange(80.0).reshape(2, 5, 8).sin().to(d)
    mask = nn.Transformer.generate_square_subsequent_mask(5, device=d)
    bag = nn.EmbeddingBag(10, 3).to(d)(t.tensor([1, 4, 9], device=d), t.tensor([0, 2], device=d))
    average = t.optim.swa_utils.AveragedModel(layer)
    average.update_parameters(layer)
    return [*out, layer(x, mask, is_causal=True), bag, average(x), copy.deepcopy(layer)(x)]


# ---- both sides --------------------------------------------------------------------------------


def flat_tensors(x) -> list:
    """The leaves of a nest of lists."""
    return [leaf for y in x for leaf in flat_tensors(y)] if isinstance(x, (list, tuple)) else [x]


def flat(x) -> list:
    """The leaves of a nest of lists, tensors of any device as those of the CPU."""
    return [y.detach().cpu() if isinstance(y, t.Tensor) else y for y in flat_tensors(x)]


def equal(a, b) -> bool:
    """Whether two leaves agree, tensors and floats to rounding."""
    if isinstance(a, Loose):
        return abs(a.mean - b.mean) <= 0.03 * abs(a.mean) + 0.01
    if isinstance(a, t.Tensor):
        return a.dtype is b.dtype and a.shape == b.shape and t.allclose(a, b, 1e-4, 1e-5)
    return abs(a - b) <= 1e-4 * abs(a) if isinstance(a, float) else a == b


def fault(run) -> str | None:
    """What differs between the two devices."""
    try:
        made = [flat_tensors(run(d)) for d in ("cpu", "cuda")]
        lost = [i for side in made for i, x in enumerate(side) if not is_placed(x)]
        if lost:
            return f"results {lost} lie elsewhere"
        sides = map(flat, made)
        wrong = [i for i, (a, b) in enumerate(zip(*sides, strict=True)) if not equal(a, b)]
        return f"results {wrong} differ" if wrong else None
    except Exception:
        return traceback.format_exc(limit=-4)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    print(json.dumps({name: fault(run) for name, run in PROGRAMS.items()}))
