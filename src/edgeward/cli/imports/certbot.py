"""Reads certbot's directory: ``renewal/*.conf``, ``live``, ``archive``, and ``accounts``.

https://eff-certbot.readthedocs.io/en/stable/using.html#where-are-my-certificates
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgeward.cli.imports import jwk
from edgeward.cli.imports.found import (
    Account,
    Found,
    Lineage,
    as_described,
    directory_of,
    is_file,
    json_object,
    listable,
    text,
)
from edgeward.errors import Invalid
from edgeward.secret import Secret


def read(directory: Path) -> Found:
    """Give what is there; what cannot be read is told in ``notes``. Raises Invalid where nothing can."""
    found = Found()
    directory_of(directory, "renewal")
    servers: set[str] = set()
    for conf in sorted((directory / "renewal").glob("*.conf")):
        try:
            lineage = _lineage(directory, conf, found)
        except Invalid as error:
            found.notes.append(f"left out {conf.stem}: {error}")
            continue
        found.lineages.append(lineage)
        servers.add(str(lineage.directory))
    try:
        listable(directory / "accounts")
        for server in sorted(servers):
            found.accounts += _accounts(directory, server, found)
    except Invalid as error:
        found.notes.append(f"left out the accounts: {error}")
    hooks = [p for p in (directory / "renewal-hooks").glob("*/*") if p.is_file()]
    if hooks:
        found.notes.append(
            f"hooks are not taken over ({len(hooks)} of them); edgeward export --pem DIR --after runs one"
        )
    return found


def _lineage(directory: Path, conf: Path, found: Found) -> Lineage:
    settings = _settings(text(conf))
    server = settings.get("server", "")
    if not server.startswith("https://") or not _splits(server):
        raise Invalid("its renewal configuration names no server; renew it with certbot once")
    if settings.get("authenticator", "").startswith("dns-"):
        found.notes.append(
            f"{conf.stem} is proven by {settings['authenticator']}: give its issuer dns-01 and that provider"
        )
    name = conf.stem
    return Lineage(
        place=name,
        cert=text(_newest(directory, name, "fullchain")),
        key=Secret(text(_newest(directory, name, "privkey"))),
        directory=server,
        account=settings.get("account"),
        preferred_chain=settings.get("preferred_chain"),
    )


def _newest(directory: Path, name: str, what: str) -> Path:
    """Give the file that ``live`` points to; of a copy without its links, the newest of ``archive``."""
    live = directory / "live" / name / f"{what}.pem"
    if is_file(live):
        return live
    numbered = re.compile(rf"{what}(\d+)\.pem")
    versions = [
        (int(match[1]), path)
        for path in (directory / "archive" / name).glob(f"{what}*.pem")
        if (match := numbered.fullmatch(path.name))
    ]
    if not versions:
        raise Invalid(f"there is no {live}")
    return max(versions)[1]


def _settings(conf: str) -> dict[str, str]:
    """Give the values outside of sections and those of [renewalparams]; not those of its subsections."""
    found: dict[str, str] = {}
    section = ""
    for line in conf.splitlines():
        stripped = line.strip()
        if stripped.startswith("["):
            section = stripped
        elif "=" in stripped and not stripped.startswith("#") and section in ("", "[renewalparams]"):
            name, _, value = stripped.partition("=")
            found[name.strip()] = value.strip().strip("'\"")
    return {name: value for name, value in found.items() if value not in ("", "None")}


def _splits(url: str) -> bool:
    try:
        return bool(urlsplit(url).netloc)
    except ValueError:
        return False


def _accounts(directory: Path, server: str, found: Found) -> Iterator[Account]:
    """Certbot keeps them under the host, the port and the path of the authority's directory."""
    parts = urlsplit(server)
    place = directory / "accounts" / parts.netloc / parts.path.strip("/")
    for account in sorted(p for p in place.glob("*") if is_file(p / "private_key.json")):
        try:
            regr = json_object(account / "regr.json")
            key = jwk.pem(json_object(account / "private_key.json"))
            with as_described(account / "regr.json"):
                url, email = str(regr["uri"]), _email(regr)
            yield Account(account.name, server, url, key, email)
        except Invalid as error:
            found.notes.append(f"left out the account {account.name}: {error}")


def _email(regr: Mapping[str, Any]) -> str | None:
    contacts = (regr.get("body") or {}).get("contact") or ()
    return next((str(c).removeprefix("mailto:") for c in contacts if str(c).startswith("mailto:")), None)
