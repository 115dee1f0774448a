from __future__ import annotations

import io
import json
import logging
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward import log
from edgeward.secret import Secret


def written(event: str, **fields: Any) -> str:
    stream = io.StringIO()
    log.set_up("test", stream=stream)
    log.logger("edgeward.test").info(event, **fields)
    return stream.getvalue()


@given(st.text(), st.text())
def test_no_text_breaks_a_line_or_reaches_the_terminal_raw(event: str, value: str) -> None:
    line = written(event, value=value)

    assert line.endswith("\n") and line.count("\n") == 1
    assert all(" " <= character <= "~" for character in line[:-1])
    assert json.loads(line)["value"] == value
    assert json.loads(line)["event"] == event


def test_a_line_says_who_and_when_first() -> None:
    assert list(json.loads(written("hello", b=1, a=2))) == [
        "time", "level", "program", "logger", "event", "b", "a",
    ]  # fmt: skip


def test_a_secret_is_never_written() -> None:
    line = written("x", token=Secret("hunter2"), nested={"in": [Secret("hunter2")]})

    assert "hunter2" not in line
    assert "****" in line


def test_a_text_without_end_is_cut() -> None:
    assert len(written("x", value="a" * 1_000_000)) < 10_000


def test_libraries_are_written_the_same_way() -> None:
    stream = io.StringIO()
    log.set_up("test", stream=stream)
    logging.getLogger("some.library").warning("careful\r\n%s", "forged")

    line = json.loads(stream.getvalue())
    assert (line["level"], line["program"], line["logger"]) == ("warning", "test", "some.library")
    assert line["event"] == "careful\r\nforged"


def test_an_exception_stays_within_its_line() -> None:
    stream = io.StringIO()
    log.set_up("test", stream=stream)
    try:
        raise ValueError("first\nsecond")
    except ValueError:
        log.logger("x").exception("broken")

    assert stream.getvalue().count("\n") == 1
    assert "ValueError: first\nsecond" in json.loads(stream.getvalue())["exception"]


def test_less_than_the_level_is_left_out() -> None:
    stream = io.StringIO()
    log.set_up("test", level="warning", stream=stream)
    log.logger("x").info("chatter")
    logging.getLogger("y").info("chatter")

    assert stream.getvalue() == ""


def test_a_closed_stream_ends_nobody() -> None:
    stream = io.StringIO()
    log.set_up("test", stream=stream)
    stream.close()

    log.logger("x").info("into the void")


@pytest.fixture(autouse=True)
def as_before() -> Any:
    root = logging.getLogger()
    handlers, level, raising = root.handlers[:], root.level, logging.raiseExceptions
    yield
    root.handlers[:], logging.raiseExceptions = handlers, raising
    root.setLevel(level)
