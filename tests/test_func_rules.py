"""Corners of torch.func against PyTorch: rules for vmap, draws that follow data, writes, errors."""

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch")

pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),  # of PyTorch's own slow paths
]


def plain(x):
    """Tensors as (dtype, shape, numbers, requires_grad), so that results compare with ==."""
    if isinstance(x, (torch.Tensor, torchlike.Tensor)):
        numbers = np.round(x.detach().numpy().astype("f8"), 4) + 0.0
        return str(x.dtype), tuple(x.shape), numbers.tolist(), x.requires_grad
    if isinstance(x, dict):
        return {k: plain(v) for k, v in x.items()}
    return tuple(map(plain, x)) if isinstance(x, (list, tuple)) else x


def outcome(program, m):
    m.manual_seed(3)
    try:
        return plain(program(m))
    except Exception as error:
        return type(error).__name__, str(error).replace("torchlike", "torch")


def batch(m, *shape):
    return m.arange(float(np.prod(shape))).reshape(shape) / 3 + 1


# ---- rules for vmap ----------------------------------------------------------------------------


def scaled(m, **attributes):
    """A Function of which forward, backward and the rule say different things: which one ran?"""

    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0])

    parts = {
        "forward": lambda x: x * 2,
        "setup_context": setup_context,
        "backward": lambda ctx, g: g * 7 * ctx.saved_tensors[0],
        "vmap": lambda info, in_dims, x: (x.detach() * info.batch_size, in_dims[0]),
    } | attributes
    kept = {k: staticmethod(v) if callable(v) else v for k, v in parts.items()}
    return type("Scaled", (m.autograd.Function,), kept).apply


def ruled(m, rule, **attributes):
    return m.vmap(scaled(m, vmap=rule, **attributes))(batch(m, 3, 2))


RULES = {
    "a batch": lambda m: m.vmap(scaled(m))(batch(m, 3)),
    "another dimension": lambda m: m.vmap(scaled(m), in_dims=1, out_dims=1)(batch(m, 2, 3)),
    "no batch": lambda m: m.vmap(lambda x: x + scaled(m)(m.ones(2)))(batch(m, 3, 2)),
    "shared": lambda m: m.vmap(lambda w, x: scaled(m)(w) * x, (None, 0))(m.ones(2), batch(m, 3, 2)),
    "nested": lambda m: m.vmap(m.vmap(scaled(m)))(batch(m, 2, 3)),
    "grad inside": lambda m: m.vmap(m.func.grad_and_value(scaled(m)))(batch(m, 3)),
    "grad outside": lambda m: m.func.grad(lambda x: m.vmap(scaled(m))(x).sum())(batch(m, 3)),
    "grad of what is shared": lambda m: m.vmap(
        m.func.grad(lambda w, x: scaled(m)(w) * x), (None, 0)
    )(m.tensor(2.0), batch(m, 3)),
    "vjp inside": lambda m: m.vmap(lambda x: m.func.vjp(scaled(m), x)[1](m.tensor(1.0)))(
        batch(m, 3)
    ),
    "jacobian": lambda m: m.func.jacrev(scaled(m))(batch(m, 3)),
    "off the tape": lambda m: m.vmap(scaled(m))(batch(m, 3).requires_grad_()),
    "one for all": lambda m: ruled(m, lambda info, in_dims, x: (m.zeros(2), None)),
    "told": lambda m: ruled(
        m, lambda info, in_dims, x: (x + info.batch_size + len(info.randomness), in_dims[0])
    ),
    "one return": lambda m: ruled(m, lambda info, in_dims, x: x),
    "four returns": lambda m: ruled(m, lambda info, in_dims, x: (x, 0, 0, 0)),
    "unfit dims": lambda m: ruled(m, lambda info, in_dims, x: (x, (None,))),
    "two rules": lambda m: ruled(m, lambda info, in_dims, x: (x, 0), generate_vmap_rule=True),
    "ctx in forward": lambda m: ruled(
        m, lambda info, in_dims, x: (x, 0), forward=lambda ctx, x: x,
        setup_context=m.autograd.Function.setup_context,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RULES)
def test_a_functions_own_rule(name):
    assert outcome(RULES[name], torchlike) == outcome(RULES[name], torch)


# ---- draws and writes in a batch ---------------------------------------------------------------


def drawn(m, function, randomness, mapped):
    function = getattr(m, function) if isinstance(function, str) else function
    if mapped:
        return m.vmap(lambda x: function(m, x), randomness=randomness)(m.ones(3, 4) * 2)
    return m.vmap(lambda i: function(m, m.ones(4) * 2), randomness=randomness)(m.ones(3))


DRAWS = {
    "poisson": lambda m, x: m.poisson(x),
    "multinomial": lambda m, x: m.multinomial(x, 2),
    "rows of multinomial": lambda m, x: m.multinomial(x.expand(2, 4), 3, True),
    "binomial": lambda m, x: m.binomial(x * 4, x / 4),
    "normal_": lambda m, x: x.clone().normal_() if x.sum() is not None else x,
    "random_": lambda m, x: x.clone().random_(2, 9),
    "bernoulli": lambda m, x: m.bernoulli(x / 4),
    "negative deviation": lambda m, x: m.normal(0.0, x - m.arange(4)),
    "normal": lambda m, x: m.normal(x, 1.0),
}


@pytest.mark.parametrize("randomness", ["same", "different", "error"])
@pytest.mark.parametrize("name", DRAWS)
def test_draws_that_follow_data(name, randomness):
    def program(m):
        return drawn(m, DRAWS[name], randomness, True)

    def shared(m):
        return drawn(m, DRAWS[name], randomness, False)

    assert outcome(program, torchlike) == outcome(program, torch)
    if name not in ("normal_", "random_"):  # PyTorch writes nothing to a shared tensor
        assert outcome(shared, torchlike) == outcome(shared, torch)


def test_no_sample_may_have_an_impossible_chance():
    draw = torchlike.vmap(torchlike.bernoulli, randomness="different")
    assert draw(torchlike.tensor([[0.0, 1.0], [1.0, 0.0]])).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(RuntimeError, match="p_in >= 0"):
        draw(torchlike.tensor([[0.5, 0.5], [0.5, 1.5]]))


def test_gamma_draws_differ_from_sample_to_sample():
    torchlike.manual_seed(0)
    gamma = torchlike.distributions.Gamma(torchlike.tensor(2.0), torchlike.tensor(1.0))
    found = torchlike.vmap(lambda i: gamma.sample(), randomness="different")(torchlike.ones(9))
    assert len(set(found.tolist())) == 9
    found = torchlike.vmap(lambda i: gamma.sample(), randomness="same")(torchlike.ones(9))
    assert len(set(found.tolist())) == 1


def write(m, make):
    def f(x):
        out = make(x)
        out.copy_(x[:2])
        return out

    return m.vmap(f)(batch(m, 3, 4))


def set_at(x, i):
    x = x.clone()
    x[i, 1:3] = -1
    return x


def onto(x, y):
    x.copy_(y)
    return x


def kept(m, function):
    """The result of a function that writes to its first argument, and that argument afterwards."""
    x = m.zeros(2)
    return function(x, batch(m, 2)), x


def pulled(m, *modes):
    """A gradient pulled back under one grad mode through what was recorded under another."""
    x = m.tensor([2.0, 3.0], requires_grad=True)
    with m.set_grad_enabled(modes[0]):
        out, pull = m.func.vjp(lambda x: x**2, x)
    with m.set_grad_enabled(modes[1]):
        (found,) = pull(m.ones(2))
    return out, found, m.autograd.grad(found.sum(), x) if found.requires_grad else None


def of_sparse(m):
    x = m.sparse_coo_tensor(m.tensor([[0, 1], [2, 0]]), m.tensor([3.0, 4.0]), (2, 3))
    found = m.func.grad(lambda x: (x.coalesce().values() ** 2).sum() * x.is_sparse)(x)
    return found.is_sparse, found.to_dense()


WRITES = {
    "into new_zeros": lambda m: write(m, lambda x: x.new_zeros(2)),
    "into new_full": lambda m: write(m, lambda x: x.new_full((2,), 3.0)),
    "at an index of its own": lambda m: m.vmap(set_at)(batch(m, 2, 3, 4), m.tensor([0, 2])),
    "jvp through an argument": lambda m: m.func.jvp(
        lambda x, y: (x[0, ::2].copy_(y), x * 1), (batch(m, 2, 6), batch(m, 3)),
        (batch(m, 2, 6), batch(m, 3)),
    ),
    "jacfwd of a write": lambda m: m.func.jacfwd(lambda x: x.sin_().mul_(2))(batch(m, 2)),
    "a leaf of grad": lambda m: m.func.grad(lambda x: x.mul_(2).sum())(batch(m, 2)),
    "the argument of jvp": lambda m: kept(m, lambda x, y: m.func.jvp(onto, (x, y), (y, y * 3))),
    "the argument of jvp in a batch": lambda m: kept(
        m, m.vmap(lambda x, y: m.func.jvp(onto, (x, y), (y, y * 3)))
    ),
    "the argument of jacfwd": lambda m: kept(m, m.func.jacfwd(onto, argnums=(0, 1))),
    "another argument of hessian": lambda m: kept(
        m, m.func.hessian(lambda x, y: onto(x, y).sin().sum(), argnums=1)
    ),
}  # fmt: skip


def half_batched(m):
    """Running statistics of which one is a batch stay as they are, both."""
    means, var = m.zeros(2, 3), m.ones(3)

    def one(mean, x):
        return m.nn.functional.batch_norm(x, mean, var, training=True)

    try:
        m.vmap(one)(means, batch(m, 2, 4, 3))
    except RuntimeError as error:
        return means, var, str(error)


OTHERS = {
    "running statistics, one of them batched": half_batched,
    "vjp without, then with grad mode": lambda m: pulled(m, False, True),
    "vjp with, then without grad mode": lambda m: pulled(m, True, False),
    "grad of a sparse tensor": of_sparse,
    "the same numbers for every chunk": lambda m: m.vmap(
        lambda x: x + m.rand(2), randomness="same", chunk_size=2
    )(m.zeros(5, 2)),
    "cotangents": lambda m: m.func.vjp(lambda x: (x, [x]), m.ones(2))[1]({"a": m.ones(2)}),
    "an int for jacfwd": lambda m: m.func.jacfwd(lambda x: x * 2.0)(m.arange(2)),
    "an int tangent": lambda m: m.func.jvp(m.sin, (m.ones(2),), (m.ones(2).long(),)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_others(name):
    assert outcome(OTHERS[name], torchlike) == outcome(OTHERS[name], torch)


@pytest.mark.parametrize("name", WRITES)
def test_writes(name):
    assert outcome(WRITES[name], torchlike) == outcome(WRITES[name], torch)


def test_an_argument_that_is_written_to_stays_off_the_tape():
    def program(m):
        y = m.zeros(2)
        return m.func.jacrev(lambda x, y: y.copy_(x))(batch(m, 2), y), y

    assert outcome(program, torchlike) == outcome(program, torch)


def test_a_captured_tensor_that_is_written_to_stays_off_the_tape():
    """PyTorch refuses it; here it is no error, and must not pile up graphs from call to call."""
    total, w = torchlike.zeros(3), torchlike.ones(3, requires_grad=True)
    step = torchlike.func.grad(lambda x: total.add_(x * 2).sum())
    assert step(torchlike.ones(3)).tolist() == [2.0] * 3
    assert total.tolist() == [2.0] * 3 and not total.requires_grad
    wanted = torchlike.zeros(3)
    torchlike.func.grad(lambda x: wanted.copy_(x * w).sum())(torchlike.ones(3))
    assert wanted.requires_grad  # the tape outside has w


def filled(m, x):
    out = m.zeros(3)
    out.copy_(x * 2)
    out[0] = x[1] * x[2]
    return out


def test_results_that_were_written_to_keep_their_history():
    def program(m):
        f, x = (lambda x: filled(m, x)), batch(m, 3)
        out, pull = m.func.vjp(f, x)
        _, push = m.func.linearize(f, x)
        inner = m.func.grad(lambda x: m.func.vjp(f, x)[1](m.ones(3))[0].sum())
        return out, pull(m.ones(3)), pull(x), push(x), m.func.jacrev(f)(x), inner(x)

    assert outcome(program, torchlike) == outcome(program, torch)


def test_what_escapes_a_batch_is_said():
    kept = []
    torchlike.vmap(lambda x: kept.append(x) or x)(torchlike.ones(2))
    with pytest.raises(RuntimeError, match="may have escaped from inside a function"):
        kept[0].tolist()


# ---- errors ------------------------------------------------------------------------------------


def dynamic(m):
    class Identity(m.autograd.Function):
        @staticmethod
        def forward(x):
            return x.clone()

        @staticmethod
        def setup_context(ctx, inputs, output):
            pass

        @staticmethod
        def backward(ctx, g):
            return g * len(g.nonzero())

    return m.func.jacrev(Identity.apply, chunk_size=1)(batch(m, 3))


def parametrized(m):
    class Doubled(m.nn.Module):
        def forward(self, x):
            return x * 2

        def right_inverse(self, x):
            return x / 2

    layer = m.nn.Linear(2, 1, bias=False)
    m.nn.utils.parametrize.register_parametrization(layer, "weight", Doubled())
    before = layer.weight.detach().clone()
    found = m.func.functional_call(layer, {"weight": m.full((1, 2), 3.0)}, m.ones(1, 2))
    return found.detach(), m.equal(layer.weight, before)


CALLS = {
    "nothing": lambda m: m.func.vjp(lambda x: None, batch(m, 2)),
    "no outputs": lambda m: m.func.jacrev(lambda x: ())(batch(m, 2)),
    "aux of grad": lambda m: m.func.grad(lambda x: (x.sum(), 1), has_aux=True)(batch(m, 2)),
    "aux of vjp": lambda m: m.func.vjp(lambda x: (x, [x, "a"]), batch(m, 2), has_aux=True),
    "aux of jacfwd": lambda m: m.func.jacfwd(lambda x: (x, None), has_aux=True)(batch(m, 2)),
    "aux of jvp": lambda m: m.func.jvp(
        lambda x: (x, 1.5), (batch(m, 2),), (batch(m, 2),), has_aux=True
    ),
    "a number for a gradient": lambda m: m.func.vjp(lambda x: (x, x), batch(m, 2))[1](
        (m.ones(2), 1)
    ),
    "whole numbers": lambda m: m.func.jvp(lambda x: x, (m.tensor(1),), (m.tensor(1),)),
    "randomness": lambda m: m.func.jacfwd(lambda x: x, randomness="some")(batch(m, 2)),
    "one row at a time": dynamic,
    "an empty name": lambda m: m.func.functional_call(
        m.nn.Linear(2, 2), {"": m.ones(2)}, m.ones(2)
    ),
    "missing names": lambda m: m.func.functional_call(
        m.nn.BatchNorm1d(2), {"bias": m.ones(2)}, m.ones(1, 2), strict=True
    ),
    "jacobian in grad": lambda m: m.func.grad(
        lambda x: m.autograd.functional.jacobian(lambda y: y.sin().sum(), x).sum()
    )(batch(m, 2)),
    "a computed weight": parametrized,
    "nan in a batch": lambda m: anomaly(m, -1.0),
    "no nan in a batch": lambda m: anomaly(m, 1.0),
}  # fmt: skip


def anomaly(m, sign):
    with m.autograd.set_detect_anomaly(True):
        return m.vmap(m.func.grad(lambda x: x.sqrt()))(batch(m, 3) * sign)


@pytest.mark.parametrize("name", CALLS)
def test_calls(name):
    ours, theirs = outcome(CALLS[name], torchlike), outcome(CALLS[name], torch)
    assert ours == theirs
