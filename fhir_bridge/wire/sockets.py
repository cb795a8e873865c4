"""
Connections that a server cannot hold for ever, and that reach no forbidden machine.

The read timeout only bounds the silence between two bytes: a server that drips
its headers would hold a thread for hours. And a name that is registered may
later resolve to a machine that answers with secrets of its own.
"""

from __future__ import annotations

import ipaddress
import socket
from contextlib import suppress
from threading import Event, Timer
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError, ReadTimeoutError


class _Bounded:
    """What both kinds of connection have in addition."""

    header_seconds_max: float
    sock: Any

    def connect(self) -> None:
        super().connect()  # type: ignore[misc]
        peer = str(self.sock.getpeername()[0]).partition("%")[0]
        if ipaddress.ip_address(peer).is_link_local:
            self.close()
            raise NewConnectionError(self, "a link-local address")  # type: ignore[arg-type]

    def close(self) -> None:
        super().close()  # type: ignore[misc]

    def getresponse(self) -> Any:
        late = Event()
        timer = Timer(self.header_seconds_max, _cut, (self.sock, late))
        timer.daemon = True
        timer.start()
        try:
            response = super().getresponse()  # type: ignore[misc]
        finally:
            timer.cancel()
        if late.is_set():  # http.client takes headers that break off for headers that end
            response.close()
            raise ReadTimeoutError(None, None, "the headers took too long")  # type: ignore[arg-type]
        return response


class Adapter(HTTPAdapter):
    """Opens bounded connections."""

    def __init__(self, *, connections: int, header_seconds_max: float) -> None:
        """
        Keep so many connections open to the one server.

        Args:
            connections: Kept for the next request.
            header_seconds_max: From the request to the end of the headers.
        """
        self._header_seconds_max = header_seconds_max
        super().__init__(pool_connections=1, pool_maxsize=connections, max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Use our connections in the pool."""
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _pools(self._header_seconds_max)


def _pools(seconds: float) -> dict[str, type[HTTPConnectionPool]]:
    """Return pools whose connections give up after so many seconds without headers."""

    class Plain(_Bounded, HTTPConnection):
        header_seconds_max = seconds

    class Tls(_Bounded, HTTPSConnection):
        header_seconds_max = seconds

    class PlainPool(HTTPConnectionPool):
        ConnectionCls = Plain

    class TlsPool(HTTPSConnectionPool):
        ConnectionCls = Tls

    return {"http": PlainPool, "https": TlsPool}


def _cut(sock: socket.socket, late: Event) -> None:
    late.set()
    with suppress(OSError):  # it was closed in the meantime
        sock.shutdown(socket.SHUT_RDWR)
