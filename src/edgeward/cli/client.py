"""The one door to the REST API: answers as data, every failure as one of our errors with a remedy."""

from __future__ import annotations

import json
import ssl
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, Self

import httpx

from edgeward.cli.server import Server
from edgeward.domain_name import printable
from edgeward.errors import Conflict, EdgewardError, Invalid, NotFound, Problem, Refused, Unavailable

_TIMEOUT: Final = 30.0
_CONNECT_TIMEOUT: Final = 5.0
_MOST_PAGES: Final = 10_000
_KINDS: Final[Mapping[int, type[EdgewardError]]] = {
    401: Refused,
    403: Refused,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    429: Refused,
    503: Unavailable,
}

Parameters = Mapping[str, str | int | float | bool | None]


class Client:
    """Speaks with one server; use it with ``with``."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._http = httpx.Client(
            base_url=server.url,
            headers={"Authorization": f"Bearer {server.token.reveal()}", "User-Agent": "edgeward"},
            verify=_trusting(server.ca),
            timeout=httpx.Timeout(_TIMEOUT, connect=_CONNECT_TIMEOUT),
            trust_env=False,  # no proxy between a token and its server
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def get(self, path: str, parameters: Parameters | None = None, timeout: float = _TIMEOUT) -> Any:
        return self._asked("GET", path, parameters, timeout=timeout).json()

    def text(self, path: str) -> str:
        return self._asked("GET", path, None).text

    def post(
        self, path: str, body: object = None, timeout: float = _TIMEOUT, match: int | None = None
    ) -> Any:
        """Send a body; ``match``: only while the declared state is at this revision."""
        headers = None if match is None else {"If-Match": f'"{match}"'}
        return self._asked("POST", path, None, body, timeout, headers).json()

    def act(self, path: str, parameters: Parameters, timeout: float) -> Any:
        """Post without a body, and give what came of it within ``timeout`` seconds."""
        return self._asked("POST", path, parameters, timeout=timeout).json()

    def followed(self, path: str, body: object, timeout: float) -> Iterator[Mapping[str, Any]]:
        """Post, and give the answer's lines as they come; ``timeout`` is the longest silence in seconds.

        A line that is a ``problem`` is raised.
        """
        headers = {"Accept": "application/x-ndjson"}
        with self._lines("POST", path, timeout, headers=headers, json=body) as lines:
            for text in lines:
                line = json.loads(text)
                if "problem" in line:
                    raise failure(int(line["problem"]["status"]), line["problem"])
                yield line

    def put(self, path: str, body: object) -> Any:
        return self._asked("PUT", path, None, body).json()

    def blocks(
        self, path: str, parameters: Parameters, last_id: int | None, silence: float
    ) -> Iterator[dict[str, Any]]:
        """Give the blocks of an event stream as they come: ``id``, and of events ``type`` and ``data``.

        Goes on behind ``last_id`` where it is given; raises Unavailable after ``silence`` seconds of it.
        """
        given = {name: _text(value) for name, value in parameters.items() if value is not None}
        headers = {"Accept": "text/event-stream"}
        if last_id is not None:
            headers["Last-Event-ID"] = str(last_id)
        with self._lines("GET", path, silence, headers=headers, params=given) as lines:
            yield from event_blocks(lines)

    def delete(self, path: str, parameters: Parameters | None = None) -> None:
        self._asked("DELETE", path, parameters)

    def items(
        self, path: str, parameters: Parameters | None = None, most: int | None = None
    ) -> Iterator[Any]:
        """Give the items of a list, page by page, ``most`` of them at most."""
        after: str | None = None
        given = 0
        for _ in range(_MOST_PAGES):
            limit = 1000 if most is None else min(1000, most - given)
            page = self.get(path, {**(parameters or {}), "limit": limit, "after": after})
            yield from page["items"]
            given += len(page["items"])
            after = page.get("next")
            if after is None or given == most:
                return

    def _asked(
        self,
        method: str,
        path: str,
        parameters: Parameters | None,
        body: object = None,
        timeout: float = _TIMEOUT,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        given = {name: _text(value) for name, value in (parameters or {}).items() if value is not None}
        waits = httpx.Timeout(timeout, connect=_CONNECT_TIMEOUT)
        with self._reaching():
            answer = self._http.request(method, path, params=given, json=body, timeout=waits, headers=headers)
        if answer.is_success:
            return answer
        raise failure(answer.status_code, _data(answer))

    @contextmanager
    def _lines(self, method: str, path: str, silence: float, **asked: Any) -> Iterator[Iterator[str]]:
        """Ask, and give the answer's lines as they come; ``silence``: longest wait for one, in seconds."""
        waits = httpx.Timeout(silence, connect=_CONNECT_TIMEOUT)
        with self._reaching(), self._http.stream(method, path, timeout=waits, **asked) as answer:
            if not answer.is_success:
                answer.read()
                raise failure(answer.status_code, _data(answer))
            yield answer.iter_lines()

    @contextmanager
    def _reaching(self) -> Iterator[None]:
        try:
            yield
        except UnicodeEncodeError as error:
            found = printable(error.object[error.start])  # and nothing around it, which may be secret
            raise Invalid(f"what was given has {found} in it, which is no text; write it anew") from error
        except httpx.TimeoutException as error:
            raise Unavailable(
                f"{self._server.url} does not answer in time; {self._server.elsewhere}"
            ) from error
        except (httpx.HTTPError, ssl.SSLError) as error:
            raise Unavailable(self._unreachable(error)) from error

    def _unreachable(self, error: Exception) -> str:
        reason = str(error) or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            return (
                f"the server at {self._server.url} is not the one expected:"
                f" its certificate is not from the authority trusted here; {self._server.elsewhere}"
            )
        said = f"no connection to {self._server.url}: {printable(reason)}"
        return f"{said}; is it running? {self._server.elsewhere}"


def event_blocks(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Read server-sent events (WHATWG HTML 9.2.6) as our server writes them; half a block is left out."""
    block: dict[str, Any] = {}
    for line in lines:
        name, _, value = line.partition(": ")
        if not line:
            if block:
                yield block
            block = {}
        elif name == "id" and value.isdigit():
            block["id"] = int(value)
        elif name == "event":
            block["type"] = value
        elif name == "data":
            block["data"] = json.loads(value)


def failure(status: int, problem: Mapping[str, Any]) -> EdgewardError:
    """Turn a problem document (RFC 9457) back into the error it was."""
    detail = str(problem.get("detail") or problem.get("title") or f"the server answered {status}")
    errors = problem.get("errors")
    if status in (400, 413, 415, 422):
        entries = [e for e in errors if isinstance(e, dict)] if isinstance(errors, list) else []
        return Invalid(*(_problem(entry) for entry in entries)) if entries else Invalid(detail)
    if status == 401:
        detail += "; set EDGEWARD_TOKEN to a valid token"
    kind = _KINDS.get(status, Unavailable)
    return kind(detail)


def _problem(entry: Mapping[str, Any]) -> Problem:
    line, about = entry.get("line"), entry.get("object")
    return Problem(
        field=str(entry.get("field") or ""),
        message=str(entry.get("message") or "is wrong"),
        line=line if isinstance(line, int) else None,
        object=str(about) if about else None,
    )


def _data(answer: httpx.Response) -> Mapping[str, Any]:
    try:
        data = answer.json()
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _text(value: str | int | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _trusting(ca: str) -> ssl.SSLContext:
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=ca)
    except (ssl.SSLError, ValueError) as error:
        raise Invalid(
            "the authority to trust (EDGEWARD_CA, or ca/root.pem) is not PEM certificates"
        ) from error
    return context
