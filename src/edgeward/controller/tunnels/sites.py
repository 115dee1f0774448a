"""The use cases of what sites are in words: their other side's configuration, and what a change would do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from edgeward.access.model import Principal
from edgeward.api.usecases import ApplyRequest
from edgeward.controller.declared.objects import Declarations
from edgeward.controller.declared.rights import visible
from edgeward.controller.tunnels.gateways import Gateways
from edgeward.controller.tunnels.states import Tunnels
from edgeward.vpn import other_side
from edgeward.vpn.desired import Gateway
from edgeward.vpn.foresight import foreseen, summary
from edgeward.vpn.other_side import Form
from edgeward.vpn.other_side.seen import KEY_HERE
from edgeward.vpn.status import sites


class Sites:
    def __init__(self, declarations: Declarations, gateways: Gateways, tunnels: Tunnels) -> None:
        self._declarations = declarations
        self._gateways = gateways
        self._tunnels = tunnels

    async def peer_config(
        self, who: Principal, name: str, project: str | None, form: Form
    ) -> Mapping[str, Any]:
        site = self._tunnels.site(who, name, project)
        text = other_side.written(site.connection, form)
        secret = KEY_HERE if KEY_HERE in text else None
        return {"name": site.name, "project": site.project, "for": form, "text": text, "secret": secret}

    async def plan(self, who: Principal, request: ApplyRequest) -> Mapping[str, Any]:
        """Give what becomes of each connection that ``who`` may see, and how it does now."""
        changes, values = await self._declarations.foreseen(who, request)
        after = {c.key: None if c.action == "delete" else values[c.key] for c in changes}
        now, _ = await self._gateways.foreseen({})
        then, waiting = await self._gateways.foreseen(after)
        found, untouched = foreseen(_seen(who, now), _seen(who, then))
        waits = {site.connection.id: waiting.get(site.gateway.id, "") for site in sites(then)}
        there = {site.connection.id: site for site in sites(now)}
        some = [there[one.connection] for one in found if one.connection in there]
        states = await self._tunnels.states(some)
        connections = [
            {
                "id": one.connection,
                "project": one.name.partition("/")[0],
                "name": one.name.partition("/")[2],
                "what": one.what,
                "effect": one.effect,
                "says": one.sentence + _once(waits.get(one.connection, "")),
                "phase": states[one.connection][1].phase if one.connection in states else None,
            }
            for one in found
        ]
        return {"connections": connections, "untouched": untouched, "summary": summary(found, untouched)}


def _once(certificate: str) -> str:
    """Say what comes first: nothing of a gateway changes before all of its certificates are there."""
    return f", once the certificate of {certificate} is obtained" if certificate else ""


def _seen(who: Principal, gateways: Iterable[Gateway]) -> list[Gateway]:
    project = visible(who, None)
    return [one for one in gateways if project is None or one.name.partition("/")[0] == project]
