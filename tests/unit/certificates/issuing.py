"""What the tests of issuing share: a real database, an authority, and a clock that is set by hand."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

from edgeward.certificates import store
from edgeward.certificates.issue import Issuance
from edgeward.certificates.local.authority import Authority, ensure
from edgeward.certificates.model import Domain, Issuer, Order
from edgeward.certificates.policy import Policy
from edgeward.database.engine import Database, open_database
from edgeward.database.migrations import migrate
from edgeward.sealing import Seal

DAY = 86400.0
START = 1_800_000_000.0


@asynccontextmanager
async def opened(where: Path | str) -> AsyncIterator[Database]:
    """Open a migrated database by its address, or SQLite in a directory."""
    database = open_database(where if isinstance(where, str) else f"sqlite:///{where}/edgeward.db")
    await migrate(database.engine)
    try:
        yield database
    finally:
        await database.close()


class Installation:
    """One controller's view: what it issues with, its time and its policy, both changed at will."""

    def __init__(self, database: Database, authority: Authority, seal: Seal) -> None:
        self.database = database
        self.seal = seal
        self.authority = authority
        self.now = START
        self.policy = Policy()
        spread = random.Random(7).random
        self.issuance = Issuance(
            database, seal, lambda: self.authority, lambda: self.policy, lambda: self.now, spread
        )

    def declare(self, domains: Iterable[Domain], issuers: Iterable[Issuer] = ()) -> None:
        self.policy = Policy(domains, issuers)


@asynccontextmanager
async def installation(where: Path | str) -> AsyncIterator[Installation]:
    async with opened(where) as database:
        seal = Seal(bytes(32))
        yield Installation(database, await ensure(database, seal, START), seal)


async def put(here: Installation, *names: str, life: float = 7 * DAY, project: str = "default") -> int:
    """Have our own authority issue for these names, and store it; give the revision."""
    fresh = [here.authority.issue(Order(n, project, "local", life), here.now, 0) for n in names]
    async with here.database.writing() as writing:
        return await store.put(writing, here.seal, fresh, here.now)
