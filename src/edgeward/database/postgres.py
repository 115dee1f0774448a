"""PostgreSQL, by psycopg, whose one door this is: its address, connections that end every wait, its news."""

from __future__ import annotations

import asyncio
import select
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

import psycopg
from psycopg import waiting
from psycopg.abc import PQGen
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from edgeward.database.opening import CHANNEL
from edgeward.errors import Invalid

OLDEST: Final = 15

_CONNECT: Final = 3
_STATEMENT: Final = 30
_ANSWER: Final = 40.0
"""Seconds until a statement is given up by us: the server gives it up before, unless it is paused."""
_GRACE: Final = 0.2
_BEAT: Final = 1.0
_PATIENCE: Final = 2.0
_FIRST_RETRY, _LAST_RETRY = 0.2, 1.0
_LEAST_DELAY: Final = 0.05

# By the server, for each session. The long one is for writers: they wait for each other, and what one of
# them prepares between two statements takes seconds where a hundred thousand objects are applied.
_SESSION: Final = {
    "statement_timeout": f"{_STATEMENT}s",
    "lock_timeout": "25s",
    "idle_in_transaction_session_timeout": "30s",
    "tcp_keepalives_idle": "10s",
    "tcp_keepalives_interval": "5s",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "15s",
}
_DEFAULTS: Final = {
    "application_name": "edgeward",
    "client_encoding": "UTF8",
    "connect_timeout": str(_CONNECT),
    "target_session_attrs": "read-write",
    "keepalives_idle": "10",
    "keepalives_interval": "5",
    "keepalives_count": "3",
    "tcp_user_timeout": "15000",
}
_Result = TypeVar("_Result")


class Notified(Protocol):
    """What a listener tells: messages, and that the database is back (or there for the first time)."""

    async def heard(self, topic: str, text: str) -> None: ...

    async def regained(self) -> None: ...


@dataclass(frozen=True)
class Lost:
    """The database cannot be asked, since when (Unix seconds) and why."""

    since: float
    reason: str


def parameters(url: str) -> dict[str, str]:
    """Read ``postgresql://…`` as libpq does, add what bounds every wait; raises Invalid."""
    try:
        given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    except psycopg.Error:  # its text may hold the address, and that a password
        raise _no_address() from None
    if not given.get("connect_timeout", "0").isdecimal():
        raise _no_address()
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    options = f"{session} {given.pop('options', '')}".strip()
    return {**_DEFAULTS, **given, "options": options}


def _no_address() -> Invalid:
    return Invalid(
        "EDGEWARD_DATABASE is not an address PostgreSQL's own programs understand;"
        " write postgresql://USER@HOST:PORT/DATABASE, special characters as %XX"
    )


class Connection(psycopg.AsyncConnection[Any]):
    """Gives up on a server that is silent, and closes where it is given up: it never waits to be told so."""

    waits: set[asyncio.Timeout] | None = None
    patience = _ANSWER

    async def wait(self, gen: PQGen[_Result], interval: float = 0.1, timeout: float | None = None) -> _Result:
        """As the one it replaces; that one asks a paused server to cancel, which takes forever."""
        waits = self.waits if self.waits is not None else set()
        try:
            async with asyncio.timeout(self.patience) as limit:
                waits.add(limit)
                try:
                    return await waiting.wait_async(gen, self.pgconn.socket, interval, timeout)
                finally:
                    waits.discard(limit)
        except TimeoutError as error:
            self.pgconn.finish()
            raise psycopg.OperationalError("it was asked and did not answer in time") from error
        except asyncio.CancelledError:
            self.pgconn.finish()
            raise


class Link:
    """The way to one database: opens connections, listens for news, and knows whether it is lost."""

    def __init__(self, given: Mapping[str, str]) -> None:
        self._parameters = dict(given)
        self._password = given.get("password")
        self._waits: set[asyncio.Timeout] = set()
        self.lost: Lost | None = None

    async def connection(self) -> Connection:
        """Open one; raises psycopg's errors, and Invalid for a server that can never do."""
        made = await self._opened(autocommit=False)
        made.waits = self._waits
        return made

    async def listen(self, told: Notified) -> None:
        """Tell what others notify, and keep ``lost`` up to date, until cancelled.

        A connection that ends says nothing yet: lost is the database where no new one can be had.
        """
        delay = _FIRST_RETRY
        while True:
            try:
                async with asyncio.timeout(self._longest_connect()):
                    connection = await self._opened(autocommit=True)
                    await connection.execute(f"LISTEN {CHANNEL}")
            except (psycopg.Error, OSError, TimeoutError, Invalid) as error:
                self._lose(self.reason(error))
                await asyncio.sleep(delay)
                delay = min(delay * 1.5, _LAST_RETRY)
                continue
            self.lost, delay = None, _FIRST_RETRY
            try:
                await told.regained()
                await self._follow(connection, told)
            except (psycopg.Error, OSError):
                await asyncio.sleep(_LEAST_DELAY)
            finally:
                await connection.close()

    def reason(self, error: BaseException) -> str:
        """Give an error in one line, without the password."""
        text = "; ".join(line.strip() for line in str(error).splitlines() if line.strip())
        if self._password:
            text = text.replace(self._password, "****")
        return text or type(error).__name__

    async def _follow(self, connection: Connection, told: Notified) -> None:
        connection.patience = _PATIENCE
        while True:
            async for message in connection.notifies(timeout=_BEAT):
                topic, _, text = message.payload.partition(":")
                await told.heard(topic, text)
            await connection.execute("SELECT 1")

    def _lose(self, reason: str) -> None:
        self.lost = Lost(time.time() if self.lost is None else self.lost.since, reason)
        now = asyncio.get_running_loop().time()
        for limit in list(self._waits):  # they would wait for an answer that does not come
            limit.reschedule(now + _GRACE)

    def _longest_connect(self) -> float:
        each = max(float(self._parameters["connect_timeout"] or 0), _PATIENCE)  # zero: without end
        return 1.0 + each * len(self._parameters.get("host", "").split(","))

    async def _opened(self, autocommit: bool) -> Connection:
        made = await Connection.connect(make_conninfo(**self._parameters), autocommit=autocommit)
        try:
            _check(made.pgconn.server_version, made.info.parameter_status("server_encoding"))
        except Invalid:
            await made.close()
            raise
        return made


def alive(connection: psycopg.AsyncConnection[Any]) -> bool:
    """Say whether an idle connection is still good: a server that ended it has said so, or hung up."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.pgconn.socket, select.POLLIN | select.POLLHUP | select.POLLERR)
    return not poll.poll(0)


def _check(version: int, encoding: str | None) -> None:
    if version < OLDEST * 10000:
        raise Invalid(f"PostgreSQL {version // 10000} is too old; Edgeward needs {OLDEST} or newer")
    if encoding != "UTF8":
        raise Invalid(f"the database's encoding is {encoding}; make one with ENCODING 'UTF8'")
