"""Everything the API does with one resource: listed, found, made, changed, deleted."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Final, TypeVar

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.openstack import drafts, lists, routers, uses
from edgeward.api.openstack.attributes import Asker, Resource, loaded, read
from edgeward.api.openstack.faults import Fault, wrong
from edgeward.api.openstack.lists import Query
from edgeward.api.openstack.resources import PORT, ROUTER
from edgeward.api.openstack.shown import Body, Showing, ports
from edgeward.api.openstack.usecases import OpenStack, Phases, Seen
from edgeward.declaration import document
from edgeward.declaration.model import Key, Outdated
from edgeward.errors import Invalid
from edgeward.kinds import KINDS
from edgeward.vpn.openstack import rules
from edgeward.vpn.openstack.identity import Known, id_of
from edgeward.vpn.openstack.networks import Network, Router, Subnet
from edgeward.vpn.openstack.services import SiteConnection
from edgeward.vpn.openstack.view import Ref, one

_Result = TypeVar("_Result")
_TRIES: Final = 20
_WITH_STATUS: Final = frozenset(("vpnservices", "ipsec_site_connections"))
_POLICIES: Final = frozenset(("ikepolicies", "ipsecpolicies"))


class Facade:
    """Raises Fault, and errors of ours for what Neutron has no word for."""

    def __init__(self, cases: OpenStack) -> None:
        self._cases = cases

    # --- reading ---------------------------------------------------------------------------

    async def listed(self, who: Principal, asker: Asker, resource: Resource, query: Query, url: str) -> Body:
        """Give a list with its links."""
        require(who, Right.READ)
        asked, view = lists.asked(query, resource), await self._cases.seen()
        if resource is PORT:
            bodies: Sequence[lists.Body] = _ports(view, asker, asked, query)
        else:
            ids = {id_of(*ref): ref for ref in view.of_kind(resource.kind) if _visible(view, asker, ref)}
            chosen = (
                lists.cut(asked, sorted(ids), lambda one_: _absent(resource, one_)) if asked.by_id else None
            )
            showing = Showing(view, await self._phases(resource, chosen), lambda _: None)
            if chosen is not None:
                bodies = [showing.body(ids[one_]) for one_ in chosen]
            else:
                bodies = lists.page(
                    asked,
                    list(ids),
                    lambda one_: showing.body(ids[one_]),
                    lambda one_: _absent(resource, one_),
                )
        found: Body = {resource.plural: [lists.cut_down(body, asked.fields) for body in bodies]}
        if linked := lists.links(asked, bodies, query, url):
            found[f"{resource.plural}_links"] = linked
        return found

    async def found(
        self, who: Principal, asker: Asker, resource: Resource, identity: str, query: Query
    ) -> Body:
        """Give one; its secret only to those who could set up everything anyway."""
        require(who, Right.READ)
        view = await self._cases.seen()
        fields = lists.asked([q for q in query if q[0] == "fields"], resource).fields
        if resource is PORT:
            body = next((port for port in _all_ports(view, asker) if port["id"] == identity), None)
            if body is None:
                raise _absent(resource, identity)
        else:
            ref = self._ref(view, asker, resource, identity)
            body = (await self._showing(who, view, resource, ref)).body(ref)
        return {resource.singular: lists.cut_down(body, fields)}

    # --- changing --------------------------------------------------------------------------

    async def made(self, who: Principal, asker: Asker, resource: Resource, data: bytes) -> Body:
        values = read(data, resource, "post", asker)
        project = values["project_id"]
        require(who, Right.CHANGE, project)

        async def written() -> Ref:
            view = await self._cases.seen()
            ref = (resource.kind, project, str(uuid.uuid4()))
            fields = drafts.fields(view, ref, values, None)
            draft = drafts.value(ref, fields)
            fields |= await drafts.looked_at(view, ref, draft, values, self._cases.resolved)
            await self._cases.put(who, Key(*ref), fields, None)
            return ref

        return await self._answer(who, resource, await _tried(resource, written), values)

    async def changed(
        self, who: Principal, asker: Asker, resource: Resource, identity: str, data: bytes
    ) -> Body:
        values = read(data, resource, "put", asker)

        async def written() -> Ref:
            view = await self._cases.seen()
            ref = self._ref(view, asker, resource, identity)
            require(who, Right.CHANGE, ref[1])
            if resource.kind in _POLICIES and (fault := uses.of_policy(view, ref)):
                raise fault
            await self._put(who, view, ref, await self._changes(view, ref, values))
            return ref

        return await self._answer(who, resource, await _tried(resource, written), values)

    async def deleted(self, who: Principal, asker: Asker, resource: Resource, identity: str) -> None:
        view = await self._cases.seen()
        ref = self._ref(view, asker, resource, identity)
        require(who, Right.CHANGE, ref[1])
        if (fault := uses.of(view, ref)) is not None:
            raise fault
        if resource.kind == "networks":
            for user in sorted(view.meaning(ref)):
                await self._cases.deleted(who, Key(*user))
        try:
            await self._cases.deleted(who, Key(*ref))
        except Invalid as error:  # somebody began to use it in the meantime
            raise Fault(409, "InUse", str(error)) from error

    async def interface(self, who: Principal, asker: Asker, identity: str, verb: str, data: bytes) -> Body:
        """Add a subnet to a router's inside, or remove it."""
        asked = loaded(data)

        async def written() -> Body:
            view = await self._cases.seen()
            ref = self._ref(view, asker, ROUTER, identity)
            require(who, Right.CHANGE, ref[1])
            router = one(view, Router, *ref)
            assert router is not None
            named = drafts.names(view, ref[1])
            if verb == "add_router_interface":
                interfaces, subnet = routers.added(view, router, asked, named)
            else:
                interfaces, subnet = routers.removed(view, ref, router, asked, named)
                if (fault := uses.of_interface(view, ref, subnet)) is not None:
                    raise fault
            await self._put(who, view, ref, {"interfaces": interfaces})
            return routers.answer(view, ref, subnet)

        return await _tried(ROUTER, written)

    # --- what they share -------------------------------------------------------------------

    async def _changes(self, view: Seen, ref: Ref, values: Body) -> Body:
        """Give the fields that change; raises Fault where they must not, or not now."""
        before = view.declared(ref)
        assert isinstance(before, Known)
        fields = drafts.fields(view, ref, values, before)
        whole = drafts.merged(before.model_dump(mode="json", exclude={"psk"}), fields)
        draft = drafts.value(ref, whole)
        if not isinstance(draft, (Router, Subnet, Network)):
            fields |= await drafts.looked_at(view, ref, draft, values, self._cases.resolved)
        loses = isinstance(draft, Router) and draft.gateway is None
        if loses and (fault := uses.of_router(view, ref)) is not None:
            raise fault
        if ref[0] in _WITH_STATUS:
            showing = Showing(view, await self._cases.phases([id_of(*ref)]), lambda _: None)
            if (status := showing.body(ref)["status"]).startswith("PENDING_"):
                message = f"Invalid state {status} of vpnaas resource {id_of(*ref)} for updating"
                raise Fault(400, "VPNStateInvalidToUpdate", message)
        return fields

    async def _put(self, who: Principal, view: Seen, ref: Ref, fields: Body) -> None:
        stored = view.stored(ref)
        kept = document.shown(stored.value, KINDS[ref[0]])
        whole = drafts.merged(kept, fields)
        for name in ("name", "project"):
            whole.pop(name, None)
        await self._cases.put(who, Key(*ref), whole, stored.revision)

    async def _answer(self, who: Principal, resource: Resource, ref: Ref, values: Body) -> Body:
        view = await self._cases.seen()
        try:
            body = (await self._showing(who, view, resource, ref)).body(ref)
        except KeyError:
            raise _absent(resource, id_of(*ref)) from None
        if (given := values.get("lifetime")) and "value" in given:
            body["lifetime"] = {**body["lifetime"], "value": given["value"]}  # a text is said back as one
        return {resource.singular: body}

    async def _showing(self, who: Principal, view: Seen, resource: Resource, ref: Ref) -> Showing:
        def psk(connection: SiteConnection) -> str | None:
            if who.role != "admin":
                return None
            return "" if connection.psk is None else self._cases.revealed(connection.psk)

        return Showing(view, await self._phases(resource, [id_of(*ref)]), psk)

    async def _phases(self, resource: Resource, ids: Sequence[str] | None) -> Phases:
        return await self._cases.phases(ids) if resource.kind in _WITH_STATUS else _NOTHING_HEARD

    def _ref(self, view: Seen, asker: Asker, resource: Resource, identity: str) -> Ref:
        """Give the object of an id, as this asker may see it; raises Fault."""
        for ref in view.identified(resource.kind, identity):
            if _visible(view, asker, ref):
                return ref
        raise _absent(resource, identity)


async def _tried(resource: Resource, work: Callable[[], Awaitable[_Result]]) -> _Result:
    """Do it anew where somebody else was faster: what was read is another by then, or an address is taken."""
    for left in reversed(range(_TRIES)):
        try:
            return await work()
        except Outdated:
            if not left:
                raise
        except Invalid:
            if not left or resource is not ROUTER:
                raise
    raise AssertionError("the last try returns or raises")


class _Nothing:
    def connection(self, _identity: str) -> str | None:
        return None

    gateway = connection


_NOTHING_HEARD: Final = _Nothing()


def _absent(resource: Resource, identity: str) -> Fault:
    return wrong(rules.missing(resource.kind, identity))


def _visible(view: Seen, asker: Asker, ref: Ref) -> bool:
    """Whether somebody may see an object: theirs, or an external network with its subnets."""
    if asker.everywhere or ref[1] == asker.project:
        return True
    value = view.declared(ref)
    if isinstance(value, Subnet):
        value = view.declared(("networks", ref[1], value.network))
    return isinstance(value, Network) and value.external


def _all_ports(view: Seen, asker: Asker) -> Iterator[Body]:
    return ports(view, [ref for ref in view.of_kind("routers") if _visible(view, asker, ref)])


def _ports(view: Seen, asker: Asker, asked: lists.Asked, query: Query) -> list[lists.Body]:
    wanted = [value.partition("=") for key, value in query if key == "fixed_ips"]
    found = {
        port["id"]: port
        for port in _all_ports(view, asker)
        if not wanted or any(place.get(k) == v for place in port["fixed_ips"] for k, _, v in wanted)
    }
    return lists.page(asked, list(found), lambda one_: found[one_], lambda one_: _absent(PORT, one_))
