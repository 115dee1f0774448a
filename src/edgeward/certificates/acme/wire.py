"""Signed requests to one authority over kept connections: nonces, time limits, bounded answers."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any, Final

import requests
from requests.adapters import HTTPAdapter
from requests.utils import parse_header_links

from edgeward.certificates.acme.answers import Problem, read_problem
from edgeward.certificates.acme.keys import Signer, signed

THREADS: Final = 16
"""Requests to one authority at the same time."""
CONNECT_SECONDS: Final = 10.0
READ_SECONDS: Final = 20.0
_WHOLE_SECONDS: Final = 60.0
"""An answer may come in pieces, but not for ever."""
_MOST_BYTES: Final = 1 << 20
_MOST_NONCES: Final = 256
_MOST_REFUSED_NONCES: Final = 200
_PATIENT_AFTER: Final = 8
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
_AGENT: Final = "edgeward"


class Lost(Exception):
    """No answer: no connection, a reset, or none in time. ``sent``: it may be carried out all the same."""

    def __init__(self, reason: str, *, sent: bool) -> None:
        super().__init__(reason)
        self.sent = sent


class Fault(Exception):
    """An answer that says no. ``retry_after`` is in seconds from when it came."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None) -> None:
        super().__init__(str(problem))
        self.status, self.problem, self.retry_after = status, problem, retry_after


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def location(self) -> str | None:
        return self.headers.get("Location")

    def links(self, relation: str) -> list[str]:
        """Give the URLs of this relation, in order."""
        parsed = parse_header_links(self.headers.get("Link", ""))
        return [link["url"] for link in parsed if link.get("rel") == relation and "url" in link]

    def retry_after(self) -> float | None:
        """Give the wait it asks for, in seconds (RFC 9110, 10.2.3: a number, or a date)."""
        text = self.headers.get("Retry-After", "").strip()
        if re.fullmatch(r"[0-9]{1,9}", text):
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
        except (ValueError, OverflowError):  # nothing, or nothing of use
            return None


class Wire:
    """Connections to one authority, for many threads. ``ca_file``: the roots it is trusted by."""

    def __init__(self, ca_file: str) -> None:
        self._session = requests.Session()
        self._session.trust_env = False  # no proxies, no .netrc: settings are declared
        self._session.mount("https://", HTTPAdapter(THREADS, THREADS, pool_block=True))
        self._session.headers.clear()
        self._session.verify = ca_file
        self._nonces: deque[str] = deque(maxlen=_MOST_NONCES)

    def get(self, url: str) -> Answer:
        """Ask for what anybody may see; raises Lost, Fault."""
        return _good(self._exchange("GET", url, None))

    def post(self, url: str, payload: Mapping[str, Any] | None, signer: Signer, new_nonce: str) -> Answer:
        """Ask as ``signer``; without ``payload`` this reads (POST-as-GET, RFC 8555, 6.3).

        A refused nonce is tried again with another one, as 6.5 says; raises Lost, Fault.
        """
        for attempt in range(_MOST_REFUSED_NONCES):
            answer = self._exchange("POST", url, _written(url, payload, signer, self._nonce(new_nonce)))
            if answer.status < 400 or read_problem(answer.body, answer.status).code != "badNonce":
                break
            time.sleep(max(0, min(0.1, 0.005 * (attempt - _PATIENT_AFTER))))
        return _good(answer)

    def close(self) -> None:
        self._session.close()

    def _nonce(self, new_nonce: str) -> str:
        try:
            return self._nonces.pop()
        except IndexError:
            _good(self._exchange("HEAD", new_nonce, None))
        try:
            return self._nonces.pop()
        except IndexError:
            raise Fault(502, Problem(detail="the authority gave no nonce"), None) from None

    def _exchange(self, method: str, url: str, body: bytes | None) -> Answer:
        headers = {"User-Agent": _AGENT}
        if body is not None:
            headers["Content-Type"] = "application/jose+json"
        try:
            with self._session.request(
                method,
                url,
                data=body,
                headers=headers,
                timeout=(CONNECT_SECONDS, READ_SECONDS),
                allow_redirects=False,
                stream=True,
            ) as response:
                answer = Answer(response.status_code, response.headers, _all_of(response))
        except (requests.ConnectTimeout, requests.exceptions.SSLError) as error:
            raise Lost(_reason(error), sent=False) from error
        except (requests.RequestException, OSError) as error:
            raise Lost(_reason(error), sent=_may_have_arrived(error)) from error
        nonce = answer.headers.get("Replay-Nonce", "")
        if _NONCE.fullmatch(nonce):
            self._nonces.append(nonce)
        return answer


def _written(url: str, payload: Mapping[str, Any] | None, signer: Signer, nonce: str) -> bytes:
    return json.dumps(signed(url, payload, signer, nonce)).encode()


def _good(answer: Answer) -> Answer:
    if answer.status < 300:
        return answer
    if answer.status < 400:
        raise Fault(502, Problem(detail="the authority answers with a redirection"), None)
    problem = read_problem(answer.body, answer.status)
    raise Fault(answer.status, problem, answer.retry_after())


def _all_of(response: requests.Response) -> bytes:
    began, size = time.monotonic(), 0
    parts: list[bytes] = []
    chunks: Iterable[bytes] = response.iter_content(65536)
    for chunk in chunks:
        size += len(chunk)
        if size > _MOST_BYTES:
            raise requests.RequestException("it answers with more than a megabyte")
        if time.monotonic() - began > _WHOLE_SECONDS:
            raise requests.Timeout("its answer takes longer than a minute")
        parts.append(chunk)
    return b"".join(parts)


def _may_have_arrived(error: BaseException) -> bool:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ConnectionRefusedError):
            return False
        cause = cause.__cause__ or cause.__context__
    return True


def _reason(error: BaseException) -> str:
    """Give the innermost cause: what wraps it says the same at length, with addresses of objects."""
    cause = error
    while (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    if isinstance(error, requests.Timeout):
        return "it does not answer in time"
    return " ".join(str(cause).split())[:200] or type(cause).__name__
