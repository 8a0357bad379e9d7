"""torch.fx.immutable_collections: lists and dicts that nobody changes."""

from __future__ import annotations

from torchlike.func import trees

__all__ = ["immutable_dict", "immutable_list"]


def _refuse(name: str):
    def refuse(self, *args, **kwargs):
        raise TypeError(
            f"{type(self).__name__!r} object does not support mutation. If you are attempting to "
            "modify the kwargs or args of a torch.fx.Node object,\ninstead create a new copy of it "
            "and assign the copy to the node:\n\n    new_args = ...  # copy and mutate args\n    "
            "node.args = new_args"
        )

    refuse.__name__ = name
    return refuse


class immutable_list(list):
    """A list that raises ``TypeError`` when it is changed."""

    def __hash__(self):
        return hash(tuple(self))

    def __reduce__(self):
        return type(self), (tuple(self),)


class immutable_dict(dict):
    """A dict that raises ``TypeError`` when it is changed."""

    def __hash__(self):
        return hash(frozenset(self.items()))

    def __reduce__(self):
        return type(self), (tuple(self.items()),)


for _kind, _names in (
    (immutable_list, "__delitem__ __iadd__ __imul__ __setitem__ append clear extend insert pop "
     "remove reverse sort"),
    (immutable_dict, "__delitem__ __ior__ __setitem__ clear pop popitem setdefault update"),
):  # fmt: skip
    for _name in _names.split():
        setattr(_kind, _name, _refuse(_name))

trees.NODES.setdefault(
    immutable_list, (lambda x: (list(x), None), lambda parts, _: immutable_list(parts))
)
trees.NODES.setdefault(
    immutable_dict,
    (
        lambda x: (list(x.values()), list(x)),
        lambda parts, keys: immutable_dict(zip(keys, parts, strict=True)),
    ),
)
