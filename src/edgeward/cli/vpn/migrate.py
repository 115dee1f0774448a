"""``edgeward vpn migrate``: gives the gateway of a tunnel to another daemon, and says what that cost."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.cli.vpn.telling import Name, Project
from edgeward.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from edgeward.cli.client import Client

_SAMPLE_SECONDS: Final = 1.0
_LOOK_SECONDS: Final = 0.1
_ASK_SECONDS: Final = 15.0
Data = Mapping[str, Any]


class Driver(StrEnum):
    strongswan = "strongswan"
    libreswan = "libreswan"


def migrate(
    name: Name,
    driver: Annotated[Driver, typer.Option(help="The daemon that is to carry it from now on.")],
    project: Project = None,
    timeout: Annotated[
        float, typer.Option(min=1, max=600, help="Seconds to wait until it is up again.")
    ] = 60.0,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Give a tunnel's gateway to another daemon, with all tunnels that share it, and say what that cost.

    The other daemon first shows that it is there and takes all of them; until then nothing ends. The two
    cannot hear at the same ports at once, so that the tunnels are negotiated anew.
    """
    with connect(api, state_dir) as client:
        before = _status(client, name, project)
        sites = _sharing(client, before)
        refused = _refusal(before, before["gateway"]["driver"])
        if before["gateway"]["driver"] == driver.value:
            if refused:
                raise Unavailable(f"{_full(before)}: {refused}")
            show.line(f"{_full(before)} is carried by {driver.value} already")
            return
        rate = _rate(client, before)
        last = time.time()
        _change(client, sites, driver.value)
        for site in sites:
            show.line(f"~ {show.shown(site['project'])}/{show.shown(site['name'])}: driver {driver.value}")
        if before["phase"] != "active":
            show.line(f"it was not up before ({before['phase']}); see edgeward vpn status {show.shown(name)}")
            return
        if refused:
            show.line(f"{_full(before)} was carried by {driver.value} all the time")
            return
        gone = _taken_over(client, before, driver.value, last, timeout)
        show.line(f"{_full(before)} is up by {driver.value}; {_cost(gone, rate)}")


def _status(client: Client, name: str, project: str | None) -> Data:
    where = {"project": project, "fresh": True}
    found: Data = client.get(f"/v1/vpn/{segment(name)}/status", where, timeout=_ASK_SECONDS)
    return found


def _sharing(client: Client, found: Data) -> Sequence[Data]:
    """Give the declared sites of its gateway; raises NotFound where it is not declared in our own words."""
    declared = list(client.items("/v1/vpn", {"project": found["project"]}))
    mine = next((one for one in declared if one["name"] == found["name"]), None)
    if mine is None:
        raise NotFound(
            f"{_full(found)} is not declared under vpn:, but as OpenStack's, where a service has its flavor "
            "from the beginning; make the services of its router anew, with the flavor of the other driver"
        )
    return [one for one in declared if _router(one) == _router(mine)]


def _router(one: Data) -> str:
    return str(one["value"].get("router") or one["name"])


def _change(client: Client, sites: Sequence[Data], driver: str) -> None:
    """Change all of them at once, as what they belong to: two drivers of one gateway are refused."""
    sources = {str(one["source"]) for one in sites}
    if len(sources) > 1:
        raise Conflict(
            f"the gateway's sites come from {' and '.join(sorted(sources))}; declare them in one place"
        )
    (source,) = sources
    changed = [
        {**one["value"], "name": one["name"], "project": one["project"], "driver": driver} for one in sites
    ]
    client.post("/v1/apply", {"source": source, "keep": True, "document": {"version": 1, "vpn": changed}})
    if source.startswith("file:"):
        show.line(f"say the same in {source.removeprefix('file:')}, or applying it changes it back")


def _rate(client: Client, before: Data) -> float:
    """Give how many packets pass in a second, both ways."""
    if before["phase"] != "active":
        return 0.0
    first, at = _packets(before), time.time()
    time.sleep(_SAMPLE_SECONDS)
    after = _status(client, before["id"], None)
    return max(0.0, (_packets(after) - first) / (time.time() - at))


def _packets(found: Data) -> int:
    return sum(one["packets_in"] + one["packets_out"] for one in found["children"])


def _taken_over(client: Client, before: Data, driver: str, last: float, timeout: float) -> float:
    """Wait for it to be up by the other daemon; gives the seconds in which it was not."""
    old, end = _spis(before), time.time() + timeout
    while True:
        asked, found = time.time(), _status(client, before["id"], None)
        fresh = found["phase"] == "active" and _spis(found).isdisjoint(old)
        if fresh and found["gateway"]["driver"] == driver and not found["gateway"]["reason"]:
            return max(0.0, min(float(found["since"]), time.time()) - last)
        if found["phase"] == "active" and not _spis(found).isdisjoint(old):
            last = asked
        if refusal := _refusal(found, driver):
            raise Unavailable(f"{_full(before)}: {refusal}")
        if time.time() > end:
            why = found["gateway"]["reason"] or found["reason"] or f"it is {found['phase']} as before"
            raise Unavailable(f"{_full(before)} is not up by {driver} after {timeout:g} s: {why}")
        time.sleep(_LOOK_SECONDS)


def _refusal(found: Data, driver: str) -> str:
    """Give why this daemon could not take over from the one that carries it; "" where it did."""
    reason = str(found["gateway"]["reason"])
    return reason if reason.startswith(f"{driver} cannot take over") else ""


def _spis(found: Data) -> set[str]:
    return {str(one["spi_in"]) for one in found["children"]}


def _cost(gone: float, rate: float) -> str:
    lost = round(gone * rate)
    about = f"about {lost} packets were lost at {rate:.0f} a second" if rate else "no packets were passing"
    return f"at most {gone:.2f} s without a tunnel, {about}"


def _full(found: Data) -> str:
    return f"{show.shown(found['project'])}/{show.shown(found['name'])}"
