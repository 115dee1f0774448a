"""The door to the controller: whatever goes wrong there is one kind of error."""

import httpx
import pytest

from edgeward.errors import Unavailable
from edgeward.node.http import HttpClient


async def test_who_still_asks_a_client_that_was_replaced_is_told_and_nothing_ends():
    client = HttpClient(httpx.AsyncClient(base_url="https://127.0.0.1:1"))
    await client.close()

    with pytest.raises(Unavailable, match="not asked any more"):
        await client.ask("POST", "/v1/nodes/a/report", 1.0, "{}")
    with pytest.raises(Unavailable):
        async with client.lines("/v1/nodes/a/watch", 1.0):
            pass
