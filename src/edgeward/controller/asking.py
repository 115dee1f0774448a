"""Questions to nodes, whichever controller each of them follows."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from pydantic import ValidationError

from edgeward.controller.explain import NodeView
from edgeward.controller.registry import Registry
from edgeward.database.engine import Database
from edgeward.declaration.feed import Answer
from edgeward.errors import EdgewardError

_MOST_WAITING: Final = 200
_AT_ONCE: Final = 8
_LONGEST_ANSWER: Final = 7000
_PATIENCE: Final = 2.0
_PATIENCE_OF_OTHERS: Final = 1.8
_DETAILS: Final[tuple[dict[str, Any], ...]] = ({}, {"notes": ()}, {"notes": (), "service": {}})


class Questions:
    """Asks nodes that follow here over their feeds, others over their controllers; ``run`` answers these."""

    def __init__(self, database: Database, registry: Registry) -> None:
        self._database = database
        self._registry = registry
        self._asked: asyncio.Queue[Mapping[str, str]] = asyncio.Queue(_MOST_WAITING)
        self._answers: dict[str, asyncio.Future[Answer]] = {}
        database.on("ask", self._hear_question)
        database.on("answer", self._hear_answer)

    async def ask(self, name: str, question: str) -> Answer | None:
        """Ask a node about a name; None where it is not connected or does not answer in two seconds."""
        node = self._registry.find(name)
        if node is None or node.stream is not None or node.elsewhere is None:
            return await self._registry.ask(name, question, _PATIENCE)
        if not self._registry.connected(node) or len(self._answers) >= _MOST_WAITING:
            return None
        number = secrets.token_hex(8)
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._answers[number] = answer
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._database.tell("ask", json.dumps({"id": number, "node": name, "name": question}))
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
            NodeView(node.name, self._registry.connected(node), node.report, answer)
            for node, answer in zip(nodes, answers, strict=True)
        ]

    async def run(self) -> None:
        """Answer other controllers until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._answer())

    async def _answer(self) -> None:
        while True:
            asked = await self._asked.get()
            question = asked.get("name", "")
            answer = await self._registry.ask(asked.get("node", ""), question, _PATIENCE_OF_OTHERS)
            if answer is not None:
                with suppress(EdgewardError):
                    await self._database.tell("answer", _fitting(answer, asked.get("id", "")))

    def _hear_question(self, text: str) -> None:
        asked = _read(text)
        node = self._registry.find(asked.get("node", ""))
        if node is not None and node.stream is not None:
            with suppress(asyncio.QueueFull):
                self._asked.put_nowait(asked)

    def _hear_answer(self, text: str) -> None:
        with suppress(ValidationError):
            answer = Answer.model_validate_json(text)
            waiting = self._answers.get(answer.id)
            if waiting is not None and not waiting.done():
                waiting.set_result(answer)


def _fitting(answer: Answer, number: str) -> str:
    """Give an answer as a message, without its details where these are too long for one."""
    text = ""
    for without in _DETAILS:
        text = answer.model_copy(update={"id": number, **without}).model_dump_json()
        if len(text.encode()) <= _LONGEST_ANSWER:
            break
    return text


def _read(text: str) -> Mapping[str, str]:
    with suppress(ValueError):
        found = json.loads(text)
        if isinstance(found, dict):
            return {key: value for key, value in found.items() if isinstance(value, str)}
    return {}
