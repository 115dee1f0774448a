"""The use cases on certificates: who may see, expire and obtain which."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from edgeward.access.decide import require
from edgeward.access.model import EVERY_PROJECT, Principal, Right
from edgeward.certificates import expirations, summaries
from edgeward.certificates.local.authority import Authority
from edgeward.certificates.model import Kept, Summary, Wanted
from edgeward.certificates.on_demand.obtain import Obtainer
from edgeward.certificates.policy import Policy
from edgeward.controller.nodes.reading import labels_of
from edgeward.database.engine import Database
from edgeward.declaration import audit
from edgeward.declaration.audit import Entry
from edgeward.declaration.model import Key
from edgeward.domain_name import normalise_pattern, printable
from edgeward.errors import Invalid, NotFound, Refused
from edgeward.placement import holds, shown, where

_SOURCE: Final = "api"


class Certificates:
    """What ``api.certificates`` calls. A certificate belongs to the project of the domain it serves."""

    def __init__(
        self,
        database: Database,
        obtainer: Obtainer,
        policy: Callable[[], Policy],
        authority: Callable[[], Authority],
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._obtainer = obtainer
        self._policy = policy
        self._authority = authority
        self._clock = clock
        self.refused: Callable[[str], None] = lambda _name: None
        """Called with names that no node may have a certificate for at this moment."""

    async def listed(
        self, who: Principal, where: Wanted, expiring: float | None, limit: int, after: str | None
    ) -> Sequence[Summary]:
        if where.project is not None:
            require(who, Right.READ, where.project)
        else:
            where = replace(where, project=who.projects)
        if expiring is not None:
            where = replace(where, ends_before=self._clock() + expiring)
        async with self._database.reading() as connection:
            found = await summaries.listed(connection, where, limit, after)
        return [self._seen(summary) for summary in found]

    async def found(self, who: Principal, name: str) -> Summary:
        canonical = _canonical(name)
        async with self._database.reading() as connection:
            found = await summaries.serving(connection, canonical, self._clock())
        if found is None or not who.sees(self._project(canonical) or found.project):
            raise _missing(name)
        return replace(found, withheld=self._policy().withheld(canonical))

    def _seen(self, summary: Summary) -> Summary:
        return replace(summary, withheld=self._policy().withheld(summary.name))

    async def expired(self, who: Principal, name: str) -> int:
        """Order the copies of the certificate that serves a name dropped, and write down who did."""
        if name == expirations.EVERY_NAME:
            self._allow_every(who)
            project = EVERY_PROJECT
        else:
            summary = await self.found(who, name)
            name, project = summary.name, self._project(summary.name) or summary.project
            require(who, Right.CHANGE, project)
        now = self._clock()
        async with self._database.writing() as writing:
            revision = await expirations.expire(writing, name, now)
            entry = Entry(who.name, _SOURCE, "expire", Key("certificates", project, name))
            await audit.record(writing, [entry], now)
        return revision

    async def obtained(self, who: Principal, name: str) -> Kept:
        """Give a node its certificate; the face has seen that it is a node.

        Raises Refused where the domain is served on other nodes: a node must not come by keys that are
        not for it.
        """
        await self._allow_there(who, _canonical(name))
        try:
            kept = await self._obtainer.obtain(name)
        except (Refused, NotFound):
            self.refused(_canonical(name))
            raise
        await self._allow_there(who, kept.certificate.name)  # a wildcard's, while it has none of its own
        return kept

    async def _allow_there(self, who: Principal, name: str) -> None:
        domain = self._policy().covering(name)
        if domain is None or domain.nodes is None:
            return
        async with self._database.reading() as connection:
            labels = await labels_of(connection, who.node or "")
        if not holds(where(domain.nodes), labels):
            there = shown(domain.nodes)
            raise Refused(f"the domain {domain.name} is not served on this node, but on those with {there}")

    def roots(self) -> str:
        return self._authority().roots_pem()

    def _allow_every(self, who: Principal) -> None:
        require(who, Right.CHANGE)
        if not who.everywhere:
            raise Refused("expiring every certificate is for tokens of every project; name yours one by one")

    def _project(self, name: str) -> str | None:
        domain = self._policy().covering(name)
        return None if domain is None else domain.project


def _canonical(name: str) -> str:
    try:
        return normalise_pattern(name)
    except Invalid as error:
        raise _missing(name) from error


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no certificate for {printable(name)}")
