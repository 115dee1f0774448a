"""Reads Caddy's storage: ``certificates/ISSUER/NAME`` and ``acme/ISSUER/users/EMAIL``.

https://caddyserver.com/docs/conventions#data-directory
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from edgeward.cli.imports.found import Account, Found, Lineage, directory_of, json_object, text
from edgeward.errors import Invalid
from edgeward.secret import Secret

_OWN_AUTHORITY = "local"


def read(directory: Path) -> Found:
    """Give what is there; what cannot be read is told in ``notes``. Raises Invalid where nothing can."""
    found = Found()
    directory_of(directory, "certificates")
    authorities: dict[str, str] = {}
    for described in sorted((directory / "certificates").glob("*/*/*.json")):
        try:
            lineage = _lineage(described)
        except Invalid as error:
            found.notes.append(f"left out {described.stem}: {error}")
            continue
        found.lineages.append(lineage)
        if lineage.directory:
            authorities[described.parent.parent.name] = lineage.directory
    if any(lineage.directory is None for lineage in found.lineages):
        found.notes.append(
            "names of Caddy's own authority get certificates of Edgeward's: have visitors trust its root"
        )
    for described in sorted((directory / "acme").glob("*/users/*/*.json")):
        found.accounts += _account(described, authorities, found)
    return found


def _lineage(described: Path) -> Lineage:
    about = json_object(described)
    names = tuple(str(name) for name in about.get("sans") or ())
    own = described.parent.parent.name == _OWN_AUTHORITY
    issued = about.get("issuer_data") or {}
    directory = issued.get("ca")
    if not own and not directory:
        raise Invalid("it is not from an ACME authority; upload it with edgeward certificates upload")
    return Lineage(
        place=described.stem,
        cert=text(described.with_suffix(".crt")),
        key=Secret(text(described.with_suffix(".key"))),
        directory=None if own else str(directory),
        account=issued.get("account"),
        names=names,
    )


def _account(described: Path, authorities: Mapping[str, str], found: Found) -> Iterator[Account]:
    try:
        about = json_object(described)
        url = str(about["location"])
        directory = authorities.get(described.parent.parent.parent.name)
        if directory is None:
            found.notes.append(f"left out the account {url}: no certificate here is from it")
            return
        contacts = [str(c).removeprefix("mailto:") for c in about.get("contact") or ()]
        key = Secret(text(described.with_suffix(".key")))
        yield Account(url, directory, url, key, contacts[0] if contacts else None)
    except (Invalid, KeyError) as error:
        found.notes.append(f"left out the account in {described.parent.name}: {error}")
