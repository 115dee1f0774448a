"""Carries out orders: many at once, the worthiest first, within what authorities allow, never two for a name.

One controller holds the lease of this work; whatever it writes is written under the lease, so that a late
one's orders come to nothing. What was under way when somebody stopped is gone on with first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from edgeward.certificates.issue import Issuance
from edgeward.certificates.model import Issuer
from edgeward.certificates.orders import queue, spending, suggestions
from edgeward.certificates.orders.attempt import Attempt, Check, unchecked
from edgeward.certificates.orders.batch import Batch
from edgeward.certificates.orders.fulfilment import Fulfiller
from edgeward.certificates.orders.limits import longest_window
from edgeward.certificates.orders.model import RANKS, Rank
from edgeward.certificates.orders.plan import Begin, Candidate, Later, Plan
from edgeward.certificates.problem import UNFORESEEN
from edgeward.database.engine import Writing
from edgeward.database.leases import Lease, Taken, held
from edgeward.errors import EdgewardError, Unavailable
from edgeward.log import logger

_LOOK_AGAIN: Final = 1.0
_BETWEEN_LOOKS: Final = 0.1
_AT_ONCE: Final = 50
_ONE_BEFORE: Final = 5.0
_ACCOUNT_SECONDS: Final = 60.0
_SWEEP: Final = 3600.0
SOON: Final = 3 * 86400.0
"""Seconds before its end from which a certificate is urgent."""
_log = logger("edgeward.certificates.orders.planner")


@dataclass
class Planner:
    """``run`` plans for as long as the lease is held."""

    issuance: Issuance
    fulfiller: Fulfiller
    check: Check = unchecked
    plan: Plan | None = None

    async def run(self, lease: Lease | None = None) -> None:
        """Work until cancelled; raises Taken where another controller has the lease by now."""
        async with self.issuance.database.writing() as writing:
            await held(writing, lease)
            await spending.recover(writing, self.issuance.clock())
            await queue.recover(writing, self.issuance.clock())
            book = await spending.book(writing.connection, self.issuance.clock())
        self.plan = Plan(book)
        batch = Batch(self.issuance.database, lease)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(batch.run())
                group.create_task(suggestions.run(self.issuance, self.fulfiller, batch))
                await _Shift(self, self.plan, batch, group).run()
        except BaseExceptionGroup as errors:  # not except*: before 3.11.4 what it raises comes as a group
            if errors.subgroup(lambda error: not isinstance(error, (EdgewardError, ExceptionGroup))):
                raise
            if errors.subgroup(Taken) is not None:
                raise Taken(f"another controller took over {queue.LEASE}") from errors
            # what cannot be written down now is gone on with in the next shift
            raise Unavailable("; ".join(str(error) for error in errors.exceptions[:3])) from errors
        finally:
            self.plan = None


class _Shift:
    """One holder's time with the lease."""

    def __init__(self, planner: Planner, plan: Plan, batch: Batch, group: asyncio.TaskGroup) -> None:
        self._planner = planner
        self._issuance = planner.issuance
        self._plan = plan
        self._batch = batch
        self._group = group
        self._attempt = Attempt(planner.issuance, planner.fulfiller, planner.check, batch)
        self._barred: dict[tuple[Rank, str, str], float] = {}
        self._asking: set[tuple[str, str, str]] = set()
        self._under_way: set[str] = set()
        self._claimed: set[str] = set()
        """What may have been claimed, or not: the database did not say."""

    async def run(self) -> None:
        swept = float("-inf")
        while True:
            self._issuance.ordered.clear()
            try:
                await self._fill()
                if not 0 <= self._issuance.clock() - swept < _SWEEP:
                    swept = self._issuance.clock()
                    await self._sweep(swept)
            except Taken:
                raise
            except EdgewardError as error:
                _log.warning("orders wait", reason=str(error))
            self._ask_for_accounts()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_AGAIN):
                    await self._issuance.ordered.wait()
            await asyncio.sleep(_BETWEEN_LOOKS)

    async def _sweep(self, now: float) -> None:
        window = longest_window(self._issuance.policy().issuers())

        async def swept(writing: Writing, _: object) -> None:
            await spending.sweep(writing, now, window)
            await queue.sweep(writing, now)

        await self._batch.write(swept, None)
        self._plan.forget(now, window)

    # --- what begins ------------------------------------------------------------------------

    async def _fill(self) -> None:
        """Begin what may begin: some of each rank in turn, so that many of one keep no better one waiting."""
        await self._settle_claims()
        more = True
        while more:
            now, more = self._issuance.clock(), False
            self._barred = {key: until for key, until in self._barred.items() if until > now}
            for rank in RANKS:
                more |= await self._begin_some(rank, now)

    async def _begin_some(self, rank: Rank, now: float) -> bool:
        """Look at some orders of a rank; False where there are no more to look at."""
        barred = {(project, issuer) for r, project, issuer in self._barred if r == rank}
        async with self._issuance.database.reading() as connection:
            found = await queue.candidates(connection, rank, now, now + SOON, barred, _AT_ONCE)
            renewed = [queued.name for queued in found if queued.reason == "renewal"]
            replaced = await suggestions.replaced(connection, renewed)
        begins: list[Begin] = []
        later: list[Later] = []
        gone: list[str] = []
        for queued in found:
            ordering = self._issuance.policy().ordering(queued.name)
            if ordering is None or not ordering.of(queued.project, queued.issuer):
                gone.append(queued.name)
                continue
            if queued.name in self._under_way:  # its row was taken away meanwhile, and it was queued anew
                later.append(Later(queued, now + _ONE_BEFORE, "waits for an earlier order of the name"))
                continue
            if (rank, queued.project, queued.issuer) in self._barred:
                continue
            candidate = Candidate(queued, rank, ordering, replaced.get(queued.name))
            decided = self._plan.decide(candidate, now)
            if isinstance(decided, Begin):
                self._take(decided)
                begins.append(decided)
            elif isinstance(decided, Later):
                later.append(decided)
            else:
                self._barred[rank, queued.project, queued.issuer] = decided.until
        if begins or later or gone:
            await self._written(begins, later, gone, now)
        return len(found) == _AT_ONCE

    async def _settle_claims(self) -> None:
        """Have nothing stand there as being worked on that nobody works on."""
        if not self._claimed:
            return
        names, now = frozenset(self._claimed), self._issuance.clock()

        async def let_go(writing: Writing, _: object) -> None:
            await queue.recover(writing, now, names)
            await spending.settle(writing, dict.fromkeys(names, ()), now)

        await self._batch.write(let_go, None)
        self._claimed -= names

    def _take(self, begin: Begin) -> None:
        self._plan.begun(begin)
        if begin.planned is not None:
            self._plan.book.begin(begin.planned.charges, begin.queued.name)

    async def _written(
        self, begins: Sequence[Begin], later: Sequence[Later], gone: Sequence[str], now: float
    ) -> None:
        async def claimed(writing: Writing, _: object) -> None:
            await queue.remove(writing, gone)
            for one in later:
                await queue.postpone(writing, one.until, [one.queued.name], one.problem)
            await queue.claim(writing, {b.queued.name: b.issuer.name for b in begins}, now)
            charged = {b.queued.name: b.planned.charges for b in begins if b.planned is not None}
            await spending.begin(writing, charged, now)

        try:
            await self._batch.write(claimed, None)
        except EdgewardError:
            for begin in begins:
                self._let_go(begin)
            self._claimed.update(begin.queued.name for begin in begins)
            raise
        for begin in begins:
            self._under_way.add(begin.queued.name)
            self._group.create_task(self._work(begin))

    def _let_go(self, begin: Begin) -> None:
        self._plan.ended(begin)
        if begin.planned is not None:
            charges = begin.planned.charges
            self._plan.book.settle(charges, begin.queued.name, (), self._issuance.clock())

    # --- what is under way ------------------------------------------------------------------

    async def _work(self, begin: Begin) -> None:
        try:
            await self._attempt.run(begin, self._plan)
        finally:
            self._under_way.discard(begin.queued.name)
            self._plan.ended(begin)
            self._barred.clear()
            self._issuance.ordered.set()

    def _ask_for_accounts(self) -> None:
        """Have authorities tell what they count our orders under; none of them keeps the others waiting."""
        for key, issuer in self._plan.unknown.items():
            if key not in self._asking:
                self._asking.add(key)
                self._group.create_task(self._ask_for_account(key, issuer))
        self._plan.unknown.clear()

    async def _ask_for_account(self, key: tuple[str, str, str], issuer: Issuer) -> None:
        try:
            async with asyncio.timeout(_ACCOUNT_SECONDS):
                self._plan.accounts[key] = await self._planner.fulfiller.account(issuer)
            self._plan.answered(issuer)
            if self._plan.no_account.pop(key, None) is not None:
                await self._tell_of_account(issuer, None)
        except (EdgewardError, TimeoutError) as error:
            await self._refused_account(issuer, str(error) or "no answer in time")
        except Exception:  # what one authority says must not stop the orders at others
            _log.exception("asking for an account failed", issuer=issuer.name)
            await self._refused_account(issuer, UNFORESEEN)
        finally:
            self._asking.discard(key)
            self._barred.clear()
            self._issuance.ordered.set()

    async def _refused_account(self, issuer: Issuer, problem: str) -> None:
        self._plan.refused_account(issuer, problem, self._issuance.clock())
        _log.warning("no account at an authority", issuer=issuer.name, reason=problem)
        await self._tell_of_account(issuer, problem)

    async def _tell_of_account(self, issuer: Issuer, problem: str | None) -> None:
        """Have the orders themselves say what they wait for: people look there, not into the log."""

        async def told(writing: Writing, _: object) -> None:
            await queue.tell_of_account(writing, issuer.project, issuer.name, problem)

        with suppress(Unavailable):  # it is in the log, and told again with the next question
            await self._batch.write(told, None)
