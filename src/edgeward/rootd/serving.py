"""The socket: who connects, for how long, and what each of them is answered."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from edgeward.rootd import frames
from edgeward.rootd.audit import AuditLog
from edgeward.rootd.running import Running
from edgeward.rootd.table import ports
from edgeward.rootd.table.actions import Peer
from edgeward.rootd.table.placeholders import Wrong
from edgeward.rootd.table.reading import Denied, Table

MOST_CONNECTIONS = 1024
REQUEST_SECONDS = 2.0
QUESTIONS = ("list", "log-head")
"""What is asked of rootd itself: what there is to ask for, and the newest line of its log."""
_SO_PEERGROUPS = 59
_LONGEST_LOGGED = 500
_MOST_UNLOGGED = 1000
_Said = Mapping[str, Any]


def peer_of(connected: socket.socket) -> Peer:
    """Give who connected, as the kernel noted at that moment; raises OSError."""
    pid, uid, gid = struct.unpack("iII", connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    groups = connected.getsockopt(socket.SOL_SOCKET, _SO_PEERGROUPS, 1024)
    return Peer(uid, gid, frozenset(struct.unpack(f"{len(groups) // 4}I", groups)), pid)


class _Connection:
    def __init__(self, connected: socket.socket, peer: Peer) -> None:
        self.socket, self.peer = connected, peer
        self.reader, self.frames = frames.FrameReader(), list[bytes]()
        self.is_busy = False
        self.task: asyncio.Task[None]


class Server:
    """Serves until ``end()``."""

    def __init__(self, listener: socket.socket, table: Table, log: AuditLog) -> None:
        self._listener, self._table, self._log = listener, table, log
        self._running = Running()
        self._connections: dict[_Connection, None] = {}  # the oldest first
        self._turned_away: Counter[int] = Counter()
        self._unlogged: list[dict[str, Any]] = []
        self._refreshed = 0.0
        self._ended = asyncio.Event()
        listener.setblocking(False)

    async def run(self) -> None:
        """Serve; after ``end()`` no more requests are taken, and what runs comes to its end."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._listener, self._accept)
        while not self._ended.is_set():
            self._keep()
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), 1.0)
        loop.remove_reader(self._listener)
        for connection in [c for c in self._connections if not c.is_busy]:
            self._drop(connection)
        await asyncio.gather(*(c.task for c in self._connections), return_exceptions=True)
        self._keep()

    def end(self) -> None:
        self._ended.set()

    # --- connections -------------------------------------------------------------------------

    def _accept(self) -> None:
        for _ in range(128):
            try:
                connected, _address = self._listener.accept()
            except OSError:  # nobody more, or one who has gone, or no descriptor is free
                return
            with suppress(OSError):
                peer = peer_of(connected)
                if self._may_anything(peer) and self._has_room():
                    self._begin(_Connection(connected, peer))
                    continue
                self._turned_away[peer.uid] += 1
            connected.close()

    def _may_anything(self, peer: Peer) -> bool:
        if time.monotonic() - self._refreshed > 0.1:
            self._refresh()
        return self._table.knows(peer)

    def _has_room(self) -> bool:
        """See that there is room for one more: who has most connections gives up the oldest that waits."""
        if len(self._connections) < MOST_CONNECTIONS:
            return True
        waiting = [c for c in self._connections if not c.is_busy]
        if waiting:
            heaviest = Counter(c.peer.uid for c in waiting).most_common(1)[0][0]
            self._drop(next(c for c in waiting if c.peer.uid == heaviest))
        return bool(waiting)

    def _begin(self, connection: _Connection) -> None:
        connection.socket.setblocking(False)
        self._connections[connection] = None
        connection.task = asyncio.create_task(self._serve(connection))

    def _drop(self, connection: _Connection) -> None:
        self._connections.pop(connection, None)
        connection.task.cancel()

    async def _serve(self, connection: _Connection) -> None:
        try:
            with suppress(OSError):  # it has gone, or takes no answer (TimeoutError is one)
                while not self._ended.is_set():
                    answer = await self._answer(connection)
                    if answer is None:
                        return
                    async with asyncio.timeout(REQUEST_SECONDS):
                        await ports.sent(connection.socket, frames.framed(answer), answer.get("descriptor"))
                    if answer["outcome"] == "malformed":
                        return
        finally:
            self._connections.pop(connection, None)
            connection.socket.close()

    async def _answer(self, connection: _Connection) -> _Said | None:
        """Give the answer to the next request; None where none comes."""
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                frame = await _frame(connection)
            if frame is None:
                return None
            request = frames.request(frame)
        except TimeoutError:
            self._told(connection.peer, {"outcome": "late", "reason": "no whole request within 2 s"})
            return None
        except frames.Malformed as error:
            return self._told(connection.peer, {"outcome": "malformed", "reason": str(error)})
        if request.action in QUESTIONS:
            return self._of_itself(request, connection.peer)
        connection.is_busy = True
        try:
            return self._told(connection.peer, await self._came(request, connection.peer), request)
        finally:
            connection.is_busy = False

    async def _came(self, request: frames.Request, peer: Peer) -> dict[str, Any]:
        self._refresh()
        if self._unlogged:
            return {"outcome": "failed", "reason": "the audit log cannot be written, so nothing is done"}
        try:
            action, argv = self._table.decided(request, peer)
        except Denied as error:
            return {"outcome": "refused", "reason": str(error)}
        except Wrong as error:
            return {"outcome": "invalid", "reason": str(error)}
        if action.at_once is not None:
            return action.at_once(argv)
        return await self._running.outcome(action, argv)

    def _of_itself(self, request: frames.Request, peer: Peer) -> _Said:
        if request.action == "log-head":
            return {"outcome": "done", "n": self._log.number, "hash": self._log.newest}
        self._refresh()
        actions = [a for a in self._table.actions.values() if self._table.allows(a, request.asker, peer)]
        shown = [{"name": a.name, "description": a.description, "values": a.specs} for a in actions]
        return {"outcome": "done", "actions": shown, "refused": {} if peer.uid else self._table.refused}

    # --- what is written down ----------------------------------------------------------------

    def _told(self, peer: Peer, came: _Said, request: frames.Request | None = None) -> _Said:
        """Write down what was asked and what came of it, and give the latter."""
        asked: dict[str, Any] = {"uid": peer.uid, "gid": peer.gid, "pid": peer.pid}
        if request is not None:
            values = list(request.values.items())[:16]
            asked |= {"action": request.action, "values": {_cut(k): _cut(v) for k, v in values}}
            if request.asker is not None:
                asked["asker"] = {k: _cut(v) for k, v in vars(request.asker).items() if v}
        room = len(self._unlogged) < _MOST_UNLOGGED  # what was done is never left out
        if ("exit" in came or room) and not self._table.looked(request, came):
            self._unlogged.append(asked | {("ran" if k == "pid" else k): _cut(v) for k, v in came.items()})
        self._write_down()
        return came

    def _write_down(self) -> None:
        try:
            while self._unlogged:
                self._log.write(self._unlogged[0])
                self._unlogged.pop(0)
        except OSError as error:
            say(f"the audit log cannot be written ({error.strerror}); nothing is done until it can")

    def _keep(self) -> None:
        """Have the disk hold the log, and note who was turned away at the door."""
        if not self._unlogged:
            turned = {"outcome": "turned-away"}
            self._unlogged += [{"uid": uid, **turned, "times": n} for uid, n in self._turned_away.items()]
            self._turned_away.clear()
        self._write_down()
        with suppress(OSError):
            self._log.keep()

    def _refresh(self) -> None:
        self._refreshed = time.monotonic()
        if self._table.refresh():
            for sentence in self._table.told():
                say(sentence)


async def _frame(connection: _Connection) -> bytes | None:
    """Give the next frame; None where the peer has gone. What comes after it waits."""
    while not connection.frames:
        # recv takes no descriptors: the kernel closes those that come along (unix(7), MSG_CTRUNC)
        data = await asyncio.get_running_loop().sock_recv(connection.socket, 65_536)
        if not data:
            return None
        connection.frames += connection.reader.feed(data)
    return connection.frames.pop(0)


def _cut(value: Any) -> Any:
    return value[:_LONGEST_LOGGED] if isinstance(value, str) else value


def say(text: str) -> None:
    print(f"edgeward rootd: {text}", flush=True)  # noqa: T201 - its manager's journal
