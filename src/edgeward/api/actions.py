"""Actions, which a node's rootd does as root: run, followed, listed. rootd decides who may."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

from fastapi import Depends, Path, Query, Request
from fastapi.responses import JSONResponse
from pydantic import Field, StrictInt, StrictStr

from edgeward.access.model import Principal
from edgeward.api.bodies import described, json_body
from edgeward.api.principal import Cases, Reader, Surveyor
from edgeward.api.routes import Routes
from edgeward.parsing import Value, parse

router = Routes(prefix="/v1", tags=["actions"])

ActionName = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
_NODE = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
OneNode = Annotated[str | None, Query(pattern=_NODE, description="may be left out where there is only one")]


@dataclass(frozen=True)
class Caller:
    """Where somebody calls from, and the name in the certificate they show, blank where they show none."""

    address: str
    certificate: str = ""


class Actions(Protocol):
    async def run(
        self,
        who: Principal,
        caller: Caller,
        action: str,
        values: Mapping[str, str | int],
        node: str | None,
        wait: float,
    ) -> Mapping[str, Any]:
        """Give what came of it, or ``state`` running after ``wait`` seconds; raises what rootd refuses."""
        ...

    async def found(self, who: Principal, run_id: str) -> Mapping[str, Any]: ...

    async def listed(self, who: Principal, caller: Caller, node: str | None) -> Mapping[str, Any]: ...


class Asked(Value):
    """What to run it with and where; may be left out."""

    values: dict[str, StrictStr | StrictInt] = {}
    """The action's values by name."""
    node: Annotated[str, Field(pattern=_NODE)] | None = None
    """May be left out where there is only one."""
    wait: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 10.0
    """Seconds after which the answer is a run to follow."""


async def _asked(request: Request) -> Asked:
    return parse(Asked, await json_body(request)) if await request.body() else Asked()


@router.get("/actions")
async def listed(request: Request, cases: Cases, who: Reader, node: OneNode = None) -> JSONResponse:
    """List the actions of a node that you may run."""
    return JSONResponse(dict(await cases.actions.listed(who, caller(request), node)))


@router.post("/actions/{name}/run", openapi_extra=described(Asked))
async def run(
    request: Request,
    cases: Cases,
    who: Reader,
    name: ActionName,
    body: Annotated[Asked, Depends(_asked)],
) -> JSONResponse:
    """Run an action: 200 with exit code, output and duration, or 202 with a run to follow after ``wait``."""
    came = await cases.actions.run(who, caller(request), name, body.values, body.node, body.wait)
    headers = {"Location": f"/v1/actions/runs/{came['id']}"}
    return JSONResponse(dict(came), 202 if came["state"] == "running" else 200, headers)


@router.get("/actions/runs/{id}")
async def found(
    cases: Cases, who: Reader, id: Annotated[str, Path(pattern=r"^[0-9a-f]{16}$")]
) -> JSONResponse:
    """Give a run that you asked for, at the controller that was asked."""
    return JSONResponse(dict(await cases.actions.found(who, id)))


@router.get("/nodes/{name}/root-log")
async def logged(cases: Cases, who: Surveyor, name: Annotated[str, Path(pattern=_NODE)]) -> JSONResponse:
    """Give what the audit log of a node's rootd ended with, each minute: hashes by line number."""
    heads = await cases.nodes.logged(who, name)
    return JSONResponse({"heads": {str(number): text for number, text in heads.items()}})


def caller(request: Request) -> Caller:
    """Give who calls, as rootd is told."""
    certificate = request.scope.get("edgeward.certificate", "")
    return Caller(request.client.host if request.client else "", certificate)
