"""torch.utils.flop_counter: how many floating-point operations a program takes, by module.

Counted are products of matrices, convolutions and attention, as PyTorch counts them. Two things
that it counts on no CPU are counted here: LSTM layers, as their products, and attention without
dropout, as its kernel for GPUs.
"""

from __future__ import annotations

import warnings
from collections import defaultdict
from typing import Any

from torchlike import _custom_ops
from torchlike._aten import Operator
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.func import trees
from torchlike.utils._flops import FORMULAS, flops_of
from torchlike.utils._kernels import KNOWN, backward_kernels, forward_kernels
from torchlike.utils._observer import Observer, samples, shape_of

__all__ = ["FlopCounterMode", "register_flop_formula"]

flop_registry: dict[str, Any] = dict(FORMULAS)
_RAW: set = set()  # the formulas that get tensors, not shapes


def _target(target) -> str:
    """The name of what a formula is for: ``aten.mm``, or a custom operator's ``space.name``."""
    if isinstance(target, str):
        return target.replace("::", ".")
    if isinstance(target, Operator):
        return f"aten.{target._plain}"
    definition = getattr(target, "_definition", target)
    name = getattr(definition, "_qualname", None)
    if name is None:
        raise ValueError(
            f"register_flop_formula(targets): expected each target to be an operator made by "
            f"torch.library or a name like 'aten.mm', but got {target!r} of type {type(target)}"
        )
    return name.replace("::", ".")


def register_flop_formula(targets, get_raw: bool = False):
    """Decorator: the FLOPs of an operator are ``formula(*args, out_shape=..., **kwargs)``
    (https://pytorch.org/docs/stable/library.html).

    targets   operators made by ``torch.library``, or names of PyTorch's kernels (``"aten.mm"``)
    get_raw   the formula gets tensors and ``out_val`` instead of shapes and ``out_shape``
    """

    def register(formula):
        for target in targets if isinstance(targets, (list, tuple)) else [targets]:
            name = _target(target)
            if name in flop_registry:
                raise RuntimeError(f"duplicate registrations for {name}")
            flop_registry[name] = formula
            if get_raw:
                _RAW.add(formula)
        return formula

    return register


class FlopCounterMode(Observer):
    """Context that counts the FLOPs of what is called and differentiated in it, by module.

        with FlopCounterMode(display=False) as counter:
            model(x).sum().backward()
        counter.get_total_flops()

    mods             not needed
    depth            how many levels of modules the table shows
    display          whether the table is printed at the end
    custom_mapping   {operator or name: formula} beside those that are registered
    """

    def __init__(
        self, mods=None, depth: int = 2, display: bool = True, custom_mapping: dict | None = None
    ) -> None:
        super().__init__()
        if mods is not None:
            warnings.warn("mods argument is not needed anymore, you can stop passing it",
                          stacklevel=2)  # fmt: skip
        self.depth, self.display = depth, display
        self.flop_counts: dict = defaultdict(lambda: defaultdict(int))
        self._inside = 0  # how many custom operators are open
        custom = {_target(k): f for k, f in (custom_mapping or {}).items()}
        self._custom = custom
        self._raw = _RAW | {f for f in custom.values() if getattr(f, "_get_raw", False)}

    # ---- counting ----

    def __enter__(self):
        self.flop_counts.clear()
        self._formulas = {**flop_registry, **self._custom}
        self._custom_before, _custom_ops.watchers.around = (
            _custom_ops.watchers.around, self._call_custom)  # fmt: skip
        return super().__enter__()

    def __exit__(self, *exc):
        _custom_ops.watchers.around = self._custom_before
        super().__exit__(*exc)
        if self.display:
            print(self.get_table(self.depth))  # noqa: T201  (what it is asked for)
        return False

    def called(self, op, operands, statics, results) -> None:
        if self._inside:
            return
        if op.name not in KNOWN:
            self._count_named(f"aten.{op.name}", operands, results)
            return
        outs = [r._value.aval.shape for r in results]
        kernels = forward_kernels(op, [shape_of(x) for x in operands], statics, outs, operands)
        times = samples(operands)
        self._count(kernels, self.path, times)
        for r in results:
            if r._node is not None:  # backward is counted for the modules of the way forward
                r._node.scopes = tuple(self.path), times

    def derived(self, node, grads) -> None:
        plan = getattr(node, "plan", None)
        if plan is None or (plan.op.name not in KNOWN and plan.op.forward is None):
            return
        call = plan.call
        need = _wanted(node, plan.need)
        shapes = [getattr(a, "shape", None) for a in call.in_avals]
        kernels = backward_kernels(
            plan.op, shapes, call.statics, [a.shape for a in call.avals], node.saved, need,
            grads,
        )  # fmt: skip
        self._count(kernels, *getattr(node, "scopes", ((), 1)))

    def _count_named(self, name, operands, results) -> None:
        """An op that has no formula of ours, by the one that the user has registered, if any."""
        formula = self._formulas.get(name)
        if formula is None:
            return
        out = results[0] if len(results) == 1 else results
        if formula in self._raw:
            flops = formula(*operands, out_val=out)
        else:
            flops = formula(*_shapes(operands), out_shape=_shapes(out))
        self._add(name, flops * samples(operands), self.path)

    def _call_custom(self, definition, args, kwargs, call):
        name = definition._qualname.replace("::", ".")
        formula = self._formulas.get(name)
        self._inside += 1  # its kernel is no part of the count, as in PyTorch
        try:
            out = call()
        finally:
            self._inside -= 1
        if formula is not None:
            if formula in self._raw:
                flops = formula(*args, out_val=out, **kwargs)
            else:
                flops = formula(*_shapes(args), out_shape=_shapes(out), **_shapes(kwargs))
            self._add(name, flops, self.path)
        return out

    def _count(self, kernels, path, times: int) -> None:
        for kernel in kernels:
            if kernel.name in self._formulas:
                self._add(kernel.name, flops_of(kernel, self._formulas) * times, path)

    def _add(self, name: str, flops: int, path) -> None:
        for module in dict.fromkeys(("Global", *path)):
            self.flop_counts[module][name] += flops

    # ---- what was counted ----

    def get_total_flops(self) -> int:
        """All of them."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[Any, int]]:
        """{module: {kernel's name: FLOPs}}, with "Global" for everything."""
        return {module: dict(counts) for module, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text, modules nested deeper than ``depth`` left out."""
        depth = self.depth if depth is None else depth
        depth = 999999 if depth is None else depth
        total = self.get_total_flops()
        unit = max(0, min(4, (len(str(total)) - 2) // 3))

        def rows_of(module):
            counts = self.flop_counts[module]
            named = [(module, sum(counts.values())), *((f"- {k}", n) for k, n in counts.items())]
            for name, n in named:
                share = f"{100 * n / total:.2f}%" if total else "0%"
                yield name, f"{n / 1000**unit:.3f}{' KMBT'[unit].strip()}", share

        rows, whole = [], False
        for module in sorted(self.flop_counts):
            if module == "Global" or module.count(".") + 1 > depth:
                continue
            whole |= sum(self.flop_counts[module].values()) >= total
            rows += rows_of(module)
        if total and not whole:
            rows = [*rows_of("Global"), *rows]
        return _table(("Module", "FLOP", "% Total"), rows or [("Global", "0", "0%")])


def _wanted(node, need):
    """``need`` without the leaves that ``autograd.grad`` is not asked about."""
    wanted = modes.walk[1] if modes.walk is not None else None
    if wanted is None:
        return need
    targets = iter(node.targets)
    out = []
    for n in need:
        target = next(targets) if n else None
        leaf = isinstance(target, Tensor)
        out.append(n and (not leaf or any(target is w for w in wanted)))
    return tuple(out)


def _shapes(x):
    return trees.map_tree(lambda t: t.shape if isinstance(t, Tensor) else t, x)


def _table(header, rows) -> str:
    """Columns two spaces apart, the first to the left, the others to the right."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]

    def line(cells):
        first, *rest = (
            c.ljust(w) if not i else c.rjust(w) for i, (c, w) in enumerate(zip(cells, widths))
        )
        return "  ".join((first, *rest)).rstrip()

    return "\n".join([line(header), line(["-" * w for w in widths]), *map(line, rows)])
