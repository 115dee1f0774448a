"""What is declared as this controller last saw it: what is shown while the database cannot be asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from edgeward.api.usecases import Filter
from edgeward.declaration.model import Key, Kind, Stored


def listed(
    stored: Iterable[Stored], kind: Kind, where: Filter, limit: int, after: tuple[str, str] | None
) -> Sequence[Stored]:
    """Give objects as ``declaration.store.listed`` does: by name, then project, those after ``after``."""
    chosen = [
        one
        for one in stored
        if one.key.kind == kind.name
        and where.project in (None, one.key.project)
        and where.source in (None, one.source)
        and _named(one.key.name, where.name)
        and (after is None or (one.key.name, one.key.project) > after)
    ]
    return sorted(chosen, key=lambda one: (one.key.name, one.key.project))[:limit]


def named(stored: Iterable[Stored], name: str, kind: Kind) -> Stored | None:
    """Give the object of this name in any project."""
    return next((one for one in stored if (one.key.kind, one.key.name) == (kind.name, name)), None)


def counts(keys: Iterable[Key], project: str | None) -> Mapping[str, int]:
    return Counter(key.kind for key in keys if project in (None, key.project))


def _named(name: str, wanted: str | None) -> bool:
    if wanted is None:
        return True
    return name.startswith(wanted[:-1]) if wanted.endswith("*") else name == wanted
