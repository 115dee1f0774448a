"""Reads from Envoy's error text which resources of a response it would not take."""

from __future__ import annotations

import re
from collections.abc import Iterable

_MOST_TEXT = 2000


def blamed(text: str, names: Iterable[str]) -> dict[str, str]:
    """Give the names that the text speaks of as ``NAME: reason``, each with its reason.

    Envoy joins them with ", " (clusters) or line ends (listeners) behind a sentence
    "Error adding/updating …(s) " (cds_api_helper.cc, lds_api.cc). Empty where it names none.
    """
    starts: list[tuple[int, int, str]] = []
    for name in names:
        if name not in text:
            continue
        match = re.search(rf"(?:^|[\s,)]){re.escape(name)}: ", text)
        if match is not None:
            starts.append((match.start(), match.end(), name))
    starts.sort()
    ends = [*(start for start, _, _ in starts[1:]), len(text)]
    return {name: sentence(text[begin:end]) for (_, begin, name), end in zip(starts, ends, strict=False)}


def sentence(text: str) -> str:
    """Give the text on one line, without trailing separators, cut to 2,000 characters."""
    return " ".join(text.split()).rstrip(",; ")[:_MOST_TEXT]
