"""What status says needs a person."""

from __future__ import annotations

from edgeward.cli.printing.overview import troubles


def test_a_redis_that_cannot_be_filled_needs_a_person():
    redis = {"url": "redis://r", "filled": True, "problem": None}
    assert troubles({"redis": redis}) == troubles({"redis": None}) == []
    assert troubles({"redis": {**redis, "filled": False, "problem": "redis://r: no such password"}}) == [
        "Redis is not filled, and nodes do without it: redis://r: no such password"
    ]


def test_orders_that_do_not_get_on_need_a_person():
    one = {"number": 1, "name": "a.example", "problem": "letsencrypt: no account"}
    assert troubles({"orders": {"troubled": None}}) == []
    assert troubles({"orders": {"troubled": one}}) == [
        "no new certificate for a.example: letsencrypt: no account"
    ]
    assert troubles({"orders": {"troubled": {**one, "number": 3}}}) == [
        "no new certificate for a.example: letsencrypt: no account, and 2 more: edgeward get orders"
    ]


def test_a_rootd_that_does_nothing_for_tunnels_needs_a_person():
    node = {"name": "edge1", "connected": True, "report": {"rootd": "rootd does not answer within 3 s"}}
    assert troubles({"nodes": [node]}) == [
        "what is up stays up, but no tunnel can be made or mended on node edge1: rootd does not answer within 3 s"
    ]
    assert troubles({"nodes": [{**node, "report": {"rootd": ""}}]}) == []
