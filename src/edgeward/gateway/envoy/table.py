"""Which hosts get which routes, kept up while routes and domains change: a change costs what it touches."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass

from edgeward.domain_name import CATCH_ALL, wildcard_of
from edgeward.gateway.model import Route

Key = tuple[str, str]
"""Project and name."""
Levels = tuple[tuple["Led", ...], ...]
"""A host's own routes, then those of each wildcard above it, the nearest first; nothing: left open."""
_FEW_SUFFIXES = 16


class Led:
    """A declared route, whatever it says at the time, and the groups that have it."""

    __slots__ = ("alone", "groups", "key", "route")

    def __init__(self, key: Key, route: Route) -> None:
        self.key = key
        self.route = route
        self.alone = (self,)
        self.groups: set[Group] = set()


@dataclass(frozen=True)
class Part:
    """Virtual hosts as they stand in a route configuration, and the hash of that."""

    body: bytes
    digest: bytes


@dataclass(frozen=True)
class Made:
    """What comes of a group: its virtual hosts for HTTPS, and those for plain HTTP, once they were needed.

    ``upgraded``: over plain HTTP all its routes do is to redirect to HTTPS. ``wild``: it has a wildcard.
    """

    secure: Part
    plain: Part | None
    upgraded: bool
    wild: bool


class Group:
    """Hosts that get equal routes. ``made``: what somebody made of it, until it changes."""

    __slots__ = ("_hosts", "_ordered", "guarded", "levels", "made")

    def __init__(self, levels: Levels, guarded: bool) -> None:
        self.levels = levels
        self.guarded = guarded
        """Nobody gets there without showing a certificate."""
        self.made: Made | None = None
        self._hosts: set[str] = set()
        self._ordered: list[str] | None = None

    def __len__(self) -> int:
        return len(self._hosts)

    def __contains__(self, host: str) -> bool:
        return host in self._hosts

    @property
    def hosts(self) -> list[str]:
        """The hosts in order."""
        if self._ordered is None:
            self._ordered = sorted(self._hosts)
        return self._ordered

    def add(self, host: str) -> None:
        self.made = None
        self._hosts.add(host)
        if self._ordered is not None:
            insort(self._ordered, host)

    def discard(self, host: str) -> None:
        self.made = None
        self._hosts.discard(host)
        if self._ordered is not None:
            del self._ordered[bisect_left(self._ordered, host)]


class RouteTable:
    """``put`` and ``remove`` routes, say which ``domains`` there are, then ask for the ``groups``."""

    def __init__(self) -> None:
        self._led: dict[Key, Led] = {}
        self._own: dict[str, tuple[Led, ...]] = {}
        self._wild: set[str] = set()
        self._groups: dict[tuple[Levels, bool], Group] = {}
        self._group_of: dict[str, Group] = {}
        self._order: list[Group] = []
        self._domains: Mapping[str, str] = {}
        self._guards: dict[str, bool] = {}
        self._stale: set[str] = set()
        self._stale_below: set[str] = set()

    def __len__(self) -> int:
        """The number of hosts."""
        return len(self._own)

    def put(self, route: Route) -> None:
        """Add a route, or take it as it is now."""
        key = route.project, route.name
        led = self._led.get(key)
        before: tuple[str, ...] = () if led is None else led.route.hosts
        if led is None:
            led = self._led[key] = Led(key, route)
        other_way = led.route.tls != route.tls
        led.route = route
        self._forget(led)
        if other_way:
            for host in before:
                self._moved(host)
        if before != route.hosts:
            old, new = set(before), set(route.hosts)
            for host in old - new:
                self._leave(host, led)
            for host in new - old:
                self._join(host, led)

    def remove(self, key: Key) -> None:
        led = self._led.pop(key, None)
        if led is not None:
            for host in set(led.route.hosts):
                self._leave(host, led)

    def touch(self, key: Key) -> None:
        """What the route leads to is another."""
        if key in self._led:
            self._forget(self._led[key])

    def touch_all(self) -> None:
        """Nothing that was made of any group holds."""
        for group in self._groups.values():
            group.made = None

    def domains(self, domains: Mapping[str, str], doubtful: Collection[str] | None = None) -> None:
        """Take domain → project. ``doubtful``: those of a mapping given before that may be other ones."""
        if domains is self._domains:
            self._stale.update(domains if doubtful is None else doubtful)
        else:
            self._stale.update(name for name, _ in domains.items() ^ self._domains.items())
        self._domains = domains

    def guards(self, guards: Mapping[str, bool]) -> None:
        """Take the domains whose visitors show certificates, and whether all must."""
        for name, _ in guards.items() ^ self._guards.items():
            self._stale.add(name)
            if name.startswith("*."):
                self._stale_below.add(name)
        self._guards = dict(guards)

    def groups(self) -> list[Group]:
        """Give all groups in the order of their first hosts."""
        self._settle()
        return self._order

    @staticmethod
    def _forget(led: Led) -> None:
        for group in led.groups:
            group.made = None

    def _join(self, host: str, led: Led) -> None:
        there = self._own.get(host)
        self._own[host] = led.alone if there is None else tuple(sorted((*there, led), key=_by_key))
        self._moved(host)

    def _leave(self, host: str, led: Led) -> None:
        left = tuple(other for other in self._own[host] if other is not led)
        if left:
            self._own[host] = left[0].alone if len(left) == 1 else left
        else:
            del self._own[host]
        self._moved(host)

    def _moved(self, host: str) -> None:
        self._stale.add(host)
        if host.startswith("*"):
            (self._wild.add if host in self._own else self._wild.discard)(host)
            self._stale_below.add(host)

    def _settle(self) -> None:
        stale, self._stale = self._stale, set()
        below, self._stale_below = self._stale_below, set()
        if below:
            stale.update(_below(self._own, below), _below(self._domains, below))
        for host in stale:
            self._place(host)
        if stale:
            self._order = sorted(self._groups.values(), key=lambda group: group.hosts[0])

    def _place(self, host: str) -> None:
        levels = self._levels(host)
        before = self._group_of.get(host)
        if levels is None:
            self._group_of.pop(host, None)
        else:
            key = levels, self._guards.get(self._guard(host) or "", False)
            group = self._groups[key] if key in self._groups else self._new(*key)
            if group is before:
                return
            group.add(host)
            self._group_of[host] = group
        if before is not None:
            before.discard(host)
            if not len(before):
                self._drop(before)

    def _new(self, levels: Levels, guarded: bool) -> Group:
        group = self._groups[levels, guarded] = Group(levels, guarded)
        for level in levels:
            for led in level:
                led.groups.add(group)
        return group

    def _drop(self, group: Group) -> None:
        del self._groups[group.levels, group.guarded]
        for level in group.levels:
            for led in level:
                led.groups.discard(group)

    def _levels(self, host: str) -> Levels | None:
        own = self._own.get(host)
        if own is None:
            return self._caught(host)
        if not self._wild or any(led.route.tls == "passthrough" for led in own):
            return (own,)  # of what is passed on unread, no more is known
        return (own, *self._above(host, {led.key[0] for led in own}))

    def _above(self, host: str, projects: Set[str]) -> Levels:
        """Give the routes of these projects' wildcards above a host."""
        wild = (w for w in wildcards_above(host) if w in self._wild and not self._apart(host, w))
        above = (self._own[w] for w in wild)
        within = (
            tuple(led for led in level if led.key[0] in projects and led.route.tls == "terminate")
            for level in above
        )
        return tuple(level for level in within if level)

    def _caught(self, name: str) -> Levels | None:
        """Give what a domain without a route of its own gets, where its wildcard must not simply catch it.

        Nothing where that wildcard is another project's (Envoy's ``*.x.example`` also takes
        ``a.b.x.example``, and ``*.b.x.example`` may be another project's) or behind certificates that are
        not asked for here; the wildcard's routes where certificates are asked for here and not there.
        """
        project = self._domains.get(name)
        if project is None:
            return None
        catching = next((w for w in wildcards_above(name) if w in self._wild), None)
        if catching is None:
            return None
        if all(led.key[0] != project for led in self._own[catching]) or self._apart(name, catching):
            return ()
        return self._above(name, {project}) if self._guard(name) != self._guard(catching) else None

    def _guard(self, host: str) -> str | None:
        """Give the domain whose visitors' certificates stand before a host; None where none is asked for."""
        for name in (host, None if host.startswith("*.") else wildcard_of(host)) if self._guards else ():
            if name in self._domains or name in self._guards:
                return name if name in self._guards else None
        return None

    def _apart(self, host: str, wildcard: str) -> bool:
        """Tell whether a wildcard leads to what is behind certificates that a host does not ask for."""
        guarding = self._guard(wildcard)
        return guarding is not None and guarding != self._guard(host)


def _by_key(led: Led) -> Key:
    return led.key


def _below(hosts: Iterable[str], wildcards: set[str]) -> Iterator[str]:
    """Give those hosts that are below one of these wildcards."""
    if len(wildcards) <= _FEW_SUFFIXES:
        suffixes = tuple(wildcard[1:] for wildcard in wildcards)
        return (host for host in hosts if host.endswith(suffixes))
    return (host for host in hosts if any(w in wildcards for w in wildcards_above(host)))


def wildcards_above(host: str) -> Iterator[str]:
    """Give ``*.b.c`` for ``a.b.c``, and so on up, the nearest first, ``*`` last; none is above itself."""
    if host == CATCH_ALL:
        return
    rest = host.removeprefix("*.") if host.startswith("*.") else host
    _, _, rest = rest.partition(".")
    while "." in rest:
        yield f"*.{rest}"
        _, _, rest = rest.partition(".")
    yield CATCH_ALL
