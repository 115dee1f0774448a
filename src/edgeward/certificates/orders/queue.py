"""Orders in the database: which certificates are waited for, how far each has come, and what failed.

One row a name, gone when its certificate is there. Whoever changes rows holds the lease of that work.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    Executable,
    Integer,
    Row,
    Select,
    bindparam,
    case,
    delete,
    func,
    insert,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from edgeward.certificates.orders.fulfilment import Saved
from edgeward.certificates.orders.model import Queued, Rank, Sought, Wish
from edgeward.certificates.problem import one_line
from edgeward.database.engine import Writing
from edgeward.database.parts import in_parts
from edgeward.database.schema import orders
from edgeward.errors import Invalid
from edgeward.sealing import Seal
from edgeward.secret import Secret

LEASE: Final = "orders"
TOPIC: Final = "orders"
"""What is told to all controllers when there is something new to do."""
MOST_OF_VISITORS: Final = 100_000
"""Rows that strangers may have caused."""
_KEPT_FAILED: Final = 2 * 86400.0
_MOST_TOLD: Final = 1000
_NOT_BEGUN: Final[Mapping[str, Any]] = {"url": None, "sealed_key": None, "step": None}
_columns = orders.c

_OF_OTHERS: Final = tuple((r, s) for r in ("renewal", "new") for s in ("waiting", "failed"))


_THIS: Final = _columns.name == bindparam("order")
_WITH: Final = bindparam("by", type_=_columns.authority.type)
_CLAIM: Final = (
    update(orders)
    .where(_THIS)
    .values({column: case((_columns.authority == _WITH, _columns[column])) for column in _NOT_BEGUN})
    .values(state="working", began=bindparam("now"), authority=_WITH)
)
_SAVE: Final = (
    update(orders)
    .where(_THIS, _columns.state == "working")
    .values(step=bindparam("at_step"), url=bindparam("at_url"), sealed_key=bindparam("key"))
)


async def add(writing: Writing, wishes: Collection[Wish], now: float) -> None:
    """Queue what is not queued yet; a visitor's wish makes an order that waits a visitor's. What waits or
    failed at an issuer that the name no longer has gives way.
    """
    known = await states(writing.connection, [wish.order.name for wish in wishes])
    wanted = {wish.order.name: wish.order for wish in wishes}
    gone = [name for name, queued in known.items() if not queued.stands_for(wanted[name])]
    await remove(writing, gone)
    for name in gone:
        del known[name]
    fresh = {wish.order.name: _row(wish, now) for wish in wishes if wish.order.name not in known}
    if fresh:
        await writing.connection.execute(insert(orders), list(fresh.values()))
    visited = [w.order.name for w in wishes if w.reason == "visitor" and _waits(known.get(w.order.name), now)]
    for some in in_parts(visited):
        sooner = update(orders).where(_columns.name.in_(some), _columns.state != "working")
        await writing.connection.execute(sooner.values(reason="visitor", state="waiting", due=now))
    if fresh or visited:
        await writing.tell(TOPIC, "new")


async def states(connection: AsyncConnection, names: Sequence[str]) -> dict[str, Queued]:
    found: dict[str, Queued] = {}
    for some in in_parts(names):
        rows = await connection.execute(_shown().where(_columns.name.in_(some)))
        found.update((row.name, _queued(row)) for row in rows)
    return found


async def candidates(
    connection: AsyncConnection,
    rank: Rank,
    now: float,
    soon: float,
    barred: Collection[tuple[str, str]],
    limit: int,
) -> list[Queued]:
    """Give orders of a rank that may begin now, the worthiest first, but none of the issuers ``barred``.

    ``soon``: certificates that end before this are urgent. What failed for a visitor waits for the next one.
    """
    given = {"now": now, "barred": sorted(barred), "limit": limit}
    if rank == "urgent":
        given["soon"] = soon
    return [_queued(row) for row in await connection.execute(_CANDIDATES[rank], given)]


async def recover(writing: Writing, now: float, names: Collection[str] | None = None) -> None:
    """Have what was being worked on when somebody stopped, all of it or these, gone on with."""
    working = update(orders).where(_columns.state == "working").values(state="waiting", due=now)
    if names is None:
        await writing.connection.execute(working)
        return
    for some in in_parts(sorted(names)):
        await writing.connection.execute(working.where(_columns.name.in_(some)))


async def claim(writing: Writing, begun: Mapping[str, str], now: float) -> None:
    """Begin these, each with its authority; what another one has of it is of no use here."""
    if begun:
        rows = [{"order": name, "by": authority, "now": now} for name, authority in begun.items()]
        await writing.connection.execute(_CLAIM, rows)


async def saved(connection: AsyncConnection, seal: Seal, name: str) -> Saved:
    """Give how far an order has come; from the start where that is not known, or does not open."""
    row = (await connection.execute(select(orders).where(_columns.name == name))).one_or_none()
    if row is None or row.step is None or row.sealed_key is None:
        return Saved()
    try:
        key = Secret(seal.open(row.sealed_key, context(name)).decode())
    except Invalid:
        return Saved()
    return Saved(row.step, row.url, key)


async def save(writing: Writing, seal: Seal, all_of_them: Mapping[str, Saved]) -> None:
    """Write down how far these orders have come."""
    rows = []
    for name, saved in all_of_them.items():
        key = saved.key
        sealed = None if key is None else seal.seal(key.reveal().encode(), context(name))
        rows.append({"order": name, "at_step": saved.step, "at_url": saved.url, "key": sealed})
    await writing.connection.execute(_SAVE, rows)


async def postpone(writing: Writing, due: float, names: Collection[str], problem: str) -> None:
    """Let orders wait that have not failed."""
    for some in in_parts(sorted(names)):
        row = update(orders).where(_columns.name.in_(some))
        await writing.connection.execute(row.values(due=due, problem=one_line(problem)))


async def tell_of_account(writing: Writing, project: str, issuer: str, problem: str | None) -> None:
    """Say of what waits for an issuer that it has no account, and why; None: it has one again.

    What was never begun has no problem else. Of very many some are told of, the others the next time.
    """
    prefix = f"no account at {issuer}: "
    said = None if problem is None else one_line(f"{prefix}{problem}")
    waiting = (_columns.project == project, _columns.issuer == issuer, _columns.state == "waiting")
    untold = or_(_columns.problem.is_(None), _columns.problem.startswith(prefix, autoescape=True))
    some = select(_columns.name).where(*waiting, untold, _columns.problem.is_distinct_from(said))
    row = update(orders).where(_columns.name.in_(some.limit(_MOST_TOLD)))
    await writing.connection.execute(row.values(problem=said))


async def again(
    writing: Writing, name: str, authority: str | None, due: float, problem: str, *, going_on: bool = False
) -> None:
    """Have it tried again without counting a failure, by another authority or later."""
    anew = {} if going_on else {**_NOT_BEGUN, "authority": authority}
    row = update(orders).where(_columns.name == name)
    changed = {"state": "waiting", "due": due, "problem": one_line(problem)}
    await writing.connection.execute(row.values(**changed, **anew))


async def fail(writing: Writing, name: str, due: float, problem: str, *, going_on: bool) -> None:
    """Put down a failure; ``going_on``: the order at the authority stands, and is gone on with."""
    anew = {} if going_on else {**_NOT_BEGUN, "authority": None}
    row = update(orders).where(_columns.name == name)
    changed = {"state": "failed", "due": due, "problem": one_line(problem), "attempts": _columns.attempts + 1}
    await writing.connection.execute(row.values(**changed, **anew))


async def remove(writing: Writing, names: Collection[str]) -> None:
    """Take out what is done, or not wanted any more."""
    for some in in_parts(sorted(names)):
        await writing.connection.execute(delete(orders).where(_columns.name.in_(some)))


async def sweep(writing: Writing, now: float) -> None:
    """Forget what failed for visitors who have not come back since."""
    old = (_columns.reason == "visitor", _columns.state != "working", _columns.due < now - _KEPT_FAILED)
    await writing.connection.execute(delete(orders).where(*old))


async def renewals(connection: AsyncConnection) -> int:
    return await _number(connection, "renewal")


async def of_visitors(connection: AsyncConnection) -> int:
    return await _number(connection, "visitor")


async def _number(connection: AsyncConnection, reason: str) -> int:
    query = select(func.count()).select_from(orders).where(_columns.reason == reason)
    return int((await connection.execute(query)).scalar_one())


async def listed(
    connection: AsyncConnection, sought: Sought, limit: int, after: str | None = None
) -> list[Queued]:
    """Give orders by name, those after ``after``."""
    query = _shown().order_by(_columns.name).limit(limit)
    if after is not None:
        query = query.where(_columns.name > after)
    for field in ("project", "issuer", "state"):
        if (wanted := getattr(sought, field)) is not None:
            query = query.where(_columns[field] == wanted)
    name = sought.name
    if name is not None and name.endswith("*"):
        query = query.where(_columns.name.startswith(name[:-1], autoescape=True))
    elif name is not None:
        query = query.where(_columns.name == name)
    return [_queued(row) for row in await connection.execute(query)]


def _waits(known: Queued | None, now: float) -> bool:
    """Whether a visitor's wish makes it sooner: not while a failure is fresh."""
    if known is None or known.state == "working":
        return False
    if known.state == "failed":
        return known.due <= now
    return known.reason != "visitor"


def _row(wish: Wish, now: float) -> dict[str, Any]:
    order = wish.order
    place = {"name": order.name, "project": order.project, "issuer": order.issuer}
    times = {"queued": now, "due": now, "expires": wish.expires}
    return {**place, **times, "reason": wish.reason, "state": "waiting", "attempts": 0}


def _shown() -> Select[Any]:
    return select(*(_columns[field] for field in Queued.__dataclass_fields__))


def _beginning(*conditions: ColumnElement[bool], first: ColumnElement[Any]) -> Select[Any]:
    issuer = tuple_(_columns.project, _columns.issuer)
    may = (_columns.due <= bindparam("now"), issuer.not_in(bindparam("barred", expanding=True)))
    return _shown().where(*may, *conditions).order_by(first).limit(_LIMIT)


def _oldest(reason: str, state: str) -> Select[Any]:
    return _beginning(_columns.reason == reason, _columns.state == state, first=_columns.due)


_LIMIT: Final = bindparam("limit", type_=Integer)
_ENDING: Final = (
    _columns.reason == "renewal",
    _columns.expires < bindparam("soon"),
    _columns.state != "working",
)
_CANDIDATES: Final[Mapping[Rank, Executable]] = {
    "visitor": _oldest("visitor", "waiting"),
    "urgent": _beginning(*_ENDING, first=_columns.expires),
    # each as its index has them
    "bulk": union_all(*(select(_oldest(*kind).subquery()) for kind in _OF_OTHERS))
    .order_by("due")
    .limit(_LIMIT),
}


def _queued(row: Row[Any]) -> Queued:
    return Queued(**row._mapping)


def context(name: str) -> str:
    """Give what the sealed key of an order is bound to."""
    return f"order:{name}"
