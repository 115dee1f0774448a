"""Sends alarms to the declared webhook: one POST of JSON, taken where it answers with success."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from edgeward.certificates.model import Alarms
from edgeward.certificates.renewal.alarms import Late
from edgeward.errors import Unavailable
from edgeward.sealing import Seal, Sealed

_SECONDS: Final = 10.0
_MOST_NAMED: Final = 100


class Webhook:
    """``seal`` opens what the webhook wants to be shown."""

    def __init__(self, seal: Seal) -> None:
        self._seal = seal

    async def tell(self, declared: Alarms, late: Sequence[Late]) -> None:
        """Raises Unavailable where it does not answer, or not with success."""
        await self.post(declared, body(late))

    async def post(self, declared: Alarms, said: Mapping[str, object]) -> None:
        """Send one alarm; raises Unavailable where it does not answer, or not with success."""
        if declared.webhook is None:
            return
        import httpx  # with the first alarm

        there = declared.webhook
        url = there.reveal(self._seal).reveal() if isinstance(there, Sealed) else there
        headers = {}
        if declared.authorization is not None:
            headers["authorization"] = declared.authorization.reveal(self._seal).reveal()
        try:
            async with asyncio.timeout(2 * _SECONDS):
                async with httpx.AsyncClient(timeout=_SECONDS, trust_env=False) as client:
                    answer = await client.post(url, json=said, headers=headers)
        except TimeoutError as error:
            raise Unavailable("the webhook of alarms does not answer in time") from error
        except (httpx.InvalidURL, httpx.UnsupportedProtocol):  # these say parts of it
            raise Unavailable("the webhook of alarms has no URL to send to; see alarms.webhook") from None
        except (httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise Unavailable(f"the webhook of alarms cannot be reached: {reason}") from error
        except ValueError:  # of the IDNA codec, or of what turns a header into bytes; these say parts of it
            raise Unavailable(
                "the webhook of alarms cannot be asked so: its URL is none, or its authorization not ASCII;"
                " see alarms.webhook and alarms.authorization"
            ) from None
        if not answer.is_success:
            raise Unavailable(f"the webhook of alarms answers with status {answer.status_code}")


def body(late: Sequence[Late]) -> dict[str, object]:
    """Give what is sent: the first to end first, a hundred of them at most, and how many there are."""
    return {
        "alarm": "certificates_late",
        "count": len(late),
        "certificates": [
            {
                "name": one.name,
                "project": one.project,
                "issuer": one.issuer,
                "not_after": datetime.fromtimestamp(one.not_after, UTC).isoformat(),
                "problem": one.problem,
            }
            for one in late[:_MOST_NAMED]
        ],
    }
