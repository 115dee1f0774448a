"""Commands on the history of what is declared: history, show, rollback."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Invalid

if TYPE_CHECKING:
    from rich.text import Text

WOULD_CHANGE: Final = 3
_SHOWN_OBJECTS: Final = 3
_MOST_SHOWN: Final = 200
_ROLLBACK_SECONDS: Final = 120.0

Project = Annotated[str | None, typer.Option("--project", help="Of this project only.")]
Kind = Annotated[str, typer.Argument(help="domains, services, routes, …; or KIND/PROJECT/NAME in one word.")]
Name = Annotated[str, typer.Argument(help="One of them.")]
Revision = Annotated[int, typer.Argument(min=0, help="Its number; see edgeward history.")]


def register(app: typer.Typer) -> None:
    app.command()(history)
    app.command("show")(shown)
    app.command()(rollback)


def history(
    kind: Kind = "",
    name: Name = "",
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="How many at most.")] = 20,
    project: Project = None,
    source: Annotated[str | None, typer.Option(help="By this source only: api, or file:NAME.")] = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """List who changed what is declared, and when; the newest first. Of one object: KIND/PROJECT/NAME."""
    where = {**asked(kind, name, project), "source": source}
    with connect(api, state_dir) as client:
        items = list(client.items("/v1/history", where, limit))
        oldest = client.get("/v1/history", {"limit": 1})["oldest"]
    if output is not show.Format.table:
        show.data(items, output)
        return
    if where["name"]:
        _table_of_object(items)
    else:
        _table(items)
    if len(items) == limit:
        typer.echo(f"edgeward: only the newest {limit}; see --limit", err=True)
    elif oldest:
        show.line(f"kept since revision {oldest}, the oldest to go back to")


def shown(
    revision: Revision,
    kind: Kind = "",
    name: Name = "",
    project: Project = None,
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Show what a revision changed, from what to what; with KIND NAME how that object was right after it."""
    where = asked(kind, name, project)
    with connect(api, state_dir) as client:
        if where["name"] and (name or "/" in kind):
            path = _path(revision, where["kind"] or "", where["name"])
            _show_object(client.get(path, {"project": where["project"]}), output)
            return
        path = f"/v1/history/{revision}"
        whole = output is not show.Format.table
        changes = list(client.items(path, where, None if whole else _MOST_SHOWN))
        about = client.get(path, {**where, "limit": 1})
    if whole:
        show.data({**{k: v for k, v in about.items() if k != "next"}, "items": changes}, output)
        return
    _show_revision(about, changes)


def rollback(
    revision: Revision,
    kind: Kind = "",
    name: Name = "",
    project: Project = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would change; exit code 3 if anything would.")
    ] = False,
    if_at: Annotated[
        int | None, typer.Option(min=0, help="Only while the newest change is this revision.")
    ] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Make everything declared, or one project or object of it, what it was right after a revision."""
    from edgeward.cli.printing import changes

    body = {**asked(kind, name, project), "dry_run": dry_run}
    with connect(api, state_dir) as client:
        path = f"/v1/history/{revision}/rollback"
        done = client.post(path, body, timeout=_ROLLBACK_SECONDS, match=if_at)
    made = done["changes"]
    for change in made[:_MOST_SHOWN]:
        show.signed(changes.lines(change) if dry_run else [changes.headline(change)])
    _say_more(len(made))
    for note in done["notes"]:
        typer.echo(f"note: {show.shown(note)}", err=True)
    if not made:
        show.line(f"nothing to change: it is all as it was after revision {revision}")
    elif dry_run:
        show.line(f"would change: {changes.summary(made)}")
        raise typer.Exit(WOULD_CHANGE)
    else:
        show.line(f"revision {done['revision']}: back to revision {revision}; {changes.summary(made)}")


def asked(kind: str, name: str, project: str | None) -> dict[str, str | None]:
    """Give kind, name and project as the API wants them; raises Invalid for a kind there is not."""
    from edgeward.cli.printing import kinds

    if not kind:
        return {"kind": None, "name": None, "project": project}
    found, name, project = kinds.addressed(kind, name, project)
    if not found.declared:
        raise Invalid(f"{found.name} have no history; see edgeward get audit")
    return {"kind": found.name, "name": found.name if found.single else name or None, "project": project}


def _path(revision: int, kind: str, name: str) -> str:
    return f"/v1/history/{revision}/{kind}/{segment(name)}"


# --- how it looks ---------------------------------------------------------------------------------


def _table(items: Sequence[Mapping[str, Any]]) -> None:
    now = time.time()
    rows = [
        [
            str(item["revision"]),
            show.moment(item["at"], now),
            item["who"],
            _origin(item),
            _counts(item),
            _objects(item),
        ]
        for item in items
    ]
    show.table(["revision", "made", "who", "source", "changes", "objects"], rows, empty="no changes yet")


def _table_of_object(items: Sequence[Mapping[str, Any]]) -> None:
    from edgeward.cli.printing import changes

    now = time.time()
    rows = [
        [
            str(item["revision"]),
            show.moment(item["at"], now),
            item["who"],
            _origin(item),
            change["action"] + (f", taken from {change['taken_from']}" if change["taken_from"] else ""),
            changes.fields(change) if change["action"] == "change" else "",
        ]
        for item in items
        for change in item.get("changes", ())
    ]
    show.table(["revision", "made", "who", "source", "action", "fields"], rows, empty="no changes yet")


def _origin(item: Mapping[str, Any]) -> str:
    back = item["rolled_back_to"]
    return item["source"] if back is None else f"rollback to {back}"


def _counts(item: Mapping[str, Any]) -> Text:
    text = show.styled()
    for name, sign, style in (("created", "+", "green"), ("changed", "~", "yellow"), ("deleted", "-", "red")):
        if item[name]:
            text.append(f"{' ' if text else ''}{sign}{item[name]}", style)
    return text


def _objects(item: Mapping[str, Any]) -> str:
    named = [str(found["key"]) for found in item["objects"][:_SHOWN_OBJECTS]]
    left = item["created"] + item["changed"] + item["deleted"] - len(named)
    return ", ".join(named) + (f" and {left} more" if left else "")


def _show_revision(about: Mapping[str, Any], made: Sequence[Mapping[str, Any]]) -> None:
    from edgeward.cli.printing import changes

    when = show.moment(about["at"], time.time())
    show.line(
        f"revision {about['revision']}  {show.shown(about['who'])}, {show.shown(_origin(about))}, {when}"
    )
    for change in made:
        show.signed(changes.lines(change))
    if len(made) == _MOST_SHOWN:
        _say_more(about["created"] + about["changed"] + about["deleted"])


def _show_object(was: Mapping[str, Any], output: show.Format) -> None:
    from edgeward.cli.printing.changes import flat

    if output is not show.Format.table:
        show.data(was, output)
        return
    show.line(f"{was['kind']}/{was['project']}/{was['name']}  {show.shown(was['source'])}")
    show.table(["field", "value"], flat(was["value"]).items(), empty="every field is at its default")


def _say_more(count: int) -> None:
    if count > _MOST_SHOWN:
        show.line(f"  and {count - _MOST_SHOWN} more; -o json shows them all")
