"""An authority of the tests' own: it does as it is told, and counts what it was asked for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from edgeward.certificates.model import AcmeIssuer, Issuer, Limits, Order
from edgeward.certificates.orders.fulfilment import Fulfilled, Job, Save, Saved, Window
from edgeward.certificates.orders.planner import Planner
from edgeward.database.leases import Lease
from edgeward.secret import Secret
from tests.unit.certificates.issuing import DAY, Installation

UNLIMITED = Limits(orders=None, domain=None, exact=None, failures=None)


def issuer(name: str = "ca", limits: Limits = UNLIMITED, **more: object) -> Issuer:
    acme = AcmeIssuer(
        directory=f"https://{name}.example/dir", limits=limits, parallel=more.pop("parallel", 10)
    )
    return Issuer(name=name, acme=acme, **more)


class Ca:
    """``trouble(job, step)`` may raise, or give what to wait for; ``orders`` and ``issued`` count by name."""

    def __init__(self, here: Installation) -> None:
        self._here = here
        self.lifetime = 90 * DAY
        self.orders: Counter[str] = Counter()
        self.issued: Counter[str] = Counter()
        self.asked: list[str] = []
        self.jobs: list[Job] = []
        self.under_way = 0
        self.most_under_way = 0
        self.trouble: Callable[[Job, str], asyncio.Event | None] = lambda _job, _step: None
        self.no_account: Exception | None = None
        self.windows: Callable[[str], Window | None] = lambda _chain: None
        self._made: dict[str, Fulfilled] = {}

    async def account(self, issuer: Issuer) -> str:
        if self.no_account is not None:
            raise self.no_account
        return f"{issuer.acme.directory} account"

    async def window(self, issuer: Issuer, chain: str) -> Window | None:
        return self.windows(chain)

    async def revoke(self, issuer: Issuer, chain: str, reason: int) -> None:
        raise NotImplementedError

    async def fulfil(self, job: Job, saved: Saved, save: Save) -> Fulfilled:
        self.jobs.append(job)
        self.asked.append(job.names[0])
        self.under_way += 1
        self.most_under_way = max(self.under_way, self.most_under_way)
        try:
            return await self._fulfil(job, saved, save)
        finally:
            self.under_way -= 1

    async def _fulfil(self, job: Job, saved: Saved, save: Save) -> Fulfilled:
        name = job.names[0]
        if saved.url is None:
            await self._step(job, "order")
            url = f"https://{job.issuer.name}.example/order/{name}/{self.orders[name]}"
            self.orders[name] += 1
            made = self._here.authority.issue(
                Order(name, job.project, job.issuer.name, self.lifetime, also=job.names[1:]),
                self._here.now,
                0,
            )
            self._made[url] = Fulfilled(made.chain, made.key)
            saved = Saved("proof", url, Secret(made.key.reveal()))
            await save(saved)
        for step in ("validation", "finalize", "download"):
            await save(saved.at(step))
            await self._step(job, step)
        self.issued[name] += 1
        return self._made[saved.url or ""]

    async def _step(self, job: Job, step: str) -> None:
        waiting = self.trouble(job, step)
        if waiting is not None:
            await waiting.wait()


@asynccontextmanager
async def planning(here: Installation, ca: Ca, lease: Lease | None = None) -> AsyncIterator[Planner]:
    """A planner at work; ended as a kill ends it, with nothing said and nothing written down."""
    planner = Planner(here.issuance, ca)
    work = asyncio.create_task(planner.run(lease))
    try:
        yield planner
    finally:
        work.cancel()
        (outcome,) = await asyncio.gather(work, return_exceptions=True)
        if isinstance(outcome, Exception):
            raise outcome


async def until(met: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what tasks beside this one bring about."""
    async with asyncio.timeout(seconds):
        while not (await found if asyncio.iscoroutine(found := met()) else found):
            await asyncio.sleep(0.01)
