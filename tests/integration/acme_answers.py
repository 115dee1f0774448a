"""Answers an authority's http-01 visits from the table ``challenges``, in place of nodes."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler

import psycopg

from tests.integration.web_server import serving

PREFIX = "/.well-known/acme-challenge/"
_QUESTION = "SELECT value FROM challenges WHERE type = 'http-01' AND key = "


class Answers:
    """``seen``: the tokens asked for; ``mute``: say 404 to everything."""

    def __init__(self, url: str) -> None:
        self.seen: list[str] = []
        self.mute = False
        self._url = url

    def value(self, token: str) -> str | None:
        self.seen.append(token)
        if self.mute:
            return None
        if self._url.startswith("sqlite:///"):
            with sqlite3.connect(self._url.removeprefix("sqlite:///"), timeout=30) as opened:
                row = opened.execute(_QUESTION + "?", (token,)).fetchone()
            opened.close()
        else:
            with psycopg.connect(self._url) as connection:
                row = connection.execute(_QUESTION + "%s", (token,)).fetchone()
        return None if row is None else str(row[0])


@contextmanager
def answers(url: str, port: int) -> Iterator[Answers]:
    """Serve on 127.0.0.1 for the length of the block; ``url`` of the database."""
    made = Answers(url)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            value = made.value(self.path.removeprefix(PREFIX)) if self.path.startswith(PREFIX) else None
            self.send_response(404 if value is None else 200)
            self.send_header("Content-Type", "application/octet-stream")
            self.end_headers()
            self.wfile.write((value or "").encode())

    with serving(Handler, port):
        yield made
