"""The way back to what was: decided, not done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from edgeward.declaration.document import plain
from edgeward.declaration.history import Was
from edgeward.declaration.model import Change, Key, Kind, Stored
from edgeward.errors import Conflict
from edgeward.parsing import Value, problems_of


@dataclass(frozen=True)
class Owned:
    """What an object is to be, and whose."""

    value: Value
    source: str


def read(was: Mapping[Key, Was], kinds: Mapping[str, Kind]) -> dict[Key, Owned | None]:
    """Give the values of what was; raises Conflict naming those that are not valid any more."""
    found: dict[Key, Owned | None] = {}
    wrong = []
    for key, one in was.items():
        found[key] = None
        if one.value is None:
            continue
        try:
            found[key] = Owned(kinds[key.kind].model.model_validate(one.value), one.source)
        except ValidationError as error:  # the rules got stricter since
            wrong.append(f"{key}: {problems_of(error)[0]}")
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        named = "; ".join(wrong[:5])
        raise Conflict(f"what was there then is not valid any more: {named}{more}; roll back other objects")
    return found


def way_back(wanted: Mapping[Key, Owned | None], stored: Mapping[Key, Stored]) -> tuple[Change, ...]:
    """Give the changes that make these objects what they were, with the source they had then."""
    steps = (_step(key, owned, stored.get(key)) for key, owned in sorted(wanted.items()))
    return tuple(step for step in steps if step is not None)


def _step(key: Key, wanted: Owned | None, stored: Stored | None) -> Change | None:
    if wanted is None:
        return (
            None if stored is None else Change("delete", key, plain(stored.value), None, owner=stored.source)
        )
    after = plain(wanted.value)
    if stored is None:
        return Change("create", key, None, after, owner=wanted.source)
    if (stored.value, stored.source) == (wanted.value, wanted.source):
        return None
    taken_from = stored.source if stored.source != wanted.source else None
    return Change("change", key, plain(stored.value), after, taken_from, wanted.source)


def of_files(changes: Sequence[Change]) -> Mapping[str, int]:
    """Give the files whose objects are changed, with how many of them: each will bring its own back."""
    sources: Iterable[str] = (s for c in changes for s in {c.owner, c.taken_from} if s is not None)
    return Counter(source for source in sources if source.startswith("file:"))
