"""Requests by hand: whatever a server says or does, an answer or Lost comes of it, and soon."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeward.certificates.acme import connections
from edgeward.certificates.acme.connections import Answer, Connections, Lost
from tests.integration.acme import Trust, trust

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Server:
    """Answers each connection's requests with what ``says`` has left; ``opened`` counts connections."""

    def __init__(self, own: Trust) -> None:
        self.says: list[bytes] = []
        self.closes = False
        self.opened = 0
        self.heard: list[bytes] = []
        self._context = own.context
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}/a?b=c"
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._socket.close()

    def _serve(self) -> None:
        with suppress(OSError):
            while True:
                plain, _ = self._socket.accept()
                self.opened += 1
                with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as visitor:
                    self._answer(visitor)

    def _answer(self, visitor: socket.socket) -> None:
        while self.says and (heard := visitor.recv(65536)):
            self.heard.append(heard)
            visitor.sendall(self.says.pop(0))
            if self.closes:
                return


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Trust:
    return trust(tmp_path_factory.mktemp("trust"))


@pytest.fixture
def server(own: Trust) -> Iterator[Server]:
    made = Server(own)
    yield made
    made.close()


@pytest.fixture
def ours(own: Trust) -> Iterator[Connections]:
    made = Connections(str(own.ca_file), 4)
    yield made
    made.close()


def ask(ours: Connections, server: Server, body: bytes = b"{}") -> Answer:
    return ours.exchange("POST", server.url, {"User-Agent": "tests"}, body)


def test_a_connection_is_kept_for_the_next_request(ours, server):
    server.says = [OK] * 3

    assert [ask(ours, server).body for _ in range(3)] == [b"ok"] * 3
    assert server.opened == 1
    assert server.heard[0].startswith(b"POST /a?b=c HTTP/1.1\r\nHost: 127.0.0.1:")
    assert server.heard[0].endswith(b"Content-Length: 2\r\n\r\n{}")


def test_a_connection_the_other_side_ended_meanwhile_is_replaced(ours, server):
    server.says, server.closes = [OK] * 3, True

    for _ in range(3):
        ask(ours, server)
        threading.Event().wait(0.05)
    assert server.opened == 3


@pytest.mark.parametrize(
    "said", [OK.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), b"HTTP/1.0 200 OK\r\n\r\nok"]
)
def test_a_connection_that_ends_with_the_answer_is_not_used_again(ours, server, said):
    server.says, server.closes = [said] * 2, True

    assert [ask(ours, server).body for _ in range(2)] == [b"ok"] * 2
    assert server.opened == 2


def test_an_answer_in_pieces_is_put_together(ours, server):
    server.says = [
        b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nLocation: /x\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    ]

    answer = ask(ours, server)

    assert (answer.status, answer.body, answer.location) == (201, b"ok", "/x")


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b"", "instead of answering"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "instead of answering"),
        (b"220 mail.example.com ESMTP\r\n", "not HTTP"),
        (b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: " + b"y" * 70_000 + b"\r\n\r\n", "not HTTP"),
        (
            b"HTTP/1.1 200 OK\r\nContent-Length: 9999999\r\n\r\n" + b"y" * (connections.MOST_BYTES + 1),
            "not HTTP",
        ),
    ],
    ids=["nothing", "short", "mail", "upgrade", "long headers", "long body"],
)
def test_what_is_no_answer_is_lost_and_may_have_been_carried_out(ours, server, said, reason):
    server.says, server.closes = [said], True

    with pytest.raises(Lost, match=reason) as caught:
        ask(ours, server)
    assert caught.value.sent


def test_a_server_that_is_silent_or_drips_is_given_up(ours, server, monkeypatch):
    monkeypatch.setattr(connections, "READ_SECONDS", 0.2)
    server.says = [b"HTTP/1.1 200 OK\r\n", b""]

    with pytest.raises(Lost, match="does not answer in time"):
        ask(ours, server)


def test_nobody_there_and_nobody_trusted_is_lost_before_anything_was_sent(ours, server, tmp_path):
    stranger = Connections(str(trust(tmp_path).ca_file), 1)
    server.says = [OK]
    with pytest.raises(Lost, match="not trusted") as untrusted:
        ask(stranger, server)
    server.close()
    free = socket.create_server(("127.0.0.1", 0))
    port = free.getsockname()[1]
    free.close()
    with pytest.raises(Lost, match="refused") as absent:
        ours.exchange("GET", f"https://127.0.0.1:{port}/", {})

    assert not untrusted.value.sent
    assert not absent.value.sent


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "https://a b/",
        "https://a/\r\nX: y",
        "https://a:99999/",
        "https://a/é",
        "file:///etc",
    ],
)
def test_a_url_that_is_none_is_never_asked(ours, url):
    with pytest.raises(Lost, match="names a URL that is none"):
        ours.exchange("GET", url, {})


@pytest.mark.parametrize("host", ["a..example", "a" * 64 + ".example", ".example"])
def test_a_host_that_is_none_is_lost_before_anything_was_sent(ours, host):
    with pytest.raises(Lost, match="a host that is none") as caught:
        ours.exchange("GET", f"https://{host}/dir", {})

    assert not caught.value.sent


def test_links_are_told_by_their_relation():
    header = (
        '<https://ca.example/dir>;rel="index", <https://ca.example/cert/1>;rel="alternate",'
        " <https://ca.example/cert/2>; rel=alternate; title=x, <https://ca.example/up>;rel=up"
    )
    answer = Answer(200, {"link": header}, b"")

    assert answer.links("alternate") == ["https://ca.example/cert/1", "https://ca.example/cert/2"]
    assert answer.links("next") == []


@given(st.one_of(st.text(max_size=40), st.integers().map(str)))
def test_a_wait_is_a_bounded_number_or_none_whatever_is_said(said):
    wait = Answer(503, {"retry-after": said}, b"").retry_after()

    assert wait is None or 0 <= wait < 1e12
