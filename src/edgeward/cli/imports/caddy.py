"""Reads Caddy's storage: ``certificates/ISSUER/NAME`` and ``acme/ISSUER/users/EMAIL``.

https://caddyserver.com/docs/conventions#data-directory
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from edgeward.cli.imports.found import (
    Account,
    Found,
    Lineage,
    as_described,
    directory_of,
    json_object,
    listable,
    text,
)
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
            with as_described(described):
                lineage = _lineage(described, found)
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
    try:
        for described in sorted(listable(directory / "acme").glob("*/users/*/*.json")):
            found.accounts += _account(described, authorities, found)
    except Invalid as error:
        found.notes.append(f"left out the accounts: {error}")
    return found


def _lineage(described: Path, found: Found) -> Lineage:
    about = json_object(described)
    names = tuple(str(name) for name in about.get("sans") or ())
    own = described.parent.parent.name == _OWN_AUTHORITY
    issued = about.get("issuer_data") or {}
    folder, directory = described.parent.parent.name, issued.get("ca")
    if not own and not directory:
        directory = _directory(folder, str(issued.get("url", "")))
        note = f"this Caddy does not say whose certificates are in {folder}: see that {directory} is right"
        if directory is not None and note not in found.notes:
            found.notes.append(note)
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


def _directory(folder: str, certificate: str) -> str | None:
    """Give an authority's directory by the folder's name and a certificate's URL; None where they do not fit.

    Caddy 2.6, as Debian 12 has it, notes no more of it. A folder is HOST-PATH in lower case, with hyphens
    for what a file name cannot have: https://github.com/caddyserver/certmagic (``issuerKey``, ``Safe``).
    """
    try:
        there = urlsplit(certificate)
        host = there.netloc.lower().replace(":", "-")
    except ValueError:
        return None
    if there.scheme != "https" or not host or not folder.startswith(f"{host}-"):
        return None
    path = folder.removeprefix(host).replace("-", "/")
    if there.path.lower().startswith(f"{path}/"):
        path = there.path[: len(path)]  # as this authority writes it
    return f"https://{there.netloc}{path}"


def _account(described: Path, authorities: Mapping[str, str], found: Found) -> Iterator[Account]:
    try:
        about = json_object(described)
        with as_described(described):
            url = str(about["location"])
            contacts = [str(c).removeprefix("mailto:") for c in about.get("contact") or ()]
        directory = authorities.get(described.parent.parent.parent.name)
        if directory is None:
            found.notes.append(f"left out the account {url}: no certificate here is from it")
            return
        key = Secret(text(described.with_suffix(".key")))
        yield Account(url, directory, url, key, contacts[0] if contacts else None)
    except Invalid as error:
        found.notes.append(f"left out the account in {described.parent.name}: {error}")
