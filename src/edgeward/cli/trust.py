"""How to make the common trust stores trust the local authority: commands to read, not run by us."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Final

_HOW: Final = """\
Save the root first:
    edgeward ca root > edgeward-root.pem

Debian, Ubuntu:
    sudo cp edgeward-root.pem /usr/local/share/ca-certificates/edgeward.crt
    sudo update-ca-certificates

Fedora, RHEL, CentOS, openSUSE (p11-kit):
    sudo trust anchor --store edgeward-root.pem

macOS:
    sudo security add-trusted-cert -d -r trustRoot -k /Library/Keychains/System.keychain edgeward-root.pem

Windows (as administrator):
    certutil -addstore -f ROOT edgeward-root.pem

Firefox, and Chrome on Linux (their own store; certutil is in libnss3-tools or nss-tools):
    certutil -A -n Edgeward -t C,, -i edgeward-root.pem -d sql:$HOME/.pki/nssdb   # Chrome
    certutil -A -n Edgeward -t C,, -i edgeward-root.pem -d sql:PROFILE   # Firefox, see about:profiles

Java:
    keytool -importcert -cacerts -alias edgeward -file edgeward-root.pem -noprompt -storepass changeit

One command only:
    curl --cacert edgeward-root.pem https://NAME/
    REQUESTS_CA_BUNDLE, SSL_CERT_FILE or NODE_EXTRA_CA_CERTS=edgeward-root.pem

The file may hold two roots: the one that signs now, and its successor, published long before it signs.
Stores that take one certificate at a time need each of them."""


def how(root: Path | None) -> str:
    """Give the commands; where the state directory is here, with its file instead of a download."""
    if root is None:
        return _HOW
    return _HOW.replace(
        "edgeward ca root > edgeward-root.pem", f"cp {shlex.quote(str(root))} edgeward-root.pem"
    )
