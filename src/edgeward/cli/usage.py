"""What is wrong with the words of a command, as one sentence that names the option and what it takes."""

from __future__ import annotations

import re
from typing import Any, Final

from edgeward.sentences import one_of, sentence, words

_CHOICE: Final = re.compile(r"'(?P<given>.*)' is not one of (?P<allowed>'.*')", re.DOTALL)
_MISSING: Final = re.compile(r"(?P<missing>Missing .*)\. Choose from:(?P<allowed>.*)", re.DOTALL)


def said(error: Any) -> str:
    """Give it; ``error`` is a ``TyperException``. Blank where help was printed instead."""
    context = getattr(error, "ctx", None)
    text = _of_value(error) or _one_sentence(str(error.format_message()).strip().rstrip("."))
    text = f"{text[:1].lower()}{text[1:]}"
    if not text or context is None:
        return text
    return f"{text}{' ' if text.endswith('?') else '; '}see {context.command_path} --help"


def _one_sentence(text: str) -> str:
    """Say on the same line what may be given, where something is missing."""
    found = _MISSING.fullmatch(text)
    if found is None:
        return text
    return f"{found['missing']}: write {words([one.strip() for one in found['allowed'].split(',')])}"


def _of_value(error: Any) -> str:
    """Say what is wrong with the value of an option or argument: typer has pydantic look at it."""
    details = getattr(error.__cause__, "errors", None)
    option = getattr(error, "param", None)
    if details is None or option is None:
        return ""
    detail = details(include_url=False)[0]
    choice = _CHOICE.search(detail["msg"])
    if choice is None:
        return f"{_name(option)}: {sentence(detail)}"
    allowed = re.findall(r"'([^']*)'", choice["allowed"])
    return f"{_name(option)}: {one_of(choice['given'], allowed)}"


def _name(option: Any) -> str:
    return max(option.opts, key=len, default=str(option.name))
