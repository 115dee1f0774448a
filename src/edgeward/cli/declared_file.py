"""A file that declares: read here, as it is sent to a server, and the lines of what is wrong with it."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeward.cli.printing import show
from edgeward.errors import Invalid, Problem

if TYPE_CHECKING:
    from edgeward.declaration.document import Document
    from edgeward.declaration.references import ReadReference


@dataclass(frozen=True)
class Sent:
    """A file as it is sent to be applied: references are read here, a server never reads a client's files.

    Whether it is valid the server says; it is read here as well only to find the lines of what is not.
    """

    file: str
    text: bytes
    body: dict[str, Any]

    def read(self) -> Document:
        """Give what it declares; raises Invalid with every problem."""
        try:
            return read(self.file, self.text)
        except Invalid as error:
            raise in_stages(error) from error

    def placed(self, error: Invalid) -> Invalid:
        """Give what a server found wrong with its lines."""
        return placed(error.problems, self.read())


def sent(file: str, text: bytes | None = None, **options: bool) -> Sent:
    """Give a file as it is sent, with ``options`` beside it; raises Invalid."""
    from edgeward.declaration import document, notation
    from edgeward.kinds import KINDS

    text = content(file) if text is None else text
    expect_no_garbage()
    try:
        made = document.sendable(notation.read(text, named(file)), KINDS, _references(file))
    except Invalid:
        Sent(file, text, {}).read()  # says it with lines, and whatever else is wrong
        raise
    return Sent(file, text, {"source": _source(file), "document": made, **options})


def content(file: str) -> bytes:
    """Give what a file has, ``-`` being standard input; raises Invalid."""
    from edgeward.declaration.notation import MOST_BYTES

    if file == "-":
        return sys.stdin.buffer.read(MOST_BYTES + 1)
    try:
        with Path(file).open("rb") as opened:
            return opened.read(MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(
            f"{show.shown(file)}: {error.strerror}; name a file this user may read: -f FILE"
        ) from error


def read(file: str, text: bytes) -> Document:
    """Give what a file with this content declares; raises Invalid with every problem of its values."""
    from edgeward.declaration import document
    from edgeward.declaration.secrets import Carried
    from edgeward.kinds import KINDS

    expect_no_garbage()
    return document.parse(text, named(file), KINDS, _references(file), door=Carried())


def expect_no_garbage() -> None:
    """A large file is many values and no garbage: looking for some took a quarter of the time."""
    gc.disable()


def named(file: str) -> str:
    return "standard input" if file == "-" else show.shown(file)


def _references(file: str) -> ReadReference:
    from edgeward.declaration import references

    directory = Path.cwd() if file == "-" else Path(file).absolute().parent
    return references.reader(directory, os.environ)


def _source(file: str) -> str:
    return "file:-" if file == "-" else f"file:{Path(file).absolute().name}"


# --- what is wrong with it ----------------------------------------------------------------------


def in_stages(error: Invalid) -> Invalid:
    """Say beside mistakes in single values that what these values name was not looked at yet."""
    return Invalid(*error.problems, "references and the rest are checked once these are right")


def placed(problems: Sequence[Problem], document: Document) -> Invalid:
    """Give problems their line in the file, by the object they are about."""
    lines = {str(declared.key): declared.line for declared in document.objects}
    return Invalid(
        *(
            Problem(_field(p), p.message, p.line or lines.get(p.object or ""), document.file, p.object)
            for p in problems
        )
    )


def _field(problem: Problem) -> str:
    if not problem.object or problem.line:
        return problem.field
    return f"{problem.object}: {problem.field}" if problem.field else problem.object
