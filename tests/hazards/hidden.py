"""Hazards of state that no name shows: iterators, C objects, the environment, computed names."""

import array
import collections
import contextvars
import itertools
import logging
import operator
import os
import queue
import random
import sys
import threading
import types
import warnings
from dataclasses import dataclass

import numpy as np

from tests.hazards import again, hazard, linear, numbers

variable = contextvars.ContextVar("variable", default=1.0)
local = threading.local()
scale = 1.0


# ---- iterators and generators from outside -----------------------------------------------------


@hazard
def iterator_in_a_closure(torch, compile):
    batches = iter([numbers(torch, 3, start=float(i)) for i in range(6)])
    run = compile(lambda: next(batches) * 2)
    return [*again(run, times=4), next(batches)]


@hazard
def endless_iterator_in_a_closure(torch, compile):
    batches = itertools.cycle([numbers(torch, 3, start=float(i)) for i in range(3)])
    return again(compile(lambda: next(batches) * 2), times=7)


@hazard
def generator_in_a_closure(torch, compile):
    def schedule():
        factor = 1.0
        while True:
            yield factor
            factor *= 2

    factors, x = schedule(), numbers(torch, 3)
    return again(compile(lambda x: x * next(factors)), x, times=5)


@hazard
def loader_iterated_inside(torch, compile):
    data = [numbers(torch, 3), numbers(torch, 3) + 1]

    @compile
    def epoch(x):
        for batch in data:
            x = x + batch
        return x

    x = numbers(torch, 3)
    seen = again(epoch, x)
    data.append(torch.ones(3))
    seen += again(epoch, x)
    data.reverse()
    data[0] = torch.zeros(3)
    return seen + again(epoch, x)


# ---- containers in C ---------------------------------------------------------------------------


@hazard
def deque_read_and_written(torch, compile):
    window = collections.deque([1.0, 2.0], maxlen=3)
    run, x = compile(lambda x: x * sum(window)), numbers(torch, 3)
    seen = again(run, x)
    window.append(5.0)
    seen += again(run, x)

    def push(x):
        window.append(float(len(window)))
        return x + window[0]

    return seen + again(compile(push), x, times=5) + [list(window)]


@hazard
def set_and_counter_changed(torch, compile):
    active, counts = {"a"}, collections.Counter(a=1)

    def function(x):
        return x * (5 if "b" in active else 1) + counts["a"]

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    active.add("b")
    seen += again(run, x)
    counts["a"] += 5
    return seen + again(run, x)


@hazard
def default_dict_filled_inside(torch, compile):
    found = collections.defaultdict(lambda: 1.0)

    def function(x, key):
        found[key] += 1
        return x * found[key]

    run, x = compile(function), numbers(torch, 3)
    return [run(x, key) for key in "aaabab"] + [dict(found)]


@hazard
def numpy_array_written_inside(torch, compile):
    count = np.zeros(2)

    def function(x):
        count[0] += 1
        return x * float(count[0])

    return [*again(compile(function), numbers(torch, 3), times=4), count]


@hazard
def numpy_number_read(torch, compile):
    table = np.array([1.0, 2.0])
    run, x = compile(lambda x: x * float(table[1]) + table.sum()), numbers(torch, 3)
    seen = again(run, x)
    table[1] = 7.0
    return seen + again(run, x)


@hazard
def arrays_of_the_standard_library(torch, compile):
    table, raw = array.array("d", [1.0, 2.0]), bytearray(b"\x01\x02")
    run, x = compile(lambda x: x * table[0] + raw[1]), numbers(torch, 3)
    seen = again(run, x)
    table[0] = 7.0
    seen += again(run, x)
    raw[1] = 50
    return seen + again(run, x)


@hazard
def queue_filled_inside(torch, compile):
    results = queue.SimpleQueue()

    def function(x):
        results.put(x * 2)
        return x + 1

    run = compile(function)
    seen = [run(numbers(torch, 2, start=float(i))) for i in range(4)]
    return seen + [results.get() for _ in range(results.qsize())]


@hazard
def tensors_in_odd_containers(torch, compile):
    @dataclass
    class Box:
        tensor: object

    box, space = Box(numbers(torch, 3)), types.SimpleNamespace(tensor=numbers(torch, 3))
    nested = {"a": {"b": [(numbers(torch, 3),)]}}

    def function():
        return box.tensor + space.tensor * nested["a"]["b"][0][0]

    run = compile(function)
    seen = again(run)
    box.tensor = torch.ones(3)
    seen += again(run)
    space.tensor = torch.zeros(3)
    seen += again(run)
    space.tensor = torch.ones(3)
    nested["a"]["b"][0] = (torch.ones(3) * 5,)
    return seen + again(run)


@hazard
def objects_with_slots(torch, compile):
    class Slotted:
        __slots__ = ("factor", "tensor")

    state = Slotted()
    state.factor, state.tensor = 2.0, numbers(torch, 3)
    run, x = compile(lambda x: x * state.factor + state.tensor), numbers(torch, 3)
    seen = again(run, x)
    state.factor = 3.0
    seen += again(run, x)
    state.tensor = torch.ones(3)
    return seen + again(run, x)


@hazard
def subclasses_of_containers(torch, compile):
    class Doubling(dict):
        factor = 2

        def __getitem__(self, key):
            return super().__getitem__(key) * self.factor

    table, order = Doubling(a=1.0), collections.OrderedDict(a=1.0, b=2.0)

    def function(x):
        for value in order.values():
            x = x * 2 + value
        return x + table["a"]

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    Doubling.factor = 5
    seen += again(run, x)
    order.move_to_end("a")
    return seen + again(run, x)


@hazard
def chain_of_dicts(torch, compile):
    base, top = {"scale": 2.0}, {}
    options = collections.ChainMap(top, base)
    run, x = compile(lambda x: x * options["scale"]), numbers(torch, 3)
    seen = again(run, x)
    base["scale"] = 3.0
    seen += again(run, x)
    top["scale"] = 4.0
    return seen + again(run, x)


# ---- names that the code does not spell --------------------------------------------------------


@hazard
def attribute_by_a_computed_name(torch, compile):
    options, name = types.SimpleNamespace(scale_a=2.0, scale_b=3.0), ["a"]
    run, x = compile(lambda x: x * getattr(options, "scale_" + name[0])), numbers(torch, 3)
    seen = again(run, x)
    options.scale_a = 5.0
    seen += again(run, x)
    name[0] = "b"
    return seen + again(run, x)


@hazard
def global_by_a_computed_name(torch, compile):
    global scale
    scale = 2.0
    run, x = compile(lambda x: x * globals()["sca" + "le"]), numbers(torch, 3)
    seen = again(run, x)
    scale = 3.0
    return seen + again(run, x)


@hazard
def attribute_by_a_getter(torch, compile):
    options = types.SimpleNamespace(inner=types.SimpleNamespace(scale=2.0))
    getter, x = operator.attrgetter("inner.scale"), numbers(torch, 3)
    run = compile(lambda x: x * getter(options))
    seen = again(run, x)
    options.inner.scale = 3.0
    seen += again(run, x)
    options.inner = types.SimpleNamespace(scale=9.0)
    return seen + again(run, x)


@hazard
def global_by_eval(torch, compile):
    global scale
    scale = 2.0
    run, x = compile(lambda x: x * eval("scale")), numbers(torch, 3)
    seen = again(run, x)
    scale = 3.0
    return seen + again(run, x)


@hazard
def attributes_made_up_by_a_class(torch, compile):
    class Lazy:
        table = {"scale": 2.0}  # noqa: RUF012

        def __getattr__(self, name):
            try:
                return self.table[name]
            except KeyError:
                raise AttributeError(name) from None

    lazy, x = Lazy(), numbers(torch, 3)
    run = compile(lambda x: x * lazy.scale)
    seen = again(run, x)
    Lazy.table["scale"] = 3.0
    seen += again(run, x)
    lazy.scale = 4.0  # an attribute of the instance from now on
    return seen + again(run, x)


@hazard
def attribute_shadowed_later(torch, compile):
    class Base:
        scale = 2.0

    class Derived(Base):
        pass

    thing, x = Derived(), numbers(torch, 3)
    run = compile(lambda x: x * thing.scale)
    seen = again(run, x)
    Base.scale = 3.0
    seen += again(run, x)
    Derived.scale = 4.0
    seen += again(run, x)
    thing.scale = 5.0
    seen += again(run, x)
    del thing.scale
    return seen + again(run, x)


@hazard
def descriptor_with_state(torch, compile):
    class Doubled:
        def __get__(self, owner, kind=None):
            return owner.base * self.factor

    class Holder:
        value = Doubled()

        def __init__(self):
            self.base = 1.0

    Holder.__dict__["value"].factor = 2.0
    holder, x = Holder(), numbers(torch, 3)
    run = compile(lambda x: x * holder.value)
    seen = again(run, x)
    Holder.__dict__["value"].factor = 3.0
    seen += again(run, x)
    holder.base = 10.0
    return seen + again(run, x)


@hazard
def class_of_an_object_replaced(torch, compile):
    class First:
        def apply(self, x):
            return x + 1

    class Second:
        def apply(self, x):
            return x * 10

    thing, x = First(), numbers(torch, 3)
    run = compile(lambda x: thing.apply(x))
    seen = again(run, x)
    thing.__class__ = Second
    return seen + again(run, x)


@hazard
def equality_that_lies(torch, compile):
    class Always:
        def __init__(self, factor):
            self.factor = factor

        def __eq__(self, other):
            return True

        __hash__ = object.__hash__

    state, x = [Always(2.0)], numbers(torch, 3)
    run = compile(lambda x: x * state[0].factor)
    seen = again(run, x)
    state[0] = Always(3.0)
    seen += again(run, x)
    passed = compile(lambda x, thing: x * thing.factor)
    return seen + [passed(x, Always(f)) for f in (1.0, 1.0, 2.0, 3.0)]


@hazard
def code_of_a_function_replaced(torch, compile):
    def inner(x):
        return x + 1

    def other(x):
        return x * 10

    run, x = compile(lambda x: inner(x) * 2), numbers(torch, 3)
    seen = again(run, x)
    inner.__code__ = other.__code__
    return seen + again(run, x)


@hazard
def attributes_of_functions(torch, compile):
    def inner(x):
        inner.calls += 1
        return x * inner.factor

    inner.calls, inner.factor = 0, 2.0
    run, x = compile(inner), numbers(torch, 3)
    seen = [*again(run, x), inner.calls]
    inner.factor = 3.0
    return [*seen, *again(run, x), inner.calls]


# ---- the process -------------------------------------------------------------------------------


@hazard
def environment_variable(torch, compile):
    run = compile(lambda x: x * float(os.environ.get("HAZARD_SCALE", "1")))
    x, seen = numbers(torch, 3), []
    try:
        for value in ("2", "2", "2", "3", "4"):
            os.environ["HAZARD_SCALE"] = value
            seen.append(run(x))
    finally:
        del os.environ["HAZARD_SCALE"]
    return seen + again(run, x)


@hazard
def context_variable(torch, compile):
    run, x = compile(lambda x: x * variable.get()), numbers(torch, 3)
    seen = again(run, x)
    token = variable.set(5.0)
    seen += again(run, x)
    variable.reset(token)
    return seen + again(run, x)


@hazard
def state_of_a_thread(torch, compile):
    local.scale = 2.0
    run, x = compile(lambda x: x * local.scale), numbers(torch, 3)
    seen = again(run, x)
    local.scale = 3.0
    seen += again(run, x)

    def work():
        local.scale = 10.0
        seen.extend(again(run, x))

    worker = threading.Thread(target=work)
    worker.start()
    worker.join(timeout=60)
    return seen + again(run, x)


@hazard
def module_reached_by_its_name(torch, compile):
    name = "hazard_options"
    sys.modules[name] = types.ModuleType(name)
    sys.modules[name].scale = 2.0
    run, x = compile(lambda x: x * sys.modules[name].scale), numbers(torch, 3)
    try:
        seen = again(run, x)
        sys.modules[name].scale = 3.0
        return seen + again(run, x)
    finally:
        del sys.modules[name]


@hazard
def import_inside(torch, compile):
    name = "hazard_options"
    module = sys.modules[name] = types.ModuleType(name)
    module.scale = 2.0

    def function(x):
        from hazard_options import scale

        return x * scale

    run, x = compile(function), numbers(torch, 3)
    try:
        seen = again(run, x)
        module.scale = 3.0
        return seen + again(run, x)
    finally:
        del sys.modules[name]


@hazard
def log_written_inside(torch, compile):
    records, logger = [], logging.getLogger("hazard")
    handler = logging.Handler()
    handler.emit = lambda record: records.append(record.getMessage())
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)

    def function(x):
        logger.info("called")
        return x + 1

    try:
        return [*again(compile(function), numbers(torch, 3), times=4), records]
    finally:
        logger.removeHandler(handler)


@hazard
def warning_given_inside(torch, compile):
    def function(x):
        warnings.warn("called", UserWarning, stacklevel=1)
        return x + 1

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        seen = again(compile(function), numbers(torch, 3), times=4)
    return [*seen, len([w for w in caught if str(w.message) == "called"])]


@hazard
def pipe_written_inside(torch, compile):
    read, write = os.pipe()

    def function(x):
        os.write(write, b".")
        return x + 1

    seen = again(compile(function), numbers(torch, 3), times=4)
    os.close(write)
    with os.fdopen(read, "rb") as file:
        return [*seen, len(file.read())]


@hazard
def generators_of_the_standard_library(torch, compile):
    source = random.Random(5)
    items = [1.0, 2.0, 3.0, 4.0, 5.0]

    def function(x):
        source.shuffle(items)
        return x * items[0] + source.choice((0.0, 10.0, 20.0))

    return [*again(compile(function), numbers(torch, 3), times=6), items]


@hazard
def threads_signalled_inside(torch, compile):
    event, seen = threading.Event(), []

    def function(x):
        event.set()
        return x + 1

    run = compile(function)
    for i in range(4):
        run(numbers(torch, 2, start=float(i)))
        seen.append(event.is_set())
        event.clear()
    return seen


# ---- tensors as objects ------------------------------------------------------------------------


@hazard
def identity_of_arguments(torch, compile):
    known = numbers(torch, 3)
    run = compile(lambda x: x * 10 if x is known else x + 1)
    return [run(x) for x in (known, known, known + 0, known + 0, known)]


@hazard
def address_of_a_tensor(torch, compile):
    known = numbers(torch, 4)
    run = compile(lambda x: x * 10 if x.data_ptr() == known.data_ptr() else x + 1)
    return [run(x) for x in (known, known.view(4), numbers(torch, 4), known, known.clone())]


@hazard
def kind_of_an_argument(torch, compile):
    def function(x):
        if isinstance(x, torch.nn.Parameter):
            return x * 2
        if x.is_leaf and x.requires_grad:
            return x * 3
        return x * (5 if x.grad_fn is None else 7)

    run, x = compile(function), numbers(torch, 3)
    parameter, wants = torch.nn.Parameter(x), x.clone().requires_grad_()
    return [run(t) for t in (x, parameter, wants, wants * 1, x, parameter, wants, wants * 1)]


@hazard
def version_and_gradient_of_an_argument(torch, compile):
    def function(x):
        if x.grad is not None:
            return x.grad * 2
        return x.detach() * (1 + x._version)

    run, x = compile(function), numbers(torch, 3).requires_grad_()
    seen = again(run, x)
    with torch.no_grad():
        x.add_(1)
    seen += again(run, x)
    x.grad = torch.ones(3)
    seen += again(run, x)
    x.grad = None
    return seen + again(run, x)


@hazard
def gradient_read_inside(torch, compile):
    model, x = linear(torch), numbers(torch, 2, 3)
    run = compile(lambda: [p.grad if p.grad is None else p.grad * 2 for p in model.parameters()])
    seen = again(run)
    model(x).sum().backward()
    seen += again(run)
    model(x).sum().backward()
    seen += again(run)
    model.bias.grad = None
    return seen + again(run)


@hazard
def random_state_read_inside(torch, compile):
    run, x = compile(lambda x: x + torch.initial_seed() % 100), numbers(torch, 3)
    torch.manual_seed(3)
    seen = again(run, x)
    torch.manual_seed(50)
    return seen + again(run, x)


@hazard
def default_dtype_read_inside(torch, compile):
    run = compile(lambda x: x.to(torch.get_default_dtype()) * 2)
    x, seen = torch.arange(3), []
    try:
        for dtype in (torch.float32, torch.float32, torch.float64, torch.float64, torch.float32):
            torch.set_default_dtype(dtype)
            seen.append(run(x))
    finally:
        torch.set_default_dtype(torch.float32)
    return seen
