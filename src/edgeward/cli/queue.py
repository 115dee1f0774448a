"""`get orders --watch`: the queue of orders, how far it is and when it will be done, until nothing waits."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from edgeward.cli.printing import kinds, show

if TYPE_CHECKING:
    from edgeward.cli.client import Client

_EVERY: Final = 1.0
_MOST_SHOWN: Final = 20

Item = Mapping[str, Any]


def watch(client: Client, project: str | None) -> None:
    """Show the queue, and go on until nothing waits; what failed and waits for its next try is said."""
    with _screen() as shown:
        while True:
            progress = client.get("/v1/orders/progress", {"project": project})
            some = list(_first(client, project))
            shown(summary(progress, time.time()), some)
            if over(progress):
                return
            time.sleep(_EVERY)


def over(progress: Item) -> bool:
    counts = progress["orders"]
    return not (counts["waiting"] or counts["working"] or progress["due"])


def summary(progress: Item, now: float) -> str:
    """Say in one line how far it is."""
    counts = progress["orders"]
    parts = [f"{counts[state]} {state}" for state in ("working", "waiting", "failed") if counts[state]]
    if progress["due"]:
        parts.append(f"{progress['due']} renewals due")
    parts.append(f"{progress['issued_in_10_minutes']} issued in the last 10 min")
    if progress["finish"] is not None:
        parts.append(f"done {show.moment(progress['finish'], now)}")
    elif counts["waiting"]:
        parts.append("none can begin now")
    for pause in progress["pauses"][:3]:
        about = f" for {pause['key']}" if pause["key"] else ""
        parts.append(f"{pause['scope']}{about} paused, free {show.moment(pause['until'], now)}")
    return " · ".join(parts)


def _first(client: Client, project: str | None) -> Iterator[Item]:
    """Give what is worked on, then what waits, then what failed: as many as fit a screen."""
    left = _MOST_SHOWN
    for state in ("working", "waiting", "failed"):
        if left:
            found = client.get("/v1/orders", {"project": project, "state": state, "limit": left})["items"]
            left -= len(found)
            yield from found


@contextmanager
def _screen() -> Iterator[Any]:
    if not sys.stdout.isatty():
        said: list[str] = []

        def line(text: str, _some: Sequence[Item]) -> None:
            if said[-1:] != [text]:
                said[:] = [text]
                show.line(text)

        yield line
        return
    with Live(console=Console(highlight=False, markup=False, emoji=False), auto_refresh=False) as live:

        def drawn(text: str, some: Sequence[Item]) -> None:
            live.update(Group(Text(text, style="bold"), _table(some)), refresh=True)

        yield drawn


def _table(some: Sequence[Item]) -> Table:
    columns, now = kinds.find("orders").columns, time.time()
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(column.upper(), overflow="fold", header_style="dim")
    for item in some:
        cells = (cell(item, now) for cell in columns.values())
        made.add_row(*(cell if isinstance(cell, Text) else Text(show.shown(cell)) for cell in cells))
    return made
