"""autograd.Function: a user's own forward and backward on the tape."""

from __future__ import annotations

import functools
import inspect
import warnings
import weakref

from torchlike._core import dtypes as dt
from torchlike._core.errors import user_line, warn
from torchlike._tensor import dispatch, saving, shown, tape, views
from torchlike._tensor.levels import cross_edges, share_alike
from torchlike._tensor.modes import enable_grad, modes, no_grad
from torchlike._tensor.tensor import copy_value


class FunctionCtx:
    """What ``forward`` and ``backward`` of a Function share: the user's own attributes, and methods
    that tell the tape (https://pytorch.org/docs/stable/autograd.html#context-method-mixins).

    It is no part of the tape, whose node has names of its own: all that are made for one node share
    a dict of attributes, which the node holds, and hold the node.
    """

    _tape_node = None

    def save_for_backward(self, *tensors):
        """Keep tensors for backward; in-place changes to them are noticed."""
        node = self._tape_node
        if node is None:  # made by hand, to try a forward
            self.to_save = tensors
        else:
            node.save(tensors)

    def save_for_forward(self, *tensors):
        """Accepted: forward-mode derivatives use the saved tensors too."""
        for t in tensors:
            if t is not None and not isinstance(t, dispatch._Tensor):
                raise AssertionError(
                    "save_for_forward expects all arguments to be tensors; you should save "
                    "non-tensors as attributes on ctx."
                )
        self.saved_for_forward = tensors

    def mark_dirty(self, *args):
        """Declare inputs that forward changed in place and returns."""
        for i, t in enumerate(args):
            if not isinstance(t, dispatch._Tensor):
                raise RuntimeError(
                    f"mark_dirty can only accept variables, but argument {i} is of type "
                    f"{type(t).__name__}"
                )
        self.dirty_tensors = args

    def mark_non_differentiable(self, *args):
        """Declare outputs that need no gradient."""
        for t in args:
            if not isinstance(t, dispatch._Tensor):
                raise RuntimeError(
                    "mark_non_differentiable only accepts variable arguments, but got "
                    f"{type(t).__name__}"
                )
        self.non_differentiable = args

    def set_materialize_grads(self, value: bool):
        """Whether missing gradients reach backward as zeros (default) or None."""
        if not isinstance(value, bool):
            raise TypeError(
                "set_materialize_grads received an invalid combination of arguments - got "
                f"({type(value).__name__}), but expected (bool)"
            )
        self.materialize_grads = value


class BackwardCFunction(FunctionCtx):
    """The ctx of a call, which is also what ``grad_fn`` and ``next_functions`` show of its node."""

    __slots__ = ("_tape_node",)

    @property
    def saved_tensors(self) -> tuple:
        """The tensors given to ``save_for_backward``."""
        return self._tape_node.saved_tensors()

    @property
    def saved_variables(self) -> tuple:
        """Deprecated: ``saved_tensors``."""
        warnings.warn(
            "'saved_variables' is deprecated; use 'saved_tensors'", DeprecationWarning, stacklevel=2
        )
        return self.saved_tensors

    @property
    def _raw_saved_tensors(self) -> tuple:
        """The slots that hold them."""
        return self._tape_node.slots()

    @property
    def _input_metadata(self) -> list:
        return shown.input_metadata(self._tape_node)

    @property
    def next_functions(self) -> tuple:
        """Pairs (node, index) that the gradients go to."""
        return self._tape_node.next_functions

    @property
    def metadata(self) -> dict:
        """A dict for notes about this node, the user's own."""
        return self._tape_node.metadata

    @property
    def requires_grad(self) -> bool:
        """Whether the call is on the tape."""
        return self._tape_node.tracked

    def name(self) -> str:
        """PyTorch's name of this node."""
        return self._tape_node.name()

    def _sequence_nr(self) -> int:
        return self._tape_node.number

    def register_hook(self, hook):
        """Call ``hook(grad_inputs, grad_outputs)`` when this node's gradients are computed."""
        return self._tape_node.register_hook(hook)

    def register_prehook(self, hook):
        """Call ``hook(grad_outputs)`` before this node's gradients are computed."""
        return self._tape_node.register_prehook(hook)

    def __call__(self, *grads):
        return shown.call_node(self._tape_node, *grads)

    def __eq__(self, other) -> bool:
        return isinstance(other, FunctionCtx) and other._tape_node is self._tape_node

    def __hash__(self) -> int:
        return hash(self._tape_node)


for _kind in (FunctionCtx, BackwardCFunction):
    _kind.__module__ = "torchlike.autograd.function"


@functools.cache  # by name: to make a class takes longer than a call
def _kind_of_ctx(name: str) -> type:
    members = {"__slots__": (), "__module__": BackwardCFunction.__module__}
    return type(name, (BackwardCFunction,), members)


# What a rule for vmap makes of a call of apply, and of forward (see func/rules.py).
rules: list = []


class FunctionNode(tape.Node):
    """A tape node whose derivative is a user's ``backward``; its ctx has the ``attributes``."""

    op = call = ctx = line = None
    outs = 1
    tracked = seen = False
    takes_none = True
    constant = ()  # the results that need no gradient

    def __init__(self, kind, edges):
        self.number = tape._next_number()
        self.function = kind
        self.all_edges = edges
        self.targets = [e for e in edges if e is not None]
        self.saved = ()
        self.kept: tuple = ()
        if modes.anomaly is not None:
            self.line = user_line()
        self.attributes = {"needs_input_grad": tuple(e is not None for e in edges)}

    def facade(self) -> BackwardCFunction:
        """The ctx: the same one as long as anybody holds it."""
        ctx = None if self.ctx is None else self.ctx()
        if ctx is None:
            ctx = self.function._backward_cls()
            ctx._tape_node, ctx.__dict__ = self, self.attributes
            self.ctx = weakref.ref(ctx)
        return ctx

    @property
    def edges(self) -> list:
        """Per argument: None, a leaf Tensor, or (Node, result index)."""
        return self.all_edges

    def shown_edges(self) -> list:
        """The same for the arguments that are tensors."""
        return [e for e, a in zip(self.all_edges, self.in_avals, strict=True) if a is not None]

    def name(self) -> str:
        return self.label or f"{self.function.__name__}Backward"

    # ---- what is saved ----

    def save(self, tensors) -> None:
        """Keep what ``save_for_backward`` is given."""
        if not self.tracked:  # as in PyTorch, which looks at it after forward
            tensors = [t if isinstance(t, dispatch._Tensor) else None for t in tensors]
        for i, t in enumerate(tensors):
            if t is not None and not isinstance(t, dispatch._Tensor):
                raise TypeError(
                    f"save_for_backward can only save variables, but argument {i} is of type "
                    f"{type(t).__name__}"
                )
        self.kept = tuple(None if t is None else saving.Saved(t, False) for t in tensors)

    def saved_tensors(self) -> tuple:
        """What was kept, as tensors."""
        if self.used:
            raise RuntimeError(tape.BACKWARD_TWICE)
        if self.function.clear_saved_tensors_on_access and self.walking:
            if self.seen:
                raise RuntimeError(
                    "saved_tensors can only be accessed once when clear_saved_tensors_on_access="
                    "True is set on the autograd.Function. Either access saved_tensors only once, "
                    "or set clear_saved_tensors_on_access=False."
                )
            self.seen = True
        name = self.name()
        return tuple([None if x is None else x.get(name, self) for x in self.kept])

    def slots(self) -> tuple:
        """The slots that hold it."""
        if self.used:
            raise RuntimeError(tape.BACKWARD_TWICE)
        return tuple([saving.SavedTensor(self, "kept", i) for i in range(len(self.kept))])

    def release(self):
        self.used = True
        self.kept = ()

    # ---- forward ----

    def check_dirty(self, args, results) -> tuple:
        """The inputs that forward says it has changed; raises where that cannot be."""
        dirty = self.attributes.get("dirty_tensors", ())
        tensors = [r for r in results if isinstance(r, dispatch._Tensor)]
        for d in dirty:
            if not any(d is x for x in args):
                told = (
                    "ctx.mark_dirty() received a tensor that was not an input. Only input Tensors "
                    "that have been mutated should be passed to ctx.mark_dirty()."
                )
                if views.base_of(d) is not None:
                    raise RuntimeError(told)
                warn(told)
            if not any(d is r for r in tensors):
                raise RuntimeError(
                    "Some elements marked as dirty during the forward method were not returned as "
                    "output. The inputs that are modified inplace must all be outputs of the "
                    "Function."
                )
            if views.base_of(d) is not None and len(tensors) > 1:
                raise RuntimeError(
                    "If your Function modifies inplace an input that is a view of another Tensor, "
                    "your Function cannot return more than one Tensor. This is not supported by "
                    "the current autograd engine. You should either make sure the input is not a "
                    "view (using .clone() for example) or make your Function only return one Tensor"
                    " (potentially splitting it into two Functions: one doing the inplace that "
                    "returns a single Tensor and a second one that does the other operations)."
                )
            if d._storage is not None and d._storage.__class__ is not views.Storage:
                with no_grad():  # a write of NumPy's, of which nobody was told
                    dispatch.rebind(d, dispatch.wrap(copy_value(dispatch.value_of(d))))
        return dirty

    def check_saved(self, args, results, dirty) -> None:
        """Raise where setup_context has saved an input that forward returns as it is."""
        kept = [x.tensor for x in self.kept if x is not None]
        kept += self.attributes.get("saved_for_forward", ())
        for r in results:
            if (
                any(r is x for x in kept) and any(r is x for x in args)
                and not any(r is d for d in dirty)
            ):  # fmt: skip
                raise RuntimeError(
                    "An input that has been returned as-is as output is being saved for backward. "
                    "This is not supported if you override setup_context. You should return and "
                    "save a view of the input instead, e.g. with x.view_as(x) or setup ctx inside "
                    "the forward function itself."
                )

    def untracked(self, result, args, dirty):
        """What the caller gets for a result of forward where nothing is on the tape."""
        given = isinstance(result, dispatch._Tensor) and any(result is x for x in args)
        if not given or (any(result is d for d in dirty) and not result.requires_grad):
            return result
        return result.detach()

    def on_tape(self, i: int, result, args, dirty):
        """What the caller gets for result ``i`` of forward: on the tape, if it has a gradient."""
        if not isinstance(result, dispatch._Tensor):
            return result
        changed = dirty and any(result is d for d in dirty)
        given = not changed and any(result is x for x in args)
        constants = self.attributes.get("non_differentiable", ())
        constant = constants and any(result is n for n in constants)
        if constant or result._value.aval.dtype.category < dt.FLOATING:
            self.constant = (*self.constant, i)
            return result.detach() if given or result.requires_grad else result
        if given:
            result = views.apply_view(dispatch.TABLE["alias"], result.detach())
        if changed:
            if result._node is None and result._requires_grad:
                raise RuntimeError(
                    "a leaf Variable that requires grad has been used in an in-place operation."
                )
            dispatch.check_inplace(result)
            if views.base_of(result) is not None:
                views.rebase(result, self, i)
            elif result._storage is not None and not result._chain and not result._detached:
                result._storage.node, result._storage.index = self, i
        elif result._base is not None:
            views.mark_function_view(result, i, self.function.__name__)
        result._requires_grad = False
        result._node, result._index = self, i
        if result._retains:
            tape.keep_retained(result)
        for x in self.kept:
            if x is not None and (x.tensor is result or x.of is result):
                x.tensor, x.place = None, i
        return result

    # ---- backward ----

    walking = False  # whether the user's backward is running

    def derive(self, grads, graph=None):
        given = []
        fill = self.attributes.get("materialize_grads", True)
        fill_all = self.attributes.get("_materialize_non_diff_grads", True)
        for i, (g, shape) in enumerate(zip(grads, self.shapes, strict=True)):
            if g is None and fill and shape is not None and (fill_all or i not in self.constant):
                from torchlike._tensor.creation import zeros

                given.append(zeros(shape.shape, dtype=shape.dtype, device=shape.device))
            else:
                given.append(None if g is None else dispatch.to_tensor(g))
        self.walking = True
        try:
            out = _backward_of(self)(self.facade(), *given)
        finally:
            self.walking = self.seen = False
        out = out if isinstance(out, tuple) else (out,)
        if len(out) > len(self.all_edges) and all(g is None for g in out[len(self.all_edges) :]):
            out = out[: len(self.all_edges)]
        if len(out) != len(self.all_edges):
            raise RuntimeError(
                f"function {self.name()} returned an incorrect number of gradients (expected "
                f"{len(self.all_edges)}, got {len(out)})"
            )
        checked = []
        for g, edge, a in zip(out, self.all_edges, self.in_avals, strict=True):
            if edge is None:
                continue
            if g is not None:
                g = self._fitted(g, a, len(checked))
                g = dispatch.to_value(g) if graph is None else g
            checked.append(g)
        return checked

    def _fitted(self, g, a, place: int):
        """A gradient as the argument with the aval ``a`` wants it."""
        if not isinstance(g, dispatch._Tensor):
            raise RuntimeError(f"expected Variable or None (got {type(g).__name__})")
        if g._value.aval.shape != a.shape:
            try:
                g = _sum_to(g, a.shape)
            except RuntimeError:
                raise RuntimeError(
                    f"Function {self.name()} returned an invalid gradient at index {place} - got "
                    f"{list(g.shape)} but expected shape compatible with {list(a.shape)}"
                ) from None
        if g.dtype is a.dtype:
            return g
        if g.dtype.category == dt.COMPLEX and a.dtype.category < dt.COMPLEX:
            raise RuntimeError(
                f"Function {self.name()} returned an invalid gradient at index {place} - got a "
                "complex one for a real input; return its real part"
            )
        return g.to(a.dtype)


def _sum_to(g, shape):
    extra = g.ndim - len(shape)
    if extra < 0:
        raise RuntimeError("gradient has too few dimensions")
    dims = tuple(range(extra)) + tuple(
        extra + i for i, n in enumerate(shape) if n == 1 and g.shape[extra + i] != 1
    )
    out = g.sum(dims, keepdim=True) if dims else g
    out = out.reshape(tuple(out.shape)[extra:])
    if tuple(out.shape) != tuple(shape):
        raise RuntimeError("gradient does not broadcast")
    return out


class Function:
    """Subclass with static ``forward(ctx, ...)`` and ``backward(ctx, *grads)``, call ``apply``
    (https://pytorch.org/docs/stable/autograd.html#function)."""

    generate_vmap_rule = False
    clear_saved_tensors_on_access = False
    _backward_cls = BackwardCFunction

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls._backward_cls = _kind_of_ctx(f"{cls.__name__}Backward")

    def __init__(self, *args, **kwargs):
        warnings.warn(
            f"{self.__class__} should not be instantiated. Methods on autograd functions are all "
            "static, so you should invoke them on the class itself. Instantiating an autograd "
            "function will raise an error in a future version of PyTorch.",
            DeprecationWarning, stacklevel=2,
        )  # fmt: skip

    def __call__(self, *args, **kwargs):
        raise RuntimeError(
            "Legacy autograd function with non-static forward method is deprecated. Please use "
            "new-style autograd function with static forward method. (Example: "
            "https://pytorch.org/docs/stable/autograd.html#torch.autograd.Function)"
        )

    @staticmethod
    def forward(*args, **kwargs):
        """Compute the results; ``ctx`` comes first unless ``setup_context`` is defined."""
        raise NotImplementedError(
            "You must implement the forward function for custom autograd.Function."
        )

    @staticmethod
    def setup_context(ctx, inputs, output):
        """Fill ``ctx`` after a forward that takes none."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx, *grad_outputs):
        """Gradients of the inputs, one for each."""
        raise NotImplementedError(
            "You must implement either the backward or vjp method for your custom "
            "autograd.Function to use it with backward mode AD."
        )

    vjp = backward  # another name for it

    @staticmethod
    def jvp(ctx, *grad_inputs):
        """Tangents of the results, linear in those of the inputs; without it forward mode takes
        ``backward``."""
        raise NotImplementedError(
            "You must implement the jvp function for custom autograd.Function to use it with "
            "forward mode AD."
        )

    @staticmethod
    def vmap(info, in_dims, *args):
        """Compute the results of a batch: ``(results, out_dims)``; without it, and with
        ``generate_vmap_rule``, forward itself is run over the batch."""
        raise NotImplementedError(
            "To use autograd.Function with vmap, you must either override the vmap staticmethod or "
            "set generate_vmap_rule=True."
        )

    @classmethod
    def apply(cls, *args, **kwargs):
        """Run forward and put the call on the tape."""
        apart = cls.setup_context is not Function.setup_context
        if kwargs or (apart and getattr(cls.forward, "__defaults__", None)):
            args = _bound(cls.forward, args, kwargs, apart)
        edges, in_avals = [], []
        ruled = modes.levels and cls.vmap is not Function.vmap
        if ruled:
            result = rules[0](cls, args)
            if result is not NotImplemented:
                return result
        if modes.levels:
            args = share_alike(args)
        for x in args:
            edge = None
            a = None
            if isinstance(x, dispatch._Tensor):
                x._refresh()
                a = x._value.aval
                if x._node is not None:
                    edge = (x._node, x._index)
                elif x._requires_grad:
                    edge = x
            edges.append(edge)
            in_avals.append(a)
        node = FunctionNode(cls, edges)
        node.in_avals = in_avals
        node.tracked = tracked = modes.grad and any(e is not None for e in edges)
        ctx = node.facade()
        with no_grad():
            if apart:
                result = rules[1](cls, args) if ruled else NotImplemented
                if result is NotImplemented:
                    result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
        results = result if isinstance(result, tuple) else (result,)
        if tracked and modes.levels:
            cross_edges(node, args, results)
        node.outs = len(results)
        node.shapes = [r._value.aval if isinstance(r, dispatch._Tensor) else None for r in results]
        dirty = ()
        if "dirty_tensors" in node.attributes:
            dirty = node.check_dirty(args, results)
        if apart and (node.kept or "saved_for_forward" in node.attributes):
            node.check_saved(args, results, dirty)
        if not tracked:
            results = tuple(node.untracked(r, args, dirty) for r in results)
            return results if isinstance(result, tuple) else results[0]
        for x in node.kept:  # as forward leaves them
            if x is not None:
                x.renew()
        out = [node.on_tape(i, r, args, dirty) for i, r in enumerate(results)]
        for x in node.kept:
            if x is not None:
                x.of = None
        if dirty or "non_differentiable" in node.attributes:
            for name in ("dirty_tensors", "non_differentiable"):
                node.attributes.pop(name, None)  # they would keep what keeps the node
        return tuple(out) if isinstance(result, tuple) else out[0]


Function.__module__ = "torchlike.autograd"


def _backward_of(node):
    """The user's derivative: ``backward``, or ``vjp``, which is another name for it; for tangents
    the user's ``jvp`` if there is one."""
    kind = node.function
    if modes.pushing and kind.jvp is not Function.jvp:
        return functools.partial(_transposed, node)
    if kind.vjp is Function.vjp:
        return kind.backward
    if kind.backward is not Function.backward:
        raise RuntimeError(
            "Implementing both 'backward' and 'vjp' for a custom Function is not allowed. You "
            "should only implement one of them."
        )
    return kind.vjp


def _alias(x):
    """The same tensor, which may be written to in place."""
    return dispatch.apply(dispatch.TABLE["alias"], (x,))


def _transposed(node, ctx, *grads):
    """The gradients of a call that are such by the user's ``jvp``."""
    from torchlike._tensor.backward import grad
    from torchlike._tensor.creation import zeros

    graph = modes.grad
    kept, told = node.kept, node.attributes.get("saved_for_forward")
    if told is not None:
        node.save(told)
    try:
        with enable_grad():
            seeds = [
                None if a is None or a.dtype.category < dt.FLOATING
                else zeros(a.shape, dtype=a.dtype, device=a.device, requires_grad=True)
                for a in node.in_avals
            ]  # fmt: skip
            out = node.function.jvp(ctx, *[s if s is None else _alias(s) for s in seeds])
    finally:
        node.kept = kept
    out = out if isinstance(out, tuple) else (out,)
    pairs = [
        (o, g) for o, g in zip(out, grads, strict=True)
        if isinstance(o, dispatch._Tensor) and o.requires_grad and g is not None
    ]  # fmt: skip
    wanted = [s for s, e in zip(seeds, node.all_edges, strict=True) if e is not None]
    found = iter(
        grad([o for o, _ in pairs], wanted, [g for _, g in pairs], True, graph, allow_unused=True)
        if pairs else [None] * len(wanted)
    )  # fmt: skip
    return tuple(None if e is None else next(found) for e in node.all_edges)


def _bound(forward, args, kwargs, apart) -> tuple:
    """The arguments with keywords and defaults in their places."""
    try:
        signature = inspect.signature(forward)
    except (TypeError, ValueError):  # a forward in C tells none
        return args
    given = signature.bind(*args, **kwargs) if apart else signature.bind(None, *args, **kwargs)
    given.apply_defaults()
    return given.args if apart else given.args[1:]
