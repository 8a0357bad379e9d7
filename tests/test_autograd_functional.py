"""torch.autograd's functional, forward_ad, gradcheck and anomaly mode, against PyTorch."""

import pickle

import pytest

import torchlike
from torchlike._core import errors

from .test_func import data, same

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Anomaly Detection"),
    pytest.mark.filterwarnings("ignore:Error detected in"),
]


def exp_sum(x):
    return x.exp().sum(dim=1)


def adder(x, y):
    return 2 * x + 3 * y


def powers(x):
    return x.pow(3).sum()


def both_powers(x, y):
    return (2 * x.pow(2) + 3 * y.pow(2) * x).sum()


def square(m, reads):
    """x * x, whose backward differentiates another Function, reads its gradient and writes."""

    class Half(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x / 2

        @staticmethod
        def backward(ctx, g):
            return ctx.saved_tensors[0] * g

    class Square(m.autograd.Function):
        forward = Half.forward

        @staticmethod
        def backward(ctx, g):
            x = ctx.saved_tensors[0].detach().requires_grad_()
            with m.enable_grad():
                y = Half.apply(x)
            slope = m.autograd.grad(y, x, m.ones_like(y))[0]
            if not reads:
                return 2 * slope * g
            out = m.zeros_like(x)
            out += 2 * slope * g
            return out if g.any() else g

    return Square.apply


def hooked(x):
    y = x * x
    y.register_hook(lambda g: g * (3.0 if g[0].item() else 1.0))
    return y


CALLS = {
    "vjp": lambda f, m: f.vjp(exp_sum, data(m, 4, 4), data(m, 4)),
    "vjp graph": lambda f, m: f.vjp(
        exp_sum, data(m, 4, 4, grad=True), data(m, 4), create_graph=True
    ),
    "vjp two": lambda f, m: f.vjp(adder, (data(m, 2), data(m, 2)), data(m, 2)),
    "vjp no v": lambda f, m: f.vjp(powers, data(m, 3)),
    "vjp unused": lambda f, m: f.vjp(lambda x, y: x.sum(), (data(m, 2), data(m, 2))),
    "jvp": lambda f, m: f.jvp(exp_sum, data(m, 4, 4), data(m, 4, 4)),
    "jvp graph": lambda f, m: f.jvp(
        exp_sum, data(m, 4, 4, grad=True), data(m, 4, 4), create_graph=True
    ),
    "jvp two": lambda f, m: f.jvp(adder, (data(m, 2), data(m, 2)), (data(m, 2), data(m, 2) * 2)),
    "jvp no v": lambda f, m: f.jvp(lambda x: (x * m.ones(2), x), data(m)),
    "jacobian": lambda f, m: f.jacobian(exp_sum, data(m, 2, 2)),
    "jacobian graph": lambda f, m: f.jacobian(exp_sum, data(m, 2, 2, grad=True), create_graph=True),
    "jacobian two": lambda f, m: f.jacobian(adder, (data(m, 2), data(m, 2))),
    "jacobian outs": lambda f, m: f.jacobian(lambda x: (x * 2, x.sum()), data(m, 2), strict=True),
    "jacobian fast": lambda f, m: f.jacobian(exp_sum, data(m, 2, 2), vectorize=True),
    "jacobian forward": lambda f, m: f.jacobian(
        adder, (data(m, 2), data(m, 2)), vectorize=True, strategy="forward-mode"
    ),
    "jacobian own": lambda f, m: f.jacobian(square(m, False), data(m, 3)),
    "jacobian own fast": lambda f, m: f.jacobian(square(m, False), data(m, 3), vectorize=True),
    "jacobian reads": lambda f, m: f.jacobian(square(m, True), data(m, 3)),
    "jacobian hook": lambda f, m: f.jacobian(hooked, data(m, 3)),
    "hessian checkpoint": lambda f, m: f.hessian(
        lambda x: m.utils.checkpoint.checkpoint(powers, x, use_reentrant=False), data(m, 3)
    ),
    "hessian": lambda f, m: f.hessian(powers, data(m, 2, 2)),
    "hessian two": lambda f, m: f.hessian(both_powers, (data(m, 2), data(m, 2))),
    "hessian graph": lambda f, m: f.hessian(powers, data(m, 2, grad=True), create_graph=True),
    "hessian forward": lambda f, m: f.hessian(
        powers, data(m, 2), vectorize=True, outer_jacobian_strategy="forward-mode"
    ).detach(),  # PyTorch leaves it on the tape, by accident
    "vhp": lambda f, m: f.vhp(powers, data(m, 2, 2), data(m, 2, 2)),
    "vhp two": lambda f, m: f.vhp(both_powers, (data(m, 2), data(m, 2)), (data(m, 2), data(m, 2))),
    "hvp": lambda f, m: f.hvp(powers, data(m, 2, 2), data(m, 2, 2)),
    "hvp graph": lambda f, m: f.hvp(powers, data(m, 2, grad=True), data(m, 2), create_graph=True),
    "hvp two": lambda f, m: f.hvp(both_powers, (data(m, 2), data(m, 2)), (data(m, 2), data(m, 2))),
}


@pytest.mark.parametrize("name", CALLS)
def test_functional(name):
    same(lambda m: CALLS[name](m.autograd.functional, m))


ERRORS = {
    "inputs": lambda f, m: f.vjp(exp_sum, 3),
    "tuple": lambda f, m: f.vjp(adder, (data(m, 2), 3), data(m, 2)),
    "no v": lambda f, m: f.vjp(exp_sum, data(m, 4, 4)),
    "no v forward": lambda f, m: f.jvp(exp_sum, data(m, 4, 4)),
    "v": lambda f, m: f.vjp(exp_sum, data(m, 4, 4), data(m, 3)),
    "v count": lambda f, m: f.jvp(adder, (data(m, 2), data(m, 2)), (data(m, 2),)),
    "strict": lambda f, m: f.vjp(lambda x: m.ones(3), data(m, 3), data(m, 3), strict=True),
    "strict unused": lambda f, m: f.vjp(
        lambda x, y: x.sum(), (data(m, 2), data(m, 2)), strict=True
    ),
    "strict linear": lambda f, m: f.hessian(lambda x: x.sum(), data(m, 2), strict=True),
    "strict graph": lambda f, m: f.jacobian(
        adder, (data(m, 2, grad=True), data(m, 2)), create_graph=True, strict=True
    ),
    "strict fast": lambda f, m: f.jacobian(powers, data(m, 2), strict=True, vectorize=True),
    "strict jvp": lambda f, m: f.jvp(lambda x: m.ones(3), data(m, 3), data(m, 3), strict=True),
    "forward": lambda f, m: f.jacobian(powers, data(m, 2), strategy="forward-mode"),
    "not one": lambda f, m: f.hessian(lambda x: x, data(m, 2)),
    "several": lambda f, m: f.vhp(lambda x: (x.sum(), x.sum()), data(m, 2), data(m, 2)),
    "hvp": lambda f, m: f.hvp(lambda x: x, data(m, 2), data(m, 2)),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors(name):
    found = []
    for m in (torchlike, torch):
        with pytest.raises(Exception) as info:
            ERRORS[name](m.autograd.functional, m)
        found.append((info.type, str(info.value)))
    assert found[0] == found[1]


def test_batched_gradients():
    def program(m):
        x, w = data(m, 3, grad=True), data(m, 3, grad=True)
        return m.autograd.grad(
            (x * w).sin(), [x, w], m.eye(3), is_grads_batched=True, create_graph=True
        )

    same(program)


# ---- forward mode ------------------------------------------------------------------------------


def test_dual_numbers():
    def program(m):
        ad = m.autograd.forward_ad
        with ad.dual_level():
            x = ad.make_dual(data(m, 3), data(m, 3) * 2)
            y = ad.make_dual(data(m, 3) + 1, m.ones(3))
            out = (x * y.exp()).sin()
            first, second = ad.unpack_dual(out), ad.unpack_dual(x)
            plain = ad.unpack_dual(m.ones(2)).tangent
            module = m.nn.Linear(3, 2)
            m.nn.init.ones_(module.weight)
            m.nn.init.ones_(module.bias)
            through = ad.unpack_dual(module(x)).tangent.detach()
        return first.primal, first.tangent, second.tangent, plain is None, through

    same(program)


def test_dual_numbers_and_the_tape():
    def program(m):
        ad = m.autograd.forward_ad
        x = data(m, 3, grad=True)
        with ad.dual_level():
            out = ad.make_dual(x, m.ones(3)) ** 3
            tangent = ad.unpack_dual(out).tangent
        return tangent, m.autograd.grad(tangent.sum(), x)

    same(program)


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_dual_errors(m):
    ad = m.autograd.forward_ad
    with pytest.raises(RuntimeError, match="no level exists"):
        ad.make_dual(m.ones(2), m.ones(2))
    with ad.dual_level():
        with pytest.raises(RuntimeError, match="different size"):
            ad.make_dual(m.ones(2), m.ones(3))
        with pytest.raises(ValueError, match="Expected primal to be floating point"):
            ad.make_dual(m.arange(2), m.ones(2))
        with pytest.raises(RuntimeError, match="Nested forward mode"), ad.dual_level():
            pass


# ---- checks ------------------------------------------------------------------------------------


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_gradcheck(m):
    class Wrong(m.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, g):
            return g * 3

    class InPlace(m.autograd.Function):  # nothing of this backward has a batched form
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x, x * 3

        @staticmethod
        def backward(ctx, g, h):
            (x,) = ctx.saved_tensors
            total = h * 3
            total += g * 2 * x
            return total * float(g.detach().numpy().dtype == "float64")

    x = data(m, 2).double().requires_grad_()
    z = m.complex(data(m, 1).double(), data(m, 1).double() + 1).requires_grad_()
    check, twice = m.autograd.gradcheck, m.autograd.gradgradcheck
    assert check(lambda x: (x.sin(), x.sum() ** 2), (x,))
    assert check(lambda z: z * z.conj() * z, (z,))
    assert check(lambda x: x.sin() * x, (x,), check_forward_ad=True)
    assert twice(lambda x: x.sin() * x.sum(), (x,))
    assert check(InPlace.apply, (x,)) and twice(lambda x: InPlace.apply(x)[0], (x,))
    layer = m.nn.Linear(2, 1, dtype=m.float64)  # the inputs themselves are moved, not copies
    assert check(lambda *_: layer(x.detach()), (layer.weight, layer.bias))
    assert twice(lambda p: p * x * (2 if type(p) is m.nn.Parameter else 3), (layer.weight,))
    assert not check(Wrong.apply, (x,), raise_exception=False)
    with pytest.raises(RuntimeError, match=r"with respect to input 0,\nnumerical:tensor\("):
        check(Wrong.apply, (x,))
    with pytest.raises(ValueError, match="at least one input tensor to require gradient"):
        check(m.sin, (x.detach(),))


def test_gradcheck_compiles_nothing():
    """A backward that NumPy ran and then a program would differ in the last bit: not reentrant."""
    x = data(torchlike, 1).double().requires_grad_()
    before = torchlike.compiler.stats()["compiles"]
    for _ in range(3):
        assert torchlike.autograd.gradcheck(lambda x: x.erf() * x.sum().exp().cos(), (x,))
    assert torchlike.compiler.stats()["compiles"] == before


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_grad_of_any_iterable(m):
    """``model.parameters()`` is a generator, ``dict.values()`` no sequence."""
    layer = m.nn.Linear(2, 1)
    values, x = dict(layer.named_parameters()).values(), m.ones(3, 2)
    grad, backward = m.autograd.grad, m.autograd.backward
    for inputs in (values, layer.parameters(), iter([*values]), set(values)):
        found = grad((t for t in [layer(x).sum()]), inputs)
        assert sorted(t.sum().item() for t in found) == [3, 6]
    assert grad(layer(x), layer.bias, (t for t in [m.ones(3, 1)]))[0].item() == 3
    backward((t for t in [layer(x).sum()]), inputs=layer.parameters())
    assert layer.bias.grad.item() == 3 and layer.weight.grad is not None
    with pytest.raises(RuntimeError, match="inputs` argument to `grad"):
        grad(layer(x).sum(), ())
    with pytest.raises(TypeError, match="'int' object is not iterable"):
        grad(layer(x).sum(), 3)
    with pytest.raises(RuntimeError, match="Tensors or GradientEdges, but got str"):
        grad(layer(x).sum(), [layer.bias, "x"])


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_names_of_nodes_and_errors(m):
    """What programs print of them."""
    x, z = m.ones(2, requires_grad=True), m.ones(2, dtype=m.complex64, requires_grad=True)
    nodes = [4 - x, 4 / x, 2**x, x**x, x**2, z.real, z.imag]
    names = ["Rsub1", "Mul0", "Pow2", "Pow1", "Pow0", "Select0", "Select0"]
    assert [t.grad_fn.name() for t in nodes] == [f"{n[:-1]}Backward{n[-1]}" for n in names]
    half = m.arange(1, 50, dtype=m.bfloat16)
    assert (3 / half).tolist() == (half.reciprocal() * 3).tolist()
    assert (3 / half).tolist() != ((half * 0 + 3) / half).tolist()
    with pytest.raises(IndexError) as caught:
        m.ones(2)[m.tensor([5])]
    assert type(caught.value).__name__ == "IndexError"
    assert type(pickle.loads(pickle.dumps(caught.value))) is type(caught.value)


@pytest.mark.parametrize(
    "error",
    [
        torchlike.NotSupported("names", "use numbers"),
        errors.NotTraceable("a file"),
        errors.Unsupported("it prints", "a.py:1"),
        errors.SparseOperand("add"),
        errors.BadIndex("index 5"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_are_the_same_in_another_process(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error) and vars(again) == vars(error) and again.args == error.args


@pytest.mark.parametrize("m", [torchlike, torch], ids=["ours", "pytorchs"])
def test_anomalies(m):
    def bad():
        x = m.tensor([0.0, -1.0], requires_grad=True)
        (x.sqrt() * 0).sum().backward()
        return x.grad

    assert bad().isnan().any()
    with (
        m.autograd.detect_anomaly(),
        pytest.raises(RuntimeError, match="Function 'SqrtBackward0' returned nan values in its 0t"),
    ):
        bad()
    with m.autograd.set_detect_anomaly(True, check_nan=False):
        bad()
    bad()
