"""tls-alpn-01 (RFC 8737): answers an authority's handshake with the certificate that proves a name."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from edgeward.domain_name import normalise
from edgeward.errors import Invalid

PROTOCOL: Final = "acme-tls/1"
_IDENTIFIER: Final = ObjectIdentifier("1.3.6.1.5.5.7.1.31")  # RFC 8737 6.1
_SECONDS: Final = 10.0
_MOST_HELLO: Final = 64 * 1024
_CHUNK: Final = 16 * 1024


def proof(name: str, authorization: str) -> tuple[bytes, bytes]:
    """Give the self-signed certificate for a name (RFC 8737 3), and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ACME challenge")])
    digest = b"\x04\x20" + hashlib.sha256(authorization.encode()).digest()  # DER: OCTET STRING of 32 bytes
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=7))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(_IDENTIFIER, digest), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    return certificate.public_bytes(pem), private


async def answer(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    find: Callable[[str], Awaitable[str | None]],
) -> None:
    """Answer one connection; ``find(name)`` gives a name's key authorization, None where there is none."""
    try:
        async with asyncio.timeout(_SECONDS):
            hello, asked = await _greeting(reader)
            authorization = None if asked is None else await find(asked)
            if asked is not None and authorization is not None:
                context = await asyncio.to_thread(_context, *proof(asked, authorization))
                await _shake_hands(context, hello, reader, writer)
    except (TimeoutError, OSError, ssl.SSLError):
        pass  # a stranger's handshake; what came of it is the authority's to tell
    finally:
        writer.close()
        with contextlib.suppress(OSError, TimeoutError):
            async with asyncio.timeout(1.0):
                await writer.wait_closed()


async def _greeting(reader: asyncio.StreamReader) -> tuple[bytes, str | None]:
    """Read until the server name is known: a handshake that goes no further reads it. None: no valid one."""
    said: list[str | None] = []

    def named(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> int:
        said.append(name)
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.sni_callback = named
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    listening = context.wrap_bio(incoming, outgoing, server_side=True)
    hello = b""
    while not said and len(hello) < _MOST_HELLO:
        more = await reader.read(_CHUNK)
        if not more:
            break
        hello += more
        incoming.write(more)
        with contextlib.suppress(ssl.SSLWantReadError):
            try:
                listening.do_handshake()
            except ssl.SSLWantReadError:
                raise
            except ssl.SSLError:
                break
    return hello, _canonical(said[0]) if said else None


def _canonical(name: str | None) -> str | None:
    try:
        return None if name is None else normalise(name)
    except Invalid:
        return None


def _context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols([PROTOCOL])
    # ssl reads certificates from files only; this one is memory, and gone with its descriptor
    descriptor = os.memfd_create("challenge", os.MFD_CLOEXEC)
    try:
        os.write(descriptor, certificate + key)
        context.load_cert_chain(f"/proc/self/fd/{descriptor}")
    finally:
        os.close(descriptor)
    return context


async def _shake_hands(
    context: ssl.SSLContext, hello: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    secure = context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(hello)
    done = False
    while not done:
        try:
            secure.do_handshake()
            done = True
        except ssl.SSLWantReadError:
            writer.write(outgoing.read())
            await writer.drain()
            more = await reader.read(_CHUNK)
            if not more:
                return
            incoming.write(more)
    with contextlib.suppress(ssl.SSLError):
        secure.unwrap()  # says goodbye; the authority need not (RFC 8737 3)
    writer.write(outgoing.read())
    await writer.drain()
    await reader.read(_CHUNK)
