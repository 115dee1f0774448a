"""One authority for the whole process: its directory, its connections, its threads."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

from edgeward.certificates.acme.answers import Directory, read
from edgeward.certificates.acme.keys import Signer
from edgeward.certificates.acme.wire import THREADS, Answer, Fault, Lost, Wire
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.errors import Unavailable

R = TypeVar("R")
_DIRECTORY_SECONDS: Final = 86400.0
_PAUSES: Final = (0.2, 1.0, 3.0)
_LONGEST: Final = 30.0
"""Seconds after which what failed is not tried once more; a try itself takes at most what ``Wire`` allows."""
_NOTHING_THERE: Final = (404, 405, 410)
PASSING: Final = (500, 502, 503, 504)


class Authority:
    """Whoever asks an authority asks through the same one of these: connections and nonces are shared.

    A slow authority keeps its own threads busy, nobody else's. All that asks raises Lost and Fault.
    """

    def __init__(self, url: str, ca_file: str | None) -> None:
        self.url = url
        self._wire = Wire(ca_file or _system_roots())
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="acme")
        self._directory: Directory | None = None
        self._read_at = 0.0
        self._reading = asyncio.Lock()
        self.named: dict[str, frozenset[str]] = {}
        """Of orders that were seen, the names they are for: these never change."""

    async def directory(self) -> Directory:
        """Give what it offers; asked for once a day."""
        if self._directory is not None and time.monotonic() - self._read_at < _DIRECTORY_SECONDS:
            return self._directory
        async with self._reading:
            if self._directory is None or time.monotonic() - self._read_at >= _DIRECTORY_SECONDS:
                self._directory = await self._offered()
                self._read_at = time.monotonic()
        return self._directory

    async def _offered(self) -> Directory:
        try:
            return read(Directory, (await self.get(self.url)).body)
        except Fault as fault:
            if fault.status not in _NOTHING_THERE:
                raise
            raise Rejected(f"{self.url} is no ACME directory ({fault}); change acme.directory") from fault

    async def get(self, url: str) -> Answer:
        return await self._tried(lambda: self._wire.get(url), again=True)

    async def post(
        self, url: str, payload: Mapping[str, Any] | None, signer: Signer, *, again: bool = True
    ) -> Answer:
        """Ask as an account. ``again``: doing it twice does no harm, so that it is tried some times where
        the authority does not answer, or fails; what certainly did not arrive always is.
        """
        new_nonce = (await self.directory()).new_nonce
        return await self._tried(lambda: self._wire.post(url, payload, signer, new_nonce), again)

    async def _tried(self, ask: Callable[[], R], again: bool) -> R:
        began = time.monotonic()
        for pause in _PAUSES:
            try:
                return await self._on_thread(ask)
            except Lost as error:
                if (error.sent and not again) or time.monotonic() - began > _LONGEST:
                    raise
            except Fault as error:
                if not again or error.status not in PASSING or error.retry_after is not None:
                    raise
            await asyncio.sleep(pause)
        return await self._on_thread(ask)

    async def _on_thread(self, ask: Callable[[], R]) -> R:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, ask)
        except RuntimeError as error:  # of an executor that was shut down
            raise Unavailable("the controller is ending") from error

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._wire.close()


def _system_roots() -> str:
    """Give where this system keeps the roots it trusts; ``requests`` would bring its own."""
    paths = ssl.get_default_verify_paths()
    found = paths.cafile or paths.capath
    if found is None:
        raise Unavailable("this system has no trusted roots; install ca-certificates, or declare ca_file")
    return found
