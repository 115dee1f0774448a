"""Declared secrets: sealed where a document is read, and told apart by a digest from there on.

A secret is given as a text, as a reference, or as ``{kept: DIGEST}``: the one that is stored in this place.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from edgeward.declaration.model import Change, Declared, Key, Kind, Stored
from edgeward.declaration.references import ReadReference, replaced, text_of
from edgeward.errors import Invalid, Problem
from edgeward.sealing import Seal, Sealed

MOST_BYTES: Final = 64 * 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_NONE: Final[Mapping[str, str]] = {"sealed": "", "digest": ""}

Door = Callable[[str], Sealed]
"""Takes the text of a secret and gives what values hold of it."""


def sealing(seal: Seal) -> Door:
    """Give the door of a store."""
    return lambda text: Sealed.of(text, seal)


class Carried:
    """The door of who has no store: to look at a document, or to send it on."""

    def __init__(self) -> None:
        self._texts: dict[str, str] = {}
        self._digests: dict[str, str] = {}

    def __call__(self, text: str) -> Sealed:
        digest = self._digests.setdefault(text, f"carried {len(self._digests)}")
        self._texts[digest] = text
        return Sealed(sealed="", digest=digest)

    def written(self, leaf: Any) -> Any:
        """Give a secret as a document may say it to somebody else."""
        return self._texts.get(leaf["digest"]) or shown(leaf)


def take(
    data: Any, paths: Sequence[tuple[str, ...]], read: ReadReference | None, door: Door
) -> tuple[Any, list[Problem]]:
    """Give ``data`` with its secrets taken through the door, and what was wrong with them."""
    problems: list[Problem] = []

    def found(leaf: Any, field: str) -> Any:
        if leaf is None:
            return None
        try:
            return _taken(leaf, read, door).model_dump()
        except Invalid as error:
            problems.append(Problem(field, str(error)))
            return _NONE

    for path in paths:
        data = replaced(data, path, found)
    return data, problems


def _taken(leaf: Any, read: ReadReference | None, door: Door) -> Sealed:
    if isinstance(leaf, Mapping) and set(leaf) == {"kept"}:
        digest = leaf["kept"]
        if not isinstance(digest, str) or not _DIGEST.fullmatch(digest):
            raise Invalid("{kept: …} takes the digest that an export shows here; or give the secret itself")
        return Sealed(sealed="", digest=digest)
    if isinstance(leaf, Mapping):
        if len(leaf) != 1 or not {"file", "env"} & set(leaf):
            raise Invalid("write the secret itself, {file: PATH}, {env: NAME} or {kept: DIGEST}")
        leaf = text_of(leaf, read).removesuffix("\n").removesuffix("\r")  # as editors and echo end files
    if not isinstance(leaf, str):
        raise Invalid("give the secret as a text, in quotation marks where it looks like a number")
    return door(_checked(leaf))


def _checked(text: str) -> str:
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise Invalid("the secret is not valid Unicode") from error
    if not text:
        raise Invalid("the secret is empty; give one, or leave the field out")
    if size > MOST_BYTES:
        raise Invalid(f"the secret is over {MOST_BYTES // 1024} KB; is it the right one?")
    return text


def shown(leaf: Any) -> Any:
    """Give a secret as people see it."""
    if isinstance(leaf, Mapping) and set(leaf) == {"sealed", "digest"}:
        return {"kept": leaf["digest"]}
    return leaf


def hidden(data: Any, kind: Kind | None, show: Callable[[Any], Any] = shown) -> Any:
    """Give the JSON data of an object as it may be shown."""
    for path in () if kind is None else kind.secrets:
        data = replaced(data, path, lambda leaf, _field: None if leaf is None else show(leaf))
    return data


def without(data: Any, kind: Kind | None) -> Any:
    """Give the JSON data of an object with nothing at all of its secrets: for nodes."""
    return hidden(data, kind, lambda _leaf: dict(_NONE))


def again(data: Any, kind: Kind, seal: Seal) -> Any:
    """Give the JSON data of an object with its secrets sealed with the present key; raises Invalid."""
    return hidden(data, kind, lambda leaf: Sealed.model_validate(leaf).again(seal).model_dump())


def hidden_change(change: Change, kinds: Mapping[str, Kind]) -> Change:
    kind = kinds.get(change.key.kind)
    if kind is None or not kind.secrets:
        return change
    return replace(change, before=hidden(change.before, kind), after=hidden(change.after, kind))


def filled(
    desired: Sequence[Declared], stored: Mapping[Key, Stored], kinds: Mapping[str, Kind]
) -> tuple[tuple[Declared, ...], list[Problem]]:
    """Give what is desired with every ``{kept: DIGEST}`` filled from what is stored in its place."""
    problems: list[Problem] = []
    found = tuple(_filled(one, stored.get(one.key), kinds[one.key.kind], problems) for one in desired)
    return found, problems


def _filled(declared: Declared, stored: Stored | None, kind: Kind, problems: list[Problem]) -> Declared:
    if not kind.secrets or not any(not leaf["sealed"] for leaf in _leaves(_data(declared), kind.secrets)):
        return declared
    data = _data(declared)
    for path in kind.secrets:
        there = {leaf["digest"]: leaf for leaf in _leaves(_data(stored), (path,))}

        def found(leaf: Any, field: str, there: Mapping[str, Any] = there) -> Any:
            if leaf is None or leaf["sealed"]:
                return leaf
            if leaf["digest"] not in there:
                message = f"no secret {leaf['digest']} is stored here to be kept; give the secret itself"
                problems.append(Problem(field, message, declared.line, object=str(declared.key)))
            return there.get(leaf["digest"], leaf)

        data = replaced(data, path, found)
    return replace(declared, value=kind.model.model_validate(data))


def _data(one: Declared | Stored | None) -> Any:
    return {} if one is None else one.value.model_dump(mode="json", exclude_defaults=True)


def _leaves(data: Any, paths: Iterable[tuple[str, ...]]) -> list[Mapping[str, Any]]:
    found: list[Mapping[str, Any]] = []

    def kept(leaf: Any, _field: str) -> Any:
        if leaf is not None:
            found.append(leaf)
        return leaf

    for path in paths:
        replaced(data, path, kept)
    return found
