"""Why a tunnel is not up: charon's log read as sentences, each with what to do."""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from edgeward.vpn.desired import Connection, Psk
from edgeward.vpn.drivers.strongswan import proposals

_STEPS: Final = (5, 15, 60, 300, 3600, 21600, 86400)
Kind = Literal[
    "secret", "refused-us", "ike-refused", "esp-refused", "offered", "networks-refused", "networks",
    "unknown-peer", "version", "silent", "other-id", "untrusted", "key", "address", "kernel", "unreadable",
    "unreachable", "constraint", "ended",
]  # fmt: skip
T = TypeVar("T")
_MOST_REMEMBERED: Final = 10_000
SOFT: Final = frozenset({"silent", "ended", "unreachable"})
"""Those that may end by themselves."""
_STAYS: Final = 60.0
"""Seconds in which silence does not hide a better reason."""


@dataclass(frozen=True)
class Finding:
    """What was read: ``who`` is charon's name of some peers, or the address of some that it cannot name."""

    who: str
    kind: Kind
    details: tuple[str, ...] = ()
    at: float = 0.0
    """Unix time of the first of its kind in a row."""


class Reader:
    """Reads lines one after the other; some make sense only after others of the same IKE_SA."""

    def __init__(self) -> None:
        self._addresses: OrderedDict[str, str] = OrderedDict()
        self._before: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def read(self, number: str, name: str, line: str, now: float) -> Finding | None:
        """``number`` and ``name`` of the IKE_SA, as log events say them: ``3``, ``(unnamed)``."""
        if began := _BEGAN.match(line):
            _remember(self._addresses, number, began[1])
        for pattern in _NOTED:
            if noted := pattern.match(line):
                _remember(self._before, number, tuple(map(str, noted.groups())))
        for kind, pattern in _FOUND:
            found = pattern.search(line)
            if found is None:
                continue
            details = tuple(map(str, found.groups()))
            if kind == "networks":
                details = found["here"], found["there"]
            if kind in ("offered", "unknown-peer"):
                details = (*self._before.get(number, ()), *details)
            who = name if name not in ("", "(unnamed)") else self._peer(number, kind, details)
            return Finding(who, kind, details, now) if who else None
        return None

    def _peer(self, number: str, kind: Kind, details: tuple[str, ...]) -> str:
        if kind == "version":
            return details[0]
        if kind == "unknown-peer" and len(details) > 1:
            return details[1]
        return self._addresses.get(number, "")


def _lasting(seconds: float) -> str:
    """Say how long, in few steps: each other text would be news, and be written down."""
    passed = [step for step in _STEPS if step <= seconds]
    return f" for {passed[-1]} s" if passed else ""


def kept(before: Finding | None, found: Finding) -> Finding:
    """Give which of two counts: silence begins once, and does not hide what was said just before."""
    if before is not None and found.kind == before.kind and found.kind in SOFT:
        return before
    if (
        before is not None
        and found.kind in SOFT
        and before.kind not in SOFT
        and found.at - before.at < _STAYS
    ):
        return before
    return found


def told(found: Finding, connection: Connection, now: float) -> tuple[str, str]:
    """Give the reason as a sentence, and what to do."""
    return _SENTENCES[found.kind](found.details, connection, max(0.0, now - found.at))


_ID: Final = r"(.*?)\[(.*)\]"
_BEGAN: Final = re.compile(r"(\S+) is initiating a")
_NOTED: Final = (
    re.compile(r"received proposals: (.*)"),
    re.compile(rf"looking for (?:.* )?peer configs matching [^\s\[]+?(?:\[(.*)\])?\.\.\.{_ID}$"),
)
_FOUND: Final[Sequence[tuple[Kind, re.Pattern[str]]]] = (
    ("secret", re.compile(r"^tried \d+ shared keys? for .*, but MAC mismatched")),
    ("secret", re.compile(r"^no shared key found for")),
    ("refused-us", re.compile(r"^received AUTHENTICATION_FAILED (?:notify error|error notify)")),
    ("ike-refused", re.compile(r"^received NO_PROPOSAL_CHOSEN (?:notify error|error notify)")),
    ("esp-refused", re.compile(r"^received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built")),
    ("offered", re.compile(r"^configured proposals: (.*)")),
    ("networks-refused", re.compile(r"^received (?:TS_UNACCEPTABLE|INVALID_ID_INFORMATION) ")),
    ("networks", re.compile(r"^traffic selectors (?P<here>.*) === (?P<there>.*) unacceptable")),
    ("networks", re.compile(r"^no matching CHILD_SA config found for (?P<there>.*) === (?P<here>.*)")),
    ("unknown-peer", re.compile(r"^no (?:matching )?(?:\S+ )?peer config found")),
    ("version", re.compile(r"^no IKE config found for \S+?\.\.\.(\S+?), sending")),
    ("other-id", re.compile(r"^received IDr (.*), but require (.*)")),
    ("other-id", re.compile(r"^IDir '(.*)' does not match to '(.*)'")),
    ("untrusted", re.compile(r"^no trusted \S+ public key found for '(.*)'")),
    ("constraint", re.compile(r"^constraint check failed: (.*)")),
    ("key", re.compile(r"^no private key found for")),
    ("address", re.compile(r"^error installing route with policy")),
    ("kernel", re.compile(r"^unable to install .*in kernel")),
    ("unreachable", re.compile(r"^error writing to socket: (.*)")),
    (
        "unreadable",
        re.compile(r"^(?:ignore malformed INFORMATIONAL request|ID_PROT request .*processing failed)"),
    ),
    ("silent", re.compile(r"^(?:sending )?retransmit \d+ of request")),
    ("silent", re.compile(r"^giving up after \d+ retransmits")),
    ("ended", re.compile(r"^received DELETE for IKE_SA")),
)


def _remember(among: OrderedDict[str, T], key: str, value: T) -> None:
    among[key] = value
    if len(among) > _MOST_REMEMBERED:
        among.popitem(last=False)


def ours(connection: Connection) -> str:
    """Give what we offer for an IKE_SA, in charon's words."""
    ike = ", ".join(proposals.ike(one) for one in connection.ike.proposals)
    # IKEv1 has one word for both
    return ike if connection.ike.version == 2 else f"{ike} for IKE and {_ipsec(connection)} for what passes"


def _ipsec(connection: Connection) -> str:
    spell = proposals.ah if connection.ipsec.protocol == "ah" else proposals.esp
    return ", ".join(spell(one) for one in connection.ipsec.proposals)


def _networks(connection: Connection) -> str:
    return f"{', '.join(connection.local_networks)} here, {', '.join(connection.peer_networks)} there"


def _proof(connection: Connection) -> str:
    return (
        "the pre-shared keys differ"
        if isinstance(connection.auth, Psk)
        else "it does not trust our certificate"
    )


def _offered(details: tuple[str, ...], connection: Connection, _: float) -> tuple[str, str]:
    theirs, mine = (details[0], details[-1]) if len(details) > 1 else ("others", details[0])
    return f"the peer offered {theirs}, and we take {mine}", "give both sides the same algorithms"


def _taken_for(details: tuple[str, ...], connection: Connection) -> str:
    """``details``: what the peer asked for and its address, with its id last, as far as they were read."""
    asked, its = (details[0], details[2]) if len(details) > 2 else ("", "")
    if not its:
        return f"the peer does not say that it is '{connection.peer_id}', which is declared"
    if its != connection.peer_id or asked in ("", "None", "%any", connection.local_id):
        return f"the peer says it is '{its}', and '{connection.peer_id}' is declared"
    return f"the peer asks for '{asked}', and here '{connection.local_id}' is declared"


Sentence = Callable[[tuple[str, ...], Connection, float], tuple[str, str]]
_SENTENCES: Final[dict[Kind, Sentence]] = {
    "secret": lambda d, c, s: ("the pre-shared keys differ", "give both sides the same secret"),
    "refused-us": lambda d, c, s: (
        f"the peer refused to believe us: {_proof(c)}, or it does not know us as '{c.local_id}'",
        "compare the secret and both ids with the peer's",
    ),
    "ike-refused": lambda d, c, s: (
        f"the peer refused our proposals: we offered {ours(c)}",
        "give both sides the same algorithms and IKE version, and see whether the peer expects this address",
    ),
    "esp-refused": lambda d, c, s: (
        f"the peer refused our proposals for {c.ipsec.protocol.upper()}: we offered {_ipsec(c)}",
        "give both sides the same algorithms",
    ),
    "offered": _offered,
    "networks-refused": lambda d, c, s: (
        f"the peer refused our networks: we offered {_networks(c)}",
        "give the peer the same networks, the other way round",
    ),
    "networks": lambda d, c, s: (
        f"the peer asked for {d[0]} here and {d[1]} there, and declared are {_networks(c)}",
        "give both sides the same networks, the other way round",
    ),
    "unknown-peer": lambda d, c, s: (_taken_for(d, c), "compare both ids with the peer's"),
    "version": lambda d, c, s: (
        f"the peer began in a way that is not declared: here it is IKEv{c.ike.version}",
        "give both sides the same IKE version",
    ),
    "silent": lambda d, c, s: (
        f"no answer from {c.peer_address}{_lasting(s)}: UDP 500/4500 blocked?",
        "see whether the peer runs, and whether UDP 500 and 4500 pass both ways",
    ),
    "other-id": lambda d, c, s: (
        f"the peer says it is '{d[0]}', and '{c.peer_id}' is declared",
        "compare both ids with the peer's",
    ),
    "untrusted": lambda d, c, s: (
        f"the certificate of '{d[0]}' comes from no authority that is trusted here",
        "give the authority that signed the peer's certificate, and see whether it is still valid",
    ),
    "constraint": lambda d, c, s: (
        f"what the peer proves is not what is declared: {d[0]}",
        "compare ids and authorities with the peer's",
    ),
    "key": lambda d, c, s: ("our private key does not fit", "give certificate and key that belong together"),
    "address": lambda d, c, s: (
        f"no address of {', '.join(c.local_networks)} is on this host",
        "give the gateway an address in its own network",
    ),
    "kernel": lambda d, c, s: (
        f"the kernel does not take {_ipsec(c)}",
        "take other algorithms, or load the kernel's modules for these",
    ),
    "unreachable": lambda d, c, s: (
        f"{c.peer_address} cannot be reached: {d[0]}",
        "give the gateway a route to the peer (next_hop)",
    ),
    "unreadable": lambda d, c, s: (
        "what the peer sends cannot be read: the pre-shared keys differ",
        "give both sides the same secret",
    ),
    "ended": lambda d, c, s: ("the peer ended the tunnel", "see what it says about it"),
}  # fmt: skip
