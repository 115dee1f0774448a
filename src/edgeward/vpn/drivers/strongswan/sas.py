"""What is agreed on with peers now, as charon lists it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeward.vpn.driver import Keyed
from edgeward.vpn.drivers.strongswan.vici import Answer, Vici
from edgeward.vpn.drivers.strongswan.wording import connection_of

_CARRIES: Final = frozenset({"INSTALLED", "UPDATING", "REKEYING", "REKEYED"})
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

    def of(self, connection: str) -> tuple[ChildSa, ...]:
        return tuple(child for child in self.children if child.connection == connection)


async def listed(vici: Vici, now: float, name: str | None = None) -> tuple[IkeSa, ...]:
    """Give all, or those of one name. ``now``: Unix time; raises Unavailable."""
    found: list[IkeSa] = []
    async with vici.talk() as talk:
        async for answer in talk.streamed("list-sas", "list-sa", {"ike": name} if name else {}):
            found += (_ike(key, sa, now) for key, sa in answer.items() if isinstance(sa, Mapping))
    return tuple(found)


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
