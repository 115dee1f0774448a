"""Questions to nodes, whichever controller each of them follows."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from edgeward.controller.explain.facts import NodeView
from edgeward.controller.nodes.registry import Question, Registry
from edgeward.database.engine import Database
from edgeward.declaration.feed import Answer, Run, Steer
from edgeward.errors import EdgewardError
from edgeward.log import logger

_MOST_WAITING: Final = 200
_AT_ONCE: Final = 8
_LONGEST_ANSWER: Final = 7000
_PATIENCE: Final = 2.0
RUN_PATIENCE: Final = 700.0
"""Longer than any action may take."""
_MOST_OUTPUT: Final = 3000
_ABOUT_LINES: Final = 300
"""Bytes of an answer beside the lines in it."""
_PATIENCE_OF_OTHERS: Final = 1.8
_log = logger("edgeward.controller.nodes.questions")
_DETAILS: Final[tuple[dict[str, Any], ...]] = ({}, {"notes": ()}, {"notes": (), "service": {}})


class Questions:
    """Asks nodes that follow here over their feeds, others over their controllers; ``run`` answers these."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._asked: asyncio.Queue[Mapping[str, str]] = asyncio.Queue(_MOST_WAITING)
        self._to_run: asyncio.Queue[Mapping[str, str]] = asyncio.Queue(_MOST_WAITING)
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        database.on("ask", self._hear_question)
        database.on("answer", self._hear_answer)

    async def ask(self, name: str, question: Question, patience: float = _PATIENCE) -> Answer | None:
        """Ask a node something; None where it is not connected or does not answer in time."""
        node = self._registry.find(name)
        if node is None or node.stream is not None or node.elsewhere is None:
            return await self._registry.ask(name, question, patience)
        if not self._registry.connected(node) or len(self._answers) >= _MOST_WAITING:
            return None
        number = secrets.token_hex(8)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(patience):
                await self._database.tell("ask", json.dumps({"id": number, "node": name, **_said(question)}))
                return await answer
        except (TimeoutError, EdgewardError):
            return None
        finally:
            self._answers.pop(number, None)

    async def asked(self, question: str) -> Sequence[NodeView]:
        """Ask every node about a name."""
        nodes = list(self._registry)
        answers = await asyncio.gather(*(self.ask(node.name, question) for node in nodes))
        return [
            NodeView(node.name, self._registry.connected(node), node.report, answer, seen=node.seen)
            for node, answer in zip(nodes, answers, strict=True)
        ]

    async def run(self) -> None:
        """Answer other controllers until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._pass_on(group))
            for _ in range(_AT_ONCE):
                group.create_task(self._answer())

    async def _answer(self) -> None:
        while True:
            asked = await self._asked.get()
            await self._answer_one(asked, asked.get("name", ""), _PATIENCE_OF_OTHERS)

    async def _pass_on(self, group: asyncio.TaskGroup) -> None:
        """Have our nodes run what other controllers ask for; that may take long, so each has a task."""
        while True:
            asked = await self._to_run.get()
            with suppress(ValidationError):
                kind, text = (Run, asked["run"]) if "run" in asked else (Steer, asked["steer"])
                group.create_task(self._answer_one(asked, kind.model_validate_json(text), RUN_PATIENCE))

    async def _answer_one(self, asked: Mapping[str, str], question: Question, patience: float) -> None:
        node = asked.get("node", "")
        answer = await self._registry.ask(node, question, patience)
        if answer is None:
            return
        try:
            text = _fitting(answer, asked.get("id", ""))
        except (TypeError, ValueError, RecursionError) as error:  # a node says what it likes
            _log.warning("the answer of a node cannot be passed on", node=node, reason=type(error).__name__)
            return
        with suppress(EdgewardError):
            await self._database.tell("answer", text)

    def _hear_question(self, text: str) -> None:
        asked = _read(text)
        node = self._registry.find(asked.get("node", ""))
        if node is not None and node.stream is not None:
            with suppress(asyncio.QueueFull):
                (self._to_run if "run" in asked or "steer" in asked else self._asked).put_nowait(asked)

    def _hear_answer(self, text: str) -> None:
        with suppress(ValidationError):
            answer = Answer.model_validate_json(text)
            waiting = self._answers.get(answer.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)


def _said(question: Question) -> Mapping[str, str]:
    if isinstance(question, str):
        return {"name": question}
    return {"run" if isinstance(question, Run) else "steer": question.model_dump_json()}


def _fitting(answer: Answer, number: str) -> str:
    """Give an answer as a message, without its details where these are too long for one."""
    text = ""
    if answer.run is not None and len(str(answer.run.get("output", "")).encode()) > _MOST_OUTPUT:
        cut = str(answer.run["output"]).encode()[:_MOST_OUTPUT].decode(errors="ignore")
        answer = answer.model_copy(update={"run": {**answer.run, "output": cut, "truncated": True}})
    if answer.run is not None and answer.run.get("lines"):
        answer = answer.model_copy(update={"run": {**answer.run, "lines": _newest(answer.run["lines"])}})
    for without in _DETAILS:
        text = answer.model_copy(update={"id": number, **without}).model_dump_json()
        if len(text.encode()) <= _LONGEST_ANSWER:
            break
    return text


def _newest(lines: Sequence[Any]) -> Sequence[Any]:
    """Give as many of the newest lines of a log as fit into one message."""
    room = _LONGEST_ANSWER - _ABOUT_LINES
    kept = 0
    for line in reversed(lines):
        room -= len(json.dumps(line)) + 1
        if room < 0:
            break
        kept += 1
    return lines[len(lines) - kept :]


def _read(text: str) -> Mapping[str, str]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return {key: value for key, value in found.items() if isinstance(value, str)}
    return {}
