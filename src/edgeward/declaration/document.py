"""One document that declares everything: read with every problem at once, and written for export."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeward.declaration import notation, secrets
from edgeward.declaration.model import DEFAULT_PROJECT, Declared, Key, Kind, Stored
from edgeward.declaration.references import ReadReference, resolve
from edgeward.declaration.secrets import Carried, Door
from edgeward.declaration.settings import overlaid
from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem
from edgeward.parsing import Value, join
from edgeward.parsing import parse as parse_value
from edgeward.sentences import no_such_field

VERSION: Final = 1
_MOST_PROBLEMS: Final = 1000

Kinds = Mapping[str, Kind]
_NOTHING: Final[Mapping[Key, Stored]] = {}


@dataclass(frozen=True)
class Document:
    """What a document declares, in its order."""

    file: str
    objects: tuple[Declared, ...]


def parse(
    text: bytes,
    file: str,
    kinds: Kinds,
    read_secret: ReadReference | None = None,
    environment: Mapping[str, str] | None = None,
    door: Door | None = None,
) -> Document:
    """Read a YAML document; raises Invalid with every problem, each with file, line and field.

    ``environment`` may hold settings that win over the document's, see ``settings.overlaid``. Secrets go
    through ``door``; without one the document is to be looked at only.
    """
    data = overlaid(notation.read(text, file), environment or {}, kinds)
    return from_data(data, file, kinds, read_secret, door)


def from_data(
    data: Any,
    file: str,
    kinds: Kinds,
    read_secret: ReadReference | None = None,
    door: Door | None = None,
    known: Mapping[Key, Stored] = _NOTHING,
) -> Document:
    """Read a document from data (of ``notation.read``, or of JSON, which has no lines).

    What equals one of ``known`` is that very value: a document that changes little needs little memory.
    """
    reading = _Reading(data, file, kinds, read_secret, door or Carried(), known)
    reading.read()
    if reading.problems:
        raise Invalid(*_bounded(reading.problems))
    return Document(file, tuple(reading.found))


def sendable(data: Any, kinds: Kinds, read_secret: ReadReference) -> dict[str, Any]:
    """Give the data of a document as it is sent to who reads it: with the texts that references stand for.

    Raises Invalid where there is no such text, or no document.
    """
    if not isinstance(data, Mapping):
        raise Invalid("a document is a mapping; begin with version: 1")
    return {key: _texts(content, kinds.get(key), read_secret) for key, content in data.items()}


def _texts(content: Any, kind: Kind | None, read: ReadReference) -> Any:
    if kind is None or not (kind.references or kind.secrets or kind.urls):
        return content
    if not kind.single:
        return [_text(i, kind, read) for i in content] if isinstance(content, list) else content
    return _text(content, kind, read)


def _text(item: Any, kind: Kind, read: ReadReference) -> Any:
    door = Carried()
    item, problems = _resolved(item, kind, read, door)
    if problems:
        raise Invalid(*problems)
    return secrets.hidden(item, kind, door.written)


def written(
    objects: Iterable[tuple[Key, Value]], kinds: Kinds, secret: Callable[[Any], Any] = secrets.shown
) -> dict[str, Any]:
    """Give the document that declares these objects, defaults left out; ``parse`` reads it back.

    ``secret`` says how secrets stand in it; else they are kept.
    """
    document: dict[str, Any] = {"version": VERSION}
    for key, value in sorted(objects, key=lambda o: (list(kinds).index(o[0].kind), o[0])):
        data = secrets.hidden(plain(value), kinds[key.kind], secret)
        if kinds[key.kind].single:
            document[key.kind] = data
        else:
            document.setdefault(key.kind, []).append(data)
    return document


def plain(value: Value) -> dict[str, Any]:
    """Give a value as JSON data to be stored: its name, and whatever is not the default."""
    data = value.model_dump(mode="json", exclude_defaults=True)
    name = getattr(value, "name", None)
    return data if name is None else {"name": name, **data}


def shown(value: Value, kind: Kind) -> dict[str, Any]:
    """Give a value as JSON data to be looked at: without its secrets."""
    data: dict[str, Any] = secrets.hidden(plain(value), kind)
    return data


def read_object(data: Any, key: Key, kind: Kind, door: Door) -> Declared:
    """Read the value of one object, whose name and project the key says; raises Invalid."""
    if isinstance(data, Mapping) and not kind.single:
        _agree(data, key, kind)
        data = {**data, "name": key.name, "project": key.project}
    data, problems = _resolved(data, kind, None, door)
    if problems:
        raise Invalid(*problems)
    return Declared(key, parse_value(kind.model, data))


def _resolved(data: Any, kind: Kind, read: ReadReference | None, door: Door) -> tuple[Any, list[Problem]]:
    data, wrong = resolve(data, kind.references, read)
    data, hidden = secrets.take(data, kind, read, door)
    return data, [*wrong, *hidden]


def _agree(data: Mapping[str, Any], key: Key, kind: Kind) -> None:
    said = {field: data[field] for field in ("name", "project") if field in data}
    if isinstance(said.get("name"), str):
        said["name"] = kind.spelling(said["name"])
    for field, wanted in (("name", key.name), ("project", key.project)):
        if said.get(field, wanted) != wanted:
            raise Invalid(Problem(field, f"the address of the object says '{wanted}'; leave this field out"))


class _Reading:
    def __init__(
        self,
        data: Any,
        file: str,
        kinds: Kinds,
        read_secret: ReadReference | None,
        door: Door,
        known: Mapping[Key, Stored],
    ) -> None:
        self._data = data
        self._file = file
        self._kinds = kinds
        self._read_secret = read_secret
        self._door = door
        self._known = known
        self._lines: dict[tuple[str, ...], int | None] = {}
        self.found: list[Declared] = []
        self.problems: list[Problem] = []

    def read(self) -> None:
        if self._data is None:
            self.problems.append(Problem("", "the document is empty; begin with version: 1", 1, self._file))
        elif not isinstance(self._data, Mapping):
            self._add("", "a document is a mapping; begin with version: 1")
        else:
            self._version()
            for key in self._data:
                self._section(key)

    def _version(self) -> None:
        if "version" not in self._data:
            self._add("version", "this field is required; write version: 1")
        elif self._data["version"] != VERSION or isinstance(self._data["version"], (bool, float)):
            self._add("version", f"this Edgeward reads version {VERSION}; write version: 1")

    def _section(self, key: Any) -> None:
        content = self._data[key]
        if key == "version":
            return
        if key not in self._kinds:
            self._add(printable(str(key)), no_such_field(str(key), ["version", *self._kinds]))
        elif content is None:
            return
        elif self._kinds[key].single:
            self._item(self._kinds[key], content, key, notation.line_of(self._data, key))
        elif not isinstance(content, list):
            self._add(key, f"give a list of {key}, each beginning with a hyphen")
        else:
            lines = content.lines if isinstance(content, notation.Seq) else [None] * len(content)
            for index, item in enumerate(content):
                if len(self.problems) > 10 * _MOST_PROBLEMS:
                    return  # enough to go on with: the rest is told when these are put right
                self._item(self._kinds[key], item, f"{key}[{index}]", lines[index])

    def _item(self, kind: Kind, item: Any, where: str, line: int | None) -> None:
        item, problems = _resolved(item, kind, self._read_secret, self._door)
        for problem in problems:
            self._add(join(where, (problem.field,)), problem.message)
        if problems:
            return
        try:
            value = parse_value(kind.model, item, where)
        except Invalid as error:
            for problem in error.problems:
                self._add(problem.field, problem.message)
            return
        self._declare(kind, value, where, line)

    def _declare(self, kind: Kind, value: Value, where: str, line: int | None) -> None:
        key = key_of(kind, value)
        identity = (kind.name, key.name) if kind.unique_everywhere else (kind.name, key.project, key.name)
        if identity in self._lines:
            first = self._lines[identity]
            place = f", first in line {first}" if first else ""
            self._add(where, f"'{key.name}' is declared twice{place}; keep one of them", str(key))
            return
        self._lines[identity] = line
        stored = self._known.get(key)
        if stored is not None and stored.value == value:
            key, value = stored.key, stored.value
        self.found.append(Declared(key, value, line))

    def _add(self, field: str, message: str, about: str | None = None) -> None:
        line = notation.line_of(self._data, field)
        self.problems.append(Problem(field, message, line, self._file, about))


def key_of(kind: Kind, value: Value) -> Key:
    if kind.single:
        return Key(kind.name, DEFAULT_PROJECT, kind.name)
    return Key(kind.name, value.project, value.name)  # type: ignore[attr-defined]


def _bounded(problems: Sequence[Problem]) -> list[Problem]:
    if len(problems) <= _MOST_PROBLEMS:
        return list(problems)
    more = len(problems) - _MOST_PROBLEMS
    return [*problems[:_MOST_PROBLEMS], Problem("", f"and {more:,} more problems", None, problems[0].file)]
