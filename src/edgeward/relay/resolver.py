"""The one door to DNS: c-ares on our own loop, by the host's rules (/etc/hosts too) or another server."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import pycares

from edgeward.relay.loop import IN, LOST, OUT, Loop, Timer
from edgeward.relay.names import Answer, Server, interleaved
from edgeward.relay.place import Address, Name

Told = Callable[[Answer | str], None]
"""Called with an answer, or with why there is none."""

_TRY_SECONDS, _TRIES = 1.0, 3
_MOST_SERVERS: Final = 16
_SETTINGS: Final = "/etc/resolv.conf"
_NOBODY: Final = -1


class Resolver:
    """Asks the host's DNS servers, or these (``IP`` or ``IP:PORT``)."""

    def __init__(self, loop: Loop, servers: Sequence[str] = ()) -> None:
        self._loop, self._own = loop, bool(servers)
        self._settings = _state_of_settings()
        self._asked = 0
        self._timer: Timer | None = None
        self._watched: set[int] = set()
        # No ``lookups=``: pycares 5.2 lets go of its text before c-ares has read it.
        self._channel = pycares.Channel(
            timeout=_TRY_SECONDS, tries=_TRIES, servers=servers or None, sock_state_cb=self._watch
        )

    def ask(self, name: Name, told: Told) -> None:
        """Ask for a name's addresses; ``told`` may be called before this returns."""
        self._read_settings_again()
        try:
            if name.srv:
                self._ask_services(name.host, told)
            else:
                self._ask_host(name.host, name.port, told)
        except pycares.AresError as error:
            told(str(error.args[-1] if error.args else error))
        self._wait()

    def _ask_host(self, host: str, port: int, told: Told) -> None:
        def answered(result: Any, error: int | None) -> None:
            self._asked -= 1
            told(_failure(error) if error is not None else _answer(result, port))

        self._channel.getaddrinfo(host, None, type=socket.SOCK_STREAM, callback=answered)
        self._asked += 1

    def _ask_services(self, name: str, told: Told) -> None:
        def answered(result: Any, error: int | None) -> None:
            self._asked -= 1
            if error is not None:
                told(_failure(error))
                return
            found = [
                r for r in result.answer if r.type == pycares.QUERY_TYPE_SRV and r.data.target.strip(".")
            ]
            ttl = min((record.ttl for record in result.answer), default=0)
            first = sorted((record.data for record in found), key=lambda data: data.priority)
            self._ask_hosts(first[:_MOST_SERVERS], ttl, told)

        self._channel.query(name, pycares.QUERY_TYPE_SRV, callback=answered)
        self._asked += 1

    def _ask_hosts(self, records: Sequence[Any], ttl: float, told: Told) -> None:
        """Find the hosts that SRV records name; some of them are enough."""
        if not records:
            told("the name has no SRV records")
            return
        found: list[tuple[Any, Answer | str]] = []

        def answered(record: Any, answer: Answer | str) -> None:
            found.append((record, answer))
            if len(found) == len(records):
                told(_together(found, ttl))

        for record in records:
            self._ask_host(record.target, record.port, partial(answered, record))

    # --- c-ares on our loop -----------------------------------------------------------------------

    def _watch(self, fd: int, readable: bool, writable: bool) -> None:
        events = (IN if readable else 0) | (OUT if writable else 0)
        if not events:
            self._watched.discard(fd)
            with suppress(OSError):
                self._loop.forget(fd)
        elif fd in self._watched:
            self._loop.change(fd, events)
        else:
            self._watched.add(fd)
            self._loop.watch(fd, lambda events: self._told(fd, events), events)

    def _told(self, fd: int, events: int) -> None:
        self._channel.process_fd(fd if events & (IN | LOST) else _NOBODY, fd if events & OUT else _NOBODY)
        self._wait()

    def _wait(self) -> None:
        """Have c-ares called when it wants to ask again."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._asked:
            seconds: float = self._channel.timeout()  # type: ignore[no-untyped-call]
            self._timer = self._loop.later(max(0.005, seconds), self._late)

    def _late(self) -> None:
        self._timer = None
        self._channel.process_fd(_NOBODY, _NOBODY)
        self._wait()

    def _read_settings_again(self) -> None:
        now = self._settings if self._own else _state_of_settings()
        if now != self._settings:
            self._settings = now
            with suppress(pycares.AresError):
                self._channel.reinit()


def _state_of_settings() -> tuple[int, int]:
    try:
        found = os.stat(_SETTINGS)  # noqa: PTH116
    except OSError:
        return (0, 0)
    return found.st_mtime_ns, found.st_ino


def _answer(result: Any, port: int) -> Answer | str:
    """Make an answer of c-ares's, which is in the order of RFC 6724."""
    addresses = interleaved(_address(node, port) for node in result.nodes)
    if not addresses:
        return "the name has no addresses"
    ttls = [record.ttl for record in (*result.nodes, *result.cnames)]
    return Answer((Server(addresses),), max(0, min(ttls)))


def _address(node: Any, port: int) -> Address:
    host = node.addr[0].decode() if isinstance(node.addr[0], bytes) else node.addr[0]
    if node.family == socket.AF_INET:
        return Address(socket.AF_INET, (host, port))
    return Address(socket.AF_INET6, (host, port, 0, node.addr[3]))


def _together(found: Sequence[tuple[Any, Answer | str]], ttl: float) -> Answer | str:
    good = [(record, answer) for record, answer in found if isinstance(answer, Answer)]
    if not good:
        return str(found[0][1])
    servers = [Server(answer.addresses, record.priority, record.weight) for record, answer in good]
    return Answer(tuple(servers), min(ttl, *(answer.ttl for _, answer in good)))


def _failure(error: int) -> str:
    if error in (pycares.errno.ARES_ENOTFOUND, pycares.errno.ARES_ENODATA):
        return "there is no such name"
    said = pycares.errno.strerror(error)
    return str(said.decode() if isinstance(said, bytes) else said)
