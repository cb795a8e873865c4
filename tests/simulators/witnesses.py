"""Witnesses over HTTP: this bridge as one, and litewitness, the reference."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

from fhir_bridge.ledger import VerifierKey, WitnessKey
from fhir_bridge.witness import NotCosigned
from fhir_bridge.witnessing import BeingWitness
from tests.simulators.process import Process, free_port
from tests.simulators.servers import litewitness_program

_SCRIPT = Path(__file__).parents[2] / ".ci" / "witness" / "serve.sh"
_NAME = "witness.example/w1"


@dataclass(frozen=True, kw_only=True)
class Running:
    url: str
    key: WitnessKey


@contextmanager
def litewitness(folder: Path, keys: Sequence[VerifierKey]) -> Iterator[Running]:
    """Run the reference witness for one log."""
    port = free_port()
    command = [
        _SCRIPT,
        litewitness_program(),
        folder,
        str(port),
        _NAME,
        keys[0].name,
        *map(str, keys),
    ]
    with Process(command, ready="READY") as running:
        (vkey,) = [line.strip() for line in running.said if line.startswith(_NAME)]
        yield Running(url=f"http://127.0.0.1:{port}", key=WitnessKey.parse(vkey))


@contextmanager
def ours(being: BeingWitness, port: int = 0) -> Iterator[Running]:
    """Serve this bridge's witness as the API does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            try:
                status, kind, text = 200, "text/plain", being.add_checkpoint(body)
            except NotCosigned as error:
                status, kind = error.status, "text/x.tlog.size"
                text = f"{error.size}\n" if error.size is not None else ""
            self.send_response(status if self.path == "/add-checkpoint" else 405)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(text.encode())))
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            del format, args

    with ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            yield Running(url=f"http://127.0.0.1:{server.server_port}", key=being.verifier)
        finally:
            server.shutdown()
            thread.join()
