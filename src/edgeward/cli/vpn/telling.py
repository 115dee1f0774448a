"""Commands that say how tunnels do: status, explain, log."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Unavailable

if TYPE_CHECKING:
    from edgeward.cli.client import Client

Data = Mapping[str, Any]
Name = Annotated[str, typer.Argument(help="Its name, or its id.")]
Project = Annotated[str | None, typer.Option("--project", help="Where several have the name.")]
_STYLES: Final = {"active": "green", "down": "bold red", "error": "bold red"}
_DAEMONS: Final = {"strongswan": "charon", "libreswan": "pluto"}
_LOOK_SECONDS: Final = 15.0
_MOST_LINES: Final = 1000
_FOLLOW_SECONDS: Final = 1.0
_APART_SECONDS: Final = 60.0
"""How far apart the clocks of a node and its controller may be."""


def status(
    name: Annotated[str, typer.Argument(help="One tunnel, by name or id; else all of them.")] = "",
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Say how tunnels do: every declared one, up or not; of one also its keys and what it carried."""
    with connect(api, state_dir) as client:
        if name:
            where = {"project": project, "fresh": True}
            found = client.get(f"/v1/vpn/{segment(name)}/status", where, timeout=_LOOK_SECONDS)
        else:
            found = list(client.items("/v1/tunnels", {"project": project}))
    if output is not show.Format.table:
        show.data(found, output)
    elif name:
        show_one(found, time.time())
    else:
        columns = ["tunnel", "phase", "since", "peer", "networks", "node", "why"]
        show.table(columns, _rows(found, time.time()), empty="no tunnel is declared")


def explain(
    name: Name,
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Walk a tunnel's way, up to the first step that is broken: why, and what to do."""
    from edgeward.cli import explained

    explained.explain(f"vpn/{name}", None, None, project, output, api, state_dir)


def log(
    name: Name,
    last: Annotated[int, typer.Option(min=1, max=1000, help="How many lines at most.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on until interrupted.")] = False,
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Say what happened to a tunnel: its phases with their reasons, what people did with it, and what its
    daemon wrote of it.

    With --follow and -o json one object a line.
    """
    where = {"project": project, "last": _MOST_LINES if follow else last}
    with connect(api, state_dir) as client:
        path = f"/v1/vpn/{segment(name)}/log"
        found = client.get(path, where, timeout=_LOOK_SECONDS)
        items = found["items"]
        if output is not show.Format.table and not follow:
            show.data(items, output)
            return
        _show_items(items[-last:], output)
        if found["without"]:
            typer.echo(f"without what its daemon wrote: {show.shown(found['without'])}", err=True)
        if not items and not follow:
            show.line("nothing was heard of it yet")
        if follow:
            _follow(client, path, where, items, output)


def _follow(
    client: Client, path: str, where: Mapping[str, Any], items: Sequence[Data], output: show.Format
) -> None:
    """Go on until interrupted, also where the server is away for a while."""
    lost = False
    try:
        while True:
            time.sleep(_FOLLOW_SECONDS)
            since = max([item["at"] for item in items], default=0.0) - _APART_SECONDS
            asked = {**where, "since": max(0.0, since)}
            try:
                now = client.get(path, asked, timeout=_LOOK_SECONDS)["items"]
            except Unavailable as error:
                if not lost:
                    typer.echo(f"edgeward: {error}; trying again", err=True)
                lost = True
                continue
            lost = False
            _show_items([item for item in now if item not in items], output)
            items = now or items
    except KeyboardInterrupt:
        raise typer.Exit from None


def _show_items(items: Sequence[Data], output: show.Format) -> None:
    for item in items:
        if output is not show.Format.table:
            typer.echo(json.dumps(item))
            continue
        sign, text = _sentence(item)
        at = datetime.fromtimestamp(item["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
        show.signed([(sign, f"{at}  {show.shown(text)}")])


def show_one(found: Data, now: float) -> None:
    phase = str(found["phase"])
    since = f", {show.moment(found['since'], now)}" if found["since"] else ""
    out = show.console()
    out.print(
        show.styled(f"{found['project']}/{found['name']} is {phase}{since}", _STYLES.get(phase, "yellow"))
    )
    if found["reason"]:
        out.print(show.styled(show.shown(found["reason"])), soft_wrap=True)
    if found["remedy"]:
        out.print(show.styled(f"remedy: {show.shown(found['remedy'])}"), soft_wrap=True)
    out.print()
    show.table(["what", "how"], [(what, how) for what, how in _facts(found, now) if how])
    if found["children"]:
        out.print()
        columns = ["keys of", "algorithms", "since", "renewed", "came", "went", "SPI in", "SPI out"]
        show.table(columns, _keys(found["children"], now))


def _facts(found: Data, now: float) -> Iterator[tuple[str, str]]:
    gateway, networks = found["gateway"], found["networks"]
    yield "networks", f"{show.shown(networks['local'])} to {show.shown(networks['peer'])}"
    yield "peer", f"{found['peer']['address']} as {found['peer']['id']}"
    yield "here", f"{_own(found['local']['address'])} as {_own(found['local']['id'])}"
    if found["node"]:
        away = "" if found["node_connected"] else ", which is not connected"
        yield "node", f"{found['node']}{away}, heard of {show.moment(found['heard'], now)}"
    daemon = f", {gateway['phase']} since {show.moment(gateway['since'], now)}" if gateway["phase"] else ""
    yield "gateway", f"{gateway['name']} ({gateway['id']}), {_carrier(gateway)}{daemon}"
    if gateway["reason"] and gateway["reason"] not in found["reason"]:
        yield "but", show.shown(gateway["reason"])
    yield "algorithms", found["algorithms"]
    if found["reauthenticates_at"]:
        yield "authentication", f"anew {show.moment(found['reauthenticates_at'], now)}"
    yield "id", found["id"]


def _own(address: str) -> str:
    """Name a gateway's own address; where it shares the host's, its node chooses that and did not say."""
    return "the node's own address" if address in ("0.0.0.0", "::") else address  # noqa: S104 - nothing is bound


def _carrier(gateway: Data) -> str:
    """Name the driver whose daemon has it; a controller of the version before does not say."""
    carrier, declared = gateway.get("carried_by") or gateway["driver"], gateway["driver"]
    return str(declared) if carrier == declared else f"{carrier} instead of {declared}"


def _keys(children: Sequence[Data], now: float) -> Iterator[list[object]]:
    for child in children:
        yield [
            f"{show.shown(child['local'])} to {show.shown(child['peer'])}",
            child["algorithms"],
            show.moment(child["since"] or None, now),
            show.moment(child["rekeys_at"], now),
            f"{child['bytes_in']:,} bytes, {child['packets_in']:,} packets",
            f"{child['bytes_out']:,} bytes, {child['packets_out']:,} packets",
            child["spi_in"],
            child["spi_out"],
        ]


def _rows(items: Sequence[Data], now: float) -> Iterator[list[object]]:
    for one in items:
        phase = str(one["phase"])
        networks = one["networks"]
        yield [
            f"{one['project']}/{one['name']}",
            show.styled(phase, _STYLES.get(phase, "yellow")),
            show.moment(one["since"], now),
            one["peer"]["address"],
            f"{show.shown(networks['local'])} to {show.shown(networks['peer'])}",
            one["node"],
            one["reason"],
        ]


def _sentence(item: Data) -> tuple[str, str]:
    if item["what"] == "daemon":
        return " ", f"{_DAEMONS.get(item['driver'], item['driver'])}: {item['line']}"
    if item["what"] != "phase":
        did = {"initiate": "began it", "terminate": "ended it", "verbosity": "had its daemon log otherwise"}
        return "~", f"{item['who']} {did.get(item['what'], item['what'])}"
    sign = {"active": "+", "down": "-", "error": "-"}.get(item["phase"], " ")
    why = f": {item['reason']}" if item["reason"] else ""
    remedy = f" ({item['remedy']})" if item["remedy"] else ""
    return sign, f"{item['phase']} on node {item['node']}{why}{remedy}"
