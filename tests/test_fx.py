"""torch.fx: the same graphs, code and printed text as PyTorch's, and the same numbers."""

import collections
import copy
import enum
import importlib
import io
import math
import operator
import os
import pickle
import subprocess
import sys
import time
import typing
import warnings

import numpy as np
import pytest

import torchlike

torch = pytest.importorskip("torch", reason="PyTorch 2.13 is the oracle")

Pair = collections.namedtuple("Pair", "a b")


class Colour(enum.Enum):
    RED = 1


def of(lib, path):
    return importlib.import_module(f"{lib.__name__}.fx{path and '.' + path}")


def shown(value):
    """What two libraries' results are compared by: text, and numbers as arrays."""
    if isinstance(value, (torch.Tensor, torchlike.Tensor)):
        return value.detach().numpy()
    if isinstance(value, (list, tuple)):
        return [shown(x) for x in value]
    if isinstance(value, dict):
        return {str(k): shown(v) for k, v in value.items()}
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value).replace("torchlike.", "torch.")


def same(ours, theirs):
    if isinstance(theirs, np.ndarray):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)
    elif isinstance(theirs, list):
        assert len(ours) == len(theirs), (ours, theirs)
        for a, b in zip(ours, theirs, strict=True):
            same(a, b)
    elif isinstance(theirs, dict):
        assert list(ours) == list(theirs)
        for key in theirs:
            same(ours[key], theirs[key])
    else:
        assert ours == theirs


def attempt(call):
    """What a call gives, or the class and text of its error."""
    try:
        return call()
    except Exception as error:
        return [type(error).__name__, str(error)]


def compare(program):
    results = []
    for lib in (torchlike, torch):
        with warnings.catch_warnings(record=True):
            warnings.simplefilter("always")
            lib.manual_seed(0)
            results.append(shown(program(lib)))
    same(*results)


# ---- what is traced ------------------------------------------------------------------------------


def unpacked(x):
    a, b = x
    return a + b


def written(x):
    x[0] = 1
    return x


def asked(x):
    return x if x.sum() > 0 else -x


def annotated(
    x: "int",
    y: typing.Optional[int] = None,  # noqa: UP045
    z: list[int] = (),
    *a: int,
    w=3,
    **kw,
) -> typing.Tuple[int, float]:  # noqa: UP006
    return x, y, kw["k"], a[0]


def typed(x: int, y: typing.List[int] = ()) -> typing.Tuple[int, str]:  # noqa: UP006
    return x, y


def choice(x, flag=False):
    return x + 1 if flag else x - 1


def tree(d):
    return d["a"] + d["b"][0]


# Each gets the library and returns a function, or what is to be traced and with what.
TRACED = {
    "arithmetic": lambda t: lambda x: x**2 + 2**x - 1 / x // 3 % 2 @ x,
    "comparisons": lambda t: lambda x: (x < 1) | (x >= 2) & (x == 3) ^ (x != 4),
    "shifts": lambda t: lambda x: abs(-x + ~x) << 1 >> 2,
    "attributes": lambda t: lambda x: (x.shape[0], x.size(0) + x.dim(), x.T.mT, x.a.b.c(1)(2)),
    "items": lambda t: lambda x: x[0, ..., 1:] + x[None] + x[x > 0],
    "unpacking": lambda t: unpacked,
    "containers": lambda t: lambda x: (x, [x, {"a": x, 1: [x]}], slice(x, None), Pair(x, 2)),
    "functions": lambda t: lambda x: t.cat([x, t.relu(x)], dim=-1) + t.add(x, 2, alpha=3),
    "methods": lambda t: lambda x: x.view(-1, 2).sum(dim=0, keepdim=True).to(t.float64).item(),
    "functional": lambda t: lambda x: [
        t.nn.functional.relu(x), t.nn.functional.gelu(x), t.nn.functional.dropout(x, 0.1),
        t.nn.functional.linear(x, x), t.nn.functional.max_pool2d(x, 2),
        t.nn.functional.softmax(x, -1), t.nn.functional.layer_norm(x, (3,)),
        t.nn.functional.sigmoid(x), t.nn.functional.conv2d(x, x), t.nn.functional.softplus(x),
        t.nn.functional.interpolate(x, scale_factor=2), t.nn.functional.logsigmoid(x),
        t.nn.functional.cross_entropy(x, x), t.nn.functional.threshold(x, 1, 2),
        t.nn.functional.scaled_dot_product_attention(x, x, x), t.nn.functional.rms_norm(x, (3,)),
        t.nn.functional.adaptive_avg_pool2d(x, 1), t.nn.functional.one_hot(x),
    ],
    "python functions": lambda t: lambda x: [
        t.einsum("ij,jk", x, x), t.norm(x), t.split(x, 2), t.meshgrid(x, x), t.unique(x),
        t.tensordot(x, x), t.stft(x, 4), t.cdist(x, x), t.atleast_2d(x), t.broadcast_tensors(x, x),
    ],
    "namespaces": lambda t: lambda x: (
        t.linalg.norm(x), t.fft.rfft(x), t.special.zeta(x, 1), t.linalg.svd(x)
    ),
    "lists": lambda t: lambda x: (t.einsum("i,i", [x, x]), t.stack((x, x)), t.hstack([x, x])),
    "tensor first": lambda t: lambda x: (
        t.ones(2) == x, t.ones(2) ** x, t.ones(3)[x], t.ones(3).view(x.shape[0]), t.ones(2) < x
    ),
    "sum": lambda t: lambda x: sum([x, x]),
    "constants": lambda t: lambda x: t.ones(2) + x * t.ones(2),
    "factories": lambda t: lambda x: [
        t.ones(x.shape[0]), t.zeros(x.shape), t.arange(x.shape[0]), t.full((x.shape[0],), 1.0),
        t.empty(x.size()), t.eye(x.shape[0]), t.randint(0, x.shape[0], (3,)),
    ],
    "math": lambda t: lambda x: math.sqrt(x.shape[0]),
    "asserted": lambda t: lambda x: t._assert(x.sum() > 0, "m"),
    "nothing": lambda t: lambda x: None,
    "defaults": lambda t: lambda x, y=3, *a, z=4.5, **k: x + y + a[0] + z + k["q"],
    "annotations": lambda t: annotated,
    "typed": lambda t: typed,
    "odd names": lambda t: lambda input, len, self_: input + len + self_,
    "keys": lambda t: lambda x: x.keys(),
    "call": lambda t: lambda x: x(1, k=2),
    "isinstance": lambda t: lambda x: (isinstance(x, t.Tensor), x is None, t.is_tensor(x)),
    "printed": lambda t: lambda x: str(x),
    "enum": lambda t: lambda x: x.f(Colour.RED, t.float32, t.device("cpu"), float("inf"), 1j, "q"),
    "concrete": lambda t: (choice, {"flag": True}),
    "none": lambda t: (choice, {"flag": None}),
    "two": lambda t: (lambda x, y, z: x + y * z, {"y": 2, "z": "a"}),
    "tree": lambda t: (tree, {"d": {"a": t.fx.PH, "b": [t.fx.PH, 3]}}),
    "tuple": lambda t: (choice, (t.fx.PH, False)),
    # what is refused
    "setitem": lambda t: written,
    "if": lambda t: asked,
    "iter": lambda t: lambda x: [i for i in x],
    "star": lambda t: lambda x: t.add(*x),
    "double star": lambda t: lambda x: dict(**x),
    "len": lambda t: lambda x: len(x),
    "int": lambda t: lambda x: int(x),
    "range": lambda t: lambda x: range(x),
    "contains": lambda t: lambda x: 1 in x,
    "not": lambda t: lambda x: not x,
    "max": lambda t: lambda x: max(x, 1),
    "round": lambda t: lambda x: round(x),
    "dict key": lambda t: lambda x: {x: 1},
    "object": lambda t: lambda x: x.f(object()),
    "stranger": lambda t: lambda x: t.nn.Linear(1, 1)(x),
    "native": lambda t: t.relu,
    "number": lambda t: 3,
    "too few": lambda t: (choice, (1,)),
}  # fmt: skip


@pytest.mark.parametrize("name", TRACED)
def test_traced(name):
    def program(lib):
        importlib.import_module(f"{lib.__name__}.fx")
        made = TRACED[name](lib)
        root, given = made if isinstance(made, tuple) else (made, None)

        def trace():
            gm = lib.fx.symbolic_trace(root, given)
            nodes = [(n.op, n.name, n.args, n.kwargs, n.type) for n in gm.graph.nodes]
            return gm.code, gm.graph, gm, nodes, [n.format_node() for n in gm.graph.nodes]

        return attempt(trace)

    compare(program)


# ---- programs ------------------------------------------------------------------------------------


def net(t):
    class Block(t.nn.Module):
        def __init__(self, i, o):
            super().__init__()
            self.conv = t.nn.Conv2d(i, o, 3, padding=1, bias=False)
            self.bn, self.relu = t.nn.BatchNorm2d(o), t.nn.ReLU(inplace=True)
            self.down = t.nn.Sequential(t.nn.Conv2d(i, o, 1), t.nn.BatchNorm2d(o))

        def forward(self, x):
            out = self.relu(self.bn(self.conv(x)))
            out += self.down(x)
            return out

    class Net(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = t.nn.ModuleList([Block(3, 4), Block(4, 4)])
            self.drop, self.pool = t.nn.Dropout(0.5), t.nn.AdaptiveAvgPool2d(1)
            self.fc, self.scale = t.nn.Linear(4, 2), t.nn.Parameter(t.ones(1))
            self.register_buffer("shift", t.zeros(1))
            self.table = t.arange(2.0)

        def forward(self, x, twice: bool = False):
            for layer in self.layers:
                x = layer(x)
            x = t.flatten(self.pool(x), 1)
            if self.training:
                x = t.nn.functional.dropout(x, 0.1, training=self.training)
            return self.fc(self.drop(x)) * self.scale + self.shift + self.table

    return Net()


def program_module(t):
    fx, model = of(t, ""), net(t).eval()
    gm, x = fx.symbolic_trace(model), t.randn(2, 3, 5, 5)
    out = [gm, gm.graph, gm(x), model(x), list(gm.state_dict()), gm.training]
    again = copy.deepcopy(gm)
    out += [again(x), again.code == gm.code, type(again).__name__]
    out += [gm.fc.weight is model.fc.weight, again.fc.weight is gm.fc.weight]
    loaded = pickle.loads(pickle.dumps(gm))
    out += [loaded, loaded(x), str(loaded.graph) == str(gm.graph)]
    file = io.BytesIO()
    t.save(gm, file)
    file.seek(0)
    out += [t.load(file, weights_only=False).code == gm.code, copy.copy(gm).code]
    gm.train()
    out += [gm.layers.get_submodule("0").bn.training, fx.symbolic_trace(model.train()).code]
    gm.eval()
    params = {k: v + 1 for k, v in gm.named_parameters()}
    out += [t.func.functional_call(gm, {**params, **dict(gm.named_buffers())}, (x,))]
    gm(x).sum().backward()
    out += [gm.fc.weight.grad]
    out += [gm.add_submodule("new.sub", t.nn.ReLU()), gm.delete_submodule("new.sub")]
    out += [gm.delete_submodule("none"), gm.delete_submodule("fc.weight")]
    gm.add_submodule("a.b", t.nn.ReLU())
    gm.delete_all_unused_submodules()
    readable = gm.print_readable(print_output=False)
    return [*out, [n for n, _ in gm.named_modules()], readable]


def program_graph(t):
    fx = of(t, "")
    g = fx.Graph()
    x, y = g.placeholder("x", t.Tensor), g.placeholder("y", default_value=3.0)
    a = g.call_function(t.add, (x, y), {"alpha": 2})
    b, c = g.call_method("relu", (a,)), g.get_attr("w.q")
    d = g.call_module("lin.0", (b,), {"k": [c, {"a": c}], "s": slice(None, c), "d": t.float32})
    e = g.call_function(operator.iadd, (d, 1))
    g.call_function(operator.setitem, (x, 0, 1))
    g.call_function(t.rand, (3,))
    g.call_method("add_", (x, 1))
    f = g.call_function(getattr, (e, "a b"))
    g.output((f, g.call_function(getattr, (f, "c", 1)), g.call_function(operator.abs, (f,))))
    out = [g, g.python_code("self").src, sorted(g.python_code("self").globals)]
    out += [(n, n.all_input_nodes, list(n.users), n.prev, n.next) for n in g.nodes]
    out += [
        attempt(lambda: g.erase_node(x)),
        attempt(lambda: fx.Graph().erase_node(g.output_node())),
    ]
    out += [attempt(lambda: g.create_node("bad", "x")), attempt(lambda: g.call_module("x", 3))]
    out += [attempt(lambda: fx.Node(g, "n", "call_function", "q", (), {}))]
    out += [attempt(lambda: g.inserting_before(fx.Graph().placeholder("x")))]
    out += [attempt(lambda: a.args[0].kwargs.update(a=1)), attempt(lambda: d.kwargs["k"].append(1))]
    out += [g.find_nodes(op="placeholder"), g.find_nodes(op="call_function", target=t.add)]
    out += [
        attempt(lambda: g.find_nodes(op="call_function")),
        len(g.nodes),
        list(reversed(g.nodes)),
    ]
    a.update_arg(1, 5)
    a.insert_arg(0, y)
    a.update_kwarg("alpha", 3)
    out += [a.format_node(), b.replace_all_uses_with(c), attempt(g.eliminate_dead_code)]
    fx.GraphModule({"w.q": 3, "lin.0": t.nn.ReLU()}, g)
    out += [g.eliminate_dead_code(), g]
    with g.inserting_before(x):
        early = g.call_function(t.relu, (x,))
    with g.inserting_after(y):
        for _ in range(2):
            g.call_function(t.neg, (y,))
    with g.inserting_before():
        g.placeholder("first")
    out += [g, attempt(g.lint)]
    x.append(early)
    for name in (
        "x_01", "1a", "a.b.c", "foo", "torch", "if", "len", "relu_1", "inf", "self", "a-b", "foo",
        "foo_2", "foo_1", "foo",
    ):  # fmt: skip
        out.append(g.create_node("call_function", t.add, (), name=name).name)
    for function in (t.relu, t.Tensor.relu, math.sqrt, len, t.nn.functional.relu, max, t.nn.Module):
        node = g.call_function(function)
        out += [node.name, node.format_node()]
    for kind in (int, t.Tensor, typing.List[int], list[int], int | None, typing.Any, ..., (), "a"):  # noqa: UP006
        out.append(of(t, "node")._type_repr(kind))
    other = fx.Graph()
    other.placeholder("in")
    out += [other.graph_copy(fx.symbolic_trace(lambda x: t.relu(x) + 1).graph, {}), other]
    empty = fx.GraphModule({}, fx.Graph())
    return [*out, empty.code, empty(), str(copy.deepcopy(other)) == str(other), x < early, y < x]


def program_lint(t):
    fx = of(t, "")
    g = fx.Graph()
    x = g.placeholder("x")
    g.output(g.call_module("a.b", (x,)))
    root = t.nn.Module()
    out = [attempt(lambda: fx.GraphModule(root, g)), attempt(lambda: fx.GraphModule({}, g))]
    out += [attempt(lambda: fx.GraphModule(3, g))]
    gm = fx.GraphModule({"a.b": t.nn.ReLU()}, g, class_name="Named")
    out += [gm, attempt(g.lint), attempt(lambda: g.call_module("zz", ()))]
    g.get_attr("absent")
    return [*out, attempt(g.lint)]


def program_interpreters(t):
    fx = of(t, "")

    def fn(x):
        return t.sigmoid(x).neg()

    class Swap(fx.Transformer):
        def call_function(self, target, args, kwargs):
            if target == t.sigmoid:
                return t.neg(*args, **kwargs)
            return super().call_function(target, args, kwargs)

        def call_method(self, target, args, kwargs):
            if target == "neg":
                return args[0].sigmoid(*args[1:], **kwargs)
            return super().call_method(target, args, kwargs)

    class Seen(fx.Interpreter):
        def run_node(self, n):
            seen.append(n.name)
            return super().run_node(n)

    seen, x, gm = [], t.randn(3, 4), fx.symbolic_trace(fn)
    swapped = Swap(gm).transform()
    out = [swapped, swapped(x), Seen(gm).run(x), seen, fx.Transformer(gm).transform().code]
    model = fx.symbolic_trace(net(t).eval())
    image = t.randn(2, 3, 5, 5)
    out += [Seen(model).run(image), fx.Transformer(model).transform()(image)]
    run = fx.Interpreter(fx.symbolic_trace(lambda x, y=2, *a: x + y))
    out += [
        run.run(x),
        run.run(x, x),
        run.boxed_run([x, x, ()]),
        attempt(lambda: run.fetch_attr("a.b")),
    ]
    error = attempt(run.run)
    return [*out, error[0], error[1].partition("\nOriginal")[0]]


def program_rewriting(t):
    fx, rewriter = of(t, ""), of(t, "subgraph_rewriter")

    def whole(x, w1, w2):
        m1, m2 = t.cat([w1, w2]).sum(), t.cat([w2, w1]).sum()
        return x + t.max(m1) + t.max(m2)

    out = []
    for pattern, other in (
        (lambda a, b: t.cat([a, b]), lambda a, b: t.stack([a, b])),
        (lambda x: t.max(x), lambda x: t.min(x) * 2),
        (lambda x: x.sum(), lambda x: x.mean().exp()),
        (lambda x: t.relu(x), lambda x: x),
        (lambda a, b: (t.cat([a, b]), t.cat([b, a])), lambda a, b: (a.sin(), b.cos())),
    ):
        gm = fx.symbolic_trace(whole)
        found = fx.replace_pattern(gm, pattern, other)
        out += [gm.code, [(m.anchor, list(m.nodes_map.items())) for m in found]]
        out += [gm(t.ones(2), t.ones(2), t.ones(2) * 3)]
    for given in (
        {}, {"ignore_literals": True},
        {"match_filters": [lambda m, g, p: "1" in m.returning_nodes[0].name]},
    ):  # fmt: skip
        gm = fx.symbolic_trace(lambda x: t.add(t.add(x, 3), 4))
        found = rewriter.replace_pattern_with_filters(
            gm, lambda x: t.add(x, 4), lambda x: t.sub(x, 5), **given
        )
        out += [gm.code, [r.replacements for r in found]]
    gm = fx.symbolic_trace(lambda x: t.add(t.add(x, 3), 4))
    fx.replace_pattern(gm, lambda x, y: t.add(x, y), lambda x, y: t.sub(x, y))

    class Whole(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = t.nn.Linear(2, 2)

        def forward(self, x):
            return self.lin(x).relu() + 1

    class Part(Whole):
        def forward(self, x):
            return self.lin(x).relu()

    class Other(Whole):
        def __init__(self):
            super().__init__()
            self.other = t.nn.Linear(2, 3)

        def forward(self, x):
            return self.other(x)

    replaced = fx.symbolic_trace(Whole())
    fx.replace_pattern(replaced, Part(), Other())
    return [*out, gm.code, replaced, replaced(t.ones(2))]


def program_retracing(t):
    fx, f = of(t, ""), t.nn.functional
    rules = {f.relu: lambda x, inplace: (x > 0) * x}
    made, env = fx.Graph(), {}
    tracer = of(t, "proxy").GraphAppendingTracer(made)
    for node in fx.Tracer().trace(lambda x: f.relu(x) + 1).nodes:
        if node.op == "call_function" and node.target in rules:
            args = [
                fx.Proxy(env[a.name], tracer) if isinstance(a, fx.Node) else a for a in node.args
            ]
            env[node.name] = rules[node.target](*args, **node.kwargs).node
        else:
            env[node.name] = made.node_copy(node, lambda n: env[n.name])
    one, other = (fx.Proxy(fx.Graph().placeholder("x")) for _ in range(2))
    return [fx.GraphModule({}, made).code, attempt(lambda: t.add(one, other))[0]]


def program_codegen(t):
    fx = of(t, "")
    gm = fx.symbolic_trace(lambda x: x + 1)
    undo = gm.graph.on_generate_code(lambda now: lambda body: ["y = 3\n", *body])
    gm.recompile()
    out = [gm.code]
    with undo:
        pass
    gm.recompile()

    class Listed(fx.graph.CodeGen):
        def gen_fn_def(self, free_vars, maybe_return_annotation):
            names = ", ".join(free_vars)
            return (
                f"def forward(self, args: List[int]){maybe_return_annotation}:\n    {names} = args"
            )

        def additional_globals(self):
            return [("List", list)]

        def process_inputs(self, *inputs):
            return inputs[0]

    listed = fx.symbolic_trace(lambda x, y: x + y)
    listed.graph.set_codegen(Listed())
    listed.recompile()
    trees = fx.symbolic_trace(tree, {"d": {"a": fx.PH, "b": [fx.PH, 3]}})
    values = {"a": t.ones(1), "b": [t.ones(1), 3]}
    out += [
        gm.code,
        listed.code,
        listed([t.ones(1)] * 2),
        fx.Interpreter(listed).run([t.ones(1)] * 2),
    ]
    out += [trees(values), trees.graph.process_inputs(values), fx.Interpreter(trees).run(values)]
    values["b"][1] = 4
    fixed = fx.symbolic_trace(choice, {"flag": True})
    out += [attempt(lambda: trees(values)), attempt(lambda: fixed(t.ones(1), False))]
    return [*out, fixed(t.ones(1), True), copy.deepcopy(trees).code, type(trees.graph._codegen)]


def program_passes(t):
    fx, out = of(t, ""), []
    shapes, tools = of(t, "passes.shape_prop"), of(t, "passes.tools_common")
    gm = fx.symbolic_trace(lambda x, y: t.cat([x @ y, x[:1]]).sum(-1).long().shape[0] * x)
    shapes.ShapeProp(gm).propagate(t.ones(2, 3), t.ones(3, 3))
    out += [(n, n.meta.get("tensor_meta"), n.meta["type"]) for n in gm.graph.nodes]
    model = net(t).eval()
    traced, names, x = fx.symbolic_trace(model), {}, t.randn(2, 3, 5, 5)
    for given in ({"qualname_map": names}, {"keep_original_order": True, "partition_affix": "p"}):
        count = iter(range(99)).__next__
        split = of(t, "passes.split_module").split_module(
            traced, model, lambda n, count=count: count() // 5, **given
        )
        out += [split, split.graph, split(x), names]
        out += [m.code for m in split.children() if isinstance(m, fx.GraphModule)]
    sizes = of(t, "passes.graph_manipulation")
    plain = fx.symbolic_trace(model.layers[0])
    sizes.get_size_of_all_nodes(plain, [x])
    out += [tuple(n.size_bytes) for n in plain.graph.nodes if n.op != "output"]
    sizes.replace_target_nodes_with(traced, "call_function", operator.mul, "call_function", t.sub)
    out += [traced.code]
    g = fx.symbolic_trace(lambda x, y: x.sin() + y.cos())
    nodes = list(g.graph.nodes)
    nodes[4].append(nodes[2])
    out += [tools.legalize_graph(g).graph, tools.stable_topological_sort(g).graph]
    cse = of(t, "passes.dialect.common.cse_pass").CSEPass()
    result = cse(fx.symbolic_trace(lambda x: (x + 1) * (x + 1) + x.sin() * x.sin() + t.rand(1) * x))
    return [*out, result.graph_module.code, result.modified]


def program_pass_manager(t):
    fx, base = of(t, ""), of(t, "passes.infra.pass_base")
    manager = of(t, "passes.infra.pass_manager")

    class ToAdd(base.PassBase):
        def call(self, gm):
            for node in gm.graph.nodes:
                node.target = t.add if node.target == operator.add else node.target
            gm.recompile()
            return base.PassResult(gm, True)

    def first(gm):
        return None

    def second(gm):
        return gm

    def bad(gm):
        raise RuntimeError("bad")

    def traced():
        return fx.symbolic_trace(lambda x: x + 1)

    one, two = map(manager.pass_result_wrapper, (first, second))
    rules = [manager.this_before_that_pass_constraint(two, one)]
    pm = manager.PassManager([one, ToAdd(), two], rules, steps=2)
    out = [attempt(pm.validate_constraints)[0]]
    pm.solve_constraints()
    result = pm(traced())
    out += [
        [getattr(p, "__name__", "") for p in pm.passes],
        result.graph_module.code,
        result.modified,
    ]
    out += [attempt(lambda p=p: manager.PassManager([p])(traced()))[0] for p in (bad, second)]
    return [*out, attempt(lambda: pm.add_checks(lambda a, b: None))[0]]


def program_optimization(t):
    fx, opt = of(t, ""), of(t, "experimental.optimization")

    class Model(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.c, self.b, self.d = t.nn.Conv2d(3, 4, 3), t.nn.BatchNorm2d(4), t.nn.Dropout()
            self.n = t.nn.Sequential(t.nn.Conv2d(4, 4, 1), t.nn.BatchNorm2d(4), t.nn.ReLU())

        def forward(self, x):
            return self.n(self.d(self.b(self.c(x))))

    class Folded(t.nn.Module):
        def __init__(self, several):
            super().__init__()
            self.w, self.several = t.nn.Parameter(t.randn(2, 2)), several
            self.register_buffer("b", t.ones(2))

        def forward(self, x):
            y = x @ (self.w.t() * 2 + self.b)
            return (y, (self.w + 1).sum() * x) if self.several else y

    model, x = Model(), t.randn(4, 3, 6, 6)
    model(x)
    model.eval()
    fused, nodes = opt.fuse(model), list(fx.symbolic_trace(model).graph.nodes)
    out = [fused, fused(x), model(x), opt.remove_dropout(model)]
    out += [opt.extract_subgraph(model, nodes[2:4], [nodes[1]], [nodes[3]])]
    fold = of(t, "experimental.const_fold").split_const_subgraphs
    small = t.randn(2, 2)
    for several in (False, True):
        folded = fold(Folded(several))
        out += [folded.code, folded.const_subgraph_module.code, folded(small), folded(small)]
    skipped = fold(Folded(False), skip_folding_node_fn=lambda n: n.target == operator.mul)
    out += [skipped.code, skipped(small), fold(fx.symbolic_trace(lambda x: x + 1)).code]
    return out


def program_tracers(t):
    fx, model = of(t, ""), net(t).eval()

    class Deep(fx.Tracer):
        def is_leaf_module(self, m, name):
            return isinstance(m, t.nn.BatchNorm2d)

    class Listed(fx.Tracer):
        def to_bool(self, obj):
            return True

        def iter(self, obj):
            return iter([obj[0], obj[1]])

    class Point(metaclass=of(t, "_symbolic_trace").ProxyableClassMeta):
        def __init__(self, x, y):
            self.x, self.y = x, y

        def total(self):
            return self.x + self.y

    def points(x, y):
        return Point(x, y).total() + Point(1, 2).y

    def branches(x):
        return [a + 1 for a in x] if x.any() else x

    tracer = fx.Tracer(param_shapes_constant=True)

    class Sized(t.nn.Module):
        def __init__(self):
            super().__init__()
            self.w = t.nn.Parameter(t.ones(2, 3))

        def forward(self, x):
            return x.view(self.w.shape[0], -1) if self.w.dim() == 2 else x

    graph = Deep().trace(model)
    out = [graph, fx.GraphModule(model, graph)(t.ones(1, 3, 5, 5)), Listed().trace(branches)]
    out += [str(tracer.trace(Sized())), fx.Tracer().trace(points)]
    plain = fx.Tracer()
    plain.trace(model)
    out += [{k: v[0] for k, v in plain.node_name_to_scope.items()}]
    for module in (t.nn.Sequential(t.nn.Linear(2, 2), t.nn.ReLU()), t.nn.MultiheadAttention(4, 2)):
        out += [attempt(lambda m=module: fx.symbolic_trace(t.nn.Sequential(m)).graph)]
    again = fx.symbolic_trace(fx.symbolic_trace(model))
    stacks = [list(n.meta.get("nn_module_stack", ())) for n in fx.symbolic_trace(model).graph.nodes]
    return [*out, again, stacks]


PROGRAMS = [f for name, f in list(globals().items()) if name.startswith("program_")]


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda f: f.__name__.removeprefix("program_"))
def test_program(program):
    compare(program)


# ---- wrap ----------------------------------------------------------------------------------------

WRAPPED = """
import {lib} as torch
from {lib}.fx import wrap, symbolic_trace
import math

wrap("len")
wrap("later")

@wrap
def mine(x, y):
    return len(x) + y

def later(x):
    return x * 2

def function(x):
    return torch.zeros(len(x)) + mine(x, 3) + later(x) + math.floor(x.sum())

def inside():
    wrap(mine)
"""


def test_wrap():
    def program(lib):
        names = {"__name__": "wrapped"}
        exec(WRAPPED.format(lib=lib.__name__), names)
        gm = lib.fx.symbolic_trace(names["function"])
        out = [gm.code, gm.graph, gm(lib.ones(2)), names["mine"]([1], 2), names["later"](3)]
        return [*out, attempt(names["inside"]), attempt(lambda: lib.fx.wrap(3))]

    compare(program)


# ---- what has no counterpart in a comparison -----------------------------------------------------


def test_compiled():
    model = net(torchlike).eval()
    gm, x = torchlike.fx.symbolic_trace(model), torchlike.randn(2, 3, 5, 5)
    compiled = torchlike.compile(gm)
    for _ in range(3):
        same(shown(compiled(x)), shown(model(x)))


def test_public_functions_are_their_own_again():
    function = torchlike.relu
    torchlike.relu(torchlike.ones(1))
    code = function.__code__
    torchlike.fx.symbolic_trace(lambda x: torchlike.relu(x))
    assert function.__code__ is code
    assert torchlike.nn.Module.__call__ is super(torchlike.nn.Module, torchlike.nn.Module).__call__


def test_tracing_is_fast():
    model = torchlike.nn.Sequential(*(net(torchlike) for _ in range(12)))
    torchlike.fx.symbolic_trace(model[0])
    start = time.perf_counter()
    gm = torchlike.fx.symbolic_trace(model)
    assert len(gm.graph.nodes) > 200
    assert time.perf_counter() - start < 2  # 0.1 on an idle machine


@pytest.mark.parametrize("runs", [True, False])
def test_folder(tmp_path, runs):
    """A folder that is written is a package: under the runner, and for this package by itself."""
    (tmp_path / "make.py").write_text(
        f"import {'torch' if runs else 'torchlike as torch'}\n"
        f"from {'torch' if runs else 'torchlike'} import fx, nn\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.a, self.p = nn.Linear(2, 2), nn.Parameter(torch.ones(2))\n"
        "        self.c = nn.Sequential(nn.ReLU())\n"
        "        self.register_buffer('b', torch.ones(2))\n"
        "    def forward(self, x):\n"
        "        return nn.functional.gelu(self.c(self.a(x))) + self.p * self.b\n"
        "net = Net()\n"
        "fx.symbolic_trace(net).to_folder('written')\n"
        "from written import FxModule\n"
        "x = torch.ones(2)\n"
        "assert torch.equal(FxModule()(x), net(x))\n"
        "print('equal')\n"
    )
    command = [sys.executable, *(["-m", "torchlike"] if runs else []), "make.py"]
    path = os.path.dirname(os.path.dirname(torchlike.__file__))
    done = subprocess.run(
        command,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        timeout=120,
    )
    assert done.stdout == "equal\n", done.stderr


def test_not_there():
    from torchlike.fx.experimental.proxy_tensor import make_fx

    with pytest.raises(torchlike.NotSupported, match="symbolic_trace"):
        make_fx(lambda x: x)


def backends(lib):
    """Programs that a backend of one's own gets as graphs: their results, and what it was asked."""
    nn, seen = lib.nn, []

    def mine(graph_module, inputs, **options):
        seen.append((len(inputs) > 0, sorted(options)))
        graph_module.graph.lint()
        return graph_module.forward

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = nn.Linear(3, 3), nn.BatchNorm1d(3)
            self.weight, self.shift = nn.Parameter(lib.ones(3)), lib.tensor([2.0])
            self.register_buffer("mask", lib.ones(3))

        def forward(self, x, more=None):
            out = self.norm(self.inner(x)) * self.weight + self.mask * self.shift
            return out if more is None else {"out": out + more["x"][0], "sum": (out.sum(), "text")}

    x = lib.tensor([[1.0, 2, 3], [0, 1, 5], [4, 2, 0]])
    net, factor = Net(), [1.0]
    compiled = lib.compile(net, backend=mine)
    optimizer = lib.optim.SGD(compiled.parameters(), 0.1)
    out = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = compiled(x).pow(2).sum()
        loss.backward()
        optimizer.step()
        out.append(loss)
    out += [compiled(x, more={"x": [x]}), *compiled.state_dict().values()]
    scaled = lib.compile(lambda a, scale=2: net(a) * factor[0] * scale, backend=mine)
    out += [scaled(x), scaled(x, 3)]
    factor[0] = 5.0
    net.eval()
    with lib.no_grad():
        out += [scaled(x), scaled(x[:2])]
    out.append(lib.compile(lambda a: a + 1, backend=mine, options={"level": 2})(x))
    return [*out, seen[0], seen[-1]]


def test_backends_of_ones_own_take_graphs():
    compare(backends)


def test_files(tmp_path):
    """A traced module that one library writes is read by the other."""
    x = np.ones((1, 3, 5, 5), np.float32)
    for writer, reader in ((torch, torchlike), (torchlike, torch)):
        gm, file = of(writer, "").symbolic_trace(net(writer).eval()), tmp_path / "module.pt"
        writer.save(gm, file)
        loaded = reader.load(file, weights_only=False)
        same(shown(loaded(reader.tensor(x))), shown(gm(writer.tensor(x))))
        assert loaded.code == gm.code


def test_trees_are_pickled():
    fx = torchlike.fx
    gm = fx.symbolic_trace(tree, {"d": {"a": fx.PH, "b": [fx.PH, 3]}})
    again = pickle.loads(pickle.dumps(gm))
    assert again({"a": 1, "b": [2, 3]}) == 3 and again.code == gm.code
