"""Labels of nodes, selectors of them, and where something is served: values and pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer, TypeAdapter, ValidationError

from edgeward.domain_name import printable
from edgeward.errors import Invalid
from edgeward.parsing import checked, problems_of

NAME: Final = "name"
"""The label that every node has by itself: its name."""
MOST_LABELS: Final = 32
_WORD: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?", re.ASCII)


def _word(text: str) -> str:
    if not _WORD.fullmatch(text):
        raise Invalid(
            f"'{printable(text)}' is no label: keys and values have 1 to 63 letters, digits, dots, hyphens,"
            " underscores and slashes, the first and the last a letter or digit"
        )
    return text


def _as_list(value: Any) -> Any:
    if not isinstance(value, Mapping):
        return value
    return {k: (v,) if isinstance(v, (str, bool, int, float)) else v for k, v in value.items()}


def _ordered(values: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted(set(values)))


def _written(selector: Mapping[str, Sequence[str]]) -> dict[str, str | list[str]]:
    return {k: v[0] if len(v) == 1 else list(v) for k, v in selector.items()}


Word = Annotated[str, Field(max_length=63), checked(_word)]
Labels = Annotated[dict[Word, Word], Field(max_length=MOST_LABELS)]
"""What operators say of a node: ``{region: eu, tier: gold}``."""
_Values = Annotated[tuple[Word, ...], Field(min_length=1, max_length=1000), AfterValidator(_ordered)]
Selector = Annotated[
    dict[Word, _Values],
    BeforeValidator(_as_list),
    Field(min_length=1, max_length=MOST_LABELS),
    PlainSerializer(_written, return_type=dict[str, str | list[str]]),
]
"""Which nodes: for each key one of the values, ``{region: eu, tier: [gold, silver]}``."""

Where = frozenset[frozenset[tuple[str, frozenset[str]]]]
"""Any of these, each of them all of these: keys with the values that will do."""
EVERYWHERE: Final[Where] = frozenset((frozenset(),))
NOWHERE: Final[Where] = frozenset()

_LABELS: Final[TypeAdapter[dict[str, str]]] = TypeAdapter(Labels)


def where(selector: Mapping[str, Sequence[str]] | None) -> Where:
    """Give where a selector selects; everywhere if there is none."""
    if selector is None:
        return EVERYWHERE
    return frozenset((frozenset((key, frozenset(values)) for key, values in selector.items()),))


def both(one: Where, other: Where) -> Where:
    """Give where both hold."""
    if one == EVERYWHERE or other == EVERYWHERE:
        return other if one == EVERYWHERE else one
    return frozenset(a | b for a in one for b in other if not _contradict(a, b))


def either(places: Iterable[Where]) -> Where:
    """Give where any of them holds; nowhere without any."""
    found: set[frozenset[tuple[str, frozenset[str]]]] = set()
    for place in places:
        if place == EVERYWHERE:
            return EVERYWHERE
        found |= place
    return frozenset(found)


def holds(place: Where, labels: Mapping[str, str]) -> bool:
    """Say whether a node of these labels (its name among them) is such a place."""
    return any(all(labels.get(key) in values for key, values in each) for each in place)


def disjoint(one: Mapping[str, Sequence[str]] | None, other: Mapping[str, Sequence[str]] | None) -> bool:
    """Say whether no node whatsoever can be selected by both."""
    return any(_contradict(a, b) for a in where(one) for b in where(other))


def shown(selector: Mapping[str, Sequence[str]]) -> str:
    """Give a selector as people write it: ``region: eu, tier: gold or silver``."""
    return ", ".join(f"{key}: {' or '.join(values)}" for key, values in selector.items())


def selector(data: Any) -> Mapping[str, Sequence[str]] | None:
    """Read a selector as objects are shown, with single values or lists."""
    return {k: (v,) if isinstance(v, str) else v for k, v in data.items()} if data else None


def read_labels(text: str) -> dict[str, str]:
    """Read labels as they are stored; raises Invalid where they are none."""
    try:
        return _LABELS.validate_json(text or "{}")
    except ValidationError as error:
        raise Invalid(f"labels as stored are not valid: {problems_of(error)[0]}") from error


def changes(words: Iterable[str], *, name: bool = False) -> tuple[dict[str, str], set[str]]:
    """Read ``key=value`` (to set) and ``key-`` (to remove); raises Invalid, also for the label ``name``
    where that is not to be given.
    """
    fresh: dict[str, str] = {}
    gone: set[str] = set()
    for word in words:
        key, equals, value = word.partition("=")
        if equals:
            fresh[_word(key)] = _word(value)
        elif word.endswith("-"):
            gone.add(_word(word[:-1]))
        else:
            raise Invalid(f"'{printable(word)}': write KEY=VALUE to set a label, and KEY- to remove one")
    if not name and (NAME in fresh or NAME in gone):
        raise Invalid("the label 'name' is the node's own name; choose another key")
    return fresh, gone


def _contradict(
    one: Iterable[tuple[str, frozenset[str]]], other: Iterable[tuple[str, frozenset[str]]]
) -> bool:
    return any(a == b and mine.isdisjoint(yours) for a, mine in one for b, yours in other)
