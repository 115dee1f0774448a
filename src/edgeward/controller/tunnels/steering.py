"""The use cases of one tunnel in the hands of people: begun, ended, looked at, debugged, its past."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, Literal

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.controller.tunnels.states import Tunnels, shown
from edgeward.database import schema
from edgeward.database.engine import Database, Writing
from edgeward.declaration import audit, events
from edgeward.declaration.feed import Answer, Steer
from edgeward.declaration.model import Key
from edgeward.errors import Unavailable
from edgeward.vpn.driver import State
from edgeward.vpn.status import Site, seen

PATIENCE: Final = 45.0
"""Longer than a node tries."""
_LOOK_SECONDS: Final = 1.5
_LINES_SECONDS: Final = 5.0
_DONE: Final = ("initiate", "terminate", "verbosity")
What = Literal["look", "initiate", "terminate", "verbosity"]
_LINES: Final = TypeAdapter(list[tuple[float, str]])
Ask = Callable[[str, Steer, float], Awaitable[Answer | None]]
"""Asks a node; None where it does not answer within so many seconds."""


class Steering:
    """``ask`` reaches a node, whichever controller it follows."""

    def __init__(self, database: Database, tunnels: Tunnels, ask: Ask, clock: Callable[[], float]) -> None:
        self._database = database
        self._tunnels = tunnels
        self._ask = ask
        self._clock = clock

    async def done(
        self, who: Principal, name: str, project: str | None, what: What, level: int = 1
    ) -> Mapping[str, Any]:
        """Have its node do something with a connection, and say how it does then.

        Raises Unavailable with the reason where that does not come about.
        """
        site = self._tunnels.site(who, name, project)
        require(who, Right.CHANGE, site.project)
        _, how = (await self._tunnels.states([site]))[site.connection.id]
        if how.node is None or not how.fresh:
            raise Unavailable(f"{how.reason}; {how.remedy}")
        async with self._database.writing() as writing:
            await self._record(writing, who, site, what)
        steer = self._steer(who, site, what, level=level, driver=how.driver)
        answer = await self._ask(how.node, steer, PATIENCE)
        came, state = _came(how.node, answer), _state(answer)
        _, how = (await self._tunnels.states([site]))[site.connection.id]
        return {
            **came,
            "tunnel": shown(site, how if state is None else seen(site, how, state, self._clock())),
        }

    async def looked(self, who: Principal, name: str, project: str | None) -> Mapping[str, Any]:
        """Give how a connection does this moment, figures too; as told last where its node is silent."""
        site = self._tunnels.site(who, name, project)
        _, how = (await self._tunnels.states([site]))[site.connection.id]
        if how.node is None or not how.fresh:
            return shown(site, how)
        answer = await self._ask(how.node, self._steer(who, site, "look"), _LOOK_SECONDS)
        state = _state(answer)
        return shown(site, how if state is None else seen(site, how, state, self._clock()))

    async def log(
        self, who: Principal, name: str, project: str | None, last: int, since: float
    ) -> Mapping[str, Any]:
        """Give what happened to a connection after a moment: ``items``, the oldest first, with its phases,
        what people did with it, and what its daemon wrote of it; where that cannot be had, ``without`` says
        why, else it is blank."""
        site = self._tunnels.site(who, name, project)
        (lines, without), past = await asyncio.gather(self._written(who, site, last), self._past(site, last))
        items = [item for item in (*past, *lines) if item["at"] > since]
        return {"items": sorted(items, key=lambda item: float(item["at"]))[-last:], "without": without}

    async def _written(
        self, who: Principal, site: Site, last: int
    ) -> tuple[Sequence[Mapping[str, Any]], str]:
        """Give what its daemon wrote of it, or why that cannot be had."""
        _, how = (await self._tunnels.states([site]))[site.connection.id]
        if how.node is None or not how.fresh:
            return (), how.reason
        steer = self._steer(who, site, "look", lines=last)
        answer = await self._ask(how.node, steer, _LINES_SECONDS)
        if answer is None or answer.run is None:
            return (), f"node {how.node} did not answer"
        if answer.run.get("outcome") != "done":
            return (), str(answer.run.get("reason") or answer.run.get("outcome"))
        try:
            lines = _LINES.validate_python(answer.run["lines"])
        except (KeyError, ValidationError):
            return (), f"node {how.node} is of another version and does not give them"
        driver = how.driver or site.gateway.driver
        return [{"at": at, "what": "daemon", "driver": driver, "line": line} for at, line in lines], ""

    async def _past(self, site: Site, last: int) -> Sequence[Mapping[str, Any]]:
        key = _key(site)
        own = schema.audit.c
        did = select(own.at, own.who, own.action).where(
            own.kind == key.kind, own.project == key.project, own.name == key.name, own.action.in_(_DONE)
        )
        async with self._database.reading() as connection:
            found = await events.about(connection, "tunnel", site.connection.id, last)
            rows = (await connection.execute(did.order_by(own.id.desc()).limit(last))).all()
        lines = [{**event.data, "what": "phase"} for event in found]
        return [*lines, *({"at": row.at, "what": row.action, "who": row.who} for row in rows)]

    def _steer(
        self, who: Principal, site: Site, what: What, *, level: int = 1, lines: int = 0, driver: str = ""
    ) -> Steer:
        """``driver``: whose daemon has it, as far as is known: the declared one may not have taken over."""
        gateway = site.gateway
        return Steer(
            id="",
            gateway=gateway.id,
            namespace=gateway.namespace or f"vpn-{gateway.id}",
            driver=driver or gateway.driver,
            connection=site.connection.id,
            what=what,
            level=level,
            lines=lines,
            by=who.name,
        )

    async def _record(self, writing: Writing, who: Principal, site: Site, what: str) -> None:
        entry = audit.Entry(who.name, "api", what, _key(site), None, None)
        await audit.record(writing, [entry], self._clock())


def _key(site: Site) -> Key:
    return Key("vpn", site.project, site.name)


def _came(node: str, answer: Answer | None) -> Mapping[str, Any]:
    """Say what came of it; raises Unavailable with the reason where it did not come about."""
    came = None if answer is None else answer.run
    if came is None:
        raise Unavailable(f"node {node} did not answer; what came of it is in the tunnel's status")
    if came.get("outcome") != "done":
        raise Unavailable(str(came.get("reason") or came.get("outcome")))
    return {"outcome": "done", "node": node, "commands": came.get("commands", [])}


def _state(answer: Answer | None) -> State | None:
    if answer is None or answer.run is None or not answer.run.get("state"):
        return None
    try:
        return State.model_validate(answer.run["state"])
    except ValidationError:  # said by another version
        return None
