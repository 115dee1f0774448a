"""Carries out an import from Kong: prints what to declare, or declares what is missing and uploads."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from edgeward.cli.connect import connect, segment
from edgeward.cli.imports.kong import Translated, translate
from edgeward.cli.printing import show
from edgeward.declaration import notation
from edgeward.errors import Invalid, NotFound

if TYPE_CHECKING:
    from edgeward.cli.client import Client


def carry(file: Path, project: str | None, api: str | None, state_dir: Path | None) -> None:
    """Print, where no project is given; else declare there what is not declared, and upload certificates."""
    made = translate(notation.read(_bytes(file), str(file)), time.time())
    if project is None:
        show.data(made.document, show.Format.yaml)
    else:
        with connect(api, state_dir) as client:
            _declare(client, made, project)
    for note in made.notes:
        typer.echo(f"edgeward: {show.shown(note)}", err=True)
    if project is None and made.pairs:
        typer.echo(
            "edgeward: certificates are uploaded by --apply, or edgeward certificates upload", err=True
        )


def _declare(client: Client, made: Translated, project: str) -> None:
    for kind in ("domains", "services", "routes"):
        for one in made.document.get(kind, ()):
            path = f"/v1/{kind}/{segment(one['name'])}"
            try:
                client.get(path, {"project": project})
                show.line(f"= {kind}/{one['name']}")
            except NotFound:
                value = {name: value for name, value in one.items() if name != "name"}
                client.put(f"{path}?project={segment(project)}", value)
                show.line(f"+ {kind}/{one['name']}")
    for name, pair in made.pairs.items():
        body = {"cert": pair.chain, "key": pair.key.reveal()}
        brought = client.put(f"/v1/certificates/{segment(name)}", body)
        show.line(f"{'+' if brought['changed'] else '='} certificate of {show.shown(brought['names'])}")


def _bytes(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(notation.MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{file}: {os.strerror(error.errno or 0)}; name a file this user may read") from error
