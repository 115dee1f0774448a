"""The door to vici, charon's protocol: packets of a length and a type, over a Unix socket.

Codec: the ``vici`` package; its sessions block, so that the talking is ours.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from vici.exception import DeserializationException
from vici.protocol import FiniteStream, Message, Packet

from edgeward.errors import Invalid, Unavailable

Answer = Mapping[str, Any]
"""Sections are mappings, values texts, lists of values lists of texts."""
_SECONDS: Final = 10.0
_MOST_BYTES: Final = 1_048_576
_AGAIN_SECONDS: Final = 0.02


class NotDone(Unavailable):
    """charon understood, and says why it did not; the message is its own."""


class Vici:
    """One charon. Each talk is a connection of its own: nobody waits for another's long one."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        """Give a connection for several requests; raises Unavailable."""
        try:
            async with asyncio.timeout(_SECONDS):
                reader, writer = await self._connected()
        except (OSError, TimeoutError) as error:
            raise Unavailable("charon does not answer; see whether it runs") from error
        try:
            yield Talk(reader, writer)
        finally:
            writer.transport.abort()  # a charon that hangs takes in nothing that would have to be waited for

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        while True:
            reader, writer = await asyncio.open_unix_connection(str(self._path), limit=2 * _MOST_BYTES)
            if writer.get_extra_info("peername") is not None:
                return reader, writer
            # asyncio takes EAGAIN, which says that too many wait already (unix(7)), for one that is under way
            writer.transport.abort()
            await asyncio.sleep(_AGAIN_SECONDS)

    async def request(self, command: str, message: Answer | None = None) -> Answer:
        async with self.talk() as talk:
            return await talk.request(command, message)

    async def events(self, kinds: Sequence[str]) -> AsyncIterator[tuple[str, Answer]]:
        """Yield (kind, message) as they come, first ("", {}) once all are listened to; ends with charon."""
        async with self.talk() as talk:
            for kind in kinds:
                await talk.listen(kind)
            yield "", {}
            while True:
                try:
                    yield await talk.heard()
                except Unavailable:
                    return


class Talk:
    """One connection: requests one after the other."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(
        self, command: str, message: Answer | None = None, *, seconds: float = _SECONDS
    ) -> Answer:
        """Ask, and give the answer; raises NotDone, or Unavailable where none comes in time."""
        answers = [found async for kind, found in self._asked(command, message, seconds) if not kind]
        return answers[0]

    async def streamed(
        self, command: str, event: str, message: Answer | None = None, *, seconds: float = _SECONDS
    ) -> AsyncIterator[Answer]:
        """Ask, and yield the events that come before the answer; raises as ``request`` does."""
        await self.listen(event)
        async for kind, found in self._asked(command, message, seconds):
            if kind:
                yield found

    async def listen(self, event: str) -> None:
        async with _in_time(_SECONDS):
            await self._send(Packet.register_event(event))
            while True:
                kind, _ = await self._packet()
                if kind == Packet.EVENT_CONFIRM:
                    return
                if kind != Packet.EVENT:
                    raise Unavailable(f"charon knows no event {event}; 5.9.8 and later do")

    async def heard(self) -> tuple[str, Answer]:
        """Wait for the next event; raises Unavailable once charon has ended."""
        async with _in_time(None):
            while True:
                kind, body = await self._packet()
                if kind == Packet.EVENT:
                    return _event(body)

    async def _asked(
        self, command: str, message: Answer | None, seconds: float
    ) -> AsyncIterator[tuple[str, Answer]]:
        serialized = _serialized(message) if message is not None else None
        async with _in_time(seconds):
            await self._send(Packet.request(command, serialized))
        while True:
            async with _in_time(seconds):
                kind, body = await self._packet()
            if kind == Packet.EVENT:
                yield _event(body)
                continue
            if kind != Packet.CMD_RESPONSE:
                raise Unavailable(f"charon knows no command {command}; 5.9.8 and later do")
            answer = _message(body)
            if answer.get("success", "yes") != "yes":
                raise NotDone(str(answer.get("errmsg", "no reason given")))
            yield "", answer
            return

    async def _send(self, packet: bytes) -> None:
        self._writer.write(struct.pack("!I", len(packet)) + packet)
        await self._writer.drain()

    async def _packet(self) -> tuple[int, bytes]:
        (length,) = struct.unpack("!I", await self._reader.readexactly(4))
        if not 0 < length <= _MOST_BYTES:
            raise Unavailable(f"charon sent {length} bytes at once")
        packet = await self._reader.readexactly(length)
        return packet[0], packet[1:]


@asynccontextmanager
async def _in_time(seconds: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout(seconds):
            yield
    except TimeoutError as error:
        raise Unavailable(f"charon does not answer within {seconds:g} s") from error
    except (OSError, EOFError, struct.error) as error:
        raise Unavailable("charon has ended") from error


def _event(body: bytes) -> tuple[str, Answer]:
    length = body[0] if body else 0
    return body[1 : 1 + length].decode(errors="replace"), _message(body[1 + length :])


def _message(body: bytes) -> Answer:
    try:
        return _texts(Message.deserialize(FiniteStream(body)))
    except (DeserializationException, struct.error, UnicodeDecodeError) as error:
        raise Unavailable("charon sent what is no message") from error


def _texts(found: Mapping[str, Any]) -> dict[str, Any]:
    return {key: _text(value) for key, value in found.items()}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, list):
        return [item.decode(errors="replace") for item in value]
    return _texts(value)


def _serialized(message: Answer) -> bytes:
    try:
        found: bytes = Message.serialize(message)
    except (struct.error, UnicodeEncodeError) as error:
        raise Invalid("strongSwan takes no value of more than 65535 bytes") from error
    return found
