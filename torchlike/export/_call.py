"""Calling an exported program: what it takes, what it refuses, and where its results go."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from torchlike._core import devices
from torchlike._core import dtypes as dt
from torchlike._core.errors import NotSupported
from torchlike._engine.values import Value, aval
from torchlike._ops import table
from torchlike._ops.table import TABLE, Arrays, Op
from torchlike._tensor import dispatch
from torchlike._tensor.modes import modes, no_grad
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.views import may_share
from torchlike.export._expressions import evaluate
from torchlike.func import trees

_PLATFORMS = {"cpu": "cpu", "cuda": "cuda", "tpu": "tpu"}


class Leaf(NamedTuple):
    """What one leaf of the inputs has to be: a tensor of this shape and dtype, or this constant.

    The shape holds numbers, and texts in the names of open sizes.
    """

    path: str
    shape: tuple | None
    dtype: dt.dtype | None
    constant: object = None


class Runner:
    """One program as a function of state and inputs."""

    def __init__(self, program, state: list[str], leaves: list[Leaf], in_spec, out_spec, name: str):
        self.program, self.state, self.leaves = program, state, leaves
        self.in_spec, self.out_spec = in_spec, out_spec
        self.tensors = [x for x in leaves if x.shape is not None]
        self.places = {}
        for leaf in self.tensors:
            for d, n in enumerate(leaf.shape):
                if isinstance(n, str) and n.isidentifier():
                    self.places.setdefault(n, f"{leaf.path}.size()[{d}]")
        self.op = _op(program, name, len(program.changed))

    # ---- what comes in -------------------------------------------------------------------------

    def flatten(self, args, kwargs) -> list:
        """The leaves of a call; raises ``ValueError`` unless their structure is the example's."""
        order = self.in_spec.parts[1].context
        if set(kwargs) != set(order):
            raise ValueError(
                f"Ran into a kwarg keyword mismatch: Got the following keywords {list(kwargs)} but "
                f"expected {list(order)}"
            )
        leaves, spec = trees.flatten((args, {k: kwargs[k] for k in order}))
        if spec != self.in_spec:
            leaves = []
            if _take((args, {k: kwargs[k] for k in order}), self.in_spec, leaves):
                return leaves
            raise ValueError(
                "Trying to flatten user inputs with exported input tree spec: \n"
                f"{self.in_spec!r}\nbut actually got inputs with tree spec of: \n{spec!r}"
            )
        return leaves

    def check(self, leaves: list) -> tuple[list, dict]:
        """(the tensors, the open sizes); raises ``AssertionError`` for what is not admitted."""
        tensors, sizes = [], {}
        derived = []
        for x, want in zip(leaves, self.leaves, strict=True):
            if want.shape is None:
                if not _same_constant(x, want.constant):
                    raise AssertionError(
                        f"Guard failed: {want.path} == {want.constant!r} (it was {want.constant!r} "
                        f"when the program was exported, and is {x!r} now)"
                    )
                continue
            if not isinstance(x, Tensor):
                raise AssertionError(
                    f"Guard failed: {want.path} is a Tensor (it is {type(x).__name__} now)"
                )
            shape = x.shape
            if len(shape) != len(want.shape):
                raise AssertionError(
                    f"Guard failed: len({want.path}.size()) == {len(want.shape)} (it is "
                    f"{len(shape)} now)"
                )
            if x.dtype is not want.dtype:
                raise AssertionError(
                    f"Guard failed: {want.path}.dtype == {want.dtype} (it is {x.dtype} now)"
                )
            for d, (n, m) in enumerate(zip(shape, want.shape, strict=True)):
                if m.__class__ is int:
                    if n != m:
                        raise AssertionError(
                            f"Guard failed: {want.path}.size()[{d}] == {m} (it is {n} now; the "
                            "program was exported for this size only)"
                        )
                elif m.isidentifier():
                    if sizes.setdefault(m, n) != n:
                        raise AssertionError(
                            f"Guard failed: {want.path}.size()[{d}] == {self.places[m]} (they are "
                            f"{n} and {sizes[m]} now)"
                        )
                else:
                    derived.append((want.path, d, m, n))
            tensors.append(x)
        for path, d, text, n in derived:
            _solve(sizes, text, n, f"{path}.size()[{d}]")
        for o in self.program.opened:
            n, place = sizes[o.name], self.places.get(o.name, o.name)
            if n < 1:
                raise AssertionError(f"Guard failed: {place} >= 1 (it is {n} now)")
            if o.low is not None and o.low > 2 and n < o.low:
                raise AssertionError(f"Guard failed: {place} >= {o.low} (it is {n} now)")
            if o.high is not None and n > o.high:
                raise AssertionError(f"Guard failed: {place} <= {o.high} (it is {n} now)")
        self._fulfil(self.program.conditions, sizes)
        return tensors, sizes

    def _fulfil(self, conditions, sizes) -> None:
        for c in conditions:
            if not c.holds(sizes):
                now = ", ".join(f"{self.places.get(n, n)} is {sizes[n]}" for n in sorted(c.names))
                raise AssertionError(
                    f"Guard failed: {c.shown(self.places)} (the exported code relied on it at "
                    f"{c.line}; {now} now)"
                )

    # ---- the call ------------------------------------------------------------------------------

    def __call__(self, state: list, args, kwargs):
        """The result of the program for these tensors of state and these inputs."""
        leaves = self.flatten(args, kwargs)
        tensors, sizes = self.check(leaves)
        program = self.program
        operands = [*state, *tensors, *self._draws(sizes)]
        if modes.grad:
            self._check_gradients(operands, sizes)
        changed = self._changed(state, tensors)
        if changed:
            _check_apart(changed, operands)
        wanted, overwritten = set(program.wanted), {id(c) for c in changed}
        for n, t in enumerate(operands):
            if id(t) in overwritten:  # below: keep what it was
                operands[n] = dispatch.apply(TABLE["clone"], (t,))
            elif n not in wanted and (t._node is not None or t._requires_grad):
                operands[n] = dispatch.wrap(dispatch.value_of(t))
        platform = next((_PLATFORMS.get(t.device.type) for t in operands), "cpu")
        out = dispatch.apply(self.op, operands, (platform or "cpu",))
        out = out if isinstance(out, tuple) else (out,)
        count = len(out) - len(changed)
        with no_grad():
            for t, new in zip(changed, out[count:], strict=True):
                dispatch.rebind(t, dispatch.wrap(new._value))
        results = [
            t if keeps else dispatch.wrap(t._value)
            for t, keeps in zip(out[:count], program.requires or [False] * count, strict=True)
        ]
        return trees.unflatten(self._leaves(results, state, tensors, sizes), self.out_spec)

    def _changed(self, state, tensors) -> list:
        names = {name: n for n, name in enumerate(self.state)}
        return [
            state[names[where]] if kind == "state" else tensors[where]
            for kind, where in self.program.changed
        ]

    def _check_gradients(self, operands, sizes) -> None:
        program = self.program
        if not any(t.requires_grad for t in operands):
            return
        self._fulfil(program.backward_conditions, sizes)
        first = len(self.state)
        for kind, where in program.changed:
            if kind == "input" and operands[first + where].requires_grad:
                raise NotSupported(
                    "gradients through an exported program that changes its input in place",
                    "give it x.detach() or x.clone(), or write the module without the in-place op",
                )

    def _draws(self, sizes) -> list:
        from torchlike._tensor.generators import default_generator, generator_of

        out, pending = [], None
        for method, args, dtype in self.program.draws:
            if method == "numbers":
                device, part = devices.canonical(args[0]), args[1]
                if part == 0:
                    pending = generator_of(device, None).next_numbers()
                value = Value(aval((), dt.int64, device), np.asarray(pending[part], np.int64))
            else:
                numpy_type = dt.BY_NAME[dtype].numpy
                call = getattr(default_generator.stream, method)
                array = np.asarray(call(*[_argument(a, sizes, numpy_type) for a in args]))
                device = devices.CPU
                value = Value(aval(array.shape, dt.BY_NUMPY[array.dtype], device), array)
            out.append(dispatch.wrap(value))
        return out

    def _leaves(self, results, state, tensors, sizes) -> list:
        names = {name: n for n, name in enumerate(self.state)}
        out = []
        for kind, what in self.program.outputs:
            if kind == "tensor":
                out.append(results[what])
            elif kind == "input":
                out.append(tensors[what])
            elif kind == "state":
                out.append(state[names[what]])
            else:
                out.append(evaluate(what, sizes) if kind == "size" else what)
        return out


def _take(tree, spec: trees.Spec, leaves: list) -> bool:
    """Collect the leaves in the order of a structure; False if the tree is of another one.

    The entries of dicts may stand in any order.
    """
    found = trees._children(tree)
    if found is None or found[0] is not spec.kind:
        leaves.append(tree)
        return found is None and spec.kind is None
    kind, context, parts = found
    if kind is dict and set(context) == set(spec.context):
        parts = [tree[key] for key in spec.context]
    elif context != spec.context or len(parts) != len(spec.parts):
        return False
    return all([_take(part, below, leaves) for part, below in zip(parts, spec.parts, strict=True)])


def _argument(x, sizes, numpy_type):
    if x == "@dtype":
        return numpy_type
    if isinstance(x, str):
        return evaluate(x, sizes)
    if isinstance(x, (list, tuple)):
        return tuple([_argument(n, sizes, numpy_type) for n in x])
    return x


def _same_constant(a, b) -> bool:
    if isinstance(b, float) and b != b:
        return isinstance(a, float) and a != a
    return type(a) is type(b) and a == b


def _check_apart(changed, operands) -> None:
    """Raise if what a program changes shares memory with something else that it reads: there the
    program would not see the change."""
    places: dict[int, list] = {}
    for t in operands:
        places.setdefault(id(t if t._storage is None else t._storage), []).append(t)
    for c in changed:
        others = places[id(c if c._storage is None else c._storage)]
        if len(others) > 1 and sum(may_share(c, t) for t in others) > 1:
            raise NotSupported(
                "an exported program that changes an input which shares memory with another",
                "clone() one of them",
            )


def _solve(sizes: dict, text: str, n: int, place: str) -> None:
    """Find the open size of which ``text`` is a linear function, or check it."""
    from torchlike.export._expressions import names

    (name,) = names(text)
    offset = evaluate(text, {name: 0})
    factor = evaluate(text, {name: 1}) - offset
    value, rest = divmod(n - offset, factor)
    if rest or sizes.setdefault(name, value) != value:
        raise AssertionError(f"Guard failed: {place} == {text} (it is {n} now)")


def _op(program, name: str, changed: int) -> Op:
    """The program as an op of the engine, with the derivative that was traced."""
    checks = program.checks

    def run(operands: Arrays, platform: str):
        results = program.forward.on(platform).call(*operands)
        results = list(results) if isinstance(results, (tuple, list)) else [results]
        if checks:
            flags = results.pop()
            into = getattr(table._reports, "into", None)
            if into is not None:
                sizes = _sizes_of(program, operands)
                for n, (_, size, ndim, _) in enumerate(checks):
                    into.append((flags[n], evaluate(size, sizes), ndim))
        return tuple(results)

    def derive(c, *grads):
        sizes = _sizes_of(program, c.operands)
        given = []
        for n in program.floats:
            shape, dtype = program.results[n]
            if grads[n] is None:
                shape = [evaluate(m, sizes) if isinstance(m, str) else m for m in shape]
                given.append(np.zeros(shape, dtype.numpy))
            else:
                given.append(grads[n])
        platform = c.statics["platform"]
        out: list = [None] * len(c.operands)
        missing = any(grads[n] is None for n in program.alone)
        if not missing:
            parts = [(program.backward, program.wanted, given)]
        else:
            at = {n: g for n, g in zip(program.floats, given, strict=True) if grads[n] is not None}
            parts = [(*program.alone[n], [at[n]]) for n in program.alone if n in at]
        for backward, wanted, cotangents in parts:
            found = backward.on(platform).call(*c.operands, *cotangents) if wanted else ()
            for n, g in zip(wanted, found, strict=True):
                out[n] = g if out[n] is None else out[n] + g
        return tuple(out)

    def refuse(statics, in_avals):
        raise NotSupported(
            f"the gradient of this exported program: tracing it failed with {program.backward}",
            "differentiate the module itself",
        )

    def refuse_again(statics, in_avals):
        raise NotSupported(
            "second derivatives of an exported program", "differentiate the module itself"
        )

    derive.vjp = lambda c, *grads: None
    derive.vjp.refuse = refuse_again
    if isinstance(program.backward, str):
        derive.refuse = refuse
    return Op(
        name, run, promotes="raw", checks=bool(checks), differentiable=program.backward is not None,
        vjp=derive if program.backward is not None else None, grad_name="ExportedProgramBackward",
    )  # fmt: skip


def _sizes_of(program, operands) -> dict:
    """The open sizes of a call that is being traced, from its arrays."""
    sizes: dict = {}
    for array, shape in zip(operands[program.first :], program.shapes, strict=False):
        for n, m in zip(array.shape, shape, strict=True):
            if isinstance(m, str):
                if m.isidentifier():
                    sizes[m] = n
                else:
                    _solve(sizes, m, n, m)
    return sizes
