"""Turns connections of an ``ipsec.conf`` into sites: what to declare, and what could not be carried over."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final, Literal

from edgeward.cli.imports.found import fresh_name
from edgeward.cli.vpn.openswan import algorithms
from edgeward.cli.vpn.openswan.reading import Conf, Key
from edgeward.errors import Invalid

Side = Literal["left", "right"]
Fields = Mapping[str, str]
_CARRIED: Final = frozenset({
    "ike", "esp", "ah", "phase2", "phase2alg", "pfs", "pfsgroup", "ikev2", "keyexchange", "aggrmode",
    "aggressive", "ikelifetime", "keylife", "salifetime", "lifetime", "dpdaction", "dpddelay", "dpdtimeout", 
    "authby", "auto", "type", "mtu", "also", "left", "right",
})  # fmt: skip
_OF_SIDES: Final = frozenset({"id", "subnet", "subnets", "nexthop", "sourceip"})
_WITHOUT_MEANING: Final = frozenset({
    "connaddrfamily", "keyingtries", "rekey", "rekeymargin", "rekeyfuzz", "forceencaps", "encapsulation",
    "nat_keepalive", "ikepad", "mobike", "fragmentation", "priority", "reqid", "failureshunt",
    "negotiationshunt", "replay-window", "retransmit-timeout", "retransmit-interval", "overlapip",
    "initial-contact", "metric", "nic-offload", "leftupdown", "rightupdown", "leftrsasigkey",
    "rightrsasigkey",
    "leftsendcert", "rightsendcert",
})  # fmt: skip
_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
_OF_IPSEC: Final = ("salifetime", "keylife", "lifetime")
_DEFAULT_V1: Final = [
    {"encryption": "aes-256", "integrity": "sha256", "groups": ["group14"]},
    {"encryption": "aes-256", "integrity": "sha1", "groups": ["group14"]},
    {"encryption": "aes-128", "integrity": "sha1", "groups": ["group5"]},
]
_DEFAULT_ESP: Final = [
    {"encryption": "aes-256", "integrity": "sha256"},
    {"encryption": "aes-128", "integrity": "sha256"},
    {"encryption": "aes-128", "integrity": "sha1"},
]


@dataclass
class Carried:
    """Sites as a document says them, without secrets; ``keys`` has those by the names of sites."""

    sites: list[dict[str, Any]] = field(default_factory=list)
    keys: dict[str, Key] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    names: set[str] = field(default_factory=set)


def carried(conf: Conf, keys: Sequence[Key], router: str, side: Side | None) -> Carried:
    """Give the sites of all connections. ``side`` is ours; None: the one that says ``%defaultroute``, else
    left.
    """
    found = Carried()
    for name in conf.conns:
        if name == "%default":
            continue
        try:
            _carry(found, name, conf.fields(name), keys, router, side)
        except Invalid as error:
            found.notes.append(f"conn {name} was left out: {error}")
    found.notes = [*conf.notes, *found.notes]
    return found


def _carry(
    found: Carried, name: str, fields: Fields, keys: Sequence[Key], router: str, side: Side | None
) -> None:
    if fields.get("type", "tunnel") in ("passthrough", "drop", "reject", "pass"):
        raise Invalid(f"type={fields['type']} is no tunnel")
    if not {"left", "right"} & set(fields):
        return  # it is there for others to name with also=
    proof = fields.get("authby", "secret")
    if not set(proof.replace("|", ",").split(",")) & {"secret", "psk"}:
        raise Invalid(f"authby={proof}: only pre-shared keys are carried over; declare it with certificates")
    here = fields.get("right") == "%defaultroute" != fields.get("left")
    ours: Side = side or ("right" if here else "left")
    theirs: Side = "left" if ours == "right" else "right"
    site = {"name": _name(name, found), "router": router, **_peers(fields, ours, theirs)}
    site |= {"profile": _profile(fields)} | _otherwise(fields)
    key = _key(keys, _ids(fields, ours), _ids(fields, theirs))
    if key is None:
        found.notes.append(f"conn {name}: no pre-shared key of its peers was found; give one as secret")
    else:
        found.keys[site["name"]] = key
    if "ikev2" not in fields and "keyexchange" not in fields:
        found.notes.append(
            f"conn {name} does not say ikev2=: taken as IKEv2; if its peer only has IKEv1, say so"
        )
    if left_out := sorted(_left_out(fields)):
        found.notes.append(f"conn {name}: not carried over: {', '.join(left_out)}")
    found.sites.append(site)


def _name(name: str, found: Carried) -> str:
    """Give a name that no other has: two that differ by what no name has here would be one site."""
    first = re.sub(r"[^A-Za-z0-9._-]", "-", name).strip("-._")[:100] or "connection"
    fresh = fresh_name(first, found.names)
    found.names.add(fresh)
    return fresh


def _peers(fields: Fields, ours: Side, theirs: Side) -> dict[str, Any]:
    peer, here = fields.get(theirs, ""), fields.get(ours, "%defaultroute")
    if not peer or peer.startswith("%"):
        raise Invalid(f"{theirs}={peer or 'nothing'}: a peer has an address or a name here")
    known = here if not here.startswith("%") else None
    local_id = fields.get(f"{ours}id", known)
    if local_id is None or local_id.startswith("%"):
        raise Invalid(f"{ours}={here} and no {ours}id: say what the peer knows this side by")
    found: dict[str, Any] = {
        "peer": peer,
        "local_networks": _networks(fields, ours, known),
        "remote_networks": _networks(fields, theirs, peer),
        "local_id": local_id,
    }
    if (said := fields.get(f"{theirs}id")) is not None and not said.startswith("%") and said != peer:
        found["remote_id"] = said
    source = fields.get(f"{ours}sourceip")
    if source and not source.startswith("%"):
        around = (n for n in found["local_networks"] if _is_in(source, n))
        found["inside"] = [{"network": network, "address": source} for network in around]
    return {key: value for key, value in found.items() if value != []}


def _networks(fields: Fields, side: Side, alone: str | None) -> list[str]:
    said = fields.get(f"{side}subnets", fields.get(f"{side}subnet", ""))
    words = re.split(r"[\s,{}]+", said.strip())
    found = [word for word in words if word]
    if not found and alone is not None:
        try:
            at = ipaddress.ip_address(alone)
        except ValueError:
            raise Invalid(f"{side}subnet is missing, and {side}={alone} is no address") from None
        return [f"{at}/{at.max_prefixlen}"]
    if not found:
        raise Invalid(f"{side}subnet is missing")
    if odd := next((word for word in found if (word.startswith("v") and ":%" in word) or "%" in word), None):
        raise Invalid(f"{side}subnet={odd}: say the networks themselves")
    return [_network(word, side) for word in found]


def _network(word: str, side: Side) -> str:
    try:
        return str(ipaddress.ip_network(word, strict=False))
    except ValueError:
        raise Invalid(f"{side}subnet={word[:60]} is no network") from None


def _is_in(address: str, network: str) -> bool:
    try:
        return ipaddress.ip_address(address) in ipaddress.ip_network(network)
    except ValueError:
        return False


def _profile(fields: Fields) -> Any:
    old = fields.get("ikev2", fields.get("keyexchange", "yes")) in ("no", "never", "permit", "ikev1")
    phase2 = fields.get("phase2alg", fields.get("esp", fields.get("ah")))
    protocol = "ah" if fields.get("phase2") == "ah" or ("ah" in fields and "esp" not in fields) else "esp"
    plain = not (old or phase2 or {"ike", "pfs", "pfsgroup", "type", "ikelifetime"} & set(fields))
    if plain and not set(_OF_IPSEC) & set(fields) and protocol == "esp":
        return "compatible"
    ike = algorithms.ike(fields["ike"]) if "ike" in fields else _DEFAULT_V1
    group = None
    if fields.get("pfs", "yes") != "no":
        said = fields.get("pfsgroup")
        group = algorithms.group(said) if said else ike[0]["groups"][0]
    offers = [{**offer, **({"groups": [group]} if group else {})} for offer in _DEFAULT_ESP]
    if phase2:
        offers = algorithms.esp(phase2, group, ah=protocol == "ah")
    profile: dict[str, Any] = {
        "ike": {"proposals": ike, "lifetime": _seconds(fields, ("ikelifetime",), 28800)},
        "ipsec": {
            "proposals": offers,
            "lifetime": _seconds(fields, ("salifetime", "keylife", "lifetime"), 28800),
        },
    }
    if old:
        profile["ike"]["version"] = 1
        if "yes" in (fields.get("aggrmode"), fields.get("aggressive")):
            profile["ike"]["aggressive"] = True
    if protocol == "ah":
        profile["ipsec"]["protocol"] = "ah"
    if fields.get("type") == "transport":
        profile["ipsec"]["mode"] = "transport"
    return profile


def _seconds(fields: Fields, names: Iterable[str], default: int) -> int:
    for name in names:
        if name in fields:
            found = re.fullmatch(r"(\d{1,9})([smhd]?)", fields[name].strip().lower())
            if found is None:
                raise Invalid(f"{name}={fields[name][:40]} is no time")
            return int(found[1]) * _UNITS[found[2]]
    return default


def _otherwise(fields: Fields) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if "dpddelay" in fields:
        action = fields.get("dpdaction", "hold")
        found["dpd"] = {
            "action": {"restart_by_peer": "restart", "none": "disabled"}.get(action, action),
            "interval": _seconds(fields, ("dpddelay",), 30),
            "timeout": _seconds(fields, ("dpdtimeout",), 120),
        }
    auto = fields.get("auto", "ignore")
    if auto == "add":
        found["initiator"] = False
    if auto == "ignore":
        found["enabled"] = False
    if "mtu" in fields:
        found["mtu"] = _seconds(fields, ("mtu",), 1400)
    return found


def _ids(fields: Fields, side: Side) -> set[str]:
    said = {fields.get(f"{side}id", ""), fields.get(side, "")}
    return {word.removeprefix("@") for word in said if word and not word.startswith("%")}


def _key(keys: Sequence[Key], ours: set[str], theirs: set[str]) -> Key | None:
    """Give the key of both; else of one of them, else anybody's, as pluto looks for it."""
    bare = [(key, {word.removeprefix("@") for word in key.ids}) for key in keys]
    of_both = (key for key, ids in bare if ids & ours and ids & theirs)
    of_one = (key for key, ids in bare if len(ids) == 1 and ids & (ours | theirs))
    return next(chain(of_both, of_one, (key for key, ids in bare if not ids)), None)


def _left_out(fields: Fields) -> Iterable[str]:
    for key in fields:
        of_side = key.removeprefix("left").removeprefix("right")
        known = key in _CARRIED or key in _WITHOUT_MEANING or (key != of_side and of_side in _OF_SIDES)
        if not known:
            yield key
