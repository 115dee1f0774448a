"""Which server the command talks to, with whose token, and whom it trusts to be that server."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from edgeward.domain_name import printable
from edgeward.errors import Invalid, Unavailable
from edgeward.secret import Secret
from edgeward.url_secrets import masked

DEFAULT_API: Final = "https://127.0.0.1:2443"
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True)
class Server:
    """``ca`` is PEM; nothing else is trusted."""

    url: str
    token: Secret[str]
    ca: str
    elsewhere: str = "name another one with --api or EDGEWARD_API, or its directory with --state-dir"
    """What to do where it is not this server that was meant."""


_NAME_ANOTHER: Final = "name another one with --api or EDGEWARD_API"


def find(api: str | None, state_dir: Path, environment: Mapping[str, str], *, named: bool = False) -> Server:
    """Find the server by ``--api``, EDGEWARD_TOKEN and EDGEWARD_CA, and the state directory for the rest.

    The state directory's own token is sent only to a server that proves itself by the state
    directory's own authority. ``named``: somebody named that directory, and is not told to. Raises
    Invalid where something that was named is wrong, Unavailable where nothing was named and nothing
    is there.
    """
    url = canonical(api or _own_address(state_dir))
    ca_file, token = environment.get("EDGEWARD_CA"), environment.get("EDGEWARD_TOKEN")
    ca = _ca(Path(ca_file)) if ca_file else _own_ca(state_dir, named)
    if token is None:
        if ca_file:
            raise Invalid("EDGEWARD_CA is set and EDGEWARD_TOKEN is not; set the token for that server")
        token = _own_token(state_dir, named)
    found = Server(url, Secret(_checked_token(token)), ca)
    return replace(found, elsewhere=_NAME_ANOTHER) if named else found


def canonical(text: str) -> str:
    """Give ``https://HOST:PORT`` from that, ``HOST:PORT`` or an address listened on; raises Invalid."""
    text = text.strip()
    try:
        parts = urlsplit(text if "://" in text else f"https://{text}")
        host, port = parts.hostname, parts.port or (443 if "://" in text else 2443)
        (host or "").encode("idna")  # as it is when its address is asked for
    except ValueError as error:
        raise _no_address(text) from error
    fits = parts.path in ("", "/") and not parts.query and not parts.fragment and "@" not in parts.netloc
    if parts.scheme != "https" or not host or not fits or not host.isascii() or not host.isprintable():
        raise _no_address(text)
    host = _reachable(host)
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def _reachable(host: str) -> str:
    """Turn what a server listens on everywhere into what reaches it from here."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if not address.is_unspecified:
        return host
    return "127.0.0.1" if address.version == 4 else "::1"


def _no_address(text: str) -> Invalid:
    return Invalid(f"'{printable(masked(text))}' is not the address of a server; write https://HOST:PORT")


def _own_address(state_dir: Path) -> str:
    path = state_dir / "api" / "address"
    try:
        lines = path.read_text().split()
    except (OSError, UnicodeDecodeError):
        return DEFAULT_API
    return lines[0] if lines else DEFAULT_API


def _ca(path: Path) -> str:
    try:
        return _text(path)
    except OSError as error:
        raise Invalid(f"{path}: {error.strerror}; EDGEWARD_CA names a PEM file this user may read") from error


def _own_ca(state_dir: Path, named: bool) -> str:
    try:
        return _text(state_dir / "ca" / "root.pem")
    except OSError as error:
        raise _nothing_here(state_dir / "ca" / "root.pem", error, named) from error


def _own_token(state_dir: Path, named: bool) -> str:
    try:
        return _text(state_dir / "admin.token")
    except OSError as error:
        path = state_dir / "admin.token"
        if isinstance(error, FileNotFoundError) and (state_dir / "api" / "address").exists():
            raise Unavailable(
                f"{path} is not here; set EDGEWARD_TOKEN to another token, or create that file empty and"
                " restart the controller of `edgeward up`, which then writes a new one"
            ) from error
        raise _nothing_here(path, error, named) from error


def _nothing_here(path: Path, error: OSError, named: bool) -> Unavailable:
    directory = "" if named else ", name its directory with --state-dir,"
    return Unavailable(
        f"{path}: {error.strerror}; start `edgeward up` first{directory}"
        " or set EDGEWARD_API, EDGEWARD_TOKEN and EDGEWARD_CA"
    )


def _text(path: Path) -> str:
    with path.open("rb") as file:
        return file.read(_MOST_BYTES).decode("ascii", "replace")


def _checked_token(text: str) -> str:
    token = text.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token or len(token) > 500:
        raise Invalid("the token is not one; it looks like ew_…_…")
    return token
