"""The one normaliser for domain names: what may ask for, hold or be routed by a certificate."""

from __future__ import annotations

import ipaddress
import re

import idna

from edgeward.errors import Invalid

_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_MOST_NAME = 253


def normalise(name: str) -> str:
    """Give the canonical spelling of an exact host name: lower-case A-labels, no trailing dot.

    Raises Invalid for anything that no public certificate could carry: an IP address, a single
    label, a wildcard, an empty or over-long (63) label, a name over 253 bytes, NUL or any byte
    outside letters, digits and hyphens, and A-labels that do not survive the round trip through
    Unicode (RFC 5891 4.4). Idempotent.
    """
    if len(name) > 4 * _MOST_NAME:
        raise Invalid(f"a domain name has at most {_MOST_NAME} bytes, this has {len(name)}")
    candidate = name[:-1] if name.endswith(".") else name
    if not candidate:
        raise Invalid("a domain name is not empty")
    if not candidate.isascii():
        candidate = _to_ascii(candidate)
    candidate = candidate.lower()
    _check_shape(candidate)
    return candidate


def normalise_pattern(name: str) -> str:
    """Give the canonical spelling of an exact name or of ``*.suffix`` (any single label below it)."""
    if name.startswith("*."):
        return "*." + normalise(name[2:])
    return normalise(name)


def wildcard_of(name: str) -> str | None:
    """Give the wildcard that covers a canonical exact name, or None where its parent is one label."""
    _, _, parent = name.partition(".")
    return f"*.{parent}" if "." in parent else None


def _to_ascii(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii")
    except (idna.IDNAError, UnicodeError) as error:
        raise Invalid(f"'{printable(name)}' is not a valid international domain name") from error


def _check_shape(name: str) -> None:
    if len(name) > _MOST_NAME:
        raise Invalid(f"a domain name has at most {_MOST_NAME} bytes, this has {len(name)}")
    if _is_address(name):
        raise Invalid(f"'{printable(name)}' is an IP address, not a domain name")
    labels = name.split(".")
    if len(labels) < 2:
        raise Invalid(f"'{printable(name)}' has one label only; a domain name has at least two")
    for label in labels:
        _check_label(name, label)
    if labels[-1].isdigit():
        raise Invalid(f"'{printable(name)}' ends in a number, which no domain name does")


def _check_label(name: str, label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise Invalid(
            f"'{printable(name)}' is not a domain name: labels are 1 to 63 letters, digits and"
            " inner hyphens, separated by dots"
        )
    if label[2:4] == "--":
        _check_a_label(name, label)


def _check_a_label(name: str, label: str) -> None:
    try:
        if idna.alabel(idna.ulabel(label)).decode("ascii") == label:
            return
    except (idna.IDNAError, UnicodeError):
        pass
    raise Invalid(f"'{printable(name)}' has an invalid international label '{printable(label)}'")


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def printable(text: str) -> str:
    """Give text fit for one line of an error or a log: controls escaped, cut at 80 characters."""
    short = text if len(text) <= 80 else text[:77] + "…"
    return short.encode("unicode_escape").decode("ascii") if not short.isprintable() else short
