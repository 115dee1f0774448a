"""One direction of a stream: bytes from one socket to another, without losing or doubling any.

Few bytes are copied through one buffer that all share; many are moved by splice(2) through a pipe, so
that they never enter our memory. What the sink does not take waits here, and the source with it.
"""

from __future__ import annotations

import errno
import os
from socket import AF_UNIX
from typing import Final

from edgeward.relay.pipes import CAPACITY, Pipe, Pipes
from edgeward.relay.sockets import Socket

_BUFFER: Final = bytearray(64 * 1024)
_SIZE: Final = len(_BUFFER)
_VIEW: Final = memoryview(_BUFFER)
_MANY: Final = 24 * 1024
"""A read of as much as this, or more, says that splicing pays."""
_FEW: Final = 4 * 1024
_ROUNDS: Final = 4
"""A read and a write, twice; then it is another's turn, while what was read is still in the cache."""
_HOW: Final = os.SPLICE_F_MOVE | os.SPLICE_F_NONBLOCK
_NO_SPLICING: Final = frozenset(
    (errno.EINVAL, errno.ENOSYS, errno.EPERM, errno.EOPNOTSUPP, errno.ENOMEM, errno.ENOBUFS)
)
"""Says splice(2) of itself. All else is the socket's own end, EHOSTUNREACH where ETIMEDOUT would be (tcp(7)),
told once: whoever asks again reads an end of file."""


class Flow:
    """Feed it with what epoll says (``readable``, ``writable``), then call ``carry()``.

    ``finished``: its last byte is with the sink, which does not know yet that it was the last.
    ``broken``: the source was reset, so the sink must be, too, once it has taken the rest.
    ``refused``: the sink takes no more, and what the source still sends is read and dropped.
    ``reset``: it was reset, as sending told. Then the same socket's other flow must be made ``doubtful``: the
    kernel tells an error once, to whoever asks first, and an end of file to the next.
    ``thorough``: a read that gave less than asked for does not mean that the source is empty: its FIN may be
    next (EPOLLRDHUP), it may have urgent data (EPOLLPRI), or it is a Unix socket, where a read also ends at
    somebody else's bytes and at passed descriptors.
    """

    __slots__ = (
        "_held", "_in_pipe", "_pipe", "_pipes", "_sink", "_source", "_splices", "broken", "doubtful", "ended",
        "finished", "moved", "readable", "refused", "reset", "thorough", "writable",
    )  # fmt: skip

    def __init__(self, source: Socket, sink: Socket, pipes: Pipes, first: bytes = b"") -> None:
        self._source, self._sink, self._pipes = source, sink, pipes
        self._held = first
        self._pipe: Pipe | None = None
        self._in_pipe = 0
        self._splices: bool | None = False
        self.readable, self.writable = False, True
        self.thorough = source.family == AF_UNIX
        self.ended = self.finished = self.broken = self.refused = False
        self.reset = self.doubtful = False
        self.moved = 0

    def carry(self) -> bool:
        """Move what can be moved now; True where more could be, and others' turn comes first."""
        for _ in range(_ROUNDS):
            if self._held or self._in_pipe:
                if not self.writable:
                    return False
                if self._held:
                    self._send(self._held)
                else:
                    self._empty_pipe()
            elif self.ended:
                self.finished = True
                self._let_pipe_go()
                return False
            elif not self.readable:
                self._let_pipe_go()
                return False
            elif self._splices and self._pipe_at_hand():
                self._fill_pipe()
            else:
                self._copy()
        return True

    @property
    def has_first(self) -> bool:
        """Tell whether it was given bytes to send before the source's."""
        return bool(self._held)

    def let_go(self) -> None:
        """Give back what it holds, at the connection's end."""
        self._held = b""
        self._let_pipe_go()

    def _copy(self) -> None:
        try:
            size = self._source.recv_into(_BUFFER)
        except BlockingIOError:
            self.readable = False
            return
        except OSError:
            self._break()
            return
        if size == 0:
            self.ended, self.broken = True, self.doubtful
            return
        if size >= _MANY:
            if self._splices is False:
                self._splices = True
        elif not self.thorough:
            self.readable = False  # epoll(7), question 9
        if not self.refused:
            self._send(_VIEW[:size])

    def _send(self, data: bytes | memoryview) -> None:
        try:
            sent = self._sink.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._refuse(error)
            return
        self.moved += sent
        if sent < len(data):
            self.writable = False
            self._held = bytes(data[sent:])
        elif self._held:
            self._held = b""

    def _pipe_at_hand(self) -> bool:
        if self._pipe is None:
            self._pipe = self._pipes.take()
        return self._pipe is not None and not self.refused

    def _fill_pipe(self) -> None:
        assert self._pipe is not None
        try:
            size = os.splice(self._source.fileno(), self._pipe.into, CAPACITY, flags=_HOW)
        except BlockingIOError:
            self.readable = False
            return
        except OSError as error:
            self._cannot_splice_or_break(error)
            return
        if size == 0:
            self.ended, self.broken = True, self.doubtful
        elif size < _FEW:
            self._splices = False
        self._in_pipe = size

    def _empty_pipe(self) -> None:
        assert self._pipe is not None
        try:
            size = os.splice(self._pipe.out, self._sink.fileno(), self._in_pipe, flags=_HOW)
        except BlockingIOError:
            self.writable = False
            return
        except OSError as error:
            self._read_pipe_or_refuse(error)
            return
        self.moved += size
        self._in_pipe -= size

    def _cannot_splice_or_break(self, error: OSError) -> None:
        if error.errno in _NO_SPLICING:
            self._splices = None  # never again on this pair
        else:
            self._break()

    def _read_pipe_or_refuse(self, error: OSError) -> None:
        """Bring what is in the pipe to a sink that cannot be spliced to."""
        assert self._pipe is not None
        if error.errno not in _NO_SPLICING:
            self._refuse(error)
            return
        self._splices = None
        self._held = os.read(self._pipe.out, self._in_pipe)
        self._in_pipe -= len(self._held)

    def _break(self) -> None:
        self.ended = self.broken = True

    def _refuse(self, error: OSError) -> None:
        """Go on reading for the source's sake: with unread bytes its socket would be reset at close."""
        self.refused = True
        self.reset = not isinstance(error, BrokenPipeError)  # that one only after the sink's own proper end
        self.let_go()

    def _let_pipe_go(self) -> None:
        if self._pipe is not None:
            if self._in_pipe:
                self._pipes.throw_away(self._pipe)
            else:
                self._pipes.give_back(self._pipe)
            self._pipe, self._in_pipe = None, 0
