"""What nodes say of their gateways and tunnels, kept: the last that was said of each, and by which node."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from pydantic import ValidationError
from sqlalchemy import Select, delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.database import schema
from edgeward.database.engine import Writing
from edgeward.vpn.driver import State
from edgeward.vpn.heard import Daemon, Heard, Held, Moved

_gateways, _connections = schema.vpn_gateways, schema.vpn_connections
_AT_ONCE: Final = 500
_RUNNING: Final = "running"
_ENDED: Final = ("starting", "down")
"""Phases in which a daemon knows of no connection, though it carried them before."""


async def take(
    writing: Writing, node: str, heard: Sequence[Heard], now: float, *, whole: bool = False
) -> list[Moved]:
    """Take in what a node says, and give what is news; ``whole``: it has no other gateways.

    A node whose daemon does not run, or stands by, says nothing of connections that another one carries.
    """
    if whole:
        await _only(writing, node, [one.gateway for one in heard])
    moved: list[Moved] = []
    for one in heard:
        await _take_daemon(writing, node, one, now)
        if one.phase == _RUNNING or not await _carried_by_another(writing.connection, node, one):
            moved += await _take_connections(writing, node, one, now)
    return moved


async def states(connection: AsyncConnection, ids: Collection[str] | None = None) -> dict[str, Held]:
    """Give what was said last, by connection (None: of all); of whom nobody said anything is not there."""
    if ids is None:
        return _held(await _rows(connection, select(_connections)))
    found: dict[str, Held] = {}
    wanted = sorted(ids)
    for start in range(0, len(wanted), _AT_ONCE):
        some = _connections.c.connection.in_(wanted[start : start + _AT_ONCE])
        found |= _held(await _rows(connection, select(_connections).where(some)))
    return found


async def phases(connection: AsyncConnection) -> dict[str, str]:
    """Give the phase of every connection, by id: much less to read than their states."""
    rows = await connection.execute(select(_connections.c.connection, _connections.c.phase))
    return {row.connection: row.phase for row in rows}


async def daemons(connection: AsyncConnection, gateway: str | None = None) -> list[Daemon]:
    """Give how the daemons of a gateway (None: of all) do, on whichever nodes."""
    query = select(_gateways).order_by(_gateways.c.gateway, _gateways.c.node)
    if gateway is not None:
        query = query.where(_gateways.c.gateway == gateway)
    rows = (await connection.execute(query)).all()
    return [Daemon(r.gateway, r.node, r.phase, r.since, r.reason, r.at) for r in rows]


async def untold(connection: AsyncConnection, before: float) -> dict[str, Held]:
    """Give the connections that are up and were told to be down, or are down since before this and were not
    told to be."""
    own = _connections.c
    again = (own.phase == "active") & own.told.not_in(["", "active"])
    down = own.phase.not_in(["active", "disabled"]) & own.told.in_(["", "active"]) & (own.since < before)
    return _held(await _rows(connection, select(_connections).where(again | down).limit(_AT_ONCE)))


async def tell(writing: Writing, told: Mapping[str, str]) -> None:
    """Note which phase of a connection the webhook was told."""
    for name, phase in told.items():
        row = update(_connections).where(_connections.c.connection == name)
        await writing.connection.execute(row.values(told=phase))


async def forget_node(writing: Writing, node: str) -> None:
    """Forget what a node said that is no more."""
    await _only(writing, node, ())


async def _only(writing: Writing, node: str, gateways: Collection[str]) -> None:
    """Forget what a node said of other gateways than these."""
    of_node = select(_gateways.c.gateway).where(_gateways.c.node == node)
    known = set((await writing.connection.execute(of_node)).scalars())
    of_node = select(_connections.c.gateway).where(_connections.c.node == node).distinct()
    known |= set((await writing.connection.execute(of_node)).scalars())
    for gateway in sorted(known - set(gateways)):
        for table in (_gateways, _connections):
            gone = delete(table).where(table.c.node == node, table.c.gateway == gateway)
            await writing.connection.execute(gone)


async def _take_daemon(writing: Writing, node: str, heard: Heard, now: float) -> None:
    values = {"phase": heard.phase, "since": heard.since, "reason": heard.reason, "at": now}
    mine = (_gateways.c.gateway == heard.gateway) & (_gateways.c.node == node)
    if (await writing.connection.execute(update(_gateways).where(mine).values(values))).rowcount == 0:
        row = {"gateway": heard.gateway, "node": node, **values}
        await writing.connection.execute(insert(_gateways).values(row))


async def _carried_by_another(connection: AsyncConnection, node: str, heard: Heard) -> bool:
    mine = (_gateways.c.gateway == heard.gateway) & (_gateways.c.node != node)
    query = select(_gateways.c.node).where(mine, _gateways.c.phase == _RUNNING).limit(1)
    return (await connection.execute(query)).first() is not None


async def _take_connections(writing: Writing, node: str, heard: Heard, now: float) -> list[Moved]:
    connection = writing.connection
    said = {state.connection: state for state in heard.states}
    before = await states(connection, said)
    if heard.whole and heard.phase in _ENDED:
        fallen = await _of_gateway(connection, heard.gateway)
        before |= fallen
        said = {name: _fallen(held, heard) for name, held in fallen.items()} | said
    rows = [
        {
            "connection": name,
            "gateway": heard.gateway,
            "node": node,
            "phase": state.phase,
            "since": state.since,
            "state": state.model_dump_json(),
            "at": now,
            "told": before[name].told if name in before else "",
        }
        for name, state in said.items()
    ]
    await _without(connection, list(said), heard.gateway, whole=heard.whole)
    for start in range(0, len(rows), _AT_ONCE):
        await connection.execute(insert(_connections), rows[start : start + _AT_ONCE])
    found = ((before[name].state if name in before else None, state) for name, state in said.items())
    return [Moved(was, state, heard.gateway, node) for was, state in found if _news(was, state)]


async def _of_gateway(connection: AsyncConnection, gateway: str) -> dict[str, Held]:
    return _held(await _rows(connection, select(_connections).where(_connections.c.gateway == gateway)))


def _fallen(held: Held, heard: Heard) -> State:
    """Give how a connection does whose daemon has ended: why it was down before still says more."""
    if held.state.phase not in ("active", "connecting"):
        return held.state
    return State(
        connection=held.state.connection,
        phase="down",
        since=heard.since,
        reason=heard.reason or "the daemon of its gateway has ended",
        remedy="its node starts the daemon again by itself",
        local_address=held.state.local_address,
    )


async def _without(connection: AsyncConnection, names: Sequence[str], gateway: str, *, whole: bool) -> None:
    """Take out the rows of these connections; ``whole``: all others of the gateway, too."""
    if whole:
        await connection.execute(delete(_connections).where(_connections.c.gateway == gateway))
    for start in range(0, len(names), _AT_ONCE):
        some = _connections.c.connection.in_(names[start : start + _AT_ONCE])
        await connection.execute(delete(_connections).where(some))


def _news(before: State | None, now: State) -> bool:
    return before is None or (before.phase, before.reason) != (now.phase, now.reason)


async def _rows(connection: AsyncConnection, query: Select[Any]) -> Sequence[Any]:
    rows: Sequence[Any] = (await connection.execute(query)).all()
    return rows


def _held(rows: Sequence[Any]) -> dict[str, Held]:
    return {row.connection: Held(_state(row), row.gateway, row.node, row.at, row.told) for row in rows}


def _state(row: Any) -> State:
    try:
        return State.model_validate_json(row.state)
    except ValidationError:  # written by another version
        return State.model_validate({"connection": row.connection, "phase": row.phase, "since": row.since})
