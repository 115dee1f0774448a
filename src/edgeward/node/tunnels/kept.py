"""What this node knows of its gateways when nobody can be asked: as declared, and as last loaded; sealed.

Nothing stands in the clear but ids. A file that cannot be used is put aside: the controller says again what
should be, and what daemons know is loaded anew, which touches what differs.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from edgeward.errors import Invalid, Unavailable
from edgeward.log import logger
from edgeward.node.sealed_copy.last_good import is_of_the_disk
from edgeward.sealing import Seal
from edgeward.vpn.desired import Connection, Gateway
from edgeward.vpn.plan import Loaded

log = logger(__name__)
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS gateways (gateway TEXT PRIMARY KEY, record BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS loaded (
  gateway TEXT, connection TEXT, record BLOB NOT NULL, PRIMARY KEY (gateway, connection)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS used (namespace TEXT PRIMARY KEY) WITHOUT ROWID;
"""


class Kept:
    """``whole``: what is here is all there was; not so where a file had to be put aside. Raises Unavailable
    where the disk keeps it from being opened, which says nothing about what is in it."""

    def __init__(self, path: Path, seal: Seal) -> None:
        self._path = path
        self._seal = seal
        self.whole = True
        self._file = self._opened()

    def gateways(self) -> dict[str, Gateway]:
        found = {}
        for id_, record in self._rows("SELECT gateway, record FROM gateways"):
            value = self._read(record, f"node/tunnels/{id_}")
            with contextlib.suppress(ValidationError):
                found[id_] = Gateway.model_validate(value)
        return found

    def loaded(self) -> dict[str, dict[str, Loaded]]:
        """Give how connections were loaded last, by gateway and id."""
        found: dict[str, dict[str, Loaded]] = {}
        for id_, name, record in self._rows("SELECT gateway, connection, record FROM loaded"):
            value = self._read(record, f"node/tunnels/{id_}/{name}")
            with contextlib.suppress(ValidationError, KeyError, TypeError):
                one = Loaded(Connection.model_validate(value["connection"]), bool(value["active"]))
                found.setdefault(id_, {})[name] = one
        return found

    def used(self) -> set[str]:
        """Give the namespaces that this node had made, or used, and has not let go of."""
        return {str(row[0]) for row in self._rows("SELECT namespace FROM used")}

    def use(self, namespaces: Iterable[str]) -> None:
        with self._writing():
            self._file.executemany("REPLACE INTO used VALUES (?)", [(name,) for name in namespaces])

    def let_go(self, namespace: str) -> None:
        with self._writing():
            self._file.execute("DELETE FROM used WHERE namespace = ?", (namespace,))

    def keep(self, put: Iterable[Gateway], remove: Iterable[str]) -> None:
        """Keep what should be, all of it at once."""
        rows = [(one.id, self._sealed(one.model_dump(mode="json"), f"node/tunnels/{one.id}")) for one in put]
        with self._writing():
            self._file.executemany("REPLACE INTO gateways VALUES (?, ?)", rows)
            self._file.executemany("DELETE FROM gateways WHERE gateway = ?", [(id_,) for id_ in remove])

    def remember(self, gateway: str, loaded: Iterable[Loaded]) -> None:
        """Keep how connections were just loaded."""
        rows = []
        for one in loaded:
            if one.as_it_was is not None:
                value = {"connection": one.as_it_was.model_dump(mode="json"), "active": one.active}
                id_ = one.as_it_was.id
                rows.append((gateway, id_, self._sealed(value, f"node/tunnels/{gateway}/{id_}")))
        with self._writing():
            self._file.executemany("REPLACE INTO loaded VALUES (?, ?, ?)", rows)

    def forget(self, gateway: str, connections: Iterable[str]) -> None:
        """Forget what is loaded no more."""
        with self._writing():
            rows = [(gateway, one) for one in connections]
            self._file.executemany("DELETE FROM loaded WHERE gateway = ? AND connection = ?", rows)

    def close(self) -> None:
        self._file.close()

    def _sealed(self, value: Mapping[str, Any], context: str) -> bytes:
        return self._seal.seal(json.dumps(value).encode(), context)

    def _read(self, record: bytes, context: str) -> Any:
        try:
            return json.loads(self._seal.open(record, context))
        except Invalid as error:
            self._lost(str(error))
            return None

    def _rows(self, sql: str) -> Iterator[Any]:
        try:
            yield from self._file.execute(sql)
        except sqlite3.Error as error:
            self._lost(str(error))

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """One transaction; where the disk does not take it, this process goes on by what it knows."""
        try:
            with self._file:
                yield
        except sqlite3.Error as error:
            log.error("what tunnels there are is not on disk", problem=str(error))

    def _lost(self, problem: str) -> None:
        if self.whole:
            log.error("the sealed copy of gateways is damaged; waiting for the controller", problem=problem)
        self.whole = False

    def _opened(self) -> sqlite3.Connection:
        try:
            return _connected(self._path)
        except sqlite3.DatabaseError as error:
            if is_of_the_disk(error):
                remedy = "see that its disk has space and that this user may write there"
                raise Unavailable(f"cannot open {self._path}: {error}; {remedy}") from error
            self._lost(str(error))
            with contextlib.suppress(FileNotFoundError):
                self._path.replace(self._path.with_name(f"{self._path.name}.unusable"))
            return _connected(self._path)


def _connected(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.touch(mode=0o600)
    found = sqlite3.connect(path, timeout=5.0)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL"):
        found.execute(f"PRAGMA {pragma}")
    found.executescript(_SCHEMA)
    return found
