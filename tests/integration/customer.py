"""What stands in a customer's network: ``customer.py ADDRESS WORD [PEM]`` answers with the word on 80 (HTTP),
81 (HTTP/2 without TLS) and, with a certificate, on 443 and 444 (HTTP/2); its DNS server knows ``intranet.lan``."""

from __future__ import annotations

import signal
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import h2.config
import h2.connection
import h2.events

from tests.integration.name_server import NameServer


class _Saying(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    word = b""

    def do_GET(self) -> None:
        self.send_response(200 if self.path != "/sick" else 500)
        self.send_header("Content-Length", str(len(self.word)))
        self.end_headers()
        self.wfile.write(self.word)

    def log_message(self, *_: object) -> None:
        pass


def _serve(address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
    server = ThreadingHTTPServer((address, port), _Saying)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def _serve_http2(address: str, port: int, tls: ssl.SSLContext | None = None) -> None:
    listening = socket.create_server((address, port))

    def accept() -> None:
        while True:
            stream, _ = listening.accept()
            if tls is not None:
                stream = tls.wrap_socket(stream, server_side=True)
            threading.Thread(target=_speak_http2, args=(stream,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _speak_http2(stream: socket.socket) -> None:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    connection.initiate_connection()
    stream.sendall(connection.data_to_send())
    while data := stream.recv(65536):
        for event in connection.receive_data(data):
            if isinstance(event, h2.events.RequestReceived) and event.stream_id is not None:
                connection.send_headers(event.stream_id, [(":status", "200")])
                connection.send_data(event.stream_id, _Saying.word + b" over HTTP/2", end_stream=True)
        stream.sendall(connection.data_to_send())


def main(address: str, word: str, pem: str = "") -> None:
    _Saying.word = word.encode()
    _serve(address, 80)
    _serve_http2(address, 81)
    if pem:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(pem)
        _serve(address, 443, context)
        chosen = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        chosen.load_cert_chain(pem)
        chosen.set_alpn_protocols(["h2"])
        _serve_http2(address, 444, chosen)
    NameServer(address, 53).put("intranet.lan", "A", 60, address)
    print("customer is there", flush=True)
    signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
