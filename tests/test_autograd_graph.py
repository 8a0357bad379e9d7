"""torch.autograd.graph and its neighbours, against real torch."""

import warnings

import numpy as np
import pytest

import torchlike as T

torch = pytest.importorskip("torch")

SIDES = [T, torch]


def both(run):
    """What a function gives on both sides, as plain Python values."""
    return [run(t) for t in SIDES]


# ---- hooks on saved tensors --------------------------------------------------------------------

EXPRESSIONS = [
    "(x * y).sum()", "x.exp().sum()", "(x @ y.t()).sigmoid().sum()", "x.relu().sum()",
    "(x + y).sum()",
    "(x * 3).sin().sum()", "(x / y).sum()", "t.nn.functional.gelu(x).tanh().sum()",
    "t.nn.functional.softmax(x, -1).max()", "x[0].sqrt().sum()", "x.pow(3).sum()",
]  # fmt: skip


@pytest.mark.parametrize("text", EXPRESSIONS)
def test_pack_sees_what_pytorch_saves(text):
    def run(t):
        seen = []

        def pack(z):
            seen.append((tuple(z.shape), z.requires_grad, z.is_leaf))
            return z.detach() * 2

        x = t.linspace(0.1, 1, 6).reshape(2, 3).requires_grad_()
        y = t.linspace(1, 2, 6).reshape(2, 3).requires_grad_()
        with t.autograd.graph.saved_tensors_hooks(pack, lambda z: z / 2):
            out = eval(text)
        out.backward()
        return seen, x.grad.numpy(), None if y.grad is None else y.grad.numpy()

    (seen, *ours), (real, *theirs) = both(run)
    assert sorted(seen) == sorted(real)
    for a, b in zip(ours, theirs, strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            np.testing.assert_allclose(a, b, rtol=1e-5)


def test_hooks_hold_the_only_copy_and_the_innermost_is_asked():
    def run(t):
        log = []

        def hooks(name):
            return t.autograd.graph.saved_tensors_hooks(
                lambda z: (log.append("pack " + name), z)[1],
                lambda z: (log.append("unpack " + name), z)[1],
            )

        x = t.ones(2, requires_grad=True)
        with hooks("outer"):
            y = x.sin()
            with hooks("inner"):
                y = y.exp()
        z = y.cos().sum()
        z.backward(retain_graph=True)
        z.backward()
        return log, x.grad.tolist()

    ours, theirs = both(run)
    assert ours[0] == theirs[0]
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)


def test_save_on_cpu_and_functions():
    def run(t):
        class Cube(t.autograd.Function):
            @staticmethod
            def forward(ctx, x):
                ctx.save_for_backward(x)
                return x**3

            @staticmethod
            def backward(ctx, g):
                (x,) = ctx.saved_tensors
                return 3 * x**2 * g

        count = []
        x = t.tensor([1.0, 2.0], requires_grad=True)
        with t.autograd.graph.saved_tensors_hooks(lambda z: count.append(0) or z, lambda z: z):
            y = Cube.apply(x)
        with t.autograd.graph.save_on_cpu():
            z = (y * y).sum()
        z.backward()
        return len(count), x.grad.tolist()

    assert both(run)[0] == both(run)[1]


@pytest.mark.parametrize(
    ("pack", "unpack", "error"),
    [
        (lambda t: lambda z: z.mul_(2), lambda t: lambda z: z, RuntimeError),
        (lambda t: lambda z: z, lambda t: lambda z: 3, TypeError),
        (lambda t: lambda z: z, lambda t: lambda z: t.ones(7), RuntimeError),
    ],
)
def test_hooks_that_misbehave(pack, unpack, error):
    for t in SIDES:
        x = t.ones(2, requires_grad=True)
        with pytest.raises(error):
            with t.autograd.graph.saved_tensors_hooks(pack(t), unpack(t)):
                y = (x * 1).sin().sum()
            y.backward()


def test_hooks_may_be_forbidden():
    for t in SIDES:
        with t.autograd.graph.disable_saved_tensors_hooks("not here"):
            with pytest.raises(RuntimeError, match="not here"):
                t.autograd.graph.saved_tensors_hooks(abs, abs).__enter__()
            t.ones(2, requires_grad=True).sin().sum().backward()


def test_mutation_of_saved_tensors():
    def run(t):
        x = t.ones(3, requires_grad=True)
        with t.autograd.graph.allow_mutation_on_saved_tensors():
            y = x * 2
            z = y.sin()
            y.add_(5)
            z.sum().backward()
        return x.grad.tolist()

    ours, theirs = both(run)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
    x = T.ones(3, requires_grad=True)
    y = x * 2
    z = y.sin()
    T.autograd.graph.increment_version(y)
    assert y._version == 1
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        z.sum().backward()


# ---- nodes and edges ---------------------------------------------------------------------------


def test_nodes():
    def run(t):
        x = t.ones(2, 2, requires_grad=True)
        node = (x * 2).sum().grad_fn
        (below, index), *_ = node.next_functions
        leaf = below.next_functions[0][0]
        node.metadata["note"] = 1
        kinds = [isinstance(n, t.autograd.graph.Node) for n in (node, below, leaf, x)]
        return (
            node.name(), below.name(), index, leaf.name(), leaf.variable is x, kinds, node.metadata,
            node.requires_grad, type(node).__name__,
        )  # fmt: skip

    assert both(run)[0] == both(run)[1]


def test_hooks_of_nodes():
    def run(t):
        log = []
        x = t.ones(2, requires_grad=True)
        y = x * 3
        z = y * y
        z.grad_fn.register_prehook(lambda g: log.append(("pre", g[0].tolist())))
        z.grad_fn.register_hook(lambda i, o: log.append(("post", len(i), o[0].tolist())))
        leaf = y.grad_fn.next_functions[0][0]
        leaf.register_prehook(lambda g: log.append(("leaf", g[0].tolist())))
        z.sum().backward()
        return log

    assert both(run)[0] == both(run)[1]


@pytest.mark.parametrize("op", ["mul", "div", "pow", "atan2"])
def test_the_other_operand_is_saved_first(op):
    def run(t):
        x, y, seen = *(t.full((2,), n, requires_grad=True) for n in (2.0, 3.0)), []
        with t.autograd.graph.saved_tensors_hooks(lambda v: (seen.append(v.tolist()), v)[1], id):
            getattr(t, op)(x, y)
        return seen[:2]

    assert both(run)[0] == both(run)[1]


def test_what_nodes_have_saved():
    def run(t):
        x = t.tensor([0.5, 1.0], requires_grad=True)
        y = x.exp()
        node = x.sin().grad_fn
        out = [node._saved_self is x, y.grad_fn._saved_result.tolist(), x.sum(0).grad_fn._saved_dim]
        z = (x * 1).sin()
        z.grad_fn._raw_saved_self.register_hooks(lambda v: v * 10, lambda v: v / 10)
        z.sum().backward()
        out.append(x.grad.tolist())
        with pytest.raises(AttributeError):
            _ = node._saved_nothing
        with pytest.raises(RuntimeError, match="a second time"):
            _ = z.grad_fn._saved_self
        return out

    ours, theirs = both(run)
    assert ours[0] is theirs[0] is True and ours[2] in (0, (0,))
    np.testing.assert_allclose(ours[1], theirs[1], rtol=1e-6)
    np.testing.assert_allclose(ours[3], theirs[3], rtol=1e-6)


def test_gradient_edges():
    def run(t):
        edge = t.autograd.graph.get_gradient_edge
        x = t.ones(2, requires_grad=True)
        y = x * 2
        z = y.sum()
        at_y, at_x, at_z = edge(y), edge(x), edge(z)
        assert isinstance(at_y.node, t.autograd.graph.Node) and at_y.output_nr == 0
        (g,) = t.autograd.grad(z, at_y, retain_graph=True)
        (h,) = t.autograd.grad(at_z, [at_x], retain_graph=True)
        named = t.autograd.grad(z, {"x": x, "y": y}, retain_graph=True)
        t.autograd.backward(at_z, inputs=[x])
        with pytest.raises(RuntimeError, match="does not require gradients"):
            edge(t.ones(2))
        return g.tolist(), h.tolist(), {k: v.tolist() for k, v in named.items()}, x.grad.tolist()

    assert both(run)[0] == both(run)[1]


@pytest.mark.parametrize("mode", ["all", "any"])
def test_hooks_on_several_tensors(mode):
    def run(t):
        log = []
        a, b, c = (t.full((2,), v, requires_grad=True) for v in (1.0, 2.0, 3.0))
        p = a * b
        q = b * c

        def hook(grads):
            grads = grads if mode == "all" else [grads]
            log.append([g is not None and len(g) for g in grads])

        handle = t.autograd.graph.register_multi_grad_hook((p, q, a), hook, mode=mode)
        (p + q).sum().backward(retain_graph=True)
        p.sum().backward(retain_graph=True)
        t.autograd.grad((p + q).sum(), p, retain_graph=True)
        handle.remove()
        (p + q).sum().backward()
        return log

    assert both(run)[0] == both(run)[1]
    with pytest.raises(ValueError, match="Expects mode"):
        T.autograd.graph.register_multi_grad_hook([], len, mode="x")


# ---- autograd.Function: what it returns --------------------------------------------------------


def _functions(t):
    class Tripled(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_dirty(x)
            return x.mul_(3)

        @staticmethod
        def backward(ctx, g):
            return g * 3

    class Same(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x

        @staticmethod
        def backward(ctx, g):
            return g * 2

    class Flat(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.shape = x.shape
            return x.view(-1)

        @staticmethod
        def backward(ctx, g):
            return g.view(ctx.shape) * 2

    class Constant(t.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.mark_non_differentiable(x)
            return x

        @staticmethod
        def backward(ctx, g):
            return g

    return {"Tripled": Tripled, "Same": Same, "Flat": Flat, "Constant": Constant}


FUNCTION_PROGRAMS = {
    "a dirty leaf": ["y = Tripled.apply(w)"],
    "a dirty view of a leaf": ["y = Tripled.apply(w[0])"],
    "a dirty view": [
        "x = w * 2", "v = x[0]", "y = Tripled.apply(v)", "log.append(y is v)",
        "(x * x).sum().backward()",
    ],
    "a dirty result, transposed without grad": [
        "x = w * 2", "y = Tripled.apply(x)", "with t.no_grad(): y.t_()", "log.append(x.is_leaf)",
        "y.sum().backward()",
    ],
    "dirty without grad": [
        "x = t.ones(2)", "y = Tripled.apply(x)", "log.append(y is x)",
        "with t.no_grad(): y = Tripled.apply(w)", "log.append(y.requires_grad)",
    ],
    "a result that is the argument": [
        "x = w * 1", "y = Same.apply(x)", "log.append(y is x)", "y.add_(1)", "y[0] = 1.0",
        "with t.no_grad(): y.add_(1)", "log.append(x)",
    ],
    "its memory is overwritten": [
        "x = w * 1", "y = Same.apply(x)", "x.add_(1)", "y.sum().backward()",
    ],
    "its memory is overwritten, seen without grad": [
        "x = w * 1", "y = Flat.apply(x)", "x.add_(1)", "with t.no_grad(): log.append(y * 1)",
        "(y * 1).sum().backward()",
    ],
    "a result that is a view": [
        "x = w * 1", "y = Flat.apply(x)", "y.mul_(2)", "v = y[:2]", "v.mul_(2)",
        "y.sum().backward()",
    ],
    "untracked": [
        "with t.no_grad(): y = Same.apply(w)", "log.append(y is w)", "log.append(y.requires_grad)",
    ],
    "a constant": [
        "x = w * 1", "y = Constant.apply(x)", "log.append(y is x)", "log.append(y.requires_grad)",
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTION_PROGRAMS)
def test_what_functions_return(name):
    def run(t):
        names = {"t": t, "log": [], "w": t.arange(4.0).reshape(2, 2).clone().requires_grad_()}
        names |= _functions(t)
        for statement in FUNCTION_PROGRAMS[name]:
            try:
                exec(statement, names)
            except RuntimeError as error:
                names["log"].append(str(error)[-60:])
        grad = names["w"].grad
        log = [x.tolist() if hasattr(x, "tolist") else x for x in names["log"]]
        return log, names["w"].tolist(), None if grad is None else grad.tolist()

    assert both(run)[0] == both(run)[1]


@pytest.mark.parametrize(
    "text",
    ["x.unique()", "x.unique(dim=0)", "t.unique_consecutive(x)", "x.histogram(3)[0]",
     "t.bincount(t.tensor([0, 1, 1, 0]), x)", "t.histogramdd(x.view(-1, 1), [2])[0]"],
)  # fmt: skip
def test_what_is_counted_on_the_host_has_no_derivative(text):
    """And says so: a loss with such a term would train on a part of itself."""

    def run(t):
        x = t.tensor([0.5, -1.0, 2.0, 0.5], requires_grad=True)
        out = eval(text)
        with pytest.raises(RuntimeError, match="is not implemented"):
            (out.sum() + x.sum()).backward()
        return out.tolist(), out.requires_grad

    assert both(run)[0] == both(run)[1]


# ---- the rest of torch.autograd ----------------------------------------------------------------


def test_old_names():
    def run(t):
        x = t.ones(2)
        v = t.autograd.Variable(x, requires_grad=True)
        with pytest.raises(RuntimeError, match="is deprecated"):
            t.autograd.variable(1)
        with pytest.raises(TypeError, match="has to be a tensor"):
            t.autograd.Variable([1])
        with pytest.warns(UserWarning, match="volatile was removed and now has no effect"):
            t.autograd.Variable(x, volatile=True)
        with pytest.warns(UserWarning), pytest.raises(ValueError, match="can't be volatile and"):
            t.autograd.Variable(x, requires_grad=True, volatile=True)
        with pytest.warns(FutureWarning, match="grad_variables"):
            t.autograd.backward(v * 2, grad_variables=t.ones(2))
        with t.autograd.set_multithreading_enabled(False):
            pass
        with t.autograd.enforce_grad_layout_policy(False):
            pass
        return isinstance(x, t.autograd.Variable), v.requires_grad, v.is_leaf, v.grad.tolist()

    with warnings.catch_warnings():
        warnings.simplefilter("always")
        assert both(run)[0] == both(run)[1]


def test_what_is_not_supported_says_so():
    with pytest.raises(T.NotSupported, match="checkpoint"):
        T.autograd.graph.region_activation_memory_budget(0.5)
    with pytest.raises(T.NotSupported, match="pass the tensors"):
        T.autograd.NestedIOFunction.apply(1)
