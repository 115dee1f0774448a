"""What pluto wrote of a connection, read out of its log."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from edgeward.errors import Unavailable
from edgeward.vpn.driver import Line

_MOST: Final = 2**21
_LONGEST: Final = 500
_WHEN: Final = re.compile(
    r"(?P<month>[A-Z][a-z]{2}) +(?P<day>\d+) (?P<h>\d\d):(?P<m>\d\d):(?P<s>\d\d(?:\.\d+)?): "
)
_OF: Final = re.compile(r'"(?P<id>[a-z0-9-]{1,36})\.[0-9a-f]{8}"(?:\[\d+\] \S+)?:? ?(?P<what>.*)')
_PACKET: Final = re.compile(r"packet from (?P<peer>\S+?):\d+: ")
_MONTHS: Final = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_AHEAD: Final = 86_400.0


def newest(log: Path, connection: str, peer: str, last: int) -> Sequence[Line]:
    """Give the newest lines about a connection, or packets of its peer, the oldest first.

    Raises Unavailable.
    """
    try:
        with log.open("rb") as file:
            whole = file.seek(0, os.SEEK_END)
            file.seek(max(0, whole - _MOST))
            text = file.read(_MOST).decode(errors="replace")
    except OSError as error:
        raise Unavailable(f"the log of pluto cannot be read: {error.strerror}") from error
    return tuple(read(text, connection, peer, time.time()))[-last:]


def read(text: str, connection: str, peer: str, now: float) -> Iterator[Line]:
    """Yield the lines about one; its name in them is left out."""
    for line in text.splitlines():
        when = _WHEN.match(line)
        if when is None:
            continue
        said = line[when.end() :]
        if (of := _OF.match(said)) and of["id"] == connection:
            yield _moment(when, now), of["what"][:_LONGEST]
        elif (packet := _PACKET.match(said)) and packet["peer"] == peer:
            yield _moment(when, now), said[:_LONGEST]


def _moment(when: re.Match[str], now: float) -> float:
    """Give it in Unix time: pluto writes local time, without a year."""
    year = time.localtime(now).tm_year
    month = _MONTHS.index(when["month"]) + 1 if when["month"] in _MONTHS else 1
    seconds = float(when["s"])
    days = (int(when["day"]), int(when["h"]), int(when["m"]), int(seconds), 0, 0, -1)
    found = time.mktime((year, month, *days))
    if found > now + _AHEAD:
        found = time.mktime((year - 1, month, *days))
    return found + seconds % 1
