"""Commands on actions, which rootd does as root: run one, list them, see that the audit log is whole."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeward import actions
from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir, group
from edgeward.cli.printing import show
from edgeward.errors import Invalid, Problem, Refused, Unavailable

_LOG = Path("/var/log/edgeward-rootd")
_LONGEST_SECONDS = 660.0
Socket = Annotated[
    str, typer.Option("--socket", envvar="EDGEWARD_ROOTD_SOCKET", help="Where rootd listens on this host.")
]
Node = Annotated[str | None, typer.Option(help="A node, asked over the API; without it, this host.")]


def register(app: typer.Typer) -> None:
    about = "What rootd does as root: run, list, verify its audit log."
    group(app, "action", about, {"run": run, "list": listed, "verify-log": verify_log})


def run(
    name: str,
    values: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...")] = None,
    node: Node = None,
    output: show.Output = show.Format.table,
    socket: Socket = actions.SOCKET,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Run an action, here or with --node elsewhere, and print what it printed; exits with 1 if it fails."""
    given = _values(values or ())
    if node is None:
        told(name, _asked({"action": name, "values": given}, socket), output)
        return
    with connect(api, state_dir) as client:
        body = {"values": given, "node": node, "wait": 20}
        said = client.post(f"/v1/actions/{segment(name)}/run", body)
        while said["state"] == "running":
            time.sleep(1.0)
            said = client.get(f"/v1/actions/runs/{said['id']}")
    told(name, said, output)


def _asked(request: dict[str, Any], socket: str) -> dict[str, Any]:
    try:
        return actions.ask(request, path=socket, timeout=_LONGEST_SECONDS)
    except actions.Unanswered as error:
        raise Unavailable(str(error)) from error


def told(name: str, said: dict[str, Any], output: show.Format) -> None:
    """Print what came of an action; raises Refused or Unavailable where it did not do what it is for."""
    if output is not show.Format.table:
        show.data(said, output)
    elif said.get("output"):
        for line in str(said["output"]).splitlines():
            typer.echo(show.shown(line))
    if said["outcome"] == "invalid":
        raise Invalid(f"{name}: {said.get('reason')}")
    if said["outcome"] == "refused":
        raise Refused(f"{name}: {said.get('reason')}")
    if said["outcome"] == "timed-out":
        raise Unavailable(f"{name} was ended after {said['seconds']:g} s: it took longer than it may")
    if said["outcome"] != "done":
        raise Unavailable(f"{name}: {said.get('reason', said['outcome'])}")
    if said["exit"] != 0:
        how = f"exit code {said['exit']}" if said["signal"] is None else f"killed by {said['signal']}"
        raise Unavailable(f"{name} ended with {how}")
    if output is show.Format.table:
        typer.echo(f"{name} done in {said['seconds']:g} s", err=True)


def listed(
    node: Node = None,
    output: show.Output = show.Format.table,
    socket: Socket = actions.SOCKET,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """List the actions you may ask for, here or on another node; root here sees what is not used, and why."""
    if node is None:
        said = _asked({"action": "list"}, socket)
        said = {"actions": said["actions"], "refused": said["refused"]}
    else:
        with connect(api, state_dir) as client:
            said = {"actions": client.get("/v1/actions", {"node": node})["items"], "refused": {}}
    if output is not show.Format.table:
        show.data(said, output)
        return
    rows = [(a["name"], _shown_values(a["values"]), a["description"]) for a in said["actions"]]
    show.table(("name", "values", "description"), rows, empty="there is no action that you may ask for")
    for file, reason in said["refused"].items():
        typer.echo(f"not used: {show.shown(file)}: {show.shown(reason)}", err=True)


def verify_log(
    log: Annotated[Path, typer.Option("--log", help="Directory of rootd's audit log.")] = _LOG,
    node: Node = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """See that no line of rootd's audit log was changed or cut out; exits with 1 where one was.

    With --node, this host's node, the log is also held against what the controller was told of it: only so
    it is found when root wrote the whole log anew.
    """
    from edgeward.cli import chain

    anchors: dict[int, str] = {}
    if node is not None:
        with connect(api, state_dir) as client:
            heads = client.get(f"/v1/nodes/{segment(node)}/root-log")["heads"]
        anchors = {int(number): text for number, text in heads.items()}
    found = chain.verify(chain.lines(chain.files(log)), anchors)
    for problem in found.problems:
        typer.echo(show.shown(problem), err=True)
    if found.problems:
        raise Refused(f"the log in {log} is not what rootd wrote; {len(found.problems)} problems")
    show.line(f"{found.lines} lines, {found.first} to {found.last}: none changed, none missing between them")
    if node is not None:
        show.line(f"{found.anchors} of them are as the controller was told")


def _values(words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or name in found:
            raise Invalid(Problem(name or word, "write each value once, as NAME=VALUE"))
        found[name] = value
    return found


def _shown_values(specs: dict[str, Any]) -> str:
    texts = []
    for name, spec in specs.items():
        ((kind, given),) = spec.items()
        if kind == "enum":
            kind = "|".join(given)
        elif kind == "integer":
            kind = f"{given[0]}…{given[1]}"
        elif kind == "pattern":
            kind = given
        texts.append(f"{name}={kind}")
    return " ".join(texts)
