"""Whose token a request carries, with a limit on how often a client may be wrong."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from edgeward.access import store
from edgeward.access.limit import FailureLimit
from edgeward.access.model import Principal, Throttled, Token, Unauthenticated
from edgeward.access.tokens import fits, parse
from edgeward.database.engine import Database, Unreachable
from edgeward.errors import Unavailable
from edgeward.log import logger

_FRESH: Final = 1.0
_MOST_KNOWN: Final = 10_000
_REMEMBERED: Final = 3600.0
"""How long before the database was lost a token must have been good to be so still."""
_log = logger("edgeward.access")


class Authenticator:
    """Verifies tokens against the store, asking it at most once a second for each.

    A client over the limit is refused unlooked-at, unless with a token that was good before: a
    program that fails over and over must not shut out others on its host. That token is looked up all the
    same, so revoking it holds.
    """

    def __init__(
        self, database: Database, clock: Callable[[], float], limit: FailureLimit | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._limit = FailureLimit() if limit is None else limit
        self._known: OrderedDict[bytes, tuple[Token, float]] = OrderedDict()
        self.failures = 0
        """Refused log-ins since the start."""

    async def authenticate(self, token: str | None, client: str) -> Principal:
        """Give whose token it is; raises Unauthenticated, Throttled or Unavailable."""
        if token is None:
            raise Unauthenticated("log in: send the header 'Authorization: Bearer TOKEN'")
        now = self._clock()
        proof = hashlib.sha256(token.encode(errors="surrogatepass")).digest()
        if proof not in self._known:
            self._refuse_if_over(client, now)
        found = await self._verified(token, proof, now)
        if found is None:
            self._limit.failed(client, now)
            self.failures += 1
            _log.warning("log-in refused", client=client)
            raise Unauthenticated("this token is not known, was revoked or has expired")
        return Principal(found.id, found.name, found.role, found.project, found.node)

    async def valid(self, token_id: str) -> bool:
        """Say whether a token that was good is so still; as far as is known, while the database is lost."""
        try:
            async with self._database.reading() as connection:
                found = await store.find(connection, token_id)
        except Unreachable:
            return True
        return found is not None and store.alive(found[0], self._clock())

    def forget(self, token_id: str) -> None:
        """Look a token up anew: it was revoked."""
        for proof, (token, _) in list(self._known.items()):
            if token.id == token_id:
                del self._known[proof]

    def _refuse_if_over(self, client: str, now: float) -> None:
        wait = self._limit.wait(client, now)
        if wait > 0:
            self.failures += 1
            raise Throttled(f"too many failed log-ins from your address; wait {wait} s", wait)

    def _remembered(self, known: tuple[Token, float] | None, now: float) -> Token:
        """Give a token that was good shortly before the database was lost; nobody can revoke one since."""
        lost = self._database.lost
        since = now if lost is None else lost.since
        if known is None or known[1] < since - _REMEMBERED or not store.alive(known[0], now):
            reason = "" if lost is None else f": {lost.reason}"
            raise Unavailable(f"the database does not answer, so this token cannot be verified{reason}")
        return known[0]

    async def _verified(self, text: str, proof: bytes, now: float) -> Token | None:
        known = self._known.get(proof)
        if known is not None and 0 <= now - known[1] < _FRESH:
            return known[0] if store.alive(known[0], now) else None
        parts = parse(text)
        if parts is None:
            return None
        try:
            async with self._database.reading() as connection:
                found = await store.find(connection, parts[0])
        except Unreachable:
            return self._remembered(known, now)
        if found is None or not fits(parts[1], found[1]) or not store.alive(found[0], now):
            self._known.pop(proof, None)
            return None
        self._known[proof] = (found[0], now)
        self._known.move_to_end(proof)
        while len(self._known) > _MOST_KNOWN:
            self._known.popitem(last=False)
        return found[0]
