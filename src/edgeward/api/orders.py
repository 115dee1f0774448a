"""Orders over HTTP: what certificates are waited for, how far each is, and when all will have been done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from fastapi.responses import JSONResponse

from edgeward.access.model import Principal
from edgeward.api.certificates import CertificateName
from edgeward.api.pages import Paging, Text, cursor, words
from edgeward.api.principal import Cases, Reader, Surveyor
from edgeward.api.routes import Routes
from edgeward.certificates.orders.model import Queued, Sought
from edgeward.certificates.orders.progress import Progress
from edgeward.certificates.renewal.outlook import Outlook

router = Routes(prefix="/v1", tags=["certificates"])

State = Literal["waiting", "working", "failed"]


class Orders(Protocol):
    """The use cases behind these routes; every one decides for itself what ``who`` may see."""

    async def listed(
        self, who: Principal, sought: Sought, limit: int, after: str | None
    ) -> Sequence[Queued]: ...

    async def found(self, who: Principal, name: str) -> Queued: ...

    async def outlook(self, who: Principal) -> Outlook: ...

    async def progress(self, who: Principal, project: str | None) -> Progress: ...


@router.get("/orders")
async def listed(
    cases: Cases,
    who: Reader,
    page: Paging,
    project: Text = None,
    issuer: Text = None,
    name: Text = None,
    state: State | None = None,
) -> JSONResponse:
    """List orders by name: what certificates are waited for; ``name`` may end in ``*``."""
    place = words(page, 1)
    after = None if place is None else place[0]
    found = await cases.orders.listed(who, Sought(project, issuer, name, state), page.limit, after)
    following = cursor(found[-1].name) if len(found) == page.limit else None
    return JSONResponse({"items": [_shown(queued) for queued in found], "next": following})


@router.get("/orders/progress")
async def progress(cases: Cases, who: Reader, project: Text = None) -> JSONResponse:
    """Say how much waits, how fast it goes, when it will have been done, and what authorities have paused."""
    found = await cases.orders.progress(who, project)
    pauses = [{**asdict(pause), "until": _time(pause.until)} for pause in found.pauses]
    content = {
        "orders": dict(found.counts),
        "reasons": dict(found.reasons),
        "due": found.due,
        "issued_in_10_minutes": found.lately,
        "finish": _time(found.finish),
        "pauses": pauses,
    }
    return JSONResponse(content)


@router.get("/orders/outlook")
async def outlook(cases: Cases, who: Surveyor) -> JSONResponse:
    """Plan all renewals at other authorities as limits are now: when the last will be ordered, and how many
    come too late.
    """
    found = await cases.orders.outlook(who)
    return JSONResponse({"renewals": found.renewals, "finish": _time(found.finish), "late": found.late})


@router.get("/orders/{name}")
async def found(cases: Cases, who: Reader, name: CertificateName) -> JSONResponse:
    """Give the order for one name, if there is one."""
    return JSONResponse(_shown(await cases.orders.found(who, name)))


def _shown(queued: Queued) -> dict[str, Any]:
    return {
        "name": queued.name,
        "project": queued.project,
        "issuer": queued.issuer,
        "tried": queued.authority,
        "reason": queued.reason,
        "state": queued.state,
        "step": queued.step,
        "queued": _time(queued.queued),
        "due": _time(queued.due),
        "began": _time(queued.began),
        "expires": _time(queued.expires),
        "attempts": queued.attempts,
        "problem": queued.problem,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat()
