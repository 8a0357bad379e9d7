"""Spectral normalisation by a forward pre-hook, as PyTorch had it before parametrizations."""

from __future__ import annotations

from torchlike._tensor.forms import FUNCTIONS
from torchlike._tensor.modes import no_grad
from torchlike.nn import functional as F
from torchlike.nn.modules.module import Module
from torchlike.nn.parameter import Parameter, is_lazy
from torchlike.nn.utils.parametrizations import _default_dim
from torchlike.nn.utils.weight_norm import _find

__all__ = [
    "SpectralNorm",
    "SpectralNormLoadStateDictPreHook",
    "SpectralNormStateDictHook",
    "remove_spectral_norm",
    "spectral_norm",
]


class SpectralNorm:
    """The hook: before every forward it computes the weight from ``<name>_orig`` and the
    estimates ``<name>_u`` and ``<name>_v`` of its first singular vectors."""

    _version: int = 1  # 1: the state has ``_v`` and no longer the weight itself
    name: str
    dim: int
    n_power_iterations: int
    eps: float

    def __init__(
        self, name: str = "weight", n_power_iterations: int = 1, dim: int = 0, eps: float = 1e-12
    ):
        self.name = name
        self.dim = dim
        if n_power_iterations <= 0:
            raise ValueError(
                "Expected n_power_iterations to be positive, but "
                f"got n_power_iterations={n_power_iterations}"
            )
        self.n_power_iterations = n_power_iterations
        self.eps = eps

    def reshape_weight_to_matrix(self, weight):
        """The weight as a matrix with rows along ``dim``."""
        if self.dim != 0:
            rest = (d for d in range(weight.dim()) if d != self.dim)
            weight = weight.permute(self.dim, *rest)
        return weight.reshape(weight.size(0), -1)

    def compute_weight(self, module: Module, do_power_iteration: bool):
        """The weight normalised, on the tape; iterating first changes the module's estimates."""
        weight = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.reshape_weight_to_matrix(weight)
        if do_power_iteration:
            with no_grad():
                for _ in range(self.n_power_iterations):
                    v.copy_(F.normalize(matrix.t().mv(u), dim=0, eps=self.eps))
                    u.copy_(F.normalize(matrix.mv(v), dim=0, eps=self.eps))
                u, v = u.clone(), v.clone()  # the next call changes them
        return weight / u.dot(matrix.mv(v))

    def remove(self, module: Module) -> None:
        """Make the weight an ordinary parameter again."""
        with no_grad():
            weight = self.compute_weight(module, do_power_iteration=False)
        for kind in ("", "_u", "_v", "_orig"):
            delattr(module, self.name + kind)
        module.register_parameter(self.name, Parameter(weight.detach()))

    def __call__(self, module: Module, inputs) -> None:
        weight = self.compute_weight(module, do_power_iteration=module.training)
        setattr(module, self.name, weight)

    def _solve_v_and_rescale(self, matrix, u, target_sigma):
        """The ``v`` with which ``u`` gives this singular value."""
        gram = matrix.t().mm(matrix)
        v = (FUNCTIONS["pinverse"](gram) @ (matrix.t() @ u.unsqueeze(1))).squeeze(1)
        return v.mul_(target_sigma / u.dot(matrix.mv(v)))

    @staticmethod
    def apply(module, name: str, n_power_iterations: int, dim: int, eps: float) -> SpectralNorm:
        """Put the hook on a module; ``RuntimeError`` if that name has one already."""
        if _find(module, SpectralNorm, name):
            raise RuntimeError(
                f"Cannot register two spectral_norm hooks on the same parameter {name}"
            )
        hook = SpectralNorm(name, n_power_iterations, dim, eps)
        weight = module._parameters[name]
        if weight is None:
            raise ValueError(f"`SpectralNorm` cannot be applied as parameter `{name}` is None")
        if is_lazy(weight):
            raise ValueError(
                "The module passed to `SpectralNorm` can't have uninitialized parameters. Make "
                "sure to run the dummy forward before applying spectral normalization"
            )
        with no_grad():
            height, width = hook.reshape_weight_to_matrix(weight).size()
            u = F.normalize(weight.new_empty(height).normal_(0, 1), dim=0, eps=hook.eps)
            v = F.normalize(weight.new_empty(width).normal_(0, 1), dim=0, eps=hook.eps)
        delattr(module, name)
        module.register_parameter(name + "_orig", weight)
        setattr(module, name, weight.data)  # a plain tensor until the first forward
        module.register_buffer(name + "_u", u)
        module.register_buffer(name + "_v", v)
        module.register_forward_pre_hook(hook)
        module._register_state_dict_hook(SpectralNormStateDictHook(hook))
        module._register_load_state_dict_pre_hook(SpectralNormLoadStateDictPreHook(hook))
        return hook


class SpectralNormLoadStateDictPreHook:
    """Makes of an older version's state the present one."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(
        self, state_dict, prefix, local_metadata, strict, missing_keys, unexpected_keys, error_msgs
    ) -> None:
        hook = self.fn
        version = local_metadata.get("spectral_norm", {}).get(hook.name + ".version")
        if version is not None and version >= 1:
            return
        key = prefix + hook.name
        present = all(key + kind in state_dict for kind in ("_orig", "_u", "_v"))
        if version is None and present and key not in state_dict:
            return  # a state without metadata, but whole
        missing = [key + kind for kind in ("_orig", "", "_u") if key + kind not in state_dict]
        if missing:
            if strict:
                missing_keys.extend(missing)
            return
        with no_grad():
            original, weight = state_dict[key + "_orig"], state_dict.pop(key)
            sigma = (original / weight).mean()
            matrix = hook.reshape_weight_to_matrix(original)
            v = hook._solve_v_and_rescale(matrix, state_dict[key + "_u"], sigma)
            state_dict[key + "_v"] = v


class SpectralNormStateDictHook:
    """Notes the hook's version in the metadata of a state dict."""

    def __init__(self, fn):
        self.fn = fn

    def __call__(self, module, state_dict, prefix, local_metadata) -> None:
        noted = local_metadata.setdefault("spectral_norm", {})
        key = self.fn.name + ".version"
        if key in noted:
            raise RuntimeError(f"Unexpected key in metadata['spectral_norm']: {key}")
        noted[key] = self.fn._version


def spectral_norm(
    module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12,
    dim: int | None = None,
):  # fmt: skip
    """``nn.utils.parametrizations.spectral_norm``, but by a hook; returns the module
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.spectral_norm.html)."""
    dim = _default_dim(module) if dim is None else dim
    SpectralNorm.apply(module, name, n_power_iterations, dim, eps)
    return module


def remove_spectral_norm(module, name: str = "weight"):
    """Take spectral normalisation off a module; ``ValueError`` if there is none
    (https://pytorch.org/docs/stable/generated/torch.nn.utils.remove_spectral_norm.html)."""
    found = _find(module, SpectralNorm, name)
    if not found:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    key, hook = found[0]
    hook.remove(module)
    del module._forward_pre_hooks[key]
    for hooks in (module._state_dict_hooks, module._load_state_dict_pre_hooks):
        for key, other in list(hooks.items()):
            other = getattr(other, "hook", other)  # hooks before loading are wrapped
            if getattr(other, "fn", None) is hook:
                del hooks[key]
    return module
