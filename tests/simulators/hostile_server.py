"""A server that sends exactly the bytes a test wants, and counts who connects."""

from __future__ import annotations

import gzip
import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as it came."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    connection: int


@dataclass(frozen=True, slots=True)
class Says:
    """An answer, byte by byte where a test needs it."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    pieces: Sequence[bytes] | None = None
    """Sent as they are instead of a well-formed answer, then the connection is closed."""
    between_seconds: float = 0.0
    """Pause between pieces."""
    zipped: bool = False


HANG_UP = Says(pieces=())
"""No answer: the connection is closed."""

Script = Callable[[Asked], Says]


def fhir(content: object, status: int = 200, **headers: str) -> Says:
    """Answer in FHIR JSON."""
    said = {"Content-Type": "application/fhir+json", **headers}
    return Says(json.dumps(content).encode(), status, said)


def bundle(*resources: object, total: int | None = None, **links: str) -> Says:
    """Answer with a searchset."""
    content: dict[str, object] = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": name, "url": url} for name, url in links.items()],
        "entry": [{"resource": one, "search": {"mode": "match"}} for one in resources],
    }
    if total is not None:
        content["total"] = total
    return fhir(content)


class HostileServer:
    """Listens on loopback for as long as a ``with`` block."""

    def __init__(
        self,
        script: Script | Sequence[Says],
        *,
        certificate: Path | None = None,
        clients: Path | None = None,
    ) -> None:
        """
        Take an address.

        Args:
            script: Says what to answer, or the answers in a row; the last is repeated.
            certificate: Key and certificate as PEM, to speak TLS.
            clients: Certificates that sign those of clients; one must be shown.
        """
        self.asked: list[Asked] = []
        self.connections = 0
        self._script = script
        self._stopping = threading.Event()
        self._open: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._tls: ssl.SSLContext | None = None
        if certificate is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(certificate)
        if self._tls is not None and clients is not None:
            self._tls.verify_mode = ssl.CERT_REQUIRED
            self._tls.load_verify_locations(clients)
        scheme = "http" if certificate is None else "https"
        self.base = f"{scheme}://127.0.0.1:{self.port}/fhir"
        self._threads = [threading.Thread(target=self._accept)]

    def __enter__(self) -> Self:
        """Begin to answer."""
        self._threads[0].start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close everything."""
        self._stopping.set()
        with socket.socket() as knock:  # accept() only wakes for a visitor
            knock.connect_ex(("127.0.0.1", self.port))
        for one in self._open:
            _close(one)
        for thread in self._threads:
            thread.join(timeout=10)
        self._listening.close()

    def _accept(self) -> None:
        while not self._stopping.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, self.connections))
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with self._secured(connection) as secured, secured.makefile("rb") as incoming:
                for asked in _requests(incoming, number):
                    if not self._answer(secured, asked):
                        return
        except OSError:
            connection.close()

    def _secured(self, connection: socket.socket) -> socket.socket:
        return self._tls.wrap_socket(connection, server_side=True) if self._tls else connection

    def _answer(self, connection: socket.socket, asked: Asked) -> bool:
        self.asked.append(asked)
        if callable(self._script):
            says = self._script(asked)
        else:
            says = self._script[min(len(self.asked), len(self._script)) - 1]
        if says.pieces is None:
            connection.sendall(_well_formed(says))
            return True
        for piece in says.pieces:
            connection.sendall(piece)
            if self._stopping.wait(says.between_seconds):
                break
        _close(connection)
        return False


def _requests(incoming: object, number: int) -> Iterator[Asked]:
    read: Callable[[int], bytes] = incoming.read  # type: ignore[attr-defined]
    line: Callable[[], bytes] = incoming.readline  # type: ignore[attr-defined]
    while first := line():
        words = first.decode("latin-1").split(" ")
        if len(words) != 3:  # a client that speaks TLS to us
            return
        method, target, _ = words
        headers = {}
        while (header := line().strip()) != b"":
            name, _, value = header.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        body = read(int(headers.get("content-length", "0")))
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        yield Asked(method, target, headers, body, number)


def _well_formed(says: Says) -> bytes:
    body = gzip.compress(says.body) if says.zipped else says.body
    headers = {"Content-Length": str(len(body)), **says.headers}
    if says.zipped:
        headers["Content-Encoding"] = "gzip"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {says.status} Said\r\n{lines}\r\n".encode() + body


def _close(one: socket.socket) -> None:
    try:
        one.shutdown(socket.SHUT_RDWR)
    except OSError:
        one.close()
    else:
        one.close()
