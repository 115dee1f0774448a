"""Loads connections into charon and takes them away: to it all between the same peers are one."""

from __future__ import annotations

from collections.abc import Container, Mapping
from contextlib import suppress

from edgeward.errors import Invalid, Problem
from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.strongswan import wording
from edgeward.vpn.drivers.strongswan.keys import Keys
from edgeward.vpn.drivers.strongswan.told import Told
from edgeward.vpn.drivers.strongswan.vici import NotDone, Vici


class Loading:
    """``known``: all connections there are, by id; ``wanted``: those that traffic may start."""

    def __init__(
        self, vici: Vici, told: Told, known: Mapping[str, Connection], wanted: Container[str]
    ) -> None:
        self._vici = vici
        self._told = told
        self._known = known
        self._wanted = wanted
        self._keys = Keys()
        self.traps = False
        """The kernel has traps, with which traffic starts what is wanted."""
        self.left = False
        """A former daemon's policies are in use; a trap would take their place."""

    async def begin(self) -> None:
        """See what charon can, and what it was told before."""
        self.traps = "kernel-libipsec" not in (await self._vici.request("stats")).get("plugins", ())
        for name, ids in (await self.there()).items():
            self._told.tell(name, ids)

    async def there(self) -> Mapping[str, tuple[str, ...]]:
        """Give the ids of the connections that charon knows, by the name of their peers."""
        found = {}
        async with self._vici.talk() as talk:
            async for answer in talk.streamed("list-conns", "list-conn"):
                for name, conn in answer.items():
                    ids = (wording.connection_of(child) for child in conn.get("children", {}))
                    found[name] = tuple(dict.fromkeys(ids))
        return found

    async def load(self, connection: Connection, *, without: str = "", name: str = "") -> str:
        """Load all connections between the same peers, this one last; gives the name of them."""
        name = name or wording.peers(connection)
        others = [one for one in self._told.ids(name) if one not in (connection.id, without)]
        siblings = [self._known[one] for one in others if one in self._known]
        try:
            async with self._vici.talk() as talk:
                key = await self._keys.load(talk, connection)
                traps = None if not self.traps else () if self.left else self._wanted
                said = wording.spoken([*siblings, connection], traps, unique=not self.left)
                await talk.request("load-conn", said)
                self._keys.held(name, key)
                if isinstance(connection.auth, Psk):
                    await talk.request("load-shared", wording.shared(connection, connection.auth))
                else:
                    await self._keys.sweep(talk, self._known.values())
        except NotDone as error:
            raise Invalid(_not_taken(connection, str(error))) from error
        self._told.tell(name, (*(one.id for one in siblings), connection.id))
        return name

    async def unload(self, name: str) -> None:
        """Take all between some peers away, and what they proved themselves with."""
        async with self._vici.talk() as talk:
            for command, words in (("unload-conn", {"name": name}), ("unload-shared", {"id": name})):
                with suppress(NotDone):  # it was not there
                    await talk.request(command, words)
            self._keys.forget(name)
            await self._keys.sweep(talk, self._known.values())
        self._told.tell(name, ())


def _not_taken(connection: Connection, words: str) -> Problem:
    more = [group for one in connection.ike.proposals for group in one.groups[1:]]
    if "proposals" in words and more:
        return Problem(
            "ike.groups", f"the strongSwan of this node does not know {more[0]}; it takes 6.0 or later"
        )
    return Problem("", f"strongSwan does not take it: {words}")
