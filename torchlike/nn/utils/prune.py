"""Pruning: masks over parameters, applied before every forward."""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable

from torchlike._tensor.forms import FUNCTIONS
from torchlike.nn.utils.convert_parameters import parameters_to_vector

__all__ = [
    "BasePruningMethod",
    "CustomFromMask",
    "Identity",
    "L1Unstructured",
    "LnStructured",
    "PruningContainer",
    "RandomStructured",
    "RandomUnstructured",
    "custom_from_mask",
    "global_unstructured",
    "identity",
    "is_pruned",
    "l1_unstructured",
    "ln_structured",
    "random_structured",
    "random_unstructured",
    "remove",
]


def _pruners(module, name=None):
    """(key, hook) of the pruning hooks of a module, on the tensor named if one is named."""
    return [
        (key, hook)
        for key, hook in module._forward_pre_hooks.items()
        if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name)
    ]


class BasePruningMethod(ABC):
    """Base of the ways to prune: a subclass says by ``compute_mask`` what stays
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.BasePruningMethod.html)."""

    _tensor_name: str | None = None
    PRUNING_TYPE: str

    def __call__(self, module, inputs):
        """Mask the parameter: runs as a forward pre-hook."""
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t, default_mask):
        """The mask for scores ``t`` on top of the mask there is, both of one shape."""

    def apply_mask(self, module):
        """The masked parameter, by the module's ``<name>_orig`` and ``<name>_mask``."""
        if self._tensor_name is None:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module, name, *args, importance_scores=None, **kwargs):
        """Prune a parameter and add the hook; combined with what pruned it before."""
        before = _pruners(module, name)
        if len(before) > 1:
            raise AssertionError(
                f"Avoid adding multiple pruning hooks to the same tensor {name} of module "
                f"{module}. Use a PruningContainer."
            )
        method = cls(*args, **kwargs)
        method._tensor_name = name
        for key, old in before:
            container = old if isinstance(old, PruningContainer) else PruningContainer(old)
            container.add_pruning_method(method)
            method = container
            del module._forward_pre_hooks[key]
        tensor = getattr(module, name)
        if importance_scores is None:
            importance_scores = tensor
        elif importance_scores.shape != tensor.shape:
            raise AssertionError(
                f"importance_scores should have the same shape as parameter {name} of {module}, "
                f"got {importance_scores.shape} vs {tensor.shape}"
            )
        first = not isinstance(method, PruningContainer)
        if first:
            module.register_parameter(name + "_orig", tensor)
            del module._parameters[name]
            default = FUNCTIONS["ones_like"](tensor)
        else:
            default = getattr(module, name + "_mask").detach().clone()
        try:
            mask = method.compute_mask(importance_scores, default_mask=default)
            module.register_buffer(name + "_mask", mask)
            setattr(module, name, method.apply_mask(module))
            module.register_forward_pre_hook(method)
        except Exception:
            if first:
                module.register_parameter(name, module._parameters.pop(name + "_orig"))
            raise
        return method

    def prune(self, t, default_mask=None, importance_scores=None):
        """A tensor pruned at once, with no module and no hook."""
        if importance_scores is None:
            importance_scores = t
        elif importance_scores.shape != t.shape:
            raise AssertionError(
                "importance_scores should have the same shape as tensor t, got "
                f"{importance_scores.shape} vs {t.shape}"
            )
        default = FUNCTIONS["ones_like"](t) if default_mask is None else default_mask
        return t * self.compute_mask(importance_scores, default_mask=default)

    def remove(self, module) -> None:
        """Make the pruning permanent: the parameter has its name again, and no mask."""
        name = self._tensor_name
        if name is None:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        weight = self.apply_mask(module)  # before the masked tensor goes
        if hasattr(module, name):
            delattr(module, name)
        original = module._parameters.pop(name + "_orig")
        original.data = weight.data
        del module._buffers[name + "_mask"]
        setattr(module, name, original)


class PruningContainer(BasePruningMethod):
    """Several methods one after the other, each on what the ones before it left."""

    def __init__(self, *args):
        self._pruning_methods: tuple = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method) -> None:
        """Add a method for the same tensor; ``ValueError`` for that of another."""
        if method is not None:
            if not isinstance(method, BasePruningMethod):
                raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
            if self._tensor_name != method._tensor_name:
                raise ValueError(
                    "Can only add pruning methods acting on the parameter named "
                    f"'{self._tensor_name}' to PruningContainer {self}. Found "
                    f"'{method._tensor_name}'"
                )
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self):
        return iter(self._pruning_methods)

    def __getitem__(self, idx):
        return self._pruning_methods[idx]

    def compute_mask(self, t, default_mask):
        """The mask there is with what the newest method takes away from the rest."""
        method = self._pruning_methods[-1]
        mask = default_mask.to(dtype=t.dtype)
        kind = method.PRUNING_TYPE
        if kind == "unstructured":
            rest = mask == 1
        elif kind == "global":
            rest = (slice(None),) * t.dim()
        elif kind == "structured":
            if not hasattr(method, "dim"):
                raise AttributeError(
                    'Pruning methods of PRUNING_TYPE "structured" need to have the attribute '
                    "`dim` defined."
                )
            ndim = t.dim()
            dim = method.dim if method.dim >= 0 else method.dim + ndim
            if dim < 0:
                raise IndexError(f"Index is out of bounds for tensor with dimensions {ndim}")
            kept = mask.sum(dim=[d for d in range(ndim) if d != dim]) != 0
            rest = (*(slice(None),) * dim, kept)
        else:
            raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
        mask = mask.clone() if mask is default_mask else mask
        partial = method.compute_mask(t[rest], default_mask=mask[rest])
        mask[rest] = partial.to(dtype=mask.dtype)
        return mask


class Identity(BasePruningMethod):
    """Prunes nothing, but adds the mask
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.Identity.html)."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t, default_mask):
        """The mask there is."""
        return default_mask

    @classmethod
    def apply(cls, module, name):
        """Add the hook."""
        return super().apply(module, name)


# ---- how much ----------------------------------------------------------------------------------


def _validate_pruning_amount_init(amount) -> None:
    if not isinstance(amount, numbers.Real):
        raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
    if amount < 0 or (not isinstance(amount, numbers.Integral) and amount > 1):
        raise ValueError(
            f"amount={amount} should either be a float in the range [0, 1] or a "
            "non-negative integer"
        )


def _validate_pruning_amount(amount, tensor_size: int) -> None:
    if isinstance(amount, numbers.Integral) and amount > tensor_size:
        raise ValueError(
            f"amount={amount} should be smaller than the number of parameters to "
            f"prune={tensor_size}"
        )


def _compute_nparams_toprune(amount, tensor_size: int) -> int:
    return amount if isinstance(amount, numbers.Integral) else round(amount * tensor_size)


def _count(amount, size: int) -> int:
    """How many of ``size`` to prune; ``ValueError`` if there are not so many."""
    count = _compute_nparams_toprune(amount, size)
    _validate_pruning_amount(count, size)
    return count


def _validate_structured_pruning(t) -> None:
    if t.dim() <= 1:
        raise ValueError(
            "Structured pruning can only be applied to multidimensional tensors. Found tensor of "
            f"shape {t.shape} with {t.dim()} dims"
        )


def _validate_pruning_dim(t, dim: int) -> None:
    if dim >= t.dim():
        raise IndexError(f"Invalid index {dim} for tensor of size {t.shape}")


def _compute_norm(t, n, dim: int):
    """The n-norm of each channel along a dimension."""
    rest = [d for d in range(t.dim()) if d != dim % t.dim()]
    return FUNCTIONS["norm"](t, p=n, dim=rest)


def _channels(t, dim: int, chosen):
    """A mask of the channels chosen along a dimension, by number or by a bool vector."""
    mask = FUNCTIONS["zeros_like"](t)
    mask[(*(slice(None),) * (dim % t.dim()), chosen)] = 1
    return mask


# ---- the methods -------------------------------------------------------------------------------


class RandomUnstructured(BasePruningMethod):
    """Prunes random elements: ``amount`` of them, or that share
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.RandomUnstructured.html)."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        _validate_pruning_amount_init(amount)
        self.amount = amount

    def compute_mask(self, t, default_mask):
        """The mask there is, with random elements cleared."""
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone()
        if count:
            found = FUNCTIONS["rand_like"](t).view(-1).topk(count)
            mask.view(-1)[found.indices] = 0
        return mask

    @classmethod
    def apply(cls, module, name, amount):
        """Prune a parameter and add the hook."""
        return super().apply(module, name, amount=amount)


class L1Unstructured(BasePruningMethod):
    """Prunes the elements of smallest size: ``amount`` of them, or that share
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.L1Unstructured.html)."""

    PRUNING_TYPE = "unstructured"

    def __init__(self, amount):
        _validate_pruning_amount_init(amount)
        self.amount = amount

    def compute_mask(self, t, default_mask):
        """The mask there is, with the smallest elements cleared."""
        count = _count(self.amount, t.nelement())
        mask = default_mask.clone()
        if count:
            found = t.abs().view(-1).topk(count, largest=False)
            mask.view(-1)[found.indices] = 0
        return mask

    @classmethod
    def apply(cls, module, name, amount, importance_scores=None):
        """Prune a parameter and add the hook."""
        return super().apply(module, name, amount=amount, importance_scores=importance_scores)


class RandomStructured(BasePruningMethod):
    """Prunes random channels along a dimension
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.RandomStructured.html)."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, dim=-1):
        _validate_pruning_amount_init(amount)
        self.amount = amount
        self.dim = dim

    def compute_mask(self, t, default_mask):
        """The mask there is, with random channels cleared."""
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        size = t.shape[self.dim]
        count = _count(self.amount, size)
        if not count:
            return default_mask
        draws = FUNCTIONS["rand"](size)
        mask = _channels(t, self.dim, draws > draws.kthvalue(k=count).values)
        mask *= default_mask.to(dtype=mask.dtype)
        return mask

    @classmethod
    def apply(cls, module, name, amount, dim=-1):
        """Prune a parameter and add the hook."""
        return super().apply(module, name, amount=amount, dim=dim)


class LnStructured(BasePruningMethod):
    """Prunes the channels of smallest n-norm along a dimension
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.LnStructured.html)."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount, n, dim=-1):
        _validate_pruning_amount_init(amount)
        self.amount = amount
        self.n = n
        self.dim = dim

    def compute_mask(self, t, default_mask):
        """The mask there is, with the smallest channels cleared."""
        _validate_structured_pruning(t)
        _validate_pruning_dim(t, self.dim)
        size = t.shape[self.dim]
        count = _count(self.amount, size)
        norms = _compute_norm(t, self.n, self.dim)
        mask = _channels(t, self.dim, norms.topk(size - count, largest=True).indices)
        mask *= default_mask.to(dtype=mask.dtype)
        return mask

    @classmethod
    def apply(cls, module, name, amount, n, dim, importance_scores=None):
        """Prune a parameter and add the hook."""
        return super().apply(
            module, name, amount=amount, n=n, dim=dim, importance_scores=importance_scores
        )


class CustomFromMask(BasePruningMethod):
    """Prunes by a mask of one's own
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.CustomFromMask.html)."""

    PRUNING_TYPE = "global"

    def __init__(self, mask):
        self.mask = mask

    def compute_mask(self, t, default_mask):
        """The mask there is and the own one."""
        if default_mask.shape != self.mask.shape:
            raise AssertionError(
                f"default_mask shape {default_mask.shape} must match self.mask shape "
                f"{self.mask.shape}"
            )
        return default_mask * self.mask.to(dtype=default_mask.dtype)

    @classmethod
    def apply(cls, module, name, mask):
        """Prune a parameter and add the hook."""
        return super().apply(module, name, mask=mask)


# ---- functions ---------------------------------------------------------------------------------


def identity(module, name):
    """Give a parameter a mask of ones; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.identity.html)."""
    Identity.apply(module, name)
    return module


def random_unstructured(module, name, amount):
    """Prune random elements of a parameter; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_unstructured.html)."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module, name, amount, importance_scores=None):
    """Prune the smallest elements of a parameter; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.l1_unstructured.html)."""
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module, name, amount, dim):
    """Prune random channels of a parameter; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.random_structured.html)."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module, name, amount, n, dim, importance_scores=None):
    """Prune the channels of smallest n-norm; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.ln_structured.html)."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(parameters, pruning_method, importance_scores=None, **kwargs) -> None:
    """Prune several parameters, pairs (module, name), as if they were one vector
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.global_unstructured.html)."""
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    scores = {} if importance_scores is None else importance_scores
    if not isinstance(scores, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    parameters = list(parameters)
    tensors = [getattr(module, name) for module, name in parameters]
    importance = parameters_to_vector(
        [scores.get(key, t) for key, t in zip(parameters, tensors, strict=True)]
    )
    masks = [getattr(module, name + "_mask", None) for module, name in parameters]
    default = parameters_to_vector(
        [
            FUNCTIONS["ones_like"](t) if mask is None else mask
            for t, mask in zip(tensors, masks, strict=True)
        ]
    )
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError(
            'Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. Found method '
            f"{pruning_method} of type {method.PRUNING_TYPE}"
        )
    method._tensor_name = "temp"
    final = PruningContainer(method).compute_mask(importance, default)
    at = 0
    for (module, name), t in zip(parameters, tensors, strict=True):
        custom_from_mask(module, name, mask=final[at : at + t.numel()].view_as(t))
        at += t.numel()


def custom_from_mask(module, name, mask):
    """Prune a parameter by a mask of its shape; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.custom_from_mask.html)."""
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module, name):
    """Make the pruning of a parameter permanent; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.remove.html)."""
    for key, hook in _pruners(module, name):
        hook.remove(module)
        del module._forward_pre_hooks[key]
        return module
    raise ValueError(
        f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed"
    )


def is_pruned(module) -> bool:
    """Whether a module or one below it has a pruning hook
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.prune.is_pruned.html)."""
    return any(_pruners(part) for part in module.modules())
