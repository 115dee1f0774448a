"""What a relay is told on its command line, read once."""

from __future__ import annotations

import argparse
import resource
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

from edgeward.relay import place
from edgeward.relay.place import Address, Target, Unusable

_OTHER_DESCRIPTORS: Final = 64
MOST_PIPES: Final = 64
_T = TypeVar("_T")


@dataclass(frozen=True)
class Config:
    """All times are in seconds; ``idle_timeout`` and ``exit_idle_time`` are None where there is none."""

    target: Target
    listen: tuple[Address, ...]
    connections_max: int
    connect_timeout: float
    idle_timeout: float | None
    exit_idle_time: float | None
    drain: float


def read(arguments: Sequence[str]) -> Config:
    """Raise Unusable for what cannot be; prints the help and exits where that is asked for."""
    given = _parser().parse_args(arguments)
    return Config(
        target=given.to,
        listen=tuple(given.listen),
        connections_max=given.connections_max or _as_many_as_descriptors_allow(),
        connect_timeout=given.connect_timeout,
        idle_timeout=given.idle_timeout or None,
        exit_idle_time=given.exit_idle_time,
        drain=given.drain_seconds,
    )


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unusable(f"{message}; see edgeward relay --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="edgeward relay",
        allow_abbrev=False,
        description="Takes streams on sockets that systemd hands over, or on --listen, and carries them"
        " to a backend whose address may move.",
    )
    add = parser.add_argument
    add(
        "--to",
        required=True,
        metavar="TARGET",
        type=_typed(place.target),
        help="HOST:PORT, [IPv6]:PORT, unix:PATH, or srv:NAME to take host and port from SRV records",
    )
    add(
        "--listen",
        action="append",
        default=[],
        metavar="ADDRESS",
        type=_typed(place.listening),
        help="ADDRESS:PORT, [IPv6]:PORT or unix:PATH; may be repeated; not needed under systemd",
    )
    add(
        "--connections-max",
        type=_number(int, 1),
        metavar="N",
        help="more wait in the backlog (default: as many as the limit of open files allows)",
    )
    add(
        "--connect-timeout",
        type=_number(float, 0.05),
        default=5.0,
        metavar="SECONDS",
        help="for each address of the backend (default: 5)",
    )
    add(
        "--idle-timeout",
        type=_number(float, 0),
        default=0.0,
        metavar="SECONDS",
        help="end connections on which nothing moved for so long (default: never)",
    )
    add(
        "--exit-idle-time",
        type=_number(float, 0),
        metavar="SECONDS",
        help="exit after so long without a connection; systemd starts the relay again for the next one",
    )
    add(
        "--drain-seconds",
        type=_number(float, 0),
        default=30.0,
        metavar="SECONDS",
        help="how long connections may go on after SIGTERM (default: 30)",
    )
    return parser  # fmt: skip


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


def _as_many_as_descriptors_allow() -> int:
    """Raise the limit of open files as far as it goes, and leave room for pipes and the rest."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = min(hard, 1 << 20) if hard != resource.RLIM_INFINITY else 1 << 20
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return max(1, (limit - _OTHER_DESCRIPTORS - 2 * MOST_PIPES) // 2)
