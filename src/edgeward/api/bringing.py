"""What people do with certificates over HTTP: bring, revoke, take away with the key, read the history of."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, Protocol

from fastapi.responses import JSONResponse
from pydantic import Field

from edgeward.access.model import Principal
from edgeward.api.bodies import body_of, described
from edgeward.api.certificates import CertificateName
from edgeward.api.principal import Administrator, Cases, Changer, Governor, Reader
from edgeward.api.routes import Routes
from edgeward.certificates.brought.keep import Account, Brought, Imported
from edgeward.certificates.brought.pair import MOST_TEXT
from edgeward.certificates.history import Happened
from edgeward.certificates.model import Certificate
from edgeward.parsing import HostPattern, Name, Value
from edgeward.secret import Secret

router = Routes(prefix="/v1", tags=["certificates"])
_MOST_LINES: Final = 500
_NO_STORE: Final = {"Cache-Control": "no-store"}

Reason = Literal["unspecified", "keyCompromise", "affiliationChanged", "superseded", "cessationOfOperation"]
REASONS: Final[dict[Reason, int]] = {
    "unspecified": 0,
    "keyCompromise": 1,
    "affiliationChanged": 3,
    "superseded": 4,
    "cessationOfOperation": 5,
}
"""As RFC 5280, 5.3.1 numbers them; the others are not for those whose certificate it is."""
Pem = Annotated[str, Field(min_length=1, max_length=MOST_TEXT)]


class OwnPair(Value):
    """A certificate and its key, both PEM; ``cert`` holds the chain in any order."""

    cert: Pem
    key: Pem


class ImportedPair(OwnPair):
    """A certificate that another program obtained, to be renewed here by ``issuer``."""

    names: Annotated[tuple[HostPattern, ...], Field(min_length=1, max_length=100)]
    """The first is the domain's own name, the others those of its ``also``."""
    issuer: Name
    project: Name = "default"


class ImportedAccount(Value):
    """An account at an ACME authority that another program registered."""

    issuer: Name
    project: Name = "default"
    directory: Annotated[str, Field(pattern=r"^https://[^\s/@]+(/[^\s]*)?$", max_length=500)]
    url: Annotated[str, Field(pattern=r"^https://[^\s/@]+(/[^\s]*)?$", max_length=500)]
    key: Pem
    """PEM."""
    email: Annotated[str, Field(max_length=300)] | None = None


class Revocation(Value):
    reason: Reason = "unspecified"
    replace: bool = False
    """Have another certificate at once; without it, at the next visit or when that is due."""


class Bringing(Protocol):
    """The use cases behind these routes; every one decides for itself what ``who`` may do."""

    async def uploaded(self, who: Principal, name: str, cert: str, key: Secret[str]) -> Brought: ...

    async def imported(self, who: Principal, pair: Imported) -> Brought: ...

    async def registered(self, who: Principal, account: Account) -> bool:
        """Keep an account; False where the issuer has it, or another one, already."""
        ...

    async def revoked(self, who: Principal, name: str, reason: int, replace: bool) -> Sequence[str]:
        """Revoke and have it dropped everywhere; give what is to be said about that."""
        ...

    async def past(self, who: Principal, name: str, limit: int) -> Sequence[Happened]: ...

    async def taken(self, who: Principal, name: str) -> Certificate:
        """Give a certificate with its key, and write down who took it."""
        ...


@router.put("/certificates/{name}", openapi_extra=described(OwnPair))
async def upload(
    cases: Cases, who: Changer, name: CertificateName, body: Annotated[OwnPair, body_of(OwnPair)]
) -> JSONResponse:
    """Serve a certificate of your own for a name, until it ends: it is not renewed."""
    brought = await cases.bringing.uploaded(who, name, body.cert, Secret(body.key))
    return JSONResponse(_brought(brought))


@router.post("/certificates/import", openapi_extra=described(ImportedPair))
async def take_in(
    cases: Cases, who: Governor, body: Annotated[ImportedPair, body_of(ImportedPair)]
) -> JSONResponse:
    """Take in what another program obtained: served until it is renewed here."""
    pair = Imported(body.names, body.project, body.issuer, body.cert, Secret(body.key))
    return JSONResponse(_brought(await cases.bringing.imported(who, pair)))


@router.post("/accounts/import", openapi_extra=described(ImportedAccount))
async def register(
    cases: Cases, who: Governor, body: Annotated[ImportedAccount, body_of(ImportedAccount)]
) -> JSONResponse:
    """Take in an account at an ACME authority, for an issuer that has none yet."""
    account = Account(body.project, body.issuer, body.directory, body.url, Secret(body.key), body.email)
    return JSONResponse({"taken": await cases.bringing.registered(who, account)})


@router.post("/certificates/{name}/revoke", openapi_extra=described(Revocation))
async def revoke(
    cases: Cases, who: Changer, name: CertificateName, body: Annotated[Revocation, body_of(Revocation)]
) -> JSONResponse:
    """Revoke a name's certificate: its authority is told, and every tier drops it within a second."""
    notes = await cases.bringing.revoked(who, name, REASONS[body.reason], body.replace)
    return JSONResponse({"notes": list(notes)})


@router.get("/certificates/{name}/history")
async def past(cases: Cases, who: Reader, name: CertificateName) -> JSONResponse:
    """Tell what happened to a name, the newest first: issued, failed, uploaded, revoked, deactivated."""
    found = await cases.bringing.past(who, name, _MOST_LINES)
    return JSONResponse({"items": [_line(line) for line in found], "next": None})


@router.post("/certificates/{name}/take")
async def take(cases: Cases, who: Administrator, name: CertificateName) -> JSONResponse:
    """Give a certificate with its private key, for servers that are not ours; written into the audit log."""
    found = await cases.bringing.taken(who, name)
    content = {
        "name": found.name,
        "chain": found.chain,
        "key": found.key.reveal(),
        "not_after": found.not_after.isoformat(),
        "fingerprint": found.fingerprint,
    }
    return JSONResponse(content, headers=_NO_STORE)


def _brought(brought: Brought) -> dict[str, Any]:
    return {
        "names": list(brought.names),
        "not_after": brought.not_after.isoformat(),
        "fingerprint": brought.fingerprint,
        "changed": brought.changed,
        "warnings": list(brought.warnings),
    }


def _line(line: Happened) -> dict[str, Any]:
    shown = {field: getattr(line, field) for field in Happened.__dataclass_fields__}
    return {**shown, "at": datetime.fromtimestamp(line.at, UTC).isoformat()}
