"""``edgeward vpn peer-config``: the configuration of a connection's other side."""

from __future__ import annotations

import base64
import enum
from pathlib import Path
from typing import Annotated

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.errors import Invalid

_MOST_BYTES = 4096


class For(enum.StrEnum):
    strongswan = "strongswan"
    libreswan = "libreswan"
    sheet = "sheet"


def peer_config(
    name: Annotated[str, typer.Argument(help="The connection.")],
    form: Annotated[
        For, typer.Option("--for", help="What runs there; sheet is every parameter in words.")
    ] = For.sheet,
    secret_file: Annotated[
        Path | None, typer.Option(help="Put the pre-shared key of this file in; the server never gives it.")
    ] = None,
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print the configuration of the other side: for strongSwan, for Libreswan, or for any device."""
    secret = None if secret_file is None else _spelled(secret_file)
    with connect(api, state_dir) as client:
        asked = {"for": form.value, "project": project}
        found = client.get(f"/v1/vpn/{segment(name)}/peer-config", asked)
    text, placeholder = str(found["text"]), found.get("secret")
    if secret is not None and placeholder:
        text = text.replace(f'"{placeholder}"', placeholder).replace(placeholder, secret)
    typer.echo(text, nl=False)
    if secret is not None and not placeholder:
        typer.echo("edgeward: this says no pre-shared key; give it to the other side apart from it", err=True)
    if secret is None and placeholder:
        typer.echo(f"edgeward: put the pre-shared key in the place of {placeholder}", err=True)


def _spelled(path: Path) -> str:
    """Give a secret so that both programs take it whatever is in it; raises Invalid."""
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; name a file that you may read") from error
    data = data.removesuffix(b"\n").removesuffix(b"\r")
    if not 1 <= len(data) <= _MOST_BYTES:
        raise Invalid(f"{path}: a pre-shared key has 1 to {_MOST_BYTES} bytes; is it the right file?")
    return "0s" + base64.b64encode(data).decode()
