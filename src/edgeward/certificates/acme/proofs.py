"""What is put up so that an authority sees a name is ours, and taken down again.

http-01 and tls-alpn-01 are answered by nodes, which ask a controller, which looks into the table
``challenges``: a row that is committed is found at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete

from edgeward.certificates.acme.answers import Authorization, Challenge
from edgeward.certificates.acme.records import Records
from edgeward.certificates.model import AcmeIssuer
from edgeward.certificates.orders.fulfilment import Rejected, Unshown
from edgeward.database import schema
from edgeward.database.engine import Database
from edgeward.database.insertion import insert
from edgeward.errors import Unavailable
from edgeward.sealing import Seal

_KEPT_SECONDS: Final = 3600.0
"""Longer than any authority looks; what a crash left over goes then."""
_SWEEP_SECONDS: Final = 60.0
_challenges = schema.challenges


@dataclass(frozen=True)
class Proof:
    """One challenge that was chosen, and the answer to it; ``name`` as it is declared, ``*.`` included."""

    name: str
    challenge: Challenge
    authorization: str

    @property
    def place(self) -> tuple[str, str]:
        """Type and key of its row."""
        key = self.challenge.token if self.challenge.type == "http-01" else self.name
        return self.challenge.type, key or ""


def choose(acme: AcmeIssuer, asked: Authorization) -> Challenge:
    """Give the challenge to answer: the first of the issuer's that the authority offers; raises Rejected."""
    offered = {challenge.type: challenge for challenge in asked.challenges if challenge.token}
    wanted = [kind for kind in acme.challenges if not asked.wildcard or kind == "dns-01"]
    for kind in wanted:
        if kind in offered:
            return offered[kind]
    if not wanted:
        raise Rejected(
            f"{asked.name}: a wildcard is proven by dns-01 only; add it to the issuer's challenges"
        )
    raise Rejected(
        f"{asked.name}: the authority offers {', '.join(sorted(offered)) or 'nothing'},"
        f" and the issuer's challenges are {', '.join(wanted)}"
    )


class Proofs:
    """Puts proofs up and takes them down, for all orders of this controller."""

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float]) -> None:
        self._answers = Answers(database, clock)
        self._seal = seal

    @asynccontextmanager
    async def shown(self, acme: AcmeIssuer, proofs: Sequence[Proof]) -> AsyncIterator[None]:
        """Within this the authority may look; showing again what a crash left does no harm.

        Raises Refused, Unshown.
        """
        recorded = [proof for proof in proofs if proof.challenge.type == "dns-01"]
        answered = [proof for proof in proofs if proof not in recorded]
        records = Records(acme.dns, self._seal) if recorded and acme.dns is not None else None
        try:
            try:
                if answered:
                    await self._answers.put_up(answered)
                if records is not None:
                    await records.put_up([(proof.name, proof.authorization) for proof in recorded])
            except Unavailable as error:
                raise Unshown(str(error)) from error
            yield
        finally:
            self._answers.take_down(answered)
            if records is not None:
                await records.take_down()

    async def tidy(self) -> None:
        """Remove what is over."""
        await self._answers.tidy()


class Answers:
    """The rows nodes answer from."""

    def __init__(self, database: Database, clock: Callable[[], float]) -> None:
        self._database = database
        self._clock = clock
        self._turn = asyncio.Lock()
        self._wanted: list[Proof] = []
        self._over: list[Proof] = []
        self._swept = float("-inf")

    async def put_up(self, proofs: Sequence[Proof]) -> None:
        """Have nodes answer, from now on. What comes while one is written shares the next transaction."""
        self._wanted.extend(proofs)
        async with self._turn:
            if not any(proof in self._wanted for proof in proofs):
                return
            wanted, self._wanted = self._wanted, []
            try:
                await self._write(wanted)
            except BaseException:
                self._wanted += [proof for proof in wanted if proof not in proofs]
                raise

    def take_down(self, proofs: Sequence[Proof]) -> None:
        """Say that they are over; their rows go with the next ones that come, or with ``tidy``."""
        self._over.extend(proofs)

    async def tidy(self) -> None:
        """Remove what is over."""
        if self._over:
            async with self._turn:
                await self._write([])

    async def _write(self, wanted: Sequence[Proof]) -> None:
        now = self._clock()
        over, self._over = self._over, []
        async with self._database.noting() as connection:
            if over:
                await connection.execute(_REMOVED, [_row(proof) for proof in over])
            if not 0 <= now - self._swept < _SWEEP_SECONDS:
                await connection.execute(delete(_challenges).where(_challenges.c.expires < now))
                self._swept = now
            if wanted:
                put = insert(connection, _challenges)
                changed = {name: put.excluded[name] for name in ("name", "value", "expires")}
                put = put.on_conflict_do_update(index_elements=["type", "key"], set_=changed)
                await connection.execute(put, [_put(proof, now + _KEPT_SECONDS) for proof in wanted])


def _row(proof: Proof) -> dict[str, Any]:
    """Tell one row, and not what a later order has put in its place."""
    kind, key = proof.place
    return {"row_type": kind, "row_key": key, "row_value": proof.authorization}


def _put(proof: Proof, expires: float) -> dict[str, Any]:
    kind, key = proof.place
    return {
        "type": kind,
        "key": key,
        "name": proof.name,
        "value": proof.authorization,
        "expires": expires,
    }


_REMOVED: Final = delete(_challenges).where(
    _challenges.c.type == bindparam("row_type"),
    _challenges.c.key == bindparam("row_key"),
    _challenges.c.value == bindparam("row_value"),
)
