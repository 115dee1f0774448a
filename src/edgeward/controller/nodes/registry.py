"""The nodes as this controller knows them: who is connected, what they reported, what they are asked."""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.declaration.feed import Answer, Ask, Report, Run, Steer
from edgeward.placement import NAME

SILENCE: Final = 15.0
_STORE_EVERY: Final = 5.0
_MOST_QUESTIONS: Final = 200

Question = str | Run | Steer
"""A name to say about what is known of it, an action to run, or what to do with a tunnel."""


class Stream:
    """One open feed: questions to send along, and whether it is to end."""

    def __init__(self, token_id: str) -> None:
        self.token_id = token_id
        self.questions: asyncio.Queue[Ask | Run | Steer] = asyncio.Queue(_MOST_QUESTIONS)
        self.ended = asyncio.Event()
        self.gateways = asyncio.Event()
        """Set when the node may have other gateways than before though nothing was declared."""
        self.protocol = 1
        self.checked = 0.0
        """When the token was last looked up, in Unix seconds."""
        self.reported = False
        """Whether the node's report is of this connection, not of an earlier one."""
        self.noted = False
        """Whether the database says that it is open here."""

    async def pause(self, seconds: float) -> None:
        """Wait so long, or until it is to end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.ended.wait()


@dataclass
class Node:
    """``seen`` and ``joined`` in Unix seconds; ``stored`` is when its report was last written down."""

    name: str
    joined: float
    seen: float
    report: Report | None = None
    stream: Stream | None = None
    stored: float = 0.0
    answers: dict[str, asyncio.Future[Answer]] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    """With its name."""
    elsewhere: str | None = None
    """The other controller it follows."""
    left_here: bool = False
    """It followed here, and the database may still say so."""


class Registry:
    """Holds every node that joined; told of streams, reports and answers by the use cases."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._nodes: dict[str, Node] = {}
        self._changed = asyncio.Condition()
        self.followed: Callable[[str], None] = lambda _name: None
        """Called with the name of a node whose feed began or ended."""

    def __iter__(self) -> Iterator[Node]:
        return iter(sorted(self._nodes.values(), key=lambda n: n.name))

    def find(self, name: str) -> Node | None:
        return self._nodes.get(name)

    def know(self, name: str, joined: float, seen: float, report: Report | None) -> Node:
        """Take in a node from the database, or one that just joined."""
        node = self._nodes.get(name)
        if node is None:
            node = self._nodes[name] = Node(name, joined, seen, report, labels={NAME: name})
        return node

    def label(self, name: str, labels: Mapping[str, str]) -> None:
        node = self._nodes.get(name)
        if node is not None:
            node.labels = labels

    def forget(self, name: str) -> None:
        node = self._nodes.pop(name, None)
        if node is not None:
            self._end(node)

    def connected(self, node: Node) -> bool:
        """Whether it follows and was heard of within 15 s."""
        follows = node.stream is not None or node.elsewhere is not None
        return follows and self._clock() - node.seen < SILENCE

    async def begin(self, name: str, token_id: str) -> Stream:
        """Open a feed; an older one of the same node ends."""
        now = self._clock()
        node = self.know(name, now, now, None)
        self._end(node)
        node.stream, node.seen, node.elsewhere = Stream(token_id), now, None
        self.followed(name)
        await self.announce()
        return node.stream

    async def end(self, name: str, stream: Stream) -> None:
        """Note that a feed ended, however it did."""
        node = self._nodes.get(name)
        if node is not None and node.stream is stream:
            node.stream, node.left_here = None, True
            self.followed(name)
            await self.announce()

    def cut(self, token_id: str) -> None:
        """End the feeds that were opened with a token."""
        for node in self._nodes.values():
            if node.stream is not None and node.stream.token_id == token_id:
                node.stream.ended.set()

    def end_all(self) -> None:
        for node in self._nodes.values():
            self._end(node)

    async def reported(self, name: str, report: Report) -> bool:
        """Take in a report; say whether to write it down: on a change, else every 5 s."""
        now = self._clock()
        node = self.know(name, now, now, None)
        worth = node.report is None or _essence(node.report) != _essence(report)
        node.report, node.seen = report, now
        if node.stream is not None:
            node.stream.reported = True
        await self.announce()
        if not worth and 0 <= now - node.stored < _STORE_EVERY:
            return False
        node.stored = now
        return True

    async def ask(self, name: str, question: Question, timeout: float = 2.0) -> Answer | None:
        """Ask a node something; None where it is away or does not answer in time."""
        node = self._nodes.get(name)
        if node is None or node.stream is None or len(node.answers) >= _MOST_QUESTIONS:
            return None
        number = secrets.token_hex(8)
        asked = (
            Ask(id=number, name=question)
            if isinstance(question, str)
            else question.model_copy(update={"id": number})
        )
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        node.answers[asked.id] = answer
        try:
            node.stream.questions.put_nowait(asked)
            async with asyncio.timeout(timeout):
                return await answer
        except (TimeoutError, asyncio.QueueFull):
            return None
        finally:
            node.answers.pop(asked.id, None)

    def answered(self, name: str, answer: Answer) -> bool:
        """Take in an answer; False where nobody waits for it any more."""
        node = self._nodes.get(name)
        waiting = node.answers.get(answer.id) if node is not None else None
        if waiting is None or waiting.done():
            return False
        waiting.set_result(answer)
        return True

    async def until(self, condition: Callable[[], bool], timeout: float) -> bool:
        """Wait until a condition on the nodes holds, looked at after each of their changes."""
        try:
            async with asyncio.timeout(timeout), self._changed:
                await self._changed.wait_for(condition)
        except TimeoutError:
            return False
        return True

    def _end(self, node: Node) -> None:
        if node.stream is not None:
            node.stream.ended.set()

    async def announce(self) -> None:
        """Have those who wait look at the nodes again."""
        async with self._changed:
            self._changed.notify_all()


def shown(registry: Registry, node: Node, project: str | None) -> dict[str, Any]:
    """Give a node as people see it; of a report only what concerns ``project`` (None: everything)."""
    report = None if node.report is None else node.report.model_dump(mode="json")
    if report is not None and project is not None:
        report["rejections"] = [r for r in report["rejections"] if _of(project, r["object"])]
        for field in ("backends", "left_out"):
            report[field] = {k: v for k, v in report[field].items() if _of(project, k)}
    return {
        "name": node.name,
        "connected": registry.connected(node),
        "joined": node.joined,
        "seen": node.seen,
        "labels": {key: value for key, value in node.labels.items() if key != NAME},
        "report": report,
    }


def waited(registry: Registry, revision: int, project: str | None) -> Mapping[str, Any]:
    """Give how far the nodes are with a revision: ``done`` when every connected one has it in force.

    ``rejections`` are those of this revision or later, ``older`` those from before: these stand in nobody's
    way. ``state`` differs whenever anything of this does.
    """
    views = [_waiting(registry, node, revision, project) for node in registry]
    connected = [view for view in views if view["connected"]]
    text = json.dumps(views, sort_keys=True)
    return {
        "done": bool(connected) and all(view["serves"] for view in connected),
        "revision": revision,
        "nodes": views,
        "state": hashlib.sha256(text.encode()).hexdigest()[:16],
    }


def settled(registry: Registry, revision: int) -> bool:
    """Whether waiting longer tells nothing new: every connected node serves the revision, or refused it."""
    connected = [node for node in registry if registry.connected(node)]
    return bool(connected) and all(_serves(n, revision) or _refuses(n, revision) for n in connected)


def _waiting(registry: Registry, node: Node, revision: int, project: str | None) -> dict[str, Any]:
    found = (shown(registry, node, project)["report"] or {}).get("rejections", [])
    return {
        "name": node.name,
        "connected": registry.connected(node),
        "revision": 0 if node.report is None else node.report.revision,
        "serves": _serves(node, revision),
        "rejections": [r for r in found if r["revision"] >= revision],
        "older": [r for r in found if r["revision"] < revision],
    }


def _serves(node: Node, revision: int) -> bool:
    report = node.report
    return report is not None and report.revision >= revision and not _refused(report, revision)


def _refuses(node: Node, revision: int) -> bool:
    report = node.report
    return report is not None and report.received >= revision and _refused(report, revision)


def _refused(report: Report, revision: int) -> bool:
    return any(rejection.revision >= revision for rejection in report.rejections)


def _of(project: str, key: str) -> bool:
    return key.split("/")[-2:-1] == [project]


def _essence(report: Report) -> Any:
    """Give what of a report is worth writing down at once: not its running figures."""
    return report.model_copy(update={"cache": {}, "certificates": 0})
