"""Fulfils orders at authorities that speak ACME: ``fulfilment.Fulfiller`` with everything it needs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from edgeward.certificates.acme import ari
from edgeward.certificates.acme.accounts import Accounts
from edgeward.certificates.acme.answers import RenewalInfo, read
from edgeward.certificates.acme.authority import Authority
from edgeward.certificates.acme.course import Course
from edgeward.certificates.acme.keys import base64url
from edgeward.certificates.acme.problems import refusal
from edgeward.certificates.acme.proofs import Proofs
from edgeward.certificates.acme.speaking import Speaker
from edgeward.certificates.acme.wire import Fault, Lost
from edgeward.certificates.model import AcmeIssuer, Issuer
from edgeward.certificates.orders.fulfilment import Fulfilled, Job, Rejected, Save, Saved, Window
from edgeward.database.engine import Database
from edgeward.errors import EdgewardError, NotFound, Unavailable
from edgeward.sealing import Seal

_LONGEST_ACCOUNT: Final = 300


class AcmeFulfiller:
    """Made once in a process, used from its event loop; ``clock`` gives Unix seconds."""

    def __init__(self, database: Database, seal: Seal, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._accounts = Accounts(database, seal, clock)
        self._proofs = Proofs(database, seal, clock)
        self._authorities: dict[tuple[str, str | None], tuple[float | None, Authority]] = {}
        self._under_way = 0

    async def fulfil(self, job: Job, saved: Saved, save: Save) -> Fulfilled:
        self._under_way += 1
        try:
            with self._translated(job.issuer, job.names):
                speaker = await self._speaker(job.issuer)
                return await Course(job, speaker, self._proofs, save).run(saved)
        finally:
            self._under_way -= 1
            if self._under_way == 0:
                with suppress(EdgewardError):  # what stays expires
                    await self._proofs.tidy()

    async def window(self, issuer: Issuer, chain: str) -> Window | None:
        with self._translated(issuer):
            authority = self._authority(issuer)
            url = (await authority.directory()).renewal_info
            if url is None:
                return None
            answer = await authority.get(f"{url.rstrip('/')}/{ari.identifier(chain)}")
            return ari.window(read(RenewalInfo, answer.body), answer.retry_after(), self._clock())

    async def revoke(self, issuer: Issuer, chain: str, reason: int) -> None:
        """``reason`` as RFC 5280, 5.3.1 counts them. One that is revoked already is no error."""
        with self._translated(issuer):
            speaker = await self._speaker(issuer)
            url = (await speaker.directory()).revoke
            if url is None:
                raise NotFound(f"{issuer.theirs.directory} does not revoke certificates")
            try:
                await speaker.post(url, {"certificate": _der(chain), "reason": reason})
            except Fault as fault:
                if fault.problem.code != "alreadyRevoked":
                    raise

    async def account(self, issuer: Issuer) -> str:
        with self._translated(issuer):
            url = (await self._accounts.of(issuer, self._authority(issuer))).url
        return counted_under(issuer.theirs.directory, url)

    async def identities(self, issuer: Issuer) -> tuple[str, ...]:
        """Give the domains this authority goes by in CAA records (RFC 8555, 7.1.1), where it says some."""
        with self._translated(issuer):
            return (await self._authority(issuer).directory()).meta.caa_identities

    async def change_account_key(self, issuer: Issuer) -> None:
        """Give the issuer's account a new key (RFC 8555, 7.3.5)."""
        with self._translated(issuer):
            await self._accounts.change_key(issuer, self._authority(issuer))

    def close(self) -> None:
        """End connections and threads; what is under way fails, and is gone on with by the next attempt."""
        for _, authority in self._authorities.values():
            authority.close()

    async def _speaker(self, issuer: Issuer) -> Speaker:
        authority = self._authority(issuer)
        return Speaker(issuer, authority, self._accounts, await self._accounts.of(issuer, authority))

    def _authority(self, issuer: Issuer) -> Authority:
        """Give the one for all its issuers; another one where its roots' file was replaced."""
        acme = issuer.theirs
        place, written = (acme.directory, acme.ca_file), _written(acme)
        known = self._authorities.get(place)
        if known is None or known[0] != written:
            known = self._authorities[place] = (written, _opened(acme))
        return known[1]

    @contextmanager
    def _translated(self, issuer: Issuer, names: Sequence[str] = ()) -> Iterator[None]:
        try:
            yield
        except Fault as fault:
            raise refusal(fault, names, self._clock()) from fault
        except Lost as lost:
            raise Unavailable(f"{issuer.theirs.directory} does not answer: {lost}") from lost


def counted_under(directory: str, account: str) -> str:
    """Give what limits of an account are counted under. An authority may call its accounts what it likes,
    also what another one calls ours: only within its own site the URL says enough.
    """
    own = urlsplit(account).netloc == urlsplit(directory).netloc
    place = account if own else f"{directory} {account}"
    return place if len(place) <= _LONGEST_ACCOUNT else hashlib.sha256(place.encode()).hexdigest()


def _written(acme: AcmeIssuer) -> float | None:
    """Give when the file of its roots was written; raises Rejected where it is not there."""
    try:
        return None if acme.ca_file is None else Path(acme.ca_file).stat().st_mtime
    except OSError as error:
        raise Rejected(f"acme.ca_file: {acme.ca_file} on the controller's host: {error.strerror}") from error


def _opened(acme: AcmeIssuer) -> Authority:
    try:
        return Authority(acme.directory, acme.ca_file)
    except OSError as error:  # ssl.SSLError is one
        raise Rejected(f"acme.ca_file: {acme.ca_file} cannot be read as PEM certificates") from error


def _der(chain: str) -> str:
    leaf = x509.load_pem_x509_certificate(chain.encode())
    return base64url(leaf.public_bytes(serialization.Encoding.DER))
