"""Real ACME authorities on loopback: Pebble, and the name server it asks, each test's own.

``with pebble(state_dir, needs) as authority:`` gives one with ``authority.directory`` and
``authority.ca_file`` to declare an issuer with. What it validates it asks ``authority.names`` for, which
gives 127.0.0.1 for every name until told otherwise, and visits at ``http_port`` and ``tls_port``.
"""

from __future__ import annotations

import ipaddress
import json
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from edgeward.certificates.local.signing import LeafSigner, new_intermediate, new_root
from tests.integration.processes import Process, running, until
from tests.ports import free_port

Needs = Callable[[str], str]
_YEAR = 365 * 86400.0


@dataclass(frozen=True)
class Trust:
    """A certificate for 127.0.0.1 and ``localhost``, and the root that whoever calls there has to trust."""

    ca_file: Path
    certificate: Path
    key: Path

    @property
    def context(self) -> ssl.SSLContext:
        """For servers of the tests that show this certificate."""
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.load_cert_chain(self.certificate, self.key)
        return made


def trust(directory: Path) -> Trust:
    """Make a root and a certificate for loopback in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    root = new_root(time.time())
    signer = new_intermediate(root, time.time())
    leaf = LeafSigner(signer).sign(["localhost"], [ipaddress.IPv4Address("127.0.0.1")], _YEAR, time.time())
    made = Trust(directory / "ca.pem", directory / "certificate.pem", directory / "key.pem")
    made.ca_file.write_text(root.pem)
    made.certificate.write_text(leaf.certificate + signer.pem)
    made.key.write_text(leaf.key)
    return made


class Names:
    """pebble-challtestsrv: a name server whose answers tests change over HTTP."""

    def __init__(self) -> None:
        self.port = free_port()
        self.management = free_port()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def argv(self, program: str) -> list[str]:
        unused = ["-http01", "", "-https01", "", "-tlsalpn01", "", "-defaultIPv6", ""]
        at = ["-dns01", self.address, "-management", f"127.0.0.1:{self.management}"]
        return [program, *at, "-defaultIPv4", "127.0.0.1", *unused]

    def everywhere(self, address: str) -> None:
        """Give this address for every name that has none of its own; none at all with ``""``."""
        self._tell("set-default-ipv4", ip=address)

    def at(self, name: str, *addresses: str) -> None:
        self._tell("clear-a", host=_absolute(name))
        self._tell("add-a", host=_absolute(name), addresses=list(addresses))

    def caa(self, name: str, *policies: tuple[str, str]) -> None:
        """Say who may issue for a name: pairs such as ``("issue", "letsencrypt.org")``; none removes all."""
        self._tell("clear-caa", host=_absolute(name))
        if policies:
            records = [{"tag": tag, "value": value} for tag, value in policies]
            self._tell("add-caa", host=_absolute(name), policies=records)

    def text(self, name: str, value: str) -> None:
        self._tell("set-txt", host=_absolute(name), value=value)

    def no_text(self, name: str) -> None:
        self._tell("clear-txt", host=_absolute(name))

    def alias(self, name: str, target: str) -> None:
        self._tell("set-cname", host=_absolute(name), target=_absolute(target))

    def fail(self, name: str) -> None:
        """Answer SERVFAIL for a name."""
        self._tell("set-servfail", host=_absolute(name))

    def work_again(self, name: str) -> None:
        self._tell("clear-servfail", host=_absolute(name))

    def ready(self) -> bool:
        try:
            self._tell("clear-txt", host="ready.test.")
        except httpx.HTTPError:
            return False
        return True

    def _tell(self, what: str, **body: Any) -> None:
        answer = httpx.post(f"http://127.0.0.1:{self.management}/{what}", json=body, timeout=30)
        answer.raise_for_status()


@dataclass
class Pebble:
    """One authority. ``http_port`` and ``tls_port``: where it goes to validate; nobody listens there yet.

    ``end`` and ``start`` stand for its outage; it forgets everything it knew.
    """

    trust: Trust
    names: Names
    config: dict[str, Any]
    env: dict[str, str]
    argv: list[str]
    port: int
    management_port: int
    http_port: int
    tls_port: int
    processes: list[Process] = field(default_factory=list)

    @property
    def directory(self) -> str:
        return f"https://127.0.0.1:{self.port}/dir"

    @property
    def ca_file(self) -> Path:
        """The root its own HTTPS is trusted by."""
        return self.trust.ca_file

    def root(self, number: int = 0) -> str:
        """Give a root under which it issues, in PEM; from 1 on the alternate ones."""
        return self.ask(f"roots/{number}").text

    def status(self, serial: int) -> str:
        """Give what it knows of a certificate: ``Valid`` or ``Revoked``."""
        found = self.ask(f"cert-status-by-serial/{serial:x}").json()
        return str(found["Status"])

    def ask(self, path: str) -> httpx.Response:
        context = ssl.create_default_context(cafile=self.ca_file)
        answer = httpx.get(f"https://127.0.0.1:{self.management_port}/{path}", verify=context, timeout=30)
        answer.raise_for_status()
        return answer

    def ready(self) -> bool:
        try:
            return self.ask("roots/0").is_success
        except httpx.HTTPError:
            return False

    def issued(self) -> int:
        """Give how many certificates it has issued."""
        return self._logged("Issued certificate serial")

    def orders(self) -> int:
        """Give how many orders were ever made."""
        return self._logged("Added order")

    def _logged(self, text: str) -> int:
        return sum(text in line for process in self.processes for line in process.output().splitlines())


@contextmanager
def pebble(
    directory: Path,
    needs: Needs,
    *,
    refused_nonces: int = 0,
    bindings: Mapping[str, str] | None = None,
    env: Mapping[str, str] | None = None,
    lifetime: float | None = None,
    always_valid: bool = False,
    strict: bool = True,
    resolver: str | None = None,
) -> Iterator[Pebble]:
    """Run Pebble and its name server for the length of the block; validation waits for nothing.

    ``refused_nonces``: per cent. ``bindings``: accounts have to be bound, key identifier → HMAC key
    (base64url). ``lifetime``: of certificates, seconds. ``always_valid``: nothing is visited at all.
    ``resolver``: it asks this name server, not ``names``.
    ``env``: more of Pebble's own, such as ``PEBBLE_ALTERNATE_ROOTS``, ``PEBBLE_CHAIN_LENGTH``,
    ``PEBBLE_AUTHZREUSE``.
    """
    made = _configured(directory / "pebble", needs("pebble"), bindings, lifetime, strict)
    made.argv[made.argv.index("-dnsserver") + 1] = resolver or made.names.address
    made.env = {
        "PEBBLE_VA_NOSLEEP": "1",
        "PEBBLE_WFE_NONCEREJECT": str(refused_nonces),
        **({"PEBBLE_VA_ALWAYS_VALID": "1"} if always_valid else {}),
        **(env or {}),
    }
    with running(made.names.argv(needs("pebble-challtestsrv"))):
        until(made.names.ready, what="the tests' name server")
        with started(made):
            yield made


@contextmanager
def started(authority: Pebble) -> Iterator[Process]:
    """Run the authority for the length of the block; as often as wanted, each time without a memory."""
    with running(authority.argv, env=authority.env) as process:
        authority.processes.append(process)
        until(lambda: authority.ready() or not process.alive(), what="Pebble's readiness")
        assert process.alive(), process.output()
        yield process


def _configured(
    directory: Path, program: str, bindings: Mapping[str, str] | None, lifetime: float | None, strict: bool
) -> Pebble:
    own, names = trust(directory), Names()
    port, management, http_port, tls_port = (free_port() for _ in range(4))
    config: dict[str, Any] = {
        "listenAddress": f"127.0.0.1:{port}",
        "managementListenAddress": f"127.0.0.1:{management}",
        "certificate": str(own.certificate),
        "privateKey": str(own.key),
        "httpPort": http_port,
        "tlsPort": tls_port,
        "ocspResponderURL": "",
        "externalAccountBindingRequired": bool(bindings),
        "externalAccountMACKeys": {kid: key.rstrip("=") for kid, key in (bindings or {}).items()},
    }
    if lifetime is not None:
        config["certificateValidityPeriod"] = int(lifetime)
    path = directory / "pebble.json"
    path.write_text(json.dumps({"pebble": config}))
    argv = [program, "-config", str(path), "-dnsserver", names.address, *(["-strict"] if strict else [])]
    return Pebble(own, names, config, {}, argv, port, management, http_port, tls_port)


def _absolute(name: str) -> str:
    return name if name.endswith(".") else f"{name}."
