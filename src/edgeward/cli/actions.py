"""Commands on actions, which rootd does as root: run one, list them, see that the audit log is whole."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from edgeward import actions
from edgeward.cli import show
from edgeward.errors import Invalid, Problem, Refused, Unavailable

_LOG = Path("/var/log/edgeward-rootd")
Socket = Annotated[
    str, typer.Option("--socket", envvar="EDGEWARD_ROOTD_SOCKET", help="Where rootd listens on this host.")
]


def register(app: typer.Typer) -> None:
    group = typer.Typer(
        help="What rootd does as root: run, list, verify its audit log.", no_args_is_help=True
    )
    for name, command in (("run", run), ("list", listed), ("verify-log", verify_log)):
        group.command(name)(command)
    app.add_typer(group, name="action")


def run(
    name: str,
    values: Annotated[list[str] | None, typer.Argument(metavar="[NAME=VALUE]...")] = None,
    output: show.Output = show.Format.table,
    socket: Socket = actions.SOCKET,
) -> None:
    """Run an action on this host and print what it printed; exits with 1 where it fails."""
    try:
        said = actions.ask({"action": name, "values": _values(values or ())}, path=socket)
    except actions.Unanswered as error:
        raise Unavailable(str(error)) from error
    told(name, said, output)


def told(name: str, said: dict[str, Any], output: show.Format) -> None:
    """Print what came of an action; raises Refused or Unavailable where it did not do what it is for."""
    if output is not show.Format.table:
        show.data(said, output)
    elif said.get("output"):
        for line in str(said["output"]).splitlines():
            typer.echo(show.shown(line))
    if said["outcome"] == "refused":
        raise Refused(f"{name}: {said.get('reason', 'refused')}")
    if said["outcome"] == "timed-out":
        raise Unavailable(f"{name} was ended after {said['seconds']:g} s: it took longer than it may")
    if said["outcome"] != "done":
        raise Unavailable(f"{name}: {said.get('reason', said['outcome'])}")
    if said["exit"] != 0:
        how = f"exit code {said['exit']}" if said["signal"] is None else f"killed by {said['signal']}"
        raise Unavailable(f"{name} ended with {how}")
    if output is show.Format.table:
        typer.echo(f"{name} done in {said['seconds']:g} s", err=True)


def listed(output: show.Output = show.Format.table, socket: Socket = actions.SOCKET) -> None:
    """List the actions you may ask for on this host; root sees also which files are not used, and why."""
    try:
        said = actions.ask({"action": "list"}, path=socket)
    except actions.Unanswered as error:
        raise Unavailable(str(error)) from error
    if output is not show.Format.table:
        show.data({"actions": said["actions"], "refused": said["refused"]}, output)
        return
    rows = [(a["name"], _shown_values(a["values"]), a["description"]) for a in said["actions"]]
    show.table(("name", "values", "description"), rows, empty="there is no action that you may ask for")
    for file, reason in said["refused"].items():
        typer.echo(f"not used: {show.shown(file)}: {show.shown(reason)}", err=True)


def verify_log(
    log: Annotated[Path, typer.Option("--log", help="Directory of rootd's audit log.")] = _LOG,
) -> None:
    """See that no line of rootd's audit log was changed or cut out; exits with 1 where one was."""
    from edgeward.cli import chain

    found = chain.verify(chain.lines(chain.files(log)))
    for problem in found.problems:
        typer.echo(show.shown(problem), err=True)
    if found.problems:
        raise Refused(f"the log in {log} is not what rootd wrote; {len(found.problems)} problems")
    show.line(
        f"{found.lines} lines, {found.first} to {found.last}, none changed and none missing between them"
    )


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
