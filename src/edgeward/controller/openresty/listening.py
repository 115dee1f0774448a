"""The facade's own listener: where it is declared, with nothing but the client's two requests on it."""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Callable
from typing import Any

from edgeward.api.openresty.app import OpenRestyApp, OpenRestyCertificates
from edgeward.controller.serving import Serving
from edgeward.errors import EdgewardError, Invalid
from edgeward.gateway.model import Address, OpenResty
from edgeward.gateway.model.openresty import REMEDY, SECRET
from edgeward.log import logger
from edgeward.sealing import Seal
from edgeward.secret import Secret

_log = logger("edgeward.controller.openresty")


class Listening:
    """``observe`` is told of every answer."""

    def __init__(
        self,
        cases: OpenRestyCertificates,
        settings: Callable[[], OpenResty | None],
        seal: Seal,
        observe: Callable[[str, str, int, float], None],
    ) -> None:
        self._settings = settings
        self._seal = seal
        self._secret: Secret[str] | None = None
        self._serving = Serving(OpenRestyApp(cases, lambda: self._secret, observe), None, "openresty.listen")
        self._taken: OpenResty | None = None
        self._changed = asyncio.Event()
        self.tried = asyncio.Event()
        """Set once it listens, or cannot."""
        self.answers = asyncio.Event()
        """Set whenever clients are answered that were not answered before: what they kept has to go."""
        self.problem: str | None = None

    def changed(self) -> None:
        """Have it look at what is declared."""
        self._changed.set()

    def shown(self) -> dict[str, Any]:
        return {"listen": list(self._serving.addresses), "problem": self.problem}

    async def run(self) -> None:
        """Listen where it is declared, until cancelled."""
        await self._serving.follow(self._changed, self._try, lambda: self.problem is not None)

    async def _try(self) -> None:
        await self._adjust()
        self.tried.set()

    async def _adjust(self) -> None:
        settings = self._settings()
        if settings == self._taken and self.problem is None and not self._serving.failed():
            return
        try:
            await self._take(settings)
        except EdgewardError as error:
            if str(error) != self.problem:
                _log.error("the facade for OpenResty is not served", reason=str(error))
            self.problem = str(error)
            return
        self._taken, self.problem = settings, None
        if settings is not None:
            self.answers.set()

    async def _take(self, settings: OpenResty | None) -> None:
        if settings is None:
            self._secret = None
            await self._serving.serve([])
            return
        try:
            self._secret = _secret(settings, self._seal)
        except Invalid:
            self._secret = None
            await self._serving.serve([])
            raise
        addresses = [Address.parse(text) for text in settings.listen]
        await self._serving.serve(addresses)
        open_ones = [str(a) for a in addresses if not ipaddress.ip_address(a.host).is_loopback]
        if open_ones:
            _log.warning(
                "whoever reaches this address and knows the secret path gets PRIVATE KEYS, in plain HTTP;"
                " keep it to a network of your own",
                openresty=open_ones,
            )


def _secret(settings: OpenResty, seal: Seal) -> Secret[str]:
    secret = settings.secret.reveal(seal)
    if not SECRET.fullmatch(secret.reveal()):
        raise Invalid(f"openresty.secret: {REMEDY}")
    return secret
