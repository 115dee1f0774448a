"""What has to change so that what is stored becomes what somebody desires: decided, not done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from edgeward.declaration.document import plain
from edgeward.declaration.model import Change, Declared, Key, Stored
from edgeward.errors import Conflict, Invalid, Problem


def plan(
    desired: Iterable[Declared],
    stored: Mapping[Key, Stored],
    source: str,
    *,
    keep: bool = False,
    take_over: bool = False,
) -> tuple[Change, ...]:
    """Give the changes that make ``source`` own exactly ``desired``; empty where that is so already.

    Objects of ``source`` that are not desired go, unless ``keep``. An object of another source is not
    touched, be its value equal or not: who owns an object must not depend on what it says. It is
    a Conflict that names the object and its source, or, with ``take_over``, becomes ours.
    """
    wanted = {declared.key: declared for declared in desired}
    foreign = [(d, stored[k]) for k, d in wanted.items() if k in stored and stored[k].source != source]
    if foreign and not take_over:
        raise Conflict(_of_others([s for _, s in foreign]))
    changes = [change for d in wanted.values() if (change := step(d, stored.get(d.key), source))]
    if not keep:
        mine = (s for s in stored.values() if s.source == source and s.key not in wanted)
        changes += [removal(s, source) for s in mine]
    return tuple(changes)


def step(declared: Declared, stored: Stored | None, source: str) -> Change | None:
    """Give the change that makes one object as declared and owned by ``source``; None where it is."""
    if stored is None:
        return Change("create", declared.key, None, plain(declared.value))
    if stored.source == source and (stored.value is declared.value or stored.value == declared.value):
        return None
    taken_from = stored.source if stored.source != source else None
    return Change("change", declared.key, plain(stored.value), plain(declared.value), taken_from)


def removal(stored: Stored, source: str) -> Change:
    taken_from = stored.source if stored.source != source else None
    return Change("delete", stored.key, plain(stored.value), None, taken_from)


def own(stored: Stored, source: str, take_over: bool) -> None:
    """Raise Conflict where an object is another source's and is not to be taken over."""
    if stored.source != source and not take_over:
        raise Conflict(_of_others([stored]))


def placed(problems: Iterable[Problem], desired: Iterable[Declared], file: str | None) -> Invalid | Conflict:
    """Give what to raise for problems between objects.

    Those of desired objects are Invalid, with their lines; where only objects of others suffer, it is a
    Conflict that names them.
    """
    lines = {str(d.key): d.line for d in desired}
    problems = list(problems)
    mine = [p for p in problems if p.object in lines]
    if not mine:
        named = "; ".join(f"{p.object}: {p.message}" for p in problems[:5])
        return Conflict(f"something else still needs what this takes away: {named}")
    return Invalid(*(Problem(p.field, p.message, lines[str(p.object)], file, p.object) for p in mine[:1000]))


def _of_others(stored: list[Stored]) -> str:
    named = ", ".join(f"{s.key} (source {s.source})" for s in stored[:5])
    more = f" and {len(stored) - 5} more" if len(stored) > 5 else ""
    belong, them = ("belong", "them") if len(stored) > 1 else ("belongs", "it")
    return f"{named}{more} {belong} to another source; take {them} over (--take-over) or leave {them} out"
