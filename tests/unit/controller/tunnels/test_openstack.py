"""The resolver of OpenStack's API, whose threads are everybody's."""

from __future__ import annotations

import asyncio
import socket
import threading
from typing import Any

import pytest

from edgeward.controller.tunnels import openstack


async def test_a_resolver_that_does_not_answer_takes_few_threads_however_many_ask(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers, busy = threading.Event(), threading.Semaphore(0)

    def silent(*_: Any, **__: Any) -> Any:
        busy.release()
        answers.wait(60)
        return [(None, None, None, "", ("192.0.2.1", 0))]

    monkeypatch.setattr(socket, "getaddrinfo", silent)
    monkeypatch.setattr(openstack, "_RESOLVE_SECONDS", 0.05)
    cases: Any = openstack.OpenStack(*[None] * 4)  # type: ignore[arg-type]
    try:
        for _ in range(3):
            asked = [cases.resolved(f"{n}.example.com") for n in range(5)]
            assert await asyncio.gather(*asked) == [None] * 5
        assert busy._value <= openstack._AT_ONCE
    finally:
        answers.set()

    monkeypatch.setattr(openstack, "_RESOLVE_SECONDS", 30.0)
    assert await cases.resolved("again.example.com") == "192.0.2.1"
