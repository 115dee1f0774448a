from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.rootd.frames import MOST_BYTES, Asker, FrameReader, Malformed, Request, framed, request


def frame(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.data())
def test_frames_come_out_as_they_went_in_however_they_are_cut(payloads, data):
    sent = b"".join(frame(p) for p in payloads)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(sent)), max_size=10)))
    reader, got = FrameReader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        got += reader.feed(sent[begin:end])

    assert got == payloads


@pytest.mark.parametrize("length", [0, MOST_BYTES + 1, 2**32 - 1])
def test_a_frame_is_refused_by_its_length_before_it_is_there(length):
    with pytest.raises(Malformed):
        FrameReader().feed(length.to_bytes(4, "big"))


def test_the_longest_frame_is_taken():
    assert FrameReader().feed(frame(b"x" * MOST_BYTES)) == [b"x" * MOST_BYTES]


def test_a_request_says_action_values_and_asker():
    data = {"action": "a", "values": {"x": "1", "n": 2}, "asker": {"role": "admin", "address": "::1"}}

    assert request(json.dumps(data).encode()) == Request("a", {"x": "1", "n": 2}, Asker("admin", "", "::1"))
    assert request(b'{"action":"a"}') == Request("a", {})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1",
        "[]",
        "{}",
        '{"action":""}',
        '{"action":1}',
        '{"action":"' + "a" * 101 + '"}',
        '{"action":"a","action":"b"}',
        '{"action":"a","command":"/bin/sh"}',
        '{"action":"a","values":[]}',
        '{"action":"a","values":{"x":null}}',
        '{"action":"a","values":{"x":true}}',
        '{"action":"a","values":{"x":1.5}}',
        '{"action":"a","values":{"x":["y"]}}',
        '{"action":"a","values":{"x":NaN}}',
        '{"action":"a","asker":1}',
        '{"action":"a","asker":{"uid":0}}',
        '{"action":"a","asker":{"role":1}}',
        "[" * 60_000,
        '{"action":' + "9" * 60_000 + "}",
    ],
)
def test_what_is_no_request_is_malformed(text):
    with pytest.raises(Malformed):
        request(text.encode())


def test_bytes_that_are_no_text_are_malformed():
    with pytest.raises(Malformed):
        request(b'{"action":"\xff"}')


def test_an_answer_is_framed_as_a_request_is():
    assert FrameReader().feed(framed({"outcome": "done"})) == [b'{"outcome": "done"}']
