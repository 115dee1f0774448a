"""What another program keeps, as its reader found it: certificates, accounts, and what could not be read."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import chain, count
from pathlib import Path
from typing import Any, Final

from edgeward.errors import Invalid
from edgeward.secret import Secret

_MOST_BYTES: Final = 256 * 1024
_NO_FILE: Final = (FileNotFoundError, IsADirectoryError, NotADirectoryError)


@dataclass(frozen=True)
class Lineage:
    """A certificate and where it comes from; ``cert`` is PEM with its chain.

    ``directory`` is the URL of the ACME authority, None for the program's own authority, whose
    certificates are not worth keeping: only the ``names`` are.
    """

    place: str
    cert: str
    key: Secret[str]
    directory: str | None
    account: str | None = None
    names: tuple[str, ...] = ()
    preferred_chain: str | None = None


@dataclass(frozen=True)
class Account:
    """An account at an ACME authority; ``id`` is what lineages call it, ``key`` is PEM."""

    id: str
    directory: str
    url: str
    key: Secret[str]
    email: str | None = None


@dataclass
class Found:
    lineages: list[Lineage] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What was left out and why, and what is left to do."""


def text(path: Path) -> str:
    """Read a file of a sane size; raises Invalid naming it."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        remedy = "name a file" if isinstance(error, _NO_FILE) else "run this as a user who may read it"
        raise Invalid(f"{path}: {os.strerror(error.errno or 0)}; {remedy}") from error
    if len(data) > _MOST_BYTES:
        raise Invalid(f"{path}: it has over {_MOST_BYTES // 1024} KB, which no certificate needs")
    return data.decode("utf-8", "replace")


def json_object(path: Path) -> Mapping[str, Any]:
    """Read a JSON file; raises Invalid naming it."""
    try:
        found = json.loads(text(path))
    except (ValueError, RecursionError) as error:
        raise Invalid(f"{path} is not JSON") from error
    if not isinstance(found, dict):
        raise Invalid(f"{path} is not a JSON object")
    return found


def fresh_name(first: str, taken: Container[str]) -> str:
    """Give a name that no other has: this one, else with a number behind it, within 100 letters."""
    others = (f"{first[:90]}-{number}" for number in count(2))
    return next(name for name in chain([first], others) if name not in taken)


@contextmanager
def as_described(path: Path) -> Iterator[None]:
    """Raise Invalid naming the file where what is in it has another shape than its program gives it."""
    try:
        yield
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise Invalid(f"{path} does not say what its program writes there") from error


def directory_of(path: Path, *expected: str) -> Path:
    """Give a directory that has one of the expected entries; raises Invalid."""
    if not path.is_dir():
        raise Invalid(f"{path} is not a directory; name the one that holds {' and '.join(expected)}")
    if not os.access(path, os.X_OK, effective_ids=True):
        raise _closed(path)
    present = [path / name for name in expected if (path / name).is_dir()]
    if not present:
        raise Invalid(f"{path} has no {' or '.join(expected)}; name the directory that holds it")
    for one in present:
        listable(one)
    return path


def listable(path: Path) -> Path:
    """Give a directory whose entries may be listed and read; raises Invalid, where a glob would find none."""
    if path.is_dir() and not os.access(path, os.R_OK | os.X_OK, effective_ids=True):
        raise _closed(path)
    return path


def is_file(path: Path) -> bool:
    """Whether there is such a file; raises Invalid where that cannot be seen."""
    try:
        return path.is_file()
    except PermissionError as error:
        raise _closed(path) from error


def _closed(path: Path) -> Invalid:
    return Invalid(f"{path}: {os.strerror(errno.EACCES)}; run this as a user who may read it")
