"""RSA keys made ahead: one takes a tenth of a second, which nobody who writes to the database should wait."""

from __future__ import annotations

import asyncio

from cryptography.hazmat.primitives.asymmetric import rsa

_BITS = 2048
_MOST = 64


class RsaKeys:
    """``fill`` before a transaction, ``take`` within."""

    def __init__(self) -> None:
        self._ready: list[rsa.RSAPrivateKey] = []

    async def fill(self, number: int) -> None:
        """See that so many are ready, or as many as are kept; they are made on another thread."""
        while len(self._ready) < min(number, _MOST):
            self._ready.append(await asyncio.to_thread(new_rsa_key))

    def take(self) -> rsa.RSAPrivateKey:
        """Give a key nobody else has or gets; one is made where none is ready."""
        return self._ready.pop() if self._ready else new_rsa_key()


def new_rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, _BITS)
