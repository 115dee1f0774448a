"""Commands about what is declared: validate, apply, diff, export, delete."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.cli import declared_file
from edgeward.cli.connect import Api, connect
from edgeward.cli.declared_file import sent
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import EdgewardError, Invalid, Problem, Unavailable

if TYPE_CHECKING:
    from edgeward.cli.client import Client
    from edgeward.declaration.document import Document

WOULD_CHANGE: Final = 3
_SHOWN_CHANGES: Final = 100
_APPLY_SECONDS: Final = 120.0
_LARGE_BYTES: Final = 100_000

File = Annotated[str, typer.Option("--file", "-f", help="The file, or - for standard input.")]
Files = Annotated[
    list[str], typer.Option("--file", "-f", help="The file, or - for standard input; several: one -f each.")
]
Keep = Annotated[bool, typer.Option("--keep", help="Delete nothing that the file no longer says.")]
TakeOver = Annotated[bool, typer.Option("--take-over", help="Take objects over from other sources.")]
Project = Annotated[str | None, typer.Option("--project", help="Of this project only.")]


def register(app: typer.Typer) -> None:
    for command in (validate, apply, diff, export, delete):
        app.command()(command)


def validate(file: Files) -> None:
    """Check a file without a server: its values, then what they name; several as what they say together."""
    declared_file.expect_no_garbage()
    from edgeward.world.checks import check

    documents = _all_read(file)
    declared = [declared for document in documents for declared in document.objects]
    found: list[Problem] = []
    if problems := [*_twice(documents), *check(declared)]:
        for document in documents:
            keys = {str(declared.key) for declared in document.objects}
            mine = [problem for problem in problems if problem.object in keys or len(documents) == 1]
            found += declared_file.placed([_elsewhere(p) for p in mine], document).problems
        raise Invalid(*found)
    counts = Counter(one.key.kind for one in declared)
    said = ", ".join(f"{kind}: {count}" for kind, count in counts.items()) or "nothing declared"
    show.line(
        f"{' and '.join(map(declared_file.named, file))} {'is' if len(file) == 1 else 'are'} valid ({said})"
    )


def _all_read(files: Sequence[str]) -> list[Document]:
    documents, wrong = [], list[Problem]()
    for file in files:
        text = declared_file.content(file)
        try:
            documents.append(declared_file.read(file, text))
        except Invalid as error:
            wrong += error.problems
    if wrong:
        raise declared_file.in_stages(Invalid(*wrong))
    return documents


def _elsewhere(problem: Problem) -> Problem:
    """Tell who splits a declaration over files how to check them."""
    from edgeward.world.checks import Missing

    if not isinstance(problem, Missing):
        return problem
    return replace(problem, message=f"{problem.message}; is it in another file, name that too: -f")


def _twice(documents: Sequence[Document]) -> Iterator[Problem]:
    """Give what a second file says again."""
    first: dict[str, str] = {}
    for document in documents:
        for key in (str(declared.key) for declared in document.objects):
            if first.setdefault(key, document.file) != document.file:
                yield Problem("", f"{first[key]} declares it, too; say it in one of them only", object=key)


def apply(
    file: File,
    wait: Annotated[bool, typer.Option("--wait", help="Return when every connected node serves it.")] = False,
    timeout: Annotated[float, typer.Option(min=0, max=86400, help="Longest --wait, in seconds.")] = 60.0,
    keep: Keep = False,
    take_over: TakeOver = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Make what is declared by this file exactly what it says, all of it or nothing."""
    from edgeward.cli.printing import changes

    with connect(api, state_dir) as client:
        applied = _applied(client, file, keep=keep, take_over=take_over, dry_run=False, wait=wait)
        made = applied["changes"]
        show.signed(changes.headline(change) for change in made[:_SHOWN_CHANGES])
        if len(made) > _SHOWN_CHANGES:
            show.line(f"  and {len(made) - _SHOWN_CHANGES} more")
        what = changes.summary(made) if made else "nothing to change"
        show.line(f"revision {applied['revision']}: {what}")
        if wait:
            from edgeward.cli import waiting

            waiting.wait(client, int(applied["revision"]), applied["objects"], timeout)


def diff(
    file: File,
    keep: Keep = False,
    take_over: TakeOver = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Say what applying this file would change; exit code 3 when it would change anything."""
    from edgeward.cli.printing import changes

    with connect(api, state_dir) as client:
        planned = _applied(client, file, keep=keep, take_over=take_over, dry_run=True)["changes"]
    if not planned:
        show.line("nothing would change")
        return
    for change in planned:
        show.signed(changes.lines(change))
    raise typer.Exit(WOULD_CHANGE)


def export(
    output: show.Output = show.Format.yaml,
    project: Project = None,
    source: Annotated[str | None, typer.Option(help="Of this source only: api, or file:NAME.")] = None,
    revision: Annotated[int | None, typer.Option(min=0, help="As it was right after this one.")] = None,
    pem: Annotated[
        Path | None, typer.Option(help="Write certificates with their keys into this directory instead.")
    ] = None,
    after: Annotated[
        str | None, typer.Option(help="With --pem: what to run, without a shell, once after each change.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="With --pem: go on, as they change.")] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print everything declared as one file that apply understands; or write PEM files for other servers."""
    if pem is None and (after is not None or follow):
        raise Invalid("--after and --follow go with --pem DIR")
    if pem is not None:
        from edgeward.cli.pem import following

        with connect(api, state_dir) as client:
            following.keep(client, following.Wish(pem, following.command(after), follow, project))
        return
    wanted = {"project": project, "source": source, "revision": revision}
    with connect(api, state_dir) as client:
        document = client.get("/v1/export", wanted, timeout=_APPLY_SECONDS)
    show.data(document, show.Format.json if output is show.Format.json else show.Format.yaml)


def delete(
    kind: Annotated[
        str,
        typer.Argument(help="domains, services, routes, sites as vpn, …; or KIND/PROJECT/NAME in one word."),
    ],
    name: Annotated[str, typer.Argument(help="Not needed where there is one only, as of listen.")] = "",
    project: Project = None,
    take_over: TakeOver = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Delete one object."""
    from edgeward.cli.printing import kinds

    found, name, project = kinds.addressed(kind, name, project)
    if not found.deletable:
        raise Invalid(f"{found.name} cannot be deleted one by one{found.instead}")
    path = found.path(name)
    with connect(api, state_dir) as client:
        client.delete(path, {"project": project, "take_over": take_over or None} if found.declared else None)
    show.line(f"deleted {found.name} {name}".strip())


def _applied(
    client: Client, file: str, *, keep: bool, take_over: bool, dry_run: bool, wait: bool = False
) -> Mapping[str, Any]:
    """Have a file applied, and give what came of it; ``objects`` are named where nodes will be waited for."""
    text = declared_file.content(file)
    with show.steps(large=len(text) > _LARGE_BYTES) as told:
        told("reading", 0, 0)
        sending = sent(file, text, keep=keep, take_over=take_over, dry_run=dry_run)
        objects = frozenset(str(d.key) for d in sending.read().objects) if wait else frozenset()
        told("sending", 0, 0)
        try:
            changes: list[Mapping[str, Any]] = []
            for line in client.followed("/v1/apply", sending.body, timeout=_APPLY_SECONDS):
                if "applied" in line:
                    return {**line["applied"], "changes": changes, "objects": objects}
                changes += line.get("changes", ())
                if step := line.get("progress"):
                    told(str(step["step"]), int(step["done"]), int(step["of"]))
        except Invalid as error:
            raise sending.placed(error) from error
        except EdgewardError:
            sending.read()  # a file that is not valid is the first thing to be put right
            raise
    raise Unavailable("the controller ended before it said what came of it; run this again, it does no harm")
