"""Derivatives of functions: grad, vjp, jvp, Jacobians and Hessians, all built on the tape.

A transform gives its function fresh handles to the inputs, walks the tape from the results back to
these, and returns gradients that are on the tape themselves where something outside wants them.
Forward mode is the derivative of the backward pass with respect to the gradient put in.
"""

from __future__ import annotations

import functools
import types

from torchlike._ops.table import TABLE
from torchlike._tensor import backward, dispatch
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.levels import share
from torchlike._tensor.modes import modes
from torchlike._tensor.tensor import Tensor
from torchlike._tensor.views import version_of
from torchlike.func import trees
from torchlike.func.checks import (
    check_floating,
    check_outputs,
    check_primals,
    check_real,
    check_tangents,
    positions,
    split_aux,
)
from torchlike.func.tree_text import pprint
from torchlike.func.vmap import check_randomness, over_batch


class Scope:
    """One run of a transform: the handles it gave out, and whether the outside wants histories.

    ``forward``: in forward mode nothing is saved for later, so writes may overwrite anything.
    ``lasting``: what is recorded is walked after the run, when gradients may be on again.
    """

    def __init__(self, forward=False, lasting=False):
        self.forward = forward
        self.wanted = modes.grad or lasting
        self.open = False
        self.results = []  # what is walked from later on
        self.given = []  # in forward mode: (argument, what the function gets in its place)

    def __enter__(self):
        self.open = True
        modes.transforms += 1
        self.scopes = modes.scopes
        modes.scopes = (*self.scopes, len(modes.levels))
        self.written, modes.written = modes.written, []
        self.before, modes.grad = modes.grad, True
        self.mutation, modes.mutation = modes.mutation, modes.mutation or self.forward
        return self

    def __exit__(self, *exc):
        written = [(x, self.lower(inside)) for x, inside in self.given if version_of(inside)]
        self.settle(modes.written)
        # What an outer run wants is settled at its own end.
        modes.written = self.written + [x for x in modes.written if self.scopes and x.requires_grad]
        modes.mutation = self.mutation
        modes.transforms -= 1
        modes.scopes = self.scopes
        modes.grad = self.before
        self.open = False
        if not any(exc):
            for x, value in written:  # the argument shows what the function wrote to it
                x.copy_(value)

    def fresh(self, x):
        """A handle to a tensor that this run differentiates with respect to."""
        if not isinstance(x, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(x)}")
        x = share(x)
        if self.wanted and x.requires_grad:
            handle = dispatch.apply(TABLE["alias"], (x,))
            handle._requires_grad = True  # in this run a leaf: nobody may write to it
            return handle
        return leaf_of(_off_tape(x), self)

    def outside(self, tensors) -> bool:
        """Whether gradients of something outside are wanted through these tensors."""
        if not self.wanted:
            return False
        seen = set()
        stack = [backward.edge_of(t) for t in tensors if t.requires_grad]
        while stack:
            edge = stack.pop()
            if edge.__class__ is not tuple:
                scope = edge.__dict__.get("_scope")
                if scope is None or (scope.open and scope is not self):
                    return True
            elif edge[0] not in seen:
                seen.add(edge[0])
                stack += edge[0].targets
        return False

    def settle(self, written):
        """Take what was written to off the tape again, where only this run was on it."""
        kept = {id(x) for x in self.results}
        for x in written:
            if id(x) not in kept and x.requires_grad and not self.outside([x]):
                x.detach_()

    def lower_aux(self, aux):
        """The auxiliary results as the caller sees them; raises ``RuntimeError`` for others than
        tensors."""

        def lower(x):
            if not isinstance(x, Tensor):
                raise RuntimeError(f"Expected tensors, got unsupported type {type(x)}")
            return self.lower(x)

        return trees.map_tree(lower, aux)

    def lower(self, x):
        """A result as the caller sees it: off the tape if only this run was on it."""
        if not isinstance(x, Tensor) or not x.requires_grad:
            return x
        return x if self.before and self.outside([x]) else _off_tape(x)


def _off_tape(x):
    """The tensor without a history, in memory of its own."""
    return x.detach() if x._sparse else dispatch.wrap(value_of(x))


def leaf_of(x, scope):
    """The tensor as a leaf that only matters to a scope, as long as that is open."""
    x.requires_grad_()
    x._scope = scope
    return x


_NO_SCOPE = Scope()


def pull(outs, inputs, grads, create_graph, retain_graph=True) -> list:
    """The gradients of ``inputs``, None where ``outs`` do not depend on one."""
    pairs = [(o, g) for o, g in zip(outs, grads, strict=True) if o.requires_grad]
    if not pairs:
        return [None] * len(inputs)
    return list(
        backward.grad(
            [o for o, _ in pairs], inputs, [g for _, g in pairs], retain_graph, create_graph,
            allow_unused=True,
        )
    )  # fmt: skip


def zeros_like(x):
    """Zeros in the shape and dtype of a tensor, a batch if it is one."""
    return FUNCTIONS["zeros_like"](x.detach())


def or_zeros(grads, inputs) -> list:
    """The gradients with zeros for those that are None."""
    return [zeros_like(x) if g is None else g for g, x in zip(grads, inputs, strict=True)]


# ---- arguments ---------------------------------------------------------------------------------


def _take(scope: Scope, args, argnums, forward=False):
    """(args with fresh handles, these handles, their structure) for the given argnums.

    ``forward``: the function may write to what it gets, as forward mode allows it.
    """
    args = list(args)
    at = list(range(len(args))) if argnums is None else positions(argnums, len(args))
    given = [trees.flatten(args[i])[0] for i in at]
    if forward:
        check_primals(x for xs in given for x in xs if isinstance(x, Tensor))
    for i in at:
        args[i] = trees.map_tree(scope.fresh, args[i])
    chosen = args[at[0]] if isinstance(argnums, int) else tuple(args[i] for i in at)
    handles, spec = trees.flatten(chosen)
    if forward:
        for i, xs in zip(at, given, strict=True):
            args[i] = trees.map_tree(lambda x: dispatch.apply(TABLE["alias"], (x,)), args[i])
            scope.given += zip(xs, trees.flatten(args[i])[0], strict=True)
    return args, handles, spec


# ---- reverse mode ------------------------------------------------------------------------------


def grad_and_value(func, argnums=0, has_aux=False):
    """A function that returns the gradient and the value of ``func``
    (https://pytorch.org/docs/stable/generated/torch.func.grad_and_value.html)."""

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        aux = None
        with Scope() as scope:
            args, handles, spec = _take(scope, args, argnums)
            output = func(*args, **kwargs)
            if has_aux:
                output, aux = split_aux(output, "grad_and_value(f)(*args)")
            if not isinstance(output, Tensor):
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a Tensor, got "
                    f"{type(output)}"
                )
            if output.ndim:
                raise RuntimeError(
                    "grad_and_value(f)(*args): Expected f(*args) to return a scalar Tensor, got "
                    f"tensor with {output.ndim} dims. Maybe you wanted to use the vjp or jacrev "
                    "APIs instead?"
                )
            keep = scope.outside([output])
            grads = or_zeros(pull([output], handles, [None], keep, keep or has_aux), handles)
            if keep:
                grads = [scope.lower(g) for g in grads]
            output = scope.lower(output)
            aux = scope.lower_aux(aux) if has_aux else None
        grads = trees.unflatten(grads, spec)
        return (grads, (output, aux)) if has_aux else (grads, output)

    return wrapped


def grad(func, argnums=0, has_aux=False):
    """A function that returns the gradient of ``func``
    (https://pytorch.org/docs/stable/generated/torch.func.grad.html)."""
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        grads, value = both(*args, **kwargs)
        return (grads, value[1]) if has_aux else grads

    return wrapped


def vjp(func, *primals, has_aux=False):
    """The value of ``func`` and the function that pulls gradients back through it
    (https://pytorch.org/docs/stable/generated/torch.func.vjp.html)."""
    name = "vjp(f, *primals)"
    aux = None
    with Scope(lasting=True) as scope:
        args, handles, spec = _take(scope, primals, None)
        output = func(*args)
        if has_aux:
            output, aux = split_aux(output, name)
        outs, out_spec = trees.flatten(output)
        check_outputs(outs, name)
        check_floating(outs)
        scope.results = outs
        keep = scope.outside(outs)
        result = trees.map_tree(scope.lower, output)
        aux = scope.lower_aux(aux) if has_aux else None

    def vjp_fn(cotangents, retain_graph=True, create_graph=None):
        """The gradients of the primals, as a tuple."""
        flat, given = trees.flatten(cotangents)
        if given != out_spec:
            raise RuntimeError(
                "Expected pytree structure of cotangents to be the same as pytree structure of "
                f"outputs to the function. cotangents: {pprint(given)}, primal output: "
                f"{pprint(out_spec)}"
            )
        for c in flat:
            if not isinstance(c, Tensor):
                raise TypeError(
                    f"gradients can be either Tensors or None, but got {type(c).__name__}"
                )
        graph = modes.grad if create_graph is None else create_graph
        graph = graph and (keep or any(c.requires_grad for c in flat))
        grads = pull(outs, handles, flat, graph, retain_graph)
        return trees.unflatten(or_zeros(grads, handles), spec)

    return (result, vjp_fn, aux) if has_aux else (result, vjp_fn)


def jacrev(func, argnums=0, *, has_aux=False, chunk_size=None, _preallocate_and_copy=False):
    """A function that returns the Jacobian of ``func``, by reverse mode
    (https://pytorch.org/docs/stable/generated/torch.func.jacrev.html)."""
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        name = "vjp(f, *primals)"
        aux = None
        check_real("jacrev", trees.flatten(args)[0], "inputs")
        with Scope() as scope:
            args, handles, spec = _take(scope, args, argnums)
            output = func(*args, **kwargs)
            if has_aux:
                output, aux = split_aux(output, name)
            outs, out_spec = trees.flatten(output)
            check_outputs(outs, name)
            check_floating(outs)
            check_real("jacrev", outs, "outputs")
            keep = scope.outside(outs)
            rows = [rows_of(o, handles, keep, chunk_size) for o in outs]
            rows = trees.map_tree(scope.lower, rows)
            aux = scope.lower_aux(aux) if has_aux else None
        result = trees.unflatten([trees.unflatten(r, spec) for r in rows], out_spec)
        return (result, aux) if has_aux else result

    return wrapped


def basis(x, at: int, count: int):
    """Rows ``at`` to ``at + count`` of the identity on the elements of a tensor."""
    eye = FUNCTIONS["eye"](x.numel(), dtype=x.dtype, device=x.device)[at : at + count]
    return eye.reshape(count, *x.shape)


def by_chunks(x, chunk_size, function) -> list:
    """The results of ``function`` over the basis of a tensor's elements, in a list each."""
    n = x.numel()
    step = n if chunk_size is None else chunk_size
    if chunk_size == 1 and n:  # one by one, so that what vmap does not allow is allowed
        rows = [function(basis(x, i, 1)[0]) for i in range(n)]
        return [FUNCTIONS["stack"](r) for r in zip(*rows, strict=True)]
    parts = [over_batch(function, [basis(x, i, min(step, n - i))]) for i in range(0, n, step or 1)]
    if len(parts) == 1:
        return parts[0]
    return [FUNCTIONS["cat"](p, 0) for p in zip(*parts, strict=True)]


def rows_of(out, inputs, create_graph, chunk_size=None) -> list:
    """The Jacobians of one tensor with respect to the inputs."""
    if not out.requires_grad or not out.numel():
        return [
            FUNCTIONS["zeros"]((*out.shape, *x.shape), dtype=x.dtype, device=x.device)
            for x in inputs
        ]
    found = by_chunks(
        out, chunk_size, lambda g: or_zeros(pull([out], inputs, [g], create_graph), inputs)
    )
    return [j.reshape((*out.shape, *x.shape)) for j, x in zip(found, inputs, strict=True)]


# ---- forward mode ------------------------------------------------------------------------------


class Push:
    """Tangents through a function that has run: the derivative of its backward pass.

    The gradients of the inputs are linear in the gradients put in (``seeds``), so their derivative
    with respect to the seeds, along the tangents, is the tangent of the results.
    """

    def __init__(self, outs, inputs):
        self.outs = outs
        self.live = [o for o in outs if o.requires_grad]
        self.seeds = [leaf_of(zeros_like(o), _NO_SCOPE) for o in self.live]
        before, modes.pushing = modes.pushing, True
        try:
            self.grads = pull(self.live, inputs, self.seeds, True)
        finally:
            modes.pushing = before

    def __call__(self, tangents, create_graph) -> list:
        """The tangents of the results, None for those that depend on no input."""
        pairs = [
            (g, t)
            for g, t in zip(self.grads, tangents, strict=True)
            if g is not None and g.requires_grad
        ]
        found = [None] * len(self.live)
        if pairs:
            found = pull([g for g, _ in pairs], self.seeds, [t for _, t in pairs], create_graph)
        found = iter(found)
        return [next(found) if o.requires_grad else None for o in self.outs]


_JVP = "jvp(f, primals, tangents)"


def jvp(func, primals, tangents, *, strict=False, has_aux=False):
    """The value of ``func`` and its derivative along ``tangents``
    (https://pytorch.org/docs/stable/generated/torch.func.jvp.html)."""
    if not isinstance(primals, tuple):
        raise RuntimeError(
            f"{_JVP}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals)."
        )
    _, spec = trees.flatten(primals)
    flat, given = trees.flatten(tangents)
    if given != spec:
        raise RuntimeError(
            f"{_JVP}: Expected primals and tangents to have the same python structure. For "
            "example, if primals is a tuple of 3 tensors, tangents also must be. Got primals with "
            f"structure {spec} and tangents with structure {given}"
        )
    for x, which in ((primals, "primals"), (flat, "tangents")):
        leaves = trees.flatten(x)[0]
        if not leaves:
            raise RuntimeError(f"{_JVP}: Expected {which} to contain at least one Tensor.")
        for leaf in leaves:
            if not isinstance(leaf, Tensor):
                raise RuntimeError(
                    f"{_JVP}: Expected {which} to only contain Tensors, got {type(leaf)}"
                )
    aux = None
    check_tangents(trees.flatten(primals)[0], flat)
    with Scope(forward=True) as scope:
        args, handles, _ = _take(scope, primals, None, forward=True)
        output = func(*args)
        if has_aux:
            output, aux = split_aux(output, _JVP)
        outs, out_spec = trees.flatten(output)
        check_outputs(outs, _JVP)
        found = _pushed(scope, outs, handles, flat)
        if strict and any(t is None for t in found):
            raise RuntimeError(
                "jvp(f, primals, tangents, strict=True): The output of f is independent of the "
                "inputs. This is not allowed with strict=True."
            )
        found = trees.unflatten(or_zeros(found, outs), out_spec)
        output = trees.map_tree(scope.lower, output)
        aux = scope.lower_aux(aux) if has_aux else None
    return (output, found, aux) if has_aux else (output, found)


def _pushed(scope: Scope, outs, handles, tangents) -> list:
    graph = scope.wanted and (scope.outside(outs) or any(t.requires_grad for t in tangents))
    found = Push(outs, handles)(tangents, graph)
    return [scope.lower(t) for t in found]


def linearize(func, *primals):
    """The value of ``func`` and its derivative at that point, as a function of tangents
    (https://pytorch.org/docs/stable/generated/torch.func.linearize.html)."""
    _, spec = trees.flatten(primals)
    with Scope() as scope:
        args, handles, _ = _take(scope, primals, None)
        output = func(*args)
        outs, out_spec = trees.flatten(output)
        check_outputs(outs, "linearize")
        scope.results = outs
        keep = scope.outside(outs)
        push = Push(outs, handles)
        result = trees.map_tree(scope.lower, output)

    def jvp_fn(*tangents):
        """The derivative along tangents, one for each primal."""
        flat, given = trees.flatten(tangents)
        if given != spec:
            raise RuntimeError(
                f"Expected the tangents {given} to have the same argspec as the primals {spec}"
            )
        for i, (p, t) in enumerate(zip(handles, flat, strict=True)):
            for word, a, b in (
                ("shape", t.shape, p.shape), ("device", t.device, p.device),
                ("dtype", t.dtype, p.dtype),
            ):  # fmt: skip
                if a != b:
                    raise RuntimeError(
                        f"tangent:{i} with {word} {a} in flattened pytree doesn't match the "
                        f"{word} {b} of the corresponding primal."
                    )
        graph = modes.grad and (keep or any(t.requires_grad for t in flat))
        return trees.unflatten(or_zeros(push(flat, graph), outs), out_spec)

    return result, jvp_fn


def jacfwd(func, argnums=0, has_aux=False, *, randomness="error"):
    """A function that returns the Jacobian of ``func``, by forward mode
    (https://pytorch.org/docs/stable/generated/torch.func.jacfwd.html)."""
    check_randomness(randomness)

    @functools.wraps(func, updated=())
    def wrapped(*args, **kwargs):
        aux = None
        check_real("jacfwd", trees.flatten(args)[0], "inputs")
        with Scope(forward=True) as scope:
            args, handles, spec = _take(scope, args, argnums, forward=True)
            output = func(*args, **kwargs)
            if has_aux:
                output, aux = split_aux(output, _JVP)
            outs, out_spec = trees.flatten(output)
            check_outputs(outs, _JVP)
            check_real("jacfwd", outs, "outputs")
            columns = columns_of(outs, handles, scope.outside(outs))
            columns = trees.map_tree(scope.lower, columns)
            aux = scope.lower_aux(aux) if has_aux else None
        result = trees.unflatten([trees.unflatten(r, spec) for r in columns], out_spec)
        return (result, aux) if has_aux else result

    return wrapped


def columns_of(outs, inputs, create_graph) -> list:
    """Per result the Jacobians with respect to the inputs, column by column."""
    push = Push(outs, inputs)
    zeros = [zeros_like(x) for x in inputs]
    columns = []
    for k, x in enumerate(inputs):
        if not x.numel():
            columns.append([
                FUNCTIONS["zeros"]((*o.shape, *x.shape), dtype=o.dtype, device=o.device)
                for o in outs
            ])  # fmt: skip
            continue

        def along(t, k=k):
            return or_zeros(push([*zeros[:k], t, *zeros[k + 1 :]], create_graph), outs)

        found = by_chunks(x, None, along)
        columns.append([
            j.movedim(0, -1).reshape((*o.shape, *x.shape)) for j, o in zip(found, outs, strict=True)
        ])  # fmt: skip
    return [list(row) for row in zip(*columns, strict=True)]


def hessian(func, argnums=0):
    """A function that returns the Hessian of ``func``, by forward over reverse mode
    (https://pytorch.org/docs/stable/generated/torch.func.hessian.html)."""
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func, *, remove="mutations"):
    """``func`` itself: every op here is a pure function already
    (https://pytorch.org/docs/stable/generated/torch.func.functionalize.html)."""
    if remove not in ("mutations", "mutations_and_views"):
        raise RuntimeError(
            "functionalize(f, remove='mutations'): received invalid argument for "
            f"remove={remove}. Valid options are:\n     remove='mutations': all inplace and out= "
            "operators will be removed from the program, and replaced with their out-of-place "
            "equivalents.\n     remove='mutations_and_views': In addition to the above, all "
            "aliasing operators {view} will be replaced with their non-aliasing counterparts, "
            "{view}_copy."
        )
    return func if isinstance(func, types.FunctionType) else functools.partial(func)
