"""The one normaliser for domain names: what may ask for, hold or be routed by a certificate."""

from __future__ import annotations

import ipaddress
import re

import idna

from edgeward.errors import Invalid

CATCH_ALL = "*"
"""The pattern of any name at all, where nothing nearer is declared."""
_MOST_NAME = 253
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_PLAIN = re.compile(
    # Not ++: before 3.11.5, as in Debian 12, Python takes a name like 1.2.3.0x4 then.
    r"(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z](?:[a-z0-9-]{0,61}[a-z0-9])?",
    re.ASCII,
).fullmatch
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)


def normalise(name: str) -> str:
    """Give the canonical spelling of an exact host name: lower-case A-labels, no trailing dot.

    Raises Invalid for anything that no public certificate could carry: an IP address or what
    browsers read as one (WHATWG URL, ends in a number), a single label, a wildcard, an empty or
    over-long (63) label, a name over 253 bytes, NUL or any byte outside letters, digits and hyphens,
    reserved labels such as ``aa--b``, and A-labels that do not survive the round trip through
    Unicode (RFC 5891 4.4). Letters beyond ASCII are mapped as UTS 46 says, so that full-width
    dots and digits become plain ones. Idempotent.
    """
    if name.isascii():
        # Only plain ASCII is lowered before it is judged: the Kelvin sign lowers to a plain k.
        plain = name.lower().removesuffix(".")
        if len(plain) <= _MOST_NAME and "--" not in plain and _PLAIN(plain):
            return plain  # nearly every handshake ends here: one pass, no split
    elif len(name) > 2 * _MOST_NAME:
        raise Invalid(f"a domain name has at most {_MOST_NAME} bytes, this has more")
    else:
        plain = _to_ascii(name).removesuffix(".")
    if not plain:
        raise Invalid("a domain name is not empty")
    _check_shape(plain)
    return plain


def normalise_pattern(name: str) -> str:
    """Give the canonical spelling of an exact name or of ``*.suffix`` (any single label below it)."""
    if not name.startswith("*."):
        return normalise(name)
    if "*" in name[2:]:
        raise Invalid(f"'{printable(name)}' has more than one *; write *.suffix, for any one label before it")
    try:
        pattern = "*." + normalise(name[2:])
    except Invalid as error:
        raise Invalid(f"'{printable(name)}': {error}") from error
    if len(pattern) > _MOST_NAME:
        raise Invalid(f"a domain name has at most {_MOST_NAME} bytes, this has {len(pattern)}")
    return pattern


def normalise_host(name: str) -> str:
    """Give the canonical spelling of what may be declared: an exact name, ``*.suffix``, or ``*``."""
    return name if name == CATCH_ALL else normalise_pattern(name)


def wildcard_of(name: str) -> str | None:
    """Give the wildcard that covers a canonical exact name, or None where its parent is one label."""
    _, _, parent = name.partition(".")
    return f"*.{parent}" if "." in parent else None


def patterns_of(name: str) -> tuple[str, ...]:
    """Give what may cover a canonical name or pattern, the nearest first: itself, its wildcard, any name."""
    if name == CATCH_ALL:
        return (name,)
    over = None if name.startswith("*.") else wildcard_of(name)
    return (name, CATCH_ALL) if over is None else (name, over, CATCH_ALL)


def _to_ascii(name: str) -> str:
    try:
        return idna.encode(name, uts46=True, transitional=False).decode("ascii").lower()
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
    if _NUMBER.fullmatch(labels[-1]):
        raise Invalid(f"'{printable(name)}' ends in a number, which no domain name does")


def _check_label(name: str, label: str) -> None:
    if not _LABEL.fullmatch(label):
        raise Invalid(
            f"'{printable(name)}' is not a domain name: labels are 1 to 63 letters, digits and"
            " inner hyphens, separated by dots"
        )
    if label.startswith("xn--"):
        _check_a_label(name, label)
    elif label[2:4] == "--":
        raise Invalid(
            f"'{printable(name)}' has the label '{label}'; labels with -- in third place are reserved"
        )


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
