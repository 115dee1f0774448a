"""The use cases of actions: passed on to a node's rootd, which decides; followed where they take long."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.access.decide import decide
from edgeward.access.model import EVERY_PROJECT, Principal, Right, Verdict
from edgeward.api.actions import Caller
from edgeward.controller.nodes.questions import RUN_PATIENCE
from edgeward.controller.nodes.registry import Registry
from edgeward.database.engine import Database
from edgeward.declaration import audit
from edgeward.declaration.feed import Answer, Run
from edgeward.declaration.model import Key
from edgeward.errors import EdgewardError, Invalid, NotFound, Problem, Refused, Unavailable

_MOST_RUNS: Final = 1000
_MOST_AT_ONCE: Final = 200
LIST_SECONDS: Final = 5.0
_RAISED: Final[Mapping[str, type[EdgewardError]]] = {
    "refused": Refused,
    "invalid": Invalid,
    "malformed": Invalid,
    "busy": Unavailable,
    "failed": Unavailable,
    "unanswered": Unavailable,
}
Ask = Callable[[str, Run, float], Awaitable[Answer | None]]
"""Asks a node; None where it does not answer within so many seconds."""


@dataclass
class _Asked:
    id: str
    action: str
    node: str
    token_id: str
    began: float
    came: Mapping[str, Any] | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def shown(self) -> Mapping[str, Any]:
        state = "running" if self.came is None else "ended"
        shown = {"id": self.id, "action": self.action, "node": self.node, "began": self.began, "state": state}
        return {**(self.came or {}), **shown}


class Actions:
    """``ask`` reaches a node, whichever controller it follows."""

    def __init__(self, database: Database, registry: Registry, ask: Ask, clock: Callable[[], float]) -> None:
        self._database = database
        self._registry = registry
        self._ask = ask
        self._clock = clock
        self._runs: OrderedDict[str, _Asked] = OrderedDict()
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(
        self,
        who: Principal,
        caller: Caller,
        action: str,
        values: Mapping[str, str | int],
        node: str | None,
        wait: float,
    ) -> Mapping[str, Any]:
        name = self._node(node)
        if len(self._tasks) >= _MOST_AT_ONCE:
            raise Unavailable(f"{_MOST_AT_ONCE} actions run already; ask again later")
        asked = _Asked(secrets.token_hex(8), action, name, who.token_id, self._clock())
        await self._record(who, asked)
        self._runs[asked.id] = asked
        while len(self._runs) > _MOST_RUNS:
            self._runs.popitem(last=False)
        run = Run(id="", action=action, values=dict(values), asker=asker(who, caller))
        task = asyncio.create_task(self._follow(asked, run))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with suppress(TimeoutError):
            async with asyncio.timeout(wait):
                await asked.ended.wait()
        if asked.came is not None:
            _raise(asked.came)
        return asked.shown()

    async def found(self, who: Principal, run_id: str) -> Mapping[str, Any]:
        asked = self._runs.get(run_id)
        mine = asked is not None and asked.token_id == who.token_id
        if asked is None or not (mine or decide(who, Right.GOVERN) is Verdict.ALLOWED):
            raise NotFound("there is no such run at this controller")
        return asked.shown()

    async def listed(self, who: Principal, caller: Caller, node: str | None) -> Mapping[str, Any]:
        name = self._node(node)
        answer = await self._ask(name, Run(id="", action="", asker=asker(who, caller)), LIST_SECONDS)
        came = _came(answer, name)
        _raise(came)
        return {"node": name, "items": came.get("actions", []), "next": None}

    def _node(self, name: str | None) -> str:
        """Give the node that is meant: the only one where none is named."""
        connected = [node.name for node in self._registry if self._registry.connected(node)]
        if name is None and len(connected) > 1:
            raise Invalid(Problem("node", "there are several nodes; say which one is meant"))
        if name is None and not connected:
            raise Unavailable("no node is connected that could be asked")
        if name is not None and self._registry.find(name) is None:
            raise NotFound(f"no node named '{name}' has joined")
        if name is not None and name not in connected:
            raise Unavailable(f"the node '{name}' is not connected")
        return name or connected[0]

    async def _follow(self, asked: _Asked, run: Run) -> None:
        try:
            asked.came = _came(await self._ask(asked.node, run, RUN_PATIENCE), asked.node)
        finally:
            asked.came = asked.came or {"outcome": "unanswered", "reason": "the controller ended"}
            asked.ended.set()

    async def _record(self, who: Principal, asked: _Asked) -> None:
        key = Key("actions", EVERY_PROJECT, asked.action)
        entry = audit.Entry(who.name, "api", "run", key, None, {"node": asked.node, "run": asked.id})
        async with self._database.writing() as writing:
            await audit.record(writing, [entry], self._clock())


def asker(who: Principal, caller: Caller) -> dict[str, str]:
    """Give what rootd decides by. A role counts for the host only where it is one of every project."""
    role = who.role if who.everywhere else ""
    said = {"role": role, "token": who.token_id, **vars(caller)}
    return {name: text for name, text in said.items() if text}


def _came(answer: Answer | None, node: str) -> Mapping[str, Any]:
    if answer is None or answer.run is None:
        return {"outcome": "unanswered", "reason": f"the node '{node}' did not answer"}
    return answer.run


def _raise(came: Mapping[str, Any]) -> None:
    kind = _RAISED.get(str(came.get("outcome")))
    if kind is not None:
        raise kind(str(came.get("reason", came["outcome"])))
