"""Optimizer: groups of parameters, state under PyTorch's names, one fused step per group."""

from __future__ import annotations

import itertools
from collections import OrderedDict, defaultdict
from copy import deepcopy
from types import FunctionType
from typing import Any, ClassVar

from torchlike._core.errors import DeviceMismatch, SparseOperand
from torchlike._engine.flush import end_setup, flush
from torchlike._engine.places import place_of
from torchlike._engine.prefix import cut_from, local, record
from torchlike._engine.values import Packed
from torchlike._ops.optimizers import Plan
from torchlike._ops.table import TABLE
from torchlike._ops.update_rules import RULES
from torchlike._tensor import dispatch
from torchlike._tensor.foreach import group_tensors
from torchlike._tensor.handles import RemovableHandle, hold
from torchlike._tensor.modes import enable_grad, no_grad
from torchlike._tensor.tensor import Tensor
from torchlike.optim import sparse_steps
from torchlike.optim._conditional import Conditional
from torchlike.optim._hooks import with_hooks
from torchlike.optim._packs import Pack, by_step, full, is_small, share_steps
from torchlike.optim._rebinding import rebind_all

_STEP, _STEP_PACKED = TABLE["optimizer_step"], TABLE["optimizer_step_packed"]
_STEP_TAPED = TABLE["optimizer_step_taped"]

required = type("_Required", (), {"__repr__": lambda self: "<required parameter>"})()


class Optimizer(Conditional):
    """Base of all optimizers (https://pytorch.org/docs/stable/optim.html).

    A subclass names its rule in ``_ops/optimizers.py`` and says per group which flags are static
    and which numbers enter at run time.
    """

    rule: str = ""
    step_sparse = None  # a function of sparse_steps.py, where there is a step for such gradients
    _global_pre_hooks: ClassVar[OrderedDict] = OrderedDict()
    _global_post_hooks: ClassVar[OrderedDict] = OrderedDict()
    # Whether others may hold the dicts of ``state``, or one was changed: only then a step has to
    # look whether they are still what it left.
    _watched = True
    _stepping = False  # whether a step is under way whose hooks have run
    _repeats = False  # whether a group holds a parameter more than once
    # What options stand for in a group of a file that is older than they.
    later: ClassVar[dict[str, Any]] = {
        "amsgrad": False, "maximize": False, "foreach": None, "capturable": False,
        "differentiable": False, "fused": None, "decoupled_weight_decay": False,
    }  # fmt: skip

    def __init_subclass__(cls, **options) -> None:
        super().__init_subclass__(**options)
        if isinstance(cls.__dict__.get("step"), FunctionType):
            cls.step = with_hooks(cls.step)

    def __init__(self, params, defaults: dict[str, Any]):
        if isinstance(params, Tensor):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or "
                f"dicts, but got {params.type()}"
            )
        self.defaults = defaults
        self.__dict__["state"] = defaultdict(dict)
        self._watched = False
        self.param_groups: list[dict[str, Any]] = []
        self._pre_hooks: OrderedDict = OrderedDict()
        self._post_hooks: OrderedDict = OrderedDict()
        self._packs: dict[int, Pack] = {}  # by the identity of their group
        self._state_hooks: dict[str, OrderedDict] = defaultdict(OrderedDict)
        groups = list(params)
        if not groups:
            raise ValueError("optimizer got an empty parameter list")
        if not isinstance(groups[0], dict):
            groups = [{"params": groups}]
        for group in groups:
            self.add_param_group(group)
        end_setup()

    def _patch_step_function(self) -> None:
        """Nothing: who wraps an optimizer calls it, and every class's ``step`` runs the hooks."""

    def _cuda_graph_capture_health_check(self) -> None:
        """Nothing: no graph of CUDA is captured."""

    _accelerator_graph_capture_health_check = _cuda_graph_capture_health_check
    _group_tensors_by_device_and_dtype = staticmethod(group_tensors)

    @property
    def state(self) -> defaultdict:
        """The states by parameter, under PyTorch's names; it may be changed."""
        self._watched = True
        return self.__dict__["state"]

    @state.setter
    def state(self, state: dict) -> None:
        self._watched = True
        self.__dict__["state"] = state

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Add a group of parameters with options of its own."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group)}")
        params = param_group["params"]
        if isinstance(params, Tensor):
            params = [params]
        elif isinstance(params, set):
            raise TypeError(
                "optimizer parameters need to be organized in ordered collections, but the "
                "ordering of tensors in sets will change between runs. Please use a list instead."
            )
        params = list(params)
        named = [isinstance(p, tuple) for p in params]
        if any(named):
            if not all(named):
                raise ValueError(
                    "all optimizer params should be with/without names. "
                    "Some param names are missing"
                )
            param_group["param_names"] = [p[0] for p in params]
            params = [p[1] for p in params]
        if any(("param_names" in g) is not any(named) for g in self.param_groups):
            raise ValueError(
                "all optimizer param groups should be with/without names. cannot add param group "
                f"{'with' if any(named) else 'without'} names to the optimizer"
            )
        param_group["params"] = params
        for p in params:
            if not isinstance(p, Tensor):
                raise TypeError(
                    f"optimizer can only optimize Tensors, but one of the params is "
                    f"{type(p).__name__}"
                )
            if not self.defaults.get("differentiable") and not (p.is_leaf or p._retains):
                raise ValueError("can't optimize a non-leaf Tensor")
        for name, default in self.defaults.items():
            if default is required and name not in param_group:
                raise ValueError(
                    f"parameter group didn't specify a value of required optimization parameter "
                    f"{name}"
                )
            param_group.setdefault(name, default)
        if len({id(p) for p in params}) != len(params):
            import warnings

            self._repeats = True
            warnings.warn(
                "optimizer contains a parameter group with duplicate parameters; in future, this "
                "will cause an error; see github.com/pytorch/pytorch/issues/40967 for more "
                "information",
                stacklevel=3,
            )
        taken = {id(p) for group in self.param_groups for p in group["params"]}
        if any(id(p) in taken for p in params):
            raise ValueError("some parameters appear in more than one parameter group")
        self.param_groups.append(param_group)

    # ---- stepping ------------------------------------------------------------------------------

    def flags(self, group: dict[str, Any]) -> dict[str, Any]:
        """Static choices of the rule for a group."""
        raise NotImplementedError

    def scalars(self, group: dict[str, Any]) -> list:
        """Run-time numbers of the rule for a group, in the rule's order."""
        return [group[name] for name in RULES[self.rule].scalars]

    def start(self, group: dict[str, Any], name: str) -> float:
        """The number that a state is full of at first."""
        return 0.0

    def state_aval(self, p, name: str):
        """Shape, dtype and device of a state of a parameter."""
        return p._value.aval

    @with_hooks
    def step(self, closure=None):
        """Update every parameter that has a gradient; returns the closure's loss."""
        loss = None
        if local.capture is not None:
            local.capture.gradients = True
        if closure is not None:
            with enable_grad():
                loss = closure()
        place = place_of("optimizer step")
        for group in self.param_groups:
            given = [p for p in group["params"] if p._grad is not None]
            for params in _rounds(given) if self._repeats else (given,):
                if not params:
                    continue
                try:
                    self._step_group(group, params, self.flags(group), place.line)
                except SparseOperand:
                    self._step_some_sparse(group, params, place.line)
        flush(None, "optimizer step", place)
        return loss

    def _step_some_sparse(self, group, params, line) -> None:
        """Update parameters of which some have sparse gradients."""
        if self.step_sparse is None:
            raise sparse_steps.refusal(self)
        dense = [p for p in params if not p._grad._sparse]
        if dense:
            self._step_group(group, dense, self.flags(group), line)
        for p in params:
            if p._grad._sparse:
                self._watched = True
                self.step_sparse(p, p._grad, self.__dict__["state"][p], group)

    def _step_group(self, group, params, flags, line) -> None:
        rule = RULES[self.rule]
        pack = self._packs.get(id(group))
        if pack is not None and pack.is_all(params) and self._is_whole(pack, flags):
            self._run_packed(group, pack, flags, line)
            return
        names = rule.state(flags)
        fresh = self.prepare(group, params, flags)
        if flags.get("first") is not None:  # a rule whose first step is another one
            if any(p._grad._sparse for p in params):  # before the first of the two runs
                raise SparseOperand("a sparse gradient has no array")
            new = {id(p) for p in fresh}
            for first in (True, False):
                chosen = [p for p in params if (id(p) in new) is first]
                if chosen:
                    self._run(group, chosen, names, {**flags, "first": first}, line)
            return
        pack = self._packs.get(id(group))
        if pack is not None:
            loose = [p for p in params if id(p) not in pack.ids]
            if len(params) - len(loose) == len(pack.params) and self._is_whole(pack, flags):
                self._run_packed(group, pack, flags, line)
                if loose:
                    self._run(group, loose, names, flags, line)
                return
            del self._packs[id(group)]
            pack.dissolve(self.__dict__["state"])
        self._run(group, params, names, flags, line)

    def _is_whole(self, pack: Pack, flags) -> bool:
        """Whether the states of a pack's parameters are the pack's own, and those of the rule."""
        if pack.flags != flags and RULES[self.rule].state(flags) != pack.names:
            return False
        if not pack.counts_as_one():
            return False
        return not self._watched or pack.is_whole(self.__dict__["state"])

    def _run_packed(self, group, pack, flags, line) -> None:
        """Record the fused step of a pack and rebind what it changes."""
        numbers = [x if x.__class__ is float else _number(x) for x in self.scalars(group)]
        if pack.flags != flags:
            rule = RULES[self.rule]
            names, sizes = rule.state(flags), (len(pack.params),)
            pack.plan = Plan(self.rule, tuple(flags.items()), rule.scalars, sizes, names)
            pack.flags = flags
        grads = [p._grad for p in pack.params]
        operands = numbers
        for t in (*pack.step, *pack.params, *grads, *pack.bases):
            storage = t._storage
            if storage is not None and t._seen != storage.version:
                t._sync()
            operands.append(t._value)
        if local.capture is not None:
            self._note(group)
        values, _ = record(_STEP_PACKED, (pack.plan,), operands)
        packed = Packed(values.pop(len(pack.step)))
        rebind_all([*pack.step, *pack.params, *pack.bases], values, line)
        cut = packed, [g._value for g in grads], pack.starts
        if local.capture is None:
            cut_from(*cut)
        else:  # the call goes on, and may use the gradients
            local.capture.cuts.append(cut)

    def _note(self, group) -> None:
        """Tell the recording of a compiled function where the step that follows finds its numbers.

        A replay reads them again, so that another learning rate records nothing again.
        """
        scalars = self.scalars(group)
        if any(isinstance(x, Tensor) for x in scalars):
            return
        local.capture.actions.append(("group", self, group, self.flags(group)))
        local.capture.numbers(
            lambda: [float(x) for x in self.scalars(group)], (float,) * len(scalars)
        )

    def prepare(self, group: dict, params: list, flags: dict):
        """Make the states of parameters that have none, as a step does; returns the parameters."""
        may_pack = "first" not in flags and not group.get("differentiable")
        return self._prepare(group, params, RULES[self.rule].state(flags), may_pack, True)

    def _prepare(self, group, params, names, may_pack: bool = True, stepping: bool = False):
        """Make the states of parameters that have none yet; returns these parameters."""
        rule, state = RULES[self.rule], self.__dict__["state"]
        if not names and not rule.counts:
            return ()
        fresh = [p for p in params if not state[p]]
        if not fresh:
            return ()
        if stepping and any(p._grad._sparse for p in fresh):
            raise SparseOperand("a sparse gradient has no array")
        starts = [self.start(group, name) for name in names]
        packable = [p for p in fresh if is_small(p)] if may_pack and rule.packs else ()
        if len(packable) > 1 and names and id(group) not in self._packs:
            self._packs[id(group)] = Pack(packable, names, starts, rule.counts, state)
        loose = [p for p in fresh if not state[p]]
        for p in loose:
            slot = state[p]
            if rule.counts:
                slot["step"] = None
            for name, start in zip(names, starts, strict=True):
                slot[name] = dispatch.wrap(full(self.state_aval(p, name), start))
        if loose and rule.counts:
            share_steps(state, loose, fresh=True)
        return fresh

    def _run(self, group, params, names, flags, line) -> None:
        """Record the fused step and rebind what it changes."""
        rule = RULES[self.rule]
        state = self.__dict__["state"]
        if group.get("differentiable"):
            self._run_taped(group, params, names, flags, line)
            return
        numbers = [_number(x) for x in self.scalars(group)]
        cohorts, counters = (len(params),), []
        if rule.counts:
            params, cohorts, counters, changed = by_step(params, state)
            self._watched = self._watched or changed
        plan = Plan(self.rule, tuple(flags.items()), rule.scalars, cohorts, names)
        slots = [state[p] for p in params] if names else []
        states = [slot[name] for name in names for slot in slots]
        operands = numbers
        for t in (*counters, *params, *[p._grad for p in params], *states):
            storage = t._storage
            if storage is not None and t._seen != storage.version:
                t._sync()
            operands.append(t._value)
        if local.capture is not None:
            self._note(group)
        try:
            values, _ = record(_STEP, (plan,), operands)
        except DeviceMismatch:
            places: dict = {}
            for p in params:
                places.setdefault(p._value.aval.device, []).append(p)
            if len(places) == 1:
                raise
            for members in places.values():
                self._run(group, members, names, flags, line)
            return
        rebind_all([*counters, *params, *states], values, line)

    def _run_taped(self, group, params, names, flags, line) -> None:
        """The step as an in-place op on the tape: parameters and states depend on what they were,
        on the gradients and on numbers that are tensors."""
        rule, state = RULES[self.rule], self.__dict__["state"]
        cohorts, counters = (len(params),), []
        if rule.counts:
            params, cohorts, counters, changed = by_step(params, state)
            self._watched = self._watched or changed
        plan = Plan(self.rule, tuple(flags.items()), rule.scalars, cohorts, names)
        states = [state[p][name] for name in names for p in params]
        grads = [p._grad for p in params]
        with enable_grad():
            numbers = [x if isinstance(x, Tensor) else float(x) for x in self.scalars(group)]
            changed = [*counters, *params, *states]
            old = [t.clone() for t in changed]  # what is saved for backward stays what it is
            at = len(counters) + len(params)
            operands = (*numbers, *old[:at], *grads, *old[at:])
            new = dispatch.apply(_STEP_TAPED, operands, (plan,))
            new = new if isinstance(new, tuple) else (new,)
            # The counts first, and not by copy_: one that is written leaves the others.
            rebind_all(counters, [t._value for t in new[: len(counters)]], line)
            for t, value in zip(changed[len(counters) :], new[len(counters) :], strict=True):
                t.copy_(value)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or set them to zero."""
        if local.capture is not None:
            local.capture.gradients = True
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    if set_to_none:
                        p._grad = None
                    else:
                        grad = p._grad
                        if grad.requires_grad:
                            grad.detach_()
                        with no_grad():
                            grad.zero_()

    # ---- state ---------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, Any]:
        """State and groups with parameters by number, as PyTorch saves them.

        The tensors are the optimizer's own, not copies: they follow what becomes of them.
        """
        for hook in self._state_hooks["state_dict_pre"].values():
            hook(self)
        numbers: dict[int, int] = {}
        groups, start = [], 0
        for group in self.param_groups:
            packed = {k: v for k, v in group.items() if k != "params"}
            new = {id(p): i for i, p in enumerate(group["params"], start) if id(p) not in numbers}
            numbers.update(new)
            start += len(group["params"])
            packed["params"] = [numbers[id(p)] for p in group["params"]]
            groups.append(packed)
        state = {
            (numbers[id(p)] if isinstance(p, Tensor) else p): _given(slot) if self.rule else slot
            for p, slot in self.__dict__["state"].items()
            if not (self.rule and isinstance(slot, dict)) or slot
        }
        out = {"state": state, "param_groups": groups}
        for hook in self._state_hooks["state_dict_post"].values():
            changed = hook(self, out)
            out = out if changed is None else changed
        return out

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over a state dict; ``ValueError`` if its groups do not fit, and nothing changed."""
        state_dict = state_dict.copy()
        for hook in self._state_hooks["load_pre"].values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        groups, saved = self.param_groups, deepcopy(state_dict["param_groups"])
        if len(groups) != len(saved):
            raise ValueError("loaded state dict has a different number of parameter groups")
        if any(len(g["params"]) != len(s["params"]) for g, s in zip(groups, saved, strict=True)):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        by_number = dict(
            zip(
                itertools.chain.from_iterable(s["params"] for s in saved),
                itertools.chain.from_iterable(g["params"] for g in groups),
                strict=True,
            )
        )
        state: defaultdict = defaultdict(dict)
        for key, slot in state_dict["state"].items():
            p = by_number.get(key)
            if p is None:
                state[key] = slot
                continue
            state[p] = _loaded(None, slot, p, bool(self.rule))
        for group, new in zip(groups, saved, strict=True):
            new["params"] = group["params"]
            if "param_names" in group and "param_names" not in new:
                new["param_names"] = group["param_names"]
        self.__setstate__({"state": state, "param_groups": saved})
        for hook in self._state_hooks["load_post"].values():
            hook(self)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for name in ("_pre_hooks", "_post_hooks"):
            self.__dict__.setdefault(name, OrderedDict())
        self.__dict__.setdefault("_state_hooks", defaultdict(OrderedDict))
        self._packs = {}
        self._repeats = any(len(g["params"]) != len(set(g["params"])) for g in self.param_groups)
        for group in self.param_groups:  # of a file that is older than the option
            for name, default in self.later.items():
                if name in self.defaults:
                    group.setdefault(name, default)
        if self.rule and RULES[self.rule].counts:
            counted = [
                p
                for p, slot in self.__dict__["state"].items()
                if isinstance(p, Tensor) and slot.get("step") is not None
            ]
            share_steps(self.__dict__["state"], counted)

    def __getstate__(self) -> dict[str, Any]:
        own = self.__dict__  # a copy is taken: nobody comes to hold the state
        return {name: own[name] for name in ("defaults", "state", "param_groups")}

    def __repr__(self) -> str:
        text = f"{type(self).__name__} ("
        for i, group in enumerate(self.param_groups):
            text += f"\nParameter Group {i}\n"
            text += "".join(f"    {k}: {group[k]}\n" for k in sorted(group) if k != "params")
        return text + ")"

    # ---- hooks ---------------------------------------------------------------------------------

    def register_step_pre_hook(self, hook):
        """Call ``hook(optimizer, args, kwargs)`` before each step."""
        return hold(self._pre_hooks, hook)

    def register_step_post_hook(self, hook):
        """Call ``hook(optimizer, args, kwargs)`` after each step."""
        return hold(self._post_hooks, hook)

    def register_state_dict_pre_hook(self, hook, prepend: bool = False):
        """Call ``hook(optimizer)`` before ``state_dict``."""
        return _added(self._state_hooks["state_dict_pre"], hook, prepend)

    def register_state_dict_post_hook(self, hook, prepend: bool = False):
        """Call ``hook(optimizer, state_dict)`` after ``state_dict``; it may return another."""
        return _added(self._state_hooks["state_dict_post"], hook, prepend)

    def register_load_state_dict_pre_hook(self, hook, prepend: bool = False):
        """Call ``hook(optimizer, state_dict)`` before loading; it may return another."""
        return _added(self._state_hooks["load_pre"], hook, prepend)

    def register_load_state_dict_post_hook(self, hook, prepend: bool = False):
        """Call ``hook(optimizer)`` after loading."""
        return _added(self._state_hooks["load_post"], hook, prepend)


def _rounds(params) -> list[list]:
    """The parameters in lists without repeats: one that comes twice is updated twice."""
    rounds: list[list] = []
    counts: dict[int, int] = {}
    for p in params:
        n = counts[id(p)] = counts.get(id(p), -1) + 1
        if n == len(rounds):
            rounds.append([])
        rounds[n].append(p)
    return rounds


def _added(hooks: OrderedDict, hook, prepend: bool) -> RemovableHandle:
    handle = hold(hooks, hook)
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


def _number(x):
    if isinstance(x, Tensor):
        if x.numel() != 1:
            raise TypeError(
                f"an option of a group must be Number, not Tensor of shape {[*x.shape]}"
            )
        return dispatch.value_of(x)
    if isinstance(x, str):
        raise TypeError(f"an option of a group must be Number, not str: {x!r}")
    return float(x)


def _given(slot):
    """A parameter's state to give away: another dict, which nobody has to watch."""
    return dict(slot) if isinstance(slot, dict) else slot


def _loaded(name, x, p, own: bool):
    """A loaded state entry, on the parameter's device and in its dtype; step counts stay as they
    are, to be placed where they are shared.

    What fits already is taken as it is, as PyTorch does. A step that overwrites all states at once
    (``own``) gets tensors of its own.
    """
    if isinstance(x, Tensor):
        dtype = p.dtype if p.is_floating_point() else x.dtype
        if name != "step" and (x.dtype is not dtype or x.device != p.device):
            return x.detach().to(p.device, dtype)
        return x.detach().clone() if own else x
    if isinstance(x, dict):
        return {k: _loaded(k, v, p, own) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return type(x)(_loaded(name, v, p, own) for v in x)
    return deepcopy(x) if own else x


def register_optimizer_step_pre_hook(hook):
    """Call ``hook(optimizer, args, kwargs)`` before each step of any optimizer."""
    return hold(Optimizer._global_pre_hooks, hook)


def register_optimizer_step_post_hook(hook):
    """Call ``hook(optimizer, args, kwargs)`` after each step of any optimizer."""
    return hold(Optimizer._global_post_hooks, hook)
