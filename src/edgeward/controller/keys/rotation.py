"""The keys that records are sealed with: followed by every controller, looked after by one of them.

A rotation is: a new key that waits; every controller holds it; records are sealed with it; then the older
ones are sealed anew. Each step is found in the database, so whoever dies in between, another one goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from sqlalchemy import delete, insert, select

from edgeward.access.decide import require
from edgeward.access.model import EVERY_PROJECT, Principal, Right
from edgeward.controller.keys import resealing
from edgeward.database import schema, seal_keys
from edgeward.database.engine import Database
from edgeward.database.leases import Lease, Taken, held
from edgeward.database.seal_keys import SealKey
from edgeward.declaration import audit
from edgeward.declaration.model import Key
from edgeward.errors import Conflict, EdgewardError
from edgeward.log import logger
from edgeward.sealing import Seal
from edgeward.wrapping import Wrapping

_LOOK_EVERY: Final = 5.0
_STRAYS: Final = 10.0
"""Seconds after which a pass is done again: what others read before it they may have written after it."""
_TOPIC: Final = "seal_keys"
_holders = schema.seal_holders
_log = logger("edgeward.controller.keys.rotation")

Fleet = Callable[[], Sequence[Mapping[str, Any]]]
"""Gives the controllers that are there: id, name, version."""


class Keys:
    """``take`` at the start; then ``run`` on every controller, ``work`` on the one that holds the lease."""

    def __init__(
        self,
        database: Database,
        seal: Seal,
        wrapping: Wrapping,
        me: str,
        fleet: Fleet,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._seal = seal
        self._wrapping = wrapping
        self._me = me
        self._fleet = fleet
        self._clock = clock
        self._noted: dict[str, str] | None = None
        self._changed, self._to_do = asyncio.Event(), asyncio.Event()
        for topic in (_TOPIC, "regained", "controllers"):
            database.on(topic, lambda _: self._wake())

    async def shown(self, who: Principal) -> Mapping[str, Any]:
        """Give the keys, how many records still wait to be sealed anew, and for whom a new key waits."""
        require(who, Right.GOVERN)
        async with self._database.reading() as connection:
            keys = await seal_keys.keys(connection)
        waiting = next((key for key in keys if key.active is None), None)
        sealing = next(key for key in reversed(keys) if key.active is not None and key.retired is None)
        done = waiting is None and sealing.resealed is not None
        return {
            "wrapped_by": self._wrapping.id,
            "where": self._wrapping.where,
            "keys": [asdict(key) for key in keys],
            "waits_for": [] if waiting is None else await self._without(lambda row: waiting.id in row.keys),
            "older_records": 0 if done else await resealing.older(self._database, self._seal),
        }

    async def rotated(self, who: Principal) -> str:
        """Begin a rotation, or find one that goes on, and give the id of the new key.

        Raises Conflict where a controller could not unwrap it.
        """
        require(who, Right.GOVERN)
        cannot = await self._without(lambda row: self._wrapping.id in row.wraps_with)
        if cannot:
            raise Conflict(
                f"{', '.join(cannot)} could not unwrap the new key; give every controller the same wrapping"
                " keys, the new one first, start them again, and then rotate"
            )
        key_id = await self._begin(None, who.name)
        self._wake()
        return key_id

    async def take(self) -> list[SealKey]:
        """Hold what the store holds now, and tell the others that we do."""
        async with self._database.reading() as connection:
            keys = await seal_keys.refresh(connection, self._wrapping, self._seal)
        note = {
            "keys": " ".join(key.id for key in keys),
            "seals_with": self._seal.key_id.hex(),
            "wraps_with": " ".join(self._wrapping.ids),
        }
        if note != self._noted:
            async with self._database.noting() as connection:
                await connection.execute(delete(_holders).where(_holders.c.controller == self._me))
                await connection.execute(insert(_holders).values(controller=self._me, **note))
            self._noted = note
            await self._database.tell(_TOPIC, "")
        return keys

    async def run(self) -> None:
        """Follow what the store holds, until cancelled."""
        while True:
            try:
                await self.take()
            except EdgewardError as error:
                _log.warning("the keys of the store cannot be followed", reason=str(error))
            await _or_after(self._changed, _LOOK_EVERY)

    async def work(self, lease: Lease) -> None:
        """Carry rotations to their end, until cancelled; raises Taken."""
        while True:
            pause = _LOOK_EVERY
            try:
                if await self._forward(lease):
                    await self._reseal(lease)
                    pause = _STRAYS
            except Taken:
                raise
            except EdgewardError as error:
                _log.warning("sealing anew waits", reason=str(error))
            await _or_after(self._to_do, pause)

    async def _reseal(self, lease: Lease) -> None:
        key_id = self._seal.key_id.hex()
        count = await resealing.reseal(self._database, self._seal, lease)
        _log.info("records are sealed with the present key", sealed_anew=count)
        if count == 0 and key_id == self._seal.key_id.hex():
            async with self._database.writing() as writing:
                await held(writing, lease)
                await seal_keys.resealed(writing, key_id, self._clock())

    async def _forward(self, lease: Lease) -> bool:
        """Take the next step of a rotation; True where what is left is to seal older records anew: all seal
        with the same key.
        """
        keys = await self.take()
        waiting = next((key for key in keys if key.active is None), None)
        if waiting is None and self._wrapping.direct(self._seal.key_id) is not None:
            await self._begin(lease, "edgeward")  # the wrapping key itself sealed the records of old stores
            return False
        if waiting is not None:
            lacking = await self._without(lambda row: waiting.id in row.keys.split())
            if lacking:
                _log.info("a new key waits until all hold it", waits_for=lacking)
                return False
            await self._activate(lease, waiting.id)
            keys = await self.take()
        present = self._seal.key_id.hex()
        if any(key.id == present and key.resealed is not None for key in keys):
            return False
        return not await self._without(lambda row: row.seals_with == present)

    async def _begin(self, lease: Lease | None, who: str) -> str:
        now = self._clock()
        async with self._database.writing() as writing:
            await held(writing, lease)
            key_id = await seal_keys.rotate(writing, self._wrapping, now)
            entry = audit.Entry(who, "api", "rotate", Key("keys", EVERY_PROJECT, key_id))
            await audit.record(writing, [entry], now)
            await writing.tell(_TOPIC, "")
        self._wake()
        return key_id

    async def _activate(self, lease: Lease, key_id: str) -> None:
        there = [one["id"] for one in self._fleet()]
        async with self._database.writing() as writing:
            await held(writing, lease)
            await seal_keys.activate(writing, key_id, self._clock())
            gone = _holders.c.controller.not_in([*there, self._me])
            await writing.connection.execute(delete(_holders).where(gone))
            await writing.tell(_TOPIC, "")
        _log.info("records are sealed with a new key", key=key_id)

    async def _without(self, has: Callable[[Any], bool]) -> list[str]:
        """Give the names of the controllers of which that does not hold, or that said nothing of keys."""
        async with self._database.reading() as connection:
            rows = {row.controller: row for row in (await connection.execute(select(_holders))).all()}
        there = {self._me: "this controller"} | {
            one["id"]: f"the controller {one['name']} ({one['version']})" for one in self._fleet()
        }
        return [name for one, name in there.items() if one not in rows or not has(rows[one])]

    def _wake(self) -> None:
        self._changed.set()
        self._to_do.set()


async def _or_after(event: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await event.wait()
    except TimeoutError:
        pass
    event.clear()
