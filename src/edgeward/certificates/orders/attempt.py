"""One attempt at one order: what its authority made of it, and what that means for order and limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Final

from edgeward.certificates import history, store
from edgeward.certificates.history import Happened
from edgeward.certificates.issue import Issuance, issue
from edgeward.certificates.model import Certificate, Issuer
from edgeward.certificates.orders import queue, spending
from edgeward.certificates.orders.batch import Batch, Change, Item
from edgeward.certificates.orders.downloaded import downloaded
from edgeward.certificates.orders.fulfilment import (
    Fulfilled,
    Fulfiller,
    Job,
    Limited,
    Saved,
    Unproven,
    Unshown,
)
from edgeward.certificates.orders.limits import LONGEST_PAUSE, Charge, Costs, paused_by
from edgeward.certificates.orders.model import Queued
from edgeward.certificates.orders.plan import Begin, Plan
from edgeward.certificates.policy import local_order
from edgeward.certificates.problem import UNFORESEEN, one_line
from edgeward.certificates.timing import next_try
from edgeward.database.engine import Writing
from edgeward.database.leases import Taken
from edgeward.errors import EdgewardError, Refused, Unavailable
from edgeward.log import logger

_SECONDS: Final = 900.0
_LOOK_AGAIN: Final = 1.0
_ISSUED_FROM: Final = ("finalize", "download")
_log = logger("edgeward.certificates.orders.attempt")

Check = Callable[[Job], Awaitable[None]]
"""Raises Refused where an order would fail: seen before an authority is asked."""


async def unchecked(_job: Job) -> None:
    """Leave it to the authority."""


@dataclass
class _Run:
    """What is known while it runs."""

    begin: Begin
    names: tuple[str, ...]
    saved: Saved
    asked: bool = False

    @property
    def queued(self) -> Queued:
        return self.begin.queued

    @property
    def issuer(self) -> Issuer:
        return self.begin.issuer


@dataclass(frozen=True)
class _Issued:
    """What is written of an order that came to its certificate."""

    order: str
    certificates: Sequence[Certificate]
    kept: Collection[Charge]
    lines: Sequence[Happened]


@dataclass(frozen=True)
class Attempt:
    """Works on orders that begin; all it writes goes through the batch, under the lease."""

    issuance: Issuance
    fulfiller: Fulfiller
    check: Check
    batch: Batch

    async def run(self, begin: Begin, plan: Plan) -> None:
        """Carry one through, and write down what came of it. Raises Taken; everything else is an outcome."""
        run = _Run(begin, begin.names, Saved())
        try:
            async with asyncio.timeout(_SECONDS):
                await self._obtained(run, plan)
        except Taken:
            raise
        except TimeoutError:
            await self._failed(run, plan, Unavailable(f"{begin.issuer.name} took too long"))
        except EdgewardError as error:
            await self._failed(run, plan, error)
        except Exception:
            _log.exception("order failed", name=begin.queued.name, issuer=begin.issuer.name)
            await self._failed(run, plan, Refused(UNFORESEEN))

    async def _obtained(self, run: _Run, plan: Plan) -> None:
        if run.issuer.acme is None:
            await self._sign(run)
            return
        if run.queued.step is not None and run.queued.authority == run.issuer.name:
            async with self.issuance.database.reading() as connection:
                run.saved = await queue.saved(connection, self.issuance.seal, run.queued.name)
        job = Job(run.names, run.queued.project, run.issuer, run.begin.replaces)
        if run.saved.url is None:
            await self._checked(job)
        run.asked = True

        async def save(saved: Saved) -> None:
            await self._insist(self._save, (run.queued.name, saved))
            run.saved = saved

        fulfilled = await self.fulfiller.fulfil(job, run.saved, save)
        plan.answered(run.issuer)
        await self._keep(run, plan, fulfilled)

    async def _save(self, writing: Writing, some: Sequence[tuple[str, Saved]]) -> None:
        await queue.save(writing, self.issuance.seal, dict(some))

    async def _checked(self, job: Job) -> None:
        """Raise Refused where the order would fail. What cannot be told here the authority may still see."""
        try:
            await self.check(job)
        except Unavailable as error:
            _log.info("not looked at before an order", name=job.names[0], reason=str(error))

    async def _keep(self, run: _Run, plan: Plan, fulfilled: Fulfilled) -> None:
        now, spread = self.issuance.clock(), self.issuance.spread()
        queued = run.queued
        certificate = downloaded(fulfilled, run.names, queued.project, run.issuer.name, now, spread)
        kept = _charges(run.begin.planned, but="failures")
        lines = [replace(n, fingerprint=certificate.fingerprint) for n in _lines(run, now, "issued")]
        await self._insist(self._store, _Issued(queued.name, certificate.under(run.names), kept, lines))
        self._settle(run, plan, kept, now)
        _log.info("certificate issued", name=queued.name, issuer=run.issuer.name, reason=queued.reason)

    async def _store(self, writing: Writing, some: Sequence[_Issued]) -> None:
        now = self.issuance.clock()
        certificates = [certificate for one in some for certificate in one.certificates]
        await store.put(writing, self.issuance.seal, certificates, now, asked=now)
        await queue.remove(writing, [one.order for one in some])
        await spending.settle(writing, {one.order: one.kept for one in some}, now)
        await history.record(writing, [line for one in some for line in one.lines])

    async def _sign(self, run: _Run) -> None:
        """Have our own authority sign: it stands behind others where that is declared."""
        now, queued = self.issuance.clock(), run.queued
        order = local_order(run.names, queued.project, run.issuer)
        await self.issuance.rsa_keys.fill(order.beside)

        async def signed(writing: Writing, _: object) -> None:
            if not await issue(self.issuance, writing, [order], now, note=False):
                raise Refused("the certificate could not be signed; the controller's log tells why")
            await queue.remove(writing, [queued.name])
            await history.record(writing, _lines(run, now, "issued"))

        await self._insist(signed, None)

    # --- failures -----------------------------------------------------------------------------

    async def _failed(self, run: _Run, plan: Plan, error: EdgewardError) -> None:
        now = self.issuance.clock()
        kept, problem = _used(run, error), one_line(str(error))
        paused = _pauses(run, error, now)
        if isinstance(error, Unavailable) and not isinstance(error, Limited | Unshown) and run.asked:
            plan.unreachable(run.issuer, now)
        elif run.asked:
            plan.answered(run.issuer)
        for charge, until in paused.items():
            plan.book.pause(charge, until)

        async def written(writing: Writing, _: object) -> None:
            await spending.settle(writing, {run.queued.name: kept}, now)
            await spending.pause(writing, paused, problem)
            await self._put_down(writing, run, error, problem, now)
            await history.record(writing, _lines(run, now, "failed", problem))

        await self._insist(written, None)
        self._settle(run, plan, kept, now)
        _log.warning("order failed", name=run.queued.name, issuer=run.issuer.name, reason=problem)

    async def _put_down(
        self, writing: Writing, run: _Run, error: EdgewardError, problem: str, now: float
    ) -> None:
        """Go on with the next issuer at once; after the last one, wait."""
        queued, problem = run.queued, f"{run.issuer.name}: {problem}"
        following = _after(run.begin)
        outage = isinstance(error, Unavailable)
        going_on = outage and run.saved.key is not None and len(run.begin.chain) == 1
        if following is not None:
            await queue.again(writing, queued.name, following.name, now, problem)
        elif isinstance(error, Limited):  # nothing of the name's own: it waits as what is paused does
            await queue.again(writing, queued.name, None, now, problem, going_on=going_on)
        else:
            due = next_try(queued.attempts + 1, now, queued.expires, outage=outage)
            await queue.fail(writing, queued.name, due, problem, going_on=going_on)

    async def _insist(self, change: Change[Item], item: Item) -> None:
        """Write it as soon as the database can be asked: what an authority did is not to be lost."""
        while True:
            try:
                await self.batch.write(change, item)
                return
            except Taken:
                raise
            except Unavailable as error:
                _log.warning("orders wait for the database", reason=str(error))
                await asyncio.sleep(_LOOK_AGAIN)

    def _settle(self, run: _Run, plan: Plan, kept: Collection[Charge], now: float) -> None:
        if run.begin.planned is not None:
            plan.book.settle(run.begin.planned.charges, run.queued.name, kept, now)


def _charges(planned: Costs | None, *, but: str = "") -> tuple[Charge, ...]:
    return tuple(c for c in planned.charges if c.scope != but) if planned is not None else ()


def _used(run: _Run, error: EdgewardError) -> tuple[Charge, ...]:
    """Give what a failed attempt may have used, in doubt more."""
    if not run.asked or (isinstance(error, Limited) and run.saved.url is None):
        return ()
    scopes = {"orders"}
    if isinstance(error, Unproven) or (run.saved.step == "validation" and isinstance(error, Unavailable)):
        scopes.add("failures")
    if isinstance(error, Unavailable) and run.saved.step in _ISSUED_FROM:
        scopes |= {"domain", "exact"}
    return tuple(charge for charge in _charges(run.begin.planned) if charge.scope in scopes)


def _pauses(run: _Run, error: EdgewardError, now: float) -> dict[Charge, float]:
    if not isinstance(error, Limited) or run.begin.planned is None:
        return {}
    until = min(max(error.until, now + 1), now + LONGEST_PAUSE)
    return dict.fromkeys(paused_by(error.scope, error.key, run.begin.planned), until)


def _after(begin: Begin) -> Issuer | None:
    following = begin.chain[begin.chain.index(begin.issuer) + 1 :]
    return following[0] if following else None


def _lines(run: _Run, now: float, outcome: str, problem: str | None = None) -> list[Happened]:
    """Give what goes into the history of each name of the order."""
    queued = run.queued
    seconds = max(now - queued.queued, 0.0)
    line = Happened(
        queued.name, queued.project, run.issuer.name, now, outcome, seconds=seconds, problem=problem
    )
    return [replace(line, name=name) for name in run.names]
