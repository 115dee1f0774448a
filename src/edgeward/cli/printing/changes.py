"""Changes as people read them: one line an object, and field by field what it was and will be."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from edgeward.domain_name import printable

_SIGNS: Final = {"create": "+", "change": "~", "delete": "-"}
_DONE: Final = {"create": "created", "change": "changed", "delete": "deleted"}
_LONGEST: Final = 400

Change = Mapping[str, Any]


def lines(change: Change) -> Iterator[tuple[str, str]]:
    """Give a change as pairs of a sign (``+ - ~`` or blank) and a line."""
    yield headline(change)
    before, after = flat(change.get("before") or {}), flat(change.get("after") or {})
    for path in dict.fromkeys([*before, *after]):
        if before.get(path) == after.get(path):
            continue
        if path in before:
            yield "-", f"    {path}: {before[path]}"
        if path in after:
            yield "+", f"    {path}: {after[path]}"


def headline(change: Change) -> tuple[str, str]:
    taken = change.get("taken_from")
    note = f"  (taken over from {printable(str(taken))})" if taken else ""
    return _SIGNS.get(str(change["action"]), "?"), printable(str(change["key"])) + note


def summary(changes: Sequence[Change]) -> str:
    """Give ``2 created, 1 changed, 0 deleted``."""
    counts = {action: sum(c["action"] == action for c in changes) for action in _DONE}
    return ", ".join(f"{count} {_DONE[action]}" for action, count in counts.items())


def fields(change: Change) -> list[str]:
    """Give the top-level fields that differ."""
    before, after = change.get("before") or {}, change.get("after") or {}
    return [
        printable(name) for name in dict.fromkeys([*before, *after]) if before.get(name) != after.get(name)
    ]


def flat(data: Mapping[str, Any]) -> dict[str, str]:
    """Give every leaf of nested data by its path: ``backends[0].url``."""
    return dict(_leaves("", data))


def _leaves(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves(f"{path}.{printable(str(key))}" if path else printable(str(key)), inner)
    elif isinstance(value, list) and value:
        for index, inner in enumerate(value):
            yield from _leaves(f"{path}[{index}]", inner)
    elif path:
        text = json.dumps(value, ensure_ascii=False) if not isinstance(value, str) else value
        shown = text if text.isprintable() else json.dumps(text)
        yield path, shown if len(shown) <= _LONGEST else shown[:_LONGEST] + "…"
