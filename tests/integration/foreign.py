"""What other programs keep: certbot's directory as it writes it, and Caddy's storage by the real one."""

from __future__ import annotations

import base64
import hashlib
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from tests.integration.acme import pebble
from tests.integration.processes import running, until
from tests.pairs import Made
from tests.ports import free_port

LETSENCRYPT = "https://acme-v02.api.letsencrypt.org/directory"


def certbot_directory(
    path: Path, lineages: Mapping[str, tuple[Made, Made]], server: str = LETSENCRYPT
) -> Path:
    """Write what certbot 5 writes for these lineages (leaf and its authority), with one account."""
    key = rsa.generate_private_key(65537, 2048)
    account = hashlib.md5(str(path).encode(), usedforsecurity=False).hexdigest()
    place = path / "accounts" / server.removeprefix("https://") / account
    place.mkdir(parents=True)
    (place / "private_key.json").write_text(json.dumps(jwk(key)))
    (place / "regr.json").write_text(
        json.dumps({"body": {}, "uri": "https://acme-v02.api.letsencrypt.org/acme/acct/1"})
    )
    (place / "meta.json").write_text(
        json.dumps({"creation_dt": "2025-01-01T00:00:00Z", "creation_host": "h"})
    )
    (path / "renewal-hooks" / "deploy").mkdir(parents=True)
    (path / "renewal-hooks" / "deploy" / "reload").write_text("#!/bin/sh\n")
    for name, (leaf, ca) in lineages.items():
        _lineage(path, name, leaf, ca, f"account = {account}\nserver = {server}\n")
    return path


def _lineage(path: Path, name: str, leaf: Made, ca: Made, more: str) -> None:
    archive, live = path / "archive" / name, path / "live" / name
    for directory in (archive, live, path / "renewal"):
        directory.mkdir(parents=True, exist_ok=True)
    texts = {"cert": leaf.pem, "chain": ca.pem, "fullchain": leaf.pem + ca.pem, "privkey": leaf.key_pem}
    for what, text in texts.items():
        (archive / f"{what}1.pem").write_text("an older one")
        (archive / f"{what}12.pem").write_text(text)
        (live / f"{what}.pem").symlink_to(f"../../archive/{name}/{what}12.pem")
    (path / "renewal" / f"{name}.conf").write_text(
        f"# renew_before_expiry = 30 days\nversion = 5.8.0\narchive_dir = /etc/letsencrypt/archive/{name}\n"
        f"cert = /etc/letsencrypt/live/{name}/cert.pem\n\n# Options used in the renewal process\n"
        f"[renewalparams]\nauthenticator = webroot\nkey_type = ecdsa\n{more}"
        f"[[webroot_map]]\n{name} = /var/www\nserver = /var/www/other\n"
    )


def jwk(key: rsa.RSAPrivateKey) -> dict[str, str]:
    private = key.private_numbers()
    public = private.public_numbers
    numbers = {"n": public.n, "e": public.e, "d": private.d, "p": private.p, "q": private.q}
    numbers |= {"dp": private.dmp1, "dq": private.dmq1, "qi": private.iqmp}
    return {"kty": "RSA", **{name: _base64(number) for name, number in numbers.items()}}


def _base64(number: int) -> str:
    data = number.to_bytes((number.bit_length() + 7) // 8, "big")
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def caddy_storage(
    path: Path, needs: Callable[[str], str], names: Sequence[str], inner: str
) -> tuple[Path, Path]:
    """Have the real Caddy get certificates for these names from Pebble, and one of its own authority.

    Gives its storage, and the root that Pebble's own HTTPS is trusted by.
    """
    storage = path / "caddy"
    caddy = Path(sys.executable).with_name("caddy")
    program = str(caddy) if caddy.exists() else needs("caddy")
    with pebble(path, needs, always_valid=True) as ca:
        file = path / "Caddyfile"
        file.write_text(
            f"{{\nstorage file_system {storage}\nadmin off\nhttp_port {free_port()}\nhttps_port {free_port()}\n"
            f"skip_install_trust\nemail ops@{names[0]}\nacme_ca {ca.directory}\nacme_ca_root {ca.ca_file}\n}}\n"
            f"{', '.join(names)} {{\nbind 127.0.0.1\nrespond ok\n}}\n"
            f"{inner} {{\nbind 127.0.0.1\ntls internal\nrespond ok\n}}\n"
        )
        homes = {name: str(path) for name in ("HOME", "XDG_DATA_HOME", "XDG_CONFIG_HOME")}
        with running([program, "run", "--config", file], env=homes) as process:

            def written() -> bool:
                return len(list(storage.glob("certificates/*/*/*.json"))) > len(names) or not process.alive()

            until(written, 30.0, "Caddy's certificates")
            assert process.alive(), process.output()
    return storage, ca.ca_file
