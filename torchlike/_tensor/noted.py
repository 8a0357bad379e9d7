"""What a program has set on a tensor beside its data, as ``tensor.__dict__`` shows it."""

from __future__ import annotations

from collections.abc import MutableMapping


class Noted(dict):
    """An instance's attributes but for some that are hidden; to write to it is to set them."""

    def __init__(self, own: dict, hidden: frozenset):
        self._own, self._hidden = own, hidden
        super().__init__({k: v for k, v in own.items() if k not in hidden})

    def __setitem__(self, name, value):
        if name not in self._hidden:
            self._own[name] = value
        super().__setitem__(name, value)

    def __delitem__(self, name):
        super().__delitem__(name)
        if name not in self._hidden:
            del self._own[name]

    def pop(self, name, *default):
        """Take an attribute away; raises ``KeyError`` if it is not there and no default given."""
        if name not in self:
            return super().pop(name, *default)
        value = self[name]
        del self[name]
        return value

    def __reduce_ex__(self, protocol):
        return dict, (dict(self),)  # a copy belongs to no tensor

    update, setdefault = MutableMapping.update, MutableMapping.setdefault
    popitem, clear = MutableMapping.popitem, MutableMapping.clear
