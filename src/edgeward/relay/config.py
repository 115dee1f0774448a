"""What a relay is told on its command line, read once."""

from __future__ import annotations

import argparse
import os
import resource
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, NamedTuple, NoReturn, TypeVar

from edgeward.relay import place
from edgeward.relay.peers import Allowed, group_id, user_id
from edgeward.relay.place import Address, Target, Unusable

_OTHER_DESCRIPTORS: Final = 64
_FEW_DESCRIPTORS, _MOST_DESCRIPTORS = 1024, 1 << 20
MOST_PIPES: Final = 48
_T = TypeVar("_T")

_TIMES: Final = (
    ("--connect-timeout", 0.05, 5.0, "for each address of the backend"),
    ("--idle-timeout", 0.0, 0.0, "end connections on which nothing moved for so long; 0: never"),
    (
        "--exit-idle-time",
        0.0,
        None,
        "exit after so long without a connection; systemd starts it for the next",
    ),
    ("--drain-seconds", 0.0, 30.0, "how long connections may go on after SIGTERM"),
    ("--ttl-min", 0.05, 1.0, "keep a name's addresses for at least so long"),
    ("--ttl-max", 0.05, 300.0, "keep a name's addresses for at most so long"),
)


class Config(NamedTuple):
    """All times are in seconds; ``idle_timeout`` and ``exit_idle_time`` are None where there is none."""

    target: Target
    listen: tuple[Address, ...]
    connections_max: int
    allowed: Allowed
    proxy_protocol: bool
    metrics: Address | None
    resolvers: tuple[str, ...]
    connect_timeout: float
    idle_timeout: float | None
    exit_idle_time: float | None
    drain: float
    ttl_min: float
    ttl_max: float


def read(arguments: Sequence[str]) -> Config:
    """Raise Unusable for what cannot be; prints the help and exits where that is asked for."""
    given = _parser().parse_args(arguments)
    most = _as_many_as_descriptors_allow()  # whatever is asked for: it raises their limit, too
    return Config(
        target=given.to,
        listen=tuple(given.listen),
        connections_max=given.connections_max or most,
        allowed=Allowed(frozenset(given.allow_user), frozenset(given.allow_group)),
        proxy_protocol=given.proxy_protocol,
        metrics=given.metrics or _metrics_of_unit(),
        resolvers=tuple(given.resolver),
        connect_timeout=given.connect_timeout,
        idle_timeout=given.idle_timeout or None,
        exit_idle_time=given.exit_idle_time,
        drain=given.drain_seconds,
        ttl_min=given.ttl_min,
        ttl_max=max(given.ttl_min, given.ttl_max),
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unusable(f"{message}; see edgeward relay --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgeward relay",
        allow_abbrev=False,
        description="Takes streams on sockets that systemd hands over, or on --listen, and carries them"
        " to a backend whose address may move. `edgeward relay status` says how one is.",
    )
    add = parser.add_argument
    where = "HOST:PORT, [IPv6]:PORT, unix:PATH, or srv:NAME to take host and port from SRV records"
    add("--to", required=True, metavar="TARGET", type=_typed(place.target), help=where)
    where = "ADDRESS:PORT, [IPv6]:PORT or unix:PATH; may be repeated; not needed under systemd"
    add("--listen", action="append", default=[], metavar="ADDRESS", type=_typed(place.listening), help=where)
    most = "more wait in the backlog (default: as many as the limit of open files allows)"
    add("--connections-max", type=_number(int, 1), metavar="N", help=most)
    for flag, least, default, about in _TIMES:
        known = f" (default: {default:g})" if default else ""
        number = _number(float, least)
        add(flag, type=number, default=default, metavar="SECONDS", help=f"{about}{known}")
    servers = "ask this DNS server, IP or IP:PORT, instead of the host's; may be repeated"
    add("--resolver", action="append", default=[], metavar="ADDR", type=_typed(_resolver), help=servers)
    users = "let only this user connect to Unix sockets; may be repeated"
    add("--allow-user", action="append", default=[], metavar="USER", type=_typed(user_id), help=users)
    groups = "let members of this group connect to Unix sockets; may be repeated"
    add("--allow-group", action="append", default=[], metavar="GROUP", type=_typed(group_id), help=groups)
    proxy = "tell the backend who connected, by the PROXY protocol version 2"
    add("--proxy-protocol", action="store_true", help=proxy)
    path = "serve metrics and status on unix:PATH (default: $RUNTIME_DIRECTORY/status under systemd)"
    add("--metrics", metavar="unix:PATH", type=_typed(_metrics), help=path)
    return parser


def _typed(parse: Callable[[str], _T]) -> Callable[[str], _T]:
    def typed(text: str) -> _T:
        try:
            return parse(text)
        except Unusable as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return typed


def _number(kind: type[int] | type[float], least: float) -> Callable[[str], float]:
    def number(text: str) -> float:
        try:
            found = kind(text)
        except ValueError:
            found = kind(-1)
        if not least <= found <= 1e9:
            what = "whole number" if kind is int else "number"
            raise argparse.ArgumentTypeError(f"{text!r} is no {what} of at least {least:g}")
        return found

    return number


def _resolver(text: str) -> str:
    """Read ``IP``, ``IP:PORT`` or ``[IPv6]:PORT``, as c-ares takes it."""
    if place.ip(text, 0):
        return text
    address = place.listening(text)
    if address.family == place.UNIX:
        raise Unusable(f"{text!r} is no DNS server; write IP or IP:PORT")
    scope = address.sockaddr[3:]
    return f"{address}%{scope[0]}" if scope and scope[0] else str(address)


def _metrics(text: str) -> Address:
    address = place.listening(text)
    if address.family != place.UNIX:
        raise Unusable(
            f"{text!r} is no Unix socket; metrics are only on unix:PATH, where the file's mode guards them"
        )
    return address


def _metrics_of_unit() -> Address | None:
    directory = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    return place.listening(f"unix:{directory}/status") if directory.startswith("/") else None


def _as_many_as_descriptors_allow() -> int:
    """Raise the limit of open files as far as it goes, and leave room for pipes and the rest."""
    soft, hard = _limits_of_open_files()
    if soft < hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
    return max(1, (soft - _OTHER_DESCRIPTORS - 2 * MOST_PIPES) // 2)


def _limits_of_open_files() -> tuple[int, int]:
    """Read them from /proc (proc(5)): our unit lets nobody call prlimit(2), which is also getrlimit(3)."""
    with suppress(OSError, ValueError, StopIteration):
        with open("/proc/self/limits") as file:  # noqa: PTH123 - pathlib takes long to import
            lines = file.read().splitlines()
        soft, hard = next(line for line in lines if line.startswith("Max open files")).split()[3:5]
        return _limit(soft), _limit(hard)
    return _FEW_DESCRIPTORS, _FEW_DESCRIPTORS


def _limit(text: str) -> int:
    return _MOST_DESCRIPTORS if text == "unlimited" else min(int(text), _MOST_DESCRIPTORS)
