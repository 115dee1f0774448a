"""Pages and filters of lists: ``limit`` and an opaque ``after``, answered with ``next``."""

from __future__ import annotations

import base64
import json
import re
from typing import Annotated, Final

from fastapi import Depends, Query

from edgeward.api.usecases import Filter, Page
from edgeward.errors import Invalid, Problem

MOST: Final = 1000
_PRINTABLE: Final = r"^[^\x00-\x1f\x7f]*$"

Text = Annotated[str | None, Query(max_length=300, pattern=_PRINTABLE)]


def _page(
    limit: Annotated[int, Query(ge=1, le=MOST)] = 100,
    after: Annotated[str | None, Query(max_length=2000, description="`next` of the page before")] = None,
) -> Page:
    return Page(limit, None if after is None else read_cursor(after))


def _filter(project: Text = None, source: Text = None, name: Text = None) -> Filter:
    return Filter(project, source, name)


Paging = Annotated[Page, Depends(_page)]
Filtering = Annotated[Filter, Depends(_filter)]


def cursor(*place: str) -> str:
    """Give an opaque cursor for the sort key of the last item of a page."""
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode().rstrip("=")


def read_cursor(text: str) -> tuple[str, ...]:
    """Give the sort key in a cursor; raises Invalid."""
    try:
        place = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
        if isinstance(place, list) and place and all(isinstance(p, str) and p.isprintable() for p in place):
            return tuple(place)
    except (ValueError, RecursionError):  # not base64, not UTF-8, not JSON
        pass
    raise _no_cursor()


def number(page: Page) -> int | None:
    """Give the number a page of a numbered list goes on from; raises Invalid."""
    if page.after is None:
        return None
    if len(page.after) == 1 and re.fullmatch(r"[0-9]{1,18}", page.after[0], re.ASCII):
        return int(page.after[0])
    raise _no_cursor()


def words(page: Page, count: int) -> tuple[str, ...] | None:
    """Give the ``count`` words a page goes on from; raises Invalid."""
    if page.after is not None and len(page.after) != count:
        raise _no_cursor()
    return page.after


def _no_cursor() -> Invalid:
    return Invalid(
        Problem("after", "is no cursor of this list; send the `next` of the page before, unchanged")
    )
