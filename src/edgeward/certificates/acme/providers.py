"""Writes records through providers' APIs: the one place that knows dns-lexicon.

Its public ``Client`` guesses zones with a list it fetches from the network without a time limit, so the
providers themselves are used, with the zone that was looked up.
"""

from __future__ import annotations

import asyncio
import importlib
from typing import Any, Final
from weakref import WeakValueDictionary

import requests

from edgeward.certificates.acme.abandoned import Threads
from edgeward.certificates.acme.zones import Place
from edgeward.certificates.model.dns01 import DnsProvider
from edgeward.certificates.orders.fulfilment import Rejected
from edgeward.errors import Unavailable
from edgeward.sealing import Seal

_SECONDS: Final = 90.0
_TTL: Final = 60
_THREADS: Final = Threads(8, "dns-provider")
"""One that hangs keeps its thread: most providers are asked without a time limit."""

_WHOLE_ZONES: Final = frozenset({"godaddy", "joker", "namecheap", "sakuracloud", "valuedomain"})
"""These read records of all names of a zone and write them back."""

_turns: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
"""One change of a name at a time, or of a zone: many providers read all its records and write them back."""


class Providers:
    """One provider with the credentials that were declared."""

    def __init__(self, provider: DnsProvider, seal: Seal) -> None:
        self._provider = provider
        self._seal = seal

    async def add(self, place: Place, text: str) -> None:
        """Raises Rejected, Unavailable; adding what is there does no harm."""
        await self._done(place, lambda opened: opened.create_record("TXT", f"{place.name}.", text))

    async def remove(self, place: Place, text: str) -> None:
        await self._done(place, lambda opened: opened.delete_record(None, "TXT", f"{place.name}.", text))

    async def _done(self, place: Place, change: Any) -> None:
        name = self._provider.name
        changed = place.zone if name in _WHOLE_ZONES else place.name
        turn = _turns.setdefault(changed, asyncio.Lock())
        try:
            async with turn, asyncio.timeout(_SECONDS):
                await _THREADS.run(lambda: change(self._opened(place)))
        except TimeoutError as error:
            raise Unavailable(f"{name} does not answer within {_SECONDS:.0f} s") from error
        except ModuleNotFoundError as error:
            raise Rejected(
                f"{name}: {error}; dns-lexicon has no such provider, or needs more for it"
            ) from error
        except requests.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            kind = Rejected if 400 <= status < 500 and status != 429 else Unavailable
            raise kind(f"{name} says {status} to a change of {place.name} in {place.zone}") from None
        except (requests.RequestException, OSError) as error:
            raise Unavailable(f"{name} does not answer: {type(error).__name__}") from None
        except Exception as error:  # each provider raises what it likes, with tokens in it as it may be
            raise Rejected(
                f"{name} does not change {place.name} in {place.zone}: {self._safe(error)}"
            ) from None

    def _opened(self, place: Place) -> Any:
        options: dict[str, str] = dict(self._provider.settings)
        for credential in self._provider.credentials:
            options[credential.name] = credential.secret.reveal(self._seal).reveal()
        from lexicon.config import ConfigResolver  # here: few need it, and it brings much along

        module = importlib.import_module(f"lexicon._private.providers.{self._provider.name}")
        config = ConfigResolver().with_dict(  # type: ignore[no-untyped-call]
            {
                "provider_name": self._provider.name,
                "domain": place.zone,
                "ttl": _TTL,
                self._provider.name: options,
            }
        )
        opened = module.Provider(config)
        opened.authenticate()
        return opened

    def _safe(self, error: Exception) -> str:
        """Say what is wrong without any of the credentials."""
        text = f"{type(error).__name__}: {error}"
        for credential in self._provider.credentials:
            text = text.replace(credential.secret.reveal(self._seal).reveal(), "****")
        return text[:300]
