"""Why a tunnel is not up: pluto's log read as findings, told in the same sentences as of other daemons."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from edgeward.vpn.desired import Connection
from edgeward.vpn.drivers.strongswan import reasons
from edgeward.vpn.drivers.strongswan.reasons import SOFT, Finding, Kind, kept

__all__ = ["SOFT", "Finding", "concerned", "is_up", "kept", "read", "told"]
_OF: Final = re.compile(r'"(?P<id>[a-z0-9-]{1,36})\.[0-9a-f]{8}"(?:\[\d+\] \S+)?(?: #\d+)?: (?P<what>.*)$')
_UP: Final = re.compile(
    r"(?:initiator|responder) (?:established|rekeyed) Child SA|IPsec SA established|Quick Mode.*established"
)
_NEWS: Final = re.compile(
    r"established|rekeyed|delet|netlink|terminat|initiating|rejected|timeout exceeded|failed|NO_PROPOSAL|"
    r"added|ERROR|traffic information|retransmission; will wait 0\.5|no local proposal|no acceptable|"
    r"No IKEv2 connection"
)
_FOUND: Final[Sequence[tuple[Kind, re.Pattern[str]]]] = (
    ("refused-us", re.compile(r"rejected by peer: AUTHENTICATION_FAILED|payload AUTHENTICATION_FAILED")),
    ("secret", re.compile(r"authentication failed: (?:computed hash does not match|no PSK found)")),
    ("secret", re.compile(r"Authentication using .* failed|malformed payload|probable authentication fail")),
    ("other-id", re.compile(r"we require .*peer to have ID '(.*)', but peer declares '(.*)'")),
    ("esp-refused", re.compile(r"(?:rejected Child SA|CREATE_CHILD_SA).* NO_PROPOSAL_CHOSEN")),
    ("ike-refused", re.compile(r"message containing NO_PROPOSAL_CHOSEN|payload:? NO_PROPOSAL_CHOSEN")),
    ("offered", re.compile(r"no local proposal matches remote proposals (.*)")),
    ("offered", re.compile(r"Oakley Transform \[(.*)\] refused")),
    ("networks-refused", re.compile(r"rejected Child SA .*TS_UNACCEPTABLE|payload:? INVALID_ID_INFORMATION")),
    ("networks", re.compile(r"No IKEv2 connection found with compatible Traffic Selectors")),
    ("networks", re.compile(r"cannot respond to IPsec SA request because no connection is known for (.*)")),
    ("untrusted", re.compile(r"(?:certificate|CERT).*(?:rejected|invalid|not trusted|untrusted)")),
    ("kernel", re.compile(r"netlink response for Add SA .*: (.*) \(errno")),
    ("silent", re.compile(r"asynchronous network error report .*: No route to host")),
    ("unreachable", re.compile(r"asynchronous network error report .*: ([^:\[]*) \[errno")),
    ("unreachable", re.compile(r"failed in .*: (Network is unreachable)")),
    ("silent", re.compile(r"retransmission; will wait|timeout exceeded after")),
    ("ended", re.compile(r"received Delete SA|received delete request|received Informational.*delete")),
)  # fmt: skip


def concerned(line: str) -> str | None:
    """Give the id of the connection that may be in another state after a line of the log."""
    found = _OF.search(line)
    return found["id"] if found and _NEWS.search(found["what"]) else None


def is_up(line: str) -> bool:
    return bool(_UP.search(line))


def read(line: str, now: float) -> Finding | None:
    """Give what a line says of why a connection is not up."""
    of = _OF.search(line)
    if of is None:
        return None
    for kind, pattern in _FOUND:
        if found := pattern.search(of["what"]):
            details = tuple(map(str, found.groups()))
            if kind == "other-id":
                details = details[::-1]
            return Finding(of["id"], kind, details, now)
    return None


def told(found: Finding, connection: Connection, now: float) -> tuple[str, str]:
    """Give the reason as a sentence, and what to do."""
    declared = f"{', '.join(connection.local_networks)} here, {', '.join(connection.peer_networks)} there"
    if found.kind == "networks":
        return (
            f"the peer asked for other networks than {declared}",
            "give both sides the same networks, the other way round",
        )
    if found.kind == "offered":
        return (
            f"the peer offered {found.details[0]}, and we take {reasons.ours(connection)}",
            "give both sides the same algorithms",
        )
    if found.kind == "kernel":
        return (
            f"this host's kernel does not take {connection.ipsec.protocol.upper()}: {found.details[0]}",
            "load its modules (esp4, esp6), or take the driver strongswan, which does it by itself",
        )
    if found.kind == "untrusted":  # pluto does not say whose it is
        found = replace(found, details=(connection.peer_id,))
    return reasons.told(found, connection, now)
