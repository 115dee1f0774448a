"""A real Envoy that serves what `translate` gives: the smallest discovery server, a backend that shows what it got."""

from __future__ import annotations

import datetime
import hashlib
import importlib.util
import json
import queue
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Iterable, Iterator
from concurrent import futures
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from edgeward.gateway.envoy import NO_SNI, Gateway, endpoints, translate
from edgeward.xds import messages as m
from edgeward.xds.resource import Resource
from tests.patience import PATIENCE

_WILDCARD = (m.CLUSTER, m.LISTENER)


class Discovery:
    """Answers delta ADS with the newest resources; every refusal by Envoy is kept in ``refusals``."""

    def __init__(self, certificates: dict[str, str]) -> None:
        self.certificates = certificates  # name asked for → name in the certificate
        self.lasting: dict[str, Any] = {}
        self.refusals: list[str] = []
        self.accepted = 0
        self._resources: dict[str, dict[str, Resource]] = {}
        self._queues: list[queue.Queue[Any]] = []
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._sent: dict[str, dict[str, str]] = {}

    def set(self, resources: Iterable[Resource]) -> None:
        fresh: dict[str, dict[str, Resource]] = {}
        for found in resources:
            fresh.setdefault(found.type_url, {})[found.name] = found
        self._resources = fresh
        for waiting in self._queues:
            waiting.put(None)

    def stream(self, requests: Iterator[Any], context: Any) -> Iterator[Any]:
        inbox: queue.Queue[Any] = queue.Queue()
        self._queues.append(inbox)
        threading.Thread(target=self._read, args=(requests, inbox), daemon=True).start()
        subscribed: dict[str, set[str]] = {}
        while context.is_active():
            try:
                request = inbox.get(timeout=0.2)
            except queue.Empty:
                continue
            if isinstance(request, str):
                if request in subscribed.get(m.SECRET, ()):
                    yield self._answer(m.SECRET, {request})
                continue
            if request is None:
                for kind in (m.CLUSTER, m.ENDPOINTS, m.LISTENER, m.EXTENSION, m.ROUTES):
                    if kind in subscribed:
                        yield self._answer(kind, subscribed[kind])
                continue
            if request.HasField("error_detail"):
                self.refusals.append(request.error_detail.message)
            elif request.response_nonce:
                self.accepted += 1
            names = set(request.resource_names_subscribe)
            first = request.type_url not in subscribed
            subscribed.setdefault(request.type_url, set()).update(names)
            if names or (first and request.type_url in _WILDCARD):
                yield self._answer(request.type_url, names)

    @staticmethod
    def _read(requests: Iterator[Any], inbox: queue.Queue[Any]) -> None:
        try:
            for request in requests:
                inbox.put(request)
        except grpc.RpcError:
            pass

    def _answer(self, kind: str, names: set[str]) -> Any:
        answer = m.DeltaDiscoveryResponse(type_url=kind, nonce=str(time.monotonic_ns()))
        if kind == m.SECRET:
            for name in names:
                self._add_secret(answer, name)
            return answer
        held = self._sent.setdefault(kind, {})
        wanted = self._resources.get(kind, {})
        for found in wanted.values():
            if kind in _WILDCARD or found.name in names:
                held[found.name] = found.version
                body = m.AnyMessage(type_url=kind, value=found.body)
                answer.resources.append(
                    m.DiscoveryResource(name=found.name, version=found.version, resource=body)
                )
        if kind in _WILDCARD:
            answer.removed_resources.extend(n for n in list(held) if n not in wanted)
        return answer

    def keep(self, name: str, secret: Any) -> None:
        """Hold a secret that a listener itself refers to; where Envoy has it, it gets the new one."""
        self.lasting[name] = secret
        for waiting in self._queues:
            waiting.put(name)

    def _add_secret(self, answer: Any, name: str) -> None:
        if name in self.lasting:
            body = self.lasting[name].SerializeToString(deterministic=True)
            any_ = m.AnyMessage(type_url=m.SECRET, value=body)
            version = hashlib.sha256(body).hexdigest()
            answer.resources.append(m.DiscoveryResource(name=name, version=version, resource=any_))
            return
        canonical = name if name == NO_SNI else name.lower().rstrip(".")
        if canonical not in self.certificates:
            answer.removed_resources.append(name)
            return
        secret = m.Secret(name=name, tls_certificate=self._certificate(self.certificates[canonical]))
        answer.resources.append(m.DiscoveryResource(name=name, version="1", resource=m.packed(secret)))

    def _certificate(self, name: str) -> Any:
        chain, key = own_certificate(name, self._key)
        return m.TlsCertificate(
            certificate_chain=m.DataSource(inline_bytes=chain), private_key=m.DataSource(inline_bytes=key)
        )


def own_certificate(name: str, key: ec.EllipticCurvePrivateKey | None = None) -> tuple[bytes, bytes]:
    """Give a self-signed certificate for a name and its key, as PEM."""
    key = key or ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now)
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return certificate.public_bytes(serialization.Encoding.PEM), key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


class ShowingBackend:
    """An HTTP/1.1 server that answers with the very bytes of the request head it got; echoes WebSockets."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self.heads: list[bytes] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection:
            connection.settimeout(30)
            rest = b""
            try:
                while True:
                    while b"\r\n\r\n" not in rest:
                        data = connection.recv(65536)
                        if not data:
                            return
                        rest += data
                    head, _, rest = rest.partition(b"\r\n\r\n")
                    self.heads.append(head)
                    if b"upgrade: websocket" in head.lower():
                        self._echo(connection)
                        return
                    connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(head) + head)
            except OSError:
                return

    @staticmethod
    def _echo(connection: socket.socket) -> None:
        connection.sendall(
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
        )
        while data := connection.recv(65536):
            connection.sendall(data)

    def close(self) -> None:
        self._socket.close()


class Rig:
    """Envoy, the discovery server and raw visitors to it; Envoy is ended by its process id."""

    def __init__(
        self, directory: Path, certificates: dict[str, str], concurrency: int = 1, drain_seconds: int = 600
    ) -> None:
        self.directory = directory
        self.discovery = Discovery(certificates)
        self._server = self._serve()
        self._log = (directory / "envoy.log").open("wb")
        self.access_log = directory / "access.log"
        bootstrap = directory / "bootstrap.json"
        bootstrap.write_text(json.dumps(_bootstrap(directory)))
        envoy_package = importlib.util.find_spec("envoy")
        assert envoy_package is not None and envoy_package.submodule_search_locations
        binary = Path(next(iter(envoy_package.submodule_search_locations))) / "_bin" / "envoy"
        self.process = subprocess.Popen(
            [
                binary,
                "-c",
                bootstrap,
                "--disable-hot-restart",
                "--concurrency",
                str(concurrency),
                "-l",
                "error",
                "--drain-time-s",
                str(drain_seconds),
                "--drain-strategy",
                "immediate",
                "--file-flush-interval-msec",  # of its log, which tests read; it is 10 s
                "100",
            ],
            stdout=self.access_log.open("wb"),
            stderr=self._log,
        )

    def _serve(self) -> Any:
        server = grpc.server(futures.ThreadPoolExecutor(8))
        handler = grpc.stream_stream_rpc_method_handler(
            self.discovery.stream, m.DeltaDiscoveryRequest.FromString, lambda x: x.SerializeToString()
        )
        service = "envoy.service.discovery.v3.AggregatedDiscoveryService"
        server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler(service, {"DeltaAggregatedResources": handler}),)
        )
        server.add_insecure_port(f"unix:{self.directory / 'xds.sock'}")
        server.start()
        return server

    def show(self, gateway: Gateway, addresses: dict[str, list[str]] | None = None) -> None:
        """Hand Envoy a state and wait until its listeners accept."""
        self.discovery.set(self.resources(gateway, addresses))
        ports = [text for route in gateway.tcp_routes for text in route.listen]
        for text in (*gateway.listen.https, *gateway.listen.http, *ports):
            host, _, port = text.rpartition(":")
            wait_for_port(host.strip("[]"), int(port))

    def keep(self, name: str, secret: Any) -> None:
        self.discovery.keep(name, secret)

    @staticmethod
    def resources(gateway: Gateway, addresses: dict[str, list[str]] | None = None) -> tuple[Resource, ...]:
        return (*translate(gateway), *(endpoints(s, addresses or {}) for s in gateway.services))

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(30)
        self._server.stop(None)
        self._log.close()


def _bootstrap(directory: Path) -> dict[str, Any]:
    http2 = {
        "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
        "explicit_http_config": {"http2_protocol_options": {}},
    }
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(directory / "xds.sock")}}}}
    cluster = {
        "name": "xds",
        "type": "STATIC",
        "typed_extension_protocol_options": {"envoy.extensions.upstreams.http.v3.HttpProtocolOptions": http2},
        "load_assignment": {"cluster_name": "xds", "endpoints": [{"lb_endpoints": [endpoint]}]},
    }
    source = {"ads": {}, "resource_api_version": "V3"}
    ads = {
        "api_type": "DELTA_GRPC",
        "transport_api_version": "V3",
        "grpc_services": [{"envoy_grpc": {"cluster_name": "xds"}}],
    }
    return {
        "node": {"id": "rig", "cluster": "rig"},
        "admin": {"address": {"pipe": {"path": str(directory / "admin.sock")}}},
        "dynamic_resources": {"ads_config": ads, "lds_config": source, "cds_config": source},
        "static_resources": {"clusters": [cluster]},
        "layered_runtime": {  # as the launcher's
            "layers": [{"name": "edgeward", "static_layer": {"re2.max_program_size.error_level": 1_000_000}}]
        },
    }


def wait_for_port(host: str, port: int, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds * PATIENCE
    while True:
        try:
            socket.create_connection((host, port), timeout=1).close()
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.05)
        else:
            return


def connect(port: int, name: str | None = "shop.example", source: str | None = None) -> ssl.SSLSocket:
    """Open a TLS connection that verifies nothing: these tests are about what comes after."""
    plain = socket.create_connection(
        ("127.0.0.1", port), timeout=30, source_address=(source, 0) if source else None
    )
    try:
        return wrap(plain, name)
    except (OSError, ssl.SSLError):
        plain.close()
        raise


def wrap(plain: socket.socket, name: str | None) -> ssl.SSLSocket:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context.wrap_socket(plain, server_hostname=name)


def ask(connection: socket.socket, data: bytes) -> bytes:
    """Send raw bytes, give the first whole answer (as far as Content-Length says), or what came before the end."""
    connection.sendall(data)
    answer = b""
    connection.settimeout(30)
    try:
        while not _whole(answer):
            more = connection.recv(65536)
            if not more:
                break
            answer += more
    except (TimeoutError, ConnectionError, ssl.SSLError):
        pass
    return answer


def _whole(answer: bytes) -> bool:
    head, separator, body = answer.partition(b"\r\n\r\n")
    if not separator:
        return False
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return len(body) >= int(line.partition(b":")[2])
    return head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 204"))
