"""Certificates and keys of connections in pluto's own NSS database, by the connection's id."""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    load_pem_private_key,
    pkcs12,
)

from edgeward.errors import Invalid, Unavailable
from edgeward.vpn.desired import Certificate, Connection

_SECONDS: Final = 10.0
_BEGUN: Final = "begun"
"""Some of it is there: it is to go before the rest comes."""


class Certificates:
    """``place``: the database's directory. What stands in it is remembered beside it."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def has(self, connection: Connection) -> bool:
        """Tell whether a connection's proof is in it, and nothing else of it."""
        mark = self._mark(connection.id)
        return (mark.read_text() if mark.exists() else "") == _digest(connection)

    async def have(self, connection: Connection) -> None:
        """Have a connection's proof be in it."""
        if self.has(connection):
            return
        await self.forget(connection.id)
        if isinstance(connection.auth, Certificate):
            self._mark(connection.id).write_text(_BEGUN)
            await self._take(connection.id, connection.auth)
            self._mark(connection.id).write_text(_digest(connection))

    async def forget(self, connection: str) -> None:
        mark = self._mark(connection)
        if not mark.exists():
            return
        for name in (connection, *(f"{connection}-ca{number}" for number in range(8))):
            for words in (("-F", "-n", name), ("-D", "-n", name)):
                with suppress(Unavailable):  # there are as many as there were
                    await self._certutil(words)
        mark.unlink(missing_ok=True)

    async def _take(self, name: str, auth: Certificate) -> None:
        try:
            leaf, *between = x509.load_pem_x509_certificates(auth.chain.encode())
            authorities = x509.load_pem_x509_certificates(auth.authority.encode())
            key = load_pem_private_key(auth.key.reveal().encode(), None)
        except ValueError as error:
            raise Invalid("certificate: its chain, key or authority is not readable PEM") from error
        password = secrets.token_hex(16)
        sealed = BestAvailableEncryption(password.encode())
        bundle = pkcs12.serialize_key_and_certificates(name.encode(), key, leaf, between, sealed)  # type: ignore[arg-type]
        file, word = self._place / f"{name}.p12", self._place / f"{name}.word"
        try:
            for path, data in ((file, bundle), (word, password.encode())):
                with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as opened:
                    opened.write(data)
            await _run("pk12util", ("-i", str(file), "-d", f"sql:{self._place}", "-w", str(word), "-K", ""))
            for number, authority in enumerate(authorities[:8]):
                der = authority.public_bytes(Encoding.DER)
                await self._certutil(("-A", "-n", f"{name}-ca{number}", "-t", "CT,,"), der)
        finally:
            for path in (file, word):
                path.unlink(missing_ok=True)
        for each in self._place.iterdir():
            each.chmod(0o660)

    async def _certutil(self, words: Sequence[str], given: bytes = b"") -> None:
        await _run("certutil", (*words, "-d", f"sql:{self._place}"), given)

    def _mark(self, connection: str) -> Path:
        return self._place.parent / f"{connection}.certificate"


def _digest(connection: Connection) -> str:
    auth = connection.auth
    if not isinstance(auth, Certificate):
        return ""
    return hashlib.sha256(f"{auth.chain}\0{auth.key.reveal()}\0{auth.authority}".encode()).hexdigest()


async def _run(program: str, words: Sequence[str], given: bytes = b"") -> None:
    try:
        process = await asyncio.create_subprocess_exec(
            f"/usr/bin/{program}", *words, env={}, cwd="/",
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
    except OSError as error:
        raise Unavailable(f"{program} does not start: {error.strerror}; install libnss3-tools") from error
    try:
        async with asyncio.timeout(_SECONDS):
            said = (await process.communicate(given))[0]
    except TimeoutError:
        raise Unavailable(f"{program} does not come to an end") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode != 0:
        raise Unavailable(f"{program}: {said.decode(errors='replace').strip()[-300:]}")
