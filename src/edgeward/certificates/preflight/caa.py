"""Who may issue for a name: the judgement of RFC 8659, without DNS."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import Final

from edgeward.certificates.preflight.lookups import Caa
from edgeward.domain_name import printable

_KNOWN: Final = frozenset(
    {"issue", "issuewild", "iodef", "contactemail", "contactphone", "issuemail", "issuevmc"}
)
_PARAMETER: Final = re.compile(r"\s*([A-Za-z0-9-]+)\s*=\s*([\x21-\x3a\x3c-\x7e]*)\s*", re.ASCII)


def climb(name: str) -> Iterator[str]:
    """Give the names whose records count, the first that has any (RFC 8659 3): up to, not with, the root."""
    labels = name.removeprefix("*.").split(".")
    return (".".join(labels[place:]) for place in range(len(labels)))


def refusal(
    records: Collection[Caa], wildcard: bool, authorities: Sequence[str], methods: Sequence[str]
) -> str | None:
    """Say why the relevant records of a name do not let this authority issue; None where they do.

    ``authorities``: the domains the authority goes by (``caaIdentities``); of one that says none only
    records that let nobody issue count. ``methods``: the challenges it would prove the name by, of
    which the records may allow some only (RFC 8657).
    """
    unknown = sorted(r.tag for r in records if r.critical and r.tag not in _KNOWN)
    if unknown:
        return f"has a critical CAA record that nobody understands ('{printable(unknown[0])}'); remove it"
    tag = "issuewild" if wildcard and any(r.tag == "issuewild" for r in records) else "issue"
    said = sorted(r.value for r in records if r.tag == tag)
    if not said:
        return None
    permitting = [value for value in said if _permits(value, authorities)]
    if not permitting:
        ours = f' {tag} "{authorities[0]}"' if authorities else f" one with tag {tag} for this authority"
        return f"has CAA records ({_shown(said)}) that let others issue only; add{ours}"
    if not any(_method(value, methods) for value in permitting):
        return f"has CAA records ({_shown(permitting)}) that allow none of {', '.join(methods)}"
    return None


def _permits(value: str, authorities: Sequence[str]) -> bool:
    domain = value.partition(";")[0].strip().lower().removesuffix(".")
    if not domain:
        return False
    return not authorities or domain in {a.lower().removesuffix(".") for a in authorities}


def _method(value: str, methods: Sequence[str]) -> bool:
    for parameter in value.split(";")[1:]:
        match = _PARAMETER.fullmatch(parameter)
        if match is not None and match[1].lower() == "validationmethods":
            return not {m.strip() for m in match[2].split(",")}.isdisjoint(methods)
    return True


def _shown(values: Sequence[str]) -> str:
    more = f" and {len(values) - 3} more" if len(values) > 3 else ""
    return ", ".join(f"'{printable(value)}'" for value in values[:3]) + more
