"""The sections of an ``ipsec.conf``, with included files, ``%default`` and ``also=`` (ipsec.conf(5))."""

from __future__ import annotations

import base64
import re
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgeward.cli.imports.found import text
from edgeward.errors import Invalid

_DEPTH: Final = 10
_MOST_FILES: Final = 1000
_MOST_SECTIONS: Final = 10_000
_PSK: Final = re.compile(r"(?P<ids>[^{}]*?):\s*PSK\b\s*(?P<secret>.*)", re.IGNORECASE | re.DOTALL)
"""An id may have colons of its own, as 2001:db8:: has."""
_ANYBODY: Final = frozenset({"%any", "%any6", "0.0.0.0", "::"})  # noqa: S104 - as it is written there


@dataclass
class Conf:
    """Connections by name, each with its own fields; ``notes`` say what could not be read."""

    conns: dict[str, dict[str, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def fields(self, name: str) -> Mapping[str, str]:
        """Give all that holds for a connection: its own, those it names, and the defaults; the first wins."""
        found: dict[str, str] = {}
        for section in (*self._with_also(name, ()), "%default"):
            for key, value in self.conns.get(section, {}).items():
                found.setdefault(key, value)
        return found

    def _with_also(self, name: str, above: tuple[str, ...]) -> Iterator[str]:
        if name in above or len(above) > _DEPTH:
            return
        yield name
        for other in self.conns.get(name, {}).get("also", "").split():
            if other not in self.conns:
                self.notes.append(f"conn {name}: also={other} names no conn")
            yield from self._with_also(other, (*above, name))


def read(path: Path) -> Conf:
    """Read a file with what it includes; raises Invalid where it cannot be read or is something else."""
    conf, files = Conf(), [0]
    _take(conf, path, 0, files)
    if not conf.conns.keys() - {"%default"}:
        what = "there is no conn in it or in what it includes"
        raise Invalid(f"{path}: {what}; name an ipsec.conf of Openswan or Libreswan")
    return conf


def _take(conf: Conf, path: Path, depth: int, files: list[int]) -> None:
    files[0] += 1
    if depth > _DEPTH or files[0] > _MOST_FILES:
        raise Invalid(f"{path}: it includes too many files, or itself")
    section: dict[str, str] | None = None
    for number, line in enumerate(text(path).splitlines(), 1):
        bare = _without_comment(line).strip()
        if not bare:
            continue
        if line[:1].isspace():
            if section is not None:
                _field(conf, section, bare, f"{path}:{number}")
            continue
        word, _, rest = bare.partition(" ")
        word, rest = (word, rest.strip()) if rest else (bare.split()[0], bare[len(bare.split()[0]) :].strip())
        section = None
        if word == "conn":
            if len(conf.conns) > _MOST_SECTIONS:
                raise Invalid(f"{path}: it has over {_MOST_SECTIONS:,} conns")
            section = conf.conns.setdefault(rest, {})
        elif word == "include":
            for found in _included(path, rest):
                _take(conf, found, depth + 1, files)
        elif word not in ("config", "version"):
            conf.notes.append(f"{path}:{number}: '{word[:40]}' is no section; it was passed over")


def _field(conf: Conf, section: dict[str, str], bare: str, place: str) -> None:
    key, equals, value = bare.partition("=")
    if not equals:
        conf.notes.append(f"{place}: no field and value; it was passed over")
        return
    key, value = key.strip().lower(), value.strip().strip('"')
    if key == "also":
        section["also"] = f"{section.get('also', '')} {value}".strip()
    else:
        section[key] = value


def _included(path: Path, pattern: str) -> list[Path]:
    """Give the files that an ``include`` names, which may have ``*`` in it."""
    at = Path(pattern)
    try:
        found = Path("/").glob(pattern.lstrip("/")) if at.is_absolute() else path.parent.glob(pattern)
        return sorted(one for one in found if one.is_file())
    except (OSError, ValueError, NotImplementedError):
        return []


def _without_comment(line: str, quotes: str = '"') -> str:
    """Cut off a comment: a ``#`` at the beginning or after a blank, outside of quotation marks."""
    quoted = ""
    for index, letter in enumerate(line):
        begins = index == 0 or line[index - 1].isspace()
        if letter == quoted:
            quoted = ""
        elif not quoted and letter in quotes and (letter == '"' or begins):
            quoted = letter
        elif letter == "#" and not quoted and begins:
            return line[:index]
    return line


# --- secrets ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Key:
    """A pre-shared key and whose it is; no ids: anybody's."""

    ids: frozenset[str]
    secret: bytes = field(repr=False)


def keys(path: Path) -> tuple[list[Key], list[str]]:
    """Read ``ipsec.secrets`` with what it includes; give the pre-shared keys, and notes on the rest."""
    found: list[Key] = []
    notes: list[str] = []
    _take_keys(path, found, notes, 0)
    return found, notes


def _take_keys(path: Path, found: list[Key], notes: list[str], depth: int) -> None:
    if depth > _DEPTH or len(found) > _MOST_SECTIONS:
        raise Invalid(f"{path}: it includes too many files, or itself")
    for number, entry in _entries(text(path)):
        if entry.split()[0] == "include":
            for one in _included(path, entry.removeprefix("include").strip()):
                _take_keys(one, found, notes, depth + 1)
            continue
        key = _PSK.fullmatch(entry)
        if key is None:
            notes.append(f"{path}:{number}: no pre-shared key; it was passed over")
            continue
        try:
            words = frozenset(shlex.split(key["ids"])) - _ANYBODY
            found.append(Key(words, _secret(key["secret"])))
        except (ValueError, UnicodeEncodeError):
            notes.append(f"{path}:{number}: the key is not spelled as one; it was passed over")


def _entries(content: str) -> Iterator[tuple[int, str]]:
    """Give (line, entry): an entry goes on in lines that begin with a blank."""
    begun: tuple[int, str] | None = None
    for number, line in enumerate(content.splitlines(), 1):
        bare = _without_comment(line, "\"'").rstrip()
        if begun is not None and line[:1].isspace() and bare.strip():
            begun = begun[0], f"{begun[1]} {bare.strip()}"
        elif bare.strip():
            if begun is not None:
                yield begun
            begun = number, bare.strip()
    if begun is not None:
        yield begun


def _secret(value: str) -> bytes:
    """Give the bytes of ``"text"``, ``0xHEX`` or ``0sBASE64`` (ttodata(3)); raises ValueError."""
    value = value.strip()
    if value[:1] in ('"', "'") and len(value) > 1 and value[-1] == value[0]:
        return value[1:-1].encode()
    if value.lower().startswith("0x"):
        return bytes.fromhex(value[2:].replace("_", ""))
    if value.lower().startswith("0s"):
        return base64.b64decode(value[2:], validate=True)
    if not value or " " in value:
        raise ValueError
    return value.encode()
