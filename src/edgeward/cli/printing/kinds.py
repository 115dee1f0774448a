"""The kinds of things the command can get and delete: where the API has them, and their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from edgeward.cli.connect import segment
from edgeward.cli.printing import show
from edgeward.domain_name import printable
from edgeward.errors import Invalid
from edgeward.placement import selector, shown

Item = Mapping[str, Any]
Column = Callable[[Item, float], object]
"""Gives a cell of an item; the second argument is now, in Unix seconds."""


@dataclass(frozen=True)
class Listed:
    """A kind by its plural name, as in files and paths."""

    name: str
    columns: Mapping[str, Column] = field(default_factory=dict)
    declared: bool = False
    """Has a project and a source, and is shown by its ``value``."""
    single: bool = False
    one_by_one: bool = True
    """The API gives single ones by name."""
    deletable: bool = True
    instead: str = ""

    def path(self, name: str = "") -> str:
        """Give the path of one, or of the list; raises Invalid where a name is missing or too much."""
        if self.single:
            if name not in ("", self.name):
                raise Invalid(f"there is one {self.name} only; leave '{printable(name)}' out")
            return f"/v1/{self.name}"
        if not name:
            raise Invalid(f"say which of the {self.name}: give its name")
        return f"/v1/{self.name}/{segment(name)}"


def find(text: str) -> Listed:
    """Give a kind by its name, in the singular or the plural; raises Invalid naming all there are."""
    wanted = text.lower()
    for kind in KINDS:
        if wanted in (kind.name, kind.name.removesuffix("s")):
            return kind
    raise Invalid(f"there is no kind '{printable(text)}'; there are {', '.join(k.name for k in KINDS)}")


def addressed(kind: str, name: str = "", project: str | None = None) -> tuple[Listed, str, str | None]:
    """Give kind, name and project from what was written: ``domains shop.example``, or in one word as messages
    print it, ``domains/default/shop.example``; raises Invalid.
    """
    if "/" not in kind:
        return find(kind), name, project
    word, _, rest = kind.partition("/")
    found = find(word)
    where, named = rest.split("/", 1) if "/" in rest else ("", rest)
    if name or not named:
        raise Invalid(f"write {found.name}/PROJECT/NAME in one word, or {found.name} and the name in two")
    if project is not None and where and where != project:
        raise Invalid(f"'{printable(kind)}' is of the project {printable(where)}; leave --project out")
    return found, named, None if found.single else where or project


def _field(name: str) -> Column:
    return lambda item, _now: item.get(name)


def _value(name: str, default: object = None) -> Column:
    return lambda item, _now: item["value"].get(name, default)


def _time(name: str) -> Column:
    return lambda item, now: show.moment(item.get(name), now)


def _backends(item: Item, _now: float) -> object:
    return [b if isinstance(b, str) else b.get("url") for b in item["value"].get("backends", [])]


def _selector(item: Item, _now: float) -> object:
    return shown(value) if (value := selector(item["value"].get("nodes"))) else None


def _leads_to(item: Item, _now: float) -> object:
    value = item["value"]
    if value.get("service"):
        return value["service"]
    redirect = value.get("redirect") or {}
    return f"redirect to {redirect.get('host') or redirect.get('path') or redirect.get('scheme')}"


def _lifetime(item: Item, _now: float) -> object:
    return f"{(item['value'].get('local') or {}).get('lifetime_days', 7):g} d"


def _report(*path: str) -> Column:
    def cell(item: Item, _now: float) -> object:
        found: Any = item.get("report")
        for step in path:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    return cell


def _connected(item: Item, _now: float) -> object:
    return show.good("yes") if item.get("connected") else show.bad("no")


def _labels(item: Item, _now: float) -> object:
    return show.labels(item.get("labels"))


def _renewed(item: Item, now: float) -> object:
    if item.get("withheld"):
        return show.bad("deactivated")
    if item.get("source") == "uploaded":
        return "by you"
    return "with it" if item.get("shares") else show.moment(item.get("renew_at"), now)


def _due(item: Item, now: float) -> object:
    return None if item.get("state") == "working" else show.moment(item.get("due"), now)


def _about(item: Item, _now: float) -> object:
    return f"{item.get('kind')}/{item.get('project')}/{item.get('name')}"


_OBJECT: Final[Mapping[str, Column]] = {"name": _field("name"), "project": _field("project")}
_SOURCE: Final[Mapping[str, Column]] = {"source": _field("source"), "revision": _field("revision")}

KINDS: Final[Sequence[Listed]] = (
    Listed("listen", declared=True, single=True),
    Listed("cache", declared=True, single=True),
    Listed("budgets", declared=True, single=True),
    Listed("alarms", declared=True, single=True),
    Listed("openresty", declared=True, single=True),
    Listed("issuers", {**_OBJECT, "lifetime": _lifetime, **_SOURCE}, declared=True),
    Listed(
        "domains",
        {
            **_OBJECT,
            "also": _value("also"),
            "issuer": _value("issuer", "local"),
            "on demand": _value("on_demand", False),
            "nodes": _selector,
            **_SOURCE,
        },
        declared=True,
    ),
    Listed("withheld", {**_OBJECT, "reason": _value("reason"), **_SOURCE}, declared=True),
    Listed("services", {**_OBJECT, "backends": _backends, **_SOURCE}, declared=True),
    Listed(
        "routes",
        {
            **_OBJECT,
            "hosts": _value("hosts"),
            "paths": _value("paths", ["/"]),
            "to": _leads_to,
            "nodes": _selector,
            **_SOURCE,
        },
        declared=True,
    ),
    Listed(
        "tcp_routes",
        {**_OBJECT, "listen": _value("listen"), "to": _leads_to, **_SOURCE},
        declared=True,
    ),
    Listed("networks", {**_OBJECT, "external": _value("external", False), **_SOURCE}, declared=True),
    Listed("subnets", {**_OBJECT, "network": _value("network"), "cidr": _value("cidr")}, declared=True),
    Listed("routers", {**_OBJECT, "label": _value("label"), "nodes": _selector, **_SOURCE}, declared=True),
    Listed("ikepolicies", {**_OBJECT, "version": _value("ike_version", "v1"), **_SOURCE}, declared=True),
    Listed("ipsecpolicies", {**_OBJECT, "label": _value("label"), **_SOURCE}, declared=True),
    Listed("vpnservices", {**_OBJECT, "router": _value("router"), **_SOURCE}, declared=True),
    Listed(
        "endpoint_groups",
        {**_OBJECT, "type": _value("type"), "endpoints": _value("endpoints"), **_SOURCE},
        declared=True,
    ),
    Listed(
        "ipsec_site_connections",
        {
            **_OBJECT,
            "peer": _value("peer_address"),
            "service": _value("vpnservice"),
            "up": _value("admin_state_up", True),
            **_SOURCE,
        },
        declared=True,
    ),
    Listed(
        "vpn",
        {
            **_OBJECT,
            "peer": _value("peer"),
            "here": _value("local_networks"),
            "there": _value("remote_networks"),
            "enabled": _value("enabled", True),
            "nodes": _selector,
            **_SOURCE,
        },
        declared=True,
    ),
    Listed(
        "certificates",
        {
            **_OBJECT,
            "issuer": _field("issuer"),
            "ends": _time("not_after"),
            "renewed": _renewed,
            "shares": _field("shares"),
            "fingerprint": lambda item, _now: str(item.get("fingerprint", ""))[:16],
        },
        deletable=False,
        instead="; delete its domain, or see edgeward certificates expire",
    ),
    Listed(
        "orders",
        {
            **_OBJECT,
            "issuer": lambda item, _now: item.get("tried") or item.get("issuer"),
            "reason": _field("reason"),
            "state": _field("state"),
            "step": _field("step"),
            "queued": _time("queued"),
            "due": _due,
            "failed": _field("attempts"),
            "problem": _field("problem"),
        },
        deletable=False,
        instead="; orders go with their domains",
    ),
    Listed(
        "nodes",
        {
            "name": _field("name"),
            "connected": _connected,
            "seen": _time("seen"),
            "labels": _labels,
            "revision": _report("revision"),
            "envoy": _report("envoy", "state"),
            "certificates": _report("certificates"),
        },
    ),
    Listed(
        "tokens",
        {
            "id": _field("id"),
            "name": _field("name"),
            "role": _field("role"),
            "project": _field("project"),
            "node": _field("node"),
            "labels": _labels,
            "created": _time("created"),
            "expires": _time("expires"),
            "revoked": _time("revoked"),
        },
        one_by_one=False,
    ),
    Listed(
        "audit",
        {
            "at": _time("at"),
            "who": _field("who"),
            "source": _field("source"),
            "action": _field("action"),
            "object": _about,
            "revision": _field("revision"),
        },
        one_by_one=False,
        deletable=False,
    ),
)
