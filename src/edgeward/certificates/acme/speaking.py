"""Asks an authority in an issuer's name, whichever key and account that has by now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeward.certificates.acme.accounts import Account, Accounts
from edgeward.certificates.acme.answers import Account as Told
from edgeward.certificates.acme.answers import Directory, Order, Orders, read
from edgeward.certificates.acme.authority import Authority
from edgeward.certificates.acme.wire import Answer, Fault
from edgeward.certificates.model import AcmeIssuer, Issuer

_MOST_PAGES: Final = 100
_MOST_ORDERS: Final = 500
"""So many of the newest: a hundred may be under way at once, and others begin while one is looked for."""
_MOST_NAMED: Final = 5000


class Speaker:
    """One issuer at its authority; ``account`` is the one that was asked as last."""

    def __init__(self, issuer: Issuer, authority: Authority, accounts: Accounts, account: Account) -> None:
        self._issuer = issuer
        self._authority = authority
        self._accounts = accounts
        self.account = account

    @property
    def acme(self) -> AcmeIssuer:
        return self._issuer.theirs

    async def directory(self) -> Directory:
        return await self._authority.directory()

    async def post(self, url: str, payload: Mapping[str, Any] | None, *, again: bool = True) -> Answer:
        """Ask; where the authority does not know us so, find out why and ask once more."""
        try:
            return await self._authority.post(url, payload, self.account.signer, again=again)
        except Fault as fault:
            other = await self._accounts.again(self._issuer, self._authority, self.account, fault)
            if other is None:
                raise
            self.account = other
        return await self._authority.post(url, payload, self.account.signer, again=again)

    async def reading(self, url: str) -> Answer:
        """POST-as-GET."""
        return await self.post(url, None)

    async def forgotten_order(self, names: frozenset[str]) -> tuple[str, Order] | None:
        """Give an open order for exactly these names that the authority has and we do not know of.

        Few authorities list an account's orders (RFC 8555, 7.1.2.1); raises NotImplementedError where
        this one does not.
        """
        account = read(Told, (await self.reading(self.account.url)).body)
        if account.orders is None:
            raise NotImplementedError
        for url in reversed((await self._listed(account.orders))[-_MOST_ORDERS:]):
            if self._authority.named.get(url, names) != names:
                continue
            order = read(Order, (await self.reading(url)).body)
            found = frozenset(i.value.lower() for i in order.identifiers)
            self.seen(url, found)
            if found == names and order.status in ("pending", "ready"):
                return url, order
        return None

    def seen(self, url: str, names: frozenset[str]) -> None:
        """Remember what an order is for, so that nobody has to ask."""
        named = self._authority.named
        if len(named) >= _MOST_NAMED:
            named.clear()
        named[url] = names

    async def _listed(self, url: str) -> list[str]:
        """Give the URLs of an account's orders; authorities list them oldest first."""
        found: list[str] = []
        following: str | None = url
        for _ in range(_MOST_PAGES):
            if following is None:
                break
            answer = await self.reading(following)
            found += read(Orders, answer.body).orders
            following = next(iter(answer.links("next")), None)
        return found
