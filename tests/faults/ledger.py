"""What a controller acknowledged, written down outside of it, and held against its store afterwards."""

from __future__ import annotations

import json
import sqlite3
import threading
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import httpx

from edgeward.declaration import feed
from tests.integration.controller_setup import Controller
from tests.integration.processes import until

SOURCE = "file:ledger"
DECLARED = """version: 1
domains: [{name: "*.c.example", on_demand: true}]
"""
Key = tuple[str, str, str]
Objects = dict[Key, dict[str, Any]]


def document(generation: int) -> dict[str, Any]:
    """Give a document; two that follow each other create, change and delete some objects each."""
    names = [f"d{(generation * 5 + i) % 40}.example" for i in range(30)]
    return {
        "version": 1,
        "domains": [{"name": n, "on_demand": (generation + i) % 6 > 0} for i, n in enumerate(names)],
        "services": [{"name": f"s{generation % 3}", "backends": [f"http://b{generation}.example"]}],
        "routes": [{"name": f"r{generation % 4}", "hosts": names, "service": f"s{generation % 3}"}],
    }


class Ledger:
    """``acknowledged`` is the last generation that was answered with 200, ``attempted`` the last one sent."""

    def __init__(self) -> None:
        self.acknowledged = self.attempted = 0
        self.revision = 0
        self.obtained: dict[str, str] = {}
        """Name → fingerprint, of every obtain that was answered."""
        self.refused: list[httpx.Response] = []
        """Answers other than 200."""
        self.asked = 0

    # --- clients, which go on until the controller is dead or ``stop`` is set -----------------

    def apply(self, here: Controller, rounds: int = 1000) -> None:
        with here.client() as client:
            for _ in range(rounds):
                self.attempted += 1
                body = {"source": SOURCE, "document": document(self.attempted), "take_over": True}
                answer = client.post("/v1/apply", json=body)
                if answer.status_code == 200:
                    self.acknowledged, self.revision = self.attempted, answer.json()["revision"]
                else:
                    self.refused.append(answer)

    def obtain(self, here: Controller, token: str, stop: threading.Event) -> None:
        try:
            with here.client(token=token) as client:
                while not stop.is_set():
                    self._obtain(client)
        except httpx.TransportError:
            pass  # killed

    def obtain_one(self, here: Controller, token: str) -> None:
        with here.client(token=token) as client:
            self._obtain(client)

    def _obtain(self, client: httpx.Client) -> None:
        self.asked += 1
        name = f"n{self.asked}.c.example"
        answer = client.post(f"/v1/certificates/{name}/obtain")
        if answer.status_code == 200:
            self.obtained[name] = answer.json()["fingerprint"]
        else:
            self.refused.append(answer)

    # --- what must hold -----------------------------------------------------------------------

    def check(self, database: Path) -> None:
        """Hold the store of a dead controller against what was acknowledged; raises AssertionError."""
        with closing(sqlite3.connect(database)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchone() == ("ok",)
            stored = _objects(raw)
            allowed = [_wanted(g) for g in range(self.acknowledged, self.attempted + 1)]
            assert {k: v for k, (s, v, _) in stored.items() if s == SOURCE} in allowed, "a whole document"
            self._check_audit(raw, stored)
            _check_revisions(raw, stored)
            kept = dict(raw.execute("SELECT name, fingerprint FROM certificates"))
            assert self.obtained.items() <= kept.items(), "no obtained certificate is lost"

    def _check_audit(self, raw: sqlite3.Connection, stored: dict[Key, Any]) -> None:
        """The audit log, replayed, gives the objects; every deletion left a tombstone."""
        replayed: dict[Key, Any] = {}
        deleted: set[Key] = set()
        rows = raw.execute(
            "SELECT kind, project, name, action, after, revision FROM audit WHERE source = ? ORDER BY id",
            (SOURCE,),
        )
        for kind, project, name, action, after, revision in rows:
            key = kind, project, name
            if action == "delete":
                deleted.add(key)
                del replayed[key]
            else:
                deleted.discard(key)
                replayed[key] = (json.loads(after), revision)
        ours = {k: (v, r) for k, (s, v, r) in stored.items() if s == SOURCE}
        assert {k: r for k, (_, r) in replayed.items()} == {k: r for k, (_, r) in ours.items()}
        tombstones = set(raw.execute("SELECT kind, project, name FROM tombstones"))
        assert deleted == tombstones, "every deletion can be told to nodes"


def _objects(raw: sqlite3.Connection) -> dict[Key, tuple[str, dict[str, Any], int]]:
    rows = raw.execute("SELECT kind, project, name, source, value, revision FROM objects")
    return {(k, p, n): (s, json.loads(v), r) for k, p, n, s, v, r in rows}


def _check_revisions(raw: sqlite3.Connection, stored: dict[Key, Any]) -> None:
    (counter,) = raw.execute("SELECT revision FROM counter").fetchone()
    for table in ("objects", "tombstones", "certificates", "audit"):
        (newest,) = raw.execute(f"SELECT coalesce(max(revision), 0) FROM {table}").fetchone()
        assert newest <= counter, f"{table} is ahead of the counter"


_PARSED: dict[int, Objects] = {}


def _wanted(generation: int) -> Objects:
    """Give what the store holds of a document, as the product itself reads one."""
    if generation == 0:
        return {}
    if generation not in _PARSED:
        from edgeward.declaration.document import from_data
        from edgeward.kinds import KINDS

        found = from_data(document(generation), "", KINDS).objects
        _PARSED[generation] = {
            (d.key.kind, d.key.project, d.key.name): d.value.model_dump(mode="json", exclude_defaults=True)
            for d in found
        }
    return _PARSED[generation]


class Follower:
    """A node's view of the feed: transactions whole or not at all, resumed where it was cut."""

    def __init__(self, identity: feed.Identity) -> None:
        self.identity = identity
        self.revision, self.store = 0, ""
        self.held: dict[Key, Any] = {}
        self.synced = 0
        """The revision of the last ``synced`` of this connection."""

    def follow(self, here: Controller) -> None:
        """Follow until the feed is cut."""
        with suppress(httpx.TransportError):
            self._follow(here)

    def catch_up(self, here: Controller) -> None:
        """Follow until everything that was there at the start has come."""
        self.synced = 0
        thread = threading.Thread(target=self.follow, args=(here,), daemon=True)
        thread.start()
        until(lambda: self.synced, 10, "the feed to catch up")

    def _follow(self, here: Controller) -> None:
        path = f"/v1/nodes/{self.identity.name}/watch?since={self.revision}&store={self.store}"
        part: dict[Key, Any] = {}
        anew = False
        with here.client(token=self.identity.token) as client, client.stream("GET", path) as answer:
            answer.raise_for_status()
            for line in answer.iter_lines():
                message = feed.read(line.encode())
                if isinstance(message, feed.Hello):
                    anew, self.store, part = message.reset, message.store, {}
                elif isinstance(message, feed.ChangeMessage):
                    part |= {(r.kind, r.project, r.name): None for r in message.remove}
                    part |= {(p.kind, p.project, p.name): p.value for p in message.put}
                    if not message.more and not anew:
                        self._take(part, message.revision)
                        part = {}
                elif isinstance(message, feed.Synced):
                    if anew:
                        self.held = {}
                        self._take(part, message.revision)
                        anew, part = False, {}
                    self.revision = self.synced = message.revision

    def _take(self, part: dict[Key, Any], revision: int) -> None:
        merged = {**self.held, **part}
        self.held = {k: v for k, v in merged.items() if v is not None}
        self.revision = revision

    def holds_exactly(self, database: Path) -> bool:
        """Whether what this follower holds is what is stored: all of it, no key of a domain that is gone."""
        with closing(sqlite3.connect(database)) as raw:
            stored: dict[Key, Any] = {k: v for k, (_, v, _) in _objects(raw).items() if k[0] != "issuers"}
            rows = raw.execute("SELECT project, name, fingerprint FROM certificates").fetchall()
        declared = {name for kind, _, name in stored if kind == "domains"}
        covered = [row for row in rows if not declared.isdisjoint({row[1], f"*.{row[1].partition('.')[2]}"})]
        certificates = {("certificates", p, n): f for p, n, f in covered}
        held = {k: v["fingerprint"] if k[0] == "certificates" else v for k, v in self.held.items()}
        return held == {**stored, **certificates}
