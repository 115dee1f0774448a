"""Keeps a relay in its tunnel's namespace for each place behind a site, and says which of them lead on."""

from __future__ import annotations

import asyncio
import errno
import re
import socket
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edgeward.actions import Unanswered
from edgeward.gateway.model import Behind, Service
from edgeward.log import logger
from edgeward.node.backends import sites
from edgeward.node.backends.sites import Relay, Sites

log = logger(__name__)
_LOOK_SECONDS: Final = 1.0
_STOP_AFTER_SECONDS: Final = 30.0
"""Envoy's connections to a backend that is no longer declared may still carry an answer."""
_FIRST_RETRY, _MOST_RETRY = 0.5, 15.0
_UNKNOWN_SECONDS: Final = 10.0
_AT_ONCE: Final = 4
_LONGEST_PATH: Final = 107
"""unix(7): ``sun_path`` takes 108 bytes with its end."""
_OURS: Final = re.compile(r"([a-z0-9][a-z0-9-]{0,47})/([0-9a-f]{16})\.sock")

Ask = Callable[[Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
"""Asks rootd; raises Unanswered."""


class Relays:
    """``changed(services)`` is called with those that lead elsewhere than before, by project and name.

    ``place``: rootd's directory of relays. Nothing is kept of them here: which ones run is seen there.
    """

    def __init__(self, ask: Ask, place: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._ask = ask
        self._place = place
        self._clock = clock
        self._services: tuple[Service, ...] = ()
        self._sites: Sites | None = None
        self._first: Sites = {}
        """What is known before all of it is."""
        self._began = clock()
        self._ready: frozenset[Relay] = frozenset()
        self._unwanted: dict[tuple[str, str], float] = {}
        self._failing: dict[Relay, _Failing] = {}
        self._due = asyncio.Event()
        self._late = False
        """Something may have come while others were being mended."""
        self.changed: Callable[[set[tuple[str, str]]], None] = lambda services: None

    # --- what is told -------------------------------------------------------------------------

    def want(self, services: Iterable[Service]) -> None:
        """Have relays for these services, and no others."""
        self._services = tuple(s for s in services if any(b.via for b in s.backends))
        self._look()
        self._due.set()

    def know(self, known: Sites, *, settled: bool = True) -> None:
        """Take in which sites there are, and how their tunnels do. ``settled``: that was looked at of all;
        at a start this is waited for, so that Envoy goes on meanwhile with what it has."""
        before = self._sites
        if before is None and not settled:
            self._first = known
            return
        if before == known:
            return
        self._sites = dict(known)
        self._failing.clear()  # the namespace they lacked may be there now
        self._look()
        self._tell(before)
        self._due.set()

    # --- what is said -------------------------------------------------------------------------

    def pending(self, service: Service) -> bool:
        """Tell whether it is not known yet how a service's sites do; Envoy goes by what it has then."""
        behind = any(b.via for b in service.backends)
        return behind and self._sites is None and self._clock() - self._began < _UNKNOWN_SECONDS

    def sockets(self, service: Service) -> dict[Behind, str]:
        """Give the sockets of those relays whose tunnels are up."""
        found = {}
        for place in sites.behind(service):
            site = self._site(service, place)
            if site is None or site.trouble:
                continue
            one = sites.relay(site, place)
            if one in self._ready:
                found[place] = str(self._socket(one))
        return found

    def problem(self, service: Service) -> str:
        """Give one sentence on what keeps visitors from places behind sites, or nothing."""
        return ". ".join(filter(None, (self._problem(service, place) for place in sites.behind(service))))

    def _problem(self, service: Service, place: Behind) -> str:
        site = self._site(service, place)
        if (said := sites.problem(site, place)) or site is None:
            return said
        one = sites.relay(site, place)
        if one is None or one in self._ready:
            return ""
        failing = self._failing.get(one)
        why = failing.why if failing else "it is being started"
        return f"there is no relay to {place.host} port {place.port} behind {place.site}: {why}"

    def _site(self, service: Service, place: Behind) -> sites.Site | None:
        return (self._sites or {}).get((service.project, place.site))

    # --- what is done -------------------------------------------------------------------------

    async def run(self) -> None:
        """See to it that the relays are there, for ever; that one is gone is seen while rootd hangs, too."""
        mending: asyncio.Task[None] | None = None
        async with asyncio.TaskGroup() as group:
            while True:
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_SECONDS):
                        await self._due.wait()
                self._due.clear()
                self._see()
                self._late = mending is not None and not mending.done()
                if not self._late:
                    mending = group.create_task(self._mend())

    async def tend(self) -> None:
        """Look once which relays are there, start those that lack and end those that nobody wants."""
        self._see()
        await self._mend()

    def _see(self) -> None:
        self._give_up_waiting()
        if self._look():
            self._tell(self._sites)

    async def _mend(self) -> None:
        await self._start()
        await self._stop()
        if self._late:
            self._due.set()

    def _give_up_waiting(self) -> None:
        if self._sites is None and self._services and self._clock() - self._began >= _UNKNOWN_SECONDS:
            self.know(self._first)

    def _wanted(self) -> frozenset[Relay]:
        return sites.wanted(self._services, self._sites or {})

    def _look(self) -> bool:
        """See which relays listen; gives whether others do than before."""
        ready = frozenset(one for one in self._wanted() if _listens(self._socket(one)))
        other, self._ready = ready != self._ready, ready
        return other

    def _tell(self, before: Sites | None) -> None:
        """Have those services published anew that may lead elsewhere."""
        for key, services in self._behind().items():
            was, now = (before or {}).get(key), (self._sites or {}).get(key)
            if was is not None and now is not None and bool(was.trouble) != bool(now.trouble):
                _say(key, now, services)
        self.changed({(s.project, s.name) for s in self._services})

    def _behind(self) -> dict[tuple[str, str], list[str]]:
        """Give the services behind each site."""
        found: dict[tuple[str, str], list[str]] = {}
        for service in self._services:
            for site in {place.site for place in sites.behind(service)}:
                found.setdefault((service.project, site), []).append(service.name)
        return found

    async def _start(self) -> None:
        now = self._clock()
        lacking = [
            one for one in self._wanted() - self._ready
            if one not in self._failing or self._failing[one].again <= now
        ]  # fmt: skip
        room = asyncio.Semaphore(_AT_ONCE)

        async def start(one: Relay) -> None:
            async with room:
                await self._begin(one)

        if lacking:
            await asyncio.gather(*(start(one) for one in lacking))
            if self._look():
                self._tell(self._sites)

    async def _begin(self, one: Relay) -> None:
        values = {**_named(one.namespace, one.name), "address": one.address, "port": one.port}
        why = await self._do("start-relay", {**values, "resolver": one.resolver})
        if not why and len(str(self._socket(one))) > _LONGEST_PATH:
            why = f"the path of its socket is over {_LONGEST_PATH} bytes; let rootd listen in a shorter place"
        if not why:
            self._failing.pop(one, None)
            log.info("a relay is started", namespace=one.namespace, to=f"{one.address} port {one.port}")
            return
        before = self._failing.get(one)
        if before is None or before.why != why:
            log.warning("a relay cannot be started", namespace=one.namespace, to=one.address, problem=why)
        retry = _FIRST_RETRY if before is None else min(before.retry * 2, _MOST_RETRY)
        self._failing[one] = _Failing(why, retry, self._clock() + retry)

    async def _stop(self) -> None:
        """End the relays that nobody has wanted for a while, in the namespaces of our sites."""
        if self._sites is None:
            return
        wanted = {(one.namespace, one.name) for one in self._wanted()}
        mine = {site.namespace for site in self._sites.values()}
        there = {key for key in _sockets(self._place) if key[0] in mine and key not in wanted}
        now = self._clock()
        self._unwanted = {key: self._unwanted.get(key, now) for key in there}
        for key in [key for key, since in self._unwanted.items() if now - since >= _STOP_AFTER_SECONDS]:
            await self._do("stop-relay", _named(*key))
            self._unwanted[key] = now

    async def _do(self, action: str, values: Mapping[str, str | int]) -> str:
        """Have rootd do it; gives why it did not."""
        try:
            said = await self._ask({"action": action, "values": values})
        except Unanswered as error:
            return str(error)
        if said.get("outcome") == "done" and said.get("exit") == 0:
            return ""
        return str(said.get("output") or said.get("reason") or said.get("outcome")).strip()

    def _socket(self, one: Relay) -> Path:
        return self._place / one.place


class _Failing:
    def __init__(self, why: str, retry: float, again: float) -> None:
        self.why, self.retry, self.again = why, retry, again


def _say(key: tuple[str, str], site: sites.Site, services: list[str]) -> None:
    about = {"site": "/".join(key), "services": services}
    if site.trouble:
        log.warning(
            "what is behind a site is gone until its tunnel is up again", problem=site.trouble, **about
        )
    else:
        log.info("what is behind a site is there: its tunnel is up", **about)


def _named(namespace: str, name: str) -> dict[str, str | int]:
    return {"namespace": namespace, "relay": name}


def _sockets(place: Path) -> set[tuple[str, str]]:
    found = (_OURS.fullmatch(f"{path.parent.name}/{path.name}") for path in place.glob("*/*.sock"))
    return {(match[1], match[2]) for match in found if match is not None}


def _listens(path: Path) -> bool:
    """Tell whether somebody listens on a stream socket, without coming to him: a connection of another type
    is refused for its type where there is one, and for want of him where not (unix_find_bsd in af_unix.c)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            return error.errno == errno.EPROTOTYPE
    return False
