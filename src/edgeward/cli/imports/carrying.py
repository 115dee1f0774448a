"""Carries out an import: prints what to declare, or brings it to the server, which then has it all."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from edgeward.certificates.model import Domain
from edgeward.cli.connect import connect, segment
from edgeward.cli.imports.found import Found
from edgeward.cli.imports.planning import Declared, Plan, plan
from edgeward.cli.printing import show

if TYPE_CHECKING:
    from edgeward.cli.client import Client


@dataclass(frozen=True)
class Wish:
    apply: bool
    project: str
    ca_file: str | None


def carry(found: Found, wish: Wish, api: str | None, state_dir: Path | None) -> None:
    """Print or do what the wish says; doing it twice does no harm."""
    if not wish.apply:
        made = plan(found, Declared(), wish.project, wish.ca_file, time.time())
        show.data(made.document, show.Format.yaml)
        _say(made)
        typer.echo("edgeward: nothing was changed; --apply brings certificates and accounts, too", err=True)
        return
    with connect(api, state_dir) as client:
        made = plan(found, _declared(client), wish.project, wish.ca_file, time.time())
        _bring(client, made)
    _say(made)


def _bring(client: Client, made: Plan) -> None:
    """Accounts and certificates first: a domain that came before them would be ordered for."""
    for issuer in made.issuers:
        client.put(f"/v1/issuers/{segment(issuer['name'])}{_of(issuer)}", _value(issuer))
        show.line(f"+ issuers/{issuer['name']}")
    for register in made.accounts:
        account = register.account
        body = {
            "issuer": register.issuer,
            "project": register.project,
            "directory": account.directory,
            "url": account.url,
            "key": account.key.reveal(),
            "email": account.email,
        }
        taken = client.post("/v1/accounts/import", body)["taken"]
        show.line(f"{'+' if taken else '='} account {account.url} for {register.issuer}")
    for bring in made.pairs:
        pair = {"cert": bring.pair.chain, "key": bring.pair.key.reveal()}
        place = {"issuer": bring.issuer, "project": bring.project}
        brought = client.post("/v1/certificates/import", {"names": list(bring.names), **place, **pair})
        ends = show.moment(brought["not_after"], time.time())
        sign = "+" if brought["changed"] else "="
        show.line(f"{sign} certificate of {show.shown(bring.names)}, ends {ends}")
    for domain in made.domains:
        client.put(f"/v1/domains/{segment(domain['name'])}{_of(domain)}", _value(domain))
        show.line(f"+ domains/{domain['name']}")


def _declared(client: Client) -> Declared:
    issuers = list(client.items("/v1/issuers"))
    domains = [
        Domain.model_validate({**item["value"], "name": item["name"]}) for item in client.items("/v1/domains")
    ]
    acme = [item for item in issuers if item["value"].get("acme")]
    return Declared(
        domains,
        {(item["project"], item["value"]["acme"]["directory"]): item["name"] for item in acme},
        frozenset(item["name"] for item in issuers),
    )


def _value(declared: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in declared.items() if name not in ("name", "project")}


def _of(declared: Mapping[str, Any]) -> str:
    return f"?project={segment(str(declared.get('project', 'default')))}"


def _say(made: Plan) -> None:
    for note in made.notes:
        typer.echo(f"edgeward: {show.shown(note)}", err=True)
    if made.domains:
        typer.echo("edgeward: declare services and routes for these names to have them served", err=True)
