"""Keeps the addresses of backends' names current, and says in a sentence what is wrong with a service's."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from edgeward.errors import EdgewardError, NotFound
from edgeward.gateway.model import Service
from edgeward.gateway.resolve import permitted
from edgeward.log import logger
from edgeward.node.backends.resolver import Names

log = logger(__name__)
_FLOOR_SECONDS, _CAP_SECONDS = 1.0, 3600.0
_FIRST_RETRY, _MOST_RETRY = 1.0, 30.0
_AT_ONCE = 50


@dataclass(slots=True)
class _Host:
    addresses: tuple[str, ...] = ()
    known: bool = False
    """An answer, good or bad, was had at least once."""
    problem: str = ""
    retry: float = _FIRST_RETRY
    task: asyncio.Task[None] | None = None


class Backends:
    """``changed(hosts)`` is called when addresses or problems of these hosts are other ones."""

    def __init__(self, names: Names, remembered: Mapping[str, list[str]]) -> None:
        self._names = names
        self._hosts: dict[str, _Host] = {}
        self._remembered = dict(remembered)
        self._places = asyncio.Semaphore(_AT_ONCE)
        self._group: asyncio.TaskGroup | None = None
        self.changed: Callable[[set[str]], None] = lambda hosts: None

    async def run(self) -> None:
        """Carry the lookups, for ever."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            for host in self._hosts:
                self._start(host)
            await asyncio.Event().wait()

    def want(self, services: Iterable[Service]) -> None:
        """Resolve the names of these services, and no others."""
        wanted = {b.host for s in services for b in s.backends if b.looked_up}
        for host in self._hosts.keys() - wanted:
            task = self._hosts.pop(host).task
            if task is not None:
                task.cancel()
        for host in wanted - self._hosts.keys():
            before = self._remembered.pop(host, None)  # true only until it is asked for
            self._hosts[host] = _Host(tuple(before or ()), known=before is not None)
            self._start(host)

    def _start(self, host: str) -> None:
        if self._group is not None:
            self._hosts[host].task = self._group.create_task(self._follow(host, self._hosts[host]))

    async def _follow(self, host: str, entry: _Host) -> None:
        while True:
            async with self._places:
                pause = await self._look_up(host, entry)
            await asyncio.sleep(pause)

    async def _look_up(self, host: str, entry: _Host) -> float:
        before = (entry.known, entry.addresses, entry.problem)
        try:
            found = await self._names.resolve(host)
            entry.addresses, entry.problem, entry.retry = found.addresses, "", _FIRST_RETRY
            pause = min(max(float(found.ttl), _FLOOR_SECONDS), _CAP_SECONDS)
        except EdgewardError as error:
            entry.problem = self._failed(error, entry)
            pause = entry.retry
            entry.retry = min(entry.retry * 2, _MOST_RETRY)
        entry.known = True
        if (entry.known, entry.addresses, entry.problem) != before:
            log.info("backend addresses", host=host, addresses=entry.addresses, problem=entry.problem)
            self.changed({host})
        return pause

    @staticmethod
    def _failed(error: EdgewardError, entry: _Host) -> str:
        kept = "; the last good answer is used on" if entry.addresses else ""
        what = str(error) if isinstance(error, NotFound) else f"it cannot be resolved, {error}"
        return what + kept

    def pending(self, service: Service) -> bool:
        """Tell whether nothing is known yet of one of a service's names."""
        return any(not self._hosts[h].known for h in _names_of(service) if h in self._hosts)

    def addresses(self, service: Service) -> dict[str, list[str]]:
        """Give the permitted addresses of each of a service's names."""
        return {
            host: [a for a in self._hosts[host].addresses if permitted(a, service.allow_networks)]
            for host in _names_of(service)
            if host in self._hosts
        }

    def problem(self, service: Service) -> str:
        """Give one sentence on what is wrong with a service's names, or nothing."""
        sentences = []
        for host in sorted(_names_of(service)):
            entry = self._hosts.get(host)
            if entry is None:
                continue
            refused = [a for a in entry.addresses if not permitted(a, service.allow_networks)]
            if entry.problem:
                sentences.append(f"{host}: {entry.problem}")
            if refused:
                sentences.append(
                    f"{host} resolves into {', '.join(refused[:3])}, which backends may not use; an admin"
                    " may list the network in the service's allow_networks"
                )
        return ". ".join(sentences)

    def good(self) -> dict[str, list[str]]:
        """Give the last good answers, for keeping."""
        return {host: list(e.addresses) for host, e in self._hosts.items() if e.addresses}


def _names_of(service: Service) -> set[str]:
    return {b.host for b in service.backends if b.looked_up}
