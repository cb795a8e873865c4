"""A proxy before a server that cuts the connection at one message: before it arrives, or after."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

_BYTES = 65536
_ANSWER_SECONDS = 0.3
"""A message that the server does not answer by itself is followed by others that it does."""


class CuttingProxy:
    """Forwards everything, but for the one message that it was told to cut at."""

    def __init__(self, url: str) -> None:
        """
        Listen.

        Args:
            url: Of the server; `url` is then the same server through the proxy.
        """
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0))
        user = parts.netloc.rpartition("@")[0]
        port = self._listening.getsockname()[1]
        self.url = parts._replace(netloc=f"{user}@127.0.0.1:{port}").geturl()
        self._lock = threading.Lock()
        self._left = 0
        self._answer_only = False
        self.messages = 0
        self.has_cut = False
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listening.close()

    def cut(self, at: int, *, answer_only: bool) -> None:
        """
        Cut once.

        Args:
            at: At which of the next messages to the server, from 1; 0 never.
            answer_only: The message arrives, and its answer does not.
        """
        with self._lock:
            self._left, self._answer_only = at, answer_only
            self.messages, self.has_cut = 0, False

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.create_connection(self._target)
                connection = _Connection(client, server)
                threading.Thread(target=self._forward, args=(connection,), daemon=True).start()
                threading.Thread(target=connection.answer, daemon=True).start()

    def _forward(self, connection: _Connection) -> None:
        with suppress(OSError):
            while message := connection.client.recv(_BYTES):
                is_cut = self._count()
                if is_cut and not self._answer_only:
                    break
                connection.is_mute = is_cut
                connection.server.sendall(message)
                if is_cut:
                    connection.answered.wait(_ANSWER_SECONDS)
                    break
        connection.close()

    def _count(self) -> bool:
        with self._lock:
            self.messages += 1
            self._left -= 1
            if self._left == 0:
                self.has_cut = True
            return self._left == 0


class _Connection:
    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server
        self.is_mute = False
        self.answered = threading.Event()

    def answer(self) -> None:
        with suppress(OSError):
            while message := self.server.recv(_BYTES):
                if self.is_mute:
                    break
                self.client.sendall(message)
        self.answered.set()
        if not self.is_mute:
            self.close()

    def close(self) -> None:
        for one in (self.client, self.server):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
