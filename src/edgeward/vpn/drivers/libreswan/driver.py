"""The driver: tells one pluto of each pair of networks by itself, never of all, and says how its tunnels do.

What pluto was told last is in files beside its secrets, since it does not say: they go with it. What is about
to change is taken out of them first, so that who was stopped on the way tells it again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

from edgeward.errors import Invalid, NotFound, Problem, Unavailable
from edgeward.vpn.desired import Connection
from edgeward.vpn.driver import Line, State
from edgeward.vpn.drivers.keeping import Keeper
from edgeward.vpn.drivers.libreswan import lines, reasons, status, text
from edgeward.vpn.drivers.libreswan.certificates import Certificates
from edgeward.vpn.drivers.libreswan.following import Life, Log
from edgeward.vpn.drivers.libreswan.refusals import refusals
from edgeward.vpn.drivers.libreswan.states import States
from edgeward.vpn.drivers.libreswan.whack import Pluto, write
from edgeward.vpn.listening import Listeners

_BEGIN_SECONDS: Final = 14.0
_ENABLED: Final = "conf"
_DISABLED: Final = "disabled"


class Libreswan:
    """One pluto; see ``opened``."""

    def __init__(self, pluto: Pluto) -> None:
        self._pluto = pluto
        self._known: dict[str, Connection] = {}
        self._lock = asyncio.Lock()
        self._findings: dict[str, reasons.Finding] = {}
        self._listeners = Listeners()
        self._keeper = Keeper(self._again)
        self._states = States()
        self._certificates = Certificates(pluto.own / "nss")
        self._life = Life(pluto.pid, self._listeners.end)
        try:
            self._log = Log(pluto.log, self._heard)
        except Unavailable:
            self._life.close()
            raise
        self._tasks: list[asyncio.Task[None]] = []

    async def loaded(self) -> frozenset[str]:
        disabled = {file.stem for file in self._pluto.own.glob(f"*.{_DISABLED}")}
        return frozenset(map(text.whose, await self._sections())) | disabled

    async def load(self, connection: Connection, before: Connection | None, *, initiate: bool) -> None:
        """As Driver says. ``initiate``: it is kept up too, as long as it is not terminated."""
        if found := refusals(connection):
            raise Invalid(*(Problem(field, why) for field, why in found))
        async with self._lock:
            if not connection.enabled:
                await self._forget(connection.id)
                write(self._file(connection.id, _DISABLED), "")
                self._known[connection.id] = connection
                self._listeners.tell([connection.id])
                return
            keep = initiate and connection.initiator
            with self._keeper.told(connection.id, keep=keep):
                ended = await self._told(connection)
            self._known[connection.id] = connection
        if ended:
            self._findings.pop(connection.id, None)
            self._listeners.tell([connection.id])
        if keep:
            await self._begin(connection)
        if ended:
            await self._take_along(connection)

    async def _take_along(self, connection: Connection) -> None:
        """Have those come up again whose IKE_SA was begun for one that changed."""
        for other in [one for one in self._known.values() if one.enabled and one.id != connection.id]:
            if _peers(other) == _peers(connection) and self._keeper.wants(other.id):
                await self._begin(other)

    async def unload(self, connection: str) -> None:
        async with self._lock:
            await self._forget(connection)
            self._known.pop(connection, None)

    async def initiate(self, connection: str) -> None:
        known = self._named(connection)
        self._keeper.want(connection)
        self._findings.pop(connection, None)
        began, clock = time.time(), time.monotonic()
        await self._begin(known)
        while (passed := time.monotonic() - clock) < _BEGIN_SECONDS:
            missing = await self._missing(known)
            if not missing:
                return
            finding = self._findings.get(connection)
            if finding is not None and finding.kind not in reasons.SOFT:
                break
            await asyncio.sleep(0.02 if passed < 1 else 0.2)
        now = time.time()
        found = self._findings.get(connection) or reasons.Finding(connection, "silent", (), began)
        raise Unavailable("; ".join(reasons.told(found, known, now)))

    async def terminate(self, connection: str) -> None:
        self._named(connection)
        self._keeper.leave(connection)
        async with self._lock:
            known = self._named(connection)  # it may have been changed, or taken away, meanwhile
            names = [name for name in await self._sections() if text.whose(name) == connection]
            await self._pluto.delete(names)
            for name, section in text.sections(known).items():
                await self._pluto.add(name, section)
        self._findings.pop(connection, None)
        self._listeners.tell([connection])

    async def states(self) -> Mapping[str, State]:
        now = time.time()
        found: dict[str, list[status.Section]] = {}
        for name, section in (await self._sections(traffic=True)).items():
            found.setdefault(text.whose(name), []).append(section)
        return {
            one.id: self._states.of(
                one, found.get(one.id, ()), self._findings.get(one.id), self._keeper.waits(one.id), now
            )
            for one in [one for one in self._known.values() if not one.enabled or one.id in found]
        }

    async def answers(self) -> None:
        """Say nothing: to ask pluto takes a program of its own, so that it is asked with the figures only."""

    async def events(self) -> AsyncIterator[str]:
        async for each in self._listeners.each():
            yield each

    async def lines(self, connection: str, last: int) -> Sequence[Line]:
        known = self._known.get(connection)
        peer = "" if known is None else known.peer_address
        return await asyncio.to_thread(lines.newest, self._pluto.log, connection, peer, last)

    def beside(self, *, left: bool) -> None:
        """Nothing to be done: pluto puts nothing in the kernel before it has keys."""

    async def verbosity(self, level: int) -> None:
        await self._pluto.whack("--debug", "base" if level > 1 else "none")

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._log.close()
        self._life.close()
        self._listeners.end()

    async def open(self, known: Iterable[Connection]) -> None:
        """Have it hear at all addresses, and begin to look after it."""
        self._known.update((one.id, one) for one in known)
        await self._pluto.whack("--listen")
        self._tasks = [asyncio.create_task(self._keeper.run())]

    async def _told(self, connection: Connection) -> bool:
        """Tell pluto of it; what that does not take, and does not know, leaves no secret there."""
        try:
            return await self._tell(connection)
        except Invalid:
            if connection.id not in map(text.whose, await self._sections()):
                await self._forget(connection.id)
            raise

    async def _tell(self, connection: Connection) -> bool:
        """Have pluto know it; gives whether something that was up had to end."""
        wanted, said = text.sections(connection), self._said(connection.id)
        new_secret = await self._prove(connection, said)
        sections = await self._sections()
        here = {name: one for name, one in sections.items() if text.whose(name) == connection.id}
        gone = [name for name in here if name not in wanted]
        stale = [name for name in here if name in wanted and (new_secret or said.get(name) != wanted[name])]
        if stale:
            self._say(connection.id, (one for name, one in said.items() if name not in stale))
        await self._pluto.delete([*gone, *stale])
        if set(wanted) - set(here):
            await self._pluto.whack("--listen")  # an address may have come since
        for name, section in wanted.items():
            if name not in here or name in stale:
                await self._pluto.add(name, section)
        self._say(connection.id, wanted.values())
        self._file(connection.id, _DISABLED).unlink(missing_ok=True)
        return any(here[name].child is not None or here[name].coming for name in (*gone, *stale))

    async def _prove(self, connection: Connection, said: Mapping[str, str]) -> bool:
        """Give pluto the secret of one; gives whether it was another before, as far as is known."""
        file, lines = self._file(connection.id, "secrets"), text.secrets([connection])
        before = file.read_text() if file.exists() else ""
        if said and before == lines and self._certificates.has(connection):
            return False
        self._file(connection.id, _ENABLED).unlink(missing_ok=True)
        await self._certificates.have(connection)
        if lines:
            write(file, lines)
        else:
            file.unlink(missing_ok=True)
        if lines or before:
            await self._reread()
        return True

    async def _reread(self) -> None:
        for patience in (0.2, 0.5, 0.0):  # one that has just begun may still be busy with its own start
            said = await self._pluto.whack("--rereadsecrets")
            problem = next((line for line in said.splitlines() if "ERROR" in line), "")
            if not problem:
                return
            await asyncio.sleep(patience)
        raise Unavailable(f"Libreswan did not read the secrets: {problem[:200]}")

    async def _begin(self, connection: Connection) -> None:
        for name in await self._missing(connection):
            await self._pluto.whack("--name", name, "--asynchronous", "--initiate")

    async def _missing(self, connection: Connection) -> list[str]:
        """Give its sections that carry nothing: one that does would be carried twice."""
        sections = await self._sections()
        return [
            name for name in text.sections(connection) if name in sections and sections[name].child is None
        ]

    async def _again(self, connection: str) -> bool | None:
        """Have one come up that should be and is not; gives whether it is up, None while it comes."""
        known = self._named(connection)
        sections = await self._sections()
        mine = [sections[name] for name in text.sections(known) if name in sections]
        if all(one.child is not None for one in mine):
            return True
        if any(one.coming for one in mine):
            return None
        await self._begin(known)
        return False

    async def _forget(self, connection: str) -> None:
        """Have pluto know nothing of it any more."""
        self._keeper.leave(connection)
        self._states.forget(connection)
        await self._pluto.delete([name for name in await self._sections() if text.whose(name) == connection])
        secret, told = self._file(connection, "secrets"), self._file(connection, _ENABLED)
        if secret.exists() or told.exists():
            secret.unlink(missing_ok=True)
            await self._reread()
        await self._certificates.forget(connection)
        for kind in (_ENABLED, _DISABLED):
            self._file(connection, kind).unlink(missing_ok=True)
        self._findings.pop(connection, None)

    async def _sections(self, *, traffic: bool = False) -> Mapping[str, status.Section]:
        counted = await self._pluto.whack("--trafficstatus") if traffic else ""
        return status.read(await self._pluto.whack("--status"), counted)

    def _say(self, connection: str, sections: Iterable[str]) -> None:
        write(self._file(connection, _ENABLED), "\n".join(sections))

    def _said(self, connection: str) -> Mapping[str, str]:
        """Give its sections as pluto was told of them last."""
        try:
            whole = self._file(connection, _ENABLED).read_text()
        except FileNotFoundError:
            return {}
        found = ("conn " + part.rstrip("\n") + "\n" for part in whole.split("conn ") if part)
        return {part.split(None, 2)[1]: part for part in found}

    def _file(self, connection: str, kind: str) -> Path:
        return self._pluto.own / f"{connection}.{kind}"

    def _named(self, connection: str) -> Connection:
        known = self._known.get(connection)
        if known is None or not known.enabled:
            raise NotFound(f"there is no connection {connection} here, or it is disabled; load it first")
        return known

    def _heard(self, line: str) -> None:
        connection = reasons.concerned(line)
        if connection is None:
            return
        if reasons.is_up(line):
            self._findings.pop(connection, None)
        elif connection in self._known and (found := reasons.read(line, time.time())):
            self._findings[connection] = reasons.kept(self._findings.get(connection), found)
        self._keeper.went([connection])
        self._listeners.tell([connection])


def _peers(one: Connection) -> tuple[str, ...]:
    return one.local_address, one.peer_address, one.local_id, one.peer_id


async def opened(place: Path, known: Iterable[Connection] = ()) -> Libreswan:
    """Give the driver of the pluto that rootd keeps at a place; raises Unavailable. It is to be closed.

    ``known``: its connections as they were last loaded.
    """
    driver = Libreswan(Pluto(place))
    try:
        await driver.open(known)
    except BaseException:
        await driver.close()
        raise
    return driver
