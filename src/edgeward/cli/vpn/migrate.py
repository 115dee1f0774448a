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
from edgeward.errors import Conflict, EdgewardError, NotFound, Unavailable

if TYPE_CHECKING:
    from edgeward.cli.client import Client

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

    The other daemon first shows that it is there and takes all of them; until then nothing ends. The kernel
    goes on with the former one's keys until the other has negotiated its own. How many packets it dropped
    meanwhile for want of keys is counted; what the peer may have dropped, nobody here can know.
    """
    with connect(api, state_dir) as client:
        before = _status(client, name, project)
        sites = _sharing(client, before)
        refused = _refusal(before, before["gateway"]["driver"])
        if before["gateway"]["driver"] == driver.value:
            if refused:
                raise Unavailable(f"{_full(before)}: {refused}; {_as_declared(before, driver)}")
            show.line(f"{_full(before)} is carried by {driver.value} already")
            return
        source = _source(sites)
        changed = _changed(client, source, sites, driver.value)
        if before["phase"] != "active":
            show.line(f"it was not up before ({before['phase']}); see edgeward vpn status {show.shown(name)}")
        elif refused:
            show.line(f"{_full(before)} was carried by {driver.value} all the time")
        else:
            try:
                cost = _taken_over(client, before, driver.value, timeout)
            except Unavailable as error:
                how = _afterwards(client, source, sites, before, driver, changed, str(error))
                raise Unavailable(f"{error}; {how}") from error
            show.line(f"{_full(before)} is up by {driver.value}; {_said(cost)}")
        if source.startswith("file:"):
            show.line(f"say the same in {source.removeprefix('file:')}, or applying it changes it back")


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


def _source(sites: Sequence[Data]) -> str:
    sources = {str(one["source"]) for one in sites}
    if len(sources) > 1:
        raise Conflict(
            f"the gateway's sites come from {' and '.join(sorted(sources))}; declare them in one place"
        )
    return sources.pop()


def _changed(
    client: Client, source: str, sites: Sequence[Data], driver: str | None, match: int | None = None
) -> int:
    """Change all of them at once, as what they belong to: two drivers of one gateway are refused.

    Gives the revision. ``driver`` None: as they were; ``match``: only while the declared state is at it.
    """
    other = {} if driver is None else {"driver": driver}
    wanted = [{**one["value"], "name": one["name"], "project": one["project"], **other} for one in sites]
    body = {"source": source, "keep": True, "document": {"version": 1, "vpn": wanted}}
    revision = int(client.post("/v1/apply", body, match=match)["revision"])
    for site in sites:
        now = driver or f"{site['value'].get('driver') or Driver.strongswan} again"
        show.line(f"~ {show.shown(site['project'])}/{show.shown(site['name'])}: driver {show.shown(now)}")
    return revision


def _afterwards(
    client: Client, source: str, sites: Sequence[Data], before: Data, driver: Driver, revision: int, why: str
) -> str:
    """Put the declaration back where nothing was taken over, and say what is declared now."""
    if not why.startswith(f"{_full(before)}: {driver.value} cannot take over, all stays as it is"):
        return _as_declared(before, driver)
    try:
        _changed(client, source, sites, None, match=revision)
    except EdgewardError as error:
        return f"{_as_declared(before, driver)} (it was not put back: {error})"
    return "it is declared as before again"


def _as_declared(before: Data, driver: Driver) -> str:
    former = next(one for one in Driver if one is not driver).value
    where = f"{show.shown(before['name'])} --project {show.shown(before['project'])}"
    back = f"edgeward vpn migrate {where} --driver {former}"
    return f"it is declared with driver {driver.value} now; to go back: {back}"


def _taken_over(client: Client, before: Data, driver: str, timeout: float) -> Data | None:
    """Wait for it to be up by the other daemon; gives what it cost, as its node counted it."""
    old, end = _spis(before), time.time() + timeout
    while True:
        found = _status(client, before["id"], None)
        fresh = found["phase"] == "active" and _spis(found).isdisjoint(old)
        up = fresh and found["gateway"]["driver"] == driver and not found["gateway"]["reason"]
        cost: Data | None = found.get("handover")
        if up and cost and cost != before.get("handover"):
            return cost
        if refusal := _refusal(found, driver):
            raise Unavailable(f"{_full(before)}: {refusal}")
        if time.time() > end and up:
            return None
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


def _said(cost: Data | None) -> str:
    if cost is None:
        return "its node has not said yet what was lost"
    some = "1 packet was" if cost["dropped"] == 1 else f"{cost['dropped'] or 'no'} packets were"
    lost = f"{some} dropped here"
    if not cost["carried"]:
        return f"there was no tunnel for {cost['seconds']:.2f} s, since its daemon did ESP itself; {lost}"
    return f"the former keys carried it until then, {cost['seconds']:.2f} s; {lost}"


def _full(found: Data) -> str:
    return f"{show.shown(found['project'])}/{show.shown(found['name'])}"
