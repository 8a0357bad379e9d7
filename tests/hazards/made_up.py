"""Hazards of names that no code of the user's spells out: made up, or read by the library."""

import builtins
import collections
import dataclasses
import decimal
import functools
import importlib
import sys
import types

import numpy as np

from tests.hazards import again, hazard, numbers


class Prefixed:
    """Keeps each attribute under another name."""

    def __setattr__(self, name, value):
        object.__setattr__(self, f"own_{name}", value)

    def __getattr__(self, name):
        return self.__dict__[f"own_{name}"]


def changed(compile, run, *changes):
    """What a function gives before and after each of some changes."""
    compiled = compile(run)
    seen = again(compiled)
    for change in changes:
        change()
        seen += again(compiled)
    return seen


@hazard
def attributes_under_names_made_up(torch, compile):
    class Reversed(Prefixed):
        def __getattr__(self, name):
            return super().__getattr__(name[::-1])

    class Looked:
        def __getattr__(self, name):
            own = self.__dict__
            return own.get("own_" + name, 1.0)

    class Slotted:
        __slots__ = ("own_size",)

        def __getattr__(self, name):
            return object.__getattribute__(self, "own_" + name)

    x, seen = numbers(torch, 3), []
    for kind in (Prefixed, Reversed, Looked, Slotted):
        box, name = kind(), "own_size" if kind in (Looked, Slotted) else "size"
        setattr(box, name[::-1] if kind is Reversed else name, 1.0)
        run = lambda: x * box.size  # noqa: B023, E731
        key = "own_ezis" if kind is Reversed else "own_size"
        change = lambda: object.__setattr__(box, key, 3.0)  # noqa: B023, E731
        seen += changed(compile, run, change)
    return seen


@hazard
def attributes_gone_through_by_special_methods(torch, compile):
    class Box:
        def __len__(self):
            return len(self.__dict__)

        def __contains__(self, name):
            return name in self.__dict__

        def __iter__(self):
            return iter(self.__dict__.values())

        def __eq__(self, other):
            return self.__dict__ == other.__dict__

        __hash__ = None

    x, seen = numbers(torch, 3), []
    other = Box()
    other.a = 5.0
    for look in (len, sum, lambda box: "b" in box, lambda box: box == other):
        box = Box()
        box.a = 1.0
        seen += changed(
            compile, lambda: x * (1 + look(box)),  # noqa: B023
            lambda: setattr(box, "b", 2.0), lambda: setattr(box, "a", 5.0),  # noqa: B023
            lambda: delattr(box, "b"),  # noqa: B023
        )  # fmt: skip
    return seen


@hazard
def classes_and_modules_asked_for_names_made_up(torch, compile):
    class Meta(type):
        def __getattr__(cls, name):
            return cls.__dict__["own_" + name]

    class Sizes(metaclass=Meta):
        own_size, size_1 = 1.0, 1.0

    module = types.ModuleType("sizes")
    module.size_1 = 1.0
    x, one = numbers(torch, 3), 1
    named = lambda obj: getattr(obj, f"size_{one}")  # noqa: E731
    return [
        *changed(compile, lambda: x * Sizes.size, lambda: setattr(Sizes, "own_size", 3.0)),
        *changed(compile, lambda: x * named(Sizes), lambda: setattr(Sizes, "size_1", 3.0)),
        *changed(compile, lambda: x * named(module), lambda: setattr(module, "size_1", 3.0)),
        *changed(compile, lambda: x * len(dir(module)), lambda: setattr(module, "size_2", 3.0)),
        *changed(compile, lambda: x * len(vars(Sizes)), lambda: setattr(Sizes, "size_2", 3.0)),
    ]


@hazard
def annotations_of_a_function_change(torch, compile):
    def sized(a: int): ...

    x = numbers(torch, 3)
    run = lambda: x * len(sized.__annotations__)  # noqa: E731
    return changed(compile, run, lambda: sized.__annotations__.update(b=int))


@hazard
def special_method_given_to_a_class(torch, compile):
    class Model(torch.nn.Module):
        def forward(self, x):
            return x + 1

    class Truth:
        pass

    model, truth, x = Model(), Truth(), numbers(torch, 3)
    return [
        *changed(
            compile, lambda: model(x), lambda: setattr(Model, "__call__", lambda self, x: x * 2)
        ),
        *changed(
            compile, lambda: x * (2 if truth else 3),
            lambda: setattr(Truth, "__bool__", lambda self: False),
        ),
    ]  # fmt: skip


@hazard
def functions_of_the_library_and_builtins_replaced(torch, compile):
    x, owners = numbers(torch, 3), (torch, torch.nn.functional, torch.Tensor, torch.nn.ReLU)
    model, seen = torch.nn.ReLU(), []
    runs = (
        lambda: torch.sin(x), lambda: torch.nn.functional.gelu(x), lambda: x.floor(),
        lambda: model(x),
    )  # fmt: skip
    for owner, name, run in zip(owners, ("sin", "gelu", "floor", "forward"), runs, strict=True):
        held = getattr(owner, name)
        seen += changed(
            compile, run, lambda: setattr(owner, name, lambda *args: x + 7),  # noqa: B023
            lambda: setattr(owner, name, held),  # noqa: B023
        )  # fmt: skip
    held, optimizer = torch.nn.Module.__call__, torch.optim.SGD([torch.ones(3)], lr=0.1)
    called = lambda: setattr(torch.nn.Module, "__call__", lambda *args: x + 7)  # noqa: E731
    seen += changed(compile, runs[-1], called)
    torch.nn.Module.__call__ = held
    owner = next(kind for kind in torch.optim.SGD.__mro__ if "step" in vars(kind))
    held, stepped = owner.step, lambda self: x + 7
    run = lambda: (optimizer.step(), x * 1)  # noqa: E731
    seen += changed(compile, run, lambda: setattr(torch.optim.SGD, "step", stepped))
    if owner is torch.optim.SGD:
        owner.step = held
    else:
        del torch.optim.SGD.step
    builtins.scale_of_all = 1.0
    run = lambda: x * scale_of_all  # noqa: E731, F821
    seen += changed(compile, run, lambda: setattr(builtins, "scale_of_all", 3.0))
    del builtins.scale_of_all
    return seen


@hazard
def dict_that_makes_up_attributes_as_an_argument(torch, compile):
    class Config(dict):
        __getattr__ = dict.__getitem__

    config, x = Config(scale=2.0), numbers(torch, 3)
    run = compile(lambda config, x: x * config.scale)
    seen = again(run, config, x)
    config["scale"] = 3.0
    return seen + again(run, config, x)


@hazard
def classes_of_the_library_inherited(torch, compile):
    nn = torch.nn
    kinds = (nn.Dropout, nn.LayerNorm, nn.LeakyReLU, nn.Softmax, nn.MSELoss)
    given = ((0.0,), (3,), (0.5,), (0,), ())
    new = (("p", 1.0), ("eps", 2.0), ("negative_slope", 3.0), ("dim", 1), ("reduction", "sum"))
    x, seen = numbers(torch, 2, 3) - 0.3, []
    for kind, arguments, change in zip(kinds, given, new, strict=True):
        module = type(f"My{kind.__name__}", (kind,), {})(*arguments)
        inputs = (x, x * 2) if kind is nn.MSELoss else (x,)
        seen += changed(
            compile, lambda: module(*inputs).detach(),  # noqa: B023
            lambda: setattr(module, *change),  # noqa: B023
        )  # fmt: skip

    class Weight(nn.Parameter):
        scale = 2.0

    weight = Weight(torch.ones(3))
    run = lambda: (x * weight.scale).detach()  # noqa: E731
    seen += changed(compile, run, lambda: setattr(weight, "scale", 3.0))

    class Counted(torch.utils.data.TensorDataset):
        pass

    data = Counted(x)
    return seen + changed(compile, lambda: data[0][0] * 2, lambda: setattr(data, "tensors", (-x,)))


@hazard
def registries_and_rounding_that_change(torch, compile):
    kinds = torch.distributions

    class Mine(kinds.Normal):
        pass

    x, one, other = numbers(torch, 3), Mine(0.0, 1.0), kinds.Normal(1.0, 1.0)
    register = kinds.register_kl(Mine, kinds.Normal)
    third = lambda: x * float(decimal.Decimal(1) / decimal.Decimal(3))  # noqa: E731
    seen = changed(
        compile, lambda: x * kinds.kl_divergence(one, other),
        lambda: register(lambda p, q: torch.tensor(7.0)),
    )  # fmt: skip
    with decimal.localcontext() as context:
        return seen + changed(compile, third, lambda: setattr(context, "prec", 2))


class Output(collections.OrderedDict):
    """A dict whose entries are attributes, too, as transformers' ``ModelOutput``."""

    def __post_init__(self):
        for field in dataclasses.fields(self):
            if getattr(self, field.name) is not None:
                self[field.name] = getattr(self, field.name)


@hazard
def dicts_and_records_that_keep_more_than_one_looks_at(torch, compile):
    @dataclasses.dataclass
    class Made(Output):
        a: object = None
        b: object = None

    class Counted:
        __slots__ = ("count",)

    @dataclasses.dataclass
    class Batch(Counted):
        a: object

    x, seen = numbers(torch, 3), []
    run = compile(lambda made: made.a * len(made))
    for change in (False, False, False, True):
        made = Made(x, x)
        made.b = None
        if change:
            del made["b"]
        seen.append(run(made))
    run = compile(lambda batch: batch.a * batch.count)
    for count in (1, 1, 1, 2):
        batch = Batch(x)
        batch.count = count
        seen.append(run(batch))
    return seen


@hazard
def set_returned_and_then_changed(torch, compile):
    run, seen = compile(lambda x: (x * 2, {1, 2}, frozenset([3]))), []
    for n in range(5):
        found = run(numbers(torch, 3))
        seen.append((sorted(found[1]), found[0]))
        found[1].add(n + 5)
    return seen


@hazard
def function_of_numpy_replaced(torch, compile):
    held, x = np.sqrt, numbers(torch, 3)
    seen = changed(
        compile, lambda: x * float(np.sqrt(4.0)), lambda: setattr(np, "sqrt", lambda number: 9.0)
    )
    np.sqrt = held
    return seen


@hazard
def attributes_asked_for_by_functions_handed_on(torch, compile):
    class Box:
        pass

    box, x = Box(), numbers(torch, 3)
    box.size_1, box.inner = 1.0, Box()
    box.inner.deep = 1.0
    bound = functools.partial(getattr, box)
    return [
        *changed(
            compile, lambda: x * next(map(getattr, [box], [f"size_{1}"])),
            lambda: setattr(box, "size_1", 3.0),
        ),
        *changed(
            compile, lambda: x * functools.reduce(getattr, ["inner", "deep"], box),
            lambda: setattr(box.inner, "deep", 3.0),
        ),
        *changed(compile, lambda: x * bound(f"size_{1}"), lambda: setattr(box, "size_1", 4.0)),
        *changed(
            compile, lambda: x * len(next(map(vars, [box]))), lambda: setattr(box, "more", 1)
        ),
        *changed(
            compile, lambda: x * len(next(map("{0.size_1}".format, [box]))),
            lambda: setattr(box, "size_1", 12345.0),
        ),
    ]  # fmt: skip


@hazard
def module_imported_by_a_function(torch, compile):
    module, x = types.ModuleType("sizes_of_hazards"), numbers(torch, 3)
    module.size, sys.modules["sizes_of_hazards"] = 1.0, module
    seen = []
    for find in (importlib.import_module, __import__):
        run = lambda: x * find("sizes_of_hazards").size  # noqa: B023, E731
        seen += changed(compile, run, lambda: setattr(module, "size", module.size + 1))
    del sys.modules["sizes_of_hazards"]
    return seen


@hazard
def results_of_cached_functions_changed(torch, compile):
    x, seen = numbers(torch, 3), []
    for cache in (functools.cache, functools.lru_cache(maxsize=4)):

        @cache
        def config(name):
            return {"size": 1.0, "name": name}

        @cache
        def table(length):
            return torch.ones(length)

        sized, filled = (lambda: x * config("a")["size"]), lambda: x * table(3)
        seen += changed(compile, sized, lambda: config("a").update(size=3.0))
        seen += changed(compile, filled, lambda: table(3).fill_(5.0))
    return seen


@hazard
def tables_cached_by_their_lengths(torch, compile):
    @functools.lru_cache
    def table(length):
        return torch.ones(length)

    run = compile(lambda x: x * table(len(x)))
    return [run(numbers(torch, n)) for n in (2, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5, 2)]


@hazard
def attributes_of_objects_of_classes_in_c(torch, compile):
    class Pair(tuple):
        scale = 1.0

    class Names(set):
        scale = 1.0

    class Text(property):
        pass

    class Rows(np.ndarray):
        scale = 1.0

    class Counted(list):
        def __len__(self):
            return 7

    class Settings(types.ModuleType):
        scale = 1.0

    class Owner:
        text = Text(lambda self: 1.0)

    @functools.cache
    def cached(x):
        return x

    x = numbers(torch, 3)
    made = (
        Pair((1.0,)), Names([1.0]), Owner.text, np.ones(2).view(Rows), cached,
        functools.partial(torch.add, x), ValueError("a"), Settings("settings"), Counted([1.0]),
    )  # fmt: skip
    seen = []
    for obj in made:
        obj.mine = 1.0
        run = lambda: x * obj.mine * getattr(obj, "scale", 1.0)  # noqa: B023, E731
        seen += changed(compile, run, lambda: setattr(obj, "mine", 3.0))  # noqa: B023
        if type(obj).__name__ in ("Pair", "Names", "Rows", "Settings"):
            seen += changed(compile, run, lambda: setattr(type(obj), "scale", 3.0))  # noqa: B023
    error, counted = made[6], made[-1]
    change = lambda: setattr(error, "args", (1, 2, 3))  # noqa: E731
    seen += changed(compile, lambda: x * len(error.args), change)
    return seen + changed(compile, lambda: x * counted[0], lambda: counted.__setitem__(0, 5.0))
