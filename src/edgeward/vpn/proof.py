"""How a site proves itself by a certificate, and what the certificates are that the controller holds."""

from __future__ import annotations

from typing import Annotated, Final

from cryptography import x509
from pydantic import ConfigDict, Field

from edgeward.domain_name import normalise
from edgeward.errors import Invalid
from edgeward.parsing import Name, Value, checked
from edgeward.secret import Secret

LOCAL: Final = "local"
_MOST_PEM: Final = 256 * 1024


def authorities(text: str) -> str:
    """Give ``local``, or PEM of authorities; raises Invalid."""
    if text == LOCAL:
        return text
    try:
        found = x509.load_pem_x509_certificates(text.encode())
    except ValueError as error:
        raise Invalid("write local, or give PEM of the authorities as {file: PATH}") from error
    if not 1 <= len(found) <= 100:
        raise Invalid("give 1 to 100 authorities as PEM")
    try:
        for one in found:
            one.subject.rfc4514_string()  # the rest is read only where somebody looks at it
    except ValueError as error:
        raise Invalid("the name of an authority is not readable; give another one") from error
    return text


class Proof(Value):
    """A certificate in place of a pre-shared key."""

    name: Annotated[str, checked(normalise)]
    """Of the certificate that this side shows: issued for a declared domain, or uploaded."""
    authority: Annotated[str, Field(max_length=_MOST_PEM), checked(authorities)] = LOCAL
    """Who the peer's certificate must come from: `local` is this installation's own authority; or PEM,
    `{file: PATH}`."""


class Held(Value):
    """A certificate as the store has it, beside the sites that it is used by."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    name: str
    project: Name
    chain: str
    key: Secret[str]
    roots: str
    """PEM of the local authority's."""
