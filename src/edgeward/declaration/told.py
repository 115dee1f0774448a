"""What events said of a node, and what they have to say now: decided, not done."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from edgeward.declaration.events import Happened

MOST_REJECTIONS: Final = 1000
_LONGEST_MESSAGE: Final = 300


@dataclass(frozen=True)
class Told:
    """How a node is. ``revision`` is the last declared one that it has in force.

    ``rejections``: object → message. ``by`` is the controller that says so.
    """

    connected: bool = False
    revision: int = 0
    rejections: Mapping[str, str] = field(default_factory=dict)
    by: str = ""

    def text(self) -> str:
        return json.dumps(asdict(self))


def read(text: str | None) -> Told:
    """Give what is written down; a node of which nothing was told yet is not connected."""
    try:
        data = json.loads(text or "{}")
        return Told(
            bool(data.get("connected")),
            int(data.get("revision", 0)),
            dict(data.get("rejections", {})),
            str(data.get("by", "")),
        )
    except (ValueError, TypeError, AttributeError):  # written by another version
        return Told()


def shortened(rejections: Mapping[str, str]) -> dict[str, str]:
    """Give as many rejections, each as long, as events tell of."""
    some = sorted(rejections.items())[:MOST_REJECTIONS]
    return {key: message[:_LONGEST_MESSAGE] for key, message in some}


def news(node: str, before: Told, now: Told, at: float) -> Iterator[Happened]:
    """Give what to tell of one node; who sees one project learns of its own objects only."""
    if before.connected != now.connected:
        yield of_node(node, "connected" if now.connected else "disconnected", at)
    if before.revision != now.revision:
        yield of_node(node, "revision", at, revision=now.revision)
    for key, message in now.rejections.items():
        if before.rejections.get(key) != message:
            yield of_node(node, "rejected", at, _project(key), object=key, message=message)
    for key in before.rejections:
        if key not in now.rejections:
            yield of_node(node, "cleared", at, _project(key), object=key)


def of_node(node: str, what: str, at: float, project: str | None = None, **more: Any) -> Happened:
    return Happened("node", project, {"at": at, "node": node, "what": what, "project": project, **more})


def _project(key: str) -> str | None:
    """Give the project of an object's key; what Envoy names its resources has none."""
    parts = key.split("/")
    return parts[1] if len(parts) == 3 and all(parts) else None
