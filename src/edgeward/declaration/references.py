"""``{file: PATH}`` and ``{env: NAME}`` where a text could stand: read once, where the document is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal

from edgeward.declaration.notation import Map, Seq
from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem
from edgeward.parsing import join

MOST_BYTES: Final = 1024 * 1024

ReadReference = Callable[[Literal["file", "env"], str], str]
"""Gives the text behind a reference, or raises Invalid with one sentence."""


def reader(directory: Path, environment: Mapping[str, str]) -> ReadReference:
    """Give a reader for a file in ``directory``: relative paths start there."""

    def read(kind: Literal["file", "env"], name: str) -> str:
        if kind == "env":
            if name not in environment:
                raise Invalid(f"there is no environment variable {printable(name)}; set it, or name another")
            return _unicode(name, environment[name])
        return _file(directory / name)

    return read


def resolve(
    data: Any, paths: Sequence[tuple[str, ...]], read: ReadReference | None
) -> tuple[Any, list[Problem]]:
    """Give ``data`` with its references replaced, and what was wrong with them; ``data`` stays as it was."""
    problems: list[Problem] = []

    def found(leaf: Any, field: str) -> Any:
        if not isinstance(leaf, Mapping):
            return leaf
        try:
            return text_of(leaf, read)
        except Invalid as error:
            problems.append(Problem(field, str(error)))
            return ""

    for path in paths:
        data = replaced(data, path, found)
    return data, problems


def replaced(data: Any, path: tuple[str, ...], found: Callable[[Any, str], Any]) -> Any:
    """Give ``data`` with what ``found`` gives for each value at ``path``, which it gets with its field."""
    return _replaced(data, path, (), found)


def _replaced(
    data: Any, path: tuple[str, ...], done: tuple[Any, ...], found: Callable[[Any, str], Any]
) -> Any:
    if not path:
        return found(data, join("", done))
    step, rest = path[0], path[1:]
    if step == "*" and isinstance(data, (list, tuple)):
        items = [_replaced(item, rest, (*done, i), found) for i, item in enumerate(data)]
        return _like(data, items)
    if step == "*" and isinstance(data, Mapping):
        for key, inner in data.items():
            value = _replaced(inner, rest, (*done, key), found)
            data = data if value is inner else _with(data, key, value)
        return data
    if isinstance(data, Mapping) and step in data:
        value = _replaced(data[step], rest, (*done, step), found)
        return data if value is data[step] else _with(data, step, value)
    return data


def text_of(reference: Mapping[str, Any], read: ReadReference | None) -> str:
    """Give the text that ``{file: PATH}`` or ``{env: NAME}`` stands for; raises Invalid."""
    kind, name = next(iter(reference.items()), (None, None))
    if len(reference) != 1 or kind not in ("file", "env") or not isinstance(name, str):
        raise Invalid("write the text itself, {file: PATH} or {env: NAME}")
    if read is None:
        raise Invalid(f"{{{kind}: …}} is not read over the API; send the text itself")
    return read("file" if kind == "file" else "env", name)


def _with(data: Mapping[str, Any], key: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(data, Map):
        return {**data, key: value}
    copy = Map(data.line)
    copy.update(data)
    copy[key] = value
    copy.lines = data.lines
    return copy


def _like(data: Sequence[Any], items: list[Any]) -> Sequence[Any]:
    if all(a is b for a, b in zip(data, items, strict=True)):
        return data
    if not isinstance(data, Seq):
        return items
    copy = Seq(data.line)
    copy.extend(items)
    copy.lines = data.lines
    return copy


def _unicode(name: str, text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise Invalid(f"the environment variable {printable(name)} is not UTF-8") from error
    return text


def _file(path: Path) -> str:
    try:
        with path.open("rb") as file:
            text = file.read(MOST_BYTES + 1)
        if len(text) > MOST_BYTES:
            raise Invalid(f"{path} is over {MOST_BYTES // 1024} KB")
        return text.decode()
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; make it readable, or name another file") from error
    except ValueError as error:  # no UTF-8, or a NUL in the path
        raise Invalid(f"'{printable(str(path))}' is not a readable text file (UTF-8)") from error
