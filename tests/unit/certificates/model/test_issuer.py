"""Issuers as they are declared."""

from __future__ import annotations

import pytest

from edgeward.certificates.model import Issuer
from edgeward.errors import Invalid
from edgeward.parsing import parse


@pytest.mark.parametrize("days", [0, -1, 0.0005, 398])
def test_how_long_certificates_live_is_said_in_words(days: float) -> None:
    with pytest.raises(Invalid, match=r"longer than 45 seconds .* and at most 397 days"):
        parse(Issuer, {"name": "own", "local": {"lifetime_days": days}})
