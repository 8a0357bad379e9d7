"""Hazards of what no name leads to: operators, metaclasses, code that C calls, emptied caches."""

import abc
import builtins
import collections
import dataclasses
import functools
import operator
import os
import random
import string
import tempfile
import types
import weakref

from tests.hazards import HAZARDS, Hazard, again, hazard, linear, numbers


class Box:
    """An object with attributes."""

    def __init__(self, **named):
        vars(self).update(named)


# ---- functions that C calls --------------------------------------------------------------------


@hazard
def printing_function_with_an_argument_bound(torch, compile):
    log = []
    write = functools.partial(log.append, "called")
    run = compile(lambda x: (write(), x * 2)[1])
    return again(run, numbers(torch, 3)), log


@hazard
def random_function_with_nothing_bound(torch, compile):
    random.seed(0)
    draw = functools.partial(random.random)
    return again(compile(lambda x: x * draw()), numbers(torch, 3), times=4)


@hazard
def random_function_handed_to_map(torch, compile):
    random.seed(0)
    run = compile(lambda x: x * sum(map(random.getrandbits, [8, 8])))
    return again(run, numbers(torch, 3), times=4)


@hazard
def printing_handed_to_map(torch, compile):
    """Seen by a ``print`` of ours: what the function in C writes, a test cannot compare."""
    log = []

    def noting(*texts):
        log.append(texts)

    before, builtins.print = builtins.print, noting
    try:
        run = compile(lambda x: (list(map(print, "ab")), x * 2)[1])
        return again(run, numbers(torch, 3)), log
    finally:
        builtins.print = before


# ---- names that no code spells -----------------------------------------------------------------


@hazard
def attribute_named_in_a_format(torch, compile):
    options, x = Box(inner=Box(scale_by=2.0)), numbers(torch, 3)
    run = compile(lambda x: x * float("{0.inner.scale_by}".format(options)))  # noqa: UP030, UP032
    seen = again(run, x)
    options.inner.scale_by = 3.0
    return seen + again(run, x)


@hazard
def template_filled_in(torch, compile):
    values, text, x = {"k": "2"}, string.Template("$k"), numbers(torch, 3)
    run = compile(lambda x: x * float(text.substitute(values)))
    seen = again(run, x)
    values["k"] = "3"
    return seen + again(run, x)


@hazard
def attributes_matched_by_position(torch, compile):
    @dataclasses.dataclass
    class Pair:
        first: float
        second: float

    holder, x = Box(pair=Pair(1.0, 2.0)), numbers(torch, 3)

    def function(x):
        match holder.pair:
            case Pair(a, b):
                return x * a + b

    run = compile(function)
    seen = again(run, x)
    holder.pair.second = 5.0
    seen += again(run, x)
    holder.pair.first = 7.0
    return seen + again(run, x)


@hazard
def attributes_by_their_dict(torch, compile):
    options, x = Box(hidden=2.0), numbers(torch, 3)
    run = compile(lambda x: x * sum(options.__dict__.values()))
    seen = again(run, x)
    options.hidden = 5.0
    seen += again(run, x)
    options.other = 1.0
    return seen + again(run, x)


@hazard
def module_that_makes_up_attributes(torch, compile):
    class Layer(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.config = linear(torch), {"gain": 2.0}

        def __getattr__(self, name):
            try:
                return super().__getattr__(name)
            except AttributeError:
                return super().__getattribute__("config")[name]

        def forward(self, x):
            return self.inner(x) * self.gain

    model, x = Layer(), numbers(torch, 2, 3)
    run = compile(model)
    seen = again(run, x)
    model.config["gain"] = 4.0
    return seen + again(run, x)


@hazard
def object_that_makes_up_all_attributes(torch, compile):
    table = {"scale": 2.0}

    class Made:
        def __getattribute__(self, name):
            return table[name]

    made, x = Made(), numbers(torch, 3)
    run = compile(lambda x: x * made.scale)
    seen = again(run, x)
    table["scale"] = 7.0
    return seen + again(run, x)


# ---- classes -----------------------------------------------------------------------------------


@hazard
def operators_of_a_class_replaced(torch, compile):
    class Factor:
        def __mul__(self, x):
            return x * 2

        def __len__(self):
            return 2

    factor, x = Factor(), numbers(torch, 3)
    run = compile(lambda x: factor * x + len(factor))
    seen = again(run, x)
    Factor.__mul__ = lambda self, x: x * 10
    seen += again(run, x)
    Factor.__len__ = lambda self: 7
    return seen + again(run, x)


@hazard
def operators_that_read_a_closure(torch, compile):
    limit = [2.0]

    class Value:
        __mul__ = lambda self, x: x * limit[0]  # noqa: E731

        def __contains__(self, item):
            return limit[0] > 4

        def __bool__(self):
            return limit[0] > 8

        def __lt__(self, other):
            return limit[0] < 3

        def __index__(self):
            return int(limit[0]) - 2

    value, x = Value(), numbers(torch, 3)

    def function(x):
        more = (10 if 3 in value else 0) + (100 if value else 0) + (5 if value < 2 else 0)
        return value * x + more + [1, 2, 3, 4, 5, 6, 7, 8][value]

    run = compile(function)
    seen = again(run, x)
    for limit[0] in (3.5, 5.0, 9.0):
        seen += again(run, x)
    return seen


@hazard
def constructor_that_reads_a_closure(torch, compile):
    start = [2.0]

    class Point:
        def __init__(self):
            self.value = start[0]

    run, x = compile(lambda x: x * Point().value), numbers(torch, 3)
    seen = again(run, x)
    start[0] = 5.0
    return seen + again(run, x)


@hazard
def attributes_of_bases_and_metaclasses(torch, compile):
    class Meta(type):
        scale = 2.0

    class Base(metaclass=Meta):
        shift = 1.0

    class Derived(Base):
        pass

    run, x = compile(lambda x: x * Derived.scale + Derived.shift), numbers(torch, 3)
    seen = again(run, x)
    Meta.scale = 3.0
    seen += again(run, x)
    Base.shift = 5.0
    seen += again(run, x)
    Derived.scale = 7.0
    return seen + again(run, x)


@hazard
def attributes_of_numbers_and_errors(torch, compile):
    class Count(int):
        factor = 2

        def __mul__(self, x):
            return x * self.factor

    count, error, x = Count(3), ValueError("text"), numbers(torch, 3)
    error.code = 2.0
    held, passed = compile(lambda x: x * error.code), compile(lambda x, n: n * x)
    seen = again(held, x) + again(passed, x, count)
    error.code, count.factor = 4.0, 5
    return seen + again(held, x) + again(passed, x, count)


@hazard
def held_weakly(torch, compile):
    thing, x = Box(scale=2.0), numbers(torch, 3)
    found = weakref.ref(thing)
    run = compile(lambda x: x * found().scale)
    seen = again(run, x)
    thing.scale = 3.0
    return seen + again(run, x)


# ---- caches, globals ---------------------------------------------------------------------------


@hazard
def cache_emptied(torch, compile):
    table = {"n": 2.0}

    @functools.lru_cache
    def scale():
        return table["n"]

    run, x = compile(lambda x: x * scale()), numbers(torch, 3)
    seen = again(run, x)
    table["n"] = 3.0
    seen += again(run, x)  # still 2
    scale.cache_clear()
    return seen + again(run, x)


@hazard
def property_that_is_cached(torch, compile):
    class Config:
        size = 2.0

        @functools.cached_property
        def twice(self):
            return self.size * 2

    config, x = Config(), numbers(torch, 3)
    run = compile(lambda x: x * config.twice)
    seen = again(run, x, times=4)
    config.size = 5.0
    seen += again(run, x)
    del config.twice
    return seen + again(run, x)


@hazard
def builtin_function_shadowed(torch, compile):
    run, x = compile(lambda x: x * len([1, 2])), numbers(torch, 3)
    seen = again(run, x)
    globals()["len"] = lambda items: 7
    try:
        seen += again(run, x)
    finally:
        del globals()["len"]
    return seen + again(run, x)


@hazard
def sentinels_and_named_tuples(torch, compile):
    """Both are replayed: an object without state, and the fields of a named tuple."""
    missing, kinds = object(), collections.namedtuple("Kinds", "a b", defaults=[3.0])
    table, x = {}, numbers(torch, 3)

    def function(x):
        found = table.get("k", missing)
        return kinds(x if found is missing else x * found).a * kinds(x).b

    run = compile(function)
    seen = again(run, x)
    table["k"] = 5.0
    return seen + again(run, x)


@hazard
def items_by_a_getter(torch, compile):
    table, get, x = {"k": 2.0}, operator.itemgetter("k"), numbers(torch, 3)
    run = compile(lambda x: x * get(table))
    seen = again(run, x)
    table["k"] = 3.0
    return seen + again(run, x)


@hazard
def functions_of_a_module_that_makes_up_names(torch, compile):
    options, x = types.ModuleType("options"), numbers(torch, 3)
    options.value = 2.0
    options.__getattr__ = lambda name: options.value * 10
    run = compile(lambda x: x * options.other)
    seen = again(run, x)
    options.value = 3.0
    return seen + again(run, x)


@hazard
def mode_that_takes_functions_over(torch, compile):
    class AddsOne(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, kinds, args=(), kwargs=None):
            found = function(*args, **(kwargs or {}))
            return found + 1 if getattr(function, "__name__", "") == "mul" else found

    run, x = compile(lambda x: torch.mul(x, 2)), numbers(torch, 3)
    seen = again(run, x)
    with AddsOne():
        seen += again(run, x)
    return seen + again(run, x)


# ---- the library's own state -------------------------------------------------------------------


@hazard
def files_read_and_written(torch, compile):
    with tempfile.TemporaryDirectory() as folder:
        read, written = os.path.join(folder, "read.pt"), os.path.join(folder, "written.pt")
        torch.save(torch.ones(2), read)

        def function(x):
            torch.save({"epoch": 3}, written)
            return x + torch.load(read)

        run, seen = compile(function), []
        for _ in range(4):
            seen += [run(1.0), os.path.exists(written)]
            os.remove(written)
        torch.save(torch.zeros(2), read)
        return seen + again(run, 1.0)


@hazard
def switches_of_the_library_read(torch, compile):
    def function(x):
        exact = torch.get_float32_matmul_precision() == "highest"
        factor = 2 if torch.are_deterministic_algorithms_enabled() else 3
        return x * factor + exact + (10 if torch.backends.cudnn.benchmark else 0)

    run, x = compile(function), numbers(torch, 2)
    seen = again(run, x)
    try:
        torch.use_deterministic_algorithms(True)
        seen += again(run, x)
        with torch.backends.cudnn.flags(benchmark=True):
            seen += again(run, x)
        torch.set_float32_matmul_precision("high")
        seen += again(run, x)
    finally:
        torch.use_deterministic_algorithms(False)
        torch.set_float32_matmul_precision("highest")
    return seen + again(run, x)


@hazard
def switches_of_the_library_set(torch, compile):
    def function(x):
        torch.set_printoptions(precision=2)
        return x * 2

    run, seen = compile(function), []
    try:
        for _ in range(4):
            torch.set_printoptions(precision=4)
            seen += [run(numbers(torch, 2)), str(torch.tensor(1.23456))]
    finally:
        torch.set_printoptions(profile="default")
    return seen


# ---- backward of one's own functions -----------------------------------------------------------


@hazard
def backward_with_a_side_effect(torch, compile):
    calls = []

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, factor):
            ctx.factor = factor
            return x * factor

        @staticmethod
        def backward(ctx, gradient):
            calls.append(ctx.factor)
            return gradient * ctx.factor, None

    weight = numbers(torch, 3).requires_grad_()
    run = compile(lambda factor: Scaled.apply(weight, factor).sum())
    for factor in (2.0, 2.0, 2.0, 3.0, 3.0):
        run(factor).backward()
    return weight.grad, calls


@hazard
def backward_reads_what_changes_before_it(torch, compile):
    """The derivative is recorded with the forward pass: replayed it raises, and says why."""
    state, weight, seen = {"scale": 2.0}, numbers(torch, 3).requires_grad_(), []

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x * 2

        @staticmethod
        def backward(ctx, gradient):
            return gradient * state["scale"]

    run = compile(lambda x: Scaled.apply(weight * x).sum())
    for change in (0.0, 0.0, 0.0, 1.0):
        loss = run(numbers(torch, 3))
        state["scale"] += change
        try:
            loss.backward()
        except RuntimeError as error:
            if "was recorded with the forward pass" not in str(error):
                raise
            weight.grad += numbers(torch, 3) * state["scale"]  # what eager adds
        seen.append(weight.grad.clone())
    return seen


@hazard
def an_abstract_class_gets_a_subclass(torch, compile):
    class Doubled(abc.ABC):
        @abc.abstractmethod
        def double(self): ...

    class Plain:
        pass

    settings = Plain()
    run = compile(lambda x: x * 2 if isinstance(settings, Doubled) else x)
    before = [run(numbers(torch, 3)) for _ in range(3)]
    Doubled.register(Plain)
    return before, run(numbers(torch, 3))


# ---- switches of the library, whatever its functions are called --------------------------------

SWITCHES = {  # name -> (who tells, who sets, another value, its own)
    "warn_always": lambda t: (t.is_warn_always_enabled, t.set_warn_always, True, False),
    "products": lambda t: (
        t.get_float32_matmul_precision, t.set_float32_matmul_precision, "high", "highest",
    ),
    "conversion": lambda t: (
        t.__future__.get_swap_module_params_on_conversion,
        t.__future__.set_swap_module_params_on_conversion, True, False,
    ),
    "autocast_dtype": lambda t: (
        lambda told=t.get_autocast_dtype: str(told("cpu")).rpartition(".")[2],
        lambda x, put=t.set_autocast_dtype: put("cpu", x), t.float16, t.bfloat16,
    ),
    "sparse_checks": lambda t: (
        t.sparse.check_sparse_tensor_invariants.is_enabled,
        lambda x, switch=t.sparse.check_sparse_tensor_invariants: (
            switch.enable if x else switch.disable
        )(),
        True, False,
    ),
    "attention": lambda t: (
        t.backends.cuda.flash_sdp_enabled, t.backends.cuda.enable_flash_sdp, False, True,
    ),
    "checksums": lambda t: (
        t.serialization.get_crc32_options, t.serialization.set_crc32_options, False, True,
    ),
    "anomaly": lambda t: (t.is_anomaly_enabled, t.autograd.set_detect_anomaly, True, False),
}  # fmt: skip


def switch(name):
    def run(torch, compile):
        told, put, other, own = SWITCHES[name](torch)
        tell, change = compile(lambda: torch.zeros(1) + len(str(told()))), compile(lambda x: put(x))
        try:
            seen = again(tell)
            put(other)
            seen += again(tell)
            for _ in range(3):
                put(own)
                change(other)
                seen.append(told())
        finally:
            put(own)
        return seen

    return run


HAZARDS += [Hazard(f"switch_of_the_library_{name}", switch(name)) for name in SWITCHES]


@hazard
def operator_of_tensors_replaced(torch, compile):
    run, x, before = compile(lambda x: x + 1), numbers(torch, 3), torch.Tensor.__add__
    seen = again(run, x)
    try:
        torch.Tensor.__add__ = lambda self, other: self * 7
        seen += again(run, x)
    finally:
        torch.Tensor.__add__ = before
    return seen + again(run, x)


@hazard
def namespace_shown_and_compared(torch, compile):
    box, x = types.SimpleNamespace(size=1), numbers(torch, 3)
    runs = [
        compile(lambda x: x * 2 if box == types.SimpleNamespace(size=1) else x),
        compile(lambda x: x * 2 if box in [types.SimpleNamespace(size=1)] else x),
        compile(lambda x: x * len(repr(box))),
        compile(lambda x: x * len(f"{box}")),
    ]
    seen = [again(run, x) for run in runs]
    box.size = 222
    seen += [again(run, x) for run in runs]
    box.more = 3
    return seen + [again(run, x) for run in runs]


@hazard
def attributes_of_a_class_by_its_descriptor(torch, compile):
    class Plan:
        factor = 2.0

    attributes, x = type.__dict__["__dict__"].__get__, numbers(torch, 3)
    run = compile(lambda x: x * attributes(Plan)["factor"])
    seen = again(run, x)
    Plan.factor = 5.0
    return seen + again(run, x)


@hazard
def read_only_view_of_a_dict(torch, compile):
    settings, x = {"factor": 1.0}, numbers(torch, 3)
    shown = types.MappingProxyType(settings)
    run = compile(lambda x: x * shown["factor"] + len(shown))
    seen = again(run, x)
    settings["factor"] = 5.0
    seen += again(run, x)
    settings["more"] = 1
    return seen + again(run, x)
