"""A certificate for a name a visitor asks for: the stored one, or a new one where policy allows it.

One worker serves all waiting names in batches: a commit is a disk flush, so a hundred names that
arrive while one is being flushed share the next.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates import store
from edgeward.certificates.issue import Issuance, issue
from edgeward.certificates.model import Budgets, Domain, Kept, Order
from edgeward.certificates.on_demand.awaiting import Awaiting, Outcome
from edgeward.certificates.on_demand.permission import OUTCOMES, Permission
from edgeward.certificates.on_demand.quota import Quota
from edgeward.certificates.policy import certificate_for, withheld_sentence
from edgeward.domain_name import normalise
from edgeward.errors import EdgewardError, NotFound, Refused, Unavailable
from edgeward.log import logger

_MOST_IN_BATCH: Final = 64
_BATCH_SECONDS: Final = 15.0
_BUSY_SECONDS: Final = 0.025
_GATHER_SECONDS: Final = 0.004
"""How long more names are awaited when the last batch ended less than ``_BUSY_SECONDS`` ago: at 200
new names a second this saves a third of the controller's CPU; a lone name never waits."""
_log = logger("edgeward.certificates.on_demand.obtain")


class Obtainer:
    """Answers ``obtain``; each name is worked on once, however many ask. ``run`` is its worker."""

    def __init__(
        self, issuance: Issuance, most_waiting: int = 1000, permission: Permission | None = None
    ) -> None:
        self._issuance = issuance
        self._permission = permission or Permission(issuance.database, Budgets)
        self._learning: set[asyncio.Task[None]] = set()
        self._put_off: set[str] = set()
        self._quota = Quota()
        self._most_waiting = most_waiting
        self._flights: dict[str, asyncio.Future[Outcome]] = {}
        self._queue: list[str] = []
        self._arrived = asyncio.Event()
        self._awaiting = Awaiting(issuance, self._landed)

    @property
    def decided(self) -> Mapping[str, int]:
        """How often names on demand were allowed, refused, one too many, or not decided."""
        return {outcome: self._permission.decided[outcome] for outcome in OUTCOMES}

    @property
    def waiting(self) -> int:
        """How many names are being worked on or wait for it."""
        return len(self._flights)

    async def obtain(self, name: str, timeout: float = 8.0) -> Kept:
        """Give the certificate that serves ``name``, in any spelling.

        Raises Invalid for what is no domain name, NotFound where no domain covers it, Refused where
        its domain allows none, Unavailable where it cannot be had now.
        """
        canonical = normalise(name)
        if self._issuance.policy().covering(canonical) is None:
            raise _uncovered(canonical)
        if self._issuance.policy().withheld(canonical):
            raise Refused(withheld_sentence(canonical))
        flight = self._flights.get(canonical) or self._departure(canonical)
        try:
            async with asyncio.timeout(timeout):
                outcome = await asyncio.shield(flight)  # who stops waiting takes nobody else along
        except TimeoutError as error:
            raise Unavailable(f"no certificate for {canonical} within {timeout:g} s") from error
        if isinstance(outcome, EdgewardError):
            raise type(outcome)(*outcome.args) from outcome
        return outcome

    def _departure(self, name: str) -> asyncio.Future[Outcome]:
        if len(self._flights) - len(self._awaiting) >= self._most_waiting:
            raise Unavailable(f"{self._most_waiting} names are being obtained already; try again soon")
        flight: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self._flights[name] = flight
        self._queue.append(name)
        self._arrived.set()
        return flight

    async def run(self) -> None:
        """Work until cancelled; whoever still waits then hears that the controller stops."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sign())
            group.create_task(self._awaiting.run())

    async def _sign(self) -> None:
        idle_since = 0.0
        time = asyncio.get_running_loop().time
        try:
            while True:
                await self._arrived.wait()
                if time() - idle_since < _BUSY_SECONDS and len(self._queue) < _MOST_IN_BATCH:
                    await asyncio.sleep(_GATHER_SECONDS)
                batch, self._queue = self._queue[:_MOST_IN_BATCH], self._queue[_MOST_IN_BATCH:]
                self._put_off.clear()
                if not self._queue:
                    self._arrived.clear()
                self._land(batch, await self._outcomes(batch))
                idle_since = time()
        finally:
            self._queue.clear()
            for task in self._learning:
                task.cancel()
            self._awaiting.clear()
            self._put_off.clear()
            self._land(list(self._flights), {})
            await self._permission.close()

    def _land(self, names: Sequence[str], outcomes: Mapping[str, Outcome]) -> None:
        for name in names:
            if name in self._put_off and name not in outcomes:
                continue  # it comes again once it is known whether it may have one
            if name not in outcomes and name in self._awaiting:
                continue  # it lands when its order has come to something
            flight = self._flights.pop(name, None)
            if flight is None:
                continue
            flight.set_result(outcomes.get(name) or Unavailable("the controller is stopping; try again"))

    def _landed(self, outcomes: Mapping[str, Outcome]) -> None:
        self._land([name for name in outcomes if name in self._flights], outcomes)

    async def _outcomes(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        """Give one outcome a name, whatever happens: this worker must outlive every bad name."""
        try:
            async with asyncio.timeout(_BATCH_SECONDS):
                return await self._obtained(names)
        except TimeoutError:
            failure = Unavailable("the database took too long")
        except EdgewardError as error:
            failure = Unavailable(str(error))
        except Exception:
            _log.exception("obtaining failed", names=list(names))
            failure = Unavailable("obtaining failed; the controller's log tells why")
        return dict.fromkeys(names, failure)

    async def _obtained(self, names: Sequence[str]) -> Mapping[str, Outcome]:
        now = self._issuance.clock()
        async with self._issuance.database.reading() as connection:
            found = await store.find_all(connection, self._issuance.seal, names, now)
            missing = [name for name in names if name not in found and not self._learns(name)]
            ordered = {name: await self._ordered(connection, name, now) for name in missing}
        outcomes: dict[str, Outcome] = {**found}
        outcomes.update((n, order) for n, order in ordered.items() if isinstance(order, EdgewardError))
        wanted = {name: order for name, order in ordered.items() if isinstance(order, Order)}
        if ours := {name: order for name, order in wanted.items() if not order.queued}:
            outcomes.update(await self._issued(ours, now))
        if others := {name: order for name, order in wanted.items() if order.queued}:
            outcomes.update(await self._awaiting.add(others, now))
        return outcomes

    async def _ordered(self, connection: AsyncConnection, name: str, now: float) -> Order | EdgewardError:
        policy = self._issuance.policy()
        domain = policy.covering(name)
        if domain is None:
            return _uncovered(name)
        try:
            order = policy.order(certificate_for(name, domain), domain)
            await self._quota.check(connection, name, domain, now)
            await self._permission.permit(name, domain, ordered=order.queued, now=now)
            self._quota.take(name, domain)
            return order
        except (Refused, Unavailable) as error:
            return error

    def _learns(self, name: str) -> bool:
        """Find out, beside the line in which names wait, whether one may have a certificate; False where
        nobody need be asked.
        """
        domain = self._issuance.policy().covering(name)
        if domain is None or self._permission.knows(name, domain):
            return False
        self._put_off.add(name)
        task = asyncio.create_task(self._learn(name, domain))
        self._learning.add(task)
        task.add_done_callback(self._learning.discard)
        return True

    async def _learn(self, name: str, domain: Domain) -> None:
        try:
            await self._permission.learn(name, domain)
        except Exception:  # else nobody would ever hear of the name again
            _log.exception("asking whether a name may have a certificate failed", name=name)
            self._land([name], {name: Unavailable("asking failed; the controller's log tells why")})
            return
        if name in self._flights:
            self._queue.append(name)
            self._arrived.set()

    async def _issued(self, orders: Mapping[str, Order], now: float) -> Mapping[str, Outcome]:
        """Issue what is still missing once we alone may write: another controller may have been faster."""
        async with self._issuance.database.writing() as writing:
            found = await store.find_all(writing.connection, self._issuance.seal, orders, now)
            missing = {order.name: order for name, order in orders.items() if name not in found}
            signed = await issue(self._issuance, writing, missing.values(), now)
        have = {
            **found,
            **{n: signed.get(n) or signed[o.name] for n, o in orders.items() if o.name in signed},
        }
        for kept in signed.values():
            until = kept.certificate.not_after.isoformat()
            _log.info("certificate issued", name=kept.certificate.name, until=until)
        unsigned = Unavailable("the certificate could not be signed; the controller's log tells why")
        return {name: have.get(name, unsigned) for name in orders}


def _uncovered(name: str) -> NotFound:
    return NotFound(f"no domain covers {name}; declare it under domains to serve it")
