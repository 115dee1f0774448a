"""Takes in the feed: each transaction whole or not at all, first to the sealed copy, then into memory."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edgeward.declaration.feed import ChangeMessage, Hello, Put, Removed, Synced
from edgeward.errors import Invalid, Unavailable
from edgeward.log import logger
from edgeward.node.certificates.secrets import Kept, beside, kept, ticket_keys, tls_certificate
from edgeward.node.sealed_copy.copying import Copying
from edgeward.node.sealed_copy.last_good import LastGood
from edgeward.node.state import Problem, State, Touched, Understood, understand

log = logger(__name__)
_CERTIFICATES = "certificates"


class Following:
    """Between ``hello`` and ``ended`` one connection's messages, in order.

    ``taken(touched)`` is called after each change of ``state``.
    """

    def __init__(self, copy: LastGood, state: State, taken: Callable[[Touched], None]) -> None:
        self._copy = copy
        self._state = state
        self._taken = taken
        self._store = ""
        self._anew: State | None = None
        self._open = False
        self._changes: list[_Taken | Removed] = []
        self._certificates: set[str] = set()
        self._touched = Touched()
        self._failed: Unavailable | None = None
        self.synced = False
        """All there was at the last connection's start is here."""

    def load(self) -> None:
        """Take what the sealed copy holds, before any controller is asked."""
        touched = Touched(everything=True, gateway=True, cache=True, default_domain=True)
        revision, self._store = self._copy.since()
        for unread in (False, True):  # what was not understood, an upgraded node may understand now
            for kind, project, name, value in self._copy.objects(unread=unread):
                _taken(kind, project, name, value, revision).apply(self._state, touched)
        self._state.revision = revision
        self._state.complete = not self._copy.damaged
        if self._copy.damaged:
            self._state.revision = 0
        self._taken(touched)

    @property
    def since(self) -> tuple[int, str]:
        """What to ask the feed for."""
        return self._copy.since()

    @property
    def store(self) -> str:
        """The identity of the store that is followed; blank where none was met yet."""
        return self._store

    @property
    def must_begin_anew(self) -> bool:
        """The sealed copy was found damaged, and this connection is not putting that right."""
        return self._copy.damaged and self._anew is None

    async def hello(self, hello: Hello) -> None:
        """Begin a connection; raises Unavailable where the controller speaks of another store's revisions."""
        await self.ended()
        revision, store = self._copy.since()
        if hello.reset:
            self._anew = State()
            await self._begin()
            log.info("taking the whole state anew", store=hello.store)
        elif revision and hello.store != store:
            raise Unavailable("the controller answers from another store without saying so")
        self._store = hello.store

    async def ended(self) -> None:
        """Forget a transaction that was cut."""
        if self._open:
            await self._write(Copying.rollback)
        self._open, self._anew, self._changes = False, None, []
        self._certificates, self._touched = set(), Touched()

    async def change(self, message: ChangeMessage) -> None:
        """Take in a part of a transaction; with its last part it is in force on this node."""
        certificates = [c for put in message.put if put.kind == _CERTIFICATES for c in _kept(put)]
        puts = [put for put in message.put if put.kind != _CERTIFICATES]
        objects = [read for put in puts for read in self._read(put, message.revision)]
        if not self._open:
            await self._begin()
        await self._write(lambda copying: _copy_change(copying, message.remove, objects, certificates))
        self._remember(message, [taken for taken, _ in objects])
        if not message.more and self._anew is None:
            await self._commit(message.revision)

    def _read(self, put: Put, revision: int) -> Iterator[tuple[_Taken, dict[str, Any]]]:
        """Give an object with what is to be copied of it."""
        place = put.kind, put.project, put.name
        taken = _taken(*place, put.value, revision)
        if self._anew is not None and isinstance(taken.understood, Problem):
            good = self._copy.declared(*place)
            if good is not None:  # all else is forgotten, but this is what goes on being served
                yield _taken(*place, good, revision), good
        yield taken, put.value

    async def completed(self, synced: Synced) -> None:
        """Everything up to here was sent."""
        if self._anew is not None:
            await self._commit(synced.revision)
            self._copy.damaged = False
        elif synced.revision > self._state.revision:
            await self._begin()
            await self._commit(synced.revision)
        self.synced = True

    async def _begin(self) -> None:
        self._open, self._failed = True, None
        anew = self._anew is not None
        if self.must_begin_anew:  # a revision on top of what is not whole would never be put right
            self._failed = Unavailable("the sealed copy is damaged; the whole state is taken anew")
        await self._write(lambda copying: copying.begin(anew=anew))

    async def _write(self, work: Callable[[Copying], None]) -> None:
        if self._failed is None:
            try:
                await self._copy.write(work)
            except Unavailable as error:
                self._failed = error

    def _remember(self, message: ChangeMessage, objects: Sequence[_Taken]) -> None:
        self._changes += [r for r in message.remove if r.kind != _CERTIFICATES]
        self._changes += objects
        ours = {p.name for p in message.put if p.kind == _CERTIFICATES}
        ours |= {r.name for r in message.remove if r.kind == _CERTIFICATES}
        self._certificates |= ours
        for name in ours:
            self._touched.add(name)
        self._touched.expired.update(message.expire)

    async def _commit(self, revision: int) -> None:
        """Put the transaction in force, whether the disk took it or not.

        Where it did not, rows it would have replaced are hidden, and the connection begins again
        from what the disk holds; raises Unavailable then.
        """
        store = self._store
        await self._write(lambda copying: copying.commit(revision, store))
        names, self._certificates = self._certificates, set()
        if self._failed is None:
            self._copy.hidden -= names
        else:
            self._copy.hidden |= names
        self._apply(revision)
        self._open = False
        touched, self._touched = self._touched, Touched()
        self._taken(touched)
        if self._failed is not None:
            raise self._failed

    def _apply(self, revision: int) -> None:
        state, touched = self._state, self._touched
        if self._anew is not None:
            state.forget()
            touched.everything = touched.gateway = touched.cache = touched.default_domain = True
            self._anew = None
        for change in self._changes:
            if isinstance(change, _Taken):
                change.apply(state, touched)
            else:
                state.remove(change.kind, change.project, change.name, touched)
        self._changes = []
        state.revision = revision


@dataclass(frozen=True, slots=True)
class _Taken:
    """An object of the feed, understood or not. Not with what it says: there may be 100,000 at once, and what
    they leave behind among what stays is memory that nobody gets back.
    """

    kind: str
    project: str
    name: str
    understood: Understood | Problem

    def apply(self, state: State, touched: Touched) -> None:
        place = self.kind, self.project, self.name
        if isinstance(self.understood, Problem):
            state.refuse(*place, self.understood)
        else:
            state.put(*place, self.understood, touched)

    def copy(self, value: dict[str, Any], copying: Copying) -> None:
        keep = copying.put_unread if isinstance(self.understood, Problem) else copying.put_object
        keep(self.kind, self.project, self.name, value)


def _taken(kind: str, project: str, name: str, value: dict[str, Any], revision: int) -> _Taken:
    place = sys.intern(kind), sys.intern(project), name
    try:
        return _Taken(*place, understand(kind, value))
    except Invalid as error:
        return _Taken(*place, Problem(str(error), revision))


def _copy_change(
    copying: Copying,
    gone: Sequence[Removed],
    objects: Sequence[tuple[_Taken, dict[str, Any]]],
    certificates: Sequence[Kept],
) -> None:
    for removed in gone:
        if removed.kind == _CERTIFICATES:
            copying.remove_certificate(removed.name)
        else:
            copying.remove_object(removed.kind, removed.project, removed.name)
    for taken, value in objects:
        taken.copy(value, copying)
    for certificate in certificates:
        copying.put_certificate(certificate)


def _kept(put: Put) -> list[Kept]:
    """Give a certificate with what goes beside it, or nothing where it cannot be read."""
    try:
        certificate = certificate_of(put.value, put.name, put.project, put.revision)
        return [certificate, *_beside(put.value, certificate)]
    except Unavailable as error:
        log.error("left out a certificate", name=put.name, problem=str(error))
        return []


def _beside(value: dict[str, Any], first: Kept) -> list[Kept]:
    """Read what hot names have besides: an RSA certificate, and keys for sessions."""
    records = {}
    try:
        if twin := value.get("rsa"):
            records["rsa"] = tls_certificate(str(twin["chain"]), str(twin["key"]))
        if keys := value.get("ticket_keys"):
            records["tickets"] = ticket_keys([base64.b64decode(key) for key in keys])
    except (KeyError, TypeError, ValueError) as error:
        raise Unavailable("the controller sends of a hot name what this node cannot read") from error
    rest = (first.project, first.revision, first.not_after, first.fingerprint)
    return [kept(beside(first.name, what), *rest, record) for what, record in records.items()]


def certificate_of(value: dict[str, Any], name: str, project: str, revision: int) -> Kept:
    """Read a certificate as the feed and ``obtain`` give it; raises Unavailable where it is none."""
    try:
        not_after = datetime.fromisoformat(str(value["not_after"])).timestamp()
        tls = tls_certificate(str(value["chain"]), str(value["key"]))
        return kept(name, project, revision, not_after, str(value["fingerprint"]), tls)
    except (KeyError, ValueError) as error:
        raise Unavailable("the controller sends a certificate this node cannot read") from error
