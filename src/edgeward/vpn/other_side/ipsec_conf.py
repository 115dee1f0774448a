"""The other side as Libreswan's ``ipsec.conf`` and ``ipsec.secrets``."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from edgeward.errors import Invalid
from edgeward.vpn.drivers.libreswan import proposals
from edgeward.vpn.drivers.libreswan.identity import spelled
from edgeward.vpn.drivers.libreswan.refusals import refusals
from edgeward.vpn.other_side.seen import KEY_HERE, Seen


def written(seen: Seen) -> str:
    """Give both files as one text, parted by comments; raises Invalid where Libreswan cannot do it."""
    if problems := refusals(seen.connection):
        raise Invalid(*(f"{field}: {message}" for field, message in problems))
    conf = "".join(f"    {line}\n" for line in _lines(seen))
    secrets = ""
    if seen.by_secret:
        ids = f"{spelled(seen.connection.peer_id)} {spelled(seen.our_id)}"
        secrets = f'\n# /etc/ipsec.d/{seen.name}.secrets (mode 0600)\n{ids} : PSK "{KEY_HERE}"\n'
    return f"# /etc/ipsec.d/{seen.name}.conf\nconn {seen.name}\n{conf}{secrets}"


def _lines(seen: Seen) -> Iterator[str]:
    one = seen.connection
    yield f"left={seen.mine or '%defaultroute'}"
    yield f"leftid={spelled(one.peer_id)}"
    yield f"right={seen.theirs or '%any'}"
    yield f"rightid={spelled(seen.our_id)}"
    if one.ipsec.mode == "tunnel":
        yield from _networks("left", one.peer_networks)
        yield from _networks("right", one.local_networks)
    yield f"ikev2={'insist' if one.ike.version == 2 else 'never'}"
    if one.ike.version == 1:
        yield f"aggressive={'yes' if one.ike.aggressive else 'no'}"
    yield f"ike={proposals.ike(one.ike.proposals)}"
    yield f"phase2={one.ipsec.protocol}"
    yield f"phase2alg={proposals.ipsec(one.ipsec.proposals, one.ipsec.protocol)}"
    yield f"pfs={'yes' if any(offer.groups for offer in one.ipsec.proposals) else 'no'}"
    yield f"type={one.ipsec.mode}"
    yield f"ikelifetime={one.ike.lifetime}s"
    yield f"salifetime={one.ipsec.lifetime}s"
    if one.dpd.interval and one.dpd.action != "disabled":
        yield "dpdaction=restart" if seen.theirs else "dpdaction=clear"
        yield f"dpddelay={one.dpd.interval}s"
        if one.ike.version == 1:
            yield f"dpdtimeout={max(one.dpd.timeout, one.dpd.interval + 1)}s"
    yield f"mtu={one.mtu}"
    if seen.by_secret:
        yield "authby=secret"
    else:
        yield "authby=rsasig,ecdsa" if one.ike.version == 2 else "authby=rsasig"
        yield f"leftcert={seen.name}"
        yield "rightrsasigkey=%cert"
    yield f"auto={_auto(seen)}"


def _auto(seen: Seen) -> str:
    if seen.theirs is None:
        return "add"  # it is not known where to begin
    return "start" if seen.begins else "ondemand"


def _networks(side: str, networks: tuple[str, ...]) -> Iterator[str]:
    if len(networks) == 1:
        yield f"{side}subnet={networks[0]}"
    else:
        yield f"{side}subnets={{{' '.join(itertools.chain(networks))}}}"
