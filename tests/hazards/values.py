"""Hazards of Python: globals, closures, arguments, control flow, side effects, callables."""

import collections
import contextlib
import enum
import functools
import io
import itertools
import math
import random
import time
from dataclasses import dataclass

import numpy as np

from tests.hazards import again, hazard, linear, numbers


@dataclass
class Config:
    scale: float = 2.0
    shift: float = 0.0


class Mode(enum.Enum):
    ADD = 1
    MULTIPLY = 2


Point = collections.namedtuple("Point", ["x", "y"])
STATE = {}  # what the scenarios below call a global; each sets it first
scale = 1.0
counter = 0
config = Config()


def helper(x):
    return x + 1


# ---- globals, closures, defaults ---------------------------------------------------------------


@hazard
def global_changed(torch, compile):
    global scale
    scale = 2.0
    run, x = compile(lambda x: x * scale), numbers(torch, 3)
    seen = again(run, x)
    scale = 3.0
    seen += again(run, x)
    scale = torch.tensor(4.0)
    return seen + again(run, x)


@hazard
def global_object_changed(torch, compile):
    global config
    config = Config()
    run, x = compile(lambda x: x * config.scale + config.shift), numbers(torch, 3)
    seen = again(run, x)
    config.scale = 3.0
    seen += again(run, x)
    config = Config(10.0, 1.0)
    return seen + again(run, x)


@hazard
def global_function_replaced(torch, compile):
    global helper
    original = helper
    run, x = compile(lambda x: helper(x) * 2), numbers(torch, 3)
    try:
        seen = again(run, x)
        helper = torch.sqrt
        seen += again(run, x)
    finally:
        helper = original
    return seen + again(run, x)


@hazard
def global_read_by_a_helper(torch, compile):
    """The changed global is named by a function that the compiled one calls."""
    global scale
    scale = 2.0

    def inner(x):
        return x * scale

    run, x = compile(lambda x: inner(x) + 1), numbers(torch, 3)
    seen = again(run, x)
    scale = 5.0
    return seen + again(run, x)


@hazard
def global_dict_changed(torch, compile):
    STATE.clear()
    STATE.update(a=1.0, b=2.0)

    def function(x):
        for key, value in STATE.items():
            x = x + value if key == "a" else x * value
        return x

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    STATE["a"] = 5.0
    seen += again(run, x)
    STATE["c"] = 3.0
    seen += again(run, x)
    STATE["a"] = STATE.pop("a")  # the order changes, nothing else
    return seen + again(run, x)


@hazard
def closure_changed(torch, compile):
    factor = 2.0

    def function(x):
        return x * factor

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    factor = 3.0
    seen += again(run, x)
    factor = "three"
    try:
        run(x)
    except Exception as error:
        seen.append(type(error).__name__)
    factor = 3
    return seen + again(run, x)


@hazard
def closure_object_changed(torch, compile):
    shifts = [1.0, 2.0]
    run, x = compile(lambda x: x + sum(shifts)), numbers(torch, 3)
    seen = again(run, x)
    shifts.append(3.0)
    seen += again(run, x)
    shifts[0] = -1.0
    return seen + again(run, x)


@hazard
def deeply_nested_state_changed(torch, compile):
    state = {"layers": [{"scale": [2.0]}, {"scale": [3.0]}]}

    def function(x):
        for layer in state["layers"]:
            x = x * layer["scale"][0]
        return x

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    state["layers"][1]["scale"][0] = 5.0
    seen += again(run, x)
    state["layers"].reverse()
    state["layers"].pop()
    return seen + again(run, x)


@hazard
def same_code_other_closures(torch, compile):
    def make(factor):
        return compile(lambda x: x * factor)

    runs = [make(2.0), make(3.0)]
    return [run(numbers(torch, 3) + i) for i in range(3) for run in runs]


@hazard
def default_arguments_changed(torch, compile):
    def function(x, factor=2.0, *, shift=0.0, extra=[1.0]):  # noqa: B006
        return x * factor + shift + len(extra)

    run, x = compile(function), numbers(torch, 3)
    seen = again(run, x)
    function.__defaults__ = (3.0,)
    seen += again(run, x)
    function.__kwdefaults__["extra"].append(2.0)
    seen += again(run, x)
    function.__kwdefaults__["shift"] = 10.0
    return seen + again(run, x)


@hazard
def class_and_static_attributes(torch, compile):
    class Settings:
        scale = 2.0

        @staticmethod
        def shift():
            return 1.0

        @classmethod
        def both(cls, x):
            return x * cls.scale + cls.shift()

    run, x = compile(lambda x: Settings.both(x)), numbers(torch, 3)
    seen = again(run, x)
    Settings.scale = 4.0
    seen += again(run, x)
    Settings.shift = staticmethod(lambda: 10.0)
    return seen + again(run, x)


@hazard
def module_of_numbers_changed(torch, compile):
    original = math.pi
    run, x = compile(lambda x: x * math.pi), numbers(torch, 3)
    try:
        seen = again(run, x)
        math.pi = 3.0
        return seen + again(run, x)
    finally:
        math.pi = original


# ---- arguments ---------------------------------------------------------------------------------


@hazard
def numbers_as_arguments(torch, compile):
    run, x = compile(lambda x, n: x * n + n), numbers(torch, 3)
    values = (1, 2, 1.5, False, 2**40, 1j, 1e30, 2)
    return [run(x, value) for value in values for _ in range(2)]


@hazard
def numbers_that_are_equal_but_not_the_same(torch, compile):
    run, x = compile(lambda x, n: x * n), torch.arange(3)
    seen = [run(x, n) for n in (1, 1.0, True, 1, True, 1.0) for _ in range(2)]
    divide, y = compile(lambda x, n: x / n), numbers(torch, 3)
    return seen + [divide(y, n) for n in (0.0, -0.0, 0.0, -0.0)]


@hazard
def numbers_that_are_not_equal_to_themselves(torch, compile):
    run, x = compile(lambda x, n: x * n if n == n else x - 1), numbers(torch, 3)
    return [run(x, n) for n in (2.0, float("nan"), float("nan"), float("inf"), float("nan"), 3.0)]


@hazard
def argument_used_as_a_shape_and_a_count(torch, compile):
    def function(x, n):
        for i in range(n):
            x = x + i
        return x.repeat(n)

    run, x = compile(function), numbers(torch, 3)
    return [run(x, n) for n in (1, 2, 3, 2, 4, 1, 0)]


@hazard
def python_objects_as_arguments(torch, compile):
    def function(x, option):
        if option is None:
            return x
        if isinstance(option, str):
            return x + len(option)
        if isinstance(option, dict):
            return sum(x * value for value in option.values())
        if isinstance(option, tuple | list):
            return x * option[0] + option[-1]
        if isinstance(option, Config):
            return x * option.scale + option.shift
        if isinstance(option, Mode):
            return x + 5 if option is Mode.ADD else x * 5
        if isinstance(option, slice):
            return x[option]
        if isinstance(option, torch.dtype):
            return x.to(option)
        if isinstance(option, set | frozenset | range):
            return x + sum(option)
        return x - option

    x, seen = numbers(torch, 3), []
    for options in (
        (None, "a", "ab"), ({"a": 1.0}, {"a": 2.0}), ((1.0, 2.0), (1.0, 3.0), [1.0, 3.0]),
        (Config(), Config(3.0)), (Mode.ADD, Mode.MULTIPLY), (slice(0, 2), slice(1, 3)),
        (torch.float64, torch.int32), ({1, 2}, {1, 4}), (np.float32(2.0), np.float32(3.0)),
    ):  # fmt: skip
        run = compile(function)
        seen += [run(x, option) for option in (*options, options[0])]
    return seen


@hazard
def argument_object_mutated(torch, compile):
    run, x = compile(lambda x, options: x * options.scale), numbers(torch, 3)
    options = Config()
    seen = again(run, x, options)
    options.scale = 9.0
    return seen + again(run, x, options)


@hazard
def numpy_arrays_as_arguments(torch, compile):
    run, x = compile(lambda x, a: x + torch.from_numpy(a) * float(a[0])), numbers(torch, 3)
    array = np.array([1.0, 2.0, 3.0], np.float32)
    seen = again(run, x, array)
    array[0] = 50.0
    seen += again(run, x, array.copy())
    return seen + again(run, x, array[::-1].copy())


@hazard
def functions_as_arguments(torch, compile):
    run, x = compile(lambda x, f: f(x) + 1), numbers(torch, 3)
    seen = [run(x, f) for f in (torch.sin, torch.cos, torch.sin, helper) for _ in range(2)]
    for factor in (1.0, 2.0, 3.0, 1.0):  # one code object, and ids that come again
        seen.append(run(x, lambda t, factor=factor: t * factor))
        seen.append(run(x, functools.partial(torch.mul, other=factor)))
    return seen


@hazard
def keywords_in_any_order(torch, compile):
    run, x, y = compile(lambda a, b=1.0, c=0.0: a * b - c), numbers(torch, 3), numbers(torch, 3) + 1
    seen = [run(a=x, b=y), run(b=x, a=y), run(c=y, b=2.0, a=x), run(a=x, c=2.0, b=y), run(x, c=y)]
    run = compile(lambda a, b=1.0, c=0.0: a * b - c)
    return seen + [run(b=y, a=x), run(x, y), run(y, x), run(y, x, c=x), run(x, y, y)]


@hazard
def any_number_of_arguments(torch, compile):
    def function(*tensors, **named):
        total = sum(tensors)
        for key, value in named.items():
            total = total * value if key == "times" else total - value
        return total

    run, x = compile(function), numbers(torch, 3)
    seen = [run(*[x] * n) for n in (1, 2, 3, 2, 1)]
    seen += [run(x, times=x, minus=1.0), run(x, minus=1.0, times=x), run(x, minus=x)]
    return seen + [run(x, times=x, minus=1.0), run(x, minus=1.0, times=x)]


@hazard
def structures_of_tensors(torch, compile):
    def function(batch):
        if isinstance(batch, dict):
            return {key: value * 2 for key, value in batch.items()}
        if isinstance(batch, Point):
            return Point(batch.y, batch.x + 1)
        return [t + i for i, t in enumerate(batch)]

    run, x = compile(function), numbers(torch, 3)
    batches = [{"a": x, "b": x + 1}, {"b": x, "a": x + 1}, {"a": x}, Point(x, x * 2), [x, x], (x,)]
    return [run(batch) for batch in batches * 2]


@hazard
def iterator_as_an_argument(torch, compile):
    run, x = compile(lambda x, it: x + next(it)), numbers(torch, 3)
    iterator = iter([1.0, 2.0, 3.0, 4.0, 5.0])
    return [run(x, iterator) for _ in range(4)] + [next(iterator)]


# ---- control flow ------------------------------------------------------------------------------


@hazard
def branch_on_a_value(torch, compile):
    def function(x):
        y = x * 2
        return y + 1 if y.sum().item() > 0 else y - 1

    run, x = compile(function), numbers(torch, 3)
    return [run(t) for t in (x, x, x, -x, x, -x, -x, x)]


@hazard
def branch_on_a_tensor(torch, compile):
    run, x = compile(lambda x: x.sqrt() if (x > 0).all() else x.abs()), numbers(torch, 3)
    return [run(t) for t in (x, x, -x, x - 0.2, x, -x)]


@hazard
def value_used_as_a_number(torch, compile):
    run, x = compile(lambda x: x * float(x.max()) + int(x.sum())), numbers(torch, 3)
    return [run(x * i) for i in (1, 1, 2, 5, 1)]


@hazard
def loop_until_converged(torch, compile):
    def function(x):
        steps = 0
        while x.norm() > 1:
            x, steps = x / 2, steps + 1
        return x, steps

    run, x = compile(function), numbers(torch, 3)
    return [run(x * i) for i in (1, 4, 40, 1, 400)]


@hazard
def mask_of_data(torch, compile):
    run, x = compile(lambda x: (x[x > 0.15] * 2, x.nonzero())), numbers(torch, 4)
    return [run(t) for t in (x, x, x - 0.2, -x, x + 1, x)]


@hazard
def branch_on_a_shape(torch, compile):
    def function(x):
        rows, *rest = x.shape
        return x.sum(0) / rows if rest and len(x) > 2 else x + x.dim()

    run = compile(function)
    shapes = [(3, 2), (2, 2), (3, 2), (5,), (4, 2), (1, 2), (2, 2)]
    return [run(numbers(torch, *shape)) for shape in shapes]


@hazard
def other_types_by_data(torch, compile):
    def function(x):
        total = float(x.sum())
        if total < 0:
            return None
        if total < 1:
            return {"total": total, "x": x}
        return x, "large"

    run, x = compile(function), numbers(torch, 3)
    return [run(t) for t in (x, x, -x, x * 5, x, -x, x * 5)]


@hazard
def assertion_on_data(torch, compile):
    def function(x):
        assert x.min() > 0, "positive only"
        return x.log()

    run, x, seen = compile(function), numbers(torch, 3), []
    for t in (x, x, -x, x, -x):
        try:
            seen.append(run(t))
        except AssertionError as error:
            seen.append(str(error))
    return seen


@hazard
def index_out_of_range(torch, compile):
    table = numbers(torch, 4, 2)
    run, seen = compile(lambda i: torch.nn.functional.embedding(i, table) * 2), []
    for index in (0, 3, 2, 4, 1, -1):
        try:
            seen.append(run(torch.tensor([index])).tolist())
        except IndexError:
            seen.append("IndexError")
    return seen


@hazard
def errors_caught_inside(torch, compile):
    def function(x, y):
        try:
            return x @ y
        except RuntimeError:
            return x * 2

    run, x = compile(function), numbers(torch, 2, 3)
    others = [numbers(torch, 3, 2), numbers(torch, 2, 3), numbers(torch, 3, 1)]
    return [run(x, y) for y in others * 2]


# ---- side effects and the world outside --------------------------------------------------------


@hazard
def global_counter_incremented(torch, compile):
    global counter
    counter = 0

    def function(x):
        global counter
        counter += 1
        return x * 2

    run, x, seen = compile(function), numbers(torch, 3), []
    for _ in range(5):
        seen += [run(x), counter]
    return seen


@hazard
def global_counter_used(torch, compile):
    global counter
    counter = 0

    def function(x):
        global counter
        counter += 1
        return x * counter

    return again(compile(function), numbers(torch, 3), times=5)


@hazard
def next_of_a_counter(torch, compile):
    count = itertools.count(1)
    return [*again(compile(lambda x: x * next(count)), numbers(torch, 3), times=4), next(count)]


@hazard
def print_inside(torch, compile):
    def function(x):
        print("called")
        return x + 1

    run, x = compile(function), numbers(torch, 3)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        seen = again(run, x, times=4)
    return [*seen, out.getvalue()]


@hazard
def print_of_a_tensor(torch, compile):
    def function(x):
        y = x * 2
        print(y.tolist())
        return y + 1

    run = compile(function)
    with contextlib.redirect_stdout(io.StringIO()) as out:
        seen = [run(torch.tensor([float(i)])) for i in range(4)]
    return [*seen, out.getvalue()]


@hazard
def list_appended_inside(torch, compile):
    history = []

    def function(x):
        history.append(x * 2)
        return x + len(history)

    run = compile(function)
    seen = [run(numbers(torch, 3, start=float(i))) for i in range(4)]
    return [*seen, history]


@hazard
def values_logged_inside(torch, compile):
    history, best = [], {}

    def function(x):
        loss = (x * x).sum()
        history.append(loss.item())
        best["loss"] = min(best.get("loss", 1e9), history[-1])
        return loss

    run = compile(function)
    seen = [run(numbers(torch, 3, start=float(-i))) for i in range(4)]
    return [*seen, history, best]


@hazard
def argument_list_written_inside(torch, compile):
    def function(x, out):
        out.append(x + 1)
        out[0] = x * 2

    run, lists = compile(function), [[0], [0], [0], [0, 1]]
    for i, out in enumerate(lists):
        run(numbers(torch, 2, start=float(i)), out)
    return lists


@hazard
def random_module_inside(torch, compile):
    random.seed(7)
    run, x = compile(lambda x: x * random.random() + random.randint(0, 100)), numbers(torch, 3)
    return again(run, x, times=5)


@hazard
def numpy_random_inside(torch, compile):
    generator = np.random.default_rng(7)
    np.random.seed(7)
    run = compile(lambda x: x * float(generator.random()) + np.random.rand())
    return again(run, numbers(torch, 3), times=5)


@hazard
def clock_inside(torch, compile):
    run, x = compile(lambda x: (x + 1, time.perf_counter_ns())), numbers(torch, 3)
    times = [run(x)[1] for _ in range(5)]
    return [times == sorted(set(times))]


@hazard
def numpy_inside(torch, compile):
    def function(x):
        array = x.numpy()
        return torch.from_numpy(np.sort(array) * 2) + float(np.median(array))

    run, x = compile(function), numbers(torch, 3)
    return [run(t) for t in (x, x, x.flip(0) * 3, -x)]


@hazard
def numpy_constant_changed(torch, compile):
    table = np.array([1.0, 2.0, 3.0], np.float32)
    run, x = compile(lambda x: x * torch.tensor(table)), numbers(torch, 3)
    seen = again(run, x)
    table[1] = 100.0
    return seen + again(run, x)


@hazard
def list_of_numbers_changed(torch, compile):
    table = [1.0, 2.0, 3.0]
    run, x = compile(lambda x: x * torch.tensor(table)), numbers(torch, 3)
    seen = again(run, x)
    table[1] = 100.0
    return seen + again(run, x)


@hazard
def cached_helper(torch, compile):
    @functools.lru_cache
    def table(n):
        return torch.ones(n) * n

    def function(x):
        return x + table(x.shape[0])

    run = compile(function)
    seen = [run(numbers(torch, n)) for n in (2, 2, 3, 2, 3)]
    table(2).add_(100)
    return seen + [run(numbers(torch, n)) for n in (2, 3)]


# ---- kinds of callables and results ------------------------------------------------------------


@hazard
def nested_compiled_functions(torch, compile):
    factor = [2.0]

    @compile
    def inner(x):
        return x * factor[0]

    @compile
    def outer(x):
        return inner(x) + inner(x + 1)

    x = numbers(torch, 3)
    seen = again(outer, x) + again(inner, x)
    factor[0] = 3.0
    return seen + again(outer, x) + again(inner, x)


@hazard
def compiled_twice(torch, compile):
    factor, x = [2.0], numbers(torch, 3)
    run = compile(compile(lambda x: x * factor[0]))
    seen = again(run, x)
    factor[0] = 3.0
    return seen + again(run, x)


@hazard
def recursion(torch, compile):
    @compile
    def power(x, n):
        return x if n == 1 else x * power(x, n - 1)

    x = numbers(torch, 3)
    return [power(x, n) for n in (1, 2, 3, 3, 5, 2, 4)]


@hazard
def generator_functions(torch, compile):
    @compile
    def running(x, n):
        total = torch.zeros(())
        for i in range(n):
            total = total + x[i]
            yield total

    run = compile(lambda x: sum(t for t in running(x, 2)))
    seen = [list(running(numbers(torch, 3, start=float(i)), 3)) for i in range(4)]
    return seen + [run(numbers(torch, 3, start=float(i))) for i in range(4)]


@hazard
def callable_objects(torch, compile):
    class Scale:
        def __init__(self, factor):
            self.factor = factor

        def __call__(self, x):
            return x * self.factor

    scale, x = Scale(2.0), numbers(torch, 3)
    run = compile(scale)
    seen = again(run, x)
    scale.factor = 5.0
    seen += again(run, x)
    partial = compile(functools.partial(Scale.__call__, scale))
    seen += again(partial, x)
    scale.factor = 6.0
    return seen + again(partial, x)


@hazard
def results_that_are_no_tensors(torch, compile):
    def function(x, what):
        y = x * 2
        results = {
            "none": None, "text": "text", "dict": {"y": y, "n": 1}, "point": Point(y, 3),
            "config": Config(y, 1.0), "nested": [(y, [x]), {}], "shape": tuple(y.shape),
            "number": 2.5, "bool": True,
        }  # fmt: skip
        return results[what]

    names = ["none", "text", "dict", "point", "config", "nested", "shape", "number", "bool"]
    run = compile(function)
    return [run(numbers(torch, 2, start=float(i)), what) for what in names for i in range(3)]


@hazard
def identity_of_results(torch, compile):
    def function(x, y):
        z = x + y
        return x, z, z, [z, y]

    run, seen = compile(function), []
    for i in range(4):
        x, y = numbers(torch, 2, start=float(i)), numbers(torch, 2)
        a, b, c, (d, e) = run(x, y)
        seen.append([a is x, b is c, c is d, e is y, a, b])
    return seen


@hazard
def result_list_changed_by_the_caller(torch, compile):
    run, x, seen = compile(lambda x: {"a": [x, x + 1]}), numbers(torch, 2), []
    for _ in range(4):
        result = run(x)
        seen.append([len(result["a"]), sorted(result)])
        result["a"].append(None)
        result["b"] = 1
    return [*seen, run(x + 1)]


@hazard
def methods_of_a_plain_class(torch, compile):
    class Trainer:
        def __init__(self):
            self.layer, self.steps, self.scale = linear(torch), 0, 1.0

        def predict(self, x):
            self.steps += 1
            return self.layer(x) * self.scale

    trainer, x = Trainer(), numbers(torch, 2, 3)
    run = compile(trainer.predict)
    seen = again(run, x)
    trainer.scale = 2.0
    seen += again(run, x)
    trainer.layer = linear(torch, 3, 1)
    return [*seen, *again(run, x), trainer.steps]


@hazard
def context_manager_and_decorator_inside(torch, compile):
    depth = []

    @contextlib.contextmanager
    def nested():
        depth.append(1)
        yield len(depth)

    @torch.no_grad()
    def frozen(x):
        return x * 3

    def function(x):
        with nested() as n:
            return frozen(x) * n + x

    x = numbers(torch, 3).requires_grad_()
    return [*again(compile(function), x, times=4), len(depth)]


@hazard
def closure_list_grown_by_a_callee(torch, compile):
    calls = []

    def outside(x):
        calls.append(len(calls))
        return x * len(calls)

    return [*again(compile(lambda x: outside(x + 1) * 2), numbers(torch, 3), times=4), calls]
