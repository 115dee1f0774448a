"""Canaries: a second service for some of a route's requests."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from edgeward.gateway.model.header import HeaderName, HeaderValue
from edgeward.parsing import Name, Value


class Canary(Value):
    """Another service for a share of the visitors, for requests with certain headers, or both."""

    service: Name
    """Where they go."""
    share: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    """Percent, in steps of 0.0001."""
    headers: dict[HeaderName, HeaderValue] = Field(default={}, max_length=20)
    """Requests with all of these go there, whatever the share."""
    sticky: bool = True
    """A visitor stays on one side: by what the service hashes on, else by address. False draws for each
    request."""

    @model_validator(mode="after")
    def _means_somebody(self) -> Self:
        if self.share is None and not self.headers:
            raise ValueError("say share, headers or both")
        return self

    @property
    def parts(self) -> int:
        """The share in millionths."""
        return round((self.share or 0) * 10_000)
