"""Writes to the sealed copy: what one transaction of the feed does to it."""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from edgeward.node.certificates.secrets import Kept, beside
from edgeward.sealing import Seal

UNREAD = "?"
"""Before the kind of an object that this version does not understand."""
PLACE = "node/place"
"""What revision of which store the copy holds in whole; sealed, as a wrong one would leave changes out."""


class Copying:
    """What is done to the copy within one transaction, on the writing thread."""

    def __init__(self, connection: sqlite3.Connection, seal: Seal) -> None:
        self._connection = connection
        self._seal = seal

    def begin(self, *, anew: bool = False) -> None:
        """Open a transaction; ``anew`` forgets all that was there, once it is committed."""
        self._connection.rollback()
        self._connection.execute("BEGIN IMMEDIATE")
        if anew:
            self._connection.execute("DELETE FROM objects")
            self._connection.execute("DELETE FROM certificates")

    def put_object(self, kind: str, project: str, name: str, value: dict[str, Any]) -> None:
        self._put_object(kind, project, name, value)
        self._delete_object(UNREAD + kind, project, name)

    def put_unread(self, kind: str, project: str, name: str, value: dict[str, Any]) -> None:
        """Keep what this version does not understand beside the last version that it did: the next version
        of the node will, and needs no controller for it.
        """
        self._put_object(UNREAD + kind, project, name, value)

    def remove_object(self, kind: str, project: str, name: str) -> None:
        self._delete_object(kind, project, name)
        self._delete_object(UNREAD + kind, project, name)

    def _put_object(self, kind: str, project: str, name: str, value: dict[str, Any]) -> None:
        record = self._seal.seal(json.dumps(value).encode(), object_context(kind, project, name))
        self._connection.execute("REPLACE INTO objects VALUES (?, ?, ?, ?)", (kind, project, name, record))

    def _delete_object(self, kind: str, project: str, name: str) -> None:
        self._connection.execute(
            "DELETE FROM objects WHERE kind = ? AND project = ? AND name = ?", (kind, project, name)
        )

    def put_certificate(self, kept: Kept) -> None:
        clear = (kept.name, kept.project, kept.revision, kept.not_after, kept.fingerprint, kept.digest)
        record = self._seal.seal(kept.tls, certificate_context(*clear))
        self._connection.execute(
            "REPLACE INTO certificates VALUES (?, ?, ?, ?, ?, ?, ?)",
            (*clear, record),
        )

    def remove_certificate(self, name: str) -> None:
        """Remove it with what goes beside it."""
        names = [(n,) for n in (name, beside(name, "rsa"), beside(name, "tickets"))]
        self._connection.executemany("DELETE FROM certificates WHERE name = ?", names)

    def commit(self, revision: int, store: str) -> None:
        """End the transaction; from now on the copy holds everything up to ``revision``."""
        place = self._seal.seal(json.dumps([revision, store]).encode(), PLACE)
        self._connection.execute("REPLACE INTO meta VALUES (?, ?)", (PLACE, place))
        self._connection.commit()

    def rollback(self) -> None:
        self._connection.rollback()

    def keep_certificate(self, kept: Kept) -> None:
        """Keep one obtained outside the feed, unless something newer is there; joins an open transaction."""
        row = self._connection.execute(
            "SELECT revision FROM certificates WHERE name = ?", (kept.name,)
        ).fetchone()
        if row is None or row[0] < kept.revision:
            self.put_certificate(kept)

    def keep_addresses(self, answers: dict[str, list[str] | None]) -> None:
        """Keep good DNS answers; None forgets a host. Joins an open transaction."""
        for host, addresses in answers.items():
            if addresses is None:
                self._connection.execute("DELETE FROM addresses WHERE host = ?", (host,))
                continue
            record = self._seal.seal(json.dumps(addresses).encode(), addresses_context(host))
            self._connection.execute("REPLACE INTO addresses VALUES (?, ?)", (host, record))


# Contexts bind a sealed record to its place and to what stands beside it in the clear.


def object_context(kind: str, project: str, name: str) -> str:
    return f"node/{kind}/{project}/{name}"


def certificate_context(
    name: str, project: str, revision: int, not_after: float, fingerprint: str, digest: str
) -> str:
    return f"node/certificates/{project}/{name}/{revision}/{not_after!r}/{fingerprint}/{digest}"


def addresses_context(host: str) -> str:
    return f"node/addresses/{host}"
