"""Small autograd programs, run on PyTorch and here: what they log, compute and raise is equal."""

import contextlib
import copy
import gc
import math
import pickle
import threading
import warnings
import weakref
from functools import partial

import pytest

import torchlike

torch = pytest.importorskip("torch")
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Anomaly Detection"),
    pytest.mark.filterwarnings("ignore:Using backward"),
    pytest.mark.filterwarnings("ignore:Sparse"),
]


def leaf(t, *shape, grad=True):
    n = math.prod(shape)
    return (t.arange(1.0, n + 1).reshape(shape) / (n + 1)).requires_grad_(grad)


def function(t, forward, backward, name="Fn", **more):
    members = {"forward": staticmethod(forward), "backward": staticmethod(backward), **more}
    return type(name, (t.autograd.Function,), members)


def said(run, length=60):
    """What a call gives, or the type of its error and the beginning of its text."""
    try:
        return run()
    except Exception as error:  # whatever it is, the other side must raise the same
        return type(error).__name__, str(error)[:length]


def plain(x, number=float):
    """A result as what can be compared: tensors as (dtype, whether it requires grad, numbers)."""
    if isinstance(x, (torch.Tensor, torchlike.Tensor)):
        dense = x.detach() if "strided" in str(x.layout) else x.detach().to_dense()
        kind = str(x.dtype).rpartition(".")[2]
        return [kind, x.requires_grad, plain(dense.tolist(), number)]
    if isinstance(x, (list, tuple)):
        return [plain(y, number) for y in x]
    if isinstance(x, float):
        return "nan" if math.isnan(x) else number(x)
    return x.replace("torchlike", "torch") if isinstance(x, str) else x


def near(x):
    """A number that ours need not equal in the last digits."""
    return pytest.approx(x, rel=1e-4, abs=1e-6)


CASES = {}


def case(run):
    """Add a program to the table."""
    CASES[run.__name__.replace("_", " ")] = run
    return run


# ---- autograd.Function -------------------------------------------------------------------------

_OURS = (
    "targets", "op", "hooks", "function", "used", "retained", "edges", "call", "shapes", "packed",
    "label", "number", "plan", "saved", "results", "segment", "kept", "attributes", "release",
    "derive", "ctx",
)  # fmt: skip


@case
def names_on_ctx_are_the_users_own(t):
    found = []
    for name in _OURS:

        def forward(ctx, x, name=name):
            setattr(ctx, name, "mine")
            return x * 2

        def backward(ctx, g, name=name):
            found.append(getattr(ctx, name))
            return g * 2

        x = leaf(t, 2)
        function(t, forward, backward).apply(x).sum().backward()
        found.append(x.grad)
    return found


@case
def ctx_is_the_node_that_programs_see(t):
    seen = []

    def forward(ctx, x, k, y):
        seen.extend([type(ctx).__name__, isinstance(ctx, t.autograd.graph.Node)])
        seen.append([isinstance(ctx, t.autograd.function.FunctionCtx), ctx.needs_input_grad])
        ctx.save_for_backward(x, None)
        return x * k

    def backward(ctx, g):
        seen.append([x is None for x in ctx.saved_tensors])
        return g, None, None

    y = function(t, forward, backward).apply(leaf(t, 2), 3, leaf(t, 2, grad=False))
    node = y.grad_fn
    node.note = 1
    seen.append([node is y.grad_fn, y.grad_fn.note, node.name(), len(node.next_functions)])
    seen.append([len(node._raw_saved_tensors) if t is torchlike else 2, node.saved_tensors[0]])
    seen.append([node._input_metadata[0].shape, node._input_metadata[0].dtype is t.float32])
    y.sum().backward()
    seen.append(said(lambda: node.saved_tensors, 40))
    return seen


@case
def keywords_defaults_and_vjp(t):
    def backward(ctx, g):
        return g * ctx.y, None

    def forward(ctx, x, y=3):
        ctx.y = y
        return x * y

    def setup(ctx, inputs, output):
        _, ctx.y = inputs

    one = function(t, forward, backward)
    apart = function(t, lambda x, y=3: x * y, backward, setup_context=staticmethod(setup))
    by_vjp = type(
        "V", (t.autograd.Function,),
        {"forward": staticmethod(forward), "vjp": staticmethod(backward)},
    )  # fmt: skip
    twice = function(t, forward, backward, vjp=staticmethod(backward))
    out = []
    for kind in (one, apart, by_vjp):
        x = leaf(t, 2)
        kind.apply(x, 3).sum().backward()
        out.append(x.grad)
    x = leaf(t, 2)
    out += [one.apply(x, y=2), apart.apply(x), apart.apply(x, y=4)]
    out.append(said(lambda: twice.apply(x, 3).sum().backward()))
    out.append(said(lambda: one()(x), 40))
    return out


@case
def what_may_be_marked_dirty(t):
    def added(ctx, a, b):
        a.add_(b)
        ctx.mark_dirty(a)
        return a, a + b

    def elsewhere(ctx, a, b):
        a.add_(b)
        ctx.mark_dirty(a)
        return a.clone(), a + b

    def inner(ctx, a, b):
        out = a.clone().view_as(a)
        ctx.mark_dirty(out)
        return out

    def pair(ctx, g, h):
        return g + h, g + h

    a, b = leaf(t, 2), leaf(t, 2)
    c, d = function(t, added, pair).apply(a.clone(), b)
    (c * d).sum().backward()
    return [
        a.grad,
        said(lambda: function(t, added, pair).apply(a.clone().view_as(a), b)),
        said(lambda: function(t, elsewhere, pair).apply(a.clone(), b)),
        said(lambda: function(t, inner, lambda ctx, g: (g, g)).apply(a.clone(), b)),
        said(lambda: function(t, lambda ctx, a: ctx.mark_dirty(3), pair).apply(a), 30),
        said(lambda: function(t, lambda ctx, a: ctx.save_for_backward(3), pair).apply(a)),
    ]


@case
def gradients_that_cannot_be(t):
    out = []
    for bad in (3, [1], "x"):
        x = leaf(t, 2)
        out.append(said(lambda: function(t, lambda c, x: x * 2, lambda c, g: bad).apply(x)  # noqa: B023
                        .sum().backward()))  # fmt: skip
    x = leaf(t, 2)
    kind = function(t, lambda c, x: x * 2, lambda c, g: g.to(t.complex64))
    out.append(said(lambda: kind.apply(x).sum().backward())[0])
    return [*out, x.grad]


@case
def what_is_looked_at_only_on_the_tape(t):
    def forward(ctx, x, y):
        ctx.save_for_backward(x, y)
        return x * 2, y

    kind = function(t, forward, lambda c, g, h: (g, None))
    out = [kind.apply(1.0, 2), kind.apply(leaf(t, 1, grad=False), None)]
    with t.no_grad():
        out.append(kind.apply(leaf(t, 1), "y"))
    out.append(said(lambda: kind.apply(leaf(t, 1), "y")))

    def twice(ctx, x):
        ctx.mark_dirty(x.mul_(2))
        return x, x

    twice = function(t, twice, lambda c, g, h: g + h)
    out.append(said(lambda: twice.apply(leaf(t, 2).clone()[0])))
    for fill in (True, False):

        def forward(ctx, x, fill=fill):
            a, b = x.clone(), x.clone()
            ctx.mark_non_differentiable(b)
            ctx._materialize_non_diff_grads = fill
            return a, b

        kind = function(t, forward, lambda c, g, h: out.append((g, h)) or g)
        kind.apply(leaf(t, 2))[0].sum().backward()

    for what in ("save_for_backward", "save_for_forward", "mark_dirty", ""):

        def setup(ctx, inputs, output, what=what):
            if what:
                getattr(ctx, what)(*inputs)
                ctx.save_for_backward(*inputs if what == "mark_dirty" else ())

        kind = function(t, lambda x: x, lambda c, g: g, setup_context=staticmethod(setup))
        out += [said(lambda: kind.apply(t.ones(1, requires_grad=r) * 1)) for r in (True, False)]  # noqa: B023
    parts = t.ones(4, requires_grad=True)
    with t.no_grad():
        part = (parts * 1).tensor_split(2)[0]
        made = parts.clone().requires_grad_().tensor_split(2)[0]
    return [*out, part.add_(1), said(lambda: made.add_(1))]


@case
def saved_tensors_are_given_once_if_asked(t):
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x.clone()

    def backward(ctx, g):
        return g * ctx.saved_tensors[0] * ctx.saved_tensors[0]

    kind = function(t, forward, backward, clear_saved_tensors_on_access=True)
    return said(lambda: kind.apply(leaf(t, 2)).sum().backward())


@case
def a_function_that_saves_its_result_is_no_cycle(t):
    def forward(ctx, x):
        y = x.exp()
        ctx.save_for_backward(y)
        return y

    kind = function(t, forward, lambda ctx, g: g * ctx.saved_tensors[0])
    x = leaf(t, 2)
    gc.collect()
    gc.disable()
    try:
        gone = weakref.ref(kind.apply(x))() is None
    finally:
        gc.enable()
    y = kind.apply(x)
    (g,) = t.autograd.grad(y.sum(), x, create_graph=True)
    g.sum().backward()
    return gone, g, x.grad


# ---- hooks -------------------------------------------------------------------------------------


@case
def what_hooks_may_return(t):
    out = []
    ones = t.ones
    for bad in (lambda g: 3, lambda g: (g,), lambda g: ones(3), lambda g: ones(2).double()):
        for at_leaf in (True, False):
            x = leaf(t, 2)
            y = x * 2
            (x if at_leaf else y).register_hook(bad)
            out += [said(lambda: y.sum().backward(), 70), x.grad]  # noqa: B023
    for bad in (lambda g: g[0], lambda g: (), lambda g: (3,), lambda g: (None,)):
        x = leaf(t, 2)
        y = x * 2
        y.grad_fn.register_prehook(bad)
        out += [said(lambda: y.sum().backward(), 70), x.grad]  # noqa: B023
    for bad in (lambda i, o: i[0], lambda i, o: (i[0],) * 2, lambda i, o: (ones(5), None)):
        x = leaf(t, 2)
        y = x * 2
        y.grad_fn.register_hook(bad)
        out += [said(lambda: y.sum().backward(), 70), x.grad]  # noqa: B023
    return out


@case
def hooks_may_write_in_place(t):
    x, w = leaf(t, 2), leaf(t, 2)
    y = x * 2
    y.register_hook(lambda g: (g.mul_(3), None)[1])
    w.register_hook(lambda g: (g.zero_(), None)[1])
    (y * 1 + w * 1).sum().backward()
    return x.grad, w.grad


@case
def the_order_of_hooks(t):
    log = []

    def hook(name, factor=1):
        def run(*grads):
            log.append(name)
            g = grads[0]
            return tuple(x * factor for x in g) if isinstance(g, tuple) else g * factor

        return run

    a = t.tensor(1.0, requires_grad=True)
    b = a.clone()
    b.grad_fn.register_prehook(hook("node", 2))
    b.register_hook(hook("tensor", 3))
    b.retain_grad()
    end = b.grad_fn.next_functions[0][0]
    end.register_prehook(hook("end", 5))
    end.register_hook(lambda i, o: log.append(("after", len(i), o[0].item())))
    a.register_hook(hook("leaf", 7))
    a.register_post_accumulate_grad_hook(lambda leaf: log.append("added"))
    b.backward(retain_graph=True)
    out = [list(log), a.grad, b.grad, end is b.grad_fn.next_functions[0][0]]
    log.clear()
    out.append(t.autograd.grad(b, a))
    return [*out, log]


@case
def leaves_are_complete_in_the_midst_of_backward(t):
    log = []
    a, b = leaf(t, 2), leaf(t, 2)
    c = b.sin()
    d = a.cos()
    for name, x in {"a": a, "b": b, "c": c, "d": d}.items():
        x.register_hook(lambda g, name=name: log.append(name))
    a.register_post_accumulate_grad_hook(lambda x: log.append("a added"))
    (c * d + d).sum().backward()
    return log


@case
def hooks_of_parameters_run_from_the_last(t):
    log = []
    net = t.nn.Sequential(t.nn.Linear(3, 4), t.nn.LayerNorm(4), t.nn.Linear(4, 2))
    t.nn.init.ones_(net[2].weight)
    for name, p in net.named_parameters():
        p.register_hook(lambda g, name=name: log.append(name))
        p.register_post_accumulate_grad_hook(lambda p, name=name: log.append(name))
    for _ in range(3):  # the first walk, and those that are known
        net(t.ones(5, 3)).sum().backward()
    net(t.ones(5, 3)).sum().backward(create_graph=True)
    net(t.ones(5, 3)).backward(t.ones(5, 2))
    return log


@case
def gradients_kept_of_what_is_overwritten(t):
    a = leaf(t, 1).clone()
    a.retain_grad()
    a.mul_(2)
    a.mul_(2)
    a.sum().backward()
    x = leaf(t, 1).clone()
    x.retain_grad()
    view = x[:]
    view *= 2
    x *= 2
    x.sum().backward()
    base = leaf(t, 1).clone()
    view, other = base[:], base[:]
    view.retain_grad()
    other.retain_grad()
    view.mul_(2)
    y = (view + other).sum()

    def forward(ctx, x):
        ctx.mark_dirty(x.mul_(3))
        return x

    triple = function(t, forward, lambda c, g: g * 3).apply
    whole = leaf(t, 4) * 1
    part = whole[1:]
    kept = [whole, part, leaf(t, 2) * 1]
    for z in kept:
        z.retain_grad()
    triple(kept[2])
    triple(part)
    (kept[2].sum() + (whole * part.sum()).sum()).backward()
    of_view = t.autograd.grad(y, view, retain_graph=True)
    y.backward()
    return a.grad, x.grad, view.grad, other.grad, of_view, [z.grad for z in kept]


@case
def gradients_that_are_none_go_on(t):
    """Nodes and hooks below a derivative that gives None are run all the same."""
    log = []

    def note(name, *x):
        log.append([name, *x])

    zero = function(t, lambda c, x: x * 2, lambda c, g: note("zero") or None)
    plain = function(t, lambda c, x: x * 2, lambda c, g: note("plain", g) or g)

    def forward(ctx, x):
        ctx.set_materialize_grads(False)
        return x * 2

    bare = function(t, forward, lambda c, g: note("bare", g) or g)
    for inner in (plain, bare):
        w = leaf(t, 2)
        zero.apply(inner.apply(w).sin()).sum().backward()
        note("grad", w.grad)
    w, kept = leaf(t, 2), leaf(t, 2)
    y = w.sin()
    y.register_hook(lambda g: note("result", g))
    y.grad_fn.register_prehook(lambda g: note("before", g))
    y.grad_fn.register_hook(lambda i, o: note("after", i, o))
    w.register_hook(lambda g: note("leaf", g))
    w.register_post_accumulate_grad_hook(lambda x: note("added", x.grad))
    y.grad_fn.next_functions[0][0].register_hook(lambda i, o: note("end", i, o))
    (zero.apply(y) + kept).sum().backward()
    log.append([w.grad, kept.grad])
    log.append(t.autograd.grad(zero.apply(w).sum(), w, allow_unused=True))
    a, b = leaf(t, 2).unbind()
    a.register_hook(lambda g: note("unbound", g))
    b.backward()
    return log


@case
def nodes_of_inputs_are_run(t):
    log = []
    a = leaf(t, 2)
    b = a * 2
    c = (b * 3).sum()
    b.grad_fn.register_prehook(lambda g: log.append("before"))
    b.grad_fn.register_hook(lambda i, o: log.append("after"))
    a.register_hook(lambda g: log.append("leaf"))
    c.backward(inputs=(b,), retain_graph=True)
    t.autograd.grad(c, b, retain_graph=True)
    out = [b.grad, a.grad, list(log)]
    out += [said(lambda: c.backward(inputs=[a, 1])), said(lambda: t.autograd.grad(c, [1]))]
    c.backward(inputs=(a, b))
    return [*out, a.grad, b.grad, log]


@case
def a_second_backward_where_a_number_is_saved(t):
    x, out = leaf(t, 2), []
    for call in (lambda x: x * 2, lambda x: 3 * x, lambda x: x / 4, lambda x: x + 1, lambda x: -x):
        y = call(x).sum()
        y.backward()
        out += [said(y.backward, 50), x.grad.clone()]

    def forward(ctx, x):
        ctx.x = x
        ctx.save_for_backward(x)
        return x.sum()

    for backward in (lambda c, g: g * c.x, lambda c, g: g * c.saved_tensors[0]):
        kind = function(t, forward, backward)
        y = kind.apply(x)
        y.backward()
        out += [said(y.backward, 50), x.grad.clone(), said(lambda: y.grad_fn.saved_tensors, 50)]  # noqa: B023
    return out


@case
def nodes_that_are_called(t):
    x = leaf(t, 2)
    out = []
    for y in (x**2, x.sin(), x * 2):
        out += [said(lambda g=g: y.grad_fn(g)) for g in (3, None)]  # noqa: B023
        out.append(said(y.grad_fn))
    end = (x * 2).grad_fn.next_functions[0][0]
    return out, [m.shape for m in end._input_metadata]


@case
def callbacks_at_the_end(t):
    log, engine = [], t.autograd.Variable._execution_engine

    def backward(ctx, g):
        engine.queue_callback(lambda: (log.append("first"), engine.queue_callback(last)))
        return g

    def last():
        log.append("last")

    x = leaf(t, 2)
    x.register_hook(lambda g: log.append("leaf"))
    function(t, lambda ctx, x: x.clone(), backward).apply(x).sum().backward()
    return log, said(lambda: engine.queue_callback(last))


@case
def hooks_on_several_tensors_of_which_some_get_none(t):
    a, b, c, d = (leaf(t, 2) for _ in range(4))
    a, log = a * 2, []

    def hook(grads):
        log.append([g is not None for g in grads])

    t.autograd.graph.register_multi_grad_hook((a, b, c, d), hook)
    out = (b * c).sum()
    for inputs in ((b, c), (a, d), (a, c)):
        out.backward(inputs=inputs, retain_graph=True)
    threads = [
        threading.Thread(target=lambda: out.backward(inputs=(b, c), retain_graph=True))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return log


@case
def threads_add_to_the_same_leaf(t):
    x = t.ones(3, requires_grad=True)
    threads = [
        threading.Thread(target=lambda: ((x + 3) * (x + 4)).sum().backward()) for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return x.grad


# ---- arguments of backward and grad ------------------------------------------------------------


@case
def bad_arguments(t):
    x = leaf(t, 2, 2)
    z, edge = x**2, t.autograd.graph.get_gradient_edge
    grad, backward, two = t.autograd.grad, t.autograd.backward, t.ones(2, 2)
    total = (x * x).sum()
    at = edge(total)
    return [
        said(lambda: grad([z, z], [x], two)),
        said(lambda: grad(t.ones(1), [t.ones(1)])),
        said(lambda: grad(at, [x], t.ones(4))),
        said(lambda: grad(at, [x], t.ones((), dtype=t.complex64))),
        said(lambda: backward(at, t.ones(4))),
        said(lambda: total.backward(inputs=[t.ones(2)])),
        said(lambda: grad(z, x, two[0], is_grads_batched=True), 100),
        said(
            lambda: grad(x.clone().sum(), [edge(x * 2)], allow_unused=True,
                         materialize_grads=True)
        ),
        said(lambda: z.grad_fn(two, two)),
        z.grad_fn(two),
        said(lambda: t.autograd.graph.register_multi_grad_hook((x, two), print)),
        said(lambda: pickle.dumps(z.grad_fn)), said(lambda: copy.copy(z.grad_fn)),
    ]  # fmt: skip


@case
def attributes_that_cannot_be_set(t):
    x, whole = leaf(t, 2), t.ones(2, dtype=t.int64)

    def put(what, name, value):
        return said(lambda: setattr(what, name, value), 50)

    return [
        put(x, "requires_grad", 1), put(whole, "requires_grad", True), put(x, "grad", x),
        put(x, "grad", t.ones(3)), put(x, "grad", t.ones(2).double())[0], put(x, "data", 3),
        put(x, "data", t.ones(2).to_sparse()), said(lambda: t.set_grad_enabled("yes")),
        t.is_grad_enabled(),
    ]  # fmt: skip


@case
def dense_and_sparse_gradients_add_up(t):
    out = []
    for create in (False, True):
        p = t.ones(2, requires_grad=True)
        p.grad = t.sparse_coo_tensor(t.tensor([[1, 1]]), t.tensor([1.0, 1.0]), (2,))
        p.backward(t.tensor([1.5, 1.5]), create_graph=create)
        out.append(p.grad)
    table = t.nn.Embedding(3, 2, sparse=True, _weight=t.ones(3, 2))
    table(t.tensor([1])).sum().backward()
    first = table.weight.grad
    table(t.tensor([2, 1])).sum().backward()
    return [*out, first is table.weight.grad, first]


@case
def pieces_that_may_be_written_to(t):
    out = []
    for cut in (
        lambda x: x.unsafe_split(1), lambda x: x.unsafe_chunk(3), lambda x: x.split(1),
        lambda x: x.unsafe_split_with_sizes((1, 1, 1)),
    ):  # fmt: skip
        x = leaf(t, 3, 2)
        y = x * 2
        a, b, c = cut(y)
        out.append(said(lambda: a.mul_(b), 40))  # noqa: B023
        (a.sum() + c.sum() * 3).backward()
        out += [x.grad, y.detach()]
    return out


# ---- what is saved -----------------------------------------------------------------------------


@case
def results_that_may_be_overwritten(t):
    out, F = [], t.nn.functional
    for run in (
        lambda x: x.topk(1)[0], lambda x: x.sort()[0], lambda x: x.max(1)[0],
        lambda x: t.var_mean(x)[1], lambda x: x.kthvalue(1)[0], lambda x: x.exp(),
        lambda x: x.softmax(0), lambda x: x.max(),
    ):  # fmt: skip
        x = leaf(t, 2, 2)
        y = run(x * 1)
        y /= 2
        out += [said(lambda: y.sum().backward(), 40), x.grad]  # noqa: B023
    for run in (
        lambda x: F.embedding(t.tensor([0, 0]), x), lambda x: F.l1_loss(x, t.ones(2, 2)),
        lambda x: F.cross_entropy(x, t.tensor([0, 1])), lambda x: x.quantile(0.5),
        lambda x: x.sin(),
    ):  # fmt: skip
        x = leaf(t, 2, 2)
        w = x * 1
        y = run(w)
        w += 1
        out += [said(lambda: y.sum().backward(), 40), x.grad]  # noqa: B023
    return out


@case
def what_unpack_gives_is_what_counts(t):
    hooks = t.autograd.graph.saved_tensors_hooks
    with hooks(lambda x: 2 * x, lambda x: x):
        a = leaf(t, 3)
        total = (a**3).sum()
    (g,) = t.autograd.grad(total, a, create_graph=True)
    g.sum().backward()
    with hooks(lambda x: x, lambda x: x):
        forbid = said(lambda: t.autograd.graph.disable_saved_tensors_hooks("no").__enter__())
    return g, a.grad, forbid


@case
def slots_of_nodes(t):
    def same(x):
        return x

    a = leaf(t, 2)
    with t.autograd.graph.saved_tensors_hooks(same, same):
        b = a**2
    slot = b.grad_fn._raw_saved_self
    c = b.exp()
    d = c * c
    out = [slot.data is a, slot.unpack_hook is same, c.grad_fn._raw_saved_result.unpack_hook]
    out.append(said(lambda: slot.register_hooks(same, same), 50)[0])
    d.sum().backward()
    out.append(said(lambda: t.autograd.SavedTensor()))
    return out


@case
def options_of_nodes(t):
    x = leaf(t, 12).reshape(1, 6, 2)
    weight = t.ones(3, 6, 1)
    nodes = [
        x.split((2, 4), 1)[0].grad_fn, x.split(4, 1)[0].grad_fn, x[:, 1:].grad_fn,
        x.view(12).grad_fn, x.mean(1).grad_fn, x.sum((0, 1), keepdim=True).grad_fn,
        t.nn.functional.conv1d(x, weight).grad_fn, x.exp().grad_fn,
    ]  # fmt: skip
    names = ("self_sym_sizes", "split_sizes", "split_size", "keepdim", "stride", "padding")
    out = [[getattr(n, f"_saved_{name}", "none") for name in names] for n in nodes]
    return out, [n._saved_dim for n in (nodes[0], nodes[1], nodes[4], nodes[5])]


@case
def checkpoints_of_several_backwards(t):
    calls = []

    def run(x):
        calls.append(1)
        y = x.sin().cos()
        return y, y.sin().cos()

    found = []
    for group in (t.utils.checkpoint.GraphExecGroup, contextlib.nullcontext):
        calls.clear()
        x = leaf(t, 3)
        y, z = t.utils.checkpoint.checkpoint(run, x, use_reentrant=False)
        with group():
            (g,) = t.autograd.grad(z, y, t.ones(3))
            found.append(t.autograd.grad(y, x, g))
        found.append(len(calls))
    return found


# ---- modes -------------------------------------------------------------------------------------


@case
def checkpoints_that_take_gradients(t):
    util = t.utils.checkpoint

    def grad(f):
        def run(x):
            with t.enable_grad():
                return t.autograd.grad(f(x), x, create_graph=True)[0]

        return run

    def kept(f):
        return lambda x: util.checkpoint(f, x, use_reentrant=False)

    def f(x):
        return x.sin().exp().sin()

    def g(x):
        t.autograd.grad(f(x), x)
        return x.sin()

    out, runs = [], []
    for stop in (True, False):
        with util.set_checkpoint_early_stop(stop):
            for call in (kept(g), kept(grad(f)), grad(kept(grad(kept(f)))), grad(kept(kept(g)))):
                x = t.tensor(0.7, requires_grad=True)
                call(x).backward()
                out.append(x.grad)

    def counted(x):
        y = x.sin()
        runs.append(1)
        return y.clone()

    for stop in (True, False, None):
        for early in (True, False):
            x = leaf(t, 1)
            with contextlib.nullcontext() if stop is None else util.set_checkpoint_early_stop(stop):
                y = util.checkpoint(counted, x.cos(), use_reentrant=False, early_stop=early)
            y.backward()
            out.append(len(runs))
    return out


@case
def a_closed_generator_ends_in_its_own_mode(t):
    log = []

    @t.no_grad()
    def numbers():
        try:
            yield 1
        finally:
            log.append(t.is_grad_enabled())

    made = numbers()
    next(made)
    made.close()
    return log, t.is_grad_enabled()


@case
def anomalies_tell_of_the_forward(t):
    def backward(ctx, g):
        return g * float("nan")

    kind = function(t, lambda ctx, x: x * 1, backward, "Nan")
    out = []
    for inside in (False, True):
        y = None if inside else kind.apply(leaf(t, 2))
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            with t.autograd.detect_anomaly():
                y = kind.apply(leaf(t, 2)) if inside else y
                out.append(said(lambda: y.sum().backward(), 80))  # noqa: B023
        out.append([str(w.message)[:45] for w in told])
        out.append("kind.apply" in str(told[-1].message))
    with t.autograd.set_detect_anomaly(True, check_nan=False):
        out.append([t.is_anomaly_enabled(), t.is_anomaly_check_nan_enabled()])
    return out


@case
def a_view_that_autograd_lost(t):
    a = t.ones(1, requires_grad=True)
    with t.no_grad():
        b = a[:]
        b *= 2
    parts = t.ones(2, requires_grad=True).clone().unbind()
    return repr(b), said(lambda: parts[1].add_(1))


# ---- forward mode ------------------------------------------------------------------------------


@case
def tangents_under_no_grad(t):
    ad, out = t.autograd.forward_ad, []
    w = leaf(t, 2)
    with ad.dual_level():
        x = ad.make_dual(t.ones(2), t.arange(2.0))
        with t.no_grad():
            y = x * 3
            y.mul_(2)
            plain = w * 2
            w.fill_(1)
            out.append(ad.unpack_dual(y).tangent)
        out += [plain.requires_grad, ad.unpack_dual(y).tangent, repr(x), repr(x * 2)]
        out.append(said(lambda: ad.make_dual(t.ones(2), x), 50))
        out += [said(lambda: ad.make_dual(x, t.ones(2)), 50), ad._current_level]
    return [*out, ad._current_level]


@case
def tangents_of_duals_that_are_written_to(t):
    ad, out = t.autograd.forward_ad, []

    def put(x):
        x[0] = 5.0
        return x

    def forward(ctx, x):
        ctx.mark_dirty(x.mul_(2))
        return x

    in_place = function(
        t, forward, lambda c, g: g * 2, "InPlace", jvp=staticmethod(lambda c, g: g.mul_(2))
    )
    for call in (
        lambda d: d.mul_(2), lambda d: d.view(2, 1).mul_(3), lambda d: d.add_(1),
        lambda d: d.copy_(t.ones(2)), lambda d: t.zeros(2).copy_(d), put, in_place.apply,
    ):  # fmt: skip
        for grad in (False, True):
            x = t.tensor([1.0, 2.0], requires_grad=grad).clone()
            with ad.dual_level():
                d = ad.make_dual(x, t.tensor([1.0, 3.0]))
                y = call(d)
                found = [ad.unpack_dual(y)[1], *ad.unpack_dual(d)]
            out += [z.detach() for z in found]
            if not grad:
                out.append(x)
    return out


@case
def tangents_and_the_tape(t):
    ad, f, b = t.autograd.forward_ad, leaf(t, 2), t.ones(2, requires_grad=True)
    with ad.dual_level():
        p, tangent = ad.unpack_dual(ad.make_dual(f, b))
        return [
            t.autograd.grad(p.sum(), (f, b), allow_unused=True), tangent is b,
            t.autograd.grad(tangent.sum(), (f, b), allow_unused=True),
        ]  # fmt: skip


@case
def tangents_by_the_users_jvp(t):
    def forward(ctx, x, y, k):
        ctx.save_for_forward(x, y)
        ctx.k = k
        return k * x * y

    def jvp(ctx, x_t, y_t, _):
        x, y = ctx.saved_tensors
        return ctx.k * (y * x_t + x * y_t) + x_t * 0

    kind = type(
        "J", (t.autograd.Function,), {"forward": staticmethod(forward), "jvp": staticmethod(jvp)}
    )
    wrong = function(t, lambda c, x: x * 2, lambda c, g: 2 * g,
                     jvp=staticmethod(lambda c, g: 3 * g))  # fmt: skip
    ad, out = t.autograd.forward_ad, []
    with ad.dual_level():
        x = ad.make_dual(t.tensor(3.0), t.tensor(5.0))
        out.append(ad.unpack_dual(kind.apply(x, t.tensor(2.0), 4)).tangent)
        out.append(ad.unpack_dual(wrong.apply(x)).tangent)
    x = t.ones(2, dtype=t.float64, requires_grad=True)
    check = t.autograd.gradcheck
    out.append(said(lambda: check(wrong.apply, x, check_forward_ad=True, raise_exception=False)))
    return [*out, said(lambda: kind.apply(t.ones(1, requires_grad=True), x, 1).sum().backward())]


# ---- second derivatives ------------------------------------------------------------------------


@case
def second_derivatives_that_do_not_exist(t):
    F, out = t.nn.functional, []
    calls = (
        lambda x, a: x * a, lambda x, a: x / a, lambda x, a: x @ a, lambda x, a: x * x * a,
        lambda x, a: F.linear(x, a, a[0]), lambda x, a: t.addmm(x, x, a), lambda x, a: x**a,
        lambda x, a: t.einsum("ij,jk->ik", x, a), lambda x, a: F.conv1d(x[None], a[None]),
    )  # fmt: skip
    for call in calls:
        x, a = leaf(t, 2, 2), leaf(t, 2, 2)
        first = t.autograd.grad(call(x, a).sum(), (x, a), create_graph=True)
        for g in first:
            out.append(t.autograd.grad(g.sum(), (x, a), allow_unused=True, retain_graph=True))
    (g,) = t.autograd.grad((x * a).sum(), x, create_graph=True)
    return [*out, said(lambda: t.autograd.grad(g.sum(), x), 50)]


@case
def second_derivatives_through_hooks_on_what_is_saved(t):
    def forward(ctx, x, w):
        y = (x * w).exp()
        ctx.save_for_backward(x, w, y)
        return y

    def backward(ctx, g):
        x, w, y = ctx.saved_tensors
        return g * y * w, g * y * x

    kind = function(t, forward, backward)

    def in_place(x, w):
        return (x * 1).mul_(w)

    graph, keep = t.autograd.graph, t.utils.checkpoint.checkpoint
    out = []
    for call in (kind.apply, in_place):
        for how in ("plain", "copied", "host", "kept", "kept to the end", "reentrant"):
            x, w = leaf(t, 2), leaf(t, 2)
            stop = t.utils.checkpoint.set_checkpoint_early_stop(how == "kept")
            hooks = {
                "copied": graph.saved_tensors_hooks(lambda s: s.detach().clone(), lambda s: s),
                "host": graph.save_on_cpu(),
            }.get(how, contextlib.nullcontext())
            with hooks, stop:
                if how.startswith("kept") or how == "reentrant":
                    y = keep(call, x * 2, w, use_reentrant=how == "reentrant")
                else:
                    y = call(x * 2, w)
            if how == "reentrant":
                y.sum().backward()
                out.append((x.grad, w.grad))
                continue
            first = t.autograd.grad(y.sum(), (x, w), create_graph=True)
            sum((g * g).sum() for g in first).backward()
            out.append((*[g.detach() for g in first], x.grad, w.grad))
    return out


@case
def second_derivatives_of_scattered_products(t):
    out, place = [], t.tensor([0, 0, 1, 0])
    for zero in (None, "self", "src"):
        for include in (True, False):
            x, y = leaf(t, 2), leaf(t, 4)
            with t.no_grad():
                (x if zero == "self" else y)[0] *= zero is None
            z = x.scatter_reduce(0, place, y, "prod", include_self=include) ** 2
            first = t.autograd.grad(z.sum(), (x, y), create_graph=True)
            total = sum((g * t.arange(g.numel())).sum() for g in first)
            out += [*first, *t.autograd.grad(total, (x, y))]
    return [g.detach() for g in out]


@case
def second_derivatives_of_calls_in_place(t):
    F = t.nn.functional
    calls = {
        "sin": lambda y: y.sin_(), "exp": lambda y: y.exp_(), "pow": lambda y: y.pow_(3),
        "log": lambda y: y.abs_().log_(), "mul": lambda y: y.mul_(weight),
        "leaky_relu": lambda y: F.leaky_relu_(y, 0.2), "elu": lambda y: F.elu_(y),
        "silu": lambda y: F.silu(y, inplace=True), "mish": lambda y: F.mish(y, inplace=True),
        "relu6": lambda y: F.relu6(y, inplace=True), "hardtanh": lambda y: F.hardtanh_(y),
        "twice": lambda y: F.leaky_relu_(F.silu(y, inplace=True), 0.1),
        "written to": lambda y: y.sin_().mul_(2),
    }  # fmt: skip
    out = []
    for call in calls.values():
        x, weight = leaf(t, 6), leaf(t, 6)
        z = call(x * 3 - 1.4)
        (g,) = t.autograd.grad((z * z).sum(), x, create_graph=True)
        (h,) = t.autograd.grad((g * g).sum(), x, create_graph=True)
        out += [g, h, *t.autograd.grad(h.sum(), x)]
    x, y = leaf(t, 3), leaf(t, 3) * 1
    z = (y * x).sum()
    y.sin_()  # what another call has saved may not be overwritten
    return [*out, said(lambda: t.autograd.grad(z, x, create_graph=True), 40)]


@case
def what_is_saved_is_as_forward_leaves_it(t):
    """Changed after save_for_backward, by ops or by NumPy; and what others saved of it before."""
    packed = []

    def changed(ctx, x):
        ctx.save_for_backward(x)
        x.mul_(3)
        ctx.mark_dirty(x)
        return x

    def by_numpy(ctx, x):
        ctx.save_for_backward(x)
        n = x.numpy()
        n += 1
        ctx.mark_dirty(x)
        return x

    def between(ctx, x):
        out = x * 3
        ctx.save_for_backward(out)
        return out.mul_(2)

    def back(ctx, g):
        return g * ctx.saved_tensors[0]

    def tried(forward, before):
        x = leaf(t, 2)
        c = x.clone()
        early = before(c)
        y = function(t, forward, back).apply(c)
        ((y * y).sum() + early.sum()).backward()
        return x.grad, y

    def pack(x):
        packed.append(x.tolist())
        return x

    befores = [lambda c: c * 2, lambda c: c * c]
    out = [
        said(partial(tried, forward, before), 50)
        for forward in (changed, by_numpy, between)
        for before in befores
    ]
    with t.autograd.graph.saved_tensors_hooks(pack, lambda x: x):
        function(t, between, back).apply(leaf(t, 2))
    return [*out, packed]


# ---- checks of gradients -----------------------------------------------------------------------


@case
def what_gradcheck_says(t):
    check = t.autograd.gradcheck
    x = t.rand(2, dtype=t.float64, requires_grad=True)
    one = t.ones(1, dtype=t.float64, requires_grad=True)

    def hooked(x):
        y = x.clone()
        y.register_hook(lambda g: g + 1e-2)
        return y

    def fails(x):
        raise RuntimeError("its own")

    def added(x):
        y = x.clone()
        y.register_hook(lambda g: g if g is None else g + 1e-2)
        return y

    def wants_some(x):
        def hook(g):
            if g is None:
                raise RuntimeError("nothing")

        y = x.clone()
        y.register_hook(hook)
        return y

    wrong = function(t, lambda c, x: x * 2, lambda c, g: g * 2 if g.any() else g + 3)
    sparse = function(t, lambda c, x: x * 1, lambda c, g: g.to_sparse())
    turned = t.ones(2, dtype=t.complex128, requires_grad=True)
    return [
        said(lambda: check(added, x, atol=0.1)), said(lambda: check(added, turned), 70),
        said(lambda: check(wants_some, x), 70), said(lambda: check(wrong.apply, x), 50),
        said(lambda: check(wants_some, x, check_undefined_grad=False)),
        said(lambda: check(sparse.apply, x)),
        said(lambda: check(t.sin, x, check_backward_ad=False, check_batched_grad=True)),
        said(lambda: check(t.sin, x, check_forward_ad=True, check_batched_forward_grad=True)),
        said(lambda: check(hooked, x), 40), check(hooked, x, raise_exception=False),
        said(lambda: check(fails, x, raise_exception=False)),
        said(lambda: check(t.sin, t.rand(2), raise_exception=False), 50),
        said(lambda: check(t.sin, one.expand(2, 2), raise_exception=False), 40),
        said(lambda: check(lambda x: t.cat([x, x]) if (x >= 1).all() else x, one), 40),
        said(lambda: check(lambda x: t.tensor([x.item()]).double(), one), 50),
        check(lambda x: x.sin() * x, x, check_batched_grad=True),
    ]  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_the_same_as_pytorch(name):
    assert plain(CASES[name](torchlike)) == plain(CASES[name](torch), near)
