"""HTTP for the sandbox: connections that stay open, gzip both ways, answers that never come."""

from __future__ import annotations

import contextlib
import gzip
import socket
import struct
import threading
import zlib
from collections.abc import Callable
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from fhir_bridge.errors import SettingsError
from fhir_bridge.sandbox.faults import Dropped
from fhir_bridge.sandbox.outcomes import Problem, Reply, reply_to

_GZIP_FROM_BYTES = 1024
_POLL_SECONDS = 0.02
_RESET = struct.pack("ii", 1, 0)

Respond = Callable[[str, str, dict[str, str], bytes], Reply]
"""Gives the answer to (method, target, headers in lower case, body)."""


class Listener:
    """One listening socket on loopback, with a thread for each connection."""

    def __init__(self, port: int, respond: Respond, date: Callable[[], float]) -> None:
        """
        Open the socket; nothing is answered before `start`.

        Args:
            port: 0 for any free one.
            respond: Gives the answers; called from many threads.
            date: Seconds since 1970 for the Date header.

        Raises:
            SettingsError: The port is taken, or none.
        """
        try:
            self._server = _Server(("127.0.0.1", port), _Connection)
        except (OSError, OverflowError) as error:
            raise SettingsError(
                f"port {port} cannot be listened on: is it taken by another program?"
                " name another one"
            ) from error
        self._server.respond = respond
        self._server.date = date
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(_POLL_SECONDS,), daemon=True
        )

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything and wait until no thread is left."""
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    respond: Respond
    date: Callable[[], float]

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._open: dict[socket.socket, threading.Thread] = {}
        self._lock = threading.Lock()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._open.pop(request, None)

    def hang_up(self) -> None:
        """End every open connection and wait for its thread."""
        with self._lock:
            connections = dict(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):  # the client was first
                connection.shutdown(socket.SHUT_RDWR)
        for thread in connections.values():
            thread.join()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing when a client went away; its test knows."""
        del request, client_address


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "fhir-bridge-sandbox"
    sys_version = ""
    disable_nagle_algorithm = True
    wbufsize = 65536
    server: _Server

    def _answer(self) -> None:
        headers = {name.lower(): value for name, value in self.headers.items()}
        try:
            body = _unpacked(self._body(headers), headers)
            reply = self.server.respond(self.command, self.path, headers, body)
        except Problem as problem:
            reply = reply_to(problem)
        except Dropped:
            self._reset()
            return
        self._send(reply, headers)

    do_GET = do_POST = do_PUT = do_DELETE = do_PATCH = do_HEAD = _answer  # noqa: N815

    def _body(self, headers: dict[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.wfile.flush()
        if headers.get("transfer-encoding", "").lower() == "chunked":
            return b"".join(self._chunks())
        return self.rfile.read(int(headers.get("content-length", "0")))

    def _chunks(self) -> list[bytes]:
        chunks: list[bytes] = []
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(size))
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue
        return chunks

    def _send(self, reply: Reply, headers: dict[str, str]) -> None:
        body, extra = reply.body, dict(reply.headers)
        packs = "gzip" in headers.get("accept-encoding", "") and "Content-Encoding" not in extra
        if packs and len(body) >= _GZIP_FROM_BYTES:
            body = gzip.compress(body, 1, mtime=0)
            extra["Content-Encoding"] = "gzip"
        self.send_response(reply.status)
        for name, value in extra.items():
            self.send_header(name, value)
        if body:
            self.send_header("Content-Type", reply.content_type)
        if reply.status not in {204, 304}:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.connection.close()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the Date header by the sandbox's clock."""
        return formatdate(self.server.date() if timestamp is None else timestamp, usegmt=True)

    def log_message(self, *_args: Any) -> None:
        """Write nothing: the target of a request may hold an identifier."""


def _unpacked(body: bytes, headers: dict[str, str]) -> bytes:
    if headers.get("content-encoding") != "gzip":
        return body
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error) as error:
        raise Problem(400, "structure", "HAPI-0308: the body is not gzip") from error
