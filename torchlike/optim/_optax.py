"""from_optax: any optax transformation as an optimizer of torchlike's parameters."""

from __future__ import annotations

import re
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.tree_util import keystr, tree_flatten, tree_flatten_with_path, tree_unflatten

from torchlike._core import devices
from torchlike._core.errors import NotSupported
from torchlike._engine.prefix import record
from torchlike._ops.table import TABLE, Arrays, Scalar, Shape, op
from torchlike._tensor.creation import from_jax
from torchlike._tensor.dispatch import value_of
from torchlike._tensor.tensor import Tensor
from torchlike.optim._rebinding import rebind_all
from torchlike.optim.optimizer import Optimizer


class _Plan:
    """The static half of a step: the transformation and the structures of its trees.

    tx, params, state   the transformation, and the structures of parameters and state
    keys                per leaf of the state None, or the kind of random key that its bits are
    numbers             places in the state of the hyperparameters that come from outside
    extra               names of the further arguments of ``update``
    wide                whether 64-bit numbers are on, as in a JAX program that has such parameters
    """

    __slots__ = ("extra", "keys", "numbers", "params", "state", "tx", "wide")

    def __init__(self, tx, params, state, keys, numbers, extra, wide):
        self.tx, self.params, self.state, self.keys = tx, params, state, keys
        self.numbers, self.extra, self.wide = numbers, extra, wide


def _donated(statics):
    """Operands that the step replaces: parameters and state."""
    plan = statics[0]
    first = len(plan.numbers) + len(plan.extra)
    params, states = plan.params.num_leaves, plan.state.num_leaves
    return (*range(first, first + params), *range(first + 2 * params, first + 2 * params + states))


@op("optax_step", promotes="raw", differentiable=False, donates=_donated)
def optax_step(operands: Arrays, plan: Shape):
    """New parameters and a new state, from numbers, further arguments, parameters, gradients
    (None: zero) and the state."""
    import optax

    given = iter([x.array if isinstance(x, Scalar) else x for x in operands])
    numbers = [next(given) for _ in plan.numbers]
    extra = {name: next(given) for name in plan.extra}
    params = [next(given) for _ in range(plan.params.num_leaves)]
    grads = [next(given) for _ in params]
    states = list(given)
    params, grads, states = lax.optimization_barrier((params, grads, states))
    with jax.enable_x64(plan.wide):
        if not plan.wide:
            extra = {name: _narrow(x) for name, x in extra.items()}
        for at, x in zip(plan.numbers, numbers, strict=True):
            states[at] = x.astype(states[at].dtype)
        grads = [jnp.zeros_like(p) if g is None else g.astype(p.dtype)
                 for p, g in zip(params, grads, strict=True)]  # fmt: skip
        tree = tree_unflatten(plan.params, params)
        state = tree_unflatten(plan.state, [_key(x, k) for x, k in zip(states, plan.keys)])
        try:
            updates, state = plan.tx.update(
                tree_unflatten(plan.params, grads), state, tree, **extra
            )
        except TypeError as error:
            raise _wanting(error) or error from None
        new = jax.tree.leaves(optax.apply_updates(tree, updates))
        leaves, structure = tree_flatten(state)
        if structure != plan.state:
            raise NotSupported(
                "from_optax() of a transformation whose state changes its structure",
                "keep the structure that init gave it",
            )
        leaves = [_bits(x).astype(old.dtype) for x, old in zip(leaves, states, strict=True)]
    # The barrier parts results that are one array, or an operand: each gets memory of its own.
    return tuple(lax.optimization_barrier((*new, *leaves)))


def _narrow(x):
    """An argument in 32 bits, as a JAX program has it unless it asks for 64."""
    narrow = {"float64": jnp.float32, "int64": jnp.int32, "complex128": jnp.complex64}
    return x.astype(narrow[x.dtype.name]) if x.dtype.name in narrow else x


def _is_key(x) -> bool:
    return jnp.issubdtype(x.dtype, jax.dtypes.prng_key)


def _bits(x):
    return jax.random.key_data(x) if _is_key(x) else x


def _key(x, kind):
    return x if kind is None else jax.random.wrap_key_data(x, impl=kind)


# ---- hyperparameters ---------------------------------------------------------------------------

_NAMES = {"learning_rate": "lr"}  # PyTorch's names of what schedulers set


class _Group(dict):
    """A parameter group that says where a learning rate comes from if there is none to set."""

    def __missing__(self, name):
        if name in ("lr", "initial_lr"):
            raise NotSupported(
                "setting the learning rate of this optax transformation",
                "make it with optax.inject_hyperparams, e.g. "
                "optax.inject_hyperparams(optax.adam)(learning_rate=1e-3), or give it one of "
                "optax's schedules",
            )
        raise KeyError(name)


def _injected(paths) -> dict[str, int]:
    """{name in the group: place among the state's leaves} of injected hyperparameters.

    Those that a schedule of optax's sets are not among them, nor are names that come twice.
    """
    scheduled = {
        match.group(1, 2)
        for path in paths
        if (match := re.fullmatch(r"(.*)\.hyperparams_states\['(\w+)'\].*", path))
    }
    found: dict[str, list[int]] = {}
    for i, path in enumerate(paths):
        match = re.fullmatch(r"(.*)\.hyperparams\['(\w+)'\]", path)
        if match and match.group(1, 2) not in scheduled:
            name = match.group(2)
            found.setdefault(_NAMES.get(name, name), []).append(i)
    return {name: places[0] for name, places in found.items() if len(places) == 1}


# ---- the optimizer -----------------------------------------------------------------------------


def from_optax(params, tx) -> Optimizer:
    """An optimizer over an optax ``GradientTransformation``; a step is one program.

    params   an iterable of tensors, of (name, tensor) pairs such as ``model.named_parameters()``,
             or any tree of dicts, lists and tuples of tensors: masks and labels (``optax.masked``,
             ``optax.multi_transform``) have its structure, for pairs {name: ...}
    tx       the transformation; its init is called at once

    ``step(closure)`` hands the loss on to transformations that want a ``value``; so does
    ``step(value=loss)``, and any other name goes to ``tx.update`` likewise. A parameter without a
    gradient counts as one with a gradient of zeros, as in JAX. Numbers of
    ``optax.inject_hyperparams`` stand in ``param_groups[0]``, ``learning_rate`` as ``lr``, where
    schedulers set them. ``optax_state`` is the state as optax has it.

    Raises ``TypeError`` for what is no transformation, ``NotSupported`` for parameter groups.
    """
    return OptaxOptimizer(params, tx)


def _tree(params):
    """The tree that optax sees."""
    if isinstance(params, Tensor):
        raise TypeError(
            "params argument given to the optimizer should be an iterable of Tensors or "
            f"dicts, but got {params.type()}"
        )
    if isinstance(params, dict):
        return params
    params = params if isinstance(params, tuple) and hasattr(params, "_fields") else list(params)
    if params and all(isinstance(p, dict) and "params" in p for p in params):
        raise NotSupported(
            "from_optax() with parameter groups",
            "give the parameters as one tree and choose with optax.multi_transform",
        )
    if params and all(
        isinstance(p, tuple) and len(p) == 2 and isinstance(p[0], str) for p in params
    ):
        return dict(params)
    return params


class OptaxOptimizer(Optimizer):
    """See ``from_optax``."""

    def __init__(self, params, tx):
        if not (hasattr(tx, "init") and hasattr(tx, "update")):
            raise TypeError(
                "from_optax(params, tx): tx must be an optax.GradientTransformation, but got "
                f"{type(tx).__name__}"
            )
        import optax

        tree = _tree(params)
        leaves, structure = tree_flatten(tree, is_leaf=lambda x: isinstance(x, Tensor))
        self._tx = optax.with_extra_args_support(tx)
        self._given: dict[str, Any] = {}
        super().__init__([{"params": leaves}] if leaves else [], {})
        wide = any(p.dtype.itemsize > 4 * (1 + p.is_complex()) for p in leaves)
        home = devices.jax_device(leaves[0].device if leaves else devices.CPU)
        with jax.enable_x64(wide), jax.default_device(home):
            state = self._tx.init(tree_unflatten(structure, [p.detach().jax() for p in leaves]))
            found, state_structure = tree_flatten_with_path(state)
            # Copies: a state may be a parameter's own array, and steps write into both.
            arrays = [jnp.array(x, copy=True) for _, x in found]
        self._paths = [keystr(path) for path, _ in found]
        keys = [str(jax.random.key_impl(x)) if _is_key(x) else None for x in arrays]
        self._leaves = [from_jax(_bits(x)) for x in arrays]
        self.state["optax"] = dict(zip(self._paths, self._leaves, strict=True))
        injected = _injected(self._paths)
        self._structures = structure, state_structure, tuple(keys), wide
        self._numbers = tuple(injected.items())
        self._plans: dict[tuple, _Plan] = {}
        group = _Group(self.param_groups[0])
        for name, at in self._numbers:
            group[name] = self._leaves[at].item()
        self.param_groups[0] = group

    def flags(self, group) -> dict[str, Any]:
        return {}

    def add_param_group(self, param_group) -> None:
        if self.param_groups:
            raise NotSupported(
                "add_param_group() of an optimizer from optax",
                "make a new one, with optax.multi_transform where parameters differ",
            )
        super().add_param_group(param_group)

    # ---- stepping ------------------------------------------------------------------------------

    def step(self, closure=None, **extra):
        """Update all parameters; returns the closure's loss. ``extra`` goes to ``tx.update``."""
        self._given = {name: x for name, x in extra.items() if x is not None}
        if closure is None:
            return super().step()

        def asked():
            loss = closure()
            if isinstance(loss, (Tensor, float, int)):
                self._given.setdefault("value", loss)
            return loss

        return super().step(asked)

    def _step_group(self, group, params, flags, line) -> None:
        given, self._given = self._given, {}
        names = tuple(sorted(given))
        plan = self._plans.get(names)
        if plan is None:
            structure, state, keys, wide = self._structures
            places = tuple(at for _, at in self._numbers)
            plan = _Plan(self._tx, structure, state, keys, places, names, wide)
            self._plans[names] = plan
        params = group["params"]
        operands = [_operand(group[name]) for name, _ in self._numbers]
        operands += [_operand(given[name], name) for name in names]
        operands += map(value_of, params)
        operands += [None if p._grad is None else value_of(p._grad) for p in params]
        operands += map(value_of, self._leaves)
        values, _ = record(TABLE["optax_step"], (plan,), operands)
        rebind_all([*params, *self._leaves], values, line)

    # ---- state ---------------------------------------------------------------------------------

    @property
    def optax_state(self):
        """The state as optax has it, of jax arrays: they are good until the next step."""
        _, structure, keys, _ = self._structures
        arrays = [x.detach().jax() for x in self._leaves]
        return tree_unflatten(structure, [_key(x, k) for x, k in zip(arrays, keys)])

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over the state of an optimizer of the same transformation and parameters;
        ``ValueError`` if it does not fit, and nothing changed."""
        state_dict = dict(state_dict)
        for hook in self._state_hooks["load_pre"].values():
            changed = hook(self, state_dict)
            state_dict = state_dict if changed is None else changed
        (group,), saved = self.param_groups, state_dict["param_groups"]
        found = state_dict["state"].get("optax", {})
        if len(saved) != 1 or len(saved[0]["params"]) != len(group["params"]):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of "
                "optimizer's group"
            )
        if set(found) != set(self._paths) or any(
            found[path].shape != x.shape or found[path].dtype is not x.dtype
            for path, x in zip(self._paths, self._leaves, strict=True)
        ):
            raise ValueError(
                "loaded state dict is of another optax transformation, or of other parameters"
            )
        for path, x in zip(self._paths, self._leaves, strict=True):
            x.copy_(found[path].detach())
        group.update((name, x) for name, x in saved[0].items() if name != "params")
        for hook in self._state_hooks["load_post"].values():
            hook(self)

    def state_dict(self) -> dict[str, Any]:
        """The state by optax's paths under "optax", and the group, as ``load_state_dict`` wants."""
        out = super().state_dict()
        out["state"]["optax"] = {path: x.clone() for path, x in out["state"]["optax"].items()}
        return out

    def __getstate__(self):
        raise NotSupported("pickling an optimizer from optax", "save its state_dict()")

    def __repr__(self) -> str:
        return super().__repr__().replace("OptaxOptimizer", "from_optax", 1)


def _operand(x, name: str = "lr"):
    """A number or tensor as an operand that changes from step to step."""
    if isinstance(x, Tensor):
        return value_of(x.detach())
    if isinstance(x, (int, float)):
        return float(x)
    if hasattr(x, "dtype") and hasattr(x, "shape"):
        return value_of(from_jax(jnp.asarray(x)))
    raise NotSupported(f"step({name}=...) of type {type(x).__name__}", "give tensors and numbers")


def _wanting(error: TypeError) -> Exception | None:
    """The way out of a TypeError of ``update`` that misses arguments."""
    found = re.search(r"missing \d+ required keyword-only arguments?: (.*)", str(error))
    if found is None:
        return None
    if "value_fn" in found[1]:
        return NotSupported(
            "from_optax() of a transformation that evaluates the loss itself (value_fn)",
            "use torch.optim.LBFGS",
        )
    return TypeError(
        f"this optax transformation needs {found[1]} at each step: call step(closure), whose loss "
        "is the value, or step(value=loss)"
    )
