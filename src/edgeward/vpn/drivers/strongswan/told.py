"""What charon was told: which connections are between which peers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Told:
    def __init__(self) -> None:
        self._ids: dict[str, tuple[str, ...]] = {}
        self._names: dict[str, str] = {}

    def tell(self, name: str, connections: Iterable[str]) -> None:
        """These, and no others, are between the peers of a name; none: charon knows it no more."""
        for one in self._ids.pop(name, ()):
            if self._names.get(one) == name:
                del self._names[one]
        ids = tuple(dict.fromkeys(connections))
        self._names.update(dict.fromkeys(ids, name))
        if ids:
            self._ids[name] = ids

    def name(self, connection: str) -> str | None:
        """Give charon's name of its peers; of two the one told last."""
        return self._names.get(connection)

    def names(self, connection: str) -> Sequence[str]:
        """Give all of its peers: of several only where somebody was killed before he took the former away."""
        return [name for name, ids in self._ids.items() if connection in ids]

    def ids(self, name: str) -> Sequence[str]:
        return self._ids.get(name, ())
