"""torchvision.models._api: which models there are, and the enumerations of their weights.

``weights.json`` holds the facts: for each model its enumeration and what ``pretrained=True`` means,
for each enumeration its members. The weights are files of the hub's cache.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
import json
import sys
import warnings
from collections.abc import Callable, Iterable
from enum import Enum
from importlib import resources
from urllib.error import HTTPError, URLError

from torchlike import hub

_URL = "https://download.pytorch.org/models/"
_VOC = [
    "__background__",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
]
BUILTIN_MODELS: dict[str, Callable] = {}


@functools.cache
def _table() -> dict:
    text = resources.files(__package__).joinpath("weights.json").read_text(encoding="utf-8")
    return json.loads(text)


@functools.cache
def imagenet_categories() -> tuple[str, ...]:
    """The names of ImageNet's 1000 classes."""
    text = resources.files(__package__).joinpath("imagenet.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())


class _Meta(dict):
    """What is known of weights; the names of the classes are read when they are asked for."""

    def __missing__(self, key):
        if key != "categories" or "set" not in self.__dict__:
            raise KeyError(key)
        self[key] = list(imagenet_categories() if self.__dict__["set"] == "imagenet" else _VOC)
        return self[key]

    def get(self, key, default=None):
        try:
            return self[key]
        except KeyError:
            return default

    def __contains__(self, key) -> bool:
        return super().__contains__(key) or (key == "categories" and "set" in self.__dict__)


@dataclasses.dataclass
class Weights:
    """Where weights are, the transforms for their images, and what else is known of them."""

    url: str
    transforms: Callable
    meta: dict

    def __eq__(self, other) -> bool:
        return isinstance(other, Weights) and self.url == other.url

    __hash__ = None


class WeightsEnum(Enum):
    """The weights that there are for a model."""

    @classmethod
    def verify(cls, obj):
        """The member that ``obj`` is or names; raises ``TypeError`` for another model's."""
        if obj is None or isinstance(obj, cls):
            return obj
        if isinstance(obj, str):
            return cls[obj.replace(cls.__name__ + ".", "")]
        raise TypeError(
            f"Invalid Weight class provided; expected {cls.__name__} but received "
            f"{type(obj).__name__}."
        )

    @property
    def url(self) -> str:
        """Where the file can be fetched; its last part is its name in the hub's cache."""
        return self.value.url

    @property
    def transforms(self) -> Callable:
        """What makes the transforms for images of these weights."""
        return self.value.transforms

    @property
    def meta(self) -> dict:
        """``num_params``, ``categories``, ``min_size``, ``_metrics`` and so on."""
        return self.value.meta

    def get_state_dict(self, *args, **kwargs) -> dict:
        """The weights from ``torch.hub.get_dir()/checkpoints``, fetched unless they are there.

        Raises ``URLError`` that names the file and the directory where neither is possible.
        """
        try:
            return hub.load_state_dict_from_url(self.url, *args, **kwargs)
        except HTTPError:
            raise
        except (URLError, TimeoutError) as error:
            name = self.url.rpartition("/")[2]
            raise URLError(
                f"{getattr(error, 'reason', error)}; the weights {self} are read from the file "
                f"{name} in {hub.get_dir()}/checkpoints: put it there, or set TORCH_HOME"
            ) from error

    def __repr__(self) -> str:
        return f"{type(self).__name__}.{self._name_}"

    __str__ = __repr__

    def __deepcopy__(self, memo):
        return self


def _weights(name: str, entry: dict) -> Weights:
    entry = dict(entry)
    file, preset, kind = entry.pop("file"), entry.pop("transforms"), entry.pop("set", None)

    def transforms(**changed):
        """The transforms of these weights; arguments take the place of their own."""
        from torchlike._runner.torchvision.transforms import _presets
        from torchlike._runner.torchvision.transforms.functional import InterpolationMode

        options = {**preset, **changed}
        if isinstance(options.get("interpolation"), str):
            options["interpolation"] = InterpolationMode(options["interpolation"])
        made = _presets.SemanticSegmentation if kind == "voc" else _presets.ImageClassification
        return made(**options)

    meta = _Meta(entry)
    meta["min_size"] = tuple(meta["min_size"])
    if kind is not None:
        meta.__dict__["set"] = kind
    elif "FEATURES" in name:
        meta["categories"] = None
    return Weights(_URL + file, transforms, meta)


@functools.cache
def _enum(name: str) -> type[WeightsEnum]:
    """The enumeration of a name, made once."""
    entries, members = _table()["enums"][name], {}
    for key, entry in entries.items():
        members[key] = members[entry] if isinstance(entry, str) else _weights(key, entry)
    return WeightsEnum(name, members)


def _warn(text: str) -> None:
    # 3: the line that called the builder.
    warnings.warn(text, UserWarning, stacklevel=4)


def _modern(args: tuple, kwargs: dict, order: tuple, old: dict) -> None:
    """Arguments as they were before 0.13, as today's: positional ones, and ``pretrained``.

    ``old`` has for each parameter of weights its old name and the member that True means.
    """
    if args:
        named = [repr(name) for name in order[: len(args)]]
        told = named[0] if len(named) == 1 else f"{', '.join(named[:-1])}, and {named[-1]}"
        told = told if len(named) != 2 else " and ".join(named)
        if len(args) > len(order):
            raise TypeError(f"takes at most {len(order)} arguments but {len(args)} were given")
        kwargs.update(zip(order, args, strict=False))
        _warn(
            f"Using {told} as positional parameter(s) is deprecated since 0.13 and may be removed "
            "in the future. Please use keyword parameter(s) instead."
        )
    for name, (before, meant) in old.items():
        given = kwargs.get(name)
        if before not in kwargs and (given is None or isinstance(given, (WeightsEnum, str))):
            continue
        if before in kwargs:
            given = kwargs.pop(before)
            _warn(
                f"The parameter '{before}' is deprecated since 0.13 and may be removed in the "
                f"future, please use '{name}' instead."
            )
        if given and isinstance(given, (bool, int)):
            if meant is None:
                raise ValueError("No weights available for this model")
            latest = type(meant)
            text = (
                f"The current behavior is equivalent to passing `{name}={meant}`. You can also use "
                f"`{name}={latest.__name__}.DEFAULT` to get the most up-to-date weights."
            )
        else:
            meant = None
            text = f"The current behavior is equivalent to passing `{name}=None`."
        _warn(
            f"Arguments other than a weight enum or `None` for '{name}' are deprecated since 0.13 "
            f"and may be removed in the future. {text}"
        )
        kwargs[name] = meant


def overwrite(kwargs: dict, name: str, value) -> None:
    """Set an argument that the weights or the model's name fix; raises ``ValueError`` where the
    caller has chosen another."""
    if kwargs.setdefault(name, value) != value:
        raise ValueError(
            f"The parameter '{name}' expected value {value} but got {kwargs[name]} instead."
        )


def _load(make: Callable, weights, progress: bool, kwargs: dict):
    """A model of ``make(**kwargs)`` with these weights."""
    if weights is not None and weights.meta["categories"] is not None:
        overwrite(kwargs, "num_classes", len(weights.meta["categories"]))
    model = make(**kwargs)
    if weights is not None:
        model.load_state_dict(weights.get_state_dict(progress=progress, check_hash=True))
    return model


def register(
    space: dict, name: str, make: Callable, fixed: dict | None = None, load: Callable = _load,
    backbone: str | None = None,
) -> None:  # fmt: skip
    """Put the builder ``name`` and the enumeration of its weights into a module's names.

    ``make`` makes the network, ``fixed`` are arguments that the name says, ``load`` makes it with
    weights; ``backbone`` names the model whose weights a part of it may begin with.
    """
    enum_name, legacy = _table()["models"][name]
    enum = space[enum_name] = _enum(enum_name)
    old = {"weights": ("pretrained", enum[legacy] if legacy else None)}
    order = ("weights", "progress", "kwargs")
    if backbone is not None:
        base_name, base_legacy = _table()["models"][backbone]
        base = _enum(base_name)[base_legacy]
        old["weights_backbone"] = ("pretrained_backbone", base)
        order = ("weights", "progress", "num_classes", "aux_loss", "weights_backbone")

    def build(*args, **kwargs):
        _modern(args, kwargs, order, old)
        weights, progress = enum.verify(kwargs.pop("weights", None)), kwargs.pop("progress", True)
        for key, value in (fixed or {}).items():
            overwrite(kwargs, key, value)
        if backbone is not None:
            chosen = kwargs.get("weights_backbone", base)
            kwargs["weights_backbone"] = None if weights is not None else type(base).verify(chosen)
        return load(make, weights, progress, kwargs)

    build.__name__ = build.__qualname__ = name
    build.__module__ = space["__name__"]
    build.__doc__ = f"The model {name}, with ``weights`` of ``{enum_name}`` or initial ones."
    build.weights = enum
    space[name] = BUILTIN_MODELS[name] = build
    space["__all__"] += [name, enum_name]


def list_models(module=None, include=None, exclude=None) -> list[str]:
    """The names of the models, of one module or of all; patterns of the shell choose among them."""

    def matching(patterns: Iterable[str] | str) -> set[str]:
        patterns = [patterns] if isinstance(patterns, str) else patterns
        return {name for p in patterns for name in fnmatch.filter(names, p)}

    names = {
        name for name, build in BUILTIN_MODELS.items()
        if module is None or build.__module__.rpartition(".")[0] == module.__name__
    }  # fmt: skip
    found = matching(include) if include else names
    return sorted(found - matching(exclude) if exclude else found)


def get_model_builder(name: str) -> Callable:
    """The function that builds a model; raises ``ValueError`` for a name there is not."""
    try:
        return BUILTIN_MODELS[name.lower()]
    except KeyError:
        raise ValueError(f"Unknown model {name}") from None


def get_model(name: str, **config):
    """The model of a name, built with these arguments."""
    return get_model_builder(name)(**config)


def get_model_weights(name) -> type[WeightsEnum]:
    """The enumeration of a model's weights, by its name or by its builder."""
    build = name if callable(name) else get_model_builder(name)
    return build.weights


def get_weight(name: str) -> WeightsEnum:
    """The member that ``"ResNet50_Weights.DEFAULT"`` names; raises ``ValueError`` for none."""
    enum, _, value = name.partition(".")
    if not value:
        raise ValueError(f"Invalid weight name provided: '{name}'.")
    if enum not in _table()["enums"]:
        raise ValueError(f"The weight enum '{enum}' for the specific method couldn't be retrieved.")
    return _enum(enum)[value]


def _unpickled(name: str, member: str) -> WeightsEnum:
    return _enum(name)[member]


WeightsEnum.__reduce_ex__ = lambda self, protocol: (_unpickled, (type(self).__name__, self._name_))


def import_families(package: str, names: Iterable[str]) -> None:
    """Put the public names of a package's modules into the package."""
    import importlib

    space = vars(sys.modules[package])
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        space.update({key: getattr(module, key) for key in module.__all__})
