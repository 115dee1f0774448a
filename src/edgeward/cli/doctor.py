"""`edgeward doctor`: which way Envoy may listen on low ports on this host, and why the others do not work."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import typer

from edgeward import capabilities
from edgeward.capabilities import NET_BIND_SERVICE, Held
from edgeward.cli.printing import show
from edgeward.cli.tree import sockets
from edgeward.errors import Unavailable

_BIT: Final = 1 << NET_BIND_SERVICE
_USUAL: Final = ("0.0.0.0:80", "0.0.0.0:443")


@dataclass(frozen=True)
class Facts:
    """What is found here. ``program`` is what Envoy's file has: None without the attribute, else whether the
    capability is in it."""

    uid: int
    held: Held
    first_free_port: int
    program: bool | None


@dataclass(frozen=True)
class Way:
    name: str
    works: bool
    why: str


def ways(facts: Facts) -> tuple[Way, ...]:
    """Give every way to listen on ports below 1024, whether it works, and why or why not."""
    return (_root(facts), _inherited(facts), _sysctl(facts), _file(facts), _passed())


def _root(facts: Facts) -> Way:
    name = "edgeward up as root"
    if facts.uid != 0:
        return Way(
            name, False, "this is not root; started as root it goes on as --user and keeps the one capability"
        )
    if not facts.held.bounding & _BIT:
        return Way(name, False, _BOUNDING)
    return Way(name, True, "it goes on as --user, and Envoy keeps CAP_NET_BIND_SERVICE alone")


def _inherited(facts: Facts) -> Way:
    name, held = "inherited capability", facts.held
    if facts.uid != 0 and held.permitted & _BIT:
        ambient = "ambient" if held.ambient & _BIT else "permitted, and made ambient by edgeward up"
        return Way(name, True, f"CAP_NET_BIND_SERVICE is {ambient}")
    if not held.bounding & _BIT:
        return Way(name, False, _BOUNDING)
    remedy = (
        "AmbientCapabilities= in a unit, or setpriv --ambient-caps +net_bind_service as root, hands it on"
    )
    if facts.uid != 0 and held.inheritable & _BIT:
        return Way(name, False, f"it is inheritable only, and a program keeps what is ambient; {remedy}")
    return Way(name, False, f"none was handed on to this user; {remedy}")


def _sysctl(facts: Facts) -> Way:
    name, first = "net.ipv4.ip_unprivileged_port_start", facts.first_free_port
    if first <= 80:
        return Way(name, True, f"everybody may listen on ports from {first} on")
    return Way(name, False, f"it is {first}; as root: sysctl net.ipv4.ip_unprivileged_port_start=80")


def _file(facts: Facts) -> Way:
    name = "file capability"
    if facts.program is None:
        return Way(name, False, "Envoy's file has none; image layers and copies lose it, setcap sets it")
    if not facts.program:
        return Way(name, False, "Envoy's file has capabilities, and CAP_NET_BIND_SERVICE is not among them")
    if facts.held.no_new_privs:
        return Way(
            name, False, "no-new-privs is set for this process, and it makes capabilities of files void"
        )
    if not facts.held.bounding & _BIT:
        return Way(name, False, _BOUNDING)
    return Way(
        name, False, "Envoy's file has it, and edgeward up checks as itself; hand the capability on instead"
    )


def _passed() -> Way:
    return Way("passed sockets", False, "Envoy takes no sockets from others")


_BOUNDING: Final = (
    "CAP_NET_BIND_SERVICE is not in the bounding set: whoever started this took it away; in Kubernetes"
    " add NET_BIND_SERVICE to the container, with systemd to CapabilityBoundingSet="
)


def found(envoy: Path | None) -> Facts:
    """Look at this process, this host and Envoy's file."""
    return Facts(os.geteuid(), capabilities.held(), sockets.first_free_port(), _of_file(envoy))


def _of_file(path: Path | None) -> bool | None:
    """Read a file's capabilities (capabilities(7), VFS_CAP_REVISION): low words of permitted first."""
    try:
        data = os.getxattr(path, "security.capability") if path is not None else b""
    except OSError:
        return None
    return bool(int.from_bytes(data[4:8], "little") & _BIT) if len(data) >= 8 else None


def register(app: typer.Typer) -> None:
    app.command("doctor")(doctor)


def doctor(
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Look at what this file listens on; else at 80 and 443."),
    ] = None,
    envoy: Annotated[Path | None, typer.Option(help="Envoy's binary instead of the packaged one.")] = None,
) -> None:
    """Tell which way Envoy may listen on low ports here, why the others do not work, and who has the ports.

    Exits with 1 where some address cannot be listened on.
    """
    from edgeward.gateway.model import Address
    from edgeward.launcher.config import Unusable, find_envoy

    try:
        binary: Path | None = find_envoy(envoy)
    except Unusable:
        binary = None
    capabilities.hand_on_low_ports()
    facts = found(binary)
    show.table(
        ("way", "works", "why"),
        ((way.name, show.good("yes") if way.works else "no", way.why) for way in ways(facts)),
        title="ports below 1024",
    )
    troubles = [(text, sockets.why_not(Address.parse(text))) for text in _addresses(config)]
    for text, trouble in troubles:
        show.line(trouble or f"{text}: can be listened on")
    if any(trouble for _, trouble in troubles):
        raise Unavailable("not every address can be listened on; see above")


def _addresses(config: Path | None) -> Sequence[str]:
    if config is None:
        return _USUAL
    from edgeward.cli.tree import preflight

    listen = preflight.listen_of(preflight.read_declaration(config))
    return [*listen.http, *listen.https]
