"""The queue of orders in one line, and when there is nothing left to watch."""

from __future__ import annotations

from datetime import UTC, datetime

from edgeward.cli.queue import over, summary

NOW = 1_800_000_000.0


def at(seconds: float) -> str:
    return datetime.fromtimestamp(NOW + seconds, UTC).isoformat()


def progress(**changes: object) -> dict[str, object]:
    orders = {"waiting": 0, "working": 0, "failed": 0, **changes.pop("orders", {})}
    return {
        "orders": orders,
        "due": 0,
        "issued_in_10_minutes": 7,
        "finish": None,
        "pauses": [],
        **changes,
    }


def test_it_says_what_is_done_what_waits_and_when_all_of_it_will_be_done():
    pause = {"scope": "domain", "key": "shop.example", "until": at(7200), "reason": "429"}
    found = progress(orders={"waiting": 90, "working": 10}, finish=at(600), pauses=[pause])

    assert summary(found, NOW) == (
        "10 working · 90 waiting · 7 issued in the last 10 min · done in 10 min"
        " · domain for shop.example paused, free in 2 h"
    )


def test_what_failed_is_said_and_not_waited_for():
    assert over(progress(orders={"failed": 3}))
    assert summary(progress(orders={"failed": 3}), NOW).startswith("3 failed")


def test_what_waits_what_is_worked_on_and_what_is_due_is_waited_for():
    assert not over(progress(orders={"waiting": 1}))
    assert not over(progress(orders={"working": 1}))
    assert not over(progress(due=1))


def test_where_none_can_begin_it_says_so_and_not_that_all_is_done_at_once():
    said = summary(progress(orders={"waiting": 4}), NOW)

    assert said == "4 waiting · 7 issued in the last 10 min · none can begin now"
