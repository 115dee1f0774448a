"""Declared secrets: sealed where a document is read, and told apart by a digest from there on.

A secret is given as a text, as a reference, or as ``{kept: DIGEST}``: the one that is stored in this place.
Where a URL may stand for everybody to see, a text is that; then a secret one is ``{secret: TEXT}``, or one
of the others.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

from edgeward.declaration.model import Change, Declared, Key, Kind, Stored
from edgeward.declaration.references import ReadReference, replaced, text_of
from edgeward.errors import Invalid, Problem
from edgeward.sealing import Seal, Sealed
from edgeward.url_secrets import holds_secret, masked

MOST_BYTES: Final = 64 * 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{32}")
_URL: Final = re.compile(r"https?://[^\s/]+(/\S*)?")
_NONE: Final[Mapping[str, str]] = {"sealed": "", "digest": ""}
_ELSEWHERE: Final = "leave it out: secrets have fields of their own"
_WHOLE: Final = (
    "keep the whole URL secret, as {env: NAME} or {file: PATH} (over the API {secret: URL}), or send that"
    " as authorization"
)

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


def take(data: Any, kind: Kind, read: ReadReference | None, door: Door) -> tuple[Any, list[Problem]]:
    """Give ``data`` with its secrets taken through the door, and what was wrong with them and with URLs."""
    problems: list[Problem] = []

    def found(leaf: Any, field: str, url: bool) -> Any:
        if leaf is None or (url and not isinstance(leaf, Mapping)):
            return leaf
        try:
            return (_taken_url if url else _taken)(leaf, read, door).model_dump()
        except Invalid as error:
            problems.append(Problem(field, str(error)))
            return _NONE

    def looked_at(leaf: Any, field: str, remedy: str) -> Any:
        if isinstance(leaf, str) and holds_secret(leaf):
            problems.append(Problem(field, f"whoever may read this sees the secret in this URL; {remedy}"))
        return leaf

    for path in kind.secrets:
        data = replaced(data, path, partial(found, url=path in kind.urls))
    for path in kind.urls:
        remedy = _WHOLE if path in kind.secrets else _ELSEWHERE
        data = replaced(data, path, partial(looked_at, remedy=remedy))
    return data, problems


def _taken_url(leaf: Mapping[str, Any], read: ReadReference | None, door: Door) -> Sealed:
    def checked(text: str) -> Sealed:
        if not _URL.fullmatch(text):
            raise Invalid("what stands there is no URL; write one as https://HOST/PATH")
        return door(text)

    if set(leaf) == {"secret"}:
        return _taken(leaf["secret"], None, checked)
    return _taken(leaf, read, checked)


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
    if kind is None:
        return data
    for path in kind.urls:  # before there were rules for these, anything was stored
        data = replaced(data, path, lambda leaf, _field: masked(leaf) if isinstance(leaf, str) else leaf)
    return _secrets_as(data, kind, show)


def _secrets_as(data: Any, kind: Kind, show: Callable[[Any], Any]) -> Any:
    def found(leaf: Any, _field: str, url: bool) -> Any:
        if leaf is None or (url and isinstance(leaf, str)):
            return leaf
        made = show(leaf)
        return {"secret": made} if url and isinstance(made, str) else made

    for path in kind.secrets:
        data = replaced(data, path, partial(found, url=path in kind.urls))
    return data


def without(data: Any, kind: Kind | None) -> Any:
    """Give the JSON data of an object with nothing at all of its secrets: for nodes."""
    return hidden(data, kind, lambda _leaf: dict(_NONE))


def again(data: Any, kind: Kind, seal: Seal) -> Any:
    """Give the JSON data of an object with its secrets sealed with the present key; raises Invalid."""
    return _secrets_as(data, kind, lambda leaf: Sealed.model_validate(leaf).again(seal).model_dump())


def hidden_change(change: Change, kinds: Mapping[str, Kind]) -> Change:
    kind = kinds.get(change.key.kind)
    if kind is None or not (kind.secrets or kind.urls):
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
            if not isinstance(leaf, Mapping) or leaf["sealed"]:
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
        if isinstance(leaf, Mapping):
            found.append(leaf)
        return leaf

    for path in paths:
        replaced(data, path, kept)
    return found
