"""torch.func against PyTorch: transforms, their compositions, modules as functions, errors."""

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")

# PyTorch's forward mode compiles decompositions when first used, and warns of its own compiler.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Attempted to insert a get_attr Node"),
]


def leaves(tree):
    if isinstance(tree, (list, tuple)):
        return [x for part in tree for x in leaves(part)]
    if isinstance(tree, dict):
        return [x for key in tree for x in [key, *leaves(tree[key])]]
    return [tree]


def same(program, tol=1e-4):
    """Run a program with both; compare values, shapes, dtypes and requires_grad."""
    ours, theirs = leaves(program(torchlike)), leaves(program(torch))
    assert len(ours) == len(theirs)
    for x, y in zip(ours, theirs, strict=True):
        if not isinstance(y, torch.Tensor):
            assert x == y
            continue
        assert (str(x.dtype), tuple(x.shape), x.requires_grad) == (
            str(y.dtype), tuple(y.shape), y.requires_grad,
        )  # fmt: skip
        np.testing.assert_allclose(x.detach().numpy(), y.detach().numpy(), rtol=tol, atol=tol)


def data(m, *shape, grad=False):
    host = np.cos(np.arange(int(np.prod(shape))) * 1.7 + 0.3).astype("f4").reshape(shape)
    return m.tensor(host, requires_grad=grad)


# ---- grad, vjp, jvp ----------------------------------------------------------------------------


GRADS = {
    "once": lambda m: m.func.grad(m.sin)(data(m)),
    "twice": lambda m: m.func.grad(m.func.grad(lambda x: m.sin(x) * x))(data(m)),
    "argnums": lambda m: m.func.grad(lambda x, y: (x * y).sum(), argnums=(0, -1))(
        data(m, 3), data(m, 3) + 1
    ),
    "dict": lambda m: m.func.grad(lambda p: (p["a"] ** 2).sum() + p["b"][0].exp())(
        {"a": data(m, 3), "b": [data(m), data(m, 2)]}
    ),
    "aux": lambda m: m.func.grad(lambda x: ((x**2).sum(), {"o": x * 2}), has_aux=True)(data(m, 3)),
    "value": lambda m: m.func.grad_and_value(lambda x: (x**2).sum())(data(m, 3)),
    "value and aux": lambda m: m.func.grad_and_value(lambda x: ((x**2).sum(), x), has_aux=True)(
        data(m, 3)
    ),
    "unused": lambda m: m.func.grad(lambda x, y: x.sum(), argnums=(0, 1))(data(m, 3), data(m, 2)),
    "keywords": lambda m: m.func.grad(lambda x, scale=1.0: (x * scale).sum())(
        data(m, 3), scale=4.0
    ),
    "complex": lambda m: m.func.grad(lambda z: (z * z.conj() * z).abs().sum())(
        m.complex(data(m, 3), data(m, 3) + 1)
    ),
    "vjp": lambda m: m.func.vjp(lambda x: (x.sin(), x.cos()), data(m, 5))[1](
        (data(m, 5), data(m, 5) * 2)
    ),
    "vjp over dict": lambda m: m.func.vjp(
        lambda p: p["a"] * p["b"], {"a": data(m, 3), "b": data(m)}
    )[1](data(m, 3)),
    "vjp aux": lambda m: m.func.vjp(lambda x: (x.sin(), x.cos()), data(m, 5), has_aux=True)[::2],
    "jvp": lambda m: m.func.jvp(
        lambda x, y: (x * y.exp()).sum(0), (data(m, 3, 2), data(m, 2)), (data(m, 3, 2), data(m, 2))
    ),
    "jvp aux": lambda m: m.func.jvp(
        lambda x: (x.sin(), x), (data(m, 3),), (data(m, 3),), has_aux=True
    ),
    "jvp of a constant": lambda m: m.func.jvp(lambda x: m.ones(2), (data(m, 3),), (data(m, 3),)),
    "jvp of complex": lambda m: m.func.jvp(
        lambda z: z * z, (m.complex(data(m, 3), data(m, 3)),), (m.complex(data(m, 3), -data(m, 3)),)
    ),
    "jvp within grad": lambda m: m.func.grad(
        lambda x: m.func.jvp(lambda y: y**3 * x, (x,), (m.ones_like(x),))[1]
    )(data(m)),
}


@pytest.mark.parametrize("name", GRADS)
def test_gradients(name):
    same(GRADS[name])


def test_linearize():
    def program(m):
        out, push = m.func.linearize(lambda x: x.sin() * x.sum(), data(m, 3))
        return out, push(data(m, 3)), push(data(m, 3) * 2)

    same(program)


def test_the_outer_tape_sees_through():
    def program(m):
        x, w = data(m, 3, grad=True), data(m, 3, grad=True)
        g = m.func.grad(lambda x: (x**3 * w).sum())(x)
        _, pull = m.func.vjp(lambda x: (x * w).sin(), data(m, 3))
        (pulled,) = pull(data(m, 3))
        _, pushed = m.func.jvp(lambda x: (x * w).sin(), (data(m, 3),), (data(m, 3),))
        jacobian = m.func.jacfwd(lambda x: x**2 * w)(x)
        (g.sum() + pulled.sum() + pushed.sum() + jacobian.sum()).backward()
        return g, pulled, pushed, jacobian, x.grad, w.grad

    same(program)


def test_no_grad_outside_and_inside():
    def program(m):
        w = data(m, 3, grad=True)
        with m.no_grad():
            outside = m.func.grad(lambda x: (x * x * w).sum())(data(m, 3))

        def inside(x):
            with m.no_grad():
                c = x**2
            return (x**3 - c).sum()

        return outside, m.func.grad(inside)(data(m, 3))

    same(program)


# ---- Jacobians and Hessians --------------------------------------------------------------------


def several(x, y):
    return x * y.sum(), {"k": (x**2).sum() * y}


def test_jacobians_by_chunks():
    same(lambda m: m.func.jacrev(m.sin, chunk_size=2)(data(m, 5)))


@pytest.mark.parametrize("name", ["jacrev", "jacfwd"])
def test_jacobians(name):
    def program(m):
        jac = getattr(m.func, name)
        x, y = data(m, 3), data(m, 2)
        return (
            jac(m.sin)(data(m, 2, 3)), jac(several, argnums=(0, 1))(x, y), jac(several)(x, y),
            jac(lambda x: (x.sin(), x * 2), has_aux=True)(x),
            jac(lambda x: m.ones(2))(x), jac(lambda x: x.sum() ** 2)(data(m)),
        )  # fmt: skip

    same(program)


def test_hessians():
    def program(m):
        f = lambda x: (x.sin() * x).sum()  # noqa: E731
        fwd, rev, x = m.func.jacfwd, m.func.jacrev, data(m, 3)
        return m.func.hessian(f)(x), fwd(fwd(f))(x), rev(rev(f))(x), rev(fwd(f))(x)

    same(program)


def test_a_hessian_by_a_batch():
    def program(m):
        def f(w, x):
            return (w @ x).sin()

        batch = m.vmap(m.func.hessian(f), in_dims=(None, 0))(data(m, 3), data(m, 4, 3))
        total = m.func.hessian(lambda w: m.vmap(lambda x: f(w, x))(data(m, 4, 3)).sum())(data(m, 3))
        return batch, total

    same(program)


# ---- vmap --------------------------------------------------------------------------------------

BATCHES = {
    "dot": lambda m: m.func.vmap(m.dot)(data(m, 2, 5), data(m, 2, 5) + 1),
    "nested": lambda m: m.vmap(m.vmap(m.dot))(data(m, 2, 3, 5), data(m, 2, 3, 5) + 1),
    "none": lambda m: m.vmap(m.dot, in_dims=(0, None))(data(m, 2, 5), data(m, 5)),
    "dims": lambda m: m.vmap(lambda x: x * 2, in_dims=1, out_dims=-1)(data(m, 2, 5)),
    "negative": lambda m: m.vmap(lambda x: x.sum(), in_dims=-1)(data(m, 2, 3, 4)),
    "dicts": lambda m: m.vmap(
        lambda d: {"a": d["x"] + d["y"], "b": d["y"]}, in_dims=({"x": 0, "y": None},)
    )({"x": data(m, 3, 2), "y": data(m, 2)}),
    "several": lambda m: m.vmap(lambda x: (x.sum(), x * 2), out_dims=(0, 1))(data(m, 3, 4)),
    "constant": lambda m: m.vmap(lambda x: m.ones(2))(data(m, 3)),
    "out_dims none": lambda m: m.vmap(lambda x: (x, 5), out_dims=(0, None))(data(m, 3)),
    "chunks": lambda m: m.vmap(lambda x: (x.sum(), x), out_dims=(0, 1), chunk_size=2)(
        data(m, 5, 3)
    ),
    "index": lambda m: m.vmap(lambda x, i: x[i])(data(m, 3, 4), m.tensor([[0, 2], [1, 1], [3, 0]])),
    "views": lambda m: m.vmap(lambda x: x.t().reshape(2, -1)[:, 1:].unsqueeze(0))(data(m, 3, 4, 2)),
    "ints": lambda m: m.vmap(lambda x: (x + 1, x > 1, x.sum()))(m.arange(6).reshape(2, 3)),
    "where": lambda m: m.vmap(lambda x: m.where(x > 0, x, -x).softmax(0))(data(m, 3, 4)),
    "sort": lambda m: tuple(m.vmap(lambda x: tuple(x.sort()))(data(m, 3, 4))),
    "cat": lambda m: m.vmap(lambda x, y: m.cat([x, y, m.zeros(1)]))(data(m, 3, 2), data(m, 3, 4)),
    "einsum": lambda m: m.vmap(lambda x, w: m.einsum("i,ij->j", x, w), (0, None))(
        data(m, 3, 4), data(m, 4, 2)
    ),
    "vjp": lambda m: m.vmap(m.func.vjp(lambda x: x.sin().cumsum(0), data(m, 5))[1])(m.eye(5)),
    "jvp": lambda m: m.vmap(lambda x, v: m.func.jvp(lambda x: x.sin() * x, (x,), (v,)))(
        data(m, 3), data(m, 3) * 2
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name):
    same(BATCHES[name])


def test_gradients_flow_out_of_a_batch():
    def program(m):
        x, w = data(m, 3, 4, grad=True), data(m, 4, grad=True)
        out = m.vmap(lambda r: ((r * w).tanh().sum(), (w * w).sum()))(x)
        first = m.autograd.grad((out[0] ** 2).sum() + out[1].sum(), [x, w], create_graph=True)
        second = m.autograd.grad((first[0] ** 2).sum() + first[1].sum(), [x, w])
        return out, first, second

    same(program)


def test_two_levels_and_a_closure():
    def program(m):
        x, y, w = data(m, 2, 4, grad=True), data(m, 3, 4, grad=True), data(m, 4, grad=True)
        out = m.vmap(lambda a: m.vmap(lambda b: (w * b).sin() @ (a * w))(y))(x)
        first = m.autograd.grad((out**2).sum(), [x, y, w], create_graph=True)
        second = m.autograd.grad(sum((g**2).sum() for g in first), [x, y, w])
        return out, first, second

    same(program, 1e-3)


def test_per_sample_gradients():
    def program(m):
        def loss(w, x, y):
            return ((w @ x).relu() - y) ** 2

        each = m.vmap(m.func.grad(loss), in_dims=(None, 0, 0))
        w, x, y = data(m, 3), data(m, 4, 3), data(m, 4)
        jacobian = m.func.jacrev(lambda w: m.vmap(loss, in_dims=(None, 0, 0))(w, x, y))(w)
        return each(w, x, y), jacobian

    same(program)


def test_writes_in_place():
    def program(m):
        x = data(m, 3, 4)

        def f(row):
            row.add_(1)
            row[0] = 7
            fresh = m.zeros_like(row)
            fresh[1:] = row[1:] * 2
            return fresh

        y, z = data(m, 3, 4), data(m, 2, 3, 4)
        m.vmap(lambda a, b: (a.add_(1), b.mul_(2), a.sum())[2])(y, y)
        turned = m.vmap(lambda x: x.t_().add_(1))(z), z, z.shape
        parts = [m.vmap(form, in_dims=(None, 0))(y, data(m, 2, 3)) for form in (
            lambda y, v: y.select_scatter(v, 1, 2), lambda y, v: y.diagonal_scatter(v),
            lambda y, v: y.slice_scatter(v[:, None], 1, 0, 1),
        )]  # fmt: skip
        return m.vmap(f, in_dims=1)(x), x, m.vmap(lambda x: x.unsqueeze_(0))(y), y, turned, parts

    same(program)


def test_a_write_that_another_argument_would_not_see_is_refused():
    x = torchlike.ones(3, 3)
    for other, dims in ((x, (0, 1)), (x, (0, None)), (x.t(), (0, 0))):
        with pytest.raises(torchlike.NotSupported, match="shares memory"):
            torchlike.vmap(lambda a, b: (a.add_(1), b.sum())[1], in_dims=dims)(x, other)
    assert x.sum() == 9


def test_random_numbers():
    def program(m):
        m.manual_seed(0)
        dropout = m.nn.functional.dropout
        return (
            m.vmap(lambda x: x + m.rand(4), randomness="different")(data(m, 3, 4)),
            m.vmap(lambda x: x + m.randn(16), randomness="same")(data(m, 3, 16)),
            m.vmap(lambda x: x + m.randn(16), randomness="different")(data(m, 3, 16)),
            m.vmap(lambda x: dropout(x, 0.4), randomness="different")(data(m, 3, 4) + 2),
            m.vmap(lambda x: x + m.randint(0, 9, (3,)), randomness="different")(data(m, 3, 3)),
            m.vmap(lambda p: m.bernoulli(p), randomness="different")(data(m, 3, 4).abs()),
            m.vmap(lambda x: m.normal(x, 0.5), randomness="different")(data(m, 3, 16)),
        )

    same(program)


def test_a_function_of_ones_own():
    def program(m):
        class Product(m.autograd.Function):
            generate_vmap_rule = True

            @staticmethod
            def forward(x, w):
                return x * w

            @staticmethod
            def setup_context(ctx, inputs, output):
                ctx.save_for_backward(*inputs)

            @staticmethod
            def backward(ctx, g):
                x, w = ctx.saved_tensors
                return g * w, g * x

        w, x = data(m, 3, grad=True), data(m, 4, 3)
        out = m.vmap(lambda x: Product.apply(x, w).sum())(x)
        out.sum().backward()
        each = m.vmap(m.func.grad(lambda w, x: Product.apply(x, w).sum()), (None, 0))
        return out, w.grad, each(w.detach(), x)

    same(program)


def test_a_batch_costs_one_program():
    w, x = data(torchlike, 3), data(torchlike, 4, 3)
    each = torchlike.vmap(torchlike.func.grad(lambda w, x: (w @ x).sin()), (None, 0))
    each(w, x).numpy()
    before = torchlike.compiler.stats()["programs"]
    each(w, x).numpy()
    assert torchlike.compiler.stats()["programs"] == before + 1


# ---- modules -----------------------------------------------------------------------------------


def mlp(m):
    m.manual_seed(0)
    return m.nn.Sequential(m.nn.Linear(3, 4), m.nn.Tanh(), m.nn.Linear(4, 2))


def test_an_mlp():
    def program(m):
        net, x, y = mlp(m), data(m, 5, 3), m.tensor([0, 1, 0, 1, 1])
        params = {name: p.detach() for name, p in net.named_parameters()}

        def loss(params, x, y):
            out = m.func.functional_call(net, params, (x.unsqueeze(0),))
            return m.nn.functional.cross_entropy(out, y.unsqueeze(0))

        return (
            m.vmap(m.func.grad(loss), in_dims=(None, 0, 0))(params, x, y),
            m.func.jacrev(lambda p: m.func.functional_call(net, p, x))(params),
            m.vmap(m.func.jacrev(net))(x), m.vmap(m.func.jacfwd(net))(x),
        )  # fmt: skip

    same(program)


def test_an_ensemble():
    def program(m):
        m.manual_seed(0)
        models = [m.nn.Linear(3, 2) for _ in range(4)]
        params, buffers = m.func.stack_module_state(models)
        x = data(m, 5, 3)

        def call(params, buffers, x):
            return m.func.functional_call(models[0], (params, buffers), (x,))

        out = m.vmap(call, (0, 0, None))(params, buffers, x)
        out.sum().backward()
        return out, buffers, {name: p.grad for name, p in params.items()}

    same(program)


def test_a_convolution_by_sample():
    def program(m):
        m.manual_seed(0)
        net = m.nn.Sequential(
            m.nn.Conv2d(1, 2, 3), m.nn.ReLU(), m.nn.MaxPool2d(2), m.nn.Flatten(), m.nn.Linear(8, 3)
        )
        params = {name: p.detach() for name, p in net.named_parameters()}

        def f(params, x):
            return m.func.functional_call(net, params, (x[None],)).logsumexp(1).sum()

        return m.vmap(m.func.grad(f), in_dims=(None, 0))(params, data(m, 4, 1, 6, 6))

    same(program)


def test_functional_call():
    def program(m):
        class Tied(m.nn.Module):
            def __init__(self):
                super().__init__()
                self.a = m.nn.Linear(2, 2, bias=False)
                self.b = m.nn.Linear(2, 2, bias=False)
                self.b.weight = self.a.weight
                self.register_buffer("seen", m.zeros(()))

            def forward(self, x, scale=1):
                self.seen = self.seen + 1
                return self.b(self.a(x)) * scale

        net, x = Tied(), data(m, 2)
        state = {"a.weight": m.eye(2) * 2, "seen": m.zeros(())}
        call = m.func.functional_call
        return (
            call(net, state, x, {"scale": 3}), state, net.seen, net.a.weight is net.b.weight,
            call(net, {"a.weight": m.eye(2)}, (x,), tie_weights=False).shape,
            call(m.nn.Linear(2, 2), {"weight": m.eye(2), "bias": m.ones(2), "foo": x}, x),
        )  # fmt: skip

    same(program)


def test_replaced_batch_norm():
    def program(m):
        net = m.nn.Sequential(m.nn.BatchNorm1d(3))
        m.func.replace_all_batch_norm_modules_(net)
        return m.vmap(net)(data(m, 2, 4, 3))

    same(program)


def test_functionalize():
    same(lambda m: m.func.functionalize(lambda x: x.clone().add_(1))(data(m, 3)))


# ---- errors ------------------------------------------------------------------------------------

ERRORS = {
    "item": lambda m: m.vmap(lambda x: x.item())(m.ones(3)),
    "branch": lambda m: m.vmap(lambda x: x if x > 0 else -x)(m.ones(3)),
    "random": lambda m: m.vmap(lambda x: x + m.rand(2))(m.ones(3)),
    "random out": lambda m: m.vmap(lambda x: m.rand(2, out=x), randomness="same")(m.ones(3, 2)),
    "no tensor": lambda m: m.vmap(lambda x: 2.0)(m.ones(3)),
    "in dim": lambda m: m.vmap(lambda x: x, in_dims=2)(m.ones(3)),
    "running statistics": lambda m: m.vmap(m.nn.BatchNorm1d(3))(m.ones(2, 4, 3)),
    "sizes": lambda m: m.vmap(lambda x, y: x)(m.ones(3), m.ones(4)),
    "no input": lambda m: m.vmap(lambda x: x)(),
    "nothing to map": lambda m: m.vmap(lambda x: x, in_dims=None)(m.ones(2)),
    "list dims": lambda m: m.vmap(lambda x: x, in_dims=[0])(m.ones(2)),
    "structure": lambda m: m.vmap(lambda x: x, in_dims=(0, 0))(m.ones(2)),
    "number": lambda m: m.vmap(lambda x: x)(3),
    "randomness": lambda m: m.vmap(lambda x: x, randomness="foo")(m.ones(2)),
    "out structure": lambda m: m.vmap(lambda x: (x, x), out_dims=(0, 0, 0))(m.ones(2)),
    "out none": lambda m: m.vmap(lambda x: x, out_dims=None)(m.ones(2)),
    "chunk": lambda m: m.vmap(lambda x: x, chunk_size=0)(m.ones(3)),
    "not scalar": lambda m: m.func.grad(lambda x: x)(m.ones(3)),
    "grad of number": lambda m: m.func.grad(lambda x: 3)(m.ones(3)),
    "grad at number": lambda m: m.func.grad(lambda x: x)(3.0),
    "argnum": lambda m: m.func.grad(lambda x: x, argnums=2)(m.ones(())),
    "no aux": lambda m: m.func.grad(lambda x: x.sum(), has_aux=True)(m.ones(3)),
    "ints": lambda m: m.func.grad(lambda x: x.sum())(m.ones(3, dtype=m.int64)),
    "backward": lambda m: m.func.grad(lambda x: [x.sum().backward(), x.sum()][1])(m.ones(3)),
    "in place": lambda m: m.func.grad(lambda x: x.mul_(2).sum())(m.ones(3)),
    "in place below": lambda m: m.func.grad(
        lambda x: m.func.grad(lambda y: y.mul_(y).sum())(x).sum()
    )(m.ones(3)),
    "in place on a tracked input": lambda m: m.func.grad(lambda x: x.mul_(x).sum())(
        m.ones(3, requires_grad=True) * 1
    ),
    "jacobian of bools": lambda m: m.func.jacrev(lambda x: x > 0)(m.ones(3)),
    "vjp number": lambda m: m.func.vjp(lambda x: 3, m.ones(3)),
    "vjp bool": lambda m: m.func.vjp(lambda x: x > 0, m.ones(3)),
    "jvp primals": lambda m: m.func.jvp(lambda x: x, m.ones(3), m.ones(3)),
    "jvp structure": lambda m: m.func.jvp(lambda x: x, (m.ones(3),), m.ones(3)),
    "jvp shape": lambda m: m.func.jvp(lambda x: x, (m.ones(3),), (m.ones(2),)),
    "jvp strict": lambda m: m.func.jvp(
        lambda x: m.ones(2), (m.ones(3),), (m.ones(3),), strict=True
    ),
    "tangent": lambda m: m.func.linearize(lambda x: x, m.ones(3))[1](m.ones(2)),
    "complex": lambda m: m.func.jacrev(lambda x: x)(m.ones(3, dtype=m.complex64)),
    "strict": lambda m: m.func.functional_call(
        m.nn.Linear(2, 2), {"weight": m.ones(2, 2)}, m.ones(2), strict=True
    ),
    "dicts": lambda m: m.func.functional_call(m.nn.Linear(2, 2), 3, m.ones(2)),
    "no models": lambda m: m.func.stack_module_state([]),
    "classes": lambda m: m.func.stack_module_state([m.nn.Linear(2, 2), m.nn.ReLU()]),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    found = []
    for m in (torchlike, torch):
        with pytest.raises(Exception) as info:
            ERRORS[name](m)
        found.append((info.type, str(info.value)))
    assert found[0] == found[1]


def test_what_is_inside_a_batch():
    def program(m):
        seen = []

        def f(x, y):
            seen.append(m.func.debug_unwrap(x))
            seen.append(m.func.debug_unwrap(y))
            return x

        m.vmap(f, in_dims=(0, None))(data(m, 3, 2), data(m, 2))
        return seen

    same(program)


def test_a_bad_index_in_a_batch():
    f = torchlike.vmap(lambda x, i: x.index_select(0, i))
    out = f(data(torchlike, 2, 3), torchlike.tensor([[0], [1]]) * 4)
    with pytest.raises(IndexError, match="index 4 is out of bounds"):
        out.sum().item()


def test_a_tensor_from_outside_cannot_become_a_batch():
    kept = torchlike.zeros(3)
    with pytest.raises(RuntimeError, match="inplace arithmetic"):
        torchlike.vmap(lambda x: kept.add_(x))(data(torchlike, 3, 3))
    assert kept.tolist() == [0, 0, 0]
