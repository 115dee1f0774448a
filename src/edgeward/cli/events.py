"""The command that follows what happens: events."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from edgeward.cli.client import Client

_SHOWN_OBJECTS: Final = 3
_SILENCE: Final = 50.0
"""Three heartbeats."""
_WAITS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)


def register(app: typer.Typer) -> None:
    app.command()(events)


def events(
    follow: Annotated[bool, typer.Option("--follow", "-F", help="Go on until interrupted.")] = False,
    since: Annotated[int | None, typer.Option(min=0, help="Those behind this id.")] = None,
    last: Annotated[int, typer.Option(min=0, max=1000, help="That many of the past.")] = 20,
    types: Annotated[
        str | None, typer.Option(help="change, node, openresty, tunnel; several with commas.")
    ] = None,
    project: Annotated[str | None, typer.Option("--project", help="Of this project only.")] = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what happened: changes of what is declared, nodes that come, go, refuse and catch up.

    With -o json one object a line, each with its id; --since goes on behind one.
    """
    if output is show.Format.yaml:
        raise Invalid("events are printed as a table or as json")
    where = {"types": types, "project": project, "follow": follow, "last": last, "after": since}
    with connect(api, state_dir) as client:
        try:
            for event in _followed(client, where, follow):
                _print(event, output)
        except KeyboardInterrupt:
            raise typer.Exit from None


def _followed(client: Client, where: Mapping[str, Any], on: bool) -> Iterator[Mapping[str, Any]]:
    """Give events; where the server is lost while following, go on there when it is back."""
    position: int | None = None
    tries = 0
    while True:
        try:
            for block in client.blocks("/v1/events", where, position, _SILENCE):
                position, tries = block.get("id", position), 0
                if "type" in block:
                    yield block
            if not on:
                return
            reason = "the server ended the stream"
        except Unavailable as error:
            if not on or position is None:
                raise
            reason = str(error)
        if not tries:
            typer.echo(f"edgeward: {reason}; trying again", err=True)
        time.sleep(_WAITS[min(tries, len(_WAITS) - 1)])
        tries += 1


def _print(event: Mapping[str, Any], output: show.Format) -> None:
    if output is show.Format.json:
        typer.echo(json.dumps(event))
        return
    sign, text = _sentence(event["type"], event["data"])
    show.signed([(sign, f"{event['id']:>6}  {_clock(event['data'].get('at'))}  {show.shown(text)}")])


def _clock(at: float | None) -> str:
    """Give an instant as clocks here show it."""
    if at is None:
        return " " * 19
    return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _sentence(kind: str, data: Mapping[str, Any]) -> tuple[str, str]:
    """Give a sign and one line for people."""
    if kind == "change":
        return "~", _of_change(data)
    if kind == "reset":
        return "-", f"events are missing here: {data.get('reason')}"
    if kind == "node":
        return _of_node(data)
    if kind == "openresty":
        return _of_openresty(data)
    if kind == "tunnel":
        return _of_tunnel(data)
    return "?", f"{kind}: {json.dumps(data)}"


def _of_change(data: Mapping[str, Any]) -> str:
    named = [f"{found['action']} {found['key']}" for found in data["objects"][:_SHOWN_OBJECTS]]
    left = data["created"] + data["changed"] + data["deleted"] - len(named)
    more = f" and {left} more" if left > 0 else ""
    back = data["rolled_back_to"]
    by = data["who"] if data["who"] == data["source"] else f"{data['who']}, {data['source']}"
    how = by if back is None else f"{by}, back to {back}"
    return f"revision {data['revision']} ({how}): {', '.join(named)}{more}"


def _of_node(data: Mapping[str, Any]) -> tuple[str, str]:
    name, what = data["node"], data["what"]
    if what == "revision":
        return " ", f"{name} serves revision {data['revision']}"
    if what == "rejected":
        return "-", f"{name} refuses {data['object']}: {data['message']}"
    if what == "cleared":
        return "+", f"{name} refuses {data['object']} no more"
    good = {"connected": "+", "disconnected": "-"}
    return good.get(what, " "), f"{name} {what}"


def _of_tunnel(data: Mapping[str, Any]) -> tuple[str, str]:
    reason = f": {data['reason']}" if data.get("reason") else ""
    sign = {"active": "+", "down": "-", "error": "-"}.get(data["phase"], " ")
    return sign, f"tunnel {data['project']}/{data['name']} is {data['phase']} on node {data['node']}{reason}"


def _of_openresty(data: Mapping[str, Any]) -> tuple[str, str]:
    about, reason = data["about"], data.get("reason")
    sentences = {
        "gateway_failing": ("-", f"the cache of gateway {about} cannot be emptied: {reason}"),
        "gateway_well": ("+", f"the cache of gateway {about} is emptied again"),
        "redis_failing": ("-", f"the redis of the gateways cannot be primed: {reason}"),
        "redis_primed": ("+", f"the redis of the gateways is primed again: {about}"),
    }
    return sentences.get(data["what"], (" ", f"{about} {data['what']}"))
