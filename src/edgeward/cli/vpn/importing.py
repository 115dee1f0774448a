"""``edgeward vpn import``: sites from the files of Openswan and Libreswan."""

from __future__ import annotations

import enum
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir
from edgeward.cli.printing import show
from edgeward.errors import Invalid

if TYPE_CHECKING:
    from edgeward.cli.vpn.openswan.sites import Carried


class Ours(enum.StrEnum):
    left = "left"
    right = "right"


def from_openswan(
    file: Annotated[Path, typer.Argument(help="ipsec.conf; what it includes is read, too.")],
    secrets: Annotated[
        Path | None, typer.Option(help="ipsec.secrets; unless said, the one beside the file.")
    ] = None,
    ours: Annotated[
        Ours | None, typer.Option(help="Which side this is; unless said, that with %defaultroute, else left.")
    ] = None,
    router: Annotated[
        str, typer.Option(help="The router that all of them share, as one pluto did.")
    ] = "ipsec",
    secrets_into: Annotated[
        Path | None, typer.Option(help="Write the pre-shared keys into this directory (0600).")
    ] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Declare them all, with their keys.")] = False,
    project: Annotated[str, typer.Option(help="The project they are to be of.")] = "default",
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print what to declare for the connections of Openswan or Libreswan; --apply does it."""
    from edgeward.cli.vpn.openswan import reading, sites

    beside = file.with_name("ipsec.secrets")
    place = secrets or (beside if beside.exists() else None)
    keys, notes = reading.keys(place) if place is not None else ([], [])
    found = sites.carried(reading.read(file), keys, router, ours.value if ours is not None else None)
    found.notes += notes
    _check(found, project)
    if secrets_into is not None:
        _write(found, secrets_into)
    if apply:
        _apply(found, project, api, state_dir)
    else:
        declared = [{**site, **_secret(found, site["name"], secrets_into)} for site in found.sites]
        if project != "default":
            declared = [{**site, "project": project} for site in declared]
        show.data({"version": 1, "vpn": declared}, show.Format.yaml)
    for note in found.notes:
        typer.echo(f"edgeward: {show.shown(note)}", err=True)
    if not apply:
        typer.echo("edgeward: nothing was changed; --apply declares it all, with the keys", err=True)


def _check(found: Carried, project: str) -> None:
    """Leave out what is no site, and say what would not hold between them."""
    from edgeward.declaration.secrets import Carried as Door
    from edgeward.parsing import parse
    from edgeward.vpn import validation
    from edgeward.vpn.site import Site

    door, good, sites = Door(), [], []
    for data in found.sites:
        stand_in = {**data, "project": project, "secret": door(data["name"])}
        try:
            sites.append(parse(Site, stand_in))
            good.append(data)
        except Invalid as error:
            found.notes.append(f"conn {data['name']} was left out: {error}")
    found.sites = good
    for name, problems in validation.of_router(sites).items():
        found.notes += [f"{name}: {field}: {message}" for field, message in problems if field != "secret"]


def _secret(found: Carried, name: str, directory: Path | None) -> dict[str, Any]:
    return {"secret": {"file": str((directory or Path()) / f"{name}.psk")}} if name in found.keys else {}


def _write(found: Carried, directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for site in found.sites:
            if (key := found.keys.get(site["name"])) is not None:
                path = directory / f"{site['name']}.psk"
                there = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                with os.fdopen(there, "wb") as file:
                    os.fchmod(file.fileno(), 0o600)
                    file.write(key.secret)
    except OSError as error:
        raise Invalid(f"{directory}: {error.strerror}; name a directory that you may write into") from error


def _apply(found: Carried, project: str, api: str | None, state_dir: Path | None) -> None:
    with connect(api, state_dir) as client:
        for site in found.sites:
            name, key = site["name"], found.keys.get(site["name"])
            if key is None:
                continue  # which a note says
            try:
                secret = key.secret.decode()
            except UnicodeDecodeError:
                found.notes.append(f"{name} was left out: its key is no text; agree on another one")
                continue
            value: Mapping[str, Any] = {k: v for k, v in site.items() if k != "name"} | {"secret": secret}
            client.put(f"/v1/vpn/{segment(name)}?project={segment(project)}", value)
            show.line(f"+ vpn/{project}/{name}")
