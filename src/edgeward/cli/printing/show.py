"""How the command prints: tables for people, JSON and YAML for programs, and never a control character."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from edgeward.domain_name import printable

if TYPE_CHECKING:  # Rich is loaded by what has columns or colours
    from rich.console import Console
    from rich.text import Text

_WIDTH_WITHOUT_TERMINAL: Final = 200
_LEAST_WIDTH: Final = 10
_SIGN_STYLES: Final = {"+": "green", "-": "red", "~": "yellow"}


class Format(str, Enum):  # noqa: UP042 - typer shows the values of a str
    table = "table"
    json = "json"
    yaml = "yaml"


Output = Annotated[Format, typer.Option("--output", "-o", help="How to print it.")]


def console() -> Console:
    """Give a console on stdout that cuts nothing off where there is no terminal."""
    from rich.console import Console

    width = None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL
    return Console(width=width, highlight=False, markup=False, emoji=False)


def data(value: Any, how: Format) -> None:
    """Print data as JSON or YAML."""
    if how is Format.json:
        typer.echo(json.dumps(value, indent=2))
        return
    from edgeward.declaration import notation

    typer.echo(notation.write(value), nl=False)


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None, empty: str = "none"
) -> None:
    """Print a table without lines; a cell may be a Text of its own style."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, title=title, title_justify="left", title_style="bold", pad_edge=False)
    out, longest = console(), 0
    for column in columns:
        made.add_column(column.upper(), overflow="fold", header_style="dim")
    for row in rows:
        cells = [cell if isinstance(cell, Text) else Text(shown(cell)) for cell in row]
        longest = max([longest, *(cell.cell_len for cell in cells[:1])])
        made.add_row(*cells)
    room = max(out.width // 2, out.width - _LEAST_WIDTH * (len(columns) - 1))
    for first in made.columns[:1]:
        first.no_wrap = longest <= room  # names in one piece, unless nothing else had room then
    if made.row_count:
        out.print(made)
    else:
        out.print(styled(f"{title}: {empty}" if title else empty))


def shown(value: object) -> str:
    """Give one cell's text: blank for None, yes and no, lists with commas."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        head = ", ".join(shown(item) for item in value[:3])
        return f"{head} and {len(value) - 3} more" if len(value) > 3 else head
    text = str(value)
    return text if text.isprintable() else printable(text)


def styled(text: str = "", style: str = "") -> Text:
    """Give text of a style of Rich."""
    from rich.text import Text

    return Text(text, style=style)


def good(text: str) -> Text:
    return styled(shown(text), "green")


def bad(text: str) -> Text:
    return styled(shown(text), "bold red")


def signed(lines: Iterable[tuple[str, str]]) -> None:
    """Print lines with a sign before each, ``+`` green, ``-`` red, ``~`` yellow."""
    out = console()
    for sign, line in lines:
        out.print(styled(f"{sign} {line}", _SIGN_STYLES.get(sign, "")), soft_wrap=True)


def _unwatched(_step: str, _done: int, _of: int) -> None:
    pass


@contextmanager
def steps(*, large: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Show how far something ``large`` has come, where there is a terminal to show it on.

    Gives what is to be told the step, how much is done and of how much.
    """
    if not large or not sys.stderr.isatty():
        yield _unwatched
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None)

        def told(step: str, done: int, of: int) -> None:
            bar.update(task, description=shown(step), completed=done, total=of or None)

        yield told


def line(text: str) -> None:
    typer.echo("\n".join(map(shown, text.split("\n"))))


def labels(found: Mapping[str, str] | None) -> str:
    """Give a node's labels as they are written on the command line."""
    return ", ".join(f"{shown(key)}={shown(value)}" for key, value in sorted((found or {}).items()))


def moment(value: object, now: float) -> str:
    """Give an instant (ISO 8601 or Unix seconds) as the distance from now: ``in 6 d`` or ``12 s ago``."""
    if value in (None, ""):
        return ""
    try:
        seconds = float(value) if isinstance(value, (int, float)) else _seconds(str(value))
    except ValueError:
        return shown(value)
    distance = span(abs(seconds - now))
    return f"in {distance}" if seconds > now else f"{distance} ago"


def span(seconds: float) -> str:
    """Give a duration roughly: ``12 s``, ``5 min``, ``3 h``, ``6 d``."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 120), ("h", 3600, 48)):
        if seconds < size * most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def _seconds(text: str) -> float:
    when = datetime.fromisoformat(text)
    return (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
