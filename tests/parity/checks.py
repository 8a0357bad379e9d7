"""The checks of one op against PyTorch: its values and gradients, its forms and its errors.

A check is named by a unit: ``forward float32``, ``grad complex64``, ``method``, ``inplace``,
``inplace_grad``, ``out``, ``operator``, ``alias arccos``, ``errors``; and those of ``modes``.
"""

from __future__ import annotations

import numpy as np
import torch

from . import calls, draws, equivalents, modes
from .bridge import ORACLE, OURS, Flag
from .gradients import compare_grads, compare_second
from .outcomes import Fail, Record, Skip, Tally, call, check_trees, oracle, same_tree
from .samples import Sample, samples_of, seed_all
from .specs import Freezer, MissingName, TargetError, TSpec, Unconvertible, describe_exc

COLUMNS = ("float32", "int64", "bool", "complex64")
GRAD_COLUMNS = ("float32", "complex64")
UNARY_OPERATORS = ("abs", "invert", "neg", "pos", "inv")


def columns(op) -> list[str]:
    """The dtypes in which an op is asked for values."""
    supported = op.supported_dtypes("cpu")
    return [c for c in COLUMNS if getattr(torch, c) in supported]


def grad_columns(op) -> list[str]:
    """The dtypes in which an op is asked for gradients."""
    if not op.supports_autograd:
        return []
    supported = op.supported_backward_dtypes("cpu") & op.supported_dtypes("cpu")
    return [c for c in GRAD_COLUMNS if getattr(torch, c) in supported]


def form_units(op) -> list[str]:
    """The checks that compare calls with PyTorch's, in the default mode of the engine."""
    found = [f"forward {c}" for c in columns(op)] + [f"grad {c}" for c in grad_columns(op)]
    if not columns(op):
        return found
    if op.method_variant is not None:
        found.append("method")
    if op.inplace_variant is not None and op.full_name not in calls.INPLACE_ONLY:
        found.append("inplace")
        if "float32" in grad_columns(op) and op.supports_inplace_autograd:
            found.append("inplace_grad")
    if op.supports_out:
        found.append("out")
    if op.operator_variant or op.inplace_operator_variant:
        found.append("operator")
    found += [f"alias {a.name.removeprefix('torch.')}" for a in op.aliases]
    if op.error_inputs_func is not None:
        found.append("errors")
    return found


def mode_units(op) -> list[str]:
    """The checks of engine modes and transforms."""
    if "float32" not in grad_columns(op):
        return []
    return ["immediate", "vmap"] + ["second"] * bool(op.supports_gradgrad)


def run(op, unit: str, count: int, forms: int) -> Record:
    """One check with ``count`` samples (``forms`` for the forms of a call)."""
    kind, _, of = unit.partition(" ")
    wrap = calls.grad_wrapper(op)
    tally = Tally()
    try:
        if kind == "errors":
            ask_errors(op, tally, count)
        elif kind in ("forward", "grad"):
            find = calls.function if kind == "forward" else lambda *a: wrap(calls.function(*a))
            ask = compare_calls if kind == "forward" else compare_grads
            over_samples(op, tally, of, count, pair(ask, op, find), kind == "grad")
        elif kind in ("immediate", "vmap", "second"):
            ask = {"immediate": modes.compare_immediate, "vmap": modes.compare_vmap}
            find = calls.function if kind == "vmap" else lambda *a: wrap(calls.function(*a))
            ask = pair(ask.get(kind, compare_second), op, find)
            over_samples(op, tally, "float32", forms, ask, True)
        else:
            ask, want = FORMS[kind](op, of) if kind == "alias" else FORMS[kind](op)
            grad = kind == "inplace_grad"
            column = "float32" if grad else columns(op)[0]
            over_samples(op, tally, column, forms, ask, grad, want)
    except (MissingName, Fail) as e:  # before any sample
        what = f"missing name {e.name}" if isinstance(e, MissingName) else str(e)
        return Record(unit, 1, 0, what)
    return tally.record(unit)


def pair(ask, op, find):
    """``ask`` of a sample, with the callables of both libraries."""
    theirs, ours = find(ORACLE, op), find(OURS, op)
    return lambda sample: ask(op, sample, theirs, ours)


def over_samples(op, tally, column, count, ask, requires_grad=False, want=None) -> None:
    """Ask the chosen samples; further ones while too few of them had numbers to compare."""
    samples, chosen = samples_of(op, column, requires_grad, count)
    for i, sample in enumerate(samples):
        telling = tally.samples - tally.weak
        if telling >= count or (i >= chosen and telling >= min(count, chosen) / 2):
            break
        if want is None or want(sample):
            tally.run(ask, sample)


def compare_calls(op, sample, fo, ft):
    """Call on both sides and compare; the core of all checks of values."""
    flags = set()

    def theirs(seed):
        ORACLE.manual_seed(seed)
        return ORACLE.read(call(ORACLE, fo, sample))

    def ours(seed):
        if op.full_name in draws.RANDOM:
            OURS.manual_seed(seed)
        return OURS.read(call(OURS, ft, sample))

    tree = oracle(lambda: theirs(0))
    approximate = op.full_name in draws.RANDOM_ALGORITHM
    random = op.full_name in draws.RANDOM and not approximate
    if random and any(not same_tree(tree, theirs(seed)) for seed in range(1, 8)):
        draws.check_random(op, sample, theirs, ours, tree, flags)
        return flags
    values = not (op.name in calls.UNINITIALISED or calls.grown_by_resize(op, sample))
    if approximate:  # its result may still depend on the seed
        same = equivalents.EQUIVALENT[op.name]
        values = all(same(sample, tree, theirs(seed)) is None for seed in range(1, 5))

    def ref64():
        ORACLE.manual_seed(0)
        return ORACLE.read(call(ORACLE, fo, sample, widen=True))

    check_trees(op, sample, tree, ours(0), flags, ref64=ref64, values=values)
    return flags


# ---- the forms of an op: each gives what to ask of a sample, and which samples to ask


def on_tensor(sample) -> bool:
    """Whether the sample's input is a tensor."""
    return isinstance(sample.input, TSpec)


def method_form(op):
    """``x.op(...)``."""
    name = calls.method_name(op)
    return pair(compare_calls, op, lambda bridge, op: calls.method(bridge, name)), on_tensor


def inplace_form(op):
    """``x.op_(...)``: the changed input, the result, and that they are one object."""

    def find(bridge, op):
        f = calls.inplace(bridge, op)

        def g(x, *args, **kwargs):
            result = f(x, *args, **kwargs)
            return x, result, Flag("in-place call returns its input", result is x)

        return g

    return pair(compare_calls, op, find), on_tensor


def inplace_grad_form(op):
    """Gradients through ``x.clone().op_(...)``."""

    def find(bridge, op):
        f = calls.inplace(bridge, op)

        def g(x, *args, **kwargs):
            y = x.clone()
            f(y, *args, **kwargs)
            return y

        return g

    return pair(compare_grads, op, find), on_tensor


def operator_form(op):
    """``x + y`` and ``x += y``."""
    plain, inplace = op.operator_variant, op.inplace_operator_variant
    operands = 0 if plain is not None and plain.__name__ in UNARY_OPERATORS else 1

    def want(sample):
        return on_tensor(sample) and not sample.kwargs and len(sample.args) == operands

    def changed(x, *args):
        y = x.clone()
        return inplace(y, *args), y

    def ask(sample):
        flags = set()
        if plain is not None:
            flags |= compare_calls(op, sample, plain, plain)
        if inplace is not None:
            try:
                flags |= compare_calls(op, sample, changed, changed)
            except Skip:
                if plain is None:
                    raise
        return flags

    return ask, want


def alias_form(op, alias):
    """The op under another name; the alias's method and in-place method exist."""
    info = next(a for a in op.aliases if a.name.removeprefix("torch.") == alias)
    for variant, name in ((info.method_variant, alias), (info.inplace_variant, alias + "_")):
        if variant is not None and not calls.has_method(OURS, name):
            raise MissingName("Tensor." + name)

    def find(bridge, op):
        if op.name in calls.ADAPT:
            return calls.ADAPT[op.name](Renamed(bridge, op.name, alias))
        return bridge.get(alias)

    return pair(compare_calls, op, find), None


def out_form(op):
    """``out=``: the tensors written to, and that they are what is returned."""
    fo, ft = calls.function(ORACLE, op), calls.function(OURS, op)

    def ask(sample):
        plain = oracle(lambda: ORACLE.read(call(ORACLE, fo, sample)))
        several = plain.kind == "seq"
        wanted = plain.kids if several else [plain]
        if any(leaf.kind != "tensor" or leaf.layout != "strided" for leaf in wanted):
            raise Skip("the result is no dense tensor")
        # Outputs start as ones, so that leaving them alone is noticed; where ones are the right
        # answer, as zeros.
        start = [np.ones(w.shape, w.arr.dtype) for w in wanted]
        if all(np.array_equal(a, w.arr) for a, w in zip(start, wanted)):
            start = [np.zeros_like(a) for a in start]
        specs = [
            TSpec(i, a, w.dtype, False, shape=w.shape)
            for i, (a, w) in enumerate(zip(start, wanted))
        ]

        def with_out(f, bridge):
            def g(x, *args, **kwargs):
                outs = [bridge.tensor(spec) for spec in specs]
                result = f(x, *args, **kwargs, out=tuple(outs) if several else outs[0])
                if several:  # a few out= variants return None
                    same = result is not None and all(p is q for p, q in zip(result, outs))
                else:
                    same = result is outs[0]
                is_tuple = Flag("call with out= returns a tuple", isinstance(result, tuple))
                return tuple(outs), Flag("call returns its out=", same), is_tuple

            return g

        seen = OutSample(sample, several)
        return compare_calls(op, seen, with_out(fo, ORACLE), with_out(ft, OURS))

    return ask, None


FORMS = {
    "method": method_form,
    "inplace": inplace_form,
    "inplace_grad": inplace_grad_form,
    "operator": operator_form,
    "alias": alias_form,
    "out": out_form,
}


class OutSample:
    """A sample seen through an ``out=`` call: results are (outs, same object)."""

    process = None

    def __init__(self, sample, several):
        self.input, self.args, self.kwargs = sample.input, sample.args, sample.kwargs
        self.op_name, self.index, self.build = sample.op_name, sample.index, sample.build
        self.unwrap = lambda tree: tree.kids[0] if several else tree.kids[0].kids[0]


class Renamed:
    """A bridge in which one name stands for another."""

    def __init__(self, bridge, name, alias):
        self.bridge, self.name, self.alias = bridge, name, alias

    def get(self, dotted):
        """The object under a dotted name, or under the alias."""
        return self.bridge.get(self.alias if dotted == self.name else dotted)


# ---- errors


def ask_errors(op, tally, count) -> None:
    """Where PyTorch raises, an exception of the same category is raised.

    An op that passes no valid sample gets no credit for raising.
    """
    fo, ft = calls.function(ORACLE, op), calls.function(OURS, op)
    seed_all(0)
    works = None

    def ask(sample):
        nonlocal works
        try:
            call(ORACLE, fo, sample, grad=True)
        except TargetError as e:
            want = e.exc
        else:
            raise Skip("PyTorch raises nothing on the converted input")
        if works is None:
            works = any_sample_passes(op, fo, ft, count)
        if not works:
            raise Fail("not credited: the op passes no valid sample")
        try:
            OURS.read(call(OURS, ft, sample, grad=True))  # a lazy result may only raise here
        except TargetError as e:
            if e.stage == "building the input":
                raise
            got = e.exc
        else:
            raise Fail(f"no error; PyTorch raises {describe_exc(want, 100)}")
        if not same_category(want, got):
            raise Fail(f"raises {describe_exc(got, 100)}; PyTorch raises {describe_exc(want, 100)}")

    for i, e in enumerate(op.error_inputs("cpu")):
        s = e.sample_input
        try:
            freeze = Freezer()
            parts = freeze(s.input), freeze(tuple(s.args)), freeze(dict(s.kwargs))
        except Unconvertible as u:
            tally.skip = f"not convertible: {u}"
            continue
        tally.run(ask, Sample(op.name, i, *parts, None))


def any_sample_passes(op, fo, ft, count) -> bool:
    """Whether the op passes at least one valid sample."""
    for sample in samples_of(op, columns(op)[0], False, count)[0]:
        try:
            weak = "weak" in compare_calls(op, sample, fo, ft)
        except (Skip, Fail, TargetError, MissingName):
            continue
        if not weak or op.name in calls.UNINITIALISED:
            return True
    return False


def category(e) -> str:
    """The builtin exception class that counts."""
    for c in (IndexError, KeyError, TypeError, ValueError, NotImplementedError, RuntimeError):
        if isinstance(e, c):
            return c.__name__
    return type(e).__name__


def same_category(want, got) -> bool:
    """Whether two exceptions are of one kind; a missing kernel may be any RuntimeError."""
    a, b = category(want), category(got)
    return a == b or (a == "NotImplementedError" and b == "RuntimeError")
