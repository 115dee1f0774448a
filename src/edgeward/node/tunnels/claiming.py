"""Asks controllers which of the gateways it shares with other nodes this node has active."""

from __future__ import annotations

import json
from urllib.parse import quote

from pydantic import ValidationError

from edgeward.declaration.feed import Claim, Granted
from edgeward.errors import Unavailable
from edgeward.node.controllers.known import Controllers
from edgeward.parsing import problems_of


class Claiming:
    """Asks any of them in turn: whichever answers speaks for the one database."""

    def __init__(self, controllers: Controllers) -> None:
        self._controllers = controllers

    async def claim(self, claim: Claim, timeout: float) -> Granted:
        """Give what a controller says; ``timeout`` is for each. Raises Unavailable where none can tell."""
        identity = self._controllers.identity
        if identity is None:
            await self._controllers.refresh()
            identity = self._controllers.identity
        assert identity is not None  # else refresh raised
        path, body = f"/v1/nodes/{quote(identity.name)}/gateways", json.dumps(claim.model_dump(mode="json"))
        failure = Unavailable("no controller is known")
        for controller in self._controllers.candidates():
            try:
                reply = await controller.client.ask("POST", path, timeout, body)
                if reply.status == 200:
                    return Granted.model_validate(reply.json())
                failure = Unavailable(reply.detail)
            except ValidationError as error:
                failure = Unavailable(f"the controller's answer is not understood: {problems_of(error)[0]}")
            except Unavailable as error:
                failure = error
        raise failure
