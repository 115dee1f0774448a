"""The other side as strongSwan's ``swanctl.conf``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from edgeward.errors import Invalid
from edgeward.vpn.drivers.strongswan import proposals
from edgeward.vpn.drivers.strongswan.identity import spelled
from edgeward.vpn.drivers.strongswan.refusals import refusals
from edgeward.vpn.other_side.seen import KEY_HERE, Seen

_Section = Mapping[str, Any]


def written(seen: Seen) -> str:
    """Give the file; raises Invalid where strongSwan cannot do it."""
    if problems := refusals(seen.connection):
        raise Invalid(*(f"{field}: {message}" for field, message in problems))
    text = f"# /etc/swanctl/conf.d/{seen.name}.conf, then: swanctl --load-all\n"
    text += _text({"connections": {seen.name: _connection(seen)}})
    if seen.by_secret:
        one = seen.connection
        ids = {"id-1": spelled(one.peer_id), "id-2": spelled(seen.our_id)}
        text += _text({"secrets": {f"ike-{seen.name}": {**ids, "secret": KEY_HERE}}})
    return text


def _connection(seen: Seen) -> _Section:
    one, over = seen.connection, max(1, seen.connection.ike.lifetime // 10)
    watch = "0s" if one.dpd.action == "disabled" else f"{one.dpd.interval}s"
    found: dict[str, Any] = {
        "version": str(one.ike.version),
        "aggressive": "yes" if one.ike.aggressive and one.ike.version == 1 else None,
        "local_addrs": seen.mine or "%any",
        "remote_addrs": seen.theirs or "%any",
        "proposals": ",".join(proposals.ike(offer) for offer in one.ike.proposals),
        "rekey_time": f"{one.ike.lifetime - over}s",
        "over_time": f"{over}s",
        "dpd_delay": watch,
        "dpd_timeout": f"{one.dpd.timeout}s" if one.ike.version == 1 and watch != "0s" else None,
        "mobike": "no",
        "keyingtries": "0",
        "local": _proof(seen, one.peer_id, f"{seen.name}.pem"),
        "remote": _proof(seen, seen.our_id, None),
        "children": dict(_children(seen)),
    }
    return {key: value for key, value in found.items() if value is not None}


def _proof(seen: Seen, identity: str, own: str | None) -> _Section:
    if seen.by_secret:
        return {"auth": "psk", "id": spelled(identity)}
    certificate = {"certs": own} if own is not None else {"cacerts": "edgeward-ca.pem"}
    return {"auth": "pubkey", "id": spelled(identity), **certificate}


def _children(seen: Seen) -> Iterator[tuple[str, _Section]]:
    one = seen.connection
    parts: Sequence[tuple[str, str]] = [(",".join(one.peer_networks), ",".join(one.local_networks))]
    if one.ike.version == 1:
        parts = seen.pairs  # it has one pair of networks in each
    offers = one.ipsec.proposals
    key, spell = (
        ("ah_proposals", proposals.ah) if one.ipsec.protocol == "ah" else ("esp_proposals", proposals.esp)
    )
    start = "none" if seen.theirs is None else "start" if seen.begins else "trap"
    for index, (mine, theirs) in enumerate(parts):
        yield (
            seen.name if len(parts) == 1 else f"{seen.name}-{index + 1}",
            {
                "local_ts": mine,
                "remote_ts": theirs,
                key: ",".join(map(spell, offers)),
                "mode": one.ipsec.mode,
                "life_time": f"{one.ipsec.lifetime}s",
                "rekey_time": f"{one.ipsec.lifetime - max(1, one.ipsec.lifetime // 10)}s",
                "dpd_action": "clear" if seen.theirs is None else "restart",
                "start_action": start,
            },
        )


def _text(section: _Section, depth: int = 0) -> str:
    margin, text = "    " * depth, ""
    for key, value in section.items():
        if isinstance(value, Mapping):
            text += f"{margin}{key} {{\n{_text(value, depth + 1)}{margin}}}\n"
        else:
            text += f"{margin}{key} = {_quoted(value)}\n"
    return text


def _quoted(value: str) -> str:
    plain = value.replace("-", "").replace(".", "").replace("/", "").replace(",", "").replace(":", "")
    if plain.replace("%", "").isalnum() and value.isascii():
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
