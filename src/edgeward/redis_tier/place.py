"""Where the Redis of the tier is; known to programs that may have none, and then need nothing of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from edgeward.errors import Invalid
from edgeward.secret import Secret


@dataclass(frozen=True)
class Place:
    """Where Redis is: ``redis://``, ``rediss://`` (TLS) or ``unix://``, with user and password."""

    url: Secret[str]
    ca: Path | None = None
    """PEM file of the authorities that its certificate is trusted by, instead of the system's."""

    @property
    def shown(self) -> str:
        url = urlsplit(self.url.reveal())
        return f"{url.scheme}://{url.hostname or ''}{f':{url.port}' if url.port else ''}{url.path}"


def place(environment: Mapping[str, str]) -> Place | None:
    """Give where EDGEWARD_REDIS says it is; raises Invalid."""
    text, ca = environment.get("EDGEWARD_REDIS"), environment.get("EDGEWARD_REDIS_CA")
    if not text:
        return None
    try:
        url = urlsplit(text)
        sound = url.scheme in ("redis", "rediss", "unix") and bool(url.hostname or url.path)
        sound = sound and (url.port is None or url.port > 0)
    except ValueError:
        sound = False
    if not sound:
        raise Invalid("EDGEWARD_REDIS is no address of a Redis; write rediss://USER:PASSWORD@HOST:PORT/DB")
    if ca is not None and not Path(ca).is_file():
        raise Invalid(f"EDGEWARD_REDIS_CA: {ca} is not there; name a PEM file of authorities")
    return Place(Secret(text), Path(ca).absolute() if ca else None)
