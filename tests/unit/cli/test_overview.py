"""What status says needs a person."""

from __future__ import annotations

from edgeward.cli.overview import troubles


def test_a_redis_that_cannot_be_filled_needs_a_person():
    redis = {"url": "redis://r", "filled": True, "problem": None}
    assert troubles({"redis": redis}) == troubles({"redis": None}) == []
    assert troubles({"redis": {**redis, "filled": False, "problem": "redis://r: no such password"}}) == [
        "Redis is not filled, and nodes do without it: redis://r: no such password"
    ]
