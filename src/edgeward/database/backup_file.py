"""The file of a backup: lines of JSON under gzip, and nothing of it is believed before all of it was checked.

The first line says what it is, the last one the SHA-256 of all before it. Between them stand small files
(``file``), and for each table a line with its columns, its rows, and a line with their number and digest.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from edgeward import durable
from edgeward.errors import Invalid, Unavailable

FORMAT: Final = 1
_LONGEST_LINE: Final = 64 * 1024 * 1024


@dataclass(frozen=True)
class Head:
    """What a backup is of. ``created`` is Unix seconds; ``schema`` the revision of its tables."""

    version: str
    schema: str
    created: float
    revision: int


class Writer:
    def __init__(self, out: gzip.GzipFile) -> None:
        self._out, self._digest = out, hashlib.sha256()

    def line(self, data: Any) -> None:
        encoded = json.dumps(data, default=_binary).encode() + b"\n"
        self._digest.update(encoded)
        self._out.write(encoded)

    def end(self) -> None:
        self._out.write(json.dumps({"sha256": self._digest.hexdigest()}).encode() + b"\n")


@contextmanager
def written(path: Path, head: Head) -> Iterator[Writer]:
    """Write a backup that only its owner can read: whole, or not at all. Raises Unavailable."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)  # in a container every backup may have the same process number
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                with gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=5, mtime=0) as packed:
                    writer = Writer(packed)
                    writer.line({"edgeward": "backup", "format": FORMAT, **asdict(head)})
                    yield writer
                    writer.end()
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
            durable.sync(path.parent)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise Unavailable(f"{path}: {error.strerror}; no backup was made") from error


def checked(path: Path) -> Head:
    """Read a whole backup through and give its head; raises Invalid where it is not as it was written."""
    digest, head, last = hashlib.sha256(), None, b""
    for line in _raw(path):
        digest.update(last)
        head, last = head or _head(line, path), line
    said = _parsed(last, path)
    if head is None or not isinstance(said, dict) or said.get("sha256") != digest.hexdigest():
        raise Invalid(f"{path} is not whole; take another backup")
    return head


def lines(path: Path) -> Iterator[Any]:
    """Give what stands between the first line and the last of a backup that was checked."""
    before: bytes | None = None
    for number, line in enumerate(_raw(path)):
        if number > 1 and before is not None:
            yield _parsed(before, path)
        before = line


def values(row: Sequence[Any]) -> list[Any]:
    """Give a row as the database takes it."""
    return [_bytes(value) if isinstance(value, Mapping) else value for value in row]


def file_of(line: Mapping[str, Any]) -> tuple[str, bytes]:
    """Give the name and content of a small file."""
    return str(line["file"]), _bytes(line["content"])


def _binary(value: object) -> dict[str, str]:
    if isinstance(value, (bytes, memoryview)):
        return {"base64": base64.b64encode(value).decode()}
    raise TypeError(f"a {type(value).__name__} in the store is not known to backups")


def _bytes(value: Mapping[str, Any]) -> bytes:
    return base64.b64decode(value["base64"], validate=True)


def _head(line: bytes, path: Path) -> Head:
    said = _parsed(line, path)
    if not isinstance(said, dict) or said.pop("edgeward", None) != "backup":
        raise Invalid(f"{path} is no backup of Edgeward")
    if said.pop("format", None) != FORMAT:
        raise Invalid(f"{path} was written by a newer Edgeward ({said.get('version')}); restore it with that")
    try:
        return Head(**said)
    except TypeError as error:
        raise Invalid(f"{path} is no backup of Edgeward") from error


def _raw(path: Path) -> Iterator[bytes]:
    try:
        with gzip.open(path, "rb") as packed:
            while line := packed.readline(_LONGEST_LINE):
                yield line
    except (gzip.BadGzipFile, zlib.error, EOFError) as error:
        raise Invalid(f"{path} is no backup of Edgeward, or not whole: {error}") from error
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; name a backup that this user may read") from error


def _parsed(line: bytes, path: Path) -> Any:
    try:
        return json.loads(line)
    except ValueError as error:
        raise Invalid(f"{path} is no backup of Edgeward, or not whole") from error
