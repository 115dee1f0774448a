"""The node's settings, from its command line and the environment."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeward.actions import SOCKET
from edgeward.domain_name import printable
from edgeward.errors import Invalid
from edgeward.gateway.model import Address
from edgeward.log import level_of
from edgeward.redis_tier.place import Place, place
from edgeward.secret import Secret
from edgeward.url_secrets import holds_secret, masked
from edgeward.wrapping import Sources, sources

_DNS: Final = "EDGEWARD_DNS_SERVERS"


@dataclass(frozen=True)
class Joining:
    """How to join a controller; ``ca_sha256`` pins its authority."""

    controllers: tuple[str, ...]
    """Any of them will do."""
    token: Secret[str]
    ca_sha256: str
    name: str


@dataclass(frozen=True)
class Config:
    state_dir: Path
    seal_keys: Sources | None = None
    """Where the key is that wraps the one of the sealed copy; none: where a node alone has it."""
    redis: Place | None = None
    joining: Joining | None = None
    controllers: tuple[str, ...] = ()
    """To follow beside those that it knows."""
    dns_servers: tuple[str, ...] = ()
    """``IP:PORT`` instead of those in /etc/resolv.conf."""
    log_level: str = "info"
    rootd_socket: str = SOCKET

    @property
    def node_dir(self) -> Path:
        return self.state_dir / "node"

    @property
    def identity_file(self) -> Path:
        return self.node_dir / "identity.json"


def read(arguments: Sequence[str], environment: Mapping[str, str]) -> Config:
    """Read settings; ``EDGEWARD_…`` stands in for an option not given. Raises Invalid."""
    given = _parser().parse_args(arguments)

    def value(name: str) -> str:
        return getattr(given, name) or environment.get(f"EDGEWARD_{name.upper()}", "")

    state_dir = value("state_dir")
    if not state_dir:
        raise Invalid("say where the state is kept: --state-dir DIR")
    controllers = _controllers(given.controller, environment)
    return Config(
        state_dir=Path(state_dir),
        seal_keys=sources(Path(state_dir), environment),
        redis=place(environment),
        joining=_joining(value, controllers),
        controllers=controllers,
        dns_servers=Address.several(environment.get(_DNS, ""), _DNS),
        log_level=level_of(environment),
        rootd_socket=environment.get("EDGEWARD_ROOTD_SOCKET", SOCKET),
    )


def _controllers(given: Sequence[str] | None, environment: Mapping[str, str]) -> tuple[str, ...]:
    urls = given or environment.get("EDGEWARD_CONTROLLER", "").replace(",", " ").split()
    for url in urls:
        if not url.startswith("https://") or holds_secret(url):
            raise Invalid(
                f"'{printable(masked(url))}' is not the URL of a controller; write https://HOST:PORT"
            )
    return tuple(urls)


def _joining(value: object, controllers: tuple[str, ...]) -> Joining | None:
    assert callable(value)
    token = value("join")
    if not token:
        return None
    pin, name = value("ca_sha256"), value("name") or os.uname().nodename
    if not controllers or not pin:
        raise Invalid(
            "joining needs --controller URL and --ca-sha256 HEX too; `edgeward token create NAME"
            " --role node` prints the token and the HEX"
        )
    return Joining(controllers, Secret(token), pin, name)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="edgeward node", description="Serves Envoy on this host what the controller says should be."
    )
    parser.add_argument("--state-dir", help="where everything is kept (0700)")
    parser.add_argument(
        "--controller",
        metavar="URL",
        action="append",
        help="controller to join and follow, https://HOST:PORT; may be given several times",
    )
    parser.add_argument("--join", metavar="TOKEN", help="join token; once joined it is not needed again")
    parser.add_argument(
        "--ca-sha256", metavar="HEX", help="SHA-256 of the controller's CA certificate (its DER)"
    )
    parser.add_argument("--name", help="this node's name; its host name by default")
    return parser
