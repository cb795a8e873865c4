"""What comes back from a server, and how much of it is read."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from fhir_bridge.errors import MalformedJson, OversizedAnswer

_PIECE_BYTES = 256 * 1024


class OverTotal(OversizedAnswer):
    """A server has sent more in all than one transfer may take: asking for less is no use."""


class Side(StrEnum):
    """Which provider's server is spoken to: decides who must act on an error."""

    SOURCE = "source"
    DESTINATION = "destination"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How long and how much one server may take."""

    page_bytes_max: int = 32 * 2**20
    """One answer, after decompression."""
    pages_max: int = 10_000
    """Pages of one search; more is a server that never ends."""
    total_bytes_max: int = 2 * 2**30
    """All answers together, after decompression."""
    connect_seconds: float = 3.0
    read_seconds: float = 30.0
    """Silence between two pieces of an answer."""
    header_seconds: float = 330.0
    """From a request to the end of the headers: a server may not drip. Above the longest write."""
    total_seconds: float = 300.0
    """One answer from the first byte to the last."""
    wait_seconds_max: float = 120.0
    """One Retry-After."""
    waits_seconds_max: float = 900.0
    """All waiting together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """One answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    """Decompressed."""
    seconds: float

    @property
    def media_type(self) -> str:
        """Return the media type without its parameters, in lower case."""
        return self.headers.get("content-type", "").partition(";")[0].strip().lower()


class Body:
    """Collects an answer piece by piece, and stops as soon as it is too long."""

    def __init__(self, encoding: str, bytes_max: int) -> None:
        """
        Start with nothing read.

        Args:
            encoding: Content-Encoding; gzip or nothing, as we asked.
            bytes_max: Bytes that may come out of decompression. What went in
                says nothing: 32 KiB of gzip can hold 32 MiB of zeros.

        Raises:
            MalformedJson: The server used another encoding than we accept.
        """
        if encoding.strip().lower() not in {"", "identity", "gzip", "x-gzip"}:
            raise MalformedJson("the server compressed its answer in a way that was not asked for")
        self._inflate = _gunzip() if "gzip" in encoding.lower() else None
        self._pieces: list[bytes] = []
        self._bytes_max = bytes_max
        self.size_bytes = 0

    def add(self, piece: bytes) -> None:
        """
        Add what arrived.

        Raises:
            OversizedAnswer: More came out than the limit.
            MalformedJson: The compressed form is damaged.
        """
        if self._inflate is None:
            self._keep(piece)
            return
        try:
            self._unpack(piece)
        except zlib.error as error:
            raise MalformedJson("the server's compressed answer is damaged") from error

    def end(self) -> bytes:
        """
        Return everything.

        Raises:
            MalformedJson: The compressed form ended in the middle.
        """
        if self._inflate is not None and self.size_bytes and not self._inflate.eof:
            raise MalformedJson("the server's compressed answer ends in the middle")
        return b"".join(self._pieces)

    def _unpack(self, piece: bytes) -> None:
        assert self._inflate is not None
        while piece:
            if self._inflate.eof:  # RFC 1952 2.2: members may follow each other
                self._inflate = _gunzip()
            self._keep(self._inflate.decompress(piece, _PIECE_BYTES))
            piece = self._inflate.unconsumed_tail or self._inflate.unused_data

    def _keep(self, piece: bytes) -> None:
        self.size_bytes += len(piece)
        if self.size_bytes > self._bytes_max:
            raise OversizedAnswer(
                f"an answer is longer than {self._bytes_max / 2**20:.0f} MiB; none of it is kept"
            )
        if piece:
            self._pieces.append(piece)


def _gunzip() -> zlib._Decompress:
    return zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)


Told = Callable[[str, str], None]
"""Is told the method and kind of each request, e.g. ``GET`` and ``Observation``."""
