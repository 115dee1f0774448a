"""Signed requests to one authority: nonces, and what it answers where it says no."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Mapping
from typing import Any, Final

from edgeward.certificates.acme.answers import Problem, read_problem
from edgeward.certificates.acme.connections import Answer, Connections, Lost
from edgeward.certificates.acme.keys import Signer, signed

__all__ = ["THREADS", "Answer", "Fault", "Lost", "Wire"]

THREADS: Final = 16
"""Requests to one authority at the same time."""
_MOST_NONCES: Final = 256
_MOST_REFUSED_NONCES: Final = 200
_PATIENT_AFTER: Final = 8
_NONCE: Final = re.compile(r"[A-Za-z0-9_-]{1,512}")
_READS: Final = {"User-Agent": "edgeward", "Accept": "*/*"}
_ASKS: Final = {**_READS, "Content-Type": "application/jose+json"}


class Fault(Exception):
    """An answer that says no. ``retry_after`` is in seconds from when it came."""

    def __init__(self, status: int, problem: Problem, retry_after: float | None) -> None:
        super().__init__(str(problem))
        self.status, self.problem, self.retry_after = status, problem, retry_after


class Wire:
    """One authority, for many threads. ``roots``: file or directory of what its HTTPS is trusted by."""

    def __init__(self, roots: str) -> None:
        self._connections = Connections(roots, THREADS)
        self._nonces: deque[str] = deque(maxlen=_MOST_NONCES)

    def get(self, url: str) -> Answer:
        """Ask for what anybody may see; raises Lost, Fault."""
        return _good(self._exchange("GET", url, _READS))

    def post(self, url: str, payload: Mapping[str, Any] | None, signer: Signer, new_nonce: str) -> Answer:
        """Ask as ``signer``; without ``payload`` this reads (POST-as-GET, RFC 8555, 6.3).

        A refused nonce is tried again with another one, as 6.5 says; raises Lost, Fault.
        """
        for attempt in range(_MOST_REFUSED_NONCES):
            body = json.dumps(signed(url, payload, signer, self._nonce(new_nonce))).encode()
            answer = self._exchange("POST", url, _ASKS, body)
            if answer.status < 400 or read_problem(answer.body, answer.status).code != "badNonce":
                break
            time.sleep(max(0, min(0.1, 0.005 * (attempt - _PATIENT_AFTER))))
        return _good(answer)

    def close(self) -> None:
        self._connections.close()

    def _nonce(self, new_nonce: str) -> str:
        try:
            return self._nonces.pop()
        except IndexError:
            _good(self._exchange("GET", new_nonce, _READS))
        try:
            return self._nonces.pop()
        except IndexError:
            raise Fault(502, Problem(detail="the authority gave no nonce"), None) from None

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Answer:
        answer = self._connections.exchange(method, url, headers, body)
        nonce = answer.headers.get("replay-nonce", "")
        if _NONCE.fullmatch(nonce):
            self._nonces.append(nonce)
        return answer


def _good(answer: Answer) -> Answer:
    if answer.status < 300:
        return answer
    if answer.status < 400:
        raise Fault(502, Problem(detail="the authority answers with a redirection"), None)
    problem = read_problem(answer.body, answer.status)
    raise Fault(answer.status, problem, answer.retry_after())
