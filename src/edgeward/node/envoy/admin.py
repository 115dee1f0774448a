"""What Envoy says of itself over its admin socket, and the launcher of it, asked at most once a second."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from edgeward.declaration.feed import EnvoyState
from edgeward.errors import Unavailable
from edgeward.node.envoy import troubled
from edgeward.node.envoy.troubled import Troubled
from edgeward.node.http import HttpClient

_SECONDS = 1.0
_STATES = {"LIVE": "serving", "DRAINING": "draining"}
_STATS = (
    r"^(server\.(memory_allocated|memory_heap_size|total_connections|uptime)"
    r"|listener\.https?\.(downstream_cx_active|downstream_cx_total|ssl\.handshake|ssl\.connection_error)"
    r"|http\.https?\.(downstream_rq_total|downstream_rq_[1-5]xx|downstream_rq_active)"
    r"|edge\.http_local_rate_limit\.rate_limited"
    r"|listener\.https\.on_demand_secret\.cert_(active|requested))$"
)


@dataclass(frozen=True, slots=True)
class Seen:
    """``stats``: by Envoy's own names; empty where Envoy does not answer."""

    state: EnvoyState = field(default_factory=lambda: EnvoyState(state="down"))
    stats: dict[str, int] = field(default_factory=dict)
    troubled: Troubled = field(default_factory=Troubled)


class EnvoyAdmin:
    """``node_dir`` holds Envoy's ``admin.sock`` and the launcher's ``envoy.json``."""

    def __init__(self, node_dir: Path) -> None:
        self._client = HttpClient.over_socket(node_dir / "admin.sock")
        self._record = node_dir / "envoy.json"
        self._seen = Seen()
        self._at = float("-inf")
        self.watched: Callable[[], bool] = lambda: False
        """Whether some service has anything that Envoy could tell of its troubles."""

    @property
    def last(self) -> Seen:
        return self._seen

    async def seen(self) -> Seen:
        """Give what Envoy says, at most a second old."""
        if time.monotonic() - self._at > _SECONDS:
            self._at = time.monotonic()
            self._seen = await self._look()
        return self._seen

    async def _look(self) -> Seen:
        launcher = _read(self._record)
        try:
            info = await self._json("/server_info")
            stats = await self._json("/stats", format="json", filter=_STATS)
        except Unavailable:
            return Seen(EnvoyState(state=_without_admin(launcher), **_restarts(launcher)))
        return Seen(_state(info, launcher), _numbers(stats), await self._troubled())

    async def _troubled(self) -> Troubled:
        if not self.watched():
            return Troubled()
        try:
            stats = _numbers(await self._json("/stats", format="json", usedonly="", filter=troubled.STATS))
            some = troubled.some_left_out(stats)
            clusters = await self._json("/clusters", format="json") if some else {}
        except Unavailable:  # said so at the next look; the rest is worth more
            return Troubled()
        return Troubled(troubled.left_out(clusters), troubled.over_limits(stats))

    async def _json(self, path: str, **query: str) -> dict[str, Any]:
        reply = await self._client.ask("GET", path, _SECONDS, **query)
        found = reply.json()
        if reply.status != 200 or not isinstance(found, dict):
            raise Unavailable(f"Envoy answers {reply.status} for {path}")
        return found

    async def close(self) -> None:
        await self._client.close()


def _read(record: Path) -> dict[str, Any]:
    try:
        found = json.loads(record.read_text())
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_admin(launcher: dict[str, Any]) -> Literal["serving", "down"]:
    """Tell how an Envoy is whose admin socket was closed by a new one that then did not come up."""
    return "serving" if launcher.get("state") == "serving" and not launcher.get("has_admin", True) else "down"


def _restarts(launcher: dict[str, Any]) -> dict[str, Any]:
    count, draining, last = (launcher.get(key) for key in ("hot_restarts", "draining", "last_restart"))
    failed = isinstance(last, dict) and last.get("outcome") == "failed"
    return {
        "hot_restarts": count if isinstance(count, int) else 0,
        "draining": len(draining) if isinstance(draining, list) else 0,
        "failure": str(last.get("text"))[:500] if isinstance(last, dict) and failed else "",
    }


def _state(info: dict[str, Any], launcher: dict[str, Any]) -> EnvoyState:
    version = re.search(r"/(\d+\.\d+\.\d+[^/]*)/", str(info.get("version", "")))
    uptime = re.match(r"(\d+)s", str(info.get("uptime_current_epoch", "")))
    since = datetime.now(UTC) - timedelta(seconds=int(uptime[1])) if uptime else None
    return EnvoyState(
        state=_STATES.get(str(info.get("state")), "starting"),
        version=version[1] if version else "",
        since=since.isoformat(timespec="seconds") if since else "",
        **_restarts(launcher),
    )


def _numbers(stats: dict[str, Any]) -> dict[str, int]:
    entries = stats.get("stats", [])
    return {str(e["name"]): int(e["value"]) for e in entries if "value" in e and "name" in e}
