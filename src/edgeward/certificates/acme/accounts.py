"""Accounts at authorities: one for each issuer of a project, its key sealed, changed without ever being lost.

The key is in the database before the authority learns of it, so whatever is killed when, asking again
with the same key finds the same account (RFC 8555, 7.3.1). A change of key is written down before it
is asked for, and which of the two keys holds is asked for where that was cut short (7.3.5).
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import Row, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.acme.answers import Account as Told
from edgeward.certificates.acme.answers import read
from edgeward.certificates.acme.authority import Authority
from edgeward.certificates.acme.keys import (
    Key,
    Signer,
    bound,
    changing,
    new_key,
    read_key,
    thumbprint,
    write_key,
)
from edgeward.certificates.acme.wire import Fault
from edgeward.certificates.model import AcmeIssuer, Issuer
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.database import schema
from edgeward.database.engine import Database
from edgeward.database.insertion import insert
from edgeward.errors import Invalid, NotFound, Problem, Unavailable
from edgeward.sealing import Seal

_accounts = schema.accounts
_UNKNOWN: Final = ("accountDoesNotExist", "unauthorized", "malformed")
"""What authorities say to a key or an account they do not know, or do not know together."""


@dataclass(frozen=True)
class Account:
    """Who we are for one authority: the key that holds, and the URL the account has there."""

    signer: Signer
    url: str
    thumbprint: str
    """Of the key (RFC 7638): the second half of every answer to a challenge."""
    email: str | None

    def authorization(self, token: str) -> str:
        """Give the answer to a challenge (RFC 8555, 8.1)."""
        return f"{token}.{self.thumbprint}"


class Accounts:
    """The accounts of this installation; several controllers find the same ones."""

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float]) -> None:
        self._database = database
        self._seal = seal
        self._clock = clock
        self._known: dict[tuple[str, str, str], Account] = {}
        self._settling: dict[tuple[str, str, str], asyncio.Lock] = defaultdict(asyncio.Lock)

    async def of(self, issuer: Issuer, authority: Authority) -> Account:
        """Give the issuer's account, registered at its first use."""
        place, email = _place(issuer), issuer.theirs.email
        known = self._known.get(place)
        if known is not None and known.email == email:
            return known
        async with self._settling[place]:  # orders that begin together register once
            known = self._known.get(place)
            if known is None or known.email != email:
                known = self._known[place] = await self._settled(issuer, authority)
        return known

    async def again(
        self, issuer: Issuer, authority: Authority, refused: Account, fault: Fault
    ) -> Account | None:
        """Give another account where ``refused`` is not, or no longer, what the authority knows us by.

        None where the refusal had another reason.
        """
        if fault.problem.code not in _UNKNOWN:
            return None
        self._known.pop(_place(issuer), None)
        if fault.problem.code == "accountDoesNotExist":
            await self._forget_url(issuer, refused.url)
        found = await self.of(issuer, authority)
        return None if (found.url, found.thumbprint) == (refused.url, refused.thumbprint) else found

    async def change_key(self, issuer: Issuer, authority: Authority) -> None:
        """Give the account a new key; orders under way go on. A change that was cut short is gone on with."""
        account = await self.of(issuer, authority)
        fresh = await self._next_key(issuer)
        try:
            await self._change(issuer, authority, account.signer, fresh)
        except Fault:
            if not await self._is_known(authority, fresh):
                raise
        await self._keep(issuer, sealed_key=self._sealed(issuer, fresh), sealed_next=None)
        self._known.pop(_place(issuer), None)

    # --- how an account comes to be ----------------------------------------------------------

    async def _settled(self, issuer: Issuer, authority: Authority) -> Account:
        row = await self._row(issuer) or await self._begun(issuer)
        if row.sealed_next is not None:
            key = await self._key_settled(issuer, authority, row)
        else:
            key = self._opened(row.sealed_key, issuer)
        url = row.url or await self._registered(issuer, authority, key)
        signer = Signer(key, url)
        email = issuer.theirs.email
        if row.url is not None and row.email != email:
            await authority.post(url, {"contact": _contact(email)}, signer)
            await self._keep(issuer, email=email)
        return Account(signer, url, thumbprint(key), email)

    async def _begun(self, issuer: Issuer) -> Row[Any]:
        """Write a key down for an account to be; another controller may have been first."""
        values = {
            **dict(zip(("project", "issuer", "directory"), _place(issuer), strict=True)),
            "sealed_key": self._sealed(issuer, new_key()),
            "email": issuer.theirs.email,
            "created": self._clock(),
        }
        async with self._database.noting() as connection:
            await connection.execute(insert(connection, _accounts).values(values).on_conflict_do_nothing())
        row = await self._row(issuer)
        if row is None:
            raise Unavailable("the account was removed meanwhile; try again")
        return row

    async def _registered(self, issuer: Issuer, authority: Authority, key: Key) -> str:
        acme = issuer.theirs
        directory = await authority.directory()
        asked: dict[str, Any] = {"termsOfServiceAgreed": True, "contact": _contact(acme.email)}
        if acme.eab is not None:
            asked["externalAccountBinding"] = self._binding(acme, key, directory.new_account)
        elif directory.meta.external_account_required:
            raise Rejected(f"{acme.directory} wants accounts bound to one of its own site; declare acme.eab")
        answer = await authority.post(directory.new_account, asked, Signer(key))
        if answer.location is None or not answer.location.startswith("https://"):
            raise Unavailable("the authority did not say where the account is")
        if read(Told, answer.body).status != "valid":
            raise Rejected(
                f"{acme.directory} has deactivated the account of {issuer.name}; declare the issuer under"
                " another name to have another account"
            )
        await self._keep(issuer, url=answer.location, email=acme.email)
        return answer.location

    def _binding(self, acme: AcmeIssuer, key: Key, url: str) -> Mapping[str, Any]:
        assert acme.eab is not None
        try:
            return bound(url, key, acme.eab.kid, acme.eab.hmac_key.reveal(self._seal).reveal())
        except Invalid as error:
            raise Rejected(f"acme.eab.hmac_key: {error}") from error

    # --- changing the key ---------------------------------------------------------------------

    async def _next_key(self, issuer: Issuer) -> Key:
        """Write down which key it will be; one that is written down already stays it."""
        begun = update(_accounts).where(_at(issuer), _accounts.c.sealed_next.is_(None))
        async with self._database.noting() as connection:
            await connection.execute(begun.values(sealed_next=self._sealed(issuer, new_key())))
        row = await self._row(issuer)
        if row is None or row.sealed_next is None:
            raise Unavailable("the account was changed or removed meanwhile; try again")
        return self._opened(row.sealed_next, issuer)

    async def _change(self, issuer: Issuer, authority: Authority, old: Signer, fresh: Key) -> None:
        url = (await authority.directory()).key_change
        if url is None:
            raise NotFound(f"{issuer.theirs.directory} does not change the keys of accounts")
        await authority.post(url, changing(url, old, fresh), old)

    async def _key_settled(self, issuer: Issuer, authority: Authority, row: Row[Any]) -> Key:
        """Find out which of two keys holds, where a change was cut short.

        The key to be stays written down where it does not hold yet: who changes may be at it just now.
        """
        fresh = self._opened(row.sealed_next, issuer)
        if not await self._is_known(authority, fresh):
            return self._opened(row.sealed_key, issuer)
        await self._keep(issuer, sealed_key=self._sealed(issuer, fresh), sealed_next=None)
        return fresh

    async def _is_known(self, authority: Authority, key: Key) -> bool:
        url = (await authority.directory()).new_account
        try:
            await authority.post(url, {"onlyReturnExisting": True}, Signer(key))
        except Fault as fault:
            if fault.problem.code == "accountDoesNotExist":
                return False
            raise
        return True

    # --- the table ----------------------------------------------------------------------------

    async def _row(self, issuer: Issuer) -> Row[Any] | None:
        async with self._database.reading() as connection:
            return (await connection.execute(select(_accounts).where(_at(issuer)))).one_or_none()

    async def _keep(self, issuer: Issuer, **values: Any) -> None:
        async with self._database.noting() as connection:
            await connection.execute(update(_accounts).where(_at(issuer)).values(values))

    async def _forget_url(self, issuer: Issuer, url: str) -> None:
        """The authority has lost it: the same key is registered anew."""
        async with self._database.noting() as connection:
            lost = update(_accounts).where(_at(issuer), _accounts.c.url == url)
            await connection.execute(lost.values(url=None))

    def _sealed(self, issuer: Issuer, key: Key) -> bytes:
        return self._seal.seal(write_key(key), _context(issuer))

    def _opened(self, sealed: bytes, issuer: Issuer) -> Key:
        try:
            return read_key(self._seal.open(sealed, _context(issuer)))
        except (Invalid, ValueError) as error:
            raise Unavailable(f"the key of the account of {issuer.name} cannot be opened: {error}") from error


def sealed(seal: Seal, place: tuple[str, str, str], pem: str) -> bytes:
    """Give an account's key (PEM) as it is kept at a place: project, issuer, directory. Raises Invalid."""
    try:
        key = read_key(pem.encode())
    except (ValueError, TypeError) as error:
        raise Invalid(Problem("key", f"it is no account's key: {error}; give PEM of RSA or P-256")) from error
    return seal.seal(write_key(key), context_at(place))


async def listed(connection: AsyncConnection) -> list[dict[str, Any]]:
    """Give all accounts without their keys."""
    columns = [_accounts.c[name] for name in ("project", "issuer", "directory", "url", "email", "created")]
    query = select(*columns).order_by(*columns[:3])
    return [dict(row) for row in (await connection.execute(query)).mappings()]


def _place(issuer: Issuer) -> tuple[str, str, str]:
    return issuer.project, issuer.name, issuer.theirs.directory


def _at(issuer: Issuer) -> Any:
    project, name, directory = _place(issuer)
    mine = _accounts.c
    return (mine.project == project) & (mine.issuer == name) & (mine.directory == directory)


def _context(issuer: Issuer) -> str:
    return context_at(_place(issuer))


def context_at(place: tuple[str, str, str]) -> str:
    """Give what an account's sealed keys are bound to."""
    return "\0".join(("account", *place))


def _contact(email: str | None) -> list[str]:
    return [f"mailto:{email}"] if email else []
