"""The webhook of alarms: what it cannot be asked is told of, and its secrets are not."""

from __future__ import annotations

import pytest

from edgeward.certificates.model import Alarms
from edgeward.certificates.renewal.webhook import Webhook
from edgeward.errors import Unavailable
from edgeward.sealing import Seal, Sealed

SEAL = Seal(b"k" * 32)


@pytest.mark.parametrize(
    ("url", "authorization"),
    [
        ("http://xn--a/sesame", None),
        ("http://127.0.0.1:9/sesame", "Bearer sesäme"),
        ("http://[/sesame", None),
    ],
)
async def test_what_cannot_be_asked_so_is_told_of_without_its_secrets(url, authorization):
    shown = None if authorization is None else Sealed.of(authorization, SEAL)
    with pytest.raises(Unavailable, match=r"webhook of alarms") as found:
        await Webhook(SEAL).post(Alarms(webhook=url, authorization=shown), {"alarm": "tunnels"})

    assert "sesame" not in str(found.value) and "ä" not in str(found.value)
