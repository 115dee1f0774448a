"""What an authority's refusal means to us (RFC 8555, 6.7): wait, prove better, or give up."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from edgeward.certificates.acme.answers import Problem
from edgeward.certificates.acme.wire import Fault
from edgeward.certificates.orders.fulfilment import Limited, Rejected, Scope, Unproven
from edgeward.errors import EdgewardError, Unavailable

_UNPROVEN: Final = frozenset(
    ("caa", "connection", "dns", "dnssec", "incorrectResponse", "tls", "unknownHost")
)
_REJECTED: Final = frozenset(
    (
        "accountDoesNotExist",
        "badCSR",
        "badPublicKey",
        "badRevocationReason",
        "badSignatureAlgorithm",
        "externalAccountRequired",
        "invalidContact",
        "invalidProfile",
        "malformed",
        "rejectedIdentifier",
        "unauthorized",
        "unsupportedContact",
        "unsupportedIdentifier",
        "userActionRequired",
    )
)
_UNTOLD_PAUSE: Final[dict[Scope, float]] = {
    "account": 3600.0,
    "orders": 3600.0,
    "domain": 86400.0,
    "exact": 86400.0,
    "failures": 3600.0,
}
_LONGEST_PAUSE: Final = 8 * 86400.0
_SAYS: Final[tuple[tuple[str, Scope], ...]] = (
    ("exact set", "exact"),
    ("failed authorizations", "failures"),
    ("failed validations", "failures"),
    ("new orders", "orders"),
    ("certificates", "domain"),
)
"""How Boulder says which of its limits was met; no field tells it."""
_QUOTED: Final = re.compile(r'"([A-Za-z0-9.*-]{1,253})"')
_UNTIL: Final = re.compile(r"retry after (\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)")


def refusal(fault: Fault, names: Sequence[str], now: float) -> EdgewardError:
    """Give the error for an answer that says no; ``names``: what was asked for.

    Limited says which limit of whom as far as the authority does; an empty key stands for all of the scope.
    """
    if fault.status == 429 or fault.problem.code == "rateLimited":
        return _limited(fault, names, now)
    if fault.status == 503 and fault.retry_after is not None:
        until = now + _bounded(fault.retry_after)
        return Limited(f"the authority asks to wait: {fault.problem}", "account", "", until)
    return meaning(fault.problem, fault.status)


def meaning(problem: Problem, status: int = 403) -> EdgewardError:
    """Give the error for a problem of an order, a proof or an answer."""
    codes = {problem.code, *(inner.code for inner in problem.subproblems)}
    text = f"the authority says: {problem}"
    if codes & _UNPROVEN:
        return Unproven(text)
    if codes & _REJECTED:
        return Rejected(text)
    if status >= 500 or "serverInternal" in codes:
        return Unavailable(text)
    return Rejected(text)


def _limited(fault: Fault, names: Sequence[str], now: float) -> Limited:
    detail = str(fault.problem)
    scope: Scope = next((scope for text, scope in _SAYS if text in detail), "account")
    quoted = _QUOTED.search(detail) if scope in ("domain", "failures") else None
    only = names[0] if scope == "exact" and len(names) == 1 else ""
    key = quoted[1].lower() if quoted else only
    until = now + _wait(fault, scope, detail, now)
    return Limited(f"the authority has had enough for now: {detail}", scope, key, until)


def _wait(fault: Fault, scope: Scope, detail: str, now: float) -> float:
    if fault.retry_after is not None:
        return _bounded(fault.retry_after)
    told = _UNTIL.search(detail)
    try:
        until = datetime.fromisoformat(f"{told[1]}T{told[2]}+00:00") if told else None
    except ValueError:  # a day or an hour that there is not
        until = None
    return _UNTOLD_PAUSE[scope] if until is None else _bounded(until.timestamp() - now)


def _bounded(seconds: float) -> float:
    return min(max(seconds, 1.0), _LONGEST_PAUSE)
