"""State dicts of every module and every optimizer, through .pt files, from and to PyTorch."""

import io
import warnings

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")

BOTH = (torch, torchlike)
WAYS = pytest.mark.parametrize(
    ("source", "target"), [(torch, torchlike), (torchlike, torch)], ids=["read", "written"]
)
A_CLASS = 3  # constructors of a class that are tried: first the plainest


def through_file(source, target, obj, weights_only=True):
    file = io.BytesIO()
    source.save(obj, file)
    file.seek(0)
    return target.load(file, weights_only=weights_only)


def ours(x):
    """A constructor's argument for torchlike."""
    if isinstance(x, torch.Tensor):
        return torchlike.tensor(x.detach().numpy())
    if isinstance(x, torch.dtype):
        return getattr(torchlike, str(x).removeprefix("torch."))
    if isinstance(x, torch.nn.TransformerEncoderLayer):
        norm = x.norm1
        return torchlike.nn.TransformerEncoderLayer(
            norm.normalized_shape[0], x.self_attn.num_heads, x.linear1.out_features,
            bias=norm.bias is not None,
        )  # fmt: skip
    if callable(x):
        return getattr(torchlike.nn.functional, x.__name__)
    if isinstance(x, (tuple, list)):
        return type(x)(map(ours, x))
    return x


def every_module():
    """[(name, their module, ours)] for all of PyTorch's database of modules that have a state."""
    from torch.testing._internal.common_modules import module_db

    found = []
    for info in module_db:
        kind = getattr(torchlike.nn, info.module_cls.__name__, None)
        if kind is None:
            continue  # quantized ones, which are elsewhere
        inputs = info.module_inputs_func(
            info, device="cpu", dtype=torch.float32, requires_grad=False, training=True
        )
        done = []
        for given in (i.constructor_input for i in inputs):
            key = repr((given.args, given.kwargs))
            if key in done or len(done) == A_CLASS:
                continue
            done.append(key)
            theirs = info.module_cls(*given.args, **given.kwargs)
            if theirs.state_dict():
                kwargs = {k: ours(x) for k, x in given.kwargs.items()}
                found.append((f"{info.name} {key}", theirs, kind(*map(ours, given.args), **kwargs)))
    return found


@pytest.fixture(scope="module")
def modules():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # constructors that PyTorch advises against
        return every_module()


def fill(lib, module, seed):
    """Numbers that no constructor gives, in whatever dtypes the module has."""
    rng = np.random.default_rng(seed)
    with lib.no_grad():
        for t in module.state_dict().values():
            if isinstance(t, lib.Tensor) and not is_lazy(t):
                t.copy_(lib.tensor(rng.integers(0, 9, tuple(t.shape))))


def is_lazy(t):
    return "Uninitialized" in type(t).__name__


@WAYS
def test_every_module(modules, source, target):
    sides = [(pair if source is torch else pair[::-1]) for _, *pair in modules]
    assert len({type(a).__name__ for a, _ in sides}) >= 40
    for seed, (module, _) in enumerate(sides):
        fill(source, module, seed)
    states = [module.state_dict() for module, _ in sides]
    lazy = [any(map(is_lazy, state.values())) for state in states]
    read = [
        iter(
            through_file(
                source,
                target,
                [s for s, x in zip(states, lazy, strict=True) if x is kind],
                weights_only=not kind,
            )
        )
        for kind in (False, True)
    ]  # PyTorch refuses parameters without a shape otherwise
    for (name, *_), (module, other), kind in zip(modules, sides, lazy, strict=True):
        state = next(read[kind])
        missing = other.load_state_dict(state)
        assert str(missing) == "<All keys matched successfully>", name
        expected, found = module.state_dict(), other.state_dict()
        assert list(found) == list(expected), name
        assert found._metadata == expected._metadata, name
        for key, t in found.items():
            if isinstance(t, target.Tensor) and not is_lazy(t):
                assert np.array_equal(t.numpy(), expected[key].numpy()), (name, key)
                assert str(t.dtype) == str(expected[key].dtype), (name, key)


OPTIMIZERS = {
    "Adadelta": {}, "Adafactor": {}, "Adagrad": {}, "Adam": {"amsgrad": True}, "AdamW": {},
    "Adamax": {}, "ASGD": {}, "LBFGS": {}, "Muon": {}, "NAdam": {}, "RAdam": {},
    "RMSprop": {"momentum": 0.5, "centered": True}, "Rprop": {}, "SGD": {"momentum": 0.9},
    "SparseAdam": {},
}  # fmt: skip


def stepped(lib, name, params, optimizer, first, steps=2):
    for k in range(first, first + steps):

        def loss(k=k):
            optimizer.zero_grad()
            if name == "SparseAdam":
                index = lib.tensor([k % 3, 1])
                out = (lib.nn.functional.embedding(index, params[0], sparse=True) ** 2).sum()
            else:
                out = sum((lib.sin(p + k) ** 2).sum() for p in params)
            out.backward()
            return out

        if name == "LBFGS":
            optimizer.step(loss)
        else:
            loss()
            optimizer.step()


def begin(lib, name, numbers=None):
    rng = np.random.default_rng(0)
    numbers = (
        [rng.standard_normal((3, 4)), rng.standard_normal((2, 2))] if numbers is None else numbers
    )
    params = [lib.tensor(x.astype("float32"), requires_grad=True) for x in numbers]
    return params, getattr(lib.optim, name)(params[: 1 if name == "SparseAdam" else 2],
                                            lr=0.01, **OPTIMIZERS[name])  # fmt: skip


def test_there_is_no_other_optimizer():
    kinds = {n for n, k in vars(torch.optim).items()
             if isinstance(k, type) and issubclass(k, torch.optim.Optimizer)}  # fmt: skip
    assert kinds - {"Optimizer"} == set(OPTIMIZERS)


@WAYS
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer(name, source, target):
    """A run goes on in the other library, from the file, as it goes on here."""
    params, optimizer = begin(source, name)
    stepped(source, name, params, optimizer, 0)
    state = through_file(source, target, optimizer.state_dict())
    others, other = begin(target, name, [p.detach().numpy() for p in params])
    other.load_state_dict(state)
    expected, found = optimizer.state_dict(), other.state_dict()
    assert list(found["state"]) == list(expected["state"])
    for number, slot in expected["state"].items():
        assert list(found["state"][number]) == list(slot)
    assert [sorted(g) for g in found["param_groups"]] == [
        sorted(g) for g in expected["param_groups"]
    ]
    stepped(source, name, params, optimizer, 2)
    stepped(target, name, others, other, 2)
    for a, b in zip(others, params, strict=True):
        np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-5, atol=2e-6)
