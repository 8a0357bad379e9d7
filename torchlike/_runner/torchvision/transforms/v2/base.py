"""The base of version 2's transforms, which take any nest of inputs, and how they are chained."""

from __future__ import annotations

import enum

import torchlike as torch
from torchlike import nn
from torchlike._runner.shims.utils._pytree import tree_flatten, tree_unflatten
from torchlike._runner.torchvision.transforms.v2 import functional as F
from torchlike._runner.torchvision.tv_tensors import TVTensor

__all__ = ["Compose", "RandomApply", "RandomChoice", "RandomOrder", "Transform", "query_size"]


def chance() -> float:
    """A number of 0..1, as torchvision draws it."""
    return torch.rand(1).item()


def uniform(low: float, high: float) -> float:
    """A number between two, as torchvision draws it."""
    return torch.empty(1).uniform_(low, high).item()


def integer(low: int, high: int) -> int:
    """A whole number from ``low`` to below ``high``, as torchvision draws it."""
    return int(torch.randint(low, high, size=()))


def size_of(flat: list) -> tuple[int, int]:
    """(height, width) of the inputs; raises ``ValueError`` if they differ or have none."""
    sizes = {tuple(F.get_size(x)) for x in flat if F.is_image(x) or isinstance(x, TVTensor)}
    if not sizes:
        raise TypeError("No image, video, mask, bounding box or keypoint was found in the sample")
    if len(sizes) > 1:
        raise ValueError(f"Found multiple HxW dimensions in the sample: {sorted(sizes)}")
    return sizes.pop()


def labels_of(inputs, getter):
    """The labels of a sample: what ``getter`` finds, or a plain second input, or the entry of its
    dictionary that is called so; raises ``ValueError`` where nothing is."""
    if getter is None or callable(getter):
        return None if getter is None else getter(inputs)
    inputs = inputs[1] if isinstance(inputs, (tuple, list)) else inputs
    if F.is_pure_tensor(inputs):
        return inputs
    if isinstance(getter, str) and getter != "default":
        return inputs[getter]
    if not isinstance(inputs, dict):
        raise ValueError(
            "When using the default labels_getter, the input passed to forward must be a "
            f"dictionary or a two-tuple whose second item is a dictionary or a tensor, but got "
            f"{inputs} instead."
        )
    names = [name for name in inputs if name.lower() in ("label", "labels")]
    names = names or [name for name in inputs if "label" in name.lower()]
    if not names:
        raise ValueError(
            "Could not infer where the labels are in the sample. Try passing a callable as the "
            "labels_getter parameter?If there are no labels in the sample by design, pass "
            "labels_getter=None."
        )
    return inputs[names[0]]


query_size = size_of


class Transform(nn.Module):
    """A change of images, and of masks and boxes with them, in any nest of inputs.

    Subclasses have ``transform(inpt, params)``, and ``make_params(flat_inputs)`` for what is drawn
    once for all. A plain tensor is an image if it is the first one and nothing else is.
    """

    def check_inputs(self, flat_inputs: list) -> None:
        """Raise for inputs that it cannot take."""

    def make_params(self, flat_inputs: list) -> dict:
        """What all inputs are changed by."""
        return {}

    def transform(self, inpt, params: dict):
        """One input, changed."""
        raise NotImplementedError

    def forward(self, *inputs):
        flat, spec = tree_flatten(inputs if len(inputs) > 1 else inputs[0])
        self.check_inputs(flat)
        chosen = self._chosen(flat)
        params = self.make_params([x for x, wanted in zip(flat, chosen, strict=True) if wanted])
        return tree_unflatten(
            [self.transform(x, params) if c else x for x, c in zip(flat, chosen, strict=True)],
            spec,
        )

    _transformed_types: tuple = ()  # a subclass may name them, or functions that tell

    def _takes(self, x) -> bool:
        for kind in self._transformed_types:
            if isinstance(x, kind) if isinstance(kind, type) else kind(x):
                return True
        if self._transformed_types:
            return False
        return isinstance(x, torch.Tensor) or hasattr(x, "getbands")

    def _chosen(self, flat: list) -> list[bool]:
        named = any(F.is_image(x) and not F.is_pure_tensor(x) for x in flat)
        chosen, plain = [], not named
        for x in flat:
            wanted = self._takes(x)
            if wanted and F.is_pure_tensor(x):
                wanted, plain = plain, False
            chosen.append(wanted)
        return chosen

    def extra_repr(self) -> str:
        told = []
        for name, value in vars(self).items():
            if name.startswith("_") or name == "training":
                continue
            if isinstance(value, (bool, int, float, str, tuple, list, enum.Enum)):
                shown = value.value if isinstance(value, F.InterpolationMode) else value
                told.append(f"{name}={shown}")
        return ", ".join(told)


class RandomlyApplied(Transform):
    """A transform that happens with probability ``p``."""

    def __init__(self, p: float = 0.5):
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        super().__init__()
        self.p = p

    def forward(self, *inputs):
        whole = inputs if len(inputs) > 1 else inputs[0]
        self.check_inputs(tree_flatten(whole)[0])
        return whole if chance() >= self.p else super().forward(*inputs)


def _checked(transforms) -> None:
    if not isinstance(transforms, (list, tuple, nn.ModuleList)):
        raise TypeError("Argument transforms should be a sequence of callables")
    if not len(transforms):
        raise ValueError("Pass at least one transform")


class Compose(Transform):
    """One transform after the other."""

    def __init__(self, transforms):
        super().__init__()
        _checked(transforms)
        self.transforms = transforms

    def forward(self, *inputs):
        several = len(inputs) > 1
        for t in self.transforms:
            out = t(*inputs)
            inputs = out if several else (out,)
        return out

    def extra_repr(self) -> str:
        return "\n".join(f"    {t}" for t in self.transforms)


class RandomApply(Transform):
    """All of them with probability ``p``, or none."""

    def __init__(self, transforms, p: float = 0.5):
        super().__init__()
        if not isinstance(transforms, (list, tuple, nn.ModuleList)):
            raise TypeError("Argument transforms should be a sequence of callables or a "
                            "`nn.ModuleList`")  # fmt: skip
        self.transforms = transforms
        if not 0.0 <= p <= 1.0:
            raise ValueError("`p` should be a floating point value in the interval [0.0, 1.0].")
        self.p = p

    def forward(self, *inputs):
        several = len(inputs) > 1
        if chance() >= self.p:
            return inputs if several else inputs[0]
        for t in self.transforms:
            out = t(*inputs)
            inputs = out if several else (out,)
        return inputs if several else inputs[0]

    def extra_repr(self) -> str:
        return "\n".join(f"    {t}" for t in self.transforms)


class RandomChoice(Transform):
    """One of them, by chance."""

    def __init__(self, transforms, p: list[float] | None = None):
        if not isinstance(transforms, (list, tuple)):
            raise TypeError("Argument transforms should be a sequence of callables")
        p = [1] * len(transforms) if p is None else p
        if len(p) != len(transforms):
            raise ValueError(f"Length of p doesn't match the number of transforms: {len(p)} != "
                             f"{len(transforms)}")  # fmt: skip
        super().__init__()
        self.transforms, self.p = transforms, [x / sum(p) for x in p]

    def forward(self, *inputs):
        return self.transforms[int(torch.multinomial(torch.tensor(self.p), 1))](*inputs)


class RandomOrder(Transform):
    """All of them in a random order."""

    def __init__(self, transforms):
        if not isinstance(transforms, (list, tuple)):
            raise TypeError("Argument transforms should be a sequence of callables")
        super().__init__()
        self.transforms = transforms

    def forward(self, *inputs):
        several = len(inputs) > 1
        for i in torch.randperm(len(self.transforms)).tolist():
            out = self.transforms[i](*inputs)
            inputs = out if several else (out,)
        return inputs if several else inputs[0]
