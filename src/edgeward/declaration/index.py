"""Declared objects by something they have."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Iterator

from edgeward.declaration.model import Key


class Index:
    """Keys by something they have; most places hold one key, which is kept without a container."""

    def __init__(self) -> None:
        self._places: dict[Hashable, Key | dict[Key, None]] = {}

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Hashable]:
        return iter(self._places)

    def __getitem__(self, place: Hashable) -> Collection[Key]:
        found = self._places.get(place, ())
        return (found,) if isinstance(found, Key) else found

    def add(self, place: Hashable, key: Key) -> None:
        found = self._places.setdefault(place, key)
        if isinstance(found, dict):
            found[key] = None
        elif found != key:
            self._places[place] = {found: None, key: None}

    def discard(self, place: Hashable, key: Key) -> None:
        found = self._places.get(place)
        if isinstance(found, dict):
            found.pop(key, None)
        if found == key or not found:
            self._places.pop(place, None)
