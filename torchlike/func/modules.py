"""Modules as functions of their parameters: functional_call, stack_module_state."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager

from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.tensor import Tensor

_NOTHING = object()


def functional_call(
    module, parameter_and_buffer_dicts, args=None, kwargs=None, *, tie_weights=True, strict=False
):
    """Call a module with other tensors for its parameters and buffers
    (https://pytorch.org/docs/stable/generated/torch.func.functional_call.html)."""
    given = parameter_and_buffer_dicts
    if isinstance(given, dict):
        tensors = given
    elif isinstance(given, Sequence):
        if not all(isinstance(d, dict) for d in given):
            raise ValueError(
                "Expected all elements of parameter_and_buffer_dicts to be dictionaries"
            )
        counts = Counter(name for d in given for name in d)
        repeated = [name for name, n in counts.items() if n > 1]
        if repeated:
            raise ValueError(
                f"{repeated} appeared in multiple dictionaries; behavior of functional call is "
                "ambiguous"
            )
        tensors = {name: t for d in given for name, t in d.items()}
    else:
        raise ValueError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(given)}"
        )
    args = () if args is None else args if isinstance(args, tuple) else (args,)
    with replaced(module, tensors, tie_weights, strict):
        return module(*args, **(kwargs or {}))


def _places(module) -> dict:
    """Per name the dict and the key under which a module holds a tensor."""
    out = {}
    for prefix, part in module.named_modules(remove_duplicate=False):
        for store in (part._parameters, part._buffers):
            for key in store:
                out[f"{prefix}.{key}" if prefix else key] = store, key
    return out


def _place(module, name):
    """The dict and the key under which a module holds the tensor of a name, or None."""
    path, _, key = name.rpartition(".")
    for part in path.split(".") if path else ():
        module = module._modules.get(part)
        if module is None:
            return None
    stores = (store for store in (module._parameters, module._buffers) if key in store)
    return next(((store, key) for store in stores), None)


class _Properties:
    """The attributes of a module that its class computes, and sets, as a dict has its values."""

    def __init__(self, module):
        self._module = module

    def get(self, key, default=None):
        """The value as it is computed now."""
        return getattr(self._module, key)

    def __setitem__(self, key, value):
        setattr(self._module, key, value)


@contextmanager
def replaced(module, tensors: dict, tie_weights: bool, strict: bool):
    """A ``with`` block in which a module has other tensors for its parameters and buffers."""
    if tie_weights or strict:
        places = _places(module)
    else:  # modules may hold each other in a circle: only what is named is looked up
        found = {name: _place(module, name) for name in tensors}
        places = {name: place for name, place in found.items() if place is not None}
    unexpected = [name for name in tensors if name not in places]
    everywhere = dict(tensors)
    if tie_weights:
        names: dict = {}
        for name, (store, key) in places.items():
            if store[key] is not None:
                names.setdefault(id(store[key]), []).append(name)
        for tied in names.values():
            found = {id(tensors[n]): tensors[n] for n in tied if n in tensors}
            if len(found) > 1:
                raise ValueError(
                    f"functional_call got multiple values for keys {sorted(tied)}, which are tied. "
                    "Consider using tie_weights=False"
                )
            for value in found.values():
                everywhere.update((n, value) for n in tied)
    if strict:
        missing = sorted(n for n, (store, key) in places.items()
                         if n not in everywhere and store[key] is not None)  # fmt: skip
        problems = []
        if unexpected:
            problems.append(f"Unexpected key(s): {', '.join(map(repr, unexpected))}.")
        if missing:
            problems.append(f"Missing key(s): {', '.join(map(repr, missing))}.")
        if problems:
            raise RuntimeError(
                f"Error(s) in reparametrizing for {type(module).__name__}:\n\t"
                + "\n\t".join(problems)
            )
    for name in unexpected:  # PyTorch sets them as attributes for the length of the call
        everywhere.pop(name)
        path, _, key = name.rpartition(".")
        if not key:
            raise KeyError('tensor name can\'t be empty string ""')
        below = module.get_submodule(path)._modules.get(key)
        if below is None:
            below = vars(module.get_submodule(path)).get(key)
        if below is not None and not isinstance(below, Tensor):
            raise TypeError(f"attribute `{key}`: {below} is not an instance of torch.Tensor")
        below = module.get_submodule(path)
        computed = isinstance(getattr(type(below), key, None), property)  # a parametrization
        t = tensors[name]
        is_parameter = isinstance(t, Tensor) and (t._is_parameter or "_is_param" in vars(t))
        new = below._parameters if is_parameter else vars(below)
        places[name] = _Properties(below) if computed else new, key
    before = {}
    extra = {n: tensors[n] for n in unexpected}
    try:
        for name, value in (everywhere | extra).items():
            if value is not None and not isinstance(value, Tensor):
                raise TypeError(f"{value} is not an instance of torch.Tensor")
            store, key = places[name]
            before[name] = store.get(key, _NOTHING)
            store[key] = value
        yield
    finally:
        for name, value in before.items():
            store, key = places[name]
            if store.__class__ is not _Properties and name in tensors:
                now = store.get(key, _NOTHING)
                if now is not tensors[name] and now is not _NOTHING:
                    tensors[name] = now  # what the call assigned anew is the caller's to see
            if value is _NOTHING:
                store.pop(key, None)
            else:
                store[key] = value


def stack_module_state(models):
    """Parameters and buffers of models of one class, stacked for ``vmap``
    (https://pytorch.org/docs/stable/generated/torch.func.stack_module_state.html)."""
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if len({m.training for m in models}) > 1:
        raise RuntimeError(
            "stack_module_state: Expected all models to have the same training/eval mode."
        )
    if len({type(m) for m in models}) > 1:
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    params = _stacked([dict(m.named_parameters()) for m in models])
    return params, _stacked([dict(m.named_buffers()) for m in models])


def _stacked(states: list[dict]) -> dict:
    out = {}
    for name in states[0]:
        tensors = [s[name] for s in states]
        if len({t.requires_grad for t in tensors}) > 1:
            raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
        stacked = FUNCTIONS["stack"]([t.detach() for t in tensors])
        out[name] = stacked.requires_grad_(tensors[0].requires_grad)
    return out


def replace_all_batch_norm_modules_(root):
    """Let every batch norm below ``root`` use the batch's own statistics, in place
    (https://pytorch.org/docs/stable/generated/torch.func.replace_all_batch_norm_modules_.html)."""
    for part in root.modules():
        if any(kind.__name__ == "_BatchNorm" for kind in type(part).__mro__):
            part.running_mean = part.running_var = part.num_batches_tracked = None
            part.track_running_stats = False
    return root
