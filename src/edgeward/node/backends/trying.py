"""Tries whether a service's backends take connections from this host, when somebody asks why."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from edgeward.gateway.model import Behind, Service

_SECONDS = 1.0
_MOST = 16
_Place = tuple[str, int]
"""An IP address and port, or the path of a Unix socket and 0."""


async def failures(
    service: Service, addresses: Mapping[str, Sequence[str]], relays: Mapping[Behind, str] | None = None
) -> tuple[list[str], bool]:
    """Give a sentence for each place that takes no connection, and whether some place does.

    Tries the first 16 places at once, for 1 s; ``addresses`` are those of the backends' names, ``relays`` the
    sockets of relays to places behind sites.
    """
    places = _places(service, addresses)[:_MOST]
    through = list((relays or {}).items())[:_MOST]
    found = await asyncio.gather(
        *(_failure(place) for place in places), *(_failure_behind(*one) for one in through)
    )
    return [sentence for sentence in found if sentence], "" in found


def _places(service: Service, addresses: Mapping[str, Sequence[str]]) -> list[_Place]:
    places: dict[_Place, None] = {}
    for backend in (b for b in service.backends if b.weight and b.via is None):
        hosts = [backend.host] if backend.literal else addresses.get(backend.host, ())
        for host in hosts:
            places[backend.socket_path or host, backend.port] = None
    return list(places)


async def _failure(place: _Place) -> str:
    where, port = place
    shown = f"{where} port {port}" if port else where
    try:
        async with asyncio.timeout(_SECONDS):
            if port:
                _, writer = await asyncio.open_connection(where, port)
            else:
                _, writer = await asyncio.open_unix_connection(where)
    except TimeoutError:
        return f"{shown} does not answer within {_SECONDS:g} s"
    except OSError as error:
        return f"{shown}: {_reason(error)}"
    writer.transport.abort()
    return ""


async def _failure_behind(place: Behind, relay: str) -> str:
    """A relay takes every connection, and ends those at once that it cannot carry on: there is no reset on a
    Unix socket."""
    shown = f"{place.host} port {place.port} behind {place.site}"
    try:
        async with asyncio.timeout(_SECONDS):
            reader, writer = await asyncio.open_unix_connection(relay)
    except (TimeoutError, OSError):
        return f"{shown}: its relay does not answer"
    try:
        async with asyncio.timeout(_SECONDS):
            said = await reader.read(1)
    except TimeoutError:
        return ""  # it waits for what we have to say
    except OSError:
        said = b""
    finally:
        writer.transport.abort()
    return "" if said else f"{shown} takes no connection from its relay"


def _reason(error: OSError) -> str:
    return {
        ConnectionRefusedError: "nothing listens there",
        FileNotFoundError: "there is no such socket",
        PermissionError: "the socket may not be used by this user",
    }.get(type(error), error.strerror or str(error))
