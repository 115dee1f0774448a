"""The use cases of people who bring, revoke and take away certificates: who may, and what is written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.certificates import history, store
from edgeward.certificates.acme import accounts
from edgeward.certificates.brought import keep
from edgeward.certificates.brought.keep import Account, Brought, Imported
from edgeward.certificates.brought.pair import read
from edgeward.certificates.history import Happened
from edgeward.certificates.issue import Issuance
from edgeward.certificates.model import Certificate, Domain
from edgeward.certificates.revoke import Revocation, Revoke, revoke
from edgeward.certificates.x509 import instant
from edgeward.database.engine import Writing
from edgeward.declaration import audit
from edgeward.declaration.audit import Entry
from edgeward.declaration.model import Key
from edgeward.domain_name import normalise_pattern, printable
from edgeward.errors import NotFound
from edgeward.secret import Secret

_SOURCE: Final = "api"


class Bringing:
    """What ``api.bringing`` calls. ``tell`` tells an ACME authority of a revocation, ``wake`` has missing
    certificates made.
    """

    def __init__(self, issuance: Issuance, tell: Revoke, wake: Callable[[], None] = lambda: None) -> None:
        self._issuance = issuance
        self._tell = tell
        self._wake = wake

    async def uploaded(self, who: Principal, name: str, cert: str, key: Secret[str]) -> Brought:
        domain, canonical = self._domain(who, name, Right.CHANGE)
        now = self._issuance.clock()
        pair = read(cert, key.reveal(), now)
        names = keep.names_for(canonical, domain, pair)
        changed = await self._kept(who, "upload", keep.uploaded(pair, names, domain.project), now)
        return Brought(names, pair.not_after, pair.fingerprint, pair.warnings, changed)

    async def imported(self, who: Principal, pair: Imported) -> Brought:
        """Take in a pair also for names that are not declared yet: it is there when they are."""
        require(who, Right.GOVERN)
        now = self._issuance.clock()
        found = read(pair.cert, pair.key.reveal(), now)
        keep.check_names(pair.names, found)
        kept = keep.imported(found, pair.names, pair.project, pair.issuer, self._issuance.spread())
        async with self._issuance.database.reading() as connection:
            longer = await keep.longer(connection, kept[0])
        if longer is not None:
            return Brought(pair.names, instant(longer.not_after), longer.fingerprint, changed=False)
        changed = await self._kept(who, "import", kept, now)
        return Brought(pair.names, found.not_after, found.fingerprint, found.warnings, changed)

    async def registered(self, who: Principal, account: Account) -> bool:
        require(who, Right.GOVERN)
        place = (account.project, account.issuer, account.directory)
        sealed = accounts.sealed(self._issuance.seal, place, account.key.reveal())
        now = self._issuance.clock()
        async with self._issuance.database.writing() as writing:
            taken = await keep.register(writing, account, sealed, now)
            if taken:
                key = Key("accounts", account.project, account.issuer)
                await audit.record(writing, [Entry(who.name, _SOURCE, "import", key)], now)
        return taken

    async def revoked(self, who: Principal, name: str, reason: int, replace: bool) -> Sequence[str]:
        domain, canonical = self._domain(who, name, Right.CHANGE)
        key = Key("certificates", domain.project, canonical)
        entry = Entry(who.name, _SOURCE, "revoke", key, after={"reason": reason, "replace": replace})

        async def note(writing: Writing) -> None:
            await audit.record(writing, [entry], self._issuance.clock())

        project = None if who.everywhere else domain.project
        wanted = Revocation(canonical, who.name, reason, replace, project)
        notes = await revoke(self._issuance, self._tell, wanted, note)
        self._wake()
        return notes

    async def past(self, who: Principal, name: str, limit: int) -> Sequence[Happened]:
        canonical = normalise_pattern(name)
        domain = self._issuance.policy().covering(canonical)
        project = None if domain is None else domain.project
        async with self._issuance.database.reading() as connection:
            lines = await history.of_name(connection, canonical, limit)
        return [line for line in lines if who.sees(line.project) and project in (None, line.project)]

    async def taken(self, who: Principal, name: str) -> Certificate:
        canonical = normalise_pattern(name)
        now = self._issuance.clock()
        async with self._issuance.database.writing() as writing:
            kept = await store.find(writing.connection, self._issuance.seal, canonical, now)
            if kept is None or kept.certificate.name != canonical or not who.sees(kept.certificate.project):
                raise _missing(name)
            project = kept.certificate.project
            require(who, Right.ADMINISTER, project)
            entry = Entry(who.name, _SOURCE, "take", Key("certificates", project, canonical))
            await audit.record(writing, [entry], now)
        return kept.certificate

    async def _kept(self, who: Principal, action: str, fresh: Sequence[Certificate], now: float) -> bool:
        async with self._issuance.database.writing() as writing:
            changed = await keep.keep(writing, self._issuance.seal, fresh, who.name, now)
            if changed:
                first = fresh[0]
                after = {"fingerprint": first.fingerprint, "not_after": first.not_after.isoformat()}
                key = Key("certificates", first.project, first.name)
                await audit.record(writing, [Entry(who.name, _SOURCE, action, key, after=after)], now)
        return changed

    def _domain(self, who: Principal, name: str, right: Right) -> tuple[Domain, str]:
        canonical = normalise_pattern(name)
        domain = self._issuance.policy().covering(canonical)
        if domain is None or not who.sees(domain.project):
            raise NotFound(f"no domain covers {printable(canonical)}; declare it under domains first")
        require(who, right, domain.project)
        return domain, canonical


def _missing(name: str) -> NotFound:
    return NotFound(f"there is no valid certificate kept under {printable(name)}")
