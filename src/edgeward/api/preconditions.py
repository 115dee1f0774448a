"""ETag, If-Match and If-None-Match (RFC 9110 8.8.3, 13.1): an ETag is a revision in quotes."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header

from edgeward.api.usecases import Precondition
from edgeward.errors import Invalid, Problem

_TAG = re.compile(r'\s*(W/)?"([^"]*)"\s*', re.ASCII)


def etag(revision: int) -> str:
    return f'"{revision}"'


def _precondition(
    if_match: Annotated[str | None, Header(max_length=1000)] = None,
    if_none_match: Annotated[str | None, Header(max_length=1000)] = None,
) -> Precondition:
    match = None if if_match is None or if_match.strip() == "*" else read_tags("If-Match", if_match)
    unless = None if if_none_match is None or if_none_match.strip() == "*" else if_none_match
    return Precondition(
        match=match,
        exists=if_match is not None and match is None,
        absent=if_none_match is not None and unless is None,
        unless=None if unless is None else read_tags("If-None-Match", unless),
    )


Expected = Annotated[Precondition, Depends(_precondition)]


def read_tags(header: str, text: str) -> tuple[int, ...]:
    """Give the revisions of a list of ETags; one that is not ours matches nothing. Raises Invalid."""
    revisions = []
    for part in text.split(","):
        match = _TAG.fullmatch(part)
        if match is None:
            raise Invalid(Problem(header, 'write ETags as they were given, such as "17", or *'))
        if re.fullmatch(r"[0-9]{1,18}", match[2], re.ASCII):
            revisions.append(int(match[2]))
    return tuple(revisions)
