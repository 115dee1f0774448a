"""A request's whole body, bounded in bytes and in time, for faces that word refusals in their own form."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from starlette.types import Receive


async def body(
    receive: Receive, most: int, seconds: float, refusal: Callable[[int, str], Exception]
) -> bytes:
    """Give it; raises what ``refusal`` makes of a status and a sentence."""
    read = b""
    try:
        async with asyncio.timeout(seconds):
            more = True
            while more:
                message = await receive()
                if message["type"] != "http.request":
                    raise refusal(400, "the body did not come")
                read += message.get("body", b"")
                more = message.get("more_body", False)
                if len(read) > most:
                    raise refusal(413, f"a body has at most {most} bytes")
    except TimeoutError:
        raise refusal(408, "the body did not come in time") from None
    return read
