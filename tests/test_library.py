"""torch.library: operators of one's own, their derivatives and their other registrations."""

import warnings

import numpy as np
import pytest
import torch

import torchlike


def both(program):
    """The program's results with torchlike and with PyTorch; each gets a namespace of its own."""
    found = []
    for lib in (torchlike, torch):
        try:
            found.append(program(lib, f"tests_{program.__name__}"))
        except Exception as error:
            found.append((type(error).__mro__[-4:], "raised"))
    return found


def scaled(lib, ns):
    def foo(x, k=2.0):
        return x * k

    foo.__annotations__ = {"x": lib.Tensor, "k": float, "return": lib.Tensor}
    return lib.library.custom_op(f"{ns}::foo", foo, mutates_args=())


def a_derivative(lib, ns):
    op = scaled(lib, ns)

    def setup(ctx, inputs, output):
        ctx.k = inputs[1]
        ctx.save_for_backward(inputs[0])

    op.register_autograd(lambda ctx, g: (g * ctx.k * 10, None), setup_context=setup)
    x = lib.ones(2, requires_grad=True)
    (op(x, 5.0) + getattr(lib.ops, ns).foo(x, k=3.0)).sum().backward()
    return x.grad.tolist()


def no_derivative(lib, ns):
    op = scaled(lib, ns)
    op(lib.ones(2, requires_grad=True)).sum().backward()


def several(lib, ns):
    def two(xs, n, s="a", o=None):
        return xs[0] * n, xs[1] + n

    T = lib.Tensor
    two.__annotations__ = {
        "xs": list[T], "n": int, "s": str, "o": T | None, "return": tuple[T, T],
    }  # fmt: skip
    op = lib.library.custom_op(f"{ns}::two", two, mutates_args=())
    a, b = op([lib.ones(2), lib.ones(2)], 3)
    return a.tolist(), b.tolist(), lib.library.infer_schema(two, mutates_args=())


def in_place(lib, ns):
    def inpl(x):
        x.add_(1)

    inpl.__annotations__ = {"x": lib.Tensor, "return": None}
    op = lib.library.custom_op(f"{ns}::inpl", inpl, mutates_args={"x"})
    y = lib.zeros(2)
    op(y)
    return y.tolist(), lib.library.infer_schema(inpl, mutates_args={"x"})


def in_place_and_returned(lib, ns):
    def inpl(x):
        return x.add_(1)

    inpl.__annotations__ = {"x": lib.Tensor, "return": lib.Tensor}
    op = lib.library.custom_op(f"{ns}::r", inpl, mutates_args={"x"}, tags=lib.Tag.inplace)
    y = lib.zeros(2)
    return op(y) is y, y.tolist()


def within_autocast(lib, ns):
    op = scaled(lib, ns)
    op.register_autocast("cpu", lib.bfloat16)
    with lib.autocast("cpu", dtype=lib.bfloat16):
        inside = [str(op(lib.ones(2, dtype=d)).dtype)[-8:] for d in (lib.float32, lib.float64)]
    return inside, str(op(lib.ones(2)).dtype)[-7:], repr(lib.library.Library(ns, "FRAGMENT"))


def a_derivative_in_numpy(lib, ns):
    def sine(x):
        return lib.from_numpy(np.sin(x.numpy()))

    sine.__annotations__ = {"x": lib.Tensor, "return": lib.Tensor}
    op = lib.library.custom_op(f"{ns}::sine", sine, mutates_args=())
    op.register_autograd(
        lambda ctx, g: g * ctx.saved_tensors[0].cos(),
        setup_context=lambda ctx, inputs, output: ctx.save_for_backward(inputs[0]),
    )
    x = lib.zeros(2, requires_grad=True)
    y = op(x)
    y.sum().backward()
    return x.grad.tolist(), type(y.grad_fn).__name__


def by_schema(lib, ns):
    lib.library.define(f"{ns}::baz", "(Tensor x, int n=2) -> Tensor")
    lib.library.impl(f"{ns}::baz", "cpu")(lambda x, n=2: x + n)
    lib.library.register_autograd(f"{ns}::baz", lambda ctx, g: (g * 7, None))
    x = lib.ones(2, requires_grad=True)
    op = getattr(lib.ops, ns).baz
    op(x, 4).sum().backward()
    return op(x).tolist(), x.grad.tolist()


def by_schema_without_a_derivative(lib, ns):
    part = lib.library.Library(ns, "FRAGMENT")
    x = lib.arange(3.0, requires_grad=True)

    class Cube(lib.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return lib.tensor(x.numpy() ** 3)

        @staticmethod
        def backward(ctx, g):
            return g * 3 * ctx.saved_tensors[0] ** 2

    kernels = {
        "composed": lambda x: x * x, "hidden": lambda x: lib.tensor(x.detach().numpy() * 2),
        "returned": lambda x: x, "function": Cube.apply,
    }  # fmt: skip
    out = []
    for name, kernel in kernels.items():
        part.define(f"{name}(Tensor x) -> Tensor")
        part.impl(name, kernel, "CPU")
        x.grad = None
        with warnings.catch_warnings(record=True) as noted:
            warnings.simplefilter("always")
            y = getattr(getattr(lib.ops, ns), name)(x)
            y.sum().backward()
        said = [str(w.message)[len(ns) :][:70] for w in noted]
        out.append((y.requires_grad, x.grad if x.grad is None else x.grad.tolist(), said[:1]))
    return out


def by_a_library(lib, ns):
    part = lib.library.Library(ns, "DEF")
    assert part.define("bar(Tensor x, *, bool up=True) -> Tensor") == "bar"
    part.impl("bar", lambda x, *, up=True: x + 1 if up else x - 1, "CPU")
    op = getattr(lib.ops, ns).bar
    return op(lib.ones(2)).tolist(), op.default(lib.ones(2), up=False).tolist()


def over_a_batch(lib, ns):
    op = scaled(lib, ns)
    op.register_vmap(lambda info, in_dims, x, k=2.0: (x * k + info.batch_size, in_dims[0]))
    return lib.func.vmap(op)(lib.ones(3, 2)).tolist()


def for_meta(lib, ns):
    op = scaled(lib, ns)
    op.register_fake(lambda x, k=2.0: lib.empty_like(x))
    return tuple(op(lib.ones(2, 3, device="meta")).shape)


def an_alias(lib, ns):
    def same(x):
        return x

    same.__annotations__ = {"x": lib.Tensor, "return": lib.Tensor}
    lib.library.custom_op(f"{ns}::same", same, mutates_args=())(lib.ones(2))


def no_annotation(lib, ns):
    lib.library.custom_op(f"{ns}::bad", lambda x: x, mutates_args=())


def no_namespace(lib, ns):
    scaled(lib, "a::b")


def a_missing_argument(lib, ns):
    scaled(lib, ns)()


def a_wrong_argument(lib, ns):
    scaled(lib, ns)(3)


def a_missing_op(lib, ns):
    return getattr(lib.ops, ns).nothing


def by_the_older_spelling(lib, ns):
    part = lib.library.Library(ns, "FRAGMENT")
    part.define("old(Tensor x) -> Tensor")

    @lib.library.impl(part, "old", "CPU")
    def old(x):
        return x + 1

    @lib.library.impl(part, "old", "Meta")
    def old_meta(x):
        return lib.empty_like(x)

    op = getattr(lib.ops, ns).old
    meta = op(lib.ones(3, device="meta"))
    return (
        old(lib.ones(2)).tolist(), op(lib.ones(2)).tolist(), tuple(meta.shape), op.overloads(),
        op.default.name(), op.default.namespace, op.__name__, op.default.overloadpacket is op,
        "old" in dir(getattr(lib.ops, ns)),
    )  # fmt: skip


def which_gradients(lib, ns):
    def pair(xs, y):
        return xs[0] * y + xs[1]

    T, seen = lib.Tensor, []
    pair.__annotations__ = {"xs": list[T], "y": T, "return": T}
    op = lib.library.custom_op(f"{ns}::pair", pair, mutates_args=())

    def backward(ctx, g):
        seen.append([list(x) if isinstance(x, list) else x for x in ctx.needs_input_grad])
        return [g, None], g

    op.register_autograd(backward)
    op([lib.ones(2, requires_grad=True), lib.ones(2)], lib.ones(2)).sum().backward()
    return seen


def a_kernel_turned_off(lib, ns):
    op = scaled(lib, ns)
    op.register_kernel("cpu")(lambda x, k=2.0: x + 100)
    with op.set_kernel_enabled("cpu", False):
        off = op(lib.ones(2)).tolist()
    return off, op(lib.ones(2)).tolist()


def refused(*calls):
    found = []
    for call in calls:
        try:
            found.append(call())
        except Exception as error:
            found.append((type(error).__name__, str(error)[:30]))
    return found


def signatures(lib, ns):
    T = lib.Tensor

    def number(x, k=2, d=lib.float32):
        return 3

    def several(*xs):
        return xs[0]

    number.__annotations__ = {"x": T, "k": int, "d": lib.dtype, "return": int}
    several.__annotations__ = {"xs": T, "return": T}
    infer = lib.library.infer_schema
    return refused(
        lambda: infer(number, mutates_args=()), lambda: infer(number, mutates_args={"zz"}),
        lambda: infer(several, mutates_args=()),
    )  # fmt: skip


def wrong_uses(lib, ns):
    op, made = scaled(lib, ns), lib.library.custom_op
    three = made(f"{ns}::three", lambda x: 3, mutates_args=(), schema="(Tensor x) -> Tensor")
    into = made(f"{ns}::into", lambda x: None, mutates_args={"x"}, schema="(Tensor(a!) x) -> ()")
    part = lib.library.Library(ns, "FRAGMENT")
    return refused(
        lambda: op(lib.ones(2), "a"), lambda: three(lib.ones(2)),
        lambda: into.register_autograd(lambda ctx, g: g),
        lambda: lib.library.define(f"{ns}::z", "Tensor"),
        lambda: part.impl("foo", 3, "CUDA"), lambda: lib.library.Library("prim", "DEF"),
        lambda: lib.library.opcheck(op, (lib.ones(2),), test_utils="test_nothing"),
    )  # fmt: skip


def types_of_arguments(lib, ns):
    text = "(Tensor x, int n=2, float f=1.0, bool b=False, str? s=None, int[] q=[1]) -> Tensor"
    op = lib.library.custom_op(
        f"{ns}::op", lambda x, n=2, f=1.0, b=False, s=None, q=(1,): x * n, mutates_args=(),
        schema=text,
    )  # fmt: skip
    x = lib.ones(1)
    given = [(2.5,), (lib.tensor(2),), (True,), (None,), (2, 1), (2, "a"), (2, 1.0, 1), (1j,)]
    given += [(2, 1.0, "a"), (2, 1.0, True, 3), (2, 1.0, True, None, 1), (2, 1, True, None, [1.5])]
    return refused(*(lambda g=g: op(x, *g).tolist() for g in given))


def what_kernels_give(lib, ns):
    def op(name, text, kernel, mutates=()):
        return lib.library.custom_op(f"{ns}::{name}", kernel, mutates_args=mutates, schema=text)

    one = "(Tensor x) -> Tensor"
    view = op("view", one, lambda x: x.view(-1))
    nothing = op("nothing", "(Tensor x) -> ()", lambda x: 3)
    two = op("two", "(Tensor x) -> (Tensor, Tensor)", lambda x: x * 2)
    graded = op("graded", one, lambda x: x * 2)
    graded.register_autograd(lambda ctx, g: (g, g))
    lib.library.define(f"{ns}::same", one)
    lib.library.impl(f"{ns}::same", "default", lambda x: x)
    part = lib.library.Library(ns, "FRAGMENT")
    part.define("parts(Tensor x) -> Tensor")
    part.impl("parts", lambda x: x.sin(), "CompositeImplicitAutograd")
    into = op("into", "(Tensor(a!) x, Tensor y) -> ()", lambda x, y: x.add_(y) and None, {"x"})
    leaf, y = lib.ones(1, requires_grad=True), lib.ones(1, requires_grad=True)
    x = y * 1
    into(leaf, y), into(x, y)
    parts = getattr(lib.ops, ns).parts(lib.ones(1, requires_grad=True))
    return refused(
        lambda: view(lib.ones(2))[:0], lambda: nothing(lib.ones(1)), lambda: two(lib.ones(1)),
        lambda: graded(y).backward(), lambda: getattr(lib.ops, ns).same(lib.ones(1)).tolist(),
        lambda: [leaf.tolist(), x.tolist(), type(x.grad_fn).__name__.rpartition(".")[2]],
        lambda: parts.grad_fn is not None and parts.backward(),
    )  # fmt: skip


@pytest.mark.parametrize(
    "program",
    [types_of_arguments, what_kernels_give, by_the_older_spelling, which_gradients,
     a_kernel_turned_off, signatures, wrong_uses,
     a_derivative, no_derivative, several, in_place, in_place_and_returned, within_autocast,
     a_derivative_in_numpy, by_schema, by_schema_without_a_derivative, by_a_library, over_a_batch,
     for_meta, an_alias, no_annotation, no_namespace, a_missing_argument, a_wrong_argument,
     a_missing_op],
)  # fmt: skip
def test_as_pytorch(program):
    ours, theirs = both(program)
    assert ours == theirs


def test_the_derivative_of_a_list():
    """PyTorch 2.13 refuses what its own documentation says to return for one."""

    @torchlike.library.custom_op("tests::weighted", mutates_args=())
    def weighted(xs: list[torchlike.Tensor], n: int) -> torchlike.Tensor:
        return xs[0] * n + xs[1]

    weighted.register_autograd(
        lambda ctx, g: ([g * ctx.n, g], None),
        setup_context=lambda ctx, inputs, output: setattr(ctx, "n", inputs[1]),
    )
    xs = [torchlike.ones(2, requires_grad=True) for _ in range(2)]
    weighted(xs, 3).sum().backward()
    assert [x.grad.tolist() for x in xs] == [[3.0, 3.0], [1.0, 1.0]]


def test_a_kernel_in_numpy():
    """What needs the numbers is called with tensors, never with tracers."""

    @torchlike.library.custom_op("tests::sort_rows", mutates_args=())
    def sort_rows(x: torchlike.Tensor) -> torchlike.Tensor:
        return torchlike.from_numpy(np.sort(x.numpy(), -1))

    @sort_rows.register_vmap
    def _(info, in_dims, x):
        return sort_rows(x), in_dims[0]

    x = torchlike.tensor([[3.0, 1.0], [2.0, 5.0]])
    assert sort_rows(x).tolist() == [[1.0, 3.0], [2.0, 5.0]]
    assert torchlike.func.vmap(sort_rows)(x[:, None]).tolist() == [[[1.0, 3.0]], [[2.0, 5.0]]]
    assert repr(sort_rows) == "<CustomOpDef(tests::sort_rows)>"
    assert torchlike.library.opcheck(sort_rows, (x,))["test_schema"] == "SUCCESS"


def test_what_is_not_supported_says_so():
    for call in (
        lambda: torchlike.library.triton_op("a::b", mutates_args=()),
        lambda: torchlike.library.Library("aten", "IMPL"),
        lambda: torchlike.library.get_ctx(),
        lambda: torchlike.library.register_torch_dispatch("a::b", object),
    ):
        with pytest.raises(torchlike.NotSupported, match=r"library|own"):
            call()
