"""YAML as plain data that remembers its lines; the one door to PyYAML.

Scalars are read by the core schema of YAML 1.2 (10.3.2): ``yes``, ``22:22`` and ``2026-01-01``
are text. What can hurt is refused: nesting beyond 64, aliases that unfold to more than a million
nodes, tags, keys that stand twice, anything over 64 MB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, Final, NoReturn

import yaml

from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem

MOST_BYTES: Final = 64 * 1024 * 1024
_MOST_DEPTH: Final = 64
_MOST_UNFOLDED: Final = 1_000_000
_MOST_PROBLEMS: Final = 1000

_INT = re.compile(r"[-+]?[0-9]{1,100}|0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_WORDS: Final[dict[str, Any]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_MAY_BE_NUMBER: Final = frozenset("0123456789+-.")
_STRING_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:str"})
_PLAIN_TAGS: Final = frozenset({"!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"})


class Map(dict[str, Any]):
    """A mapping with the line it starts on and the line of each key, both counted from 1."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: dict[str, int] = {}


class Seq(list[Any]):
    """A list with the line it starts on and the line of each item."""

    __slots__ = ("line", "lines")

    def __init__(self, line: int) -> None:
        super().__init__()
        self.line = line
        self.lines: list[int] = []


def read(text: bytes, file: str) -> Any:
    """Give what the YAML text says, maps and lists as Map and Seq; raises Invalid with every problem."""
    if len(text) > MOST_BYTES:
        raise Invalid(Problem("", f"a file has at most {MOST_BYTES // 1024**2} MB", 1, file))
    builder, plain = _Builder(file), _decoded(text, file)
    try:
        for event in yaml.parse(plain, Loader=yaml.CSafeLoader):
            builder.feed(event)
    except yaml.YAMLError as error:
        builder.problem(_line_of_error(error), _reason(error, plain))
    if builder.problems:
        raise Invalid(*builder.problems)
    return builder.result


def scalar(text: str) -> Any:
    """Give what a plain scalar means: null, a boolean, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _MAY_BE_NUMBER:
        return text
    if _INT.fullmatch(text):
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    return float(text) if _FLOAT.fullmatch(text) and math.isfinite(float(text)) else text


def line_of(data: Any, field: str) -> int | None:
    """Give the line of a field as problems name it (``backends[0].url``), or of what is around it."""
    line = getattr(data, "line", None)
    while field:
        step, field = _step(data, field)
        if step is None:
            break
        lines = getattr(data, "lines", None)
        with suppress(KeyError, IndexError, TypeError):  # a part that came from elsewhere has no lines
            line = lines[step]  # type: ignore[index]
        data = data[step]
    return line


def _step(data: Any, field: str) -> tuple[Any, str]:
    if isinstance(data, Mapping):
        name = field.removeprefix(".")
        fitting = [k for k in data if isinstance(k, str) and _leads(name, k)]
        return (best := max(fitting, key=len), name[len(best) :]) if fitting else (None, "")
    match = re.match(r"\[(\d{1,9})\]", field)
    if isinstance(data, list) and match and int(match[1]) < len(data):
        return int(match[1]), field[match.end() :]
    return None, ""


def _leads(field: str, key: str) -> bool:
    return bool(key) and field.startswith(key) and field[len(key) : len(key) + 1] in ("", ".", "[")


def _decoded(text: bytes, file: str) -> str:
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = text.count(b"\n", 0, error.start) + 1
        message = f"byte {error.start} is not UTF-8; save the file as UTF-8"
        raise Invalid(Problem("", message, line, file)) from error


def _line(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark is not None else 1


def _line_of_error(error: yaml.YAMLError) -> int:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    return mark.line + 1 if mark is not None else 1


def _reason(error: yaml.YAMLError, text: str) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is not None and any(
        line.startswith("\t", mark.column) for line in text.split("\n")[mark.line : mark.line + 1]
    ):
        return "is not YAML: tabs cannot indent YAML; use spaces"
    parts: Iterable[Any] = (getattr(error, "context", None), getattr(error, "problem", None))
    said = ", ".join(str(part) for part in parts if part)
    return f"is not YAML: {said or str(error).splitlines()[0]}"


class _Builder:
    """Fed with parser events; ``result`` is the data once all were fed."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._open: list[tuple[Map | Seq, str | None]] = []  # with the anchor
        self._key: list[str | None] = []  # of each open container
        self._anchors: dict[str, tuple[Any, int]] = {}  # with the number of nodes in it
        self._counts: list[int] = []
        self._unfolded = 0
        self._documents = 0
        self.problems: list[Problem] = []
        self.result: Any = None

    def problem(self, line: int, message: str, field: str = "") -> None:
        self.problems.append(Problem(field, message, line, self._file))
        if len(self.problems) >= _MOST_PROBLEMS:
            raise Invalid(*self.problems, Problem("", "and maybe more problems", None, self._file))

    def feed(self, event: yaml.Event) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.CollectionStartEvent):
            self._start(event)
        elif isinstance(event, yaml.CollectionEndEvent):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._stop(event, "a file holds one document; remove what follows ---")

    def _scalar(self, event: yaml.ScalarEvent) -> None:
        line = _line(event)
        if self._expects_key():
            self._take_key(event.value, line)
            return
        value: Any = event.value
        if event.tag is None and not event.style:  # libyaml says "" where plain
            value = scalar(event.value)
        elif event.tag is not None and event.tag not in _STRING_TAGS:
            self.problem(line, f"tags such as {printable(event.tag)} are not read here; leave it out")
        self._add(value, line, 1)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1)

    def _start(self, event: yaml.CollectionStartEvent) -> None:
        line = _line(event)
        if len(self._open) >= _MOST_DEPTH:
            self._stop(event, f"this is nested more than {_MOST_DEPTH} deep")
        if event.tag is not None and event.tag not in _PLAIN_TAGS:
            self.problem(line, f"tags such as {printable(event.tag)} are not read here; leave it out")
        if self._expects_key():
            self._stop(event, "a key is a plain text")
        container = Map(line) if isinstance(event, yaml.MappingStartEvent) else Seq(line)
        self._place(container, line)
        self._open.append((container, event.anchor))
        self._key.append(None)
        self._counts.append(1)

    def _end(self) -> None:
        container, anchor = self._open.pop()
        self._key.pop()
        count = self._counts.pop()
        if self._counts:
            self._counts[-1] += count
        if anchor is not None:
            self._anchors[anchor] = (container, count)

    def _alias(self, event: yaml.AliasEvent) -> None:
        line = _line(event)
        anchor = event.anchor or ""
        if anchor not in self._anchors:
            self._stop(event, f"there is no &{printable(anchor)} that ends before this *alias")
        value, count = self._anchors[anchor]
        self._unfolded += count
        if self._unfolded > _MOST_UNFOLDED:
            self._stop(event, f"aliases here unfold to more than {_MOST_UNFOLDED:,} values")
        if self._expects_key():
            self._take_key(str(value) if not isinstance(value, (Map, Seq)) else "*", line)
        else:
            self._add(value, line, count)

    def _expects_key(self) -> bool:
        return bool(self._open) and isinstance(self._open[-1][0], Map) and self._key[-1] is None

    def _take_key(self, key: str, line: int) -> None:
        container = self._open[-1][0]
        assert isinstance(container, Map)
        if key in container.lines:
            first = container.lines[key]
            self.problem(
                line, f"this key stands twice, first in line {first}; keep one of them", printable(key)
            )
        elif key == "<<":
            self.problem(line, "merging is not read here; write the fields out, or alias a whole value", key)
        container.lines[key] = line
        self._key[-1] = key

    def _add(self, value: Any, line: int, count: int) -> None:
        self._place(value, line)
        if self._counts:
            self._counts[-1] += count

    def _place(self, value: Any, line: int) -> None:
        if not self._open:
            self.result = value
            return
        container = self._open[-1][0]
        if isinstance(container, Map):
            key = self._key[-1]
            assert key is not None
            container[key] = value
            self._key[-1] = None
        else:
            container.append(value)
            container.lines.append(line)

    def _stop(self, event: yaml.Event, message: str) -> NoReturn:
        self.problem(_line(event), message)
        raise Invalid(*self.problems)


def write(data: Any) -> str:
    """Give YAML text that ``read`` understands as exactly this data; keys stay in their order."""
    text: str = yaml.dump(
        data, Dumper=_Writer, sort_keys=False, allow_unicode=True, default_flow_style=False, width=110
    )
    return text


class _Writer(yaml.SafeDumper):
    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """Quote what our core schema would read as something else than text; PyYAML quotes by YAML 1.1 only."""
    style = None
    if "\n" in text and text.replace("\n", "").isprintable() and text.isascii():
        style = "|"
    elif not text.isprintable():
        style = '"'
    elif not isinstance(scalar(text), str):
        style = "'"
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _represent_text)
