"""A small controller that speaks the feed over real HTTPS: what a node meets, with faults on demand."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from edgeward.declaration.feed import PROTOCOL
from tests import ports

JOIN, NODE = "ew_join_token", "ew_node_token"


class Authority:
    """A root that signs ECDSA P-256 certificates; ``pem`` is the root's."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")])
        self._certificate = (
            self._builder(name, self._key.public_key(), timedelta(days=10))
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        self.pem = self._certificate.public_bytes(serialization.Encoding.PEM).decode()
        self.sha256 = self._certificate.fingerprint(hashes.SHA256()).hex()

    def issue(self, name: str, lifetime: timedelta = timedelta(days=7), key: Any = None) -> dict[str, str]:
        """Give a certificate as the feed sends it."""
        key = key or ec.generate_private_key(ec.SECP256R1())
        certificate = (
            self._builder(x509.Name([]), key.public_key(), lifetime)
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=True)
            .sign(self._key, hashes.SHA256())
        )
        return {
            "chain": certificate.public_bytes(serialization.Encoding.PEM).decode(),
            "key": key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            ).decode(),
            "not_after": certificate.not_valid_after_utc.isoformat(),
            "fingerprint": certificate.fingerprint(hashes.SHA256()).hex(),
            "issuer": "local",
        }

    def _builder(self, subject: x509.Name, key: Any, lifetime: timedelta) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test root")]))
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + lifetime)
        )


class FakeController:
    """Its state is changed from the test's thread; every change is one transaction of the feed."""

    def __init__(self, directory: Path, twin_of: FakeController | None = None) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.authority = Authority() if twin_of is None else twin_of.authority
        self.port = ports.free_port()
        self.url = f"https://127.0.0.1:{self.port}"
        self.store = str(uuid.uuid4()) if twin_of is None else twin_of.store
        self.revision = 0
        self.log: list[tuple[int, dict[str, Any]]] = []
        self.objects: dict[tuple[str, str, str], dict[str, Any]] = {}
        self.reports: list[dict[str, Any]] = []
        self.answers: list[dict[str, Any]] = []
        self.obtained: list[str] = []
        self.watches: list[int] = []
        """The ``since`` of every watch."""
        self.more_roots = ""
        """PEM published beside the root that signs."""
        self.controllers: list[str] = []
        """Told in each hello, where there are any; else it speaks as protocol 1 did."""
        self.is_ready = True
        self.hangs = False
        """Takes connections, and says nothing."""
        self.sent = 0
        """Messages of feeds that carry changes."""
        self.refuse_obtain = False
        self.no_new_names = False
        """There were too many: said of each name that has no certificate."""
        self.tier_keys: list[bytes] = []
        self.obtain_seconds = 0.0
        self.big_transactions = 0
        """Split each reset after so many objects into parts."""
        self._wake: set[asyncio.Event] = set()
        self._questions: list[dict[str, Any]] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self._files = self._certificate_files(directory)

    def _certificate_files(self, directory: Path) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        import ipaddress

        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        certificate = (
            self.authority._builder(x509.Name([]), key.public_key(), timedelta(days=1))
            .add_extension(names, critical=True)
            .sign(self.authority._key, hashes.SHA256())
        )
        cert_file, key_file = directory / "controller.pem", directory / "controller.key"
        cert_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return cert_file, key_file

    # --- what a test does ---------------------------------------------------------------------

    def change(
        self,
        put: dict[tuple[str, str], dict[str, Any]] | None = None,
        remove: list[tuple[str, str]] | None = None,
        expire: list[str] | None = None,
    ) -> int:
        """Commit one transaction of (kind, name) → value; gives its revision."""
        revision = self.revision + 1
        message = {
            "type": "change",
            "revision": revision,
            "put": [
                {"kind": k, "project": "default", "name": n, "revision": revision, "value": v}
                for (k, n), v in (put or {}).items()
            ],
            "remove": [{"kind": k, "project": "default", "name": n} for k, n in remove or []],
            "expire": expire or [],
        }
        for (kind, name), value in (put or {}).items():
            self.objects[kind, "default", name] = value
        for kind, name in remove or []:
            self.objects.pop((kind, "default", name), None)
        self.log.append((revision, message))
        self.revision = revision
        self._notify()
        return revision

    def declare(self, *domains: str, **listen: Any) -> int:
        put: dict[tuple[str, str], dict[str, Any]] = {("domains", d): {"name": d} for d in domains}
        if listen:
            put["listen", "listen"] = listen
        return self.change(put)

    def certify(self, *names: str, lifetime: timedelta = timedelta(days=7)) -> dict[str, dict[str, str]]:
        issued = {n: self.authority.issue(n, lifetime) for n in names}
        self.change({("certificates", n): c for n, c in issued.items()})
        return issued

    def ask(self, question: str, name: str) -> None:
        self._questions.append({"type": "ask", "id": question, "question": "name", "name": name})
        self._notify()

    def _notify(self) -> None:
        if self._loop is not None:
            self._loop.call_soon_threadsafe(lambda: [e.set() for e in self._wake])

    # --- starting and ending ------------------------------------------------------------------

    def start(self) -> None:
        app = Starlette(
            routes=[
                Route("/readyz", self._readyz),
                Route("/v1/ca/root", self._root),
                Route("/v1/nodes/join", self._join, methods=["POST"]),
                Route("/v1/nodes/{name}/watch", self._watch),
                Route("/v1/nodes/{name}/tier", self._tier),
                Route("/v1/nodes/{name}/report", self._report, methods=["POST"]),
                Route("/v1/nodes/{name}/answers", self._answer, methods=["POST"]),
                Route("/v1/certificates/{name}/obtain", self._obtain, methods=["POST"]),
            ]
        )
        config = uvicorn.Config(
            app,
            host="127.0.0.1",
            port=self.port,
            ssl_certfile=str(self._files[0]),
            ssl_keyfile=str(self._files[1]),
            log_level="critical",
            lifespan="off",
            timeout_graceful_shutdown=0,
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive()
            threading.Event().wait(0.01)

    def _run(self) -> None:
        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            assert self._server is not None
            await self._server._serve()

        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(serve())
        self._loop = None

    def stop(self) -> None:
        """Die: open connections are cut."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._server.force_exit = True
            self._notify()
            self._thread.join(30)
        self._server = None

    # --- what a node asks ---------------------------------------------------------------------

    async def _readyz(self, _: Request) -> Response:
        await self._silence()
        return PlainTextResponse("", 200 if self.is_ready else 503)

    async def _silence(self) -> None:
        while self.hangs:
            await asyncio.sleep(0.1)

    async def _root(self, _: Request) -> Response:
        return PlainTextResponse(self.authority.pem + self.more_roots)

    async def _join(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {JOIN}":
            return JSONResponse({"detail": "this token cannot join"}, 401)
        name = (await request.json())["name"]
        return JSONResponse(self.identity(name))

    def identity(self, name: str) -> dict[str, str]:
        return {"name": name, "controller": self.url, "token": NODE, "ca": self.authority.pem}

    def _known(self, request: Request) -> bool:
        return request.headers.get("authorization") == f"Bearer {NODE}"

    async def _watch(self, request: Request) -> Response:
        if not self._known(request):
            return JSONResponse({"detail": "unknown token"}, 401)
        await self._silence()
        since = int(request.query_params["since"])
        self.watches.append(since)
        reset = request.query_params["store"] != self.store or since == 0
        return StreamingResponse(self._feed(0 if reset else since, reset), media_type="application/x-ndjson")

    async def _feed(self, since: int, reset: bool) -> AsyncIterator[bytes]:
        wake = asyncio.Event()
        self._wake.add(wake)
        asked = len(self._questions)
        try:
            hello = {"type": "hello", "store": self.store, "version": "test", "protocol": PROTOCOL}
            more = {"controllers": self.controllers} if self.controllers else {}
            yield _line({**hello, "reset": reset, **more})
            if reset:
                since = self.revision
                for message in self._whole():
                    self.sent += 1
                    yield _line(message)
            synced = -1
            while self._server is not None and not self._server.should_exit:
                await self._silence()
                wake.clear()
                for revision, message in [m for m in self.log if m[0] > since]:
                    self.sent += 1
                    yield _line(message)
                    since = revision
                if synced != since:
                    yield _line({"type": "synced", "revision": since})
                    synced = since
                while asked < len(self._questions):  # more may be asked meanwhile
                    asked += 1
                    yield _line(self._questions[asked - 1])
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(wake.wait(), 1)
                    continue
                yield _line({"type": "ping", **({} if self.is_ready else {"ready": False})})
        finally:
            self._wake.discard(wake)

    def _whole(self) -> Iterator[dict[str, Any]]:
        puts = [
            {"kind": k, "project": p, "name": n, "revision": self.revision, "value": v}
            for (k, p, n), v in self.objects.items()
        ]
        size = self.big_transactions or max(1, len(puts))
        for start in range(0, max(1, len(puts)), size):
            more = start + size < len(puts)
            yield {
                "type": "change",
                "revision": self.revision,
                "put": puts[start : start + size],
                "more": more,
            }

    async def _tier(self, request: Request) -> Response:
        return JSONResponse({"keys": [base64.b64encode(key).decode() for key in self.tier_keys]})

    async def _report(self, request: Request) -> Response:
        if not self._known(request):
            return JSONResponse({"detail": "unknown token"}, 401)
        self.reports.append(await request.json())
        return Response(status_code=204)

    async def _answer(self, request: Request) -> Response:
        self.answers.append(await request.json())
        return Response(status_code=204)

    async def _obtain(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._silence()
        self.obtained.append(name)
        if not self.is_ready:
            return JSONResponse({"detail": "no database"}, 503)
        await asyncio.sleep(self.obtain_seconds)
        if self.refuse_obtain:
            return JSONResponse({"detail": f"no domain lets {name} have a certificate"}, 403)
        issued = self.objects.get(("certificates", "default", name))
        if issued is None and self.no_new_names:
            kind = "urn:edgeward:problem:no-new-names"
            return JSONResponse({"type": kind, "detail": "there are enough new names"}, 403)
        if issued is None:
            issued = self.authority.issue(name)
            self.change({("certificates", name): issued})
        found = {"name": name, "project": "default", "revision": self.revision, **issued}
        return JSONResponse(found)


def _line(message: dict[str, Any]) -> bytes:
    return json.dumps(message).encode() + b"\n"


def fingerprint(der: bytes) -> str:
    return hashlib.sha256(der).hexdigest()


def client_context(pem: str) -> ssl.SSLContext:
    return ssl.create_default_context(cadata=pem)
