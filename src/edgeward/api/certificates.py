"""Certificates over HTTP: listed and shown without keys, expired, obtained by nodes; and the roots."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Protocol

from fastapi import Path, Query
from fastapi.responses import JSONResponse, Response
from pydantic import BeforeValidator

from edgeward.access.decide import require
from edgeward.access.model import Principal, Right
from edgeward.api.pages import Paging, Text, cursor, words
from edgeward.api.principal import Cases, Changer, Reader, Who
from edgeward.api.routes import Routes
from edgeward.certificates.model import Kept, Summary, Wanted
from edgeward.gateway.model import duration

router = Routes(prefix="/v1", tags=["certificates"])

CertificateName = Annotated[str, Path(min_length=1, max_length=260, pattern=r"^[^\x00-\x1f\x7f/]+$")]
Within = Annotated[
    float | None,
    BeforeValidator(duration),
    Query(ge=0, le=3660 * 86400, description="only those that end within this time: seconds, or like 14d"),
]


class Certificates(Protocol):
    """The use cases behind these routes; every one decides for itself what ``who`` may see."""

    async def listed(
        self, who: Principal, where: Wanted, expiring: float | None, limit: int, after: str | None
    ) -> Sequence[Summary]:
        """Give certificates by name, those after ``after``; ``expiring``: that end within so many seconds."""
        ...

    async def found(self, who: Principal, name: str) -> Summary:
        """Give the certificate of that name, else the wildcard that serves it."""
        ...

    async def expired(self, who: Principal, name: str) -> int:
        """Have every tier drop its copies (``*``: of all names), and give the order's revision."""
        ...

    async def obtained(self, who: Principal, name: str) -> Kept: ...

    def roots(self) -> str:
        """Give the PEM of every root to be trusted."""
        ...


@router.get("/certificates")
async def listed(
    cases: Cases,
    who: Reader,
    page: Paging,
    project: Text = None,
    issuer: Text = None,
    name: Text = None,
    expiring: Within = None,
    since: Annotated[
        int | None, Query(ge=0, le=10**15, description="only what changed after this revision")
    ] = None,
) -> JSONResponse:
    """List certificates by name, never their keys; ``name`` may end in ``*``."""
    place = words(page, 1)
    after = None if place is None else place[0]
    wanted = Wanted(project, issuer, name, since=since)
    found = await cases.certificates.listed(who, wanted, expiring, page.limit, after)
    following = cursor(found[-1].name) if len(found) == page.limit else None
    return JSONResponse({"items": [_shown(s) for s in found], "next": following})


@router.post("/certificates/expire")
async def expire_all(cases: Cases, who: Changer) -> JSONResponse:
    """Have Envoy and the memory of every node drop all certificates and misses, and look anew."""
    return JSONResponse({"revision": await cases.certificates.expired(who, "*")})


@router.get("/certificates/{name}")
async def found(cases: Cases, who: Reader, name: CertificateName) -> JSONResponse:
    """Give the certificate that serves a name, its own or its wildcard's: the chain, not the key."""
    summary = await cases.certificates.found(who, name)
    return JSONResponse({**_shown(summary), "chain": summary.chain})


@router.post("/certificates/{name}/expire")
async def expire(cases: Cases, who: Changer, name: CertificateName) -> JSONResponse:
    """Have Envoy and the memory of every node drop a name's certificate, or its absence, and look anew."""
    return JSONResponse({"revision": await cases.certificates.expired(who, name)})


@router.post("/certificates/{name}/obtain")
async def obtain(cases: Cases, who: Who, name: CertificateName) -> JSONResponse:
    """Give a node the certificate for a name a visitor asks for, key included; issued where policy allows."""
    require(who, Right.FOLLOW, node=who.node)
    kept = await cases.certificates.obtained(who, name)
    certificate = kept.certificate
    content = {
        "name": certificate.name,
        "project": certificate.project,
        "issuer": certificate.issuer,
        "chain": certificate.chain,
        "key": certificate.key.reveal(),
        "not_after": certificate.not_after.isoformat(),
        "fingerprint": certificate.fingerprint,
        "revision": kept.revision,
    }
    return JSONResponse(content, headers={"Cache-Control": "no-store"})


@router.get("/ca/root", response_class=Response)
async def root(cases: Cases) -> Response:
    """Give the local authority's roots as PEM, the one that signs now first; no log-in needed."""
    return Response(cases.certificates.roots(), media_type="application/x-pem-file")


def _shown(summary: Summary) -> dict[str, Any]:
    return {
        "name": summary.name,
        "project": summary.project,
        "issuer": summary.issuer,
        "not_before": _time(summary.not_before),
        "not_after": _time(summary.not_after),
        "renew_at": _time(summary.renew_at),
        "fingerprint": summary.fingerprint,
        "revision": summary.revision,
        "source": summary.source,
        "shares": summary.leader,
        "withheld": summary.withheld,
    }


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
