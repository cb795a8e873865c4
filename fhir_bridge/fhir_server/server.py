"""One provider's FHIR server, whatever product it is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Protocol

from fhir_bridge.errors import BridgeError, MalformedJson, OversizedAnswer
from fhir_bridge.fhir_server import attachment, capabilities, search
from fhir_bridge.fhir_server import read as reading
from fhir_bridge.fhir_server.attachment import AttachmentBytes
from fhir_bridge.fhir_server.capabilities import Capabilities
from fhir_bridge.fhir_server.chunks import AfterSend, BeforeSend, Room, Stored, Write
from fhir_bridge.fhir_server.delivery import Delivery
from fhir_bridge.fhir_server.paging import Query
from fhir_bridge.fhir_server.read import Reader
from fhir_bridge.fhir_server.search import SearchAnswer
from fhir_bridge.records import Json, RecordRef, Resource
from fhir_bridge.wire import Wire


class Kept(Protocol):
    """Where it is kept for a while what servers said of themselves."""

    def kept(self, base: str) -> Json | None:
        """Return what a server said a short while ago; None when it must be asked."""

    def keep(self, base: str, statement: Json) -> None:
        """Keep what a server said just now."""


class FhirServer:
    """Reads from and writes to one server; every answer is data from outside."""

    def __init__(self, wire: Wire, *, statements: Kept | None = None) -> None:
        """
        Make ready; nothing is asked.

        Args:
            wire: To the server.
            statements: Where what it said a short while ago may be kept.
        """
        self._wire = wire
        self._statements = statements
        self._reader: Reader | None = None
        self._capabilities: Capabilities | None = None
        self._room: Room | None = None
        self._origin: FhirServer | None = None

    def fresh(self) -> FhirServer:
        """Return the same server for one more use: what it may take is counted anew."""
        return FhirServer(self._wire.fresh(), statements=self._statements)

    def traced(self, request_id: str) -> FhirServer:
        """
        Return the same server, for requests that bear an id of their own.

        Args:
            request_id: Sent as ``X-Request-Id``; joins the server's log with ours.
        """
        view = FhirServer(self._wire.traced(request_id))
        view._origin = self
        return view

    @property
    def base(self) -> str:
        """Return the server's base, normalised."""
        return self._wire.base

    @property
    def oversized(self) -> frozenset[RecordRef]:
        """Return what is there, and is longer than one answer may be."""
        return frozenset(self._reader.oversized) if self._reader else frozenset()

    @property
    def gone(self) -> frozenset[RecordRef]:
        """Return what was asked for and, as the server says, was deleted there."""
        return frozenset(self._reader.gone) if self._reader else frozenset()

    def capabilities(self, *, anew: bool = False) -> Capabilities:
        """
        Return what the server may be asked; it is asked once.

        Args:
            anew: Ask, whatever it said before.

        Raises:
            NotFhir: It is no FHIR R4 server that speaks JSON.
            SourceUnreachable: or DestinationUnreachable.
        """
        if self._capabilities is None or anew:
            origin = self._origin
            self._capabilities = self._said(anew=anew) if origin is None else origin.capabilities()
            self._wire.gzip_requests = self._capabilities.quirks.gzip_requests
        return self._capabilities

    def _said(self, *, anew: bool) -> Capabilities:
        kept = self._statements
        said = None if anew or kept is None else kept.kept(self.base)
        if said is None:
            said = capabilities.reduced(capabilities.ask(self._wire))
            if kept is not None:
                kept.keep(self.base, said)
        return capabilities.read(said)

    def clock_skew_seconds(self) -> float | None:
        """Return how far the server's clock is ahead of ours; None when it tells no time."""
        if self._wire.server_time is None:
            return None
        theirs, ours = self._wire.server_time
        return (theirs - ours).total_seconds()

    def read(self, ref: RecordRef) -> Resource:
        """
        Read one resource.

        Raises:
            Absent: It is not there.
            SourceUnreachable: or DestinationUnreachable.
            MalformedJson: The answer cannot be carried.
        """
        with self._named():
            return reading.read(self._wire, ref)

    def read_many(self, refs: Iterable[RecordRef]) -> dict[RecordRef, Resource | None]:
        """
        Read many resources in as few requests as the server allows.

        Returns:
            Each reference, in the order given, with what is there; None when
            it is not there, or when it is in `oversized`.

        Raises:
            SourceUnreachable: or DestinationUnreachable.
        """
        with self._named():
            return self._read().read_many(refs)

    def search(self, type_: str, params: Mapping[str, str], *, post: bool = False) -> SearchAnswer:
        """
        Search one type, all pages.

        Args:
            type_: Of the matches.
            params: Without those that shape pages.
            post: Ask by POST, so that no value stands in a URL.

        Raises:
            SourceUnreachable: or DestinationUnreachable.
            MalformedJson: An answer cannot be carried.
        """
        query = Query(target=type_, type=type_, params=params, post=post)
        with self._named():
            return search.search(self._wire, self.capabilities().quirks, query)

    def everything(self, patient_id: str, types: Sequence[str]) -> SearchAnswer:
        """
        Ask for everything about a patient.

        Args:
            patient_id: At this server.
            types: What is wanted; servers may send more.

        Returns:
            What came; `$everything` is never trusted to be everything.
        """
        query = Query(
            target=f"Patient/{patient_id}/$everything",
            type=None,
            params={"_type": ",".join(types)} if types else {},
        )
        with self._named():
            return search.search(self._wire, self.capabilities().quirks, query)

    def counts(self, queries: Sequence[tuple[str, Mapping[str, str]]]) -> list[int | None]:
        """Return how many resources match each search; None where the server does not say."""

        def ask(query: tuple[str, Mapping[str, str]]) -> int | None:
            return search.count(self._wire, query[0], query[1])

        with self._named():
            return reading.in_parallel(self.capabilities().quirks.parallel, ask, queries)

    def attachment(self, url: str, content_type: str | None, *, bytes_max: int) -> AttachmentBytes:
        """
        Fetch the bytes behind an Attachment.url of one of this server's resources.

        Raises:
            Absent: It is not there.
            ForeignLink: It leads to another server; it was not asked.
            OversizedAnswer: More than `bytes_max`.
            SourceUnreachable: Try again later.
        """
        with self._named():
            return attachment.fetch(self._wire, url, content_type, bytes_max=bytes_max)

    def store(
        self,
        writes: Sequence[Write],
        *,
        before_send: BeforeSend,
        after_send: AfterSend | None = None,
    ) -> list[Stored]:
        """
        Store resources: all that the server takes, each once.

        Args:
            writes: Under ids settled before; the caller has looked what is there.
            before_send: Called before each request that carries records, with
                what it carries. When it raises, nothing more is sent.
            after_send: Called with what became of them.

        Returns:
            What became of each write, in the order given.

        Raises:
            DestinationUnreachable: Continue later; what was stored is found then.
            Throttled: The server wants to be left alone for longer.
            CredentialRefused: The credential may not write.
        """
        can = self.capabilities()
        if self._room is None:
            self._room = Room(can.entry_limit, can.byte_limit)
        delivery = Delivery(self._wire, can, self._read(), before_send, after_send, room=self._room)
        with self._named():
            return delivery.run(writes)

    def close(self) -> None:
        """Close the connections."""
        self._wire.close()

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say of a fault in an answer whose answer it was: two servers take part."""
        try:
            yield
        except MalformedJson as error:
            raise MalformedJson(self._whose(error), fault=error.fault) from error
        except OversizedAnswer as error:
            raise type(error)(self._whose(error)) from error

    def _whose(self, error: BridgeError) -> str:
        who = self._wire.faults.who
        return str(error) if who in str(error) else f"{who}: {error}"

    def _read(self) -> Reader:
        if self._reader is None:
            self._reader = Reader(self._wire, self.capabilities())
        return self._reader
