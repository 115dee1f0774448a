"""What the controller is told by its command line and its environment."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgeward.domain_name import printable
from edgeward.errors import Invalid, Problem
from edgeward.gateway.model import Address
from edgeward.log import level_of
from edgeward.placement import changes
from edgeward.redis_tier.place import Place, place
from edgeward.wrapping import SEAL_KEY, Sources, sources

_DNS: Final = "EDGEWARD_DNS_SERVERS"


@dataclass(frozen=True)
class Settings:
    """``api`` wins over the declared listen.api; empty leaves it to that."""

    state_dir: Path
    config: Path | None
    api: tuple[Address, ...]
    api_names: tuple[str, ...]
    """Further host names and addresses the API's certificate is for."""
    local_node: str | None
    database: str
    log_level: str
    environment: Mapping[str, str]
    """For references ({env: NAME}) and settings (EDGEWARD_LISTEN__…) of the file."""
    seal_keys: Sources
    labels: Mapping[str, str] = field(default_factory=dict)
    """Set on the node of this host at each start, beside those it has."""
    client_ca: Path | None = None
    """Of certificates that the API's clients may show."""
    redis: Place | None = None
    dns_servers: tuple[str, ...] = ()
    """``IP:PORT`` instead of those in /etc/resolv.conf, for what is looked up before an order."""


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Settings:
    """Give the settings; raises Invalid. Exits for ``--help`` and options that do not exist."""
    parser = argparse.ArgumentParser("edgeward controller", description="Says what should be: API and store.")
    parser.add_argument("--state-dir", type=Path, default=environment.get("EDGEWARD_STATE_DIR") or _default())
    parser.add_argument(
        "--config", type=Path, default=environment.get("EDGEWARD_CONFIG") or None, metavar="FILE"
    )
    parser.add_argument("--api", action="append", default=[], metavar="IP:PORT", help="instead of listen.api")
    parser.add_argument("--local-node", metavar="NAME", help="keep an identity for the node on this host")
    parser.add_argument(
        "--label", action="append", default=[], metavar="KEY=VALUE", help="label the node on this host"
    )
    given = parser.parse_args(arguments)
    state_dir = Path(given.state_dir).absolute()
    names = environment.get("EDGEWARD_API_NAMES", "").replace(",", " ").split()
    return Settings(
        state_dir=state_dir,
        config=Path(given.config).absolute() if given.config else None,
        api=tuple(_address(text) for text in given.api),
        api_names=_hosts(names),
        local_node=given.local_node,
        database=environment.get("EDGEWARD_DATABASE") or f"sqlite+aiosqlite:///{state_dir / 'edgeward.db'}",
        log_level=level_of(environment),
        environment={name: text for name, text in environment.items() if name != SEAL_KEY},
        seal_keys=sources(state_dir, environment),
        labels=_labels(given.label),
        client_ca=Path(authority) if (authority := environment.get("EDGEWARD_CLIENT_CA")) else None,
        redis=place(environment),
        dns_servers=Address.several(environment.get(_DNS, ""), _DNS),
    )


def _labels(words: Sequence[str]) -> Mapping[str, str]:
    fresh, gone = changes(words)
    if gone:
        raise Invalid(Problem("--label", "labels are only set here; remove them with edgeward node label"))
    return fresh


def _default() -> Path:
    if os.geteuid() == 0:
        return Path("/var/lib/edgeward")
    return Path("~/.local/state/edgeward").expanduser()


def _hosts(names: Sequence[str]) -> tuple[str, ...]:
    for name in names:
        if not re.fullmatch(r"[A-Za-z0-9:]([A-Za-z0-9.:-]{0,250}[A-Za-z0-9:])?", name, re.ASCII):
            raise Invalid(f"EDGEWARD_API_NAMES: '{printable(name)}' is neither a host name nor an IP address")
    return tuple(names)


def _address(text: str) -> Address:
    try:
        return Address.parse(text)
    except Invalid as error:
        raise Invalid(Problem("--api", str(error))) from error
