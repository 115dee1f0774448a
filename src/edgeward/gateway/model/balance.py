"""How a service chooses between its backends, and by what where the choice is a hash."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from edgeward.gateway.model.header import HeaderName
from edgeward.gateway.model.units import duration
from edgeward.parsing import Value

Balance = Literal["round_robin", "least_request", "random", "ring_hash", "maglev"]
Lifetime = Annotated[float, BeforeValidator(duration), Field(ge=0, le=86400 * 365, allow_inf_nan=False)]


class HashCookie(Value):
    """A cookie whose value decides."""

    name: Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}$")]
    """Its name."""
    ttl: Lifetime | None = None
    """Visitors without it get one that lives this long; 0: a session cookie. Unset: the backend sets it."""


class HashOn(Value):
    """What decides about the backend: exactly one of these; the address for requests without that header or
    cookie."""

    header: HeaderName | None = None
    """The value of this request header."""
    cookie: HashCookie | None = None
    """The value of a cookie: its name, or a map."""
    client_address: Literal[True] | None = None
    """The visitor's address; behind ``trusted_proxies`` the one they tell."""
    path: Literal[True] | None = None
    """The path, without the query."""

    @model_validator(mode="before")
    @classmethod
    def _cookie_by_name(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("cookie"), str):
            return {**data, "cookie": {"name": data["cookie"]}}
        return data

    @model_validator(mode="after")
    def _one(self) -> Self:
        if len(self.model_fields_set - {f for f in self.model_fields_set if getattr(self, f) is None}) != 1:
            raise ValueError("say exactly one of header, cookie, client_address and path")
        return self
