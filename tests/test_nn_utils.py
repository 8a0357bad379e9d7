"""nn.utils, nn.parallel, nn.attention and the newer losses against PyTorch's.

Each scenario is a function of the library; what it returns (or raises, or warns of) must be
PyTorch's.
"""

import copy
import logging
import pickle
import warnings

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")
for _name in ("attention.bias", "utils.prune", "utils.stateless"):
    pytest.importorskip(f"torch.nn.{_name}")  # PyTorch does not import them by itself


def as_torch(text: str) -> str:
    return text.replace("torchlike.", "torch.")


def plain(x):
    """Results of either library as plain Python values."""
    if isinstance(x, (torch.Tensor, torchlike.Tensor)):
        numbers = x.detach().cpu().double().numpy()
        return type(x).__name__, as_torch(str(x.dtype)), x.requires_grad, numbers
    if isinstance(x, (torch.nn.Module, torchlike.nn.Module)):
        return as_torch(repr(x)), [(k, plain(v)) for k, v in x.state_dict().items()]
    if isinstance(x, dict):
        return [(k, plain(v)) for k, v in x.items()]
    if isinstance(x, (list, tuple, set)):
        return [plain(y) for y in x]
    if isinstance(x, (torch.Size, torchlike.Size, torch.dtype, torchlike.dtype)):
        return as_torch(str(x))
    return x


def outcome(scenario, lib):
    lib.manual_seed(0)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        try:
            result = plain(scenario(lib))
        except Exception as error:
            result = (type(error).__name__, as_torch(str(error)))
    return result, [(w.category.__name__, str(w.message)[:150]) for w in found]


def same(a, b, tol, path="result"):
    """Assert that two plain values agree, arrays up to a tolerance."""
    if isinstance(a, np.ndarray):
        assert a.shape == b.shape, path
        np.testing.assert_allclose(a, b, rtol=tol, atol=tol, err_msg=path)
    elif isinstance(a, (list, tuple)):
        assert type(a) is type(b), path
        assert len(a) == len(b), f"{path}: {a} against {b}"
        for i, (x, y) in enumerate(zip(a, b, strict=True)):
            same(x, y, tol, f"{path}[{i}]")
    elif isinstance(a, float):
        assert a == pytest.approx(b, rel=tol, abs=tol), path
    else:
        assert a == b, path


SCENARIOS = []


def scenario(fn):
    SCENARIOS.append(fn)
    return fn


def errors(*calls):
    """What each call raises, as (type, text)."""
    found = []
    for call in calls:
        try:
            call()
        except Exception as error:
            found.append((type(error).__name__, as_torch(str(error))))
        else:
            found.append("did not raise")
    return found


def grads(module):
    return [(n, p.grad) for n, p in module.named_parameters()]


def inputs(lib, *shape):
    numbers = np.random.default_rng(0).normal(size=shape).astype("float32")
    return lib.tensor(numbers)


# ---- parametrize -------------------------------------------------------------------------------


def symmetric(lib):
    class Symmetric(lib.nn.Module):
        def forward(self, x):
            return x.triu() + x.triu(1).T

        def right_inverse(self, a):
            return a.triu()

    return Symmetric()


def split(lib):
    class Split(lib.nn.Module):
        def forward(self, a, b):
            return a * b

        def right_inverse(self, x):
            return x.abs(), x.sign()

    return Split()


def doubled(lib):
    class Doubled(lib.nn.Module):
        def forward(self, x):
            return 2 * x

    return Doubled()


@scenario
def registered_and_assigned(lib):
    p = lib.nn.utils.parametrize
    layer = lib.nn.Linear(3, 3)
    weight = layer.weight
    out = p.register_parametrization(layer, "weight", symmetric(lib))
    layer(inputs(lib, 2, 3)).sum().backward()
    first = [layer, layer.weight, grads(layer), out is layer]
    first.append(layer.parametrizations.weight.original is weight)
    layer.weight = inputs(lib, 3, 3)
    names = [type(layer).__name__, p.type_before_parametrizations(layer).__name__]
    asked = [p.is_parametrized(layer), p.is_parametrized(layer, "bias"),
             p.is_parametrized(lib.nn.ReLU())]  # fmt: skip
    return first, layer.weight, names, asked, [n for n, _ in layer.named_modules()]


@scenario
def several_tensors_behind_one(lib):
    p = lib.nn.utils.parametrize
    layer = lib.nn.Linear(3, 2)
    p.register_parametrization(layer, "weight", split(lib))
    p.register_parametrization(layer, "weight", doubled(lib))
    p.register_parametrization(layer, "bias", doubled(lib))
    layer(inputs(lib, 2, 3)).sum().backward()
    before = [layer, grads(layer)]
    failed = errors(
        lambda: setattr(layer, "weight", inputs(lib, 2, 3)),
        lambda: p.remove_parametrizations(layer, "weight", leave_parametrized=False),
        lambda: p.remove_parametrizations(layer, "nothing"),
    )
    p.remove_parametrizations(layer, "weight")
    still = [type(layer).__name__, layer]
    p.remove_parametrizations(layer, "bias", leave_parametrized=False)
    return before, failed, still, type(layer).__name__, layer, hasattr(layer, "parametrizations")


@scenario
def a_buffer_is_parametrized(lib):
    p = lib.nn.utils.parametrize
    layer = lib.nn.BatchNorm1d(3)
    p.register_parametrization(layer, "running_mean", doubled(lib))
    p.register_parametrization(layer, "weight", doubled(lib))
    # In evaluation: the statistics of training are written to a tensor that is computed.
    layer.eval()
    return layer(inputs(lib, 4, 3)), layer, [n for n, _ in layer.named_buffers()]


@scenario
def what_parametrizations_may_not_change(lib):
    p, nn = lib.nn.utils.parametrize, lib.nn

    def module(name, forward, inverse=None):
        body = {"forward": lambda self, *x: forward(*x)}
        if inverse is not None:
            body["right_inverse"] = lambda self, x: inverse(x)
        return type(name, (nn.Module,), body)()

    def attempt(*args, twice=False, **kwargs):
        layer = nn.Linear(3, 2)
        if twice:
            p.register_parametrization(layer, "weight", doubled(lib))
        p.register_parametrization(layer, "weight", module("M", *args), **kwargs)

    one = lib.ones(2)
    found = errors(
        lambda: attempt(lambda x: x.double()),
        lambda: attempt(lambda x: x[0]),
        lambda: attempt(lambda x: 3),
        lambda: attempt(lambda x: x, lambda x: 3),
        lambda: attempt(lambda x: x, lambda x: [one, 3]),
        lambda: attempt(lambda x: x, lambda x: x.double()),
        lambda: attempt(lambda x: x.double(), twice=True),
        lambda: attempt(lambda x: x[0], twice=True),
        lambda: attempt(lambda x: 3, twice=True),
        lambda: attempt(lambda x: x, lambda x: 3, twice=True),
        lambda: attempt(lambda x: x, lambda x: x.double(), twice=True),
        lambda: attempt(lambda x: x, lambda x: x[0], twice=True),
        lambda: p.register_parametrization(nn.Linear(2, 2), "nothing", nn.Identity()),
        lambda: p.ParametrizationList([], one),
    )
    layer = nn.Linear(3, 2)
    p.register_parametrization(layer, "weight", module("M", lambda x: x[0]), unsafe=True)
    return found, layer.weight.shape


@scenario
def caching(lib):
    p = lib.nn.utils.parametrize
    layer, calls = lib.nn.Linear(2, 2), []

    class Counted(lib.nn.Module):
        def forward(self, x):
            calls.append(1)
            return x * 2

    p.register_parametrization(layer, "weight", Counted())
    with p.cached():
        one = layer.weight
        with p.cached():
            two = layer.weight
        three = layer.weight
    return one is two is three, len(calls), layer.weight is one, len(calls)


@scenario
def copies_and_states(lib):
    p = lib.nn.utils.parametrize
    layer = p.register_parametrization(lib.nn.Linear(3, 3), "weight", symmetric(lib))
    twin = copy.deepcopy(layer)
    twin.weight = inputs(lib, 3, 3)
    other = p.register_parametrization(lib.nn.Linear(3, 3), "weight", symmetric(lib))
    report = other.load_state_dict(twin.state_dict())
    moved = p.transfer_parametrizations_and_params(layer, lib.nn.Linear(3, 3))
    failed = errors(lambda: pickle.dumps(layer))
    optimizer = lib.optim.SGD(layer.parameters(), lr=0.1)
    layer(inputs(lib, 2, 3)).square().sum().backward()
    optimizer.step()
    double = layer.double()
    return (layer, twin, other, list(report), failed, moved, double.weight.dtype,
            type(twin).__name__, [n for n, _ in double.named_parameters()])  # fmt: skip


@scenario
def recurrent_weights(lib):
    layer = lib.nn.LSTM(3, 4)
    lib.nn.utils.parametrize.register_parametrization(layer, "weight_hh_l0", doubled(lib))
    out, _ = layer(inputs(lib, 5, 2, 3))
    out.sum().backward()
    return out, grads(layer)


# ---- parametrizations --------------------------------------------------------------------------


@scenario
def weight_norms(lib):
    found = []
    for make, dim, shape in (
        (lambda: lib.nn.Linear(3, 4), 0, (2, 3)),
        (lambda: lib.nn.Linear(3, 4), None, (2, 3)),
        (lambda: lib.nn.Conv2d(2, 3, 2), 1, (1, 2, 3, 3)),
    ):
        layer = lib.nn.utils.parametrizations.weight_norm(make(), dim=dim)
        layer(inputs(lib, *shape)).square().sum().backward()
        found.append((layer, layer.weight, grads(layer)))
    old = {"bias": lib.zeros(4), "weight_g": lib.ones(4, 1), "weight_v": inputs(lib, 4, 3)}
    new = lib.nn.utils.parametrizations.weight_norm(lib.nn.Linear(3, 4))
    report = new.load_state_dict(old)
    new.weight = inputs(lib, 4, 3)
    return found, list(report), new.weight


@scenario
def spectral_norms(lib):
    found = []
    for make, shape in (
        (lambda: lib.nn.Linear(3, 4), (2, 3)),
        (lambda: lib.nn.ConvTranspose1d(2, 3, 2), (1, 2, 4)),
    ):
        layer = lib.nn.utils.parametrizations.spectral_norm(make(), n_power_iterations=2)
        for _ in range(2):
            layer(inputs(lib, *shape)).square().sum().backward()
        layer.eval()
        found.append((layer, layer.weight, grads(layer)))
    biased = lib.nn.utils.parametrizations.spectral_norm(lib.nn.Linear(2, 3), "bias")
    failed = errors(
        lambda: lib.nn.utils.parametrizations.spectral_norm(lib.nn.Linear(2, 2), "x"),
        lambda: lib.nn.utils.parametrizations.spectral_norm(lib.nn.Linear(2, 2), dim=2),
        lambda: lib.nn.utils.parametrizations.spectral_norm(
            lib.nn.Linear(2, 2), n_power_iterations=0
        ),
    )
    return found, biased.bias, failed


@scenario
def orthogonal_maps(lib):
    found = []
    orthogonal = lib.nn.utils.parametrizations.orthogonal
    for sizes, kind, trivial in (
        ((3, 3), None, True), ((3, 3), "cayley", False), ((3, 3), "householder", True),
        ((3, 4), None, True), ((4, 3), "matrix_exp", False), ((3, 4), "householder", False),
    ):  # fmt: skip
        layer = lib.nn.Linear(*sizes)
        with lib.no_grad():
            layer.weight.copy_(inputs(lib, *reversed(sizes)))
        orthogonal(layer, orthogonal_map=kind, use_trivialization=trivial)
        w = layer.weight
        found.append((w.mT @ w if w.shape[0] >= w.shape[1] else w @ w.mT, w, type(layer).__name__))
    return found


@scenario
def orthogonal_assignment_and_gradient(lib):
    layer = lib.nn.Linear(4, 4)
    with lib.no_grad():
        layer.weight.copy_(inputs(lib, 4, 4))
    lib.nn.utils.parametrizations.orthogonal(layer)
    goal = lib.linalg.qr(inputs(lib, 4, 4) + lib.eye(4)).Q
    layer.weight = goal
    (layer.weight * inputs(lib, 4, 4)).sum().backward()
    free = lib.nn.utils.parametrizations.orthogonal(
        lib.nn.Linear(3, 3), orthogonal_map="cayley", use_trivialization=False
    )
    nn = lib.nn
    failed = errors(
        lambda: setattr(layer, "weight", lib.ones(2, 2)),
        lambda: setattr(free, "weight", lib.eye(3)),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), "bias"),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), orthogonal_map="x"),
        lambda: nn.utils.parametrizations.orthogonal(nn.Linear(2, 2), "x"),
    )
    return layer.weight - goal, layer.parametrizations.weight.original.grad, failed


# ---- the hooks of before parametrizations ------------------------------------------------------


@scenario
def old_weight_norm(lib):
    u = lib.nn.utils
    layer = u.weight_norm(lib.nn.Linear(3, 4), dim=1)
    for _ in range(2):
        layer(inputs(lib, 2, 3)).square().sum().backward()
    kept = [layer, grads(layer), layer.weight]
    failed = errors(
        lambda: u.weight_norm(layer),
        lambda: u.remove_weight_norm(layer, "bias"),
        lambda: u.weight_norm(lib.nn.LazyLinear(2)),
    )
    u.remove_weight_norm(layer)
    return (
        kept,
        failed,
        layer,
        len(layer._forward_pre_hooks),
        isinstance(layer.weight, lib.nn.Parameter),
    )


@scenario
def old_spectral_norm(lib):
    u = lib.nn.utils
    layer = u.spectral_norm(lib.nn.Conv1d(2, 3, 2))
    for _ in range(3):
        layer(inputs(lib, 1, 2, 5)).square().sum().backward()
    kept = [layer, grads(layer), layer.weight, layer.state_dict()._metadata]
    failed = errors(
        lambda: u.spectral_norm(layer),
        lambda: u.remove_spectral_norm(layer, "bias"),
        lambda: u.spectral_norm(lib.nn.LazyLinear(2)),
        lambda: u.spectral_norm(lib.nn.Linear(2, 2), n_power_iterations=0),
    )
    old = layer.state_dict()  # as a version without weight_v wrote it
    old["weight"] = layer.weight.detach().clone()
    del old["weight_v"]
    old._metadata[""].pop("spectral_norm")
    fresh = u.spectral_norm(lib.nn.Conv1d(2, 3, 2))
    report = fresh.load_state_dict(old)
    fresh.eval()
    out = fresh(inputs(lib, 1, 2, 5))
    u.remove_spectral_norm(layer)
    return kept, failed, list(report), out, layer, len(layer._state_dict_hooks)


# ---- prune -------------------------------------------------------------------------------------


@scenario
def pruned_once(lib):
    prune, found = lib.nn.utils.prune, []
    for call in (
        lambda m: prune.l1_unstructured(m, "weight", 5),
        lambda m: prune.l1_unstructured(m, "weight", 0.3, inputs(lib, 4, 3)),
        lambda m: prune.ln_structured(m, "weight", 2, n=2, dim=0),
        lambda m: prune.ln_structured(m, "weight", 0.4, n=float("inf"), dim=-1),
        lambda m: prune.custom_from_mask(m, "bias", lib.tensor([0, 1, 1, 0])),
        lambda m: prune.identity(m, "weight"),
        lambda m: prune.random_unstructured(m, "weight", 3),
        lambda m: prune.random_structured(m, "weight", 1, dim=1),
        lambda m: prune.random_structured(m, "weight", 0, dim=1),
    ):
        layer = lib.nn.Linear(3, 4)
        back = call(layer) is layer
        layer(inputs(lib, 2, 3)).square().sum().backward()
        found.append((layer, grads(layer), [n for n, _ in layer.named_buffers()], back))
    return found


@scenario
def pruned_again_and_for_good(lib):
    prune = lib.nn.utils.prune
    net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.ReLU())
    layer = net[0]
    asked = [prune.is_pruned(net)]
    prune.l1_unstructured(layer, "weight", 3)
    prune.ln_structured(layer, "weight", 1, n=1, dim=0)
    prune.l1_unstructured(layer, "weight", 0.5)
    prune.random_unstructured(layer, "bias", 1)
    asked += [prune.is_pruned(net), prune.is_pruned(net[1])]
    hook = next(iter(layer._forward_pre_hooks.values()))
    chain = [type(m).__name__ for m in hook], len(hook), type(hook[1]).__name__
    masked = [net, layer.weight, net(inputs(lib, 2, 3))]
    weight = layer.weight_orig
    prune.remove(layer, "weight")
    asked += [layer.weight is weight, prune.is_pruned(net)]
    return asked, chain, masked, net, errors(lambda: prune.remove(layer, "weight"))


@scenario
def pruned_globally(lib):
    prune = lib.nn.utils.prune
    net = lib.nn.Sequential(lib.nn.Linear(3, 4), lib.nn.Linear(4, 2))
    prune.l1_unstructured(net[1], "weight", 1)
    parts = [(net[0], "weight"), (net[1], "weight")]
    prune.global_unstructured(parts, prune.L1Unstructured, amount=0.4)
    prune.global_unstructured(
        parts, prune.L1Unstructured, {(net[0], "weight"): inputs(lib, 4, 3)}, amount=2
    )
    return net, errors(
        lambda: prune.global_unstructured(3, prune.L1Unstructured, amount=1),
        lambda: prune.global_unstructured(parts, prune.L1Unstructured, [1], amount=1),
        lambda: prune.global_unstructured(parts, prune.LnStructured, amount=1, n=1),
    )


@scenario
def pruning_errors(lib):
    prune, nn = lib.nn.utils.prune, lib.nn

    class Odd(prune.BasePruningMethod):
        PRUNING_TYPE = "odd"

        def compute_mask(self, t, default_mask):
            return default_mask

    def twice():
        layer = prune.identity(nn.Linear(2, 3), "weight")
        Odd.apply(layer, "weight")

    def failing():
        layer = nn.Linear(2, 3)
        found = errors(lambda: prune.l1_unstructured(layer, "weight", 7))
        raise RuntimeError(str([found, [n for n, _ in layer.named_parameters()]]))

    def other_name():
        one, two = prune.Identity(), prune.Identity()
        one._tensor_name, two._tensor_name = "a", "b"
        prune.PruningContainer(one).add_pruning_method(two)

    return errors(
        lambda: prune.BasePruningMethod(),
        lambda: prune.l1_unstructured(nn.Linear(2, 3), "weight", "x"),
        lambda: prune.l1_unstructured(nn.Linear(2, 3), "weight", -1),
        lambda: prune.random_unstructured(nn.Linear(2, 3), "weight", 1.5),
        lambda: prune.ln_structured(nn.Linear(2, 3), "bias", 1, n=2, dim=0),
        lambda: prune.ln_structured(nn.Linear(2, 3), "weight", 1, n=2, dim=2),
        lambda: prune.random_structured(nn.Linear(2, 3), "weight", 4, dim=0),
        lambda: prune.l1_unstructured(nn.Linear(2, 3), "weight", 1, lib.ones(2)),
        lambda: prune.custom_from_mask(nn.Linear(2, 3), "weight", lib.ones(2)),
        twice, failing,
    ) + [e[0] for e in errors(other_name)]  # fmt: skip


@scenario
def pruned_without_a_module(lib):
    prune = lib.nn.utils.prune
    t = inputs(lib, 3, 4)
    mask = lib.ones(3, 4)
    mask[0] = 0
    return (
        prune.L1Unstructured(3).prune(t), prune.LnStructured(1, 2, 0).prune(t, mask),
        prune.L1Unstructured(0.5).prune(t, importance_scores=-t),
        errors(lambda: prune.L1Unstructured(3).prune(t, importance_scores=t[0])),
    )  # fmt: skip


# ---- fusion, vectors, memory -------------------------------------------------------------------


@scenario
def fused(lib):
    u, nn, found = lib.nn.utils, lib.nn, []
    for conv, bn, transpose, shape in (
        (nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3), False, (1, 2, 4, 4)),
        (nn.ConvTranspose1d(2, 3, 2, bias=False), nn.BatchNorm1d(3, affine=False), True, (1, 2, 4)),
    ):
        conv.eval()
        with lib.no_grad():
            bn(inputs(lib, *[2, 3, 4, 4][: len(shape)]))
        bn.eval()
        one = u.fuse_conv_bn_eval(conv, bn, transpose)
        x = inputs(lib, *shape)
        found.append((one, bool(((one(x) - bn(conv(x))).abs() < 1e-5).all())))
    linear, bn = nn.Linear(3, 4).eval(), nn.BatchNorm1d(4).eval()
    one = u.fuse_linear_bn_eval(linear, bn)
    bare = nn.BatchNorm1d(4, track_running_stats=False).eval()
    return (
        found,
        one,
        errors(
            lambda: u.fuse_conv_bn_eval(nn.Conv2d(2, 3, 2), nn.BatchNorm2d(3)),
            lambda: u.fuse_linear_bn_eval(nn.Linear(3, 4), bn),
            lambda: u.fuse_linear_bn_eval(linear, nn.BatchNorm1d(2).eval()),
            lambda: u.fuse_linear_bn_eval(linear, bare),
        ),
    )


@scenario
def not_initialised(lib):
    u = lib.nn.utils
    layer = u.skip_init(lib.nn.Linear, 3, 4, dtype=lib.float64)
    meta = u.skip_init(lib.nn.Linear, 3, out_features=4, device="meta")
    text = [str(layer.weight.device), layer.weight.dtype, layer.weight.shape, str(meta.bias.device)]
    return text, errors(lambda: u.skip_init(lib.nn.ReLU), lambda: u.skip_init(lib.Tensor))


@scenario
def weights_in_another_memory_format(lib):
    u, nn = lib.nn.utils, lib.nn
    net = nn.Sequential(nn.Conv2d(2, 3, 2), nn.ConvTranspose2d(3, 2, 2), nn.Conv1d(2, 2, 2))
    u.convert_conv2d_weight_memory_format(net, lib.channels_last)
    solid = u.convert_conv3d_weight_memory_format(nn.Conv3d(2, 3, 2), lib.channels_last_3d)
    return [m.weight.stride() for m in net], solid.weight.stride(), net(inputs(lib, 2, 2, 4, 4)[:1])


@scenario
def gradients_of_convolutions(lib):
    found = []
    for rank, size in ((1, (2, 4, 9)), (2, (2, 4, 7, 8)), (3, (1, 4, 5, 6, 5))):
        for kw in ({"stride": 2, "padding": 1}, {"dilation": 2, "groups": 2, "padding": 2}):
            x = inputs(lib, *size)
            w = inputs(lib, 6, 4 // kw.get("groups", 1), *[3] * rank).requires_grad_()
            g = inputs(lib, *getattr(lib.nn.functional, f"conv{rank}d")(x, w, **kw).shape)
            by_input = getattr(lib.nn.grad, f"conv{rank}d_input")(x.shape, w, g, **kw)
            by_input.square().mean().backward()
            by_weight = getattr(lib.nn.functional.grad, f"conv{rank}d_weight")
            found += [by_input, w.grad, by_weight(x, w.shape, g, **kw)]
    with lib.no_grad():
        found.append(lib.nn.grad.conv3d_input(x.shape, w, g, **kw))
    return found


@scenario
def stateless_call(lib):
    layer = lib.nn.Linear(2, 2)
    state = {"weight": lib.ones(2, 2), "bias": lib.zeros(2)}
    with lib.nn.utils.stateless._reparametrize_module(layer, {"weight": lib.ones(2, 2) * 3}):
        layer.bias.detach().zero_()
        within = layer(inputs(lib, 3, 2))
    return (
        lib.nn.utils.stateless.functional_call(layer, state, inputs(lib, 3, 2)),
        within, lib.tensor(layer.weight.requires_grad),
    )  # fmt: skip


# ---- newer losses ------------------------------------------------------------------------------


def adaptive(lib):
    layer = lib.nn.AdaptiveLogSoftmaxWithLoss(8, 20, [5, 10, 15], div_value=2.0, head_bias=True)
    numbers = np.random.default_rng(1)
    with lib.no_grad():
        for p in layer.parameters():
            p.copy_(lib.tensor(numbers.normal(size=tuple(p.shape)).astype("float32")))
    return layer


@scenario
def adaptive_softmax(lib):
    layer = adaptive(lib)
    x = inputs(lib, 7, 8).requires_grad_()
    out, loss = layer(x, lib.tensor([0, 17, 6, 12, 4, 19, 16]))
    loss.backward()
    one = layer(inputs(lib, 8), lib.tensor(3))
    only_head = layer(inputs(lib, 2, 8), lib.tensor([0, 1]))
    return (
        layer,
        out,
        loss,
        x.grad,
        grads(layer),
        layer.log_prob(x),
        layer.predict(x),
        one,
        only_head,
    )


@scenario
def adaptive_softmax_errors(lib):
    make, x = lib.nn.AdaptiveLogSoftmaxWithLoss, inputs(lib, 2, 8)
    layer = adaptive(lib)
    return errors(
        lambda: make(8, 20, []),
        lambda: make(8, 20, [5, 5]),
        lambda: make(8, 20, [10, 5]),
        lambda: make(8, 20, [5, 20]),
        lambda: make(8, 20, [0, 5]),
        lambda: make(8, 20, [2.5]),
        lambda: layer(x, lib.tensor([1, 20])),
        lambda: layer(x, lib.tensor([1])),
        lambda: layer(x, lib.tensor([[1], [2]])),
    ) + [e[0] for e in errors(lambda: layer(x[0], lib.tensor([1] * 8)))]


@scenario
def linear_cross_entropies(lib):
    loss, options = lib.nn.functional.linear_cross_entropy, lib.nn.LinearCrossEntropyOptions
    numbers, found = inputs(lib, 6, 5), []
    classes = lib.tensor([0, 3, 2, 1, 3, 0])
    weight = lib.tensor([0.5, 1.0, 2.0, 0.1])
    soft = inputs(lib, 6, 4).softmax(1)
    deep = lib.tensor([[0, 1], [2, 3], [1, 1], [0, 0], [3, 2], [2, 2]])
    for target, shape, kwargs in (
        (classes, (4, 5), {}),
        (classes, (4, 5), {"reduction": "none", "options": options()}),
        (
            classes,
            (4, 5),
            {"reduction": "sum", "linear_bias": weight, "options": options(batch_chunk_size=4)},
        ),
        (
            classes,
            (4, 5),
            {"weight": weight, "ignore_index": 3, "options": options(batch_chunk_size=2)},
        ),
        (classes, (4, 5), {"label_smoothing": 0.1, "options": options()}),
        (soft, (4, 5), {}),
        (deep, (4, 2, 5), {"linear_bias": inputs(lib, 4, 2)}),
    ):
        x = numbers.clone().requires_grad_()
        w = inputs(lib, *shape).requires_grad_()
        out = loss(x, w, target, **kwargs)
        out.sum().backward()
        found.append((out, x.grad, w.grad))
    w = inputs(lib, 4, 5)
    return (
        found,
        loss(numbers[0], w, classes[0]),
        loss(numbers[0], w, classes[0], options=options(), reduction="none"),
    )


@scenario
def linear_cross_entropy_errors(lib):
    loss, options = lib.nn.functional.linear_cross_entropy, lib.nn.LinearCrossEntropyOptions
    x, w, t = inputs(lib, 3, 5), inputs(lib, 4, 5), lib.tensor([0, 1, 2])
    return errors(
        lambda: loss(inputs(lib, 2, 3, 5), w, t),
        lambda: loss(x, w[0], t),
        lambda: loss(x, w[:, :4], t),
        lambda: loss(x[0], inputs(lib, 4, 2, 5), t[:2]),
        lambda: loss(x, w, t, linear_bias=lib.ones(3)),
        lambda: loss(x, w, lib.ones(3, 4), ignore_index=1),
        lambda: loss(x, w, t[:2]),
        lambda: loss(x, w, t, weight=lib.ones(3)),
        lambda: loss(x, w, t.float()),
        lambda: options(batch_chunk_size=0),
        lambda: options(chunking_method="x"),
        lambda: options(acc_policy="x"),
        lambda: options(acc_dtype=lib.int64),
        lambda: lib.nn.LinearCrossEntropyLoss(3, 2, label_smoothing=2.0),
        lambda: lib.nn.LinearCrossEntropyLoss(3, 2, weight=lib.ones(3)),
    )


@scenario
def linear_cross_entropy_layer(lib):
    nn = lib.nn
    layer = nn.LinearCrossEntropyLoss(5, 4, out_features=(2,), bias=True)
    x, t = inputs(lib, 3, 5), lib.tensor([[0, 1], [2, 3], [1, 1]])
    out = layer(x, t)
    out.backward()
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=2)
    weighted = nn.LinearCrossEntropyLoss(5, 4, weight=lib.ones(4), options=options)
    return (
        layer,
        out,
        grads(layer),
        weighted,
        weighted(x, t[:, 0]),
        options == type(options)(batch_chunk_size=2),
    )


# ---- grouped and scaled products ---------------------------------------------------------------


@scenario
def grouped_products(lib):
    mm, ends = lib.nn.functional.grouped_mm, lib.tensor([3, 8], dtype=lib.int32)
    found = []
    for a, b, offs in (((2, 8, 16), (2, 16, 8), None), ((8, 16), (2, 16, 8), ends),
                       ((2, 8, 16), (16, 8), ends), ((8, 8), (8, 16), ends)):  # fmt: skip
        x, y = inputs(lib, *a).requires_grad_(), inputs(lib, *b).requires_grad_()
        out = mm(x, y, offs=offs)
        out.sin().sum().backward()
        found.append((out, x.grad, y.grad))
    half = mm(inputs(lib, 2, 8, 16).bfloat16(), inputs(lib, 2, 16, 8).bfloat16()).dtype
    a, b = inputs(lib, 8, 16), inputs(lib, 2, 16, 8)
    return (
        found,
        half,
        errors(
            lambda: mm(a, b),
            lambda: mm(b, b.mT, offs=ends),
            lambda: mm(a, b, offs=ends.long()),
            lambda: mm(a, b, offs=ends[None]),
            lambda: mm(a, b[:1], offs=ends),
            lambda: mm(a[0], b, offs=ends),
            lambda: mm(b, b[:1].mT),
            lambda: mm(b, b),
            lambda: mm(b.double(), b.double().mT),
            lambda: mm(b, b.mT, bias=lib.ones(8)),
            lambda: mm(b, b.mT, out_dtype=lib.bfloat16),
        ),
    )


@scenario
def scaled_products(lib):
    F = lib.nn.functional
    a = inputs(lib, 16, 32).to(lib.float8_e4m3fn)
    b = inputs(lib, 16, 32).to(lib.float8_e4m3fn).t()
    one, tensor, row = lib.tensor(2.0), F.ScalingType.TensorWise, F.ScalingType.RowWise
    rows, columns = inputs(lib, 16, 1), inputs(lib, 1, 16)
    found = [
        F.scaled_mm(a, b, one, tensor, one, tensor),
        F.scaled_mm(a, b, one, tensor, one, tensor, output_dtype=lib.float32),
        F.scaled_mm(a, b, [rows], [row], columns, row, output_dtype=lib.float32),
    ]
    wrong = errors(
        lambda: F.scaled_mm(a.float(), b.float(), one, tensor, one, tensor),
    )
    return found, [(kind, text[:29]) for kind, text in wrong]


# ---- attention and parallel --------------------------------------------------------------------


@scenario
def attention_backends(lib):
    a, q = lib.nn.attention, inputs(lib, 1, 2, 3, 4)

    def under(*args, **kwargs):
        with a.sdpa_kernel(*args, **kwargs):
            return lib.nn.functional.scaled_dot_product_attention(q, q, q)

    b = a.SDPBackend
    names = [(m.name, int(m)) for m in b.__members__.values()]
    found = [under(b.MATH), under([b.FLASH_ATTENTION, b.MATH], set_priority=True)]
    failed = errors(
        lambda: under([]), lambda: under(b.EFFICIENT_ATTENTION), lambda: under(3),
        lambda: under((b.MATH,)), lambda: under(b.ERROR),
    )  # fmt: skip
    switches = lib.backends.cuda
    for chosen in (b.MATH, [b.FLASH_ATTENTION, b.MATH]):
        with a.sdpa_kernel(chosen):
            found.append((switches.flash_sdp_enabled(), switches.math_sdp_enabled()))
    found.append(switches.flash_sdp_enabled())
    attend = lib.nn.functional.scaled_dot_product_attention
    with a.sdpa_kernel(b.FLASH_ATTENTION), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # PyTorch says there why not
        failed += errors(lambda: attend(q[0], q[0], q[0]), lambda: attend(q, q, q, None, 0.5))
        found.append(attend(q, q, q))
    return names, repr(b.MATH), str(b.MATH), found, failed


@scenario
def causal_biases(lib):
    bias, F = lib.nn.attention.bias, lib.nn.functional
    q, k = inputs(lib, 1, 1, 2, 4), inputs(lib, 1, 1, 3, 4)
    right, left = bias.causal_lower_right(2, 3), bias.causal_upper_left(2, 3)
    tall = bias.causal_lower_right(3, 2)
    return (
        repr(right), repr(left), right.variant, left.seq_len_kv,
        F.scaled_dot_product_attention(q, k, k, right),
        F.scaled_dot_product_attention(q, k, k, left),
        F.scaled_dot_product_attention(k, q, q, tall),
        errors(lambda: bias.causal_lower_right(2), lambda: bias.CausalBias(3, 2, 2)),
        [e[0] for e in errors(lambda: F.scaled_dot_product_attention(q, q, q, right))],
    )  # fmt: skip


@scenario
def flash_implementations(lib):
    a, calls = lib.nn.attention, []

    class Handle:
        def remove(self):
            calls.append("removed")

    logging.disable(logging.WARNING)
    try:
        a.register_flash_attention_impl("silent", register_fn=lambda: calls.append("silent"))
        a.register_flash_attention_impl("mine", register_fn=Handle)
        found = [a.list_flash_attention_impls(), a.current_flash_attention_impl()]
        for name in ("silent", "mine", "mine"):
            a.activate_flash_attention_impl(name)
            found.append(a.current_flash_attention_impl())
        failed = errors(lambda: a.activate_flash_attention_impl("none"))
        a.restore_flash_attention_impl()
        a.restore_flash_attention_impl()
    finally:
        logging.disable(logging.NOTSET)
    return found, a.current_flash_attention_impl(), calls, failed


@scenario
def data_parallel_without_accelerator(lib):
    nn = lib.nn
    layer, x = nn.Linear(3, 2), inputs(lib, 4, 3)
    model = nn.DataParallel(layer, device_ids=[0])
    model(x).sum().backward()
    found = model, grads(model), model.device_ids, nn.DataParallel is nn.parallel.DataParallel
    return (
        found,
        nn.parallel.scatter([1, {"a": "b"}], [0, 1]),
        errors(
            lambda: nn.parallel.data_parallel(layer, x),
            lambda: nn.parallel.replicate(layer, ["cpu"]),
            lambda: nn.parallel.replicate(layer, [0]),
            lambda: nn.parallel.scatter(x, ["cpu"]),
            lambda: nn.parallel.gather([x, x], "cpu"),
            lambda: nn.parallel.parallel_apply([layer], [x]),
            lambda: nn.parallel.parallel_apply([layer], [x, x]),
            lambda: nn.parallel.DistributedDataParallel(layer),
        ),
    )


# ---- running them ------------------------------------------------------------------------------

TOLERANCE = {"grouped_products": 1e-4, "orthogonal_maps": 1e-4}


CPU_ORACLE = {data_parallel_without_accelerator: pytest.mark.cpu_oracle}
NAMED = [pytest.param(s, marks=CPU_ORACLE.get(s, ()), id=s.__name__) for s in SCENARIOS]


@pytest.mark.parametrize("scenario", NAMED)
def test_as_pytorch(scenario):
    mine, warned = outcome(scenario, torchlike)
    theirs, expected = outcome(scenario, torch)
    same(mine, theirs, TOLERANCE.get(scenario.__name__, 2e-5))
    assert warned == expected
