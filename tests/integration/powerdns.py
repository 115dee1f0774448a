"""A provider's API as PowerDNS has it, whose records the tests' name server gives."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from typing import Any

from tests.integration.knot import Knot
from tests.integration.web_server import serving


class Provider:
    """One zone; ``wanted`` is the token it lets in."""

    def __init__(self, zone: str, wanted: str, server: Knot) -> None:
        self.zone, self.wanted, self.server = zone, wanted, server
        self.records: dict[str, set[str]] = {}
        self.url = ""
        self.changes = 0

    def described(self) -> dict[str, Any]:
        sets = [
            {
                "name": name,
                "type": "TXT",
                "ttl": 60,
                "records": [{"content": c, "disabled": False} for c in texts],
            }
            for name, texts in self.records.items()
        ]
        return {"name": f"{self.zone}.", "kind": "Native", "rrsets": sets}

    def change(self, body: dict[str, Any]) -> None:
        for change in body["rrsets"]:
            self.changes += 1
            name, kept = change["name"], change.get("records") or []
            texts = {record["content"] for record in kept} if change["changetype"] == "REPLACE" else set()
            self.records[name] = texts
            self.server.put(self.zone, name, texts)


@contextmanager
def provider(zone: str, wanted: str, server: Knot) -> Iterator[Provider]:
    made = Provider(zone, wanted, server)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(lambda: made.described())

        def do_PATCH(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            self._answer(lambda: made.change(body))

        def _answer(self, content: Any) -> None:
            known = self.headers.get("X-API-Key") == made.wanted
            found = self.path.startswith(f"/api/v1/servers/localhost/zones/{made.zone}")
            self.send_response(401 if not known else 200 if found else 404)
            self.end_headers()
            if known and found:
                self.wfile.write(json.dumps(content()).encode())

    with serving(Handler) as listening:
        made.url = f"http://127.0.0.1:{listening.server_port}"
        yield made
