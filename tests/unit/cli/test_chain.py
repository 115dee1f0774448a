"""The audit log as somebody left it who may have written anything into it."""

from __future__ import annotations

import hashlib
import json

import pytest

from edgeward.cli import chain


def line(number: object, before: bytes) -> bytes:
    return json.dumps({"n": number, "before": hashlib.sha256(before).hexdigest()}).encode()


@pytest.mark.parametrize(
    "put", [b'{"n": Infinity, "before": ""}', b'{"n": 1e999, "before": ""}', b"[" * 100_000, b"\xff", b""]
)
def test_what_was_put_in_the_place_of_a_line_is_told_and_no_crash(put):
    first = line(1, b"")
    second = line(2, first)
    whole = [("a:1", first), ("a:2", second), ("a:3", line(3, second))]

    assert chain.verify(whole).problems == []
    found = chain.verify([whole[0], ("a:2", put), whole[2]])
    assert found.problems == ["a:3: line 3 does not follow from line 2: one was changed"]
