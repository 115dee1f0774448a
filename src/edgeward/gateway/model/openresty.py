"""How OpenResty fleets with the client lua-resty-peter_sslers get their certificates from here."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self

from cryptography import x509
from pydantic import AfterValidator, Field, model_validator

from edgeward.errors import Invalid
from edgeward.gateway.model.backend import BackendTLS
from edgeward.gateway.model.listen import Addresses
from edgeward.parsing import Value, checked
from edgeward.placement import Labels
from edgeward.sealing import Sealed

PrimeType = Literal[1, 2]
_HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,251}[A-Za-z0-9])?|\[[0-9A-Fa-f:.]{2,45}\])"
_PORT = r"(?::([0-9]{1,5}))?"
_GATEWAY = re.compile(rf"https?://{_HOST}{_PORT}", re.ASCII)
_REDIS = re.compile(rf"rediss?://{_HOST}{_PORT}", re.ASCII)
SECRET = re.compile(r"[A-Za-z0-9_-]{16,200}", re.ASCII)
"""What the secret part of the path looks like: nothing a URL would have to escape."""
REMEDY = "write 16 to 200 letters, digits, hyphens and underscores, as openssl rand -hex 24 gives them"


def _shaped(shape: re.Pattern[str], hint: str) -> AfterValidator:
    def check(text: str) -> str:
        bare = text.removesuffix("/")
        match = shape.fullmatch(bare)
        if match is None or (match[1] is not None and not 1 <= int(match[1]) <= 65535):
            raise Invalid(hint)
        return bare

    return checked(check)


GatewayUrl = Annotated[
    str, Field(max_length=300), _shaped(_GATEWAY, "write http://HOST[:PORT] or https://HOST[:PORT]")
]
RedisUrl = Annotated[
    str,
    Field(max_length=300),
    _shaped(_REDIS, "write redis://HOST[:PORT], or rediss://HOST[:PORT] for TLS; the rest has fields"),
]


def _certificates(text: str) -> str:
    try:
        x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise Invalid("is not a list of PEM certificates") from error
    return text


Pem = Annotated[str, Field(max_length=1 << 20), checked(_certificates)]


class PrimedRedis(Value):
    """The Redis that gateways read themselves. Its layout is theirs: private keys lie in it in plain text."""

    url: RedisUrl
    """`redis://HOST[:PORT]`, or `rediss://` for TLS."""
    plain_keys: bool = False
    """Has to be true: whoever can read this Redis, its dumps or its replicas has every private key."""
    db: int = Field(default=9, ge=0, le=1_000_000)
    """Number of the database; the client reads 9 unless it is told otherwise."""
    username: str | None = Field(default=None, min_length=1, max_length=200)
    """Where its access control lists have users."""
    password: Sealed | None = None
    """Where it asks for one."""
    ca: Pem | None = None
    """PEM certificates to trust for `rediss://` instead of the system's roots."""
    types: tuple[PrimeType, ...] = Field(default=(1, 2), min_length=1, max_length=2)
    """Which of the client's two layouts (`redis_strategy`) are written."""

    @model_validator(mode="after")
    def _said_so(self) -> Self:
        if not self.plain_keys:
            raise ValueError(
                "gateways read private keys from this Redis in PLAIN TEXT, and so can everybody else who"
                " reaches it; write plain_keys: true if that is what you want, or leave redis out"
            )
        return self


class Gateway(Value):
    """An OpenResty or nginx with the client: its shared cache is emptied whenever certificates change."""

    url: GatewayUrl
    """Where it serves `/.peter_sslers/nginx/shared_cache/`, as `https://HOST[:PORT]`."""
    username: str | None = Field(default=None, pattern=r"^[^:\x00-\x1f]+$", max_length=200)
    """For its basic authentication."""
    password: Sealed | None = None
    """For its basic authentication."""
    tls: BackendTLS | None = None
    """How its certificate is checked, if not by the system's roots."""


class OpenResty(Value):
    """Serves OpenResty and nginx fleets whose client is lua-resty-peter_sslers, unchanged; one object, named
    ``openresty``. Without it all of this is off.
    """

    listen: Addresses = ("127.0.0.1:7201",)
    """Addresses for the client's two requests, plain HTTP; it knows no authentication: keep to loopback,
    or to a network of your own."""
    secret: Sealed
    """First part of the path, which takes the place of authentication: 16 to 200 letters, digits, hyphens and
    underscores. The client's `fallback_server` is `http://LISTEN/SECRET`."""
    autocert_seconds: float = Field(default=25, ge=1, le=45)
    """How long a client's handshake waits for an order; then it hears 202, and later a flush."""
    labels: Labels = {}
    """What domains with ``nodes`` look at: which of those certificates go to gateways. Others go anyway."""
    redis: PrimedRedis | None = None
    """The Redis the gateways read, if they do."""
    gateways: tuple[Gateway, ...] = Field(default=(), max_length=1000)
    """All of them: a gateway that is not listed keeps what it has for ten minutes, failures too."""

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        urls = [gateway.url for gateway in self.gateways]
        twice = sorted({url for url in urls if urls.count(url) > 1})
        if twice:
            raise ValueError(f"the gateway {twice[0]} is listed twice; keep one of them")
        return self
