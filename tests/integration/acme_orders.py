"""What tests order certificates with: a database, a fulfiller, an issuer, and saves that are kept."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from cryptography import x509

from edgeward.certificates.acme.fulfiller import AcmeFulfiller
from edgeward.certificates.model import AcmeIssuer, Issuer
from edgeward.certificates.orders.fulfilment import Fulfilled, Job, Saved
from edgeward.database.engine import Database, open_database
from edgeward.sealing import Seal, Sealed
from tests.integration.acme import Pebble
from tests.integration.caddy import Caddy

SEAL: Final = b"k" * 32


@dataclass
class Desk:
    """One installation: what it saved is in ``saves``, oldest first."""

    database: Database
    seal: Seal
    url: str
    fulfiller: AcmeFulfiller
    saves: list[Saved] = field(default_factory=list)

    def now(self) -> float:
        return time.time()

    async def save(self, saved: Saved) -> None:
        self.saves.append(saved)

    async def order(self, issuer: Issuer, *names: str, saved: Saved | None = None, **more: Any) -> Fulfilled:
        job = Job(names, issuer.project, issuer, **more)
        return await self.fulfiller.fulfil(job, saved or Saved(), self.save)

    def sealed(self, text: str) -> Sealed:
        """As a declared secret is kept."""
        return Sealed.of(text, self.seal)

    def again(self) -> Desk:
        """The same installation after a restart."""
        return _desk(self.url, self.seal)

    async def close(self) -> None:
        self.fulfiller.close()
        await self.database.close()


def desk(template: Path, directory: Path) -> Desk:
    shutil.copy(template, directory / "edgeward.db")
    return _desk(f"sqlite:///{directory}/edgeward.db", Seal(SEAL))


def _desk(url: str, seal: Seal, clock: Callable[[], float] = time.time) -> Desk:
    database = open_database(url)
    return Desk(database, seal, url, AcmeFulfiller(database, seal, clock))


def issuer(authority: Pebble | Caddy, **acme: Any) -> Issuer:
    """``directory`` may be that of a proxy in front."""
    settings = {"directory": authority.directory, "ca_file": str(authority.ca_file), **acme}
    return Issuer(name="pebble", acme=AcmeIssuer.model_validate(settings))


def leaf(made: Fulfilled) -> x509.Certificate:
    return x509.load_pem_x509_certificate(made.chain.encode())


def names(certificate: x509.Certificate) -> list[str]:
    subject = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return sorted(subject.get_values_for_type(x509.DNSName))
