"""What is agreed on with peers now, as charon lists it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeward.vpn.driver import Keyed
from edgeward.vpn.drivers.strongswan.vici import Answer, Vici
from edgeward.vpn.drivers.strongswan.wording import connection_of

_CARRIES: Final = frozenset({"INSTALLED", "UPDATING", "REKEYING", "REKEYED"})
_SETTLED: Final = 12.0
"""Seconds, after which charon itself has ended what it finds doubled, which takes it 10."""
_COMING: Final = frozenset({"CREATED", "CONNECTING"})


@dataclass(frozen=True)
class ChildSa:
    """``number`` is charon's own; ``connection`` the id of what it carries."""

    number: str
    name: str
    carries: bool
    coming: bool
    keyed: Keyed

    @property
    def connection(self) -> str:
        return connection_of(self.name)


@dataclass(frozen=True)
class IkeSa:
    number: str
    name: str
    established: bool
    coming: bool
    peer: str
    algorithms: str
    since: float
    renewed_at: float | None
    children: tuple[ChildSa, ...]
    spi: str = ""
    """Of who began it: the same at both ends."""
    ours: bool = False
    """We began it."""

    def of(self, connection: str) -> tuple[ChildSa, ...]:
        return tuple(child for child in self.children if child.connection == connection)


async def listed(vici: Vici, now: float, name: str | None = None) -> tuple[IkeSa, ...]:
    """Give all, or those of one name. ``now``: Unix time; raises Unavailable."""
    found: list[IkeSa] = []
    async with vici.talk() as talk:
        async for answer in talk.streamed("list-sas", "list-sa", {"ike": name} if name else {}):
            found += (_ike(key, sa, now) for key, sa in answer.items() if isinstance(sa, Mapping))
    return tuple(found)


def doubled(sas: Iterable[IkeSa], now: float) -> list[IkeSa]:
    """Give those of the peer that are one too many: both ends began at once, and both came up.

    Of two the one with the lower SPI stays, and who did not begin the other ends it, so that never both go:
    what a peer began itself it may have dropped without a word, having heard of an initial contact.
    """
    settled = [sa for sa in sas if sa.established and now - sa.since >= _SETTLED]
    return [sa for sa in settled if not sa.ours and any(_replaces(other, sa) for other in settled)]


def undecided(sas: Iterable[IkeSa], now: float) -> bool:
    """Tell whether there are several, some of which are too young to say which one stays."""
    up = [sa for sa in sas if sa.established]
    return len(up) > 1 and any(now - sa.since < _SETTLED for sa in up)


def _replaces(other: IkeSa, sa: IkeSa) -> bool:
    carried, needed = ({child.name for child in one.children if child.carries} for one in (other, sa))
    return other.spi < sa.spi and other.peer == sa.peer and carried >= needed


def _ike(name: str, sa: Answer, now: float) -> IkeSa:
    renewed = [int(sa[key]) for key in ("rekey-time", "reauth-time") if key in sa]
    return IkeSa(
        number=sa.get("uniqueid", ""),
        name=name,
        established=sa.get("state") in ("ESTABLISHED", "REKEYING", "REKEYED"),
        coming=sa.get("state") in _COMING,
        peer=sa.get("remote-host", ""),
        algorithms="/".join(_algorithms(sa)),
        since=now - int(sa.get("established", 0)),
        renewed_at=now + min(renewed) if renewed else None,
        children=tuple(_child(child, now) for child in sa.get("child-sas", {}).values()),
        spi=sa.get("initiator-spi", ""),
        ours=sa.get("initiator") == "yes",
    )


def _child(sa: Answer, now: float) -> ChildSa:
    def count(key: str) -> int:
        return int(sa.get(key, 0))

    keyed = Keyed(
        local=tuple(sa.get("local-ts", ())),
        peer=tuple(sa.get("remote-ts", ())),
        spi_in=sa.get("spi-in", ""),
        spi_out=sa.get("spi-out", ""),
        algorithms="/".join(_algorithms(sa)),
        bytes_in=count("bytes-in"),
        bytes_out=count("bytes-out"),
        packets_in=count("packets-in"),
        packets_out=count("packets-out"),
        since=now - count("install-time"),
        rekeys_at=now + count("rekey-time") if "rekey-time" in sa else None,
    )
    state = sa.get("state", "")
    return ChildSa(
        number=sa.get("uniqueid", ""),
        name=sa.get("name", ""),
        carries=state in _CARRIES,
        coming=state in ("CREATED", "ROUTED", "INSTALLING", "RETRYING"),
        keyed=keyed,
    )


def _algorithms(sa: Mapping[str, Any]) -> list[str]:
    """Give ``AES_GCM_16-256``, ``HMAC_SHA2_256_128`` and so on."""
    encryption = "-".join(str(sa[key]) for key in ("encr-alg", "encr-keysize") if key in sa)
    others = (str(sa[key]) for key in ("integ-alg", "prf-alg", "dh-group") if key in sa)
    return [word for word in (encryption, *others) if word]
