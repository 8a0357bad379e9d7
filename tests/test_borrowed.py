"""What libraries borrow: Sobol points, operators, tensors' attributes, private functions."""

import copy
import gc
import importlib

import pytest

import torchlike

torch = pytest.importorskip("torch")


def said(call):
    try:
        return repr(call())
    except Exception as error:
        return type(error).__name__, str(error)


def sobol(lib):
    Engine = lib.quasirandom.SobolEngine
    plain, mixed = Engine(2), Engine(3, scramble=True, seed=7)
    yield lambda: [plain.draw(3), plain.fast_forward(4).num_generated, plain.quasi, plain.draw(2)]
    yield lambda: plain.draw_base2(2)
    yield lambda: [mixed.draw(4), mixed.sobolstate, mixed.shift, mixed, mixed.reset().draw(1)]
    yield lambda: Engine(300).draw(9, dtype=lib.float64)[:, -4:]
    yield lambda: [Engine(2).draw_base2(2), Engine(1).draw(3, out=lib.empty(0))]
    yield lambda: [lib.manual_seed(3) and None, Engine(2, scramble=True).draw(2), lib.rand(2)]
    yield from (lambda: Engine(0), lambda: Engine(30000), lambda: Engine(2).draw(-1))


def operators(lib):
    aten, x = lib.ops.aten, lib.tensor([3.0, 1.0, 2.0])
    yield lambda: [aten.add.Tensor(x, x, alpha=2), aten.cat.default([x, x]), aten.clone(x)]
    yield lambda: [aten.sort.stable(x, stable=True, dim=0)[1], aten.sum.dim_IntList(x, [0], True)]
    yield lambda: [aten.add.Tensor is lib.ops.aten.add.Tensor, aten.add, aten.mul.Scalar]
    yield lambda: [hasattr(aten, "no_such_operator"), hasattr(aten.add, "no_such_overload")]


def attributes(lib):
    p = lib.nn.Parameter(lib.ones(2))
    yield lambda: [p.__dict__, vars(p)]

    def change():
        p.tag = 3
        p.__dict__["x"] = 1
        p.__dict__.update(y=2)
        return [p.x, p.y, p.__dict__.pop("y"), hasattr(p, "y"), p.__dict__.pop("none", 5)]

    yield change
    yield lambda: [sorted(copy.deepcopy(p.__dict__)), {**p.__dict__}, type(p)(p + 1, **{}).shape]
    yield lambda: p.__dict__.pop("none")
    yield lambda: [p.__dict__.clear(), hasattr(p, "tag"), p]


def windows(lib):
    x = lib.arange(12.0).reshape(3, 4)
    y = x[1:].detach().requires_grad_()

    def through():
        z = lib.as_strided(y, (), ())
        part = lib.as_strided(y, (3, 2), (1, 2))
        (z * 3 + (part**2).sum()).backward()
        return [z, part, y.grad, lib.as_strided(y[1], (2,), (1,)).storage_offset()]

    yield through
    yield lambda: [lib.as_strided(x[1:].detach(), (2, 2), (1, 1), 0), x]


def subclasses(lib):
    class Marked(lib.nn.Parameter):
        def __new__(cls, data, mark=None):
            made = super().__new__(cls, data)
            made.mark = mark
            return made

    yield lambda: [Marked(lib.ones(1), mark="a").mark, lib.nn.Parameter(lib.ones(1), foo=1)]


@pytest.mark.parametrize("program", [sobol, operators, attributes, windows, subclasses])
def test_says_what_pytorch_says(program):
    pairs = zip(program(torchlike), program(torch), strict=True)
    for ours, theirs in [(said(ours), said(theirs)) for ours, theirs in pairs]:
        assert ours == theirs or ours[0] == theirs[0] == "TypeError"


def borrowed(name):
    ours = importlib.import_module(f"torchlike._runner.shims.{name}")
    return (torchlike, ours), (torch, importlib.import_module(f"torch.{name}"))


def test_tensors_are_grouped_as_pytorch_groups_them():
    found = []
    for lib, module in borrowed("utils._foreach_utils"):
        first = [lib.ones(2), lib.ones(2).double(), lib.zeros(3)]
        groups = module._group_tensors_by_device_and_dtype([first, []], with_indices=True)
        optimizer = lib.optim.SGD(first, 0.1)
        optimizer._accelerator_graph_capture_health_check()
        again = optimizer._group_tensors_by_device_and_dtype([first, first])
        found.append([sorted(repr(item) for item in g.items()) for g in (groups, again)])
    assert found[0] == found[1]


def test_dictionaries_that_do_not_keep_their_keys():
    found = []
    for lib, weak in borrowed("utils.weak"):
        keys = [lib.ones(1), lib.ones(1), lib.zeros(2)]
        d = weak.WeakTensorKeyDictionary({key: i for i, key in enumerate(keys)})
        ref, twin = weak.TensorWeakRef(keys[2]), d.copy()
        said_ = [d[keys[0]], len(d), lib.ones(1) in d, 3 in d, [x is keys[2] for x in d]]
        said_ += [ref() is keys[2], d.pop(keys[1]), d.get(keys[1]), twin == d]
        del keys
        gc.collect()
        found.append([*said_, len(d), list(d), ref(), d.setdefault(lib, 5)])
    assert found[0] == found[1]


def test_a_context_decorates_generators():
    found = []
    for _, module in borrowed("utils._contextlib"):
        log = []

        class Noisy(module._NoParamDecoratorContextManager):
            def __enter__(self):
                log.append("in")  # noqa: B023

            def __exit__(self, *exc):
                log.append("out")  # noqa: B023

        @Noisy
        def count(n):
            for i in range(n):
                log.append((yield i))  # noqa: B023

        numbers = count(2)
        log += [next(numbers), numbers.send("a"), list(count(1))]
        found.append(log)
    assert found[0] == found[1]
