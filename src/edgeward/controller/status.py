"""The use cases of seeing: status, readiness, figures."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward import __version__
from edgeward.access.authenticate import Authenticator
from edgeward.access.model import Principal
from edgeward.certificates import summaries
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.orders import progress
from edgeward.certificates.renewal import alarms
from edgeward.controller.declared import last_seen
from edgeward.controller.declared.file import WatchedFile
from edgeward.controller.declared.rights import OF_INSTALLATION
from edgeward.controller.declared.state import State
from edgeward.controller.files import read_text
from edgeward.controller.metrics import Metrics
from edgeward.controller.nodes.fleet import Fleet
from edgeward.controller.nodes.registry import Registry, shown
from edgeward.controller.openresty import figures as openresty_figures
from edgeward.database.engine import Database, Unreachable, current_revision
from edgeward.declaration import store
from edgeward.declaration.model import Key
from edgeward.errors import EdgewardError
from edgeward.placement import holds, where
from edgeward.placement import shown as shown_selector

_PATIENCE: Final = 2.0
_MOST_NOWHERE: Final = 100


@dataclass(frozen=True)
class Counted:
    """A revision of the store, declared objects by kind, and certificates by when they end."""

    revision: int
    objects: Mapping[str, int]
    certificates: Mapping[str, int]


class Seeing:
    """``serving`` gives the addresses of the API; ``file`` is the watched one, if any."""

    def __init__(
        self,
        database: Database,
        registry: Registry,
        fleet: Fleet,
        access: Authenticator,
        obtainer: Obtainer,
        state: State,
        file: WatchedFile | None,
        metrics: Metrics,
        state_dir: Path,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._registry = registry
        self._fleet = fleet
        self._access = access
        self._obtainer = obtainer
        self._state = state
        self._held: dict[str | None, Mapping[str, int]] = {}
        """By project, how many certificates there were when that was last counted."""
        self._file = file
        self._metrics = metrics
        self._state_dir = state_dir
        self._clock = clock
        self._since = clock()
        self.serving: Callable[[], Any] = tuple
        self.openresty: Callable[[], Mapping[str, Any] | None] = lambda: None
        self.redis: Callable[[], Mapping[str, Any] | None] = lambda: None
        self.selecting: Callable[[], Sequence[tuple[Sequence[Key], Mapping[str, Sequence[str]]]]] = tuple
        """Give what says on which nodes it is served, together what says the same."""
        self.tunnel_figures: Callable[[Metrics], Awaitable[None]] = _no_tunnels
        """Tells the figures of tunnels."""
        self.tunnels: Callable[[Principal], Awaitable[Mapping[str, Any] | None]] = _nothing
        """Gives how many tunnels are in which phase, and the first that needs a person."""
        self.started = False
        """Set once everything that is declared was taken in and told."""

    async def status(self, who: Principal) -> Mapping[str, Any]:
        project = who.projects
        counted, troubled = await self._looked(project)
        held = counted.certificates
        status: dict[str, Any] = {
            "version": __version__,
            "revision": counted.revision,
            "database": self._shown_database(),
            "controller": {"started": self._since, "pid": os.getpid(), "api": list(self.serving())},
            "controllers": self._fleet.shown(),
            "nodes": [shown(self._registry, node, project) for node in self._registry],
            "objects": counted.objects,
            "nowhere": self._nowhere(who),
            "orders": {"troubled": None if troubled is None else asdict(troubled)},
            "tunnels": await self._tunnels(who),
            "certificates": {
                "total": held.get("total"),
                "expired": held.get("expired"),
                **{f"expiring_{span}": held.get(span) for span in ("1d", "7d", "30d")},
            },
        }
        if who.everywhere:
            status["programs"] = self._programs()
            status["file"] = None if self._file is None else self._file.shown()
            status["openresty"] = self.openresty()
            status["redis"] = self.redis()
        return status

    def stale_since(self) -> float | None:
        return self._database.away_since

    async def _looked(self, project: str | None) -> tuple[Counted, progress.Troubled | None]:
        """Give what there is, and what does not get on of orders: nothing while the database is lost."""
        try:
            async with self._database.reading() as connection:
                return await self._counted(connection, project), await progress.troubled(connection, project)
        except Unreachable:
            return self._remembered(project), None

    async def _counted(self, connection: AsyncConnection, project: str | None) -> Counted:
        revision = await current_revision(connection)
        objects = _of(project, await store.counts(connection, project))
        held = await summaries.counts(connection, self._clock(), project)
        self._held[project] = held
        return Counted(revision, objects, held)

    def _remembered(self, project: str | None) -> Counted:
        objects = _of(project, last_seen.counts(self._state.stored, project))
        return Counted(self._state.revision, objects, self._held.get(project, {}))

    async def _tunnels(self, who: Principal) -> Mapping[str, Any] | None:
        try:
            return await self.tunnels(who)
        except Unreachable:
            return None

    def _shown_database(self) -> Mapping[str, Any]:
        lost = self._database.lost
        return {
            "kind": self._database.engine.dialect.name,
            "lost_since": self._database.away_since,
            "reason": None if lost is None else lost.reason,
        }

    async def ready(self) -> str | None:
        if not self.started:
            return "the controller is starting"
        try:
            async with asyncio.timeout(_PATIENCE), self._database.reading() as connection:
                await current_revision(connection)
        except EdgewardError as error:
            return str(error)
        except TimeoutError:
            return f"the database does not answer within {_PATIENCE:g} s"
        return None

    async def metrics(self) -> bytes:
        counted = await self._read_figures()
        number, numbers = self._metrics.number, self._metrics.numbers
        number("edgeward_database_lost", "1 while the database cannot be asked", bool(self._database.lost))
        number("edgeward_revision", "Revision of the store", counted.revision)
        numbers("edgeward_objects", "Declared objects", "kind", dict(counted.objects))
        numbers(
            "edgeward_certificates",
            "Stored certificates, by when they end",
            "ends",
            dict(counted.certificates),
        )
        self._node_figures()
        await self.tunnel_figures(self._metrics)
        openresty_figures.tell(self._metrics, self.openresty())
        number("edgeward_login_failures", "Refused log-ins since the start", self._access.failures)
        number("edgeward_obtaining", "Names being obtained or waiting for it", self._obtainer.waiting)
        text = "Names on demand that were to get their first certificate, since the start"
        numbers("edgeward_new_names", text, "outcome", self._obtainer.decided)
        if (redis := self.redis()) is not None:
            number("edgeward_redis_filled", "1 while this controller keeps Redis true", redis["filled"])
            number("edgeward_redis_written", "Certificates written to Redis, or taken out", redis["written"])
            number("edgeward_redis_failures", "What Redis did not take", redis["failures"])
        if self._file is not None:
            outcome = self._file.outcome
            number("edgeward_file_applied", "1 where the file is in force", outcome.state == "applied")
            number("edgeward_file_tried_timestamp_seconds", "When the file was last tried", outcome.at)
        return await asyncio.to_thread(self._metrics.text)  # a second, with ten thousand tunnels

    async def _read_figures(self) -> Counted:
        """Give what there is, and tell of orders; while the database is lost, what was known of both."""
        try:
            async with self._database.reading() as connection:
                counted = await self._counted(connection, None)
                orders = await progress.counts(connection)
                late = await alarms.late(connection, self._state.policy(), self._clock())
        except Unreachable:
            return self._remembered(None)
        self._order_figures(orders, len(late))
        return counted

    def _order_figures(self, orders: Mapping[tuple[str, str], int], late: int) -> None:
        for field, index in (("state", 1), ("reason", 0)):
            found = Counter[str]()
            for key, number in orders.items():
                found[key[index]] += number
            self._metrics.numbers(
                f"edgeward_orders_by_{field}", f"Orders of certificates, by {field}", field, dict(found)
            )
        help_text = "Certificates not renewed in time, as far as they are counted"
        self._metrics.number("edgeward_certificates_late", help_text, late)

    def _node_figures(self) -> None:
        nodes = list(self._registry)
        connected = {node.name: float(self._registry.connected(node)) for node in nodes}
        revisions = {node.name: float(node.report.revision) for node in nodes if node.report is not None}
        rejections = {n.name: float(len(n.report.rejections)) for n in nodes if n.report is not None}
        numbers = self._metrics.numbers
        numbers("edgeward_node_connected", "1 where the node is connected", "node", connected)
        numbers("edgeward_node_revision", "Revision in force on the node", "node", revisions)
        numbers("edgeward_node_rejections", "Objects the node's Envoy refuses", "node", rejections)

    def _nowhere(self, who: Principal) -> list[dict[str, Any]]:
        """Give the selectors that select no node that has joined, each with an object that says so."""
        labels = [node.labels for node in self._registry]
        found = []
        for keys, selector in self.selecting():
            seen = [key for key in keys if who.sees(key.project)]
            if seen and labels and not any(holds(where(selector), each) for each in labels):
                nodes = shown_selector(selector)
                found.append({"object": str(min(seen)), "objects": len(seen), "nodes": nodes})
        return sorted(found, key=lambda f: str(f["object"]))[:_MOST_NOWHERE]

    def _programs(self) -> Any:
        """Give what the supervisor of this host, if any, last said of its programs."""
        try:
            record = json.loads(read_text(self._state_dir / "up.json") or "null")
        except ValueError:
            return None
        programs = record.get("programs") if isinstance(record, dict) else None
        sound = isinstance(programs, list) and all(isinstance(p, dict) for p in programs)
        return record if sound else None


def _of(project: str | None, counts: Mapping[str, int]) -> Mapping[str, int]:
    """Leave out what belongs to the whole installation, where one project is asked about."""
    return {kind: n for kind, n in counts.items() if project is None or kind not in OF_INSTALLATION}


async def _no_tunnels(_metrics: Metrics) -> None:
    return None


async def _nothing(_who: Principal) -> None:
    return None
