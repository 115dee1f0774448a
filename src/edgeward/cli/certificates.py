"""Commands on certificates: upload, revoke, withhold, expire, history; and the local authority's root."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated, Final

import typer

from edgeward.cli.connect import Api, connect, segment
from edgeward.cli.options import StateDir, group, resolve_state_dir
from edgeward.cli.printing import show
from edgeward.errors import Invalid

_MOST_BYTES: Final = 256 * 1024


def register(app: typer.Typer) -> None:
    about = "Upload, revoke, withhold certificates; `edgeward get certificates` lists them."
    commands = (upload, revoke, deactivate, activate, history, expire)
    group(app, "certificates", about, {command.__name__: command for command in commands})
    group(app, "ca", "The local authority: what machines need that are to trust it.", {"root": root})


def expire(
    name: Annotated[str, typer.Argument(help="The name whose copies are to go.")] = "",
    every: Annotated[bool, typer.Option("--all", help="Those of every name.")] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Have Envoy and the memory of every node drop their copies, and look anew."""
    if every == bool(name):
        raise Invalid("say either one name or --all")
    path = "/v1/certificates/expire" if every else f"/v1/certificates/{segment(name)}/expire"
    with connect(api, state_dir) as client:
        revision = client.post(path)["revision"]
    show.line(f"copies of {'every certificate' if every else name} expire with revision {revision}")


def upload(
    name: Annotated[str, typer.Argument(help="The name of a domain, or one that it covers.")],
    cert: Annotated[str, typer.Option(help="PEM file of the certificate and its chain, in any order.")],
    key: Annotated[str, typer.Option(help="PEM file of its private key; - reads it from stdin.")],
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Serve a certificate of your own; nobody renews it, so upload its successor in time."""
    pair = {"cert": _text(cert, "--cert"), "key": _text(key, "--key")}
    with connect(api, state_dir) as client:
        found = client.put(f"/v1/certificates/{segment(name)}", pair)
    if output is not show.Format.table:
        show.data(found, output)
        return
    ends = show.moment(found["not_after"], time.time())
    how = "is served" if found["changed"] else "was served already"
    show.line(f"{show.shown(found['names'])}: {found['fingerprint'][:16]} {how}, and ends {ends}")
    for warning in found["warnings"]:
        typer.echo(f"edgeward: warning: {warning}", err=True)


def revoke(
    name: Annotated[str, typer.Argument(help="The name its certificate is kept under.")],
    reason: Annotated[
        str,
        typer.Option(
            help="keyCompromise, superseded, cessationOfOperation, affiliationChanged, unspecified."
        ),
    ] = "unspecified",
    replace: Annotated[bool, typer.Option(help="Have another one at once.")] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Revoke a certificate with its authority, and have every node drop it within a second."""
    with connect(api, state_dir) as client:
        body = {"reason": reason, "replace": replace}
        found = client.post(f"/v1/certificates/{segment(name)}/revoke", body, timeout=120.0)
    show.line(
        f"revoked the certificate of {name}{', and replaced it' if replace and not found['notes'] else ''}"
    )
    for note in found["notes"]:
        typer.echo(f"edgeward: {note}", err=True)


def deactivate(
    name: Annotated[str, typer.Argument(help="A name, or *.suffix for all that this wildcard serves.")],
    reason: Annotated[str | None, typer.Option(help="Why, for people.")] = None,
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Serve no certificate for a name, nor obtain one, until it is activated."""
    with connect(api, state_dir) as client:
        value = {} if reason is None else {"reason": reason}
        client.put(f"/v1/withheld/{segment(name)}{_of(project)}", value)
    show.line(f"{name} is deactivated; edgeward certificates activate {name} has it served again")


def activate(
    name: Annotated[str, typer.Argument(help="What was deactivated.")],
    project: Annotated[str | None, typer.Option(help="Of this project.")] = None,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Serve a name again that was deactivated."""
    with connect(api, state_dir) as client:
        client.delete(f"/v1/withheld/{segment(name)}", {"project": project})
    show.line(f"{name} is active again")


def history(
    name: Annotated[str, typer.Argument(help="A name, or *.suffix.")],
    output: show.Output = show.Format.table,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Tell what happened to a name's certificates, the newest first."""
    now = time.time()
    with connect(api, state_dir) as client:
        items = client.get(f"/v1/certificates/{segment(name)}/history")["items"]
    if output is not show.Format.table:
        show.data(items, output)
        return
    rows = (
        (
            show.moment(item["at"], now),
            show.bad("failed") if item["outcome"] == "failed" else item["outcome"],
            item["issuer"],
            item["who"],
            (item["fingerprint"] or "")[:16],
            item["problem"],
        )
        for item in items
    )
    show.table(
        ["at", "what", "issuer", "who", "fingerprint", "problem"], rows, empty="nothing is known of it"
    )


def _of(project: str | None) -> str:
    return "" if project is None else f"?project={segment(project)}"


def _text(path: str, option: str) -> str:
    """Read a PEM file, bounded; - is stdin. Keys never come as arguments: others see those."""
    if "-----BEGIN" in path:  # it is not repeated: errors end up in logs
        raise Invalid(f"{option}: give a file that holds it, or - and the text on stdin")
    try:
        if path == "-":
            return sys.stdin.buffer.read(_MOST_BYTES + 1).decode("ascii", "replace")
        with Path(path).open(encoding="ascii", errors="replace") as file:
            return file.read(_MOST_BYTES + 1)
    except OSError as error:
        raise Invalid(f"{option}: {path}: {error.strerror}; name a PEM file that you may read") from error


def root(
    how: Annotated[
        bool, typer.Option("--how", help="Say how to make the common trust stores trust it.")
    ] = False,
    api: Api = None,
    state_dir: StateDir = None,
) -> None:
    """Print the local authority's roots as PEM."""
    path = resolve_state_dir(state_dir) / "ca" / "root.pem"
    if how:
        from edgeward.cli import trust

        typer.echo(trust.how(path if path.is_file() else None))
        return
    if api is None and path.is_file():  # public, and readable without a token
        typer.echo(path.read_text(), nl=False)
        return
    with connect(api, state_dir) as client:
        typer.echo(client.text("/v1/ca/root"), nl=False)
