"""Calling a module: forward with its hooks, and the points at which a call flushes."""

from __future__ import annotations

import functools
import warnings
import weakref
from collections import OrderedDict

from torchlike._engine.captures import surroundings
from torchlike._engine.flush import flush
from torchlike._engine.prefix import local
from torchlike._tensor.creation import zeros
from torchlike._tensor.function import Function
from torchlike._tensor.handles import RemovableHandle
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike.compiler._compile import compile as compile_function

# Hooks of every module; registering one sets ANY_GLOBAL for good, so that a call asks once.
GLOBAL_BACKWARD: OrderedDict = OrderedDict()
GLOBAL_BACKWARD_PRE: OrderedDict = OrderedDict()
GLOBAL_FORWARD: OrderedDict = OrderedDict()
GLOBAL_FORWARD_ALWAYS: OrderedDict = OrderedDict()
GLOBAL_FORWARD_KWARGS: OrderedDict = OrderedDict()
GLOBAL_FORWARD_PRE: OrderedDict = OrderedDict()
GLOBAL_BUFFER: OrderedDict = OrderedDict()
GLOBAL_MODULE: OrderedDict = OrderedDict()
GLOBAL_PARAMETER: OrderedDict = OrderedDict()
ANY_GLOBAL = False
_global_is_full = None


def _registered() -> tuple:
    """The hooks of every module, for those who must know when another one comes."""
    if not ANY_GLOBAL:
        return ()
    tables = (GLOBAL_BACKWARD, GLOBAL_BACKWARD_PRE, GLOBAL_FORWARD, GLOBAL_FORWARD_PRE)
    return tuple([hook for table in tables for hook in table.values()])


surroundings.append(_registered)


def add_hook(hooks, hook, prepend=False, **marks) -> RemovableHandle:
    """Put a hook into an OrderedDict, and its id into each dict of ``marks`` that is wanted.

    A mark is a pair (dict, wanted): the handle clears it too.
    """
    handle = RemovableHandle(hooks, extra_dict=[d for d, _ in marks.values()])
    hooks[handle.id] = hook
    for d, wanted in marks.values():
        if wanted:
            d[handle.id] = True
    if prepend:
        hooks.move_to_end(handle.id, last=False)
    return handle


class WrappedHook:
    """A hook that is called with its module first, held weakly; it copies and pickles."""

    def __init__(self, hook, module=None):
        self.hook = hook
        functools.update_wrapper(self, hook)
        self.with_module = module is not None
        if module is not None:
            self.module = weakref.ref(module)

    def __call__(self, *args, **kwargs):
        if not self.with_module:
            return self.hook(*args, **kwargs)
        module = self.module()
        if module is None:
            raise RuntimeError("You are trying to call the hook of a dead Module!")
        return self.hook(module, *args, **kwargs)

    def __getstate__(self):
        state = {"hook": self.hook, "with_module": self.with_module}
        if self.with_module:
            state["module"] = self.module()
        return state

    def __setstate__(self, state):
        self.hook, self.with_module = state["hook"], state["with_module"]
        if self.with_module:
            if state["module"] is None:
                raise RuntimeError("You are trying to revive the hook of a dead Module!")
            self.module = weakref.ref(state["module"])


# ---- hooks of all modules ----------------------------------------------------------------------


def _add_global(hooks, hook, **marks):
    global ANY_GLOBAL
    ANY_GLOBAL = True
    return add_hook(hooks, hook, **marks)


def register_module_forward_pre_hook(hook) -> RemovableHandle:
    """Call ``hook(module, args)`` before the forward of every module."""
    return _add_global(GLOBAL_FORWARD_PRE, hook)


def register_module_forward_hook(hook, *, with_kwargs=False, always_call=False) -> RemovableHandle:
    """Call ``hook(module, args, output)`` after the forward of every module."""
    return _add_global(
        GLOBAL_FORWARD, hook,
        kwargs=(GLOBAL_FORWARD_KWARGS, with_kwargs), always=(GLOBAL_FORWARD_ALWAYS, always_call),
    )  # fmt: skip


def register_module_full_backward_pre_hook(hook) -> RemovableHandle:
    """Call ``hook(module, grad_output)`` before the backward of every module."""
    return _add_global(GLOBAL_BACKWARD_PRE, hook)


def _global_backward_kind(full):
    global _global_is_full
    if _global_is_full is (not full):
        raise RuntimeError(
            "Cannot use both regular backward hooks and full backward hooks as a global Module "
            "hook. Please use only one of them."
        )
    _global_is_full = full


def register_module_backward_hook(hook) -> RemovableHandle:
    """Deprecated form of ``register_module_full_backward_hook``."""
    _global_backward_kind(False)
    return _add_global(GLOBAL_BACKWARD, hook)


def register_module_full_backward_hook(hook) -> RemovableHandle:
    """Call ``hook(module, grad_input, grad_output)`` after the backward of every module."""
    _global_backward_kind(True)
    return _add_global(GLOBAL_BACKWARD, hook)


def register_module_buffer_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, buffer)`` when a buffer is registered; it may return another."""
    return add_hook(GLOBAL_BUFFER, hook)


def register_module_module_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, submodule)`` when a module is registered; it may return another."""
    return add_hook(GLOBAL_MODULE, hook)


def register_module_parameter_registration_hook(hook) -> RemovableHandle:
    """Call ``hook(module, name, param)`` when a parameter is registered; it may return another."""
    return add_hook(GLOBAL_PARAMETER, hook)


def filtered(hooks, module, name, value):
    """What registration hooks make of a value."""
    for hook in hooks.values():
        changed = hook(module, name, value)
        if changed is not None:
            value = changed
    return value


# ---- the call ----------------------------------------------------------------------------------


class Called:
    """The part of Module that is called: ``__call__`` and the registration of its hooks."""

    _hooked = False  # set by every register method and never taken back: the slow path looks again

    def __call__(self, *args, **kwargs):
        if modes.module_depth:
            if self._hooked or ANY_GLOBAL:
                return call_with_hooks(self, args, kwargs)
            return self.forward(*args, **kwargs)
        # The outermost call. What follows a backward starts a new program, so that accumulated
        # micro-batches do not pile up in one. Inference is a program of its own, the same whatever
        # was pending before: XLA would round another fusion differently.
        if not modes.grad:
            flush(why="before module")
        elif local.after_backward is local.segment:
            flush(why="forward after backward")
        try:
            modes.module_depth = 1
            if self._hooked or ANY_GLOBAL:
                result = call_with_hooks(self, args, kwargs)
            else:
                result = self.forward(*args, **kwargs)
        finally:
            modes.module_depth = 0
        if not modes.grad:
            flush(why="module")
        return result

    def _call_impl(self, *args, **kwargs):
        return call_between_hooks(self, args, kwargs)

    def compile(self, *args, **kwargs) -> None:
        """Compile the calls of this module, in place; the arguments are those of torch.compile
        (https://pytorch.org/docs/stable/generated/torch.nn.Module.html#torch.nn.Module.compile)."""
        self.__dict__["_compiled_call_impl"] = compile_function(self._call_impl, *args, **kwargs)
        self.__dict__["_hooked"] = True

    def register_forward_pre_hook(
        self, hook, *, prepend: bool = False, with_kwargs: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args)`` before forward; it may return other arguments."""
        self.__dict__["_hooked"] = True
        return add_hook(
            self._forward_pre_hooks, hook, prepend,
            kwargs=(self._forward_pre_hooks_with_kwargs, with_kwargs),
        )  # fmt: skip

    def register_forward_hook(
        self, hook, *, prepend: bool = False, with_kwargs: bool = False, always_call: bool = False
    ) -> RemovableHandle:
        """Call ``hook(module, args, output)`` after forward; it may return another output."""
        self.__dict__["_hooked"] = True
        return add_hook(
            self._forward_hooks, hook, prepend,
            kwargs=(self._forward_hooks_with_kwargs, with_kwargs),
            always=(self._forward_hooks_always_called, always_call),
        )  # fmt: skip

    def register_full_backward_pre_hook(self, hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_output)`` before the module's backward."""
        self.__dict__["_hooked"] = True
        return add_hook(self._backward_pre_hooks, hook, prepend)

    def register_backward_hook(self, hook) -> RemovableHandle:
        """Deprecated form of ``register_full_backward_hook``."""
        self._backward_kind(False)
        return add_hook(self._backward_hooks, hook)

    def register_full_backward_hook(self, hook, prepend: bool = False) -> RemovableHandle:
        """Call ``hook(module, grad_input, grad_output)`` after the module's backward."""
        self._backward_kind(True)
        return add_hook(self._backward_hooks, hook, prepend)

    def _backward_kind(self, full):
        if self._is_full_backward_hook is (not full):
            raise RuntimeError(
                "Cannot use both regular backward hooks and full backward hooks on a single "
                "Module. Please use only one of them."
            )
        self.__dict__["_hooked"] = True
        self._is_full_backward_hook = full


def call_with_hooks(module, args, kwargs):
    """A call of a module that has hooks, or that is compiled by its own ``compile``."""
    compiled = module._compiled_call_impl
    if compiled is not None and local.capture is None:
        return compiled(*args, **kwargs)
    return call_between_hooks(module, args, kwargs)


def call_between_hooks(module, args, kwargs):
    """Forward between its hooks, in PyTorch's order: global ones first."""
    if not (
        module._forward_hooks or module._forward_pre_hooks or module._backward_hooks
        or module._backward_pre_hooks or GLOBAL_FORWARD or GLOBAL_FORWARD_PRE
        or GLOBAL_BACKWARD or GLOBAL_BACKWARD_PRE
    ):  # fmt: skip
        return module.forward(*args, **kwargs)
    call = _Call(module, args, kwargs)
    try:
        return call.run()
    except Exception:
        call.run_missed_hooks()
        raise


class _Call:
    """One call with hooks: what it holds must be known after an exception too."""

    def __init__(self, module, args, kwargs):
        self.module, self.args, self.kwargs = module, args, kwargs
        self.result = None
        self.called = set()

    def run(self):
        module = self.module
        full, regular, pre = _backward_hooks(module)
        self.run_pre_hooks()
        around = None
        if full or pre:
            around = BackwardHook(module, full, pre)
            self.args = around.on_inputs(self.args)
        self.result = module.forward(*self.args, **self.kwargs)
        for hooks in (GLOBAL_FORWARD, module._forward_hooks):
            for key, hook in tuple(hooks.items()):
                self.called.add(key)
                self.run_hook(key, hook)
        if around is not None:
            if not isinstance(self.result, (Tensor, tuple)):
                warnings.warn(
                    "For backward hooks to be called, module output should be a Tensor or a tuple "
                    f"of Tensors but received {type(self.result)}",
                    stacklevel=4,
                )
            self.result = around.on_outputs(self.result)
        if regular:
            _attach_regular(module, regular, self.args, self.result)
        return self.result

    def run_pre_hooks(self):
        module = self.module
        for hooks in (GLOBAL_FORWARD_PRE, module._forward_pre_hooks):
            for key, hook in tuple(hooks.items()):
                if key in module._forward_pre_hooks_with_kwargs:
                    changed = hook(module, self.args, self.kwargs)
                    if changed is None:
                        continue
                    if not (isinstance(changed, tuple) and len(changed) == 2):
                        raise RuntimeError(
                            "forward pre-hook must return None or a tuple of (new_args, "
                            f"new_kwargs), but got {changed}."
                        )
                    self.args, self.kwargs = changed
                else:
                    changed = hook(module, self.args)
                    if changed is not None:
                        self.args = changed if isinstance(changed, tuple) else (changed,)

    def run_hook(self, key, hook):
        module = self.module
        if key in module._forward_hooks_with_kwargs or key in GLOBAL_FORWARD_KWARGS:
            changed = hook(module, self.args, self.kwargs, self.result)
        else:
            changed = hook(module, self.args, self.result)
        if changed is not None:
            self.result = changed

    def run_missed_hooks(self):
        """After an exception: the hooks with ``always_call`` that did not have their turn."""
        module = self.module
        for hooks, always, what in (
            (GLOBAL_FORWARD, GLOBAL_FORWARD_ALWAYS, "global module"),
            (module._forward_hooks, module._forward_hooks_always_called, "module"),
        ):
            for key, hook in tuple(hooks.items()):
                if key not in always or key in self.called:
                    continue
                try:
                    self.run_hook(key, hook)
                except Exception as error:
                    warnings.warn(
                        f"{what} forward hook with ``always_call=True`` raised an exception that "
                        f"was silenced as another error was raised in forward: {error!s}",
                        stacklevel=4,
                    )


# ---- backward hooks ----------------------------------------------------------------------------


def _backward_hooks(module):
    """(full hooks, regular hooks, pre-hooks) that apply to a module."""
    full, regular = [], []
    for hooks, kind in (
        (GLOBAL_BACKWARD, _global_is_full),
        (module._backward_hooks, module._is_full_backward_hook),
    ):
        (full if kind else regular).extend(hooks.values())
    return full, regular, [*GLOBAL_BACKWARD_PRE.values(), *module._backward_pre_hooks.values()]


class BackwardHookFunction(Function):
    """The identity, whose node on the tape is where a module's gradients pass."""

    @staticmethod
    def forward(ctx, *args):
        ctx.mark_non_differentiable(*[a for a in args if not a.requires_grad])
        return args

    @staticmethod
    def backward(ctx, *grads):
        return grads


class BackwardHook:
    """Runs a module's full backward hooks where gradients enter and leave it."""

    def __init__(self, module, hooks, pre_hooks):
        self.module, self.hooks, self.pre_hooks = module, hooks, pre_hooks
        self.grad_outputs = None
        self.inputs = self.outputs = None  # _Passed, or None if nothing requires grad
        self.n_inputs = self.n_outputs = 0

    def on_inputs(self, args):
        """The arguments, led through a node that calls the hooks when backward leaves."""
        self.n_inputs = len(args)
        args, self.inputs = self._through(args, self._leaving)
        return args

    def on_outputs(self, result):
        """The results, led through a node that notes gradients when backward enters."""
        values = result if isinstance(result, tuple) else (result,)
        self.n_outputs = len(values)
        out, self.outputs = self._through(values, self._entering)
        return out if isinstance(result, tuple) else out[0]

    def _through(self, values, hook):
        places = [i for i, v in enumerate(values) if isinstance(v, Tensor)]
        tracked = [i for i in places if values[i].requires_grad]
        if not modes.grad or not tracked:
            return values, None
        shapes = {i: values[i]._value.aval for i in places}
        passed = BackwardHookFunction.apply(*[values[i] for i in places])
        node = next(t.grad_fn for t in passed if t.grad_fn is not None)
        node.register_hook(hook)
        out = list(values)
        for i, t in zip(places, passed, strict=True):
            out[i] = t
        out = tuple(out) if type(values) is tuple else type(values)(*out)
        return out, _Passed(places, tracked, shapes)

    def _entering(self, wanted, grads):
        places, count = self.outputs.places, self.n_outputs
        self.grad_outputs = _spread(places, grads, count)
        for hook in self.pre_hooks:
            changed = hook(self.module, self.grad_outputs)
            if changed is None:
                continue
            if len(changed) != count:
                raise RuntimeError(
                    "Backward pre hook returned an invalid number of grad_output, got "
                    f"{len(changed)}, but expected {count}"
                )
            self.grad_outputs = changed
        passed = tuple(self.grad_outputs[i] for i in self.outputs.targets(wanted))
        if self.inputs is None:
            self._without_inputs()
        return passed

    def _without_inputs(self):
        warnings.warn(
            "Full backward hook is firing when gradients are computed with respect to module "
            "outputs since no inputs require gradients. See "
            "https://docs.pytorch.org/docs/main/generated/torch.nn.Module.html#torch.nn.Module."
            "register_full_backward_hook for more details.",
            stacklevel=2,
        )
        nothing = (None,) * self.n_inputs
        for hook in self.hooks:
            changed = hook(self.module, nothing, self.grad_outputs)
            if changed is not None and any(g is not None for g in changed):
                raise RuntimeError(
                    "Backward hook for Modules where no input requires gradient should always "
                    "return None or None for all gradients."
                )
        self.grad_outputs = None

    def _leaving(self, grads, _):
        if self.grad_outputs is None:  # backward started inside the module
            return None
        count, targets = self.n_inputs, self.inputs.targets(grads)
        given = dict(zip(targets, grads, strict=True))
        found = tuple(self.inputs.gradient(i, given.get(i)) for i in range(count))
        for hook in self.hooks:
            changed = hook(self.module, found, self.grad_outputs)
            if changed is None:
                continue
            if len(changed) != count:
                raise RuntimeError(
                    "Backward hook returned an invalid number of grad_input, got "
                    f"{len(changed)}, but expected {count}"
                )
            found = changed
        self.grad_outputs = None
        return tuple(None if given[i] is None else found[i] for i in targets)


class _Passed:
    """Which values went through a node: all tensors, and those of them that require grad."""

    def __init__(self, places, tracked, shapes):
        self.places, self.tracked, self.shapes = places, tracked, shapes

    def targets(self, grads):
        """The places that a node's gradients belong to."""
        return self.places if len(grads) == len(self.places) else self.tracked

    def gradient(self, place, grad):
        """What a hook sees for a value: its gradient, zeros for a tensor without one, or None."""
        a = self.shapes.get(place)
        if grad is not None or a is None:
            return grad
        return zeros(a.shape, dtype=a.dtype, device=a.device)


def _spread(places, values, count):
    out = [None] * count
    for i, v in zip(places, values, strict=True):
        out[i] = v
    return tuple(out)


def _attach_regular(module, hooks, args, result):
    """Deprecated hooks: on the node of the (first) result."""
    first = result
    while not isinstance(first, Tensor):
        if isinstance(first, dict):
            first = next(v for v in first.values() if isinstance(v, Tensor))
        else:
            first = first[0]
    node = first.grad_fn
    if node is None:
        return
    for hook in hooks:
        node.register_hook(WrappedHook(hook, module))
    told = _what_is_missed(args, result, node)
    if told:
        warnings.warn(told, FutureWarning, stacklevel=5)


def _what_is_missed(args, result, node):
    """PyTorch's warning for the case, or None where the hook sees all gradients."""
    begin, end = "Using a non-full backward hook when ", " deprecated and will be removed in future"
    full = "Please use register_full_backward_hook to get the documented behavior."
    results = result if isinstance(result, tuple) else (result,)
    if not all(isinstance(r, Tensor) for r in results):
        return (
            "Using non-full backward hooks on a Module that does not return a single Tensor or a "
            f"tuple of Tensors is{end} versions. This hook will be missing some of the "
            f"grad_output. {full}"
        )
    if not all(isinstance(a, Tensor) for a in args):
        return (
            "Using non-full backward hooks on a Module that does not take as input a single Tensor "
            f"or a tuple of Tensors is{end} versions. This hook will be missing some of the "
            f"grad_input. {full}"
        )
    nodes = {r.grad_fn for r in results if r.grad_fn is not None}
    if nodes != {node} and len(nodes) <= 1:
        return (
            f"{begin}outputs are nested in python data structure is{end} versions. This hook will "
            "be missing some grad_output."
        )
    if len(nodes) > 1:
        return (
            f"{begin}outputs are generated by different autograd Nodes is{end} versions. This hook "
            f"will be missing some grad_output. {full}"
        )
    sources = {a.grad_fn for a in args if a.grad_fn is not None}
    if sources != {n for n, _ in node.next_functions}:
        return (
            f"{begin}the forward contains multiple autograd Nodes is{end} versions. This hook will "
            f"be missing some grad_input. {full}"
        )
    return None
