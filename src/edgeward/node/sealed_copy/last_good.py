"""The sealed copy of everything the controller said: what is served when all else is dead.

Only names, times and hashes stand in the clear; a record is bound to its place and these by its
context, so that a copied or altered row does not open.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from edgeward.errors import Invalid, Unavailable
from edgeward.log import logger
from edgeward.node.certificates.secrets import Kept
from edgeward.node.sealed_copy.copying import (
    PLACE,
    UNREAD,
    Copying,
    addresses_context,
    certificate_context,
    object_context,
)
from edgeward.sealing import Seal

log = logger(__name__)
T = TypeVar("T")
_FORMAT = "2"
_FAILURES = (sqlite3.Error, UnicodeDecodeError)
"""The second where SQLite's own message quotes the file, and that is no text any more."""
_BROKEN = frozenset((sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB))
_SCHEMA = """
CREATE TABLE IF NOT EXISTS meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS objects (
  kind TEXT, project TEXT, name TEXT, record BLOB NOT NULL, PRIMARY KEY (kind, project, name));
CREATE TABLE IF NOT EXISTS certificates (
  name TEXT PRIMARY KEY, project TEXT NOT NULL, revision INTEGER NOT NULL, not_after REAL NOT NULL,
  fingerprint TEXT NOT NULL, digest TEXT NOT NULL, record BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS addresses (host TEXT PRIMARY KEY, record BLOB NOT NULL);
"""
_NOT_THE_FILE = frozenset(
    getattr(sqlite3, f"SQLITE_{why}") for why in ("BUSY", "CANTOPEN", "FULL", "NOMEM", "PERM", "READONLY")
)
_UNREADABLE = frozenset(
    getattr(sqlite3, f"SQLITE_IOERR_{why}") for why in ("READ", "SHORT_READ", "CORRUPTFS", "DATA")
)
"""Of all that may go wrong with a disk: what says that the file itself is lost. On a full one, for example,
SQLite cannot make its shared memory beside the file (``IOERR_SHMSIZE``)."""
_OBJECT = "SELECT record FROM objects WHERE kind = ? AND project = ? AND name = ?"
_FIND = (
    "SELECT name, project, revision, not_after, fingerprint, digest, record"
    " FROM certificates WHERE name = ? AND not_after > ?"
)


class LastGood:
    """Reads on the caller's thread, writes on one of its own; one file, one process."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self._path = path
        self._seal = seal
        self._thread = ThreadPoolExecutor(1, "last-good")
        self._reader, self._writer = _open_both(path, seal)
        self._in_use = threading.Lock()
        self.damaged = False
        """A record did not open: what is here is not everything."""
        self.hidden: set[str] = set()
        """Certificates that the disk could not be told to replace or remove."""

    # --- reading ------------------------------------------------------------------------------

    def since(self) -> tuple[int, str]:
        """Give the revision held in whole, and the identity of the store it is from; (0, "") for none."""
        row = self._one("SELECT value FROM meta WHERE key = ?", PLACE)
        place = None if row is None else self._opened(row[0], PLACE)
        if place is None or self.damaged:
            return 0, ""
        revision, store = json.loads(place)
        return int(revision), str(store)

    def objects(self, *, unread: bool = False) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
        """Give (kind, project, name, value) of every declared object that opens; ``unread``: of those that
        were not understood when they came.
        """
        for kind, project, name, record in self._all("SELECT kind, project, name, record FROM objects"):
            if kind.startswith(UNREAD) is not unread:
                continue
            value = self._opened(record, object_context(kind, project, name))
            if value is not None:
                yield kind.removeprefix(UNREAD), project, name, json.loads(value)

    def declared(self, kind: str, project: str, name: str) -> dict[str, Any] | None:
        """Give one declared object, as far as it was understood."""
        row = self._one(_OBJECT, kind, project, name)
        value = None if row is None else self._opened(row[0], object_context(kind, project, name))
        return None if value is None else dict(json.loads(value))

    def find(self, names: Sequence[str], now: float) -> Kept | None:
        """Give the certificate under the first of these names that has one still valid."""
        for name in names:
            row = None if name in self.hidden else self._one(_FIND, name, now)
            if row is None:
                continue
            found, project, revision, not_after, fingerprint, digest, record = row
            clear = (found, project, revision, not_after, fingerprint, digest)
            tls = self._opened(record, certificate_context(*clear))
            if tls is not None:
                return Kept(*clear, tls)
        return None

    def stored(self, name: str, now: float) -> bytes | None:
        """Give the record under exactly this name, while its certificate is valid."""
        found = self.find([name], now)
        return None if found is None else found.tls

    def certificates(self) -> int:
        row = self._one("SELECT count(*) FROM certificates WHERE instr(name, '/') = 0")
        return int(row[0]) if row else 0

    def expiring(self, before: float) -> int:
        """Give how many certificates expire before a time."""
        row = self._one(
            "SELECT count(*) FROM certificates WHERE not_after <= ? AND instr(name, '/') = 0", before
        )
        return int(row[0]) if row else 0

    def addresses(self) -> dict[str, list[str]]:
        """Give the last good DNS answers by host name."""
        found = {}
        for host, record in self._all("SELECT host, record FROM addresses"):
            plain = self._opened(record, addresses_context(host))
            if plain is not None:
                found[host] = [str(address) for address in json.loads(plain)]
        return found

    def _one(self, sql: str, *values: object) -> Any:
        try:
            return self._reader.execute(sql, values).fetchone()
        except _FAILURES as error:
            self._report(f"{self._path.name}: {error}")
            return None

    def _all(self, sql: str) -> Iterator[Any]:
        try:
            yield from self._reader.execute(sql)
        except _FAILURES as error:  # a file torn in the middle: what came before it is good
            self._report(f"{self._path.name}: {error}")

    def _opened(self, record: object, context: str) -> bytes | None:
        try:
            return self._seal.open(record if isinstance(record, bytes) else b"", context)
        except Invalid as error:
            self._report(str(error))
            return None

    def _report(self, problem: str) -> None:
        if not self.damaged:
            log.error(
                "the sealed copy is damaged; asking the controller for everything again", problem=problem
            )
        self.damaged = True

    # --- writing ------------------------------------------------------------------------------

    async def write(self, work: Callable[[Copying], T]) -> T:
        """Run ``work`` on the writing thread; raises Unavailable where the disk will not take it.

        A file too broken to be written is put aside, and the copy begun anew: ``damaged`` until the
        whole state is in it.
        """
        broken: list[sqlite3.Connection] = []

        def run() -> T:
            with self._in_use:
                writer = self._writer
                try:
                    return work(Copying(writer, self._seal))
                except _FAILURES as error:
                    with contextlib.suppress(sqlite3.Error):
                        writer.rollback()
                    if _is_broken(error):
                        broken.append(writer)
                    raise Unavailable(f"cannot write {self._path}: {error}") from error

        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, run)
        except Unavailable as error:
            if broken:
                self._begin_anew(broken[0], str(error.__cause__))
            raise

    def _begin_anew(self, broken: sqlite3.Connection, problem: str) -> None:
        """Replace the file, unless that was done since; on the thread of those who read."""
        with self._in_use:
            if self._writer is not broken:
                return
            self._report(f"{self._path.name}: {problem}")
            for connection in (self._reader, self._writer):
                with contextlib.suppress(sqlite3.Error):
                    connection.close()  # before the new file is there: closing removes a WAL by its name
            _put_aside(self._path)
            self._reader, self._writer = _open_both(self._path, self._seal)

    def close(self) -> None:
        self._thread.shutdown(wait=True)
        self._writer.close()
        self._reader.close()


def _open_both(path: Path, seal: Seal) -> tuple[sqlite3.Connection, sqlite3.Connection]:
    """Open the file; one that is no database, or another node's or key's, is put aside and begun anew."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    for attempt in (1, 2):
        try:
            writer = _connect(path)
            if _is_ours(writer, seal):
                return _connect(path), writer
            problem = "it is of another version, damaged, or sealed under another key"
        except (sqlite3.DatabaseError, UnicodeDecodeError) as error:
            problem = str(error)
            if is_of_the_disk(error):
                remedy = "see that its disk has space and that this user may write there"
                raise Unavailable(f"cannot open {path}: {error}; {remedy}") from error
        if attempt == 1:
            log.error("the sealed copy cannot be used; beginning anew", file=str(path), problem=problem)
            _put_aside(path)
    raise Unavailable(f"cannot begin a new sealed copy at {path}")


def _connect(path: Path) -> sqlite3.Connection:
    if not path.exists():
        path.touch(mode=0o600)
    connection = sqlite3.connect(path, timeout=5.0, isolation_level=None, check_same_thread=False)
    # A power cut may take the newest transactions: the controller sends them again.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16384", "mmap_size=268435456"):
        connection.execute(f"PRAGMA {pragma}")
    connection.executescript(_SCHEMA)
    return connection


def _is_ours(connection: sqlite3.Connection, seal: Seal) -> bool:
    mine = {"format": _FORMAT, "key": seal.key_id.hex()}
    meta = dict(connection.execute("SELECT key, value FROM meta WHERE key IN ('format', 'key')"))
    with contextlib.closing(sqlite3.connect(":memory:")) as fresh:
        fresh.executescript(_SCHEMA)
        whole = _tables(fresh) == _tables(connection)
    if (meta and meta != mine) or not whole:
        connection.close()
        return False
    connection.executemany("REPLACE INTO meta VALUES (?, ?)", mine.items())
    return True


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in connection.execute("SELECT sql FROM sqlite_master WHERE sql NOT NULL")}


def _is_broken(error: Exception) -> bool:
    if isinstance(error, (UnicodeDecodeError, sqlite3.ProgrammingError)):
        return True  # the latter: closed, where an earlier attempt to begin anew failed half way
    return _code(error) in _BROKEN


def is_of_the_disk(error: Exception) -> bool:
    """Whether it says nothing about what stands in the file, so that it may be read another time."""
    if _code(error) == sqlite3.SQLITE_IOERR:
        return getattr(error, "sqlite_errorcode", 0) not in _UNREADABLE
    return _code(error) in _NOT_THE_FILE


def _code(error: Exception) -> int:
    """Give SQLite's primary result code, 0 where there is none."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _put_aside(path: Path) -> None:
    for suffix in ("-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    with contextlib.suppress(FileNotFoundError):
        path.replace(path.with_name(path.name + ".unusable"))
