"""What ``whack --status`` and ``--trafficstatus`` say, as values: Libreswan says it in lines, to people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

_NAME: Final = r'"(?P<name>[a-z0-9-]{1,36}\.[0-9a-f]{8})"'
_LINE: Final = re.compile(rf"^000 {_NAME}:(?P<rest>.*)$")
_STATE: Final = re.compile(
    rf"^000 #(?P<number>\d+): {_NAME}:\d+ (?P<state>\S+) \((?P<about>[^)]*)\); (?P<rest>.*)$"
)
_SA: Final = re.compile(
    rf"^000 #(?P<number>\d+): {_NAME} "
    r"(?:esp|ah)\.(?P<out>[0-9a-f]+)@(?P<peer>\S+) (?:esp|ah)\.(?P<in>[0-9a-f]+)@"
)
_TRAFFIC: Final = re.compile(
    rf"^006 #(?P<number>\d+): {_NAME}(?:\[\d+\])?.*, "
    r"type=\S+, add_time=(?P<since>\d+), inBytes=(?P<in>\d+), outBytes=(?P<out>\d+)"
)
_IKE_ALGORITHM: Final = re.compile(r"^ +IKEv?[12]? algorithm newest: (\S+)")
_ESP_ALGORITHM: Final = re.compile(r"^ +(?:ESP|AH) algorithm newest: ([^;]+)")
_IKE: Final = frozenset({"established IKE SA", "IKE SA established", "ISAKMP SA established"})
_CHILD: Final = frozenset({"established Child SA", "IPsec SA established"})


@dataclass
class Sa:
    """A CHILD_SA that is installed."""

    number: int
    ike: int
    rekeys_in: float | None
    spi_out: str = ""
    spi_in: str = ""
    peer: str = ""
    since: float = 0.0
    bytes_in: int = 0
    bytes_out: int = 0


@dataclass
class Section:
    """One of pluto's connections."""

    name: str
    ike_algorithms: str = ""
    algorithms: str = ""
    ike_ends_in: float | None = None
    coming: bool = False
    """Something is being negotiated."""
    ikes: list[int] = field(default_factory=list)
    child: Sa | None = None


def read(status: str, traffic: str = "") -> Mapping[str, Section]:
    """Give the sections that pluto knows, by name."""
    found: dict[str, Section] = {}
    for line in status.splitlines():
        if about := _LINE.match(line):
            _note(found.setdefault(about["name"], Section(about["name"])), about["rest"])
        elif state := _STATE.match(line):
            _take(found.setdefault(state["name"], Section(state["name"])), state)
        elif sa := _SA.match(line):
            child = found[sa["name"]].child if sa["name"] in found else None
            if child is not None and child.number == int(sa["number"]):
                child.spi_out, child.spi_in, child.peer = sa["out"], sa["in"], sa["peer"]
    for line in traffic.splitlines():
        if (counted := _TRAFFIC.match(line)) and counted["name"] in found:
            child = found[counted["name"]].child
            if child is not None and child.number == int(counted["number"]):
                child.since = float(counted["since"])
                child.bytes_in, child.bytes_out = int(counted["in"]), int(counted["out"])
    _lend(found)
    return found


def _note(section: Section, rest: str) -> None:
    if ike := _IKE_ALGORITHM.match(rest):
        section.ike_algorithms = ike[1]
    elif esp := _ESP_ALGORITHM.match(rest):
        section.algorithms = esp[1]


def _take(section: Section, state: re.Match[str]) -> None:
    about, rest = state["about"], state["rest"]
    if about in _IKE:
        section.ikes.append(int(state["number"]))
        section.ike_ends_in = _seconds("REPLACE", rest)
    elif about in _CHILD:
        if section.child is None or "newest;" in rest:
            ike = re.search(r"(?:IKE SA|isakmp)\s?#(\d+)", rest)
            rekeys = _seconds("REKEY", rest)
            rekeys = _seconds("REPLACE", rest) if rekeys is None else rekeys
            section.child = Sa(int(state["number"]), int(ike[1]) if ike else 0, rekeys)
    else:
        section.coming = True


def _lend(found: Mapping[str, Section]) -> None:
    """Give those that are carried by another's IKE_SA what that says of it."""
    owners = {number: section for section in found.values() for number in section.ikes}
    for section in found.values():
        owner = owners.get(section.child.ike) if section.child else None
        if owner is not None and not section.ike_algorithms:
            section.ike_algorithms, section.ike_ends_in = owner.ike_algorithms, owner.ike_ends_in


def _seconds(event: str, rest: str) -> float | None:
    found = re.search(rf"{event} in (-?\d+)s", rest)
    return float(found[1]) if found else None
